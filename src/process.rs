//! One worker for the whole process: configure once, then use it from anywhere.
//!
//! ```
//! use seqcast::{SegmentOptions, Scope, WorkerOptions, process};
//!
//! # let name = format!("doc-process-{}", std::process::id());
//! # let bus = SegmentOptions::new().unlink_on_drop(true).create(&name)?;
//! process::configure(&name, &SegmentOptions::new(), &WorkerOptions::new().label("web"))?;
//! process::worker()?.on(Scope::source("cache"), |event| println!("{}", event.event()))?;
//! process::worker()?.post(("cache", "purge"), b"")?;
//! process::worker()?.poll()?;
//! # process::leave()?;
//! # Ok::<(), seqcast::Error>(())
//! ```
//!
//! The worker and the panic hook are the only global state of the crate. Nothing else in it uses the worker, and only
//! [`install_panic_hook`] installs the hook.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::bus::Bus;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Cause, Error, Result};
use crate::seat::options::WorkerOptions;
use crate::segment::options::SegmentOptions;
use crate::worker::Worker;
use crate::worker::panics;

/// The process's worker. It is a pointer instead of a lock, because a lock that another thread holds at a fork stays
/// locked in the child.
static WORKER: AtomicPtr<Worker> = AtomicPtr::new(ptr::null_mut());

/// Opens or creates the segment `name` and joins it, once per process. A forked child does so again.
///
/// ```
/// # let name = format!("doc-configure-{}", std::process::id());
/// # let bus = seqcast::SegmentOptions::new().unlink_on_drop(true).create(&name)?;
/// use seqcast::{SegmentOptions, WorkerOptions, process};
///
/// let worker = process::configure(&name, &SegmentOptions::new(), &WorkerOptions::new().label("web"))?;
/// worker.on(("cache", "stale"), |event| println!("{event:?}"))?;
/// assert!(process::configure(&name, &SegmentOptions::new(), &WorkerOptions::new()).is_err());
/// # process::leave()?;
/// # Ok::<(), seqcast::Error>(())
/// ```
///
/// # Errors
///
/// [`ErrorKind::AlreadyConfigured`]; otherwise as [`Bus::open_or_create`] and [`Bus::join_with`].
pub fn configure(name: &str, options: &SegmentOptions, worker: &WorkerOptions) -> Result<&'static Worker> {
    configure_on(&options.open_or_create(name)?, worker)
}

/// [`configure`] on a bus that is open already, such as one that the master opened before the fork.
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// use seqcast::{WorkerOptions, process};
///
/// process::configure_on(&bus, &WorkerOptions::new())?;
/// process::worker()?.post(("cache", "stale"), "user:42")?;
/// # process::leave()?;
/// # Ok::<(), seqcast::Error>(())
/// ```
///
/// # Errors
///
/// As [`configure`].
pub fn configure_on(bus: &Bus, worker: &WorkerOptions) -> Result<&'static Worker> {
    let before = WORKER.load(Ordering::Acquire);
    if let Some(worker) = usable(before) {
        return Err(Error::from(Cause::AlreadyConfigured { name: worker.segment_name().to_owned() }));
    }
    let new = Box::into_raw(Box::new(bus.join_with(worker)?));
    // Release: publishes the worker's memory. A previous worker is our parent's, or has left; it is never freed,
    // because a caller may still hold the reference.
    match WORKER.compare_exchange(before, new, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => worker_at(new).ok_or(Error::from(Cause::NotConfigured)),
        Err(winner) => {
            // SAFETY: `Box::into_raw` returned it above, and no other code has seen it.
            drop(unsafe { Box::from_raw(new) });
            let name = usable(winner).map_or_else(|| bus.name().to_owned(), |worker| worker.segment_name().to_owned());
            Err(Error::from(Cause::AlreadyConfigured { name }))
        }
    }
}

/// Returns `true` if this process has configured its worker. A forked child has not.
///
/// ```
/// assert!(!seqcast::process::configured());
/// ```
pub fn configured() -> bool {
    worker().is_ok()
}

/// Returns the process's worker.
///
/// ```
/// use seqcast::{ErrorKind, process};
///
/// assert_eq!(process::worker().unwrap_err().kind(), ErrorKind::NotConfigured);
/// ```
///
/// # Errors
///
/// [`ErrorKind::NotConfigured`], also in a forked child and after [`leave`].
pub fn worker() -> Result<&'static Worker> {
    usable(WORKER.load(Ordering::Acquire)).ok_or(Error::from(Cause::NotConfigured))
}

/// Leaves the bus, as [`Worker::leave`] does. The process may then configure a worker again.
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// use seqcast::{WorkerOptions, process};
///
/// process::configure_on(&bus, &WorkerOptions::new())?;
/// process::leave()?;
/// process::configure_on(&bus, &WorkerOptions::new())?;
/// # process::leave()?;
/// # Ok::<(), seqcast::Error>(())
/// ```
///
/// # Errors
///
/// [`ErrorKind::NotConfigured`]; otherwise as [`Worker::leave`].
pub fn leave() -> Result<()> {
    worker()?.clone().leave()
}

/// Installs a panic hook, so that reports of handler panics contain the [`HandlerPanic::location`], and the
/// [`HandlerPanic::backtrace`] if `RUST_BACKTRACE` enables backtraces. Without it they contain the message only.
///
/// The hook first passes every panic to the previous hook, and adds nothing to its output. A panic that ends the
/// process, because the program is built with `panic=abort` or the panic cannot unwind, is printed as before.
///
/// Call it once, at the beginning of `main`. The standard library exchanges the hook in two steps: between them,
/// another thread's panic goes to the default hook, and a hook that another library installs is lost. Further calls do
/// nothing.
///
/// Returns `true` if the hook is installed. Returns `false` in a panicking thread, which cannot install a hook, if it
/// was not installed before.
///
/// ```
/// assert!(seqcast::process::install_panic_hook());
/// ```
///
/// [`HandlerPanic::location`]: crate::HandlerPanic::location
/// [`HandlerPanic::backtrace`]: crate::HandlerPanic::backtrace
pub fn install_panic_hook() -> bool {
    panics::install_hook()
}

fn usable(pointer: *mut Worker) -> Option<&'static Worker> {
    worker_at(pointer).filter(|worker| !worker.is_forked() && !worker.has_left())
}

fn worker_at(pointer: *mut Worker) -> Option<&'static Worker> {
    // SAFETY: null, or from `Box::into_raw` in `configure_on` and never freed after it was stored.
    unsafe { pointer.as_ref() }
}
