//! The error type.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::identity::BusId;
use crate::os::fork::Forked;
use crate::os::text::printable;
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

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, not {}", self.option, self.found, self.wanted)
    }
}

/// A list of differences, to be printed.
pub(crate) struct DifferenceList<'a>(pub(crate) &'a [Difference]);

impl fmt::Display for DifferenceList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, difference) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{difference}")?;
        }
        Ok(())
    }
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

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Name { name, rule } => write!(f, "{:?} cannot name a segment: {rule}", printable(name)),
            Cause::Option { option, value, rule } => write!(f, "option {option} = {value}: {rule}"),
            Cause::Topic { part, len, max } => {
                write!(f, "the {part} is {len} bytes long: give it 1 to {max} bytes")
            }
            Cause::LibrarySource => {
                write!(f, "the source \"seqcast\" is the library's own: use another source")
            }
            Cause::TypedTopic { type_name, topic, expected } => write!(
                f,
                "a value of type {type_name} was posted under {topic}, but its topic is {expected}: post it under its \
                 own topic, or post bytes"
            ),
            Cause::NotFound { name } => {
                write!(f, "no segment {name}: create it first, or use open_or_create")
            }
            Cause::Exists { name } => {
                write!(f, "segment {name} exists: open it, use open_or_create, or unlink it first")
            }
            Cause::Foreign { name, found } => write!(
                f,
                "{name} is not a seqcast segment ({found}): choose another name, or remove the file if it is \
                 not needed"
            ),
            Cause::Unfinished { name } => write!(
                f,
                "segment {name} is unfinished: its creator died or is still at work; open_or_create finishes it"
            ),
            Cause::Busy { name, waited: Duration::ZERO } => {
                write!(f, "another process is creating segment {name}: end that process if it is stopped")
            }
            Cause::Busy { name, waited } => write!(
                f,
                "another process has been creating segment {name} for {waited:?}: try again, or end that process \
                 if it is stopped"
            ),
            Cause::Layout { name, found, expected } => write!(
                f,
                "segment {name} has layout version {found}, this seqcast uses {expected}: give the new release a \
                 segment name of its own, or unlink the old segment when its workers are gone"
            ),
            Cause::Fingerprint { name, found, expected } => write!(
                f,
                "segment {name} was created by another build (fingerprint {found:#018x}, ours {expected:#018x}; the \
                 memory layout differs): use another name, or build all workers for the same target and from the same \
                 version"
            ),
            Cause::OtherBoot { name, found, expected } => write!(
                f,
                "segment {name} was created under boot id {found:032x}, this process sees {expected:032x}, and no \
                 worker of this kernel has a seat in it: if a container with another boot id uses it, let a worker \
                 join there first; if it is from before the last boot, remove it with seqcast doctor --fix or \
                 inspect::unlink_unheld, which remove it only if no process has it open"
            ),
            Cause::Owner { name, found, accepted } => write!(
                f,
                "segment {name} belongs to user {found}, accepted users are {accepted:?}: create it with .owner(uid, \
                 gid) of the workers' user, or accept that owner with the same option"
            ),
            Cause::Mode { name, found, accepted } => write!(
                f,
                "segment {name} has mode {found:04o}, the widest accepted is {accepted:04o}: open it with \
                 .mode({found:#o}) if that is intended, or chmod it"
            ),
            Cause::OptionsDiffer { name, differences } => write!(
                f,
                "segment {name} exists with options other than those set: {}; open it without .strict(true) to \
                 accept them, use another name, or unlink it when its workers are gone",
                DifferenceList(differences)
            ),
            Cause::Truncated { name, size, expected } => write!(
                f,
                "segment {name} has {size} bytes instead of {expected}: it was truncated; unlink it and create it \
                 again"
            ),
            Cause::Denied { name, uid } => write!(
                f,
                "user {uid} may not open segment {name}: join before dropping privileges, or create it with \
                 .owner(uid, gid) or a wider .mode()"
            ),
            Cause::NoSpace { name, size, free } => write!(
                f,
                "segment {name} needs {size} bytes, but shared memory has {free} free: lower capacity, block_size or \
                 claims, or enlarge /dev/shm (docker: --shm-size)"
            ),
            Cause::FileLimit { name, size, limit } => write!(
                f,
                "segment {name} needs {size} bytes, but this process may create files of at most {limit} bytes \
                 (RLIMIT_FSIZE): raise it (ulimit -f, systemd: LimitFSIZE=), or lower capacity, block_size or claims"
            ),
            Cause::MemoryLimit { name, size, left, limit, file } => write!(
                f,
                "segment {name} needs {size} bytes, but the control group of this process has {left} left of the \
                 {limit} in {}: raise that limit (docker: --memory, systemd: MemoryMax=), or lower capacity, \
                 block_size or claims",
                file.display(),
            ),
            Cause::Interrupted { name, times, waited } => write!(
                f,
                "signals interrupted the creation of segment {name} {times} times within {waited:?}: block them \
                 while the bus is created, or find their sender"
            ),
            Cause::NoSharedMemory { name, found } => write!(
                f,
                "segment {name} cannot exist here: {found}; mount a tmpfs there (mount -t tmpfs -o mode=1777 tmpfs \
                 /dev/shm); if this process calls chroot, open and join the bus before that, or bind the host's \
                 /dev/shm into the new root"
            ),
            Cause::ReadOnly { name } => write!(
                f,
                "/dev/shm is mounted read-only, so segment {name} can be inspected, but not created, joined or \
                 removed: mount -o remount,rw /dev/shm (docker --read-only: add --tmpfs /dev/shm, or --ipc=shareable)"
            ),
            Cause::NoInodes { name, inodes } => write!(
                f,
                "segment {name} cannot be created: /dev/shm has room for {inodes} files and all are in use; \
                 remove unused files, or mount -o remount,nr_inodes=NUMBER /dev/shm"
            ),
            Cause::Linked { name, links } => write!(
                f,
                "the file of segment {name} has {links} names, and other processes may open it by the other names; \
                 unlink it and create it again (find /dev/shm -samefile /dev/shm{name} shows them)"
            ),
            Cause::Holes { name, size, allocated } => write!(
                f,
                "segment {name} has memory for only {allocated} of its {size} bytes, and a worker could die of SIGBUS \
                 when it touches the rest: holes were punched into it, or it was copied sparsely; unlink it and create \
                 it again"
            ),
            Cause::Replaced { name } => {
                write!(f, "the name {name} no longer leads to this segment: it was unlinked or created again")
            }
            Cause::NoSeat { name, seats, holders } => {
                write!(f, "all {seats} seats of segment {name} are held (")?;
                for (i, holder) in holders.iter().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    write!(f, "{comma}{}: pid {}", holder.seat, holder.pid)?;
                    if !holder.label.is_empty() {
                        write!(f, " {:?}", printable(&holder.label))?;
                    }
                    if holder.unlocked {
                        write!(f, " unlocked")?;
                    }
                }
                write!(f, "): create it with more .seats()")?;
                match holders.iter().filter(|holder| holder.unlocked).count() {
                    0 => Ok(()),
                    unlocked => write!(
                        f,
                        "; {unlocked} of them {} by a process that lives but has lost its lock: restart the processes \
                         marked unlocked",
                        if unlocked == 1 { "is held" } else { "are held" }
                    ),
                }
            }
            Cause::Descriptor { name, why } => write!(
                f,
                "this process has closed the descriptor of segment {name}, or put another file on its number, and \
                 {why}: close descriptors (closefrom, daemonizing) before the bus is opened"
            ),
            Cause::Displaced { name, seat } => write!(
                f,
                "another process has taken seat {seat} of segment {name}, because the lock of this worker was \
                 lost: drop this worker and join again, and find the code that closes or unmaps what it does not own"
            ),
            Cause::Forked => {
                write!(f, "this handle was created before the fork: join again in the child, with bus.join()")
            }
            Cause::PayloadTooLarge { len, max, limit: SizeLimit::Ring } => write!(
                f,
                "the event has {len} bytes, but the limit is {max} (a quarter of the ring, or one block, or one large \
                 block): raise capacity, block_size or large, or post a reference to the data"
            ),
            Cause::PayloadTooLarge { len, max, limit: SizeLimit::Block } => write!(
                f,
                "the event has {len} bytes, but a reserved event must fit one block or one large block, of at most \
                 {max}: raise block_size or large, or post it instead"
            ),
            Cause::PayloadTooLarge { len, max, limit: SizeLimit::Retained } => write!(
                f,
                "the event has {len} bytes, but a retained one has at most {max}: raise retained_size (or capacity, of \
                 which a quarter is the most), or retain a reference to the data"
            ),
            Cause::RetainedFull { source, event, keys } => {
                let (source, event) = (printable(source), printable(event));
                write!(
                    f,
                    "there is no place to retain {source}/{event}: the segment has room for {keys} keys; clear what is \
                     not needed, give it a ttl, or create the segment with more .retained()"
                )
            }
            Cause::NotYet { id, next } => {
                write!(f, "cannot start at event id {id}: the next one to be posted is {next}")
            }
            Cause::OtherBus { name, position, found } => write!(
                f,
                "the saved position belongs to bus {position}, but segment {name} is bus {found}: it was created again \
                 since, and the unread events of the old one are gone; rebuild the state that depends on them, and \
                 start with Start::Oldest"
            ),
            Cause::TooLate { id } => write!(
                f,
                "reserved event id {id} was given up before its commit: commit within the readers' wait_max, or post"
            ),
            Cause::Payload { source, event, reason } => {
                let (source, event) = (printable(source), printable(event));
                write!(f, "the payload of {source}/{event} is not a valid value of its type: {reason}")
            }
            Cause::Archive { type_name, reason } => {
                write!(f, "a value of type {type_name} could not be archived: {reason}")
            }
            Cause::Corrupt { name, what } => write!(
                f,
                "segment {name} is corrupt: {what}; stop its workers, unlink it, and find what else writes to it"
            ),
            Cause::Exhausted { name, what } => {
                write!(f, "segment {name} has used up {what}: unlink it and create it again")
            }
            Cause::Left => write!(f, "this worker has left the bus: join again"),
            Cause::AlreadyConfigured { name } => write!(
                f,
                "this process is already configured, on segment {name}: use reconfigure, or join a separate worker"
            ),
            Cause::NotConfigured => write!(f, "this process has no worker yet: call configure first"),
            Cause::PollerPanicked { message } => {
                write!(f, "the poller's thread panicked: {message}; nothing is polled until another poller is started")
            }
            Cause::Unheard { name, why } => {
                write!(f, "posts do not ring the bell of segment {name}, which polls at an interval instead: {why}")
            }
            Cause::BellClosed { name } => write!(
                f,
                "this process has closed a descriptor of a bell of segment {name}, or put another file on its number: \
                 make a new bell, after descriptors are closed (closefrom, daemonizing)"
            ),
            Cause::TypedFormat { type_name, found, expected } => write!(
                f,
                "values of type {type_name} cannot be exchanged: typed values on this bus have rkyv format \
                 {found:#018x}, those of this program {expected:#018x}: build all programs on the bus with the \
                 same features of rkyv (unaligned, byte order, pointer width), or exchange bytes"
            ),
            Cause::ClaimLost { name, holder: None } => write!(
                f,
                "the claim in segment {name} has ended, and no other process holds its key: stop what it stands for, \
                 and claim the key again; renew earlier, or claim it for longer"
            ),
            Cause::ClaimLost { name, holder: Some(Holder { seat, pid, label, .. }) } => write!(
                f,
                "the claim in segment {name} has ended, and seat {seat} (pid {pid} {:?}) holds its key now: stop what \
                 it stands for; renew earlier, or claim it for longer",
                printable(label)
            ),
            Cause::Full { name, own: true, lag, .. } => write!(
                f,
                "there is no room in segment {name}: this worker must read, and is {lag} ids behind; poll before it \
                 posts more"
            ),
            Cause::Full { name, reader: Holder { seat, pid, label, .. }, lag, patience, .. } => write!(
                f,
                "there is no room in segment {name}: seat {seat} (pid {pid} {:?}) must read and is {lag} ids behind; \
                 post again later, or with post, which waits for it for at most {patience:?} unless it is called by a \
                 worker that must read itself; or raise capacity",
                printable(label)
            ),
            Cause::NoRelay { name } => write!(
                f,
                "segment {name} has no relay, so nothing can be sent to other hosts: start one with seqcast relay {}, \
                 or post to this host alone",
                name.trim_start_matches('/')
            ),
            Cause::RelayTaken { name, pid: 0 } => {
                write!(f, "another process is the relay of segment {name}: wait until it ends, or stop it")
            }
            Cause::RelayTaken { name, pid } => {
                write!(f, "process {pid} is the relay of segment {name}: wait until it ends, or stop it")
            }
            Cause::RelayFull { name, hosts } => write!(
                f,
                "the relay of segment {name} has no place for a further host: the segment has room for {hosts}; forget \
                 hosts that are gone, or create the segment with more .relay_hosts()"
            ),
            Cause::System { name, call, source } => {
                write!(f, "{call} failed for segment {name}: {source}")?;
                match source.raw_os_error() {
                    Some(libc::EMFILE) => f.write_str(": close some descriptors, or raise RLIMIT_NOFILE (ulimit -n)"),
                    Some(libc::ENFILE) => f.write_str(": the host's fs.file-max is reached"),
                    _ => Ok(()),
                }
            }
        }
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

    #[test]
    fn g10_names_and_labels_of_others_are_escaped() {
        let text = |cause: Cause| Error::from(cause).to_string();
        let hostile = "a\n\u{1b}[2J\u{202e}\u{ad}\u{34f}\u{9b}\"".to_owned();
        let escaped = r"a\n\u{1b}[2J\u{202e}\u{ad}\u{34f}\u{9b}";
        let holders = vec![Holder { seat: 0, pid: 7, label: hostile.clone(), unlocked: false }];
        let held = text(Cause::NoSeat { name: "/name".to_owned(), seats: 1, holders });
        assert!(held.contains(&format!("(0: pid 7 \"{escaped}\\\"\"): ")), "{held}");
        let payload = text(Cause::Payload { source: hostile.clone(), event: hostile.clone(), reason: "odd" });
        assert!(payload.starts_with(&format!("the payload of {escaped}\"/{escaped}\" is not")), "{payload}");
        let name = text(Cause::Name { name: hostile, rule: "it is bad" });
        assert!(name.starts_with(&format!("\"{escaped}\\\"\" cannot name")), "{name}");
    }

    #[test]
    fn the_holders_of_all_seats_are_listed() {
        let holder = |seat, pid, label: &str| Holder { seat, pid, label: label.to_owned(), unlocked: pid == 9 };
        let holders = vec![holder(0, 7, ""), holder(1, 8, "web"), holder(2, 9, "")];
        let text = Cause::NoSeat { name: "/name".to_owned(), seats: 3, holders }.to_string();
        assert!(text.contains("are held (0: pid 7, 1: pid 8 \"web\", 2: pid 9 unlocked): "), "{text}");
        assert!(text.contains("; 1 of them is held by a process that lives but has lost its lock: "), "{text}");
    }
}
