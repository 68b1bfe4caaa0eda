//! The memory that the control groups of this process still allow it.
//!
//! Shared memory is charged to the group of the process that touches it first, and when a group reaches its limit, the
//! kernel kills a process. The limits can be read beforehand: those of the process's own group and of all groups around
//! it, for both versions of the interface.

use std::fs;
use std::path::{Path, PathBuf};

use super::sys::kib_in;

/// The memory left by the tightest limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    /// The limit in bytes.
    pub(crate) limit: u64,
    /// Bytes available below it, including memory that the kernel can drop or swap out.
    pub(crate) left: u64,
    /// The file that contains the limit.
    pub(crate) file: PathBuf,
}

/// Returns the tightest limit of the calling process's groups, or `None` if there is none or it cannot be read.
pub(crate) fn memory_bound() -> Option<Bound> {
    bound_below(Path::new("/"))
}

/// The names of a group's files.
struct Interface {
    /// The type of its file system in `/proc/self/mountinfo`.
    fstype: &'static str,
    limit: &'static str,
    usage: &'static str,
    /// The rows of `memory.stat` that count memory which the kernel can reclaim. Shared memory is not in them: its
    /// pages are on the lists of anonymous pages.
    reclaimable: &'static [&'static str],
    swap_limit: &'static str,
    swap_usage: &'static str,
    /// `true` if the limit of swap includes memory.
    swap_counts_memory: bool,
}

const UNIFIED: Interface = Interface {
    fstype: "cgroup2",
    limit: "memory.max",
    usage: "memory.current",
    reclaimable: &["active_file", "inactive_file", "slab_reclaimable"],
    swap_limit: "memory.swap.max",
    swap_usage: "memory.swap.current",
    swap_counts_memory: false,
};

const LEGACY: Interface = Interface {
    fstype: "cgroup",
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    reclaimable: &["total_active_file", "total_inactive_file"],
    swap_limit: "memory.memsw.limit_in_bytes",
    swap_usage: "memory.memsw.usage_in_bytes",
    swap_counts_memory: true,
};

/// Like [`memory_bound`], with all paths below `root`.
fn bound_below(root: &Path) -> Option<Bound> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).ok()?;
    let meminfo = fs::read_to_string(root.join("proc/meminfo")).unwrap_or_default();
    let free_swap = kib_in(&meminfo, "SwapFree").unwrap_or(0).saturating_mul(1024);
    let mut tightest: Option<Bound> = None;
    for interface in [&UNIFIED, &LEGACY] {
        let Some(group) = groups.lines().find_map(|line| interface.group_in(line)) else { continue };
        for (mounted, at) in mounts.lines().filter_map(|line| interface.mount_in(line)) {
            for bound in interface.bounds(root, &at, below(group, &mounted), free_swap) {
                if tightest.as_ref().is_none_or(|tightest| bound.left < tightest.left) {
                    tightest = Some(bound);
                }
            }
        }
    }
    tightest
}

/// The path of a group relative to the mounted one. A group outside of it, as seen in a container, is taken for the
/// mounted one.
fn below<'a>(group: &'a str, mounted: &str) -> &'a Path {
    let inside = Path::new(group).strip_prefix(mounted).unwrap_or(Path::new(""));
    if inside.components().all(|part| matches!(part, std::path::Component::Normal(_))) { inside } else { Path::new("") }
}

impl Interface {
    /// The group in a line of `/proc/self/cgroup`, `ID:CONTROLLERS:PATH`, if it is of this interface.
    fn group_in<'a>(&self, line: &'a str) -> Option<&'a str> {
        let mut fields = line.splitn(3, ':');
        let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let is_ours = if self.swap_counts_memory {
            controllers.split(',').any(|controller| controller == "memory")
        } else {
            (id, controllers) == ("0", "")
        };
        is_ours.then_some(path)
    }

    /// The mounted group and its mount point, if a line of `/proc/self/mountinfo` is about this interface: `31 24 0:27
    /// ROOT MOUNT-POINT rw - TYPE SOURCE OPTIONS`, with any number of fields before the dash.
    fn mount_in(&self, line: &str) -> Option<(String, PathBuf)> {
        let (mount, system) = line.split_once(" - ")?;
        let mut system = system.split(' ');
        let (fstype, options) = (system.next()?, system.nth(1).unwrap_or(""));
        let has_memory = !self.swap_counts_memory || options.split(',').any(|option| option == "memory");
        if fstype != self.fstype || !has_memory {
            return None;
        }
        let mut fields = mount.split(' ').skip(3);
        let (mounted, at) = (fields.next()?, fields.next()?);
        Some((unescaped(mounted), PathBuf::from(unescaped(at))))
    }

    /// The limits of the group and of all groups around it, up to the mounted one.
    fn bounds(&self, root: &Path, at: &Path, group: &Path, free_swap: u64) -> Vec<Bound> {
        let mut bounds = Vec::new();
        for (depth, group) in group.ancestors().enumerate() {
            let at = at.join(group);
            let directory = root.join(at.strip_prefix("/").unwrap_or(&at));
            // A group of the first version can be configured not to count the groups below it.
            if depth > 0 && self.number(&directory, "memory.use_hierarchy") == Some(0) {
                break;
            }
            bounds.extend(self.bound(&directory, &at, free_swap));
        }
        bounds
    }

    fn bound(&self, directory: &Path, shown: &Path, free_swap: u64) -> Option<Bound> {
        let limit = self.number(directory, self.limit)?;
        let usage = self.number(directory, self.usage)?;
        let stat = fs::read_to_string(directory.join("memory.stat")).unwrap_or_default();
        let reclaimable = stat
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter(|(row, _)| self.reclaimable.contains(row))
            .filter_map(|(_, bytes)| bytes.trim().parse::<u64>().ok())
            .fold(0, u64::saturating_add);
        let left_of = |limit: u64, usage: u64| limit.saturating_sub(usage.saturating_sub(reclaimable));
        let swap = self.number(directory, self.swap_limit).zip(self.number(directory, self.swap_usage));
        let left = left_of(limit, usage);
        let left = match swap {
            // A group without a limit of swap can use all of the host's swap.
            None => left.saturating_add(free_swap),
            Some((limit, usage)) if self.swap_counts_memory => {
                left.saturating_add(free_swap).min(left_of(limit, usage))
            }
            Some((limit, usage)) => left.saturating_add(free_swap.min(limit.saturating_sub(usage))),
        };
        Some(Bound { limit, left, file: shown.join(self.limit) })
    }

    /// The number in a file. `max` means none.
    fn number(&self, directory: &Path, file: &str) -> Option<u64> {
        fs::read_to_string(directory.join(file)).ok()?.trim().parse().ok()
    }
}

/// The kernel writes blanks and similar characters as `\040`, in octal.
fn unescaped(field: &str) -> String {
    let mut parts = field.split('\\');
    let mut text = parts.next().unwrap_or("").to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(u8::is_ascii);
        match code {
            Some(code) => {
                text.push(char::from(code));
                text.push_str(&part[3..]);
            }
            None => {
                text.push('\\');
                text.push_str(part);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A directory that stands for the root of a host.
    struct Root(PathBuf);

    impl Root {
        fn new(name: &str, groups: &str, mounts: &str) -> Root {
            let root = Root(std::env::temp_dir().join(format!("seqcast-cgroup-{}-{name}", std::process::id())));
            root.write("proc/self/cgroup", groups);
            root.write("proc/self/mountinfo", mounts);
            root
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn set(&self, directory: &str, files: &[(&str, u64)]) {
            for (file, number) in files {
                self.write(&format!("{directory}/{file}"), &format!("{number}\n"));
            }
        }

        /// The memory left, the limit, and its file.
        fn bound(&self) -> Option<(u64, u64, String)> {
            let bound = bound_below(&self.0)?;
            Some((bound.left, bound.limit, bound.file.to_str().unwrap().to_owned()))
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const UNIFIED_MOUNT: &str = "25 24 0:22 / /sys rw shared:7 - sysfs sysfs rw\n\
        31 25 0:27 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n";

    #[test]
    fn the_tightest_group_of_the_unified_hierarchy_counts() {
        let root = Root::new("unified", "0::/a.slice/b.service\n", UNIFIED_MOUNT);
        assert_eq!(root.bound(), None, "there is no limit");
        let own = "sys/fs/cgroup/a.slice/b.service";
        root.write(&format!("{own}/memory.max"), "max\n");
        root.set(own, &[("memory.current", 3 * MIB)]);
        assert_eq!(root.bound(), None, "there is no limit");
        root.set("sys/fs/cgroup/a.slice", &[("memory.max", 64 * MIB), ("memory.current", 60 * MIB)]);
        let of_slice = |left: u64| Some((left * MIB, 64 * MIB, "/sys/fs/cgroup/a.slice/memory.max".to_owned()));
        assert_eq!(root.bound(), of_slice(4));
        root.set(own, &[("memory.max", 16 * MIB)]);
        assert_eq!(root.bound(), of_slice(4), "the own one leaves more");
        root.set(own, &[("memory.max", 5 * MIB)]);
        assert_eq!(root.bound(), Some((2 * MIB, 5 * MIB, format!("/{own}/memory.max"))));
        root.set(own, &[("memory.max", MIB)]);
        assert_eq!(root.bound().unwrap().0, 0, "more is used than allowed");
    }

    #[test]
    fn what_the_kernel_can_take_back_or_swap_out_is_left() {
        let root = Root::new("reclaim", "0::/\n", UNIFIED_MOUNT);
        let own = "sys/fs/cgroup";
        root.set(own, &[("memory.max", 10 * MIB), ("memory.current", 9 * MIB)]);
        root.write(
            &format!("{own}/memory.stat"),
            "anon 7340032\nfile 3145728\nshmem 1048576\ninactive_file 1048576\nactive_file 1048576\n\
             slab_reclaimable x\n",
        );
        let left = || root.bound().unwrap().0 / MIB;
        assert_eq!(left(), 3);
        root.write("proc/meminfo", "MemTotal: 9 kB\nSwapFree:     8192 kB\n");
        assert_eq!(left(), 11, "without a limit of swap");
        root.set(own, &[("memory.swap.max", 5 * MIB), ("memory.swap.current", 3 * MIB)]);
        assert_eq!(left(), 5);
        root.set(own, &[("memory.swap.max", 0)]);
        assert_eq!(left(), 3);
        root.set(own, &[("memory.swap.max", 500 * MIB)]);
        assert_eq!(left(), 11, "no more than there is");
    }

    const LEGACY_MOUNTS: &str = "31 25 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                                 33 25 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                                 34 25 0:30 / /sys/fs/cgroup/memory rw opt:1 opt:2 - cgroup cgroup rw,memory\n";

    #[test]
    fn groups_of_the_first_version_count_too() {
        let root = Root::new("legacy", "9:cpu,cpuacct:/x\n4:memory:/job/1\n0::/\n", LEGACY_MOUNTS);
        let own = "sys/fs/cgroup/memory/job/1";
        root.set(own, &[("memory.limit_in_bytes", 9_223_372_036_854_771_712), ("memory.usage_in_bytes", MIB)]);
        root.set(
            "sys/fs/cgroup/memory/job",
            &[("memory.limit_in_bytes", 8 * MIB), ("memory.usage_in_bytes", 6 * MIB), ("memory.use_hierarchy", 1)],
        );
        let of_job = Some((2 * MIB, 8 * MIB, "/sys/fs/cgroup/memory/job/memory.limit_in_bytes".to_owned()));
        assert_eq!(root.bound(), of_job);
        // With swap: the second limit includes both.
        root.write("proc/meminfo", "SwapFree: 4096 kB\n");
        assert_eq!(root.bound().unwrap().0, 6 * MIB);
        root.set(
            "sys/fs/cgroup/memory/job",
            &[("memory.memsw.limit_in_bytes", 9 * MIB), ("memory.memsw.usage_in_bytes", 6 * MIB)],
        );
        assert_eq!(root.bound().unwrap().0, 3 * MIB);
        root.set("sys/fs/cgroup/memory/job", &[("memory.use_hierarchy", 0)]);
        assert_ne!(root.bound().map(|(_, limit, _)| limit), Some(8 * MIB), "it does not count what is below it");
    }

    #[test]
    fn a_container_sees_its_own_group_where_it_is_mounted() {
        // Docker without a cgroup namespace: the path and the mounted root are those of the host.
        let mounts = "34 25 0:30 /docker/0a1b /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        for (group, directory) in [
            ("/docker/0a1b", "sys/fs/cgroup/memory"),
            ("/docker/0a1b/inner", "sys/fs/cgroup/memory/inner"),
            ("/elsewhere", "sys/fs/cgroup/memory"),
            ("/../other", "sys/fs/cgroup/memory"),
        ] {
            let root = Root::new("container", &format!("4:memory:{group}\n"), mounts);
            root.set(directory, &[("memory.limit_in_bytes", 8 * MIB), ("memory.usage_in_bytes", MIB)]);
            let expected = Some((7 * MIB, 8 * MIB, format!("/{directory}/memory.limit_in_bytes")));
            assert_eq!(root.bound(), expected, "{group}");
        }
        // Below a mount of its own namespace. The group lies above it.
        let mounts = "31 25 0:27 /.. /sys/fs/cgroup\\040two rw - cgroup2 cgroup2 rw\n";
        let root = Root::new("above", "0::/../sibling\n", mounts);
        root.set("sys/fs/cgroup two", &[("memory.max", 8 * MIB), ("memory.current", MIB)]);
        assert_eq!(root.bound().unwrap().2, "/sys/fs/cgroup two/memory.max");
    }

    #[test]
    fn what_cannot_be_read_is_no_limit() {
        for (groups, mounts) in
            [("", ""), ("rubbish\n4:memory\n::\n", UNIFIED_MOUNT), ("0::/\n", "31 25 - cgroup2\n - \n")]
        {
            let root = Root::new("rubbish", groups, mounts);
            root.set("sys/fs/cgroup", &[("memory.max", 0)]);
            assert_eq!(root.bound(), None, "{groups:?} {mounts:?}");
        }
        assert_eq!(bound_below(Path::new("/nowhere")), None);
    }

    #[test]
    fn escaped_blanks_are_read() {
        assert_eq!(unescaped(r"/a\040b\134c\011"), "/a b\\c\t");
        assert_eq!(unescaped(r"/a\9z\04"), r"/a\9z\04");
        assert_eq!(unescaped(r"/a\377"), r"/a\377");
    }
}
