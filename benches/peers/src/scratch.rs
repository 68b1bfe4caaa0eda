//! Names that no other run uses, and removal of the files under them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// Returns a name of this process that is never returned twice.
pub fn name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // The dash at the end prevents the name from being the beginning of another.
    format!("seqcast-bench-{}-{}-", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Removes the shared memory with `name` in its name.
pub fn remove_shared_memory(name: &str) {
    let Ok(entries) = std::fs::read_dir("/dev/shm") else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().contains(name) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// A directory of this process. Dropping it removes the directory.
pub struct Directory(pub PathBuf);

impl Directory {
    pub fn new() -> Directory {
        let path = std::env::temp_dir().join(name());
        std::fs::create_dir_all(&path).expect("a directory for temporary files");
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
