//! The segments of this host, by name and by process.

use seqcast::inspect::{self, Inspector};

use crate::exit::Failure;

/// The most names that a message lists.
const MOST_NAMES: usize = 8;

/// The names of all segments that this user may read.
pub fn names() -> Vec<String> {
    inspect::names().unwrap_or_default()
}

/// Names for a message: the first few, and the number of others.
pub fn listed(names: &[String]) -> String {
    let shown = &names[..names.len().min(MOST_NAMES)];
    let more = names.len() - shown.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

/// The name of the one segment that the process `pid` has mapped.
pub fn of_process(pid: u32) -> Result<String, Failure> {
    let path = format!("/proc/{pid}/maps");
    let maps = std::fs::read_to_string(&path).map_err(Failure::io(format!("reading {path}")))?;
    let mut names: Vec<String> = files_in_shared_memory(&maps).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names.retain(|name| Inspector::open_any(name).is_ok());
    match names.as_slice() {
        [name] => Ok(name.clone()),
        [] if maps.lines().any(|line| path_of(line) == Some("/memfd:seqcast")) => Err(Failure::Usage(format!(
            "process {pid} uses an anonymous segment, which only its children can open: name it to inspect it"
        ))),
        [] => Err(Failure::Usage(format!("process {pid} has mapped no segment that this user may read"))),
        names => {
            Err(Failure::Usage(format!("process {pid} uses several segments: give NAME, one of {}", listed(names))))
        }
    }
}

/// The names under /dev/shm, with their slash, that a process's maps lead to.
fn files_in_shared_memory(maps: &str) -> impl Iterator<Item = &str> {
    maps.lines().filter_map(|line| path_of(line)?.strip_prefix("/dev/shm")).filter(|name| name.starts_with('/'))
}

/// The path of a line of /proc/PID/maps, unless its file was removed.
fn path_of(line: &str) -> Option<&str> {
    // Range, rights, offset, device and inode come before the path. The path may contain blanks.
    let path = line.splitn(6, ' ').nth(5)?.trim_start();
    match path.strip_suffix(" (deleted)") {
        // A file without a name is always shown like this.
        Some(path) if path.starts_with("/memfd:") => Some(path),
        Some(_) => None,
        None => Some(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_lead_to_segments() {
        let maps = "\
55d0a0000000-55d0a0001000 r--p 00000000 08:01 123                        /usr/bin/web server
7f0000000000-7f0000100000 rw-s 00000000 00:1a 7                          /dev/shm/my-server
7f0000100000-7f0000101000 ---s 00000000 00:1a 7                          /dev/shm/my-server
7f0000200000-7f0000300000 rw-s 00000000 00:1a 8                          /dev/shm/old (deleted)
7f0000300000-7f0000400000 rw-s 00000000 00:01 9                          /memfd:seqcast (deleted)
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]
7ffc00021000-7ffc00022000 rw-p 00000000 00:00 0 
";
        assert_eq!(files_in_shared_memory(maps).collect::<Vec<_>>(), ["/my-server", "/my-server"]);
        assert_eq!(maps.lines().filter(|line| path_of(line) == Some("/memfd:seqcast")).count(), 1);
    }

    #[test]
    fn many_names_are_cut_short() {
        let names: Vec<String> = (0..10).map(|i| format!("/{i}")).collect();
        assert_eq!(listed(&names[..1]), "/0");
        assert_eq!(listed(&names[..8]), "/0, /1, /2, /3, /4, /5, /6, /7");
        assert_eq!(listed(&names), "/0, /1, /2, /3, /4, /5, /6, /7 and 2 more");
    }
}
