//! One name, and the files that it has led to.

/// A file as far as creation is concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct File {
    pub(crate) content: Content,
    pub(crate) has_size: bool,
    pub(crate) formatted: bool,
    pub(crate) nonce: u8,
    /// The process that has the lock on its creation byte. The kernel releases the lock of a dead process.
    pub(crate) locked_by: Option<usize>,
}

/// The state of its first word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Content {
    #[default]
    Empty,
    Forming,
    Magic,
}

/// Indexes into `files` are inodes, and are never reused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct FileSystem {
    pub(crate) name: Option<usize>,
    pub(crate) files: Vec<File>,
}

impl FileSystem {
    /// `O_CREAT | O_EXCL`.
    pub(crate) fn create(&mut self) -> Option<usize> {
        if self.name.is_some() {
            return None;
        }
        self.files.push(File::default());
        self.name = Some(self.files.len() - 1);
        self.name
    }

    pub(crate) fn release_locks_of(&mut self, process: usize) {
        for file in &mut self.files {
            if file.locked_by == Some(process) {
                file.locked_by = None;
            }
        }
    }
}
