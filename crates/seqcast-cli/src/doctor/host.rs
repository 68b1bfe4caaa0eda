//! Findings about the host.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use seqcast::inspect::Listed;

use super::Finding;
use crate::units::bytes;

/// /dev/shm is nearly full if less than one part in this number is free.
const LEAST_FREE_PART: u64 = 10;
/// The lowest user id of a regular user, as opposed to a service, for logind.
const FIRST_PERSON: u32 = 1000;

pub fn findings(segments: &[Listed]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = space().into_iter().collect();
    let people: Vec<u32> = segments.iter().map(|listed| listed.file.uid()).filter(|&uid| uid >= FIRST_PERSON).collect();
    if let Some(&uid) = people.first()
        && logind_removes_ipc(Path::new("/"))
    {
        findings.push(Finding::trouble(
            "remove_ipc",
            "host",
            format!("logind removes the segments of user {uid} when that user's last session ends (RemoveIPC=yes)"),
            "set RemoveIPC=no in /etc/systemd/logind.conf and restart systemd-logind, let the workers run as a system \
             user (id below 1000), or keep a session with: loginctl enable-linger",
        ));
    }
    findings
}

fn space() -> Option<Finding> {
    let stat = rustix::fs::statvfs("/dev/shm").ok()?;
    let (total, free) = (stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize);
    nearly_full(total, free)
}

fn nearly_full(total: u64, free: u64) -> Option<Finding> {
    (free < total / LEAST_FREE_PART).then(|| {
        Finding::trouble(
            "shm_full",
            "/dev/shm",
            format!("nearly full: {} of {} free", bytes(free), bytes(total)),
            "remove unused segments (seqcast ls, seqcast doctor --fix), or enlarge it: mount -o remount,size=SIZE \
             /dev/shm; docker run --shm-size=SIZE",
        )
    })
}

/// Returns `true` if logind runs and is not configured to leave shared memory alone.
fn logind_removes_ipc(root: &Path) -> bool {
    root.join("run/systemd/users").is_dir() && remove_ipc(root)
}

/// Reads RemoveIPC as logind.conf(5) describes it: one main file, and the last of all drop-ins by name. Drop-ins in
/// /etc replace others of the same name.
fn remove_ipc(root: &Path) -> bool {
    let places =
        ["usr/lib/systemd", "usr/local/lib/systemd", "run/systemd", "etc/systemd"].map(|place| root.join(place));
    let mut value = true;
    let main = places.iter().rev().find_map(|place| std::fs::read_to_string(place.join("logind.conf")).ok());
    let mut drop_ins = BTreeMap::new();
    for place in &places {
        let Ok(entries) = std::fs::read_dir(place.join("logind.conf.d")) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name.as_encoded_bytes().ends_with(b".conf") {
                drop_ins.insert(name, entry.path());
            }
        }
    }
    let drop_ins = drop_ins.values().filter_map(|path| std::fs::read_to_string(path).ok());
    for text in main.into_iter().chain(drop_ins) {
        for line in text.lines() {
            if let Some((key, setting)) = line.split_once('=')
                && key.trim() == "RemoveIPC"
            {
                value =
                    !matches!(setting.trim().to_ascii_lowercase().as_str(), "no" | "n" | "false" | "f" | "off" | "0");
            }
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Root(std::path::PathBuf);

    impl Root {
        fn new(name: &str) -> Root {
            let root = std::env::temp_dir().join(format!("seqcast-doctor-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&root).unwrap();
            Root(root)
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn remove_ipc_is_read_as_logind_reads_it() {
        let root = Root::new("logind");
        assert!(!logind_removes_ipc(&root.0), "there is no logind");
        std::fs::create_dir_all(root.0.join("run/systemd/users")).unwrap();
        assert!(logind_removes_ipc(&root.0), "yes is the default");
        root.write("etc/systemd/logind.conf", "[Login]\n#RemoveIPC=no\n");
        assert!(logind_removes_ipc(&root.0), "a comment was taken for a setting");
        root.write("etc/systemd/logind.conf", "[Login]\nRemoveIPC = no\n");
        assert!(!logind_removes_ipc(&root.0));
        root.write("usr/lib/systemd/logind.conf.d/50.conf", "[Login]\nRemoveIPC=yes\n");
        assert!(logind_removes_ipc(&root.0), "drop-ins come after the main file");
        root.write("etc/systemd/logind.conf.d/50.conf", "[Login]\nRemoveIPC=off\n");
        assert!(!logind_removes_ipc(&root.0), "/etc replaces a drop-in of the same name");
        root.write("run/systemd/logind.conf.d/60.conf", "[Login]\nRemoveIPC=1\n");
        assert!(logind_removes_ipc(&root.0), "the last by name counts");
    }

    #[test]
    fn nearly_full_is_less_than_a_tenth() {
        assert!(nearly_full(1000, 100).is_none());
        let finding = nearly_full(64 << 20, 6 << 20).unwrap();
        assert!(finding.what.contains("6.0 MiB of 64 MiB"), "{}", finding.what);
    }
}
