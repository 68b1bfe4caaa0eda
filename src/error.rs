//! The error type.

pub(crate) mod text;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::identity::BusId;
use crate::os::fork::Forked;
use crate::protocol::Fault;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An error: its kind, the values, and a text that says what to do.
///
/// An error is one word wide. [`kind`](Error::kind) is for decisions and has stable numbers, [`cause`](Error::cause)
/// returns the values, and the text contains both and a remedy. No error leaves an operation half done: the state
/// before the call is the state after it.
///
/// ```
/// use seqcast::{Bus, Cause, ErrorKind};
///
/// let error = Bus::open("no-such-segment").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::NotFound);
/// assert_eq!(error.code(), "not_found");
/// assert!(matches!(error.cause(), Cause::NotFound { name } if name == "/no-such-segment"));
/// assert_eq!(size_of::<seqcast::Error>(), size_of::<usize>());
/// ```
#[derive(Clone)]
pub struct Error(Arc<Cause>);

/// The values of an [`Error`], by its kind.
#[derive(Debug)]
#[non_exhaustive]
pub enum Cause {
    /// The name cannot name a segment.
    Name {
        /// The name as given, shortened.
        name: String,
        /// The rule for names.
        rule: &'static str,
    },
    /// An option's value is out of range.
    Option {
        /// The option.
        option: &'static str,
        /// The value given.
        value: String,
        /// The rule for values.
        rule: String,
    },
    /// A source or event name is empty or too long.
    Topic {
        /// `"source"` or `"event"`.
        part: &'static str,
        /// Its length in bytes.
        len: usize,
        /// The largest length in bytes.
        max: usize,
    },
    /// An application posted under the library's own source.
    LibrarySource,
    /// A typed value was posted under a topic other than its type's.
    TypedTopic {
        /// The Rust type.
        type_name: &'static str,
        /// The topic given.
        topic: String,
        /// The type's topic.
        expected: String,
    },
    /// No segment has this name.
    NotFound {
        /// The segment's name.
        name: String,
    },
    /// A segment of this name already exists.
    Exists {
        /// The segment's name.
        name: String,
    },
    /// The name leads to something that is not a seqcast segment.
    Foreign {
        /// The segment's name.
        name: String,
        /// A description of what the name leads to.
        found: String,
    },
    /// The segment is unfinished: its creator died, or is still at work.
    Unfinished {
        /// The segment's name.
        name: String,
    },
    /// Another process is creating the segment and has not finished.
    Busy {
        /// The segment's name.
        name: String,
        /// How long this call waited.
        waited: Duration,
    },
    /// The segment has a layout that this version of the crate does not support.
    Layout {
        /// The segment's name.
        name: String,
        /// The layout version found.
        found: u32,
        /// The layout version of this crate.
        expected: u32,
    },
    /// The segment was created by a build with a different memory layout.
    Fingerprint {
        /// The segment's name.
        name: String,
        /// The fingerprint found.
        found: u64,
        /// The fingerprint of this build.
        expected: u64,
    },
    /// The segment was created under another boot id, and no worker of this kernel has a seat in it. It is from before
    /// the host was started, or from a container with a different boot id that has no worker on it yet.
    OtherBoot {
        /// The segment's name.
        name: String,
        /// The boot id under which it was created.
        found: u128,
        /// The boot id that this process sees.
        expected: u128,
    },
    /// The segment belongs to another user.
    Owner {
        /// The segment's name.
        name: String,
        /// The owner's user id.
        found: u32,
        /// The accepted user ids.
        accepted: Vec<u32>,
    },
    /// The segment's mode gives access to more users than the options allow.
    Mode {
        /// The segment's name.
        name: String,
        /// The mode found.
        found: u32,
        /// The widest accepted mode.
        accepted: u32,
    },
    /// The segment exists with options other than those that were set, and
    /// [`SegmentOptions::strict`](crate::SegmentOptions::strict) was set.
    OptionsDiffer {
        /// The segment's name.
        name: String,
        /// The differing options.
        differences: Vec<Difference>,
    },
    /// The segment is smaller than its header says, or smaller than a header.
    Truncated {
        /// The segment's name.
        name: String,
        /// Its size in bytes.
        size: u64,
        /// The size in bytes that it must have.
        expected: u64,
    },
    /// The system denies this process access to the segment.
    Denied {
        /// The segment's name.
        name: String,
        /// This process's effective user id.
        uid: u32,
    },
    /// There is too little shared memory for the segment.
    NoSpace {
        /// The segment's name.
        name: String,
        /// The segment's size in bytes.
        size: u64,
        /// Free shared memory in bytes.
        free: u64,
    },
    /// The process may not create files of the segment's size (`RLIMIT_FSIZE`).
    FileLimit {
        /// The segment's name.
        name: String,
        /// The segment's size in bytes.
        size: u64,
        /// The size in bytes of the largest file that the process may create.
        limit: u64,
    },
    /// A control group of the process has too little memory left.
    MemoryLimit {
        /// The segment's name.
        name: String,
        /// The segment's size in bytes.
        size: u64,
        /// The remaining memory of the group, in bytes.
        left: u64,
        /// The group's limit in bytes.
        limit: u64,
        /// The file that contains the limit.
        file: PathBuf,
    },
    /// Signals repeatedly interrupted the creation of the segment.
    Interrupted {
        /// The segment's name.
        name: String,
        /// The number of interruptions.
        times: u64,
        /// How long this call tried.
        waited: Duration,
    },
    /// The directory of shared memory is missing, or cannot hold a segment.
    NoSharedMemory {
        /// The segment's name.
        name: String,
        /// The state of the directory.
        found: String,
    },
    /// The file system of shared memory is mounted read-only.
    ReadOnly {
        /// The segment's name.
        name: String,
    },
    /// The file system of shared memory has no free inode.
    NoInodes {
        /// The segment's name.
        name: String,
        /// The number of inodes of the file system.
        inodes: u64,
    },
    /// The segment's file has more than one name.
    Linked {
        /// The segment's name.
        name: String,
        /// The number of names.
        links: u64,
    },
    /// The segment's file lacks some of its memory.
    Holes {
        /// The segment's name.
        name: String,
        /// Its size in bytes.
        size: u64,
        /// The number of bytes with memory.
        allocated: u64,
    },
    /// The name no longer leads to this segment.
    Replaced {
        /// The segment's name.
        name: String,
    },
    /// Every seat is taken.
    NoSeat {
        /// The segment's name.
        name: String,
        /// The number of seats.
        seats: u32,
        /// The holders of the seats.
        holders: Vec<Holder>,
    },
    /// This process has closed the descriptor of its segment, or has put another file on its number, and the segment
    /// cannot be opened again. Workers that have joined continue.
    Descriptor {
        /// The segment's name.
        name: String,
        /// The reason why it cannot be opened again.
        why: &'static str,
    },
    /// Another process has taken this worker's seat, because the lock on the seat was lost. The worker can no longer do
    /// anything, and has not changed the seat since.
    Displaced {
        /// The segment's name.
        name: String,
        /// The seat.
        seat: u32,
    },
    /// The handle was created before this process was forked. Or the process was forked during the call, for example by
    /// a handler, and this is the child.
    Forked,
    /// The payload is too large.
    PayloadTooLarge {
        /// The payload's length in bytes, including its source and event.
        len: usize,
        /// The largest such length in bytes.
        max: usize,
        /// The limit that it exceeds.
        limit: SizeLimit,
    },
    /// The id to start at has not been posted yet.
    NotYet {
        /// The requested id.
        id: u64,
        /// The next id to be posted.
        next: u64,
    },
    /// The saved position belongs to another bus: the segment of this name has been created again since.
    OtherBus {
        /// The segment's name.
        name: String,
        /// The bus of the position.
        position: BusId,
        /// The bus that the name leads to.
        found: BusId,
    },
    /// The reserved id was given up before the commit.
    TooLate {
        /// The id.
        id: u64,
    },
    /// A payload does not match its type.
    Payload {
        /// The event's source.
        source: String,
        /// The event's name.
        event: String,
        /// The mismatch.
        reason: &'static str,
    },
    /// A value could not be archived.
    Archive {
        /// The Rust type.
        type_name: &'static str,
        /// The message of the archiver.
        reason: String,
    },
    /// The segment's words are inconsistent.
    Corrupt {
        /// The segment's name.
        name: String,
        /// The inconsistency.
        what: &'static str,
    },
    /// A counter that must never repeat is exhausted.
    Exhausted {
        /// The segment's name.
        name: String,
        /// The exhausted counter.
        what: &'static str,
    },
    /// The worker has left the bus.
    Left,
    /// The process has already configured its worker.
    AlreadyConfigured {
        /// The segment's name.
        name: String,
    },
    /// The process has not configured its worker yet.
    NotConfigured,
    /// The thread of a poller panicked.
    PollerPanicked {
        /// The message of the panic.
        message: String,
    },
    /// Posts do not ring a bell. It polls at an interval instead.
    Unheard {
        /// The segment's name.
        name: String,
        /// The reason.
        why: String,
    },
    /// This process has closed a descriptor of a bell, or put another file on its number.
    BellClosed {
        /// The segment's name.
        name: String,
    },
    /// The typed values of the bus have another format than those of this program. rkyv's features decide the format:
    /// `unaligned`, `little_endian` or `big_endian`, `pointer_width_16`, `_32` or `_64`. Bytes are not affected.
    TypedFormat {
        /// The Rust type.
        type_name: &'static str,
        /// The format of the bus: that of the first program that used typed values on it.
        found: u64,
        /// The format of this program.
        expected: u64,
    },
    /// A claim was to be renewed or completed, and has ended: its ttl is over, it was released, or it ended with its
    /// holder.
    ClaimLost {
        /// The segment's name.
        name: String,
        /// The holder of the key now, if it is held. The pid is 0 if that holder has left, too.
        holder: Option<Holder>,
    },
    /// There is no place for the key of a retained event. The event was not posted.
    RetainedFull {
        /// The event's source.
        source: String,
        /// The event's name.
        event: String,
        /// The number of keys for which the segment has room.
        keys: u64,
    },
    /// A post would have lapped a reader that [must read](crate::WorkerOptions::must_read), and did not wait for it.
    /// The event was not posted.
    Full {
        /// The segment's name.
        name: String,
        /// The reader that is furthest behind. If it is the one that posts, `own` is `true`.
        reader: Holder,
        /// `true` if the post came from this reader itself: it has to read first.
        own: bool,
        /// How many ids the reader is behind.
        lag: u64,
        /// How long other posts wait for the reader.
        patience: Duration,
    },
    /// There is no relay on this host to send an event to the others: none has been started, or the last one has left.
    NoRelay {
        /// The segment's name.
        name: String,
    },
    /// Another process is the relay of this segment.
    RelayTaken {
        /// The segment's name.
        name: String,
        /// The process id of the relay, in its own pid namespace. 0 if it is not known.
        pid: u32,
    },
    /// A relay has no place to remember what comes from a further host. The event was not posted.
    RelayFull {
        /// The segment's name.
        name: String,
        /// The number of hosts for which the segment has room.
        hosts: u64,
    },
    /// A system call failed.
    System {
        /// The segment's name.
        name: String,
        /// The system call.
        call: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

/// The limit on the size of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SizeLimit {
    /// A posted event fits a quarter of the ring, or one block or large block if that is larger.
    Ring,
    /// A reserved event fits one block, or one large block if the segment has them.
    Block,
    /// A retained event is limited by the slot of its key, and as a posted event.
    Retained,
}

/// The holder of a seat.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// The seat's number.
    pub seat: u32,
    /// The holder's process id, in its own pid namespace.
    pub pid: u32,
    /// The holder's label.
    pub label: String,
    /// `true` if the holder lives but has lost the lock of its seat. No other process takes the seat.
    pub unlocked: bool,
}

/// An option that was set when an existing segment was opened, and that differs from the segment's. The segment keeps
/// the value it was created with. See [`Bus::differences`](crate::Bus::differences).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The option, as named in [`SegmentOptions`](crate::SegmentOptions).
    pub option: &'static str,
    /// The value that was set.
    pub wanted: String,
    /// The segment's value.
    pub found: String,
}

macro_rules! kinds {
    ($($kind:ident = $number:literal, $code:literal;)+) => {
        /// The kind of an [`Error`]. Its number and its code never change; new kinds get new ones.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(u16)]
        pub enum ErrorKind {
            $(#[doc = concat!("[`Cause::", stringify!($kind), "`], `\"", $code, "\"`.")] $kind = $number,)+
        }

        impl ErrorKind {
            /// All kinds, by their numbers.
            pub const ALL: &'static [ErrorKind] = &[$(ErrorKind::$kind,)+];

            /// Returns the stable number of the kind, from 1, for foreign callers.
            pub const fn number(self) -> u16 {
                self as u16
            }

            /// Returns a short, stable name of the kind, for logs, metrics and foreign callers.
            pub const fn code(self) -> &'static str {
                match self {
                    $(ErrorKind::$kind => $code,)+
                }
            }
        }

        impl Cause {
            fn kind(&self) -> ErrorKind {
                match self {
                    $(Cause::$kind { .. } => ErrorKind::$kind,)+
                }
            }
        }
    };
}

kinds! {
    Name = 1, "name";
    Option = 2, "option";
    Topic = 3, "topic";
    LibrarySource = 4, "library_source";
    TypedTopic = 5, "typed_topic";
    NotFound = 6, "not_found";
    Exists = 7, "exists";
    Foreign = 8, "foreign";
    Unfinished = 9, "unfinished";
    Busy = 10, "busy";
    Layout = 11, "layout";
    Fingerprint = 12, "fingerprint";
    OtherBoot = 13, "other_boot";
    Owner = 14, "owner";
    Mode = 15, "mode";
    OptionsDiffer = 16, "options_differ";
    Truncated = 17, "truncated";
    Denied = 18, "denied";
    NoSpace = 19, "no_space";
    FileLimit = 20, "file_limit";
    MemoryLimit = 21, "memory_limit";
    Interrupted = 22, "interrupted";
    NoSharedMemory = 23, "no_shared_memory";
    ReadOnly = 24, "read_only";
    NoInodes = 25, "no_inodes";
    Linked = 26, "linked";
    Holes = 27, "holes";
    Replaced = 28, "replaced";
    NoSeat = 29, "no_seat";
    Descriptor = 30, "descriptor";
    Displaced = 31, "displaced";
    Forked = 32, "forked";
    PayloadTooLarge = 33, "payload_too_large";
    NotYet = 34, "not_yet";
    OtherBus = 35, "other_bus";
    TooLate = 36, "too_late";
    Payload = 37, "payload";
    Archive = 38, "archive";
    Corrupt = 39, "corrupt";
    Exhausted = 40, "exhausted";
    Left = 41, "left";
    AlreadyConfigured = 42, "already_configured";
    NotConfigured = 43, "not_configured";
    PollerPanicked = 44, "poller_panicked";
    System = 45, "system";
    Unheard = 46, "unheard";
    BellClosed = 47, "bell_closed";
    TypedFormat = 48, "typed_format";
    ClaimLost = 49, "claim_lost";
    RetainedFull = 50, "retained_full";
    Full = 51, "full";
    NoRelay = 52, "no_relay";
    RelayTaken = 53, "relay_taken";
    RelayFull = 54, "relay_full";
}

impl Error {
    /// Returns the kind of error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind()
    }

    /// Returns the values of the error.
    pub fn cause(&self) -> &Cause {
        &self.0
    }

    /// Returns a short, stable name of the kind: [`ErrorKind::code`].
    pub fn code(&self) -> &'static str {
        self.kind().code()
    }

    pub(crate) fn of_fault(name: &str, fault: Fault) -> Error {
        match fault {
            Fault::Corrupt(what) => Cause::Corrupt { name: name.to_owned(), what },
            Fault::Exhausted(what) => Cause::Exhausted { name: name.to_owned(), what },
        }
        .into()
    }

    pub(crate) fn system(name: &str, call: &'static str, source: impl Into<io::Error>) -> Error {
        Cause::System { name: name.to_owned(), call, source: source.into() }.into()
    }

    pub(crate) fn option(option: &'static str, value: impl fmt::Display, rule: impl Into<String>) -> Error {
        Cause::Option { option, value: value.to_string(), rule: rule.into() }.into()
    }
}

impl From<Cause> for Error {
    #[cold]
    fn from(cause: Cause) -> Error {
        Error(Arc::new(cause))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&*self.0, f)
    }
}

impl From<Forked> for Error {
    fn from(Forked: Forked) -> Error {
        Cause::Forked.into()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self.cause() {
            Cause::System { source, .. } => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn kinds_are_numbered_from_1_and_have_codes_of_their_own() {
        let numbers: Vec<u16> = ErrorKind::ALL.iter().map(|kind| kind.number()).collect();
        assert_eq!(numbers, (1..=ErrorKind::ALL.len() as u16).collect::<Vec<_>>());
        let mut codes: Vec<&str> = ErrorKind::ALL.iter().map(|kind| kind.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), ErrorKind::ALL.len());
    }

    #[test]
    fn only_a_failed_call_has_a_source() {
        let error = Error::system("/name", "open", io::Error::from(io::ErrorKind::NotFound));
        assert_eq!(error.source().unwrap().to_string(), io::Error::from(io::ErrorKind::NotFound).to_string());
        assert!(error.to_string().starts_with("open failed for segment /name: "), "{error}");
        assert!(Error::from(Cause::Left).source().is_none());
    }
}
