//! G12: calls on a worker in a forked child, when a thread of the parent held the worker's locks at the fork.

use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::time::Duration;

use seqcast_testkit::assert_error;
use seqcast_testkit::process::Child;

use super::*;
use crate::claim::{Claim, Claimed};
use crate::error::{Cause, Result};
use crate::event::{Event, Scope};
use crate::os::locks::lock;
use crate::seat::options::WorkerOptions;
use crate::seat::report::Report;

const HOUR: Duration = Duration::from_secs(3600);

/// Runs `child` in a forked child. Returns its exit code, or the negative number of the signal that ended it.
fn in_child(child: impl FnOnce()) -> i32 {
    // The child takes no locks except the worker's.
    let status = Child::fork_amid_threads(|| {
        child();
        true
    })
    .end();
    status.code().unwrap_or_else(|| -status.signal().unwrap())
}

fn worker() -> Worker {
    let bus = crate::SegmentOptions::new().capacity(64).claims(64).seats(4).anonymous().unwrap();
    bus.join_with(&WorkerOptions::new().announce(false).label("joined").on_report(|_: &Report<'_>| {})).unwrap()
}

/// Makes every call that takes a lock, directly or in its parts.
fn call_everything(worker: &Worker, registration: Registration, handler: &Arc<fn(&Event<'_>)>, claim: &Claim) {
    let forked = |call: &str, result: Result<()>| assert_error!(result, Cause::Forked, "{call}");
    forked("on", worker.on(Scope::All, |_: &Event<'_>| {}).map(drop));
    forked("register", worker.register(Scope::All, handler).map(drop));
    forked("register_weak", worker.register_weak(Scope::All, handler).map(drop));
    assert!(!worker.unregister(registration));
    assert!(!worker.unregister_same(Scope::All, handler));
    assert_eq!(worker.options().label, "joined");
    forked("reconfigure", worker.reconfigure(|options| options.label("child")));
    forked("post", worker.post(("s", "e"), b"").map(drop));
    forked("post_unique", worker.event(("s", "e")).unique("key").post(b"").map(drop));
    forked("post_local", worker.post_local(("s", "e"), ()));
    forked("reserve", worker.reserve().map(drop));
    forked("poster", worker.publisher().map(drop));
    forked("claim", worker.claim("key", HOUR).map(drop));
    forked("release", worker.release(claim).map(drop));
    forked("poll", worker.poll().map(drop));
    forked("poll_at_most", worker.poll_at_most(1).map(drop));
    forked("wait", worker.wait(HOUR).map(drop));
    forked("start_poller", worker.start_poller().map(drop));
    forked("leave", worker.clone().leave());
    assert!(format!("{worker:?}").contains("Worker"));
    assert_eq!((worker.seat(), worker.cursor()), (0, 0));
}

#[test]
fn g12_no_call_in_a_child_waits_for_a_thread_that_is_not_there() {
    let worker = worker();
    let handler: Arc<fn(&Event<'_>)> = Arc::new(|_| {});
    let registration = worker.register(Scope::All, &handler).unwrap();
    let Claimed::Won(claim) = worker.claim("held", HOUR).unwrap() else { panic!("not won") };
    let poller = worker.start_poller().unwrap();
    let reservation = worker.reserve().unwrap();
    let inner = &*worker.inner;
    // For the child it does not matter which thread of the parent holds them.
    let state = loop {
        // The poller may hold it.
        if let Some(state) = inner.poll_state.try_lock() {
            break state;
        }
        std::thread::yield_now();
    };
    let changing = inner.options.write().unwrap();
    let held = (inner.writer.lock(), inner.claimer.lock(), lock(&inner.local), inner.handlers.events.hold());
    let exit = in_child(|| {
        call_everything(&worker, registration, &handler, &claim);
        assert!(!poller.is_running());
        assert!(format!("{poller:?}").contains("false"));
        // SAFETY: this process ends before the moved value is used.
        let (poller, reservation, last) = unsafe {
            (
                std::ptr::read(&raw const poller),
                std::ptr::read(&raw const reservation),
                std::ptr::read(&raw const worker),
            )
        };
        assert_error!(poller.stop(), Cause::Forked);
        drop((reservation, last));
    });
    drop((state, changing, held));
    assert_eq!(exit, 0, "14 below 0: a call hung; 101: it did not say what it should");
    assert_eq!(worker.options().label, "joined");
    drop(reservation);
    poller.stop().unwrap();
    assert!(worker.unregister(registration), "the child unregistered its parent's handler");
}

#[test]
fn g12_options_are_the_parents_in_a_child_unless_they_were_just_being_changed() {
    let worker = worker();
    worker.reconfigure(|options| options.label("changed")).unwrap();
    let read = worker.inner.options.read().unwrap();
    assert_eq!(in_child(|| assert_eq!(worker.options().label, "changed")), 0);
    drop(read);
    let changing = worker.inner.options.write().unwrap();
    assert_eq!(in_child(|| assert_eq!(worker.options().label, "joined")), 0);
    drop(changing);
}

/// A child drops what it inherited, except data that another thread was changing.
#[test]
fn g12_a_child_drops_handlers_only_if_no_thread_was_changing_or_running_them() {
    let worker = worker();
    let owned = Arc::new(());
    let kept = Arc::clone(&owned);
    worker.on(Scope::All, move |_: &Event<'_>| drop(Arc::clone(&kept))).unwrap();
    worker.post(("s", "e"), b"").unwrap();
    worker.poll().unwrap();
    let last_in_child = |held: bool| {
        // SAFETY: this process ends before the moved value is used.
        drop(unsafe { std::ptr::read(&raw const worker) });
        assert_eq!(Arc::strong_count(&owned), if held { 2 } else { 1 });
    };
    assert_eq!(in_child(|| last_in_child(false)), 0);
    let index = worker.inner.handlers.events.hold();
    assert_eq!(in_child(|| last_in_child(true)), 0);
    drop(index);
    // The routes that a poll uses own the handlers that it runs.
    let state = worker.inner.poll_state.try_lock().unwrap();
    assert_eq!(in_child(|| last_in_child(true)), 0);
    drop(state);
    assert_eq!(Arc::strong_count(&owned), 2);
}
