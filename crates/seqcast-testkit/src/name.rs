//! Names of segments that are removed.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{fs, process};

/// The name of a segment of this process alone. Dropping it in the process that created it removes the segment.
pub struct Name {
    name: String,
    pid: u32,
}

impl Name {
    pub fn new() -> Name {
        Name::default()
    }

    /// Returns the path of the segment.
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/dev/shm").join(&self.name)
    }
}

impl Default for Name {
    fn default() -> Name {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let pid = process::id();
        Name { name: format!("seqcast-t-{pid}-{}", NEXT.fetch_add(1, Ordering::Relaxed)), pid }
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.name
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if process::id() == self.pid {
            let _ = fs::remove_file(self.path());
        }
    }
}
