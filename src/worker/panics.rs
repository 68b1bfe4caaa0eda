//! Catching panics of users' code, and their messages and backtraces.
//!
//! The process's panic hook belongs to the host. The crate changes it only if
//! [`install_panic_hook`](crate::process::install_panic_hook) is called, and its hook forwards every panic to the
//! previous hook first. It never holds back a message, because a hook cannot know if a panic will be caught here: the
//! program may abort on panics, a frame in between may abort, or the handler may catch the panic itself. The message
//! would then be lost.

use std::any::{Any, TypeId};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::mem;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;
use std::thread;

use crate::seat::report::HandlerPanic;

/// A panic as the hook saw it.
struct Remembered {
    /// The number of [`catch_panic`] calls around it.
    depth: u32,
    payload_type: TypeId,
    panic: HandlerPanic,
}

thread_local! {
    /// The number of [`catch_panic`] calls that this thread is in. Without a destructor, it can be used for as long as
    /// the thread runs.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// The latest panic of each depth, in the order of depths.
    static REMEMBERED: RefCell<Vec<Remembered>> = const { RefCell::new(Vec::new()) };
}

/// Runs users' code, and catches its panic.
#[inline]
pub(crate) fn catch_panic<R>(run: impl FnOnce() -> R) -> Result<R, HandlerPanic> {
    let outer = DEPTH.get();
    DEPTH.set(outer + 1);
    // Unwind safe: no state of this crate is changed while users' code runs.
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    DEPTH.set(outer);
    result.map_err(|payload| panic_of(payload, outer + 1))
}

/// Installs the hook, once. Returns `true` if it is installed.
pub(crate) fn install_hook() -> bool {
    static HOOK: Once = Once::new();
    if thread::panicking() {
        // The standard library would panic a second time, which ends the process.
        return HOOK.is_completed();
    }
    HOOK.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            previous(info);
            remember(info);
        }));
    });
    true
}

/// Stores a panic. The hook calls it, so it must not panic.
fn remember(info: &PanicHookInfo<'_>) {
    let depth = DEPTH.get();
    if depth == 0 {
        return;
    }
    let backtrace = Backtrace::capture();
    let panic = HandlerPanic {
        message: text_of(info.payload()).unwrap_or(NO_TEXT).to_owned(),
        location: info.location().map(ToString::to_string),
        backtrace: (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace),
    };
    let remembered = Remembered { depth, payload_type: info.payload().type_id(), panic };
    // If the thread's locals are destroyed already, the report has the message only.
    let _ = REMEMBERED.try_with(|list| {
        if let Ok(mut list) = list.try_borrow_mut() {
            list.retain(|other| other.depth < depth);
            list.push(remembered);
        }
    });
}

/// Returns the stored description of a panic that was caught at `depth`, or its message only.
#[cold]
fn panic_of(payload: Box<dyn Any + Send>, depth: u32) -> HandlerPanic {
    let payload_type = (*payload).type_id();
    let message = into_message(payload);
    let known = REMEMBERED.try_with(|list| {
        let mut list = list.try_borrow_mut().ok()?;
        let mut ended = list.extract_if(.., |other| other.depth >= depth);
        // The latest panic of this depth may be another one, which the handler caught itself before it resumed an older
        // one.
        ended.find(|other| other.depth == depth && other.payload_type == payload_type && other.panic.message == message)
    });
    match known {
        Ok(Some(known)) => known.panic,
        _ => HandlerPanic { message, location: None, backtrace: None },
    }
}

const NO_TEXT: &str = "(no text)";

fn text_of(payload: &(dyn Any + Send)) -> Option<&str> {
    match payload.downcast_ref::<&'static str>() {
        Some(text) => Some(text),
        None => payload.downcast_ref::<String>().map(String::as_str),
    }
}

/// Returns the text of a payload, and frees the payload.
pub(crate) fn into_message(payload: Box<dyn Any + Send>) -> String {
    let payload = match payload.downcast::<String>() {
        Ok(text) => return *text,
        Err(payload) => payload,
    };
    let message = text_of(&*payload).unwrap_or(NO_TEXT).to_owned();
    // The drop of a user's value may panic, too. The payload of that panic is leaked, because its drop could panic
    // again.
    if let Err(second) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(second);
    }
    message
}
