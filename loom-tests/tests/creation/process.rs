//! One process's way through creation, one system call at a time.

use crate::file_system::{Content, FileSystem};

/// The goal of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Intent {
    Create,
    Open,
    OpenOrCreate,
    Unlink,
}

/// An omitted clause of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    NoLock,
    NoSecondLookUnderTheLock,
    NameNotComparedBeforeForming,
    NameNotComparedAfterForming,
    NonceNotComparedByTheCreator,
    NonceNotComparedByTheOpener,
    MagicFirst,
    OpenerDoesNotWait,
    FormingIsForeign,
    LockOutlivesTheDead,
}

impl Bug {
    /// The bugs that break something.
    pub(crate) const ALL: [Bug; 7] = [
        Bug::NoLock,
        Bug::NoSecondLookUnderTheLock,
        Bug::NonceNotComparedByTheCreator,
        Bug::NonceNotComparedByTheOpener,
        Bug::MagicFirst,
        Bug::FormingIsForeign,
        Bug::LockOutlivesTheDead,
    ];
}

/// The end of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum End {
    /// Has mapped this inode.
    Has(usize),
    Exists,
    NotFound,
    Unfinished,
    Foreign,
    Unlinked,
    /// The name changed hands too often.
    Replaced,
    Dead,
}

/// The next system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Next {
    Open,
    CreateExclusively,
    ReadState,
    Lock,
    ReadStateLocked,
    CompareName,
    WriteForming,
    Wipe,
    Allocate,
    WriteNonce,
    MapOwn,
    Format { mapped: usize },
    WriteMagic { mapped: usize },
    CompareNameAgain,
    AskForLock,
    ReadStateOutwaited { locked: bool },
    CompareNameUnfinished,
    ReadNonce,
    MapFinished { nonce: u8 },
    CompareNonce { nonce: u8, mapped: usize },
    CompareNameToUnlink,
    Unlink,
    Ended(End),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    intent: Intent,
    next: Next,
    /// The open inode.
    file: usize,
    rounds: u8,
}

/// The number of rounds after which a process gives up a name that changes repeatedly.
const ROUNDS: u8 = 4;

impl Process {
    pub(crate) fn new(intent: Intent) -> Process {
        Process { intent, next: Next::Open, file: usize::MAX, rounds: 0 }
    }

    pub(crate) fn end(&self) -> Option<End> {
        match self.next {
            Next::Ended(end) => Some(end),
            _ => None,
        }
    }

    pub(crate) fn kill(&mut self) {
        (self.next, self.file, self.rounds) = (Next::Ended(End::Dead), usize::MAX, 0);
    }

    fn may_create(&self) -> bool {
        matches!(self.intent, Intent::Create | Intent::OpenOrCreate)
    }

    fn begin_again(&mut self, fs: &mut FileSystem, me: usize) -> Next {
        fs.release_locks_of(me);
        self.rounds += 1;
        if self.rounds == ROUNDS { Next::Ended(End::Replaced) } else { Next::Open }
    }

    /// Takes the next step as process number `me`. Returns `Ok(false)` if it has to wait, and `Err` if it does harm.
    pub(crate) fn step(&mut self, fs: &mut FileSystem, me: usize, bug: Option<Bug>) -> Result<bool, String> {
        let is = |wanted| bug == Some(wanted);
        let nonce = 1 + me as u8 * ROUNDS + self.rounds;
        self.next = match self.next {
            Next::Open => match fs.name {
                Some(inode) => {
                    self.file = inode;
                    if self.intent == Intent::Unlink { Next::CompareNameToUnlink } else { Next::ReadState }
                }
                None if self.may_create() => Next::CreateExclusively,
                None => Next::Ended(End::NotFound),
            },
            Next::CreateExclusively => match fs.create() {
                Some(inode) => {
                    self.file = inode;
                    Next::ReadState
                }
                None => self.begin_again(fs, me),
            },
            Next::ReadState => match fs.files[self.file].content {
                Content::Magic => self.finished(fs, me),
                Content::Forming if is(Bug::FormingIsForeign) => Next::Ended(End::Foreign),
                _ if self.may_create() && is(Bug::NoLock) => Next::ReadStateLocked,
                _ if self.may_create() => Next::Lock,
                _ => Next::AskForLock,
            },
            Next::Lock => {
                let lock = &mut fs.files[self.file].locked_by;
                if lock.is_some() {
                    return Ok(false);
                }
                *lock = Some(me);
                if is(Bug::NoSecondLookUnderTheLock) { Next::CompareName } else { Next::ReadStateLocked }
            }
            Next::ReadStateLocked => match fs.files[self.file].content {
                Content::Magic => self.finished(fs, me),
                _ => Next::CompareName,
            },
            Next::CompareName if is(Bug::NameNotComparedBeforeForming) => Next::WriteForming,
            Next::CompareName => match fs.name == Some(self.file) {
                true => Next::WriteForming,
                false => self.begin_again(fs, me),
            },
            Next::WriteForming => {
                let content = if is(Bug::MagicFirst) { Content::Magic } else { Content::Forming };
                if fs.files[self.file].content == Content::Magic {
                    return Err(format!("process {me} forms a segment that is finished"));
                }
                fs.files[self.file].content = content;
                Next::Wipe
            }
            Next::Wipe => {
                let file = &mut fs.files[self.file];
                (file.nonce, file.formatted) = (0, false);
                Next::Allocate
            }
            Next::Allocate => {
                fs.files[self.file].has_size = true;
                Next::WriteNonce
            }
            Next::WriteNonce => {
                fs.files[self.file].nonce = nonce;
                Next::MapOwn
            }
            // The crate that maps opens the name once more. The nonce tells whether it found the same file.
            Next::MapOwn => match fs.name {
                Some(mapped) if fs.files[mapped].nonce == nonce || is(Bug::NonceNotComparedByTheCreator) => {
                    Next::Format { mapped }
                }
                _ => self.begin_again(fs, me),
            },
            Next::Format { mapped } => {
                fs.files[mapped].formatted = true;
                fs.files[mapped].nonce = nonce;
                Next::WriteMagic { mapped }
            }
            Next::WriteMagic { mapped } => {
                fs.files[mapped].content = Content::Magic;
                Next::CompareNameAgain
            }
            Next::CompareNameAgain if is(Bug::NameNotComparedAfterForming) => self.has(fs, me, self.file)?,
            Next::CompareNameAgain => match fs.name == Some(self.file) {
                true => self.has(fs, me, self.file)?,
                false => self.begin_again(fs, me),
            },
            Next::AskForLock if is(Bug::OpenerDoesNotWait) => Next::Ended(End::Unfinished),
            Next::AskForLock => Next::ReadStateOutwaited { locked: fs.files[self.file].locked_by.is_some() },
            Next::ReadStateOutwaited { locked } => match fs.files[self.file].content {
                Content::Magic => Next::ReadNonce,
                // It naps until there is something new to see.
                _ if locked && fs.files[self.file].locked_by.is_some() => return Ok(false),
                _ if locked => Next::AskForLock,
                _ => Next::CompareNameUnfinished,
            },
            Next::CompareNameUnfinished => match fs.name == Some(self.file) {
                true => Next::Ended(End::Unfinished),
                false => self.begin_again(fs, me),
            },
            Next::ReadNonce => Next::MapFinished { nonce: fs.files[self.file].nonce },
            Next::MapFinished { nonce } => match fs.name {
                Some(mapped) => Next::CompareNonce { nonce, mapped },
                None => self.begin_again(fs, me),
            },
            Next::CompareNonce { nonce, mapped } => {
                match fs.files[mapped].nonce == nonce || is(Bug::NonceNotComparedByTheOpener) {
                    true => self.has(fs, me, mapped)?,
                    false => self.begin_again(fs, me),
                }
            }
            Next::CompareNameToUnlink => match fs.name == Some(self.file) {
                true => Next::Unlink,
                false => Next::Ended(End::Replaced),
            },
            Next::Unlink => {
                fs.name = None;
                Next::Ended(End::Unlinked)
            }
            Next::Ended(_) => return Ok(false),
        };
        if self.end().is_some() {
            fs.release_locks_of(me);
            // State that is no longer read must not distinguish states.
            (self.file, self.rounds) = (usize::MAX, 0);
        }
        Ok(true)
    }

    fn finished(&self, fs: &mut FileSystem, me: usize) -> Next {
        fs.release_locks_of(me);
        if self.intent == Intent::Create { Next::Ended(End::Exists) } else { Next::ReadNonce }
    }

    /// Ends with `inode`, which must be a valid segment; otherwise harm is done.
    fn has(&self, fs: &FileSystem, me: usize, inode: usize) -> Result<Next, String> {
        let file = &fs.files[inode];
        if file.content != Content::Magic || !file.formatted || !file.has_size || file.nonce == 0 {
            return Err(format!("process {me} has mapped an unfinished segment: {file:?}"));
        }
        Ok(Next::Ended(End::Has(inode)))
    }
}
