//! The processes that have a segment open, by their mappings and descriptors in `/proc`.
//!
//! A worker keeps no descriptor, but it keeps the segment mapped. A process holds a seat if the seat is locked and the
//! seat's words name the process and its start time, or if one of its descriptors has the lock.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::os::sys;
use crate::seat::holder::Hold;
use crate::seat::words::SeatWords;
use crate::segment::layout::seat_word;
use crate::segment::{Segment, seat_byte, seat_of_byte};

/// The processes that have a segment open.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Processes {
    /// The processes that have the segment open, by process id, without the calling process.
    pub holders: Vec<OpenBy>,
    /// The processes that have another file of this name open: one that was unlinked, or one of another `/dev/shm`.
    pub strays: Vec<OpenBy>,
    /// The number of processes that this one has no permission to examine.
    pub hidden: u64,
    /// The namespaces of the calling process.
    pub own: Namespaces,
}

/// A process that has a segment open.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OpenBy {
    /// Its process id, in the pid namespace of the calling process.
    pub pid: u32,
    /// Its process id in its own pid namespace.
    pub own_pid: u32,
    /// The seats that it holds.
    pub seats: Vec<u32>,
    /// The seats that it blocks with read locks. No worker takes a read lock, for which read access is enough.
    pub read_locks: Vec<u32>,
    /// `true` if it can write to the segment, as every worker can.
    pub writes: bool,
    /// Its namespaces.
    pub namespaces: Namespaces,
}

/// The namespaces of a process, by their numbers in `/proc/PID/ns`. `None` if the number may not be read. Processes of
/// different namespaces may see other segments and other process ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Namespaces {
    /// Process ids.
    pub pid: Option<u64>,
    /// System V IPC. Container runtimes that share it share `/dev/shm`, too.
    pub ipc: Option<u64>,
    /// Mounts, `/dev/shm` among them.
    pub mnt: Option<u64>,
}

impl Namespaces {
    fn of(process: &Path) -> Namespaces {
        // The inode of the file that the link leads to.
        let number = |name: &str| fs::metadata(process.join("ns").join(name)).ok().map(|found| found.ino());
        Namespaces { pid: number("pid"), ipc: number("ipc"), mnt: number("mnt") }
    }
}

impl Processes {
    pub(super) fn of(segment: &Segment) -> Processes {
        let own = Namespaces::of(Path::new("/proc/self"));
        let mut found = Processes { holders: Vec::new(), strays: Vec::new(), hidden: 0, own };
        let Ok(entries) = fs::read_dir("/proc") else { return found };
        let mut pids: Vec<u32> =
            entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        pids.sort_unstable();
        let held = HeldSeat::all(segment);
        for pid in pids.into_iter().filter(|&pid| pid != std::process::id()) {
            found.examine(segment, &held, pid);
        }
        found
    }

    /// Adds the process, unless it has ended.
    fn examine(&mut self, segment: &Segment, held: &[HeldSeat], pid: u32) {
        let process = Path::new("/proc").join(pid.to_string());
        let descriptors = match fs::read_dir(process.join("fd")) {
            Ok(descriptors) => descriptors,
            Err(error) => {
                self.hidden += u64::from(error.kind() == std::io::ErrorKind::PermissionDenied);
                return;
            }
        };
        let (mut has_it, mut has_another, mut writes) = (false, false, false);
        let (mut seats, mut read_locks) = (Vec::new(), Vec::new());
        for descriptor in descriptors.flatten() {
            // The name first: `stat` of a file on a network file system may hang.
            let Ok(target) = fs::read_link(descriptor.path()) else { continue };
            let target = target.to_string_lossy();
            if !target.trim_end_matches(" (deleted)").ends_with(segment.name()) {
                continue;
            }
            let Ok(file) = fs::metadata(descriptor.path()) else { continue };
            if (file.dev(), file.ino()) != segment.inode() {
                // Elsewhere, a file of this name is no segment.
                has_another |= target.starts_with("/dev/shm/");
                continue;
            }
            has_it = true;
            let info = fs::read_to_string(process.join("fdinfo").join(descriptor.file_name())).unwrap_or_default();
            writes |= may_write(&info);
            seats.extend(seats_in(&info, segment.geometry().seats));
            read_locks.extend(read_locks_in(&info, segment.geometry().seats));
        }
        let maps = fs::read(process.join("maps")).unwrap_or_default();
        for mapping in String::from_utf8_lossy(&maps).lines().filter_map(MapsLine::of) {
            if mapping.is_of(segment) {
                has_it = true;
                writes |= mapping.writes;
            } else {
                has_another |= mapping.path.strip_prefix("/dev/shm") == Some(segment.name());
            }
        }
        if !has_it && !has_another {
            return;
        }
        let own_pid = own_pid_in(&fs::read_to_string(process.join("status")).unwrap_or_default()).unwrap_or(pid);
        let (namespaces, start) = (Namespaces::of(&process), sys::process_start_time(pid));
        seats.extend(held.iter().filter(|seat| seat.is_of(own_pid, start, namespaces.pid)).map(|seat| seat.number));
        for found in [&mut seats, &mut read_locks] {
            found.sort_unstable();
            found.dedup();
        }
        let holder = OpenBy { pid, own_pid, seats, read_locks, writes, namespaces };
        if has_it { self.holders.push(holder) } else { self.strays.push(holder) }
    }
}

/// A locked seat, and its holder by the seat's words.
struct HeldSeat {
    number: u32,
    pid: u64,
    start: u64,
    namespace: u64,
}

impl HeldSeat {
    fn all(segment: &Segment) -> Vec<HeldSeat> {
        let holds = Hold::of_all(segment).unwrap_or_default();
        let held = |number: u16| {
            let words = SeatWords::of(&segment.seats(), number);
            HeldSeat {
                number: u32::from(number),
                pid: words.get(seat_word!(identity.pid)),
                start: words.get(seat_word!(identity.start_time)),
                namespace: words.get(seat_word!(identity.pid_namespace)),
            }
        };
        (0..).zip(holds).filter(|(_, hold)| *hold == Hold::Locked).map(|(number, _)| held(number)).collect()
    }

    /// Returns `true` if this process holds the seat. An unknown namespace counts as the same one.
    fn is_of(&self, pid: u32, start: Option<u64>, namespace: Option<u64>) -> bool {
        self.pid == u64::from(pid)
            && Some(self.start) == start
            && namespace.is_none_or(|namespace| namespace == self.namespace)
    }
}

/// A line of `/proc/PID/maps`: `7f00-7f01 rw-s 00000000 00:1a 77                  /dev/shm/name`.
struct MapsLine<'a> {
    writes: bool,
    /// Major and minor number of the device.
    device: (u32, u32),
    inode: u64,
    /// Without the kernel's mark for a deleted file.
    path: &'a str,
}

impl MapsLine<'_> {
    fn of(line: &str) -> Option<MapsLine<'_>> {
        let mut words = line.split_ascii_whitespace();
        let (rights, device) = (words.nth(1)?, words.nth(1)?);
        let (major, minor) = device.split_once(':')?;
        let number = |text| u32::from_str_radix(text, 16).ok();
        let inode = words.next()?.parse().ok()?;
        let path = line.find('/').map_or("", |at| &line[at..]);
        Some(MapsLine {
            writes: rights.contains('w'),
            device: (number(major)?, number(minor)?),
            inode,
            path: path.strip_suffix(" (deleted)").unwrap_or(path),
        })
    }

    fn is_of(&self, segment: &Segment) -> bool {
        let (device, inode) = segment.inode();
        self.inode == inode && self.device == (libc::major(device), libc::minor(device))
    }
}

/// Returns the seats whose write locks a descriptor has, by its `fdinfo`:
/// `lock: 1: OFDLCK ADVISORY  WRITE -1 00:1a:77 2305843009213693952 2305843009213693952`.
fn seats_in(fdinfo: &str, seats: u64) -> Vec<u32> {
    let mut found = Vec::new();
    for line in fdinfo.lines().filter_map(|line| line.strip_prefix("lock:")) {
        let mut words = line.split_ascii_whitespace();
        if (words.nth(1), words.nth(1)) != (Some("OFDLCK"), Some("WRITE")) {
            continue;
        }
        let (Some(end), Some(start)) = (words.next_back(), words.next_back()) else { continue };
        let (Ok(start), Ok(end)) = (start.parse(), end.parse()) else { continue };
        if let (Some(first), Some(last)) = (seat_of_byte(start), seat_of_byte(end)) {
            // The kernel merges the locks of adjacent bytes.
            found.extend((first..=last).take_while(|&seat| seat < seats).map(|seat| seat as u32));
        }
    }
    found
}

/// Returns the seats whose bytes lie in a read lock of a descriptor, of either kind:
/// `lock: 1: POSIX  ADVISORY  READ 4711 00:1a:77 0 EOF`.
fn read_locks_in(fdinfo: &str, seats: u64) -> Vec<u32> {
    let mut found = Vec::new();
    for line in fdinfo.lines().filter_map(|line| line.strip_prefix("lock:")) {
        let mut words = line.split_ascii_whitespace();
        let (Some("OFDLCK" | "POSIX"), Some("READ")) = (words.nth(1), words.nth(1)) else { continue };
        let (Some(end), Some(start)) = (words.next_back(), words.next_back()) else { continue };
        let Ok(start) = start.parse::<u64>() else { continue };
        let end = if end == "EOF" { u64::MAX } else { end.parse().unwrap_or(start) };
        found.extend((0..seats).filter(|&seat| (start..=end).contains(&seat_byte(seat))).map(|at| at as u32));
    }
    found
}

/// Returns `true` if a descriptor was opened for writing, by the octal `flags` of its `fdinfo`.
fn may_write(fdinfo: &str) -> bool {
    let flags = fdinfo.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u64::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & 3 != 0)
}

/// Returns the innermost process id, which is the last on the line `NSpid:` of `/proc/PID/status`.
fn own_pid_in(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("NSpid:"))?.split_ascii_whitespace().next_back()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 1 << 61;

    #[test]
    fn seats_are_read_from_locks() {
        let line = |kind: &str, from: u64, to: &str| {
            format!("pos:\t0\nlock:\t1: {kind} ADVISORY  WRITE -1 00:1a:77 {from} {to}\n")
        };
        assert_eq!(seats_in(&line("OFDLCK", BASE + 3, &(BASE + 3).to_string()), 8), [3]);
        assert_eq!(seats_in(&line("OFDLCK", BASE, &(BASE + 2).to_string()), 8), [0, 1, 2]);
        assert_eq!(seats_in(&line("OFDLCK", BASE + 6, &(BASE + 99).to_string()), 8), [6, 7], "beyond the last seat");
        for (kind, from, to) in [("POSIX", BASE, "2305843009213693952"), ("OFDLCK", 0, "0"), ("OFDLCK", 0, "EOF")] {
            assert!(seats_in(&line(kind, from, to), 8).is_empty(), "{kind} {from} {to}");
        }
        // The creation lock.
        assert!(seats_in(&line("OFDLCK", 1 << 62, &(1_u64 << 62).to_string()), 65_536).is_empty());
        assert!(seats_in("lock:\t1: OFDLCK", 8).is_empty());
    }

    #[test]
    fn read_locks_are_told_from_holds() {
        let line = |kind: &str, access: &str, from: u64, to: &str| {
            format!("pos:\t0\nlock:\t1: {kind}  ADVISORY  {access} 4711 00:1a:77 {from} {to}\n")
        };
        let all: Vec<u32> = (0..8).collect();
        assert_eq!(read_locks_in(&line("POSIX", "READ", 0, "EOF"), 8), all);
        assert_eq!(read_locks_in(&line("OFDLCK", "READ", BASE + 2, &(BASE + 3).to_string()), 8), [2, 3]);
        assert_eq!(read_locks_in(&line("OFDLCK", "READ", BASE + 7, &(BASE + 99).to_string()), 8), [7]);
        for (kind, access, from) in
            [("OFDLCK", "WRITE", BASE), ("FLOCK", "READ", 0), ("POSIX", "READ", 1 << 62), ("LEASE", "READ", 0)]
        {
            assert!(read_locks_in(&line(kind, access, from, "EOF"), 8).is_empty(), "{kind} {access} {from}");
        }
        assert!(seats_in(&line("OFDLCK", "READ", BASE, &BASE.to_string()), 8).is_empty(), "workers take write locks");
        assert!(read_locks_in("lock:\t1: OFDLCK ADVISORY READ x\nlock:", 8).is_empty());
    }

    #[test]
    fn a_descriptor_that_writes_is_told_from_one_that_reads() {
        assert!(may_write("pos:\t0\nflags:\t02100002\nmnt_id:\t25\n"));
        assert!(!may_write("pos:\t0\nflags:\t02100000\n"));
        assert!(!may_write(""));
    }

    #[test]
    fn a_mapping_is_told_by_device_and_inode() {
        let line = "7f00-7f01 rw-s 00000000 00:1a 77                         /dev/shm/a b (deleted)";
        let mapping = MapsLine::of(line).unwrap();
        assert_eq!((mapping.device, mapping.inode, mapping.writes), ((0, 0x1a), 77, true));
        assert_eq!(mapping.path, "/dev/shm/a b");
        let page = MapsLine::of("7f00-7f01 ---s 00000000 103:02 9 ").unwrap();
        assert_eq!((page.device, page.inode, page.writes, page.path), ((0x103, 2), 9, false, ""));
        assert!(MapsLine::of("7f00-7f01 rw-p").is_none() && MapsLine::of("").is_none());
    }

    #[test]
    fn the_innermost_pid_is_the_process_own() {
        assert_eq!(own_pid_in("Name:\ta\nNSpid:\t4711\t12\t3\nNSsid:\t1\n"), Some(3));
        assert_eq!(own_pid_in("Name:\ta\n"), None);
    }
}
