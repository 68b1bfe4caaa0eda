//! Errors of calls: a number, and a text that the thread keeps.

use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int};
use std::io;
use std::panic::{self, AssertUnwindSafe};

use seqcast::{Cause, Error, ErrorKind};

use crate::argument::{copy_text, field, nanoseconds, place};

/// Results of calls that fail. These numbers never change, and new errors get new numbers. `seqcast_error_message`
/// returns the text with the values and the remedy.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum seqcast_error {
    /// The name is not valid for a segment.
    SEQCAST_E_NAME = -1,
    /// An option or argument has an invalid value.
    SEQCAST_E_OPTION = -2,
    /// A source or event name is empty or longer than 255 bytes.
    SEQCAST_E_TOPIC = -3,
    /// The source `seqcast` is reserved for the library.
    SEQCAST_E_LIBRARY_SOURCE = -4,
    /// A typed Rust value was posted with another topic than that of its type. Not from C.
    SEQCAST_E_TYPED_TOPIC = -5,
    /// No segment has this name.
    SEQCAST_E_NOT_FOUND = -6,
    /// A segment of this name exists already.
    SEQCAST_E_EXISTS = -7,
    /// The name belongs to a file that seqcast did not create.
    SEQCAST_E_FOREIGN = -8,
    /// The segment is not finished: its creator died or is still at work.
    SEQCAST_E_UNFINISHED = -9,
    /// Another process is creating the segment and has not finished in time.
    SEQCAST_E_BUSY = -10,
    /// The segment has a layout that this version does not know.
    SEQCAST_E_LAYOUT = -11,
    /// The segment was created by a build with another memory layout.
    SEQCAST_E_FINGERPRINT = -12,
    /// The segment was created before the host booted, or in a container with another boot id.
    SEQCAST_E_OTHER_BOOT = -13,
    /// The segment belongs to another user.
    SEQCAST_E_OWNER = -14,
    /// The segment's mode gives access to more users than the options allow.
    SEQCAST_E_MODE = -15,
    /// The segment exists with other options than those that were set, and `strict` was set.
    SEQCAST_E_OPTIONS_DIFFER = -16,
    /// The segment is smaller than its header says.
    SEQCAST_E_TRUNCATED = -17,
    /// The system does not let this process open the segment.
    SEQCAST_E_DENIED = -18,
    /// There is not enough shared memory for the segment.
    SEQCAST_E_NO_SPACE = -19,
    /// The process may not create files of the segment's size.
    SEQCAST_E_FILE_LIMIT = -20,
    /// A control group does not allow the process so much memory.
    SEQCAST_E_MEMORY_LIMIT = -21,
    /// Signals kept interrupting the creation of the segment.
    SEQCAST_E_INTERRUPTED = -22,
    /// The directory of shared memory is missing, or cannot hold a segment.
    SEQCAST_E_NO_SHARED_MEMORY = -23,
    /// The file system of shared memory is mounted read-only.
    SEQCAST_E_READ_ONLY = -24,
    /// The file system of shared memory has no room for one more file.
    SEQCAST_E_NO_INODES = -25,
    /// The segment's file has more than one name.
    SEQCAST_E_LINKED = -26,
    /// The segment's file has pages without memory.
    SEQCAST_E_HOLES = -27,
    /// The name no longer leads to this segment.
    SEQCAST_E_REPLACED = -28,
    /// Every seat is taken. The text lists the holders.
    SEQCAST_E_NO_SEAT = -29,
    /// Code of this process has closed the segment's descriptor, and it cannot be opened again.
    SEQCAST_E_DESCRIPTOR = -30,
    /// Another process has taken this seat, because its lock was lost.
    SEQCAST_E_DISPLACED = -31,
    /// The seat was taken before the fork. Take one in the child.
    SEQCAST_E_FORKED = -32,
    /// The payload does not fit.
    SEQCAST_E_PAYLOAD_TOO_LARGE = -33,
    /// The id to start at is not posted yet.
    SEQCAST_E_NOT_YET = -34,
    /// The position belongs to another bus: the segment was created again.
    SEQCAST_E_OTHER_BUS = -35,
    /// The reserved id was given up before the commit.
    SEQCAST_E_TOO_LATE = -36,
    /// A payload is not a value of its Rust type. Not from C.
    SEQCAST_E_PAYLOAD = -37,
    /// A Rust value could not be archived. Not from C.
    SEQCAST_E_ARCHIVE = -38,
    /// The segment's words contradict each other.
    SEQCAST_E_CORRUPT = -39,
    /// A counter that must never repeat has reached its end.
    SEQCAST_E_EXHAUSTED = -40,
    /// The seat has left the bus.
    SEQCAST_E_LEFT = -41,
    /// The process has already configured its worker. Not from C.
    SEQCAST_E_ALREADY_CONFIGURED = -42,
    /// The process has not configured its worker yet. Not from C.
    SEQCAST_E_NOT_CONFIGURED = -43,
    /// The thread of a poller panicked. Not from C.
    SEQCAST_E_POLLER_PANICKED = -44,
    /// A system call failed. `seqcast_error_errno` returns its number.
    SEQCAST_E_SYSTEM = -45,
    /// Posts do not ring a bell. `seqcast_seat_bell_unheard` copies the text. No call returns this number.
    SEQCAST_E_UNHEARD = -46,
    /// Other code of the process has closed a descriptor of the bell.
    SEQCAST_E_BELL_CLOSED = -47,
    /// Typed values on the bus have another format than those of this program. Not from C.
    SEQCAST_E_TYPED_FORMAT = -48,
    /// The claim to renew or complete has ended. The text says which seat and process hold its key now.
    SEQCAST_E_CLAIM_LOST = -49,
    /// There is no place for the key of a retained event. Clear keys that are no longer needed, or raise
    /// `retained_keys`.
    SEQCAST_E_RETAINED_FULL = -50,
    /// The event would have overwritten what a seat that must read lacks, and was not posted. `seqcast_error_full`
    /// returns which seat that is. Post again later; a seat that must read itself has to read first.
    SEQCAST_E_FULL = -51,
    /// An event is for all hosts, but no relay has been started on this host, or the last one has left.
    SEQCAST_E_NO_RELAY = -52,
    /// Another process is the relay of this segment. Not from C.
    SEQCAST_E_RELAY_TAKEN = -53,
    /// The relay has no place to remember a further host. Not from C.
    SEQCAST_E_RELAY_FULL = -54,

    /// An argument that must not be null is null.
    SEQCAST_E_NULL = -1001,
    /// A handle was freed, is of another kind, or was never returned by the library.
    SEQCAST_E_HANDLE = -1002,
    /// Another thread is inside a call with this handle.
    SEQCAST_E_IN_USE = -1003,
    /// The library panicked, which is a bug in it. The seat or tail of that call can only be freed.
    SEQCAST_E_PANIC = -1004,
    /// A text is not UTF-8.
    SEQCAST_E_TEXT = -1005,
    /// The `size` of an options struct is not set, or the struct sets an option that this library does not know.
    SEQCAST_E_SIZE = -1006,
    /// The seat only posts.
    SEQCAST_E_NOT_A_READER = -1007,
    /// The process has 65,536 handles of one kind.
    SEQCAST_E_TOO_MANY_HANDLES = -1008,
    /// The seat has no bell: `seqcast_seat_bell` makes one.
    SEQCAST_E_NO_BELL = -1009,
}

use seqcast_error::*;

/// The errors of this interface. All others are errors of the crate.
const OWN: [(seqcast_error, &str); 9] = [
    (SEQCAST_E_NULL, "null"),
    (SEQCAST_E_HANDLE, "handle"),
    (SEQCAST_E_IN_USE, "in_use"),
    (SEQCAST_E_PANIC, "panic"),
    (SEQCAST_E_TEXT, "text"),
    (SEQCAST_E_SIZE, "size"),
    (SEQCAST_E_NOT_A_READER, "not_a_reader"),
    (SEQCAST_E_TOO_MANY_HANDLES, "too_many_handles"),
    (SEQCAST_E_NO_BELL, "no_bell"),
];

/// Why a call failed.
#[derive(Debug)]
pub(crate) struct Failure {
    number: c_int,
    text: Cow<'static, str>,
    errno: c_int,
    full: Option<Box<seqcast_full>>,
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    #[cold]
    pub(crate) fn new(number: seqcast_error, text: impl Into<Cow<'static, str>>) -> Failure {
        Failure { number: number as c_int, text: text.into(), errno: 0, full: None }
    }

    #[cold]
    fn of_panic(payload: &(dyn Any + Send)) -> Failure {
        let message = payload.downcast_ref::<&str>().copied();
        let message = message.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text");
        Failure::new(SEQCAST_E_PANIC, format!("the library panicked, please report it: {message}"))
    }

    /// Returns the failure of a system call that this crate made itself.
    #[cold]
    pub(crate) fn of_system(call: &str, source: &io::Error) -> Failure {
        let errno = source.raw_os_error().unwrap_or(0);
        let text = format!("{call} failed: {source}").into();
        Failure { number: SEQCAST_E_SYSTEM as c_int, text, errno, full: None }
    }

    #[cold]
    pub(crate) fn forked() -> Failure {
        Error::from(Cause::Forked).into()
    }

    /// Stores the text for the thread. Returns the number.
    #[cold]
    fn keep(self) -> c_int {
        let text = CString::new(self.text.replace('\0', " ")).unwrap_or_default();
        // While the thread's locals are destroyed, there is no text.
        let _ = LAST.try_with(|last| {
            if let Ok(mut last) = last.try_borrow_mut() {
                *last = Last { text, errno: self.errno, full: self.full };
            }
        });
        self.number
    }
}

impl From<Error> for Failure {
    #[cold]
    fn from(error: Error) -> Failure {
        let errno = match error.cause() {
            Cause::System { source, .. } => source.raw_os_error().unwrap_or(0),
            _ => 0,
        };
        let full = match error.cause() {
            Cause::Full { reader, own, lag, patience, .. } => Some(Box::new(seqcast_full {
                lag: *lag,
                patience_ns: nanoseconds(*patience),
                seat: reader.seat,
                pid: reader.pid,
                own: i32::from(*own),
                reserved: 0,
                label: field(&reader.label),
                more: [0; 4],
            })),
            _ => None,
        };
        Failure { number: -c_int::from(error.kind().number()), text: error.to_string().into(), errno, full }
    }
}

/// The last failure of a thread.
#[derive(Default)]
struct Last {
    text: CString,
    errno: c_int,
    full: Option<Box<seqcast_full>>,
}

thread_local! {
    static LAST: RefCell<Last> = RefCell::default();
}

/// Runs the body of a function of the interface. Returns its result, or the negative number of an error or a panic.
#[inline]
pub(crate) fn call(body: impl FnOnce() -> Result<c_int>) -> c_int {
    // Unwind safe: the body changes only values behind a handle, which a panic poisons.
    match panic::catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(failure)) => failure.keep(),
        Err(payload) => {
            let number = Failure::of_panic(&*payload).keep();
            // Dropping it might panic again.
            std::mem::forget(payload);
            number
        }
    }
}

/// Returns the text of this thread's last failure: what happened, with the values, and what to do. Never returns null.
/// The text is empty if no call has failed, and valid until the next call of this thread that fails.
#[unsafe(no_mangle)]
pub extern "C" fn seqcast_error_message() -> *const c_char {
    let text = LAST.try_with(|last| last.try_borrow().map(|last| last.text.as_ptr()).ok());
    text.ok().flatten().unwrap_or(c"the thread is ending, and its last error is gone".as_ptr())
}

/// Returns the `errno` of the system call that caused this thread's last failure, or 0 if it had another cause.
#[unsafe(no_mangle)]
pub extern "C" fn seqcast_error_errno() -> c_int {
    let errno = LAST.try_with(|last| last.try_borrow().map(|last| last.errno).ok());
    errno.ok().flatten().unwrap_or(0)
}

/// The values of `SEQCAST_E_FULL`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct seqcast_full {
    /// How many ids the slowest seat that must read is behind.
    pub lag: u64,
    /// How long other posts wait for it.
    pub patience_ns: u64,
    /// The number of the seat.
    pub seat: u32,
    /// The process id of its holder, in its own pid namespace.
    pub pid: u32,
    /// 1 if it is the seat that wanted to post: it has to read first.
    pub own: i32,
    /// 0.
    pub reserved: i32,
    /// The label of the seat, with a zero at its end.
    pub label: [c_char; 56],
    /// Zero.
    pub more: [u64; 4],
}

/// Stores the values of this thread's last failure in `full`, if that was `SEQCAST_E_FULL`: which seat has no room for
/// the post. Returns 1, or 0 if the last failure was another one; then `full` is unchanged.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_error_full(full: *mut seqcast_full) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let full = unsafe { place(full, "full") }?;
        // While the thread's locals are destroyed, there is none.
        let last = LAST.try_with(|last| last.try_borrow().ok().and_then(|last| last.full.as_deref().copied()));
        let Some(last) = last.ok().flatten() else { return Ok(0) };
        *full = last;
        Ok(1)
    })
}

/// Copies a short, stable name of the error `result`, such as `not_found`, for logs and metrics. Copies `unknown` for a
/// number that is not an error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_error_code(result: c_int, buffer: *mut c_char, capacity: usize) -> c_int {
    // SAFETY: as the caller promises.
    call(|| unsafe { copy_text(code_of(result), buffer, capacity) })
}

fn code_of(result: c_int) -> &'static str {
    let own = OWN.iter().find(|(error, _)| *error as c_int == result).map(|(_, code)| *code);
    let core = || ErrorKind::ALL.iter().find(|kind| -c_int::from(kind.number()) == result).map(|kind| kind.code());
    own.or_else(core).unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use super::*;

    fn message() -> String {
        // SAFETY: it is a text of this thread, and no call fails while it is used.
        unsafe { CStr::from_ptr(seqcast_error_message()) }.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_panic_is_an_error_with_its_text() {
        assert_eq!(call(|| panic!("values {}", 7)), SEQCAST_E_PANIC as c_int);
        assert!(message().ends_with(": values 7"), "{}", message());
        assert_eq!(call(|| Ok(3)), 3);
        assert!(message().ends_with(": values 7"), "a call that succeeds changed the text: {}", message());
    }

    #[test]
    fn a_failed_system_call_has_its_errno() {
        let source = std::io::Error::from_raw_os_error(libc::EMFILE);
        let error = Error::from(Cause::System { name: "/name".to_owned(), call: "open", source });
        assert_eq!(call(|| Err(error.clone().into())), SEQCAST_E_SYSTEM as c_int);
        assert_eq!(seqcast_error_errno(), libc::EMFILE);
        assert_eq!(message(), error.to_string());
        assert_eq!(call(|| Err(Failure::forked())), SEQCAST_E_FORKED as c_int);
        assert_eq!(seqcast_error_errno(), 0);
    }

    #[test]
    fn a_text_with_a_zero_in_it_is_kept_whole() {
        call(|| Err(Failure::new(SEQCAST_E_NULL, "a\0b")));
        assert_eq!(message(), "a b");
    }
}
