//! The database: a folder with a file for each item. It is slower than a cache, and shared.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Clone, Debug)]
pub struct Database {
    folder: PathBuf,
}

impl Database {
    pub fn at(folder: &Path) -> Database {
        Database { folder: folder.to_owned() }
    }

    pub fn get(&self, key: &str) -> io::Result<Option<String>> {
        match fs::read_to_string(self.folder.join(key)) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub fn put(&self, key: &str, value: &str) -> io::Result<()> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let draft = self.folder.join(format!(".{}-{number}", std::process::id()));
        fs::write(&draft, value)?;
        fs::rename(draft, self.folder.join(key))
    }

    pub fn delete(&self, key: &str) -> io::Result<()> {
        match fs::remove_file(self.folder.join(key)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
