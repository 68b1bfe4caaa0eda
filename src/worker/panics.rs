//! Panics of users' code: where they end, and what is known of them afterwards.
//!
//! The process's panic hook belongs to the host. The crate leaves it alone unless
//! [`install_panic_hook`](crate::process::install_panic_hook) is called, and the hook that this installs forwards every
//! panic to the one before it, first of all. It cannot be known where a panic begins if it will be caught: the
//! program may abort on panics, a frame in between may not let it through, or the handler may catch it itself. A
//! message that was held back in such a case would be lost.

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
    /// How many [`catch_panic`] were around it.
    depth: u32,
    payload_type: TypeId,
    panic: HandlerPanic,
}

thread_local! {
    /// How many [`catch_panic`] this thread is in. It has no destructor, so that it can be used as long as the thread
    /// runs.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// The newest panic of each depth, the least depth first.
    static REMEMBERED: RefCell<Vec<Remembered>> = const { RefCell::new(Vec::new()) };
}

/// Runs users' code. A panic in it ends here.
#[inline]
pub(crate) fn catch_panic<R>(run: impl FnOnce() -> R) -> Result<R, HandlerPanic> {
    let outer = DEPTH.get();
    DEPTH.set(outer + 1);
    // The users' own state is their affair; ours is not touched while they run.
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

/// Called by the hook, where a panic would end the process.
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
    // When the thread's locals are destroyed already, the report has the message and no more.
    let _ = REMEMBERED.try_with(|list| {
        if let Ok(mut list) = list.try_borrow_mut() {
            list.retain(|other| other.depth < depth);
            list.push(remembered);
        }
    });
}

/// What is known of a panic that ended at `depth`.
#[cold]
fn panic_of(payload: Box<dyn Any + Send>, depth: u32) -> HandlerPanic {
    let payload_type = (*payload).type_id();
    let message = into_message(payload);
    let known = REMEMBERED.try_with(|list| {
        let mut list = list.try_borrow_mut().ok()?;
        let mut ended = list.extract_if(.., |other| other.depth >= depth);
        // The newest that the hook saw at this depth may be another: one that the handler caught itself, before it
        // resumed an older one.
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

/// The text of a payload, which is freed.
pub(crate) fn into_message(payload: Box<dyn Any + Send>) -> String {
    let payload = match payload.downcast::<String>() {
        Ok(text) => return *text,
        Err(payload) => payload,
    };
    let message = text_of(&*payload).unwrap_or(NO_TEXT).to_owned();
    // It is a user's value, whose drop may panic, too; and so may that of the second panic's payload, which is not
    // tried.
    if let Err(second) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(second);
    }
    message
}
