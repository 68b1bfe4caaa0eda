//! G12: children that are forked in users' code that the library calls, and that return into the library.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::thread;

use seqcast::{Bus, Cause, Claimed, Error, Event, Polled, Report, Scope, Worker};
use seqcast_testkit::{Child, HOUR, alone, assert_error, bus, counts, eventually, poll, quiet, shared_words, small};

/// A process, its children that return into the library, and a record of which code runs in which process.
#[derive(Clone, Copy)]
struct Family {
    parent: u32,
    words: &'static [AtomicU64],
}

const RUN_IN_PARENT: usize = 0;
const RUN_IN_CHILD: usize = 1;
const FORKED: usize = 2;
const ENDED_WELL: usize = 3;

impl Family {
    fn new() -> Family {
        Family { parent: process::id(), words: shared_words(4) }
    }

    fn is_child(self) -> bool {
        process::id() != self.parent
    }

    fn count(self, word: usize) -> u64 {
        self.words[word].load(Relaxed)
    }

    /// Forks, except in a child. Returns in the child at once, and here when the child has ended.
    fn fork(self) {
        if self.is_child() {
            return;
        }
        self.words[FORKED].fetch_add(1, Relaxed);
        if let Some(child) = Child::fork_here() {
            let well = child.ended_well();
            self.words[ENDED_WELL].fetch_add(u64::from(well), Relaxed);
        }
    }

    /// Records that code ran here.
    fn run(self) {
        let word = if self.is_child() { RUN_IN_CHILD } else { RUN_IN_PARENT };
        self.words[word].fetch_add(1, Relaxed);
    }

    /// A handler that records its run, and forks a child that returns from it.
    fn forking(self) -> impl Fn(&Event<'_>) + Send + Sync + 'static {
        move |_| {
            self.run();
            self.fork();
        }
    }

    /// A handler that records its run.
    fn running(self) -> impl Fn(&Event<'_>) + Send + Sync + 'static {
        move |_| self.run()
    }

    /// Calls `call`, which forks. In the children, which also return from it, `check` gets the result, and they end.
    fn call<T>(self, call: impl FnOnce() -> T, check: impl FnOnce(T)) -> T {
        let result = call();
        if !self.is_child() {
            return result;
        }
        let checked = catch_unwind(AssertUnwindSafe(|| check(result)));
        // SAFETY: ends the child, which must not return to the harness.
        unsafe { libc::_exit(if checked.is_ok() { 0 } else { 101 }) }
    }

    /// A poll in which children return from users' code.
    fn poll(self, worker: &Worker) -> (u64, u64) {
        self.call(|| worker.poll(), |polled| assert_error!(polled, Cause::Forked)).unwrap();
        poll(worker)
    }

    /// Checks that `forks` children ended well, and that handlers ran `runs` times, all in the parent.
    fn check(self, forks: u64, runs: u64) {
        assert_eq!((self.count(FORKED), self.count(ENDED_WELL)), (forks, forks), "forked, ended well");
        assert_eq!((self.count(RUN_IN_PARENT), self.count(RUN_IN_CHILD)), (runs, 0), "run in the parent, in children");
    }
}

/// Checks that nothing of the segment is held twice or lost, and that `worker` continues to work.
fn goes_on(bus: &Bus, worker: &Worker) {
    let posted = bus.next_id();
    assert_eq!(worker.post(("other", "e"), b"").unwrap(), posted, "a child posted");
    let delivered = counts(bus, worker);
    assert!(delivered.alive, "its lock is gone");
    poll(worker);
    assert_eq!(worker.cursor(), posted + 1);
    assert!(bus.audit().unwrap().is_clean());
}

/// Forks when it is dropped.
struct ForksWhenDropped(Family);

impl Drop for ForksWhenDropped {
    fn drop(&mut self) {
        self.0.fork();
    }
}

alone! {
    fn g12_g9_a_child_that_returns_from_a_unique_events_handler_runs_no_other() {
        let (_name, bus) = bus(&small());
        let family = Family::new();
        let worker = bus.join_with(&quiet()).unwrap();
        worker.on(Scope::source("s"), family.forking()).unwrap();
        for key in ["a", "b", "c"] {
            worker.event(("s", key)).unique(key).ttl(HOUR).post(b"").unwrap();
        }
        assert_eq!(family.poll(&worker), (0, 0));
        family.check(3, 3);
        let stats = counts(&bus, &worker);
        let counted = (stats.claims_won, stats.delivered, stats.failed);
        assert_eq!(counted, (3, 3, 0), "a child has counted in its parent's seat");
        goes_on(&bus, &worker);
    }

    fn g12_a_child_that_returns_from_a_handler_runs_no_further_handler_of_the_same_event() {
        let (_name, bus) = bus(&small());
        let family = Family::new();
        let worker = bus.join_with(&quiet()).unwrap();
        worker.on(Scope::All, family.running()).unwrap();
        worker.on(Scope::source("s"), family.forking()).unwrap();
        worker.on(Scope::events("s", ["e"]), family.running()).unwrap();
        worker.on(Scope::events("s", ["e"]), family.running()).unwrap();
        worker.post(("s", "e"), b"").unwrap();
        worker.post(("s", "e"), vec![0; 2000]).unwrap();
        assert_eq!(family.poll(&worker), (0, 0));
        family.check(2, 8);
        goes_on(&bus, &worker);
    }

    fn g12_a_child_that_panics_or_fails_out_of_a_handler_reports_nothing() {
        let (_name, bus) = bus(&small());
        let family = Family::new();
        let reports = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&reports);
        let worker = bus.join_with(&quiet().on_report(move |report: &Report<'_>| {
            family.run();
            kept.lock().unwrap().push(report.to_string());
        })).unwrap();
        let fails = move |event: &Event<'_>| {
            family.fork();
            if !family.is_child() {
                return Ok(());
            }
            assert_ne!(event.event(), "panics", "in the child");
            Err("in the child")
        };
        worker.on(Scope::source("s"), fails).unwrap();
        worker.post(("s", "fails"), b"").unwrap();
        worker.post(("s", "panics"), b"").unwrap();
        assert_eq!(family.poll(&worker), (0, 0));
        family.check(2, 0);
        assert_eq!(counts(&bus, &worker).failed, 0);
        assert!(reports.lock().unwrap().is_empty(), "{:?}", reports.lock().unwrap());
        goes_on(&bus, &worker);
    }

    fn g12_a_child_that_returns_or_panics_out_of_a_visit_visits_nothing_more() {
        let (_name, bus) = bus(&small());
        let family = Family::new();
        let worker = bus.join_with(&quiet()).unwrap();
        for event in ["returns", "panics", "returns"] {
            worker.post(("s", event), b"").unwrap();
        }
        let visit = |event: &Event<'_>| {
            family.run();
            family.fork();
            if family.is_child() && event.event() == "panics" {
                resume_unwind(Box::new("in the child"));
            }
        };
        let in_child = |polled: thread::Result<Result<Polled, Error>>| match polled {
            Ok(polled) => assert!(matches!(polled.unwrap_err().cause(), Cause::Forked)),
            Err(panic) => assert_eq!(panic.downcast_ref(), Some(&"in the child")),
        };
        let polled = family.call(|| catch_unwind(AssertUnwindSafe(|| worker.poll_with(visit))), in_child);
        assert!(matches!(polled, Ok(Ok(Polled::Done { delivered: 3, .. }))), "{polled:?}");
        family.check(3, 3);
        assert_eq!(counts(&bus, &worker).failed, 0);
        goes_on(&bus, &worker);
    }

    fn g12_a_child_that_returns_from_a_local_events_handler_runs_no_other() {
        let (_name, bus) = bus(&small());
        let family = Family::new();
        let worker = bus.join_with(&quiet()).unwrap();
        worker.on(Scope::source("s"), family.forking()).unwrap();
        worker.on(Scope::source("s"), family.running()).unwrap();
        worker.post_local(("s", "first"), ()).unwrap();
        worker.post_local(("s", "second"), ()).unwrap();
        worker.post(("s", "posted"), b"").unwrap();
        assert_eq!(family.poll(&worker), (0, 0));
        family.check(3, 6);
        goes_on(&bus, &worker);
    }

    fn g12_g9_a_child_that_returns_from_a_handler_runs_nothing_that_its_parent_claimed_ahead() {
        let (_name, bus) = bus(&small());
        let family = Family::new();
        let worker = bus.join_with(&quiet()).unwrap();
        worker.on(Scope::source("s"), family.forking()).unwrap();
        let mut reservation = worker.reserve().unwrap();
        for key in ["a", "b"] {
            worker.event(("s", key)).unique(key).ttl(HOUR).post(b"").unwrap();
        }
        worker.post(("s", "plain"), b"").unwrap();
        assert_eq!(poll(&worker), (0, 0));
        assert_eq!(counts(&bus, &worker).claims_won, 2, "the test needs them to be claimed");
        reservation.commit(("s", "reserved"), b"").unwrap();
        assert_eq!(family.poll(&worker), (0, 0));
        family.check(4, 4);
        assert_eq!(counts(&bus, &worker).delivered, 4);
        goes_on(&bus, &worker);
    }

    fn g12_g9_a_child_that_returns_from_a_handler_of_a_worker_that_leaves_does_not_leave() {
        for by_drop in [false, true] {
            let (_name, bus) = bus(&small());
            let family = Family::new();
            let worker = bus.join_with(&quiet().announce(true)).unwrap();
            let seat = worker.seat();
            let looking = bus.clone();
            let alive = shared_words(1);
            worker.on(Scope::source("s"), move |_: &Event<'_>| {
                family.run();
                family.fork();
                let stats = looking.stats().unwrap();
                alive[0].fetch_add(u64::from(stats.workers.iter().any(|w| w.seat == seat && w.alive)), Relaxed);
            }).unwrap();
            let reservation = worker.reserve().unwrap();
            for key in ["a", "b"] {
                worker.event(("s", key)).unique(key).ttl(HOUR).post(b"").unwrap();
            }
            poll(&worker);
            if by_drop {
                std::mem::forget(reservation);
                // The reservation is one of the worker's handles.
                // SAFETY: the count includes the forgotten reservation.
                let handles = unsafe { std::ptr::read(&raw const worker) };
                family.call(|| drop((handles, worker)), |()| ());
            } else {
                family.call(|| worker.leave(), |left| assert_error!(left, Cause::Forked)).unwrap();
                drop(reservation);
            }
            family.check(2, 2);
            // Both in the parent, the first of them after a child had ended.
            assert_eq!(alive[0].load(Relaxed), 4, "a child gave its parent's seat away (by drop: {by_drop})");
            // Started, the reservation, two events, stopping.
            assert_eq!(bus.next_id(), 5, "a child posted (by drop: {by_drop})");
            assert!(bus.stats().unwrap().workers.iter().all(|w| w.seat != seat || !w.alive), "by drop: {by_drop}");
            assert!(bus.audit().unwrap().is_clean());
        }
    }

    fn g12_g9_a_child_that_returns_from_what_a_leaving_subscriber_runs_runs_no_other() {
        let (_name, bus) = bus(&small());
        let family = Family::new();
        let worker = bus.join_with(&quiet()).unwrap();
        let mut subscriber = bus.subscribe_with(&quiet().announce(true).wait_max(HOUR)).unwrap();
        let reservation = worker.reserve().unwrap();
        for key in ["a", "b", "c"] {
            worker.event(("s", key)).unique(key).ttl(HOUR).post(b"").unwrap();
        }
        while !matches!(subscriber.try_next().unwrap(), Some(seqcast::Delivery::Reserved { .. })) {}
        let run = |_: Event<'_>| {
            family.run();
            family.fork();
        };
        let is_forked = |left: Result<(), Error>| assert_error!(left, Cause::Forked);
        family.call(|| subscriber.leave(run), is_forked).unwrap();
        family.check(3, 3);
        // Started, the reservation, three events, stopping.
        assert_eq!(bus.next_id(), 6, "a child posted");
        drop(reservation);
        goes_on(&bus, &worker);
    }

    fn g12_a_child_that_returns_from_a_reporter_reads_on_nothing() {
        let (_name, bus) = bus(&small().claims(1));
        let family = Family::new();
        let reports = shared_words(1);
        let worker = bus.join_with(&quiet().on_report(move |_: &Report<'_>| {
            reports[0].fetch_add(1, Relaxed);
            family.fork();
        })).unwrap();
        worker.on(Scope::source("s"), move |event: &Event<'_>| {
            family.run();
            if event.event() == "fails" { Err("this is reported") } else { Ok(()) }
        }).unwrap();
        worker.on(Scope::events("s", ["fails"]), family.running()).unwrap();
        // Lapped.
        for _ in 0..100 {
            worker.post(("none", "e"), b"").unwrap();
        }
        worker.post(("s", "fails"), b"").unwrap();
        // No room for the key of a unique event.
        let filler = bus.join_with(&quiet()).unwrap();
        let fills = |i: u64| matches!(filler.claim(i.to_le_bytes(), HOUR).unwrap(), Claimed::Won(_));
        assert!((0..1000).any(|i| !fills(i)), "the claims are never full");
        worker.event(("s", "full")).unique("full").ttl(HOUR).post(b"").unwrap();
        worker.post(("s", "last"), b"").unwrap();
        worker.post_local(("s", "fails"), ()).unwrap();
        let missed = family.call(|| worker.poll(), |polled| assert_error!(polled, Cause::Forked)).unwrap();
        assert!(matches!(missed, seqcast::Polled::Done { delivered: 3, missed: 1.., .. }), "{missed:?}");
        assert_eq!(reports[0].load(Relaxed), 4, "a gap, two failures, and one that no worker runs");
        family.check(4, 5);
        let stats = counts(&bus, &worker);
        assert_eq!((stats.delivered, stats.failed, stats.claims_full), (3, 2, 1));
        goes_on(&bus, &worker);
    }

    fn g12_a_child_that_leaves_a_reporter_by_a_panic_reports_nothing_either() {
        let (_name, bus) = bus(&small());
        let family = Family::new();
        // SAFETY: a system call on a C string.
        let written = unsafe { libc::memfd_create(c"standard error".as_ptr(), 0) };
        assert!(written > 2);
        let worker = bus.join_with(&quiet().on_report(move |_: &Report<'_>| {
            family.fork();
            if family.is_child() {
                // SAFETY: both are open, and this process has no other thread.
                assert_eq!(unsafe { libc::dup2(written, 2) }, 2);
                // Unlike `panic!` it writes nothing itself.
                std::panic::resume_unwind(Box::new("in the child"));
            }
        })).unwrap();
        worker.on(Scope::source("s"), |_: &Event<'_>| Err::<(), _>("this is reported")).unwrap();
        worker.post(("s", "e"), b"").unwrap();
        family.call(|| worker.poll(), |polled| {
            assert_error!(polled, Cause::Forked);
            let text = std::fs::read_to_string(format!("/proc/self/fd/{written}")).unwrap();
            assert_eq!(text, "", "the child reported");
        }).unwrap();
        family.check(1, 0);
        goes_on(&bus, &worker);
    }

    fn g12_a_child_that_returns_from_the_drop_of_a_handler_or_value_runs_nothing() {
        let (_name, bus) = bus(&small());
        let family = Family::new();
        let worker = bus.join_with(&quiet()).unwrap();
        let dropped = ForksWhenDropped(family);
        let registration = worker.on(Scope::source("s"), move |_: &Event<'_>| {
            let _owned = &dropped;
            family.run();
        }).unwrap();
        let (inside, once) = (worker.clone(), Cell::new(Some(registration)));
        let once = Mutex::new(once);
        worker.on(Scope::events("s", ["first"]), move |_: &Event<'_>| {
            if let Some(registration) = once.lock().unwrap().take() {
                assert!(inside.unregister(registration));
            }
        }).unwrap();
        worker.on(Scope::events("s", ["second"]), family.running()).unwrap();
        worker.post(("s", "first"), b"").unwrap();
        worker.post(("s", "second"), b"").unwrap();
        assert_eq!(family.poll(&worker), (0, 0));
        family.check(1, 2);
        worker.post_local(("s", "value"), ForksWhenDropped(family)).unwrap();
        worker.post(("s", "second"), b"").unwrap();
        assert_eq!(family.poll(&worker), (0, 0));
        family.check(2, 3);
        goes_on(&bus, &worker);
    }

    fn g12_a_child_that_returns_from_the_change_of_options_changes_nothing() {
        let (_name, bus) = bus(&small());
        let family = Family::new();
        let worker = bus.join_with(&quiet().label("parent")).unwrap();
        let change = |options: seqcast::WorkerOptions| {
            family.fork();
            // An error in the parent: later code would be the child's.
            if family.is_child() { options.label("child") } else { options.timeout(std::time::Duration::ZERO) }
        };
        let changed = family.call(|| worker.reconfigure(change), |done| assert_error!(done, Cause::Forked));
        assert_error!(changed, Cause::Option { .. });
        family.check(1, 0);
        assert_eq!(counts(&bus, &worker).label, "parent");
        goes_on(&bus, &worker);
    }

    fn g12_a_child_that_returns_from_a_handler_on_a_pollers_thread_ends() {
        let (_name, bus) = bus(&small());
        let family = Family::new();
        let worker = bus.join_with(&quiet().interval(HOUR)).unwrap();
        worker.on(Scope::source("s"), family.forking()).unwrap();
        worker.on(Scope::source("s"), family.running()).unwrap();
        let poller = worker.start_poller().unwrap();
        worker.post(("s", "first"), b"").unwrap();
        worker.post(("s", "second"), b"").unwrap();
        eventually("the poller runs both", || family.count(RUN_IN_PARENT) == 4);
        family.check(2, 4);
        assert!(poller.is_running());
        poller.stop().unwrap();
        goes_on(&bus, &worker);
    }
}

#[cfg(feature = "typed")]
mod archived {
    use std::cell::RefCell;

    use rkyv::rancor::Fallible;
    use rkyv::{Archive, Place, Serialize};
    use seqcast::{Topic, TypedEvent};

    use super::*;

    thread_local! {
        /// The process that forks when a [`Forks`] is archived.
        static FAMILY: Cell<Option<Family>> = const { Cell::new(None) };
    }

    /// Bytes that fork when they are requested.
    struct Bytes(Family);

    impl AsRef<[u8]> for Bytes {
        fn as_ref(&self) -> &[u8] {
            self.0.fork();
            b"bytes"
        }
    }

    /// A value that forks when it is archived.
    struct Forks;

    impl Archive for Forks {
        type Archived = ();
        type Resolver = ();

        fn resolve(&self, (): (), _: Place<()>) {}
    }

    impl<S: Fallible + ?Sized> Serialize<S> for Forks {
        fn serialize(&self, _: &mut S) -> Result<(), S::Error> {
            if let Some(family) = FAMILY.get() {
                family.fork();
            }
            Ok(())
        }
    }

    #[derive(Archive, Serialize)]
    struct Forking {
        number: u32,
        forks: Forks,
    }

    impl TypedEvent for Forking {
        const TOPIC: Topic<'static> = Topic::new("s", "typed");
    }

    alone! {
        fn g12_a_child_that_returns_from_bytes_or_values_that_are_posted_posts_and_claims_nothing() {
            let (_name, bus) = bus(&small());
            let family = Family::new();
            FAMILY.set(Some(family));
            let worker = bus.join_with(&quiet()).unwrap();
            let poster = RefCell::new(bus.publisher().unwrap());
            let value = || Forking { number: 1, forks: Forks };
            let is_forked = |result: Result<(), Error>| assert_error!(result, Cause::Forked);
            let calls: [&mut dyn FnMut() -> Result<(), Error>; 9] = [
                &mut || worker.post(Forking::TOPIC, &value()).map(drop),
                &mut || worker.event(Forking::TOPIC).unique("key").post(&value()).map(drop),
                &mut || worker.reserve()?.event(Forking::TOPIC).unique("key").post(&value()).map(drop),
                &mut || worker.event(Forking::TOPIC).local(&value()),
                &mut || worker.claim(Bytes(family), HOUR).map(drop),
                &mut || worker.reserve()?.commit(Forking::TOPIC, &value()).map(drop),
                &mut || poster.borrow_mut().post(Forking::TOPIC, &value()).map(drop),
                &mut || poster.borrow_mut().reserve()?.commit(Forking::TOPIC, &value()).map(drop),
                &mut || poster.borrow_mut().claim(Bytes(family), HOUR).map(drop),
            ];
            for call in calls {
                family.call(call, is_forked).unwrap();
            }
            family.check(9, 0);
            assert_eq!(bus.next_id(), 6);
            goes_on(&bus, &worker);
        }
    }
}
