//! Panics of handlers, reporters and values: where they end, that they lose nothing, and that other code's panics are
//! not touched.

use std::error::Error as StdError;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seqcast::{Bus, Event, Scope, Worker, process};
use seqcast_testkit::{
    HOUR, Log, Reports, alone, bus, counts, deliver_one_by_one, in_child, listener, poll, quiet, small, stderr_of,
};

/// Records every panic of this process.
fn note_panics() -> Arc<Mutex<Vec<String>>> {
    let panics: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = Arc::clone(&panics);
    panic::set_hook(Box::new(move |info| {
        let payload = info.payload();
        let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref().map(String::as_str));
        eprintln!("noted: {info}");
        noted.lock().unwrap().push(text.unwrap_or("no text").to_owned());
    }));
    panics
}

/// Returns the recorded panics. The lock is not held while a test uses them, because a failing assertion is recorded,
/// too.
fn noted(panics: &Mutex<Vec<String>>) -> Vec<String> {
    panics.lock().unwrap().clone()
}

/// Panics when it is dropped.
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("{}", self.0);
    }
}

/// The number of drops.
struct Counted(Arc<AtomicU32>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Polls when it is dropped.
struct PollsOnDrop<'a>(&'a Worker);

impl Drop for PollsOnDrop<'_> {
    fn drop(&mut self) {
        assert!(!process::install_panic_hook(), "a panicking thread cannot change the hook");
        poll(self.0);
    }
}

/// An error whose text panics.
#[derive(Debug)]
struct Unspeakable;

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("no words");
    }
}

impl StdError for Unspeakable {}

/// An error that panics when it is dropped.
struct Brittle(#[expect(dead_code, reason = "it is there to be dropped")] Bomb);

impl fmt::Debug for Brittle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Brittle")
    }
}

impl fmt::Display for Brittle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("brittle")
    }
}

impl StdError for Brittle {}

/// Panics in a handler and outside one. Returns the reports.
fn panic_inside_and_outside(bus: &Bus) -> Reports {
    let reports = Reports::default();
    let worker = bus.join_with(&reports.of(quiet())).unwrap();
    deliver_to(&worker, |_| panic!("inside"));
    let outside = panic::catch_unwind(|| panic!("outside"));
    drop(panic::take_hook());
    assert!(outside.is_err());
    reports
}

/// Delivers one event to `handler`.
fn deliver_to(worker: &Worker, handler: impl Fn(&Event<'_>) + Send + Sync + 'static) {
    worker.on(Scope::All, handler).unwrap();
    worker.post(("s", "e"), b"").unwrap();
    assert_eq!(poll(worker), (1, 0));
}

/// Delivers an event to a handler that ends its process, without and with the crate's panic hook. Returns the output of
/// the two processes.
fn last_words(before: fn(), handler: fn(&Event<'_>)) -> [String; 2] {
    [false, true].map(|with_hook| {
        let (_name, bus) = bus(&small());
        let (ended_well, text) = stderr_of(|| {
            before();
            if with_hook {
                process::install_panic_hook();
            }
            let worker = bus.join_with(&quiet()).unwrap();
            deliver_to(&worker, handler);
        });
        assert!(!ended_well, "with hook: {with_hook}: {text}");
        text
    })
}

extern "C" fn callback_that_panics() {
    panic!("inside a callback");
}

alone! {
    fn the_panic_hook_is_the_hosts_and_gets_every_panic() {
        let (_name, bus) = bus(&small());
        let panics = note_panics();
        let reports = panic_inside_and_outside(&bus);
        assert_eq!(noted(&panics), ["inside", "outside"]);
        assert_eq!(reports.texts(), ["s/e (id 0): a handler panicked: inside"]);
    }

    fn the_hook_of_the_crate_passes_every_panic_on_and_is_installed_once() {
        let (_name, bus) = bus(&small());
        let panics = note_panics();
        assert!(process::install_panic_hook() && process::install_panic_hook());
        let reports = panic_inside_and_outside(&bus);
        assert_eq!(noted(&panics), ["inside", "outside"]);
        assert!(reports.texts()[0].contains("panicked: inside, at tests/panics.rs:"), "{:?}", reports.texts());
    }

    fn a_panic_is_reported_with_the_place_of_its_own_and_not_of_another() {
        let (_name, bus) = bus(&small());
        drop(note_panics());
        process::install_panic_hook();
        let reports = Reports::default();
        let worker = bus.join_with(&reports.of(quiet())).unwrap();
        let (inner_reports, inner) = (Reports::default(), bus.join_with(&quiet()).unwrap());
        inner.reconfigure(|options| inner_reports.of(options)).unwrap();
        inner.on(Scope::All, |_: &Event<'_>| -> () { panic!("of the inner worker") }).unwrap();
        let polled = inner.clone();
        worker.on(Scope::events("s", ["resumed"]), |_: &Event<'_>| -> () {
            let _ = panic::catch_unwind(|| panic!("caught by the handler"));
            panic::resume_unwind(Box::new("resumed"));
        }).unwrap();
        worker.on(Scope::events("s", ["nested"]), move |_: &Event<'_>| -> () {
            struct Polls<'a>(&'a Worker);
            impl Drop for Polls<'_> {
                fn drop(&mut self) {
                    poll(self.0);
                }
            }
            let _polls = Polls(&polled);
            panic!("of the outer worker");
        }).unwrap();
        worker.post(("s", "resumed"), b"").unwrap();
        worker.post(("s", "nested"), b"").unwrap();
        assert_eq!(poll(&worker), (2, 0));
        let texts = reports.texts();
        assert_eq!(texts[0], "s/resumed (id 0): a handler panicked: resumed");
        assert!(texts[1].contains("panicked: of the outer worker, at tests/panics.rs:"), "{texts:?}");
        let inner_texts = inner_reports.texts();
        assert!(inner_texts[0].contains("panicked: of the inner worker, at tests/panics.rs:"), "{inner_texts:?}");
    }

    fn a_panic_in_an_extern_c_callback_ends_the_process_with_its_message() {
        // A panic cannot pass through C.
        for text in last_words(|| (), |_| callback_that_panics()) {
            assert!(text.contains("inside a callback"), "{text}");
        }
    }

    fn a_host_that_aborts_on_panics_prints_the_message_of_a_handlers_panic() {
        // The effect of `panic=abort`: the hook, and then the end.
        let abort_on_panic = || panic::set_hook(Box::new(|info| {
            eprintln!("last words: {info}");
            // SAFETY: it ends the process.
            unsafe { libc::abort() };
        }));
        for text in last_words(abort_on_panic, |_| panic!("the end")) {
            assert!(text.contains("last words: ") && text.contains("the end"), "{text}");
        }
    }

    fn a_panic_in_a_panic_of_a_handler_ends_the_process_with_both_messages() {
        let panic_twice = |_: &Event<'_>| {
            let _bomb = Bomb("the second");
            panic!("the first");
        };
        for text in last_words(|| (), panic_twice) {
            assert!(text.contains("the first") && text.contains("the second"), "{text}");
        }
    }

    fn the_first_poll_of_a_process_may_be_in_a_drop_during_a_panic() {
        let (_name, bus) = bus(&small());
        in_child(|| {
            let panics = note_panics();
            let reports = Reports::default();
            let (worker, log) = listener(&bus, &reports.of(quiet()));
            worker.on(Scope::All, |_: &Event<'_>| -> () { panic!("of the handler") }).unwrap();
            worker.post(("s", "e"), b"").unwrap();
            let unwound = panic::catch_unwind(AssertUnwindSafe(|| {
                let _polls = PollsOnDrop(&worker);
                panic!("of the host");
            }));
            assert!(unwound.is_err());
            assert_eq!(log.len(), 1);
            assert_eq!(noted(&panics), ["of the host", "of the handler"]);
            assert_eq!(reports.texts().len(), 1);
        });
    }

    fn g4_a_reporter_that_panics_hides_nothing() {
        let (_name, bus) = bus(&small());
        let (ended_well, text) = stderr_of(|| {
            let worker = bus.join_with(&quiet().on_report(|_| panic!("no paper"))).unwrap();
            worker.on(Scope::All, |_: &Event<'_>| Err::<(), _>(std::io::Error::other("no luck"))).unwrap();
            let log = Log::of(&worker, Scope::All);
            for _ in 0..3 {
                worker.post(("s", "e"), b"").unwrap();
            }
            assert_eq!(poll(&worker), (3, 0));
            assert_eq!(log.ids(), [0, 1, 2]);
            let counts = counts(&bus, &worker);
            assert_eq!((counts.delivered, counts.failed), (3, 6), "three handlers, and the reporter three times");
        });
        assert!(ended_well, "{text}");
        let reported = |line: &str| text.lines().filter(|found| found.starts_with(line)).count();
        for id in 0..3 {
            assert_eq!(reported(&format!("seqcast: s/e (id {id}): a handler failed: no luck")), 1, "{text}");
            let panicked = format!("seqcast: s/e (id {id}): the function given to on_report panicked: no paper");
            assert_eq!(reported(&panicked), 1, "{text}");
        }
    }

    fn g4_a_reporter_that_panics_hides_nothing_that_was_copied_out_ahead() {
        let (_name, bus) = bus(&small());
        in_child(|| {
            drop(note_panics());
            let tuned = quiet().wait_interval(Duration::from_millis(1)).wait_max(Duration::from_millis(1));
            let worker = bus.join_with(&tuned.on_report(|_| panic!("no paper"))).unwrap();
            let log = Log::of(&worker, Scope::events("s", ["behind"]));
            worker.on(Scope::events("s", ["first"]), |_: &Event<'_>| Err::<(), _>(Unspeakable)).unwrap();
            let other = bus.join_with(&quiet()).unwrap();
            let _reservation = other.reserve().unwrap();
            other.post(("s", "first"), b"").unwrap();
            other.post(("s", "behind"), b"").unwrap();
            // The reserved id is given up, and by then those behind it have been read.
            assert_eq!(poll(&worker), (2, 0));
            assert_eq!(log.ids(), [2]);
            assert_eq!(poll(&worker), (0, 0));
            other.post(("s", "behind"), b"").unwrap();
            assert_eq!(poll(&worker), (1, 0));
        });
    }

    fn a_poller_survives_a_reporter_that_panics() {
        let (_name, bus) = bus(&small());
        in_child(|| {
            drop(note_panics());
            let worker = bus.join_with(&quiet().interval(HOUR).on_report(|_| panic!("no paper"))).unwrap();
            worker.on(Scope::All, |_: &Event<'_>| -> () { panic!("again") }).unwrap();
            let log = Log::of(&worker, Scope::All);
            let poller = worker.start_poller().unwrap();
            deliver_one_by_one(&worker, &log, 3);
            assert!(poller.is_running());
            poller.stop().unwrap();
        });
    }

    fn an_error_whose_text_panics_is_reported_by_its_event() {
        let (_name, bus) = bus(&small());
        let (ended_well, text) = stderr_of(|| {
            drop(note_panics());
            let worker = bus.join_with(&quiet()).unwrap();
            worker.on(Scope::All, |_: &Event<'_>| Err::<(), _>(Unspeakable)).unwrap();
            let log = Log::of(&worker, Scope::All);
            worker.post(("s", "e"), b"").unwrap();
            assert_eq!(poll(&worker), (1, 0));
            assert_eq!(log.len(), 1);
            assert_eq!(counts(&bus, &worker).failed, 2);
        });
        assert!(ended_well, "{text}");
        assert!(text.ends_with("\nseqcast: s/e (id 0): failed, and reporting it panicked: no words\n"), "{text}");
    }

    fn g4_values_that_panic_when_they_are_dropped_end_no_poll() {
        let (_name, bus) = bus(&small());
        in_child(|| {
            let panics = note_panics();
            let reports = Reports::default();
            let worker = bus.join_with(&reports.of(quiet())).unwrap();
            // A handler's own value, dropped when a poll finds that the handler is gone.
            let bomb = Bomb("of a handler");
            let owner = worker.on(Scope::All, move |_: &Event<'_>| { let _ = &bomb; }).unwrap();
            let log = Log::of(&worker, Scope::All);
            worker.post(("s", "first"), b"").unwrap();
            assert_eq!(poll(&worker), (1, 0));
            assert!(worker.unregister(owner));
            worker.post(("s", "second"), b"").unwrap();
            assert_eq!(poll(&worker), (1, 0));
            assert_eq!(noted(&panics), ["of a handler"]);
            // The value of an error, and of a local event.
            let fails = |_: &Event<'_>| Err::<(), _>(Brittle(Bomb("of an error")));
            worker.on(Scope::events("s", ["error"]), fails).unwrap();
            worker.post(("s", "error"), b"").unwrap();
            worker.post_local(("s", "local"), Bomb("of a value")).unwrap();
            worker.post(("s", "last"), b"").unwrap();
            assert_eq!(poll(&worker), (3, 0));
            assert_eq!(log.events(), ["first", "second", "local", "error", "last"]);
            let texts = reports.texts();
            assert_eq!(texts[0], "s/local (local): a handler panicked: of a value");
            assert!(texts[1].starts_with("s/error (id 2): a handler failed: brittle"), "{texts:?}");
            assert_eq!(texts[2], "s/error (id 2): a handler panicked: of an error");
            assert_eq!(texts.len(), 3, "{texts:?}");
        });
    }

    fn a_panics_payload_is_dropped_and_one_that_panics_itself_is_survived() {
        let (_name, bus) = bus(&small());
        in_child(|| {
            let panics = note_panics();
            let reports = Reports::default();
            let worker = bus.join_with(&reports.of(quiet())).unwrap();
            let dropped = Arc::new(AtomicU32::new(0));
            let counting = Arc::clone(&dropped);
            worker.on(Scope::events("s", ["value"]), move |_: &Event<'_>| -> () {
                panic::panic_any(Counted(Arc::clone(&counting)));
            }).unwrap();
            worker.on(Scope::events("s", ["bomb"]), |_: &Event<'_>| -> () {
                panic::panic_any(Bomb("of the payload"));
            }).unwrap();
            for event in ["value", "value", "bomb", "value"] {
                worker.post(("s", event), b"").unwrap();
            }
            assert_eq!(poll(&worker), (4, 0));
            assert_eq!(dropped.load(Ordering::Relaxed), 3);
            assert_eq!(noted(&panics).iter().filter(|text| *text == "of the payload").count(), 1);
            assert!(reports.texts().iter().all(|text| text.ends_with("a handler panicked: (no text)")));
        });
    }
}

#[cfg(feature = "typed")]
mod thread_end {
    use std::cell::RefCell;
    use std::thread;

    use seqcast::{Claimed, HandlerError, Poller, Topic, TypedEvent};

    use super::*;

    #[derive(rkyv::Archive, rkyv::Serialize)]
    #[rkyv(crate = seqcast::rkyv)]
    struct Farewell {
        to: String,
    }

    impl TypedEvent for Farewell {
        const TOPIC: Topic<'static> = Topic::new("thread", "farewell");
    }

    /// The calls of a thread during the destruction of its locals.
    struct OnThreadEnd(Box<dyn FnOnce()>);

    impl Drop for OnThreadEnd {
        fn drop(&mut self) {
            std::mem::replace(&mut self.0, Box::new(|| ()))();
        }
    }

    thread_local! {
        static ON_THREAD_END: RefCell<Option<OnThreadEnd>> = const { RefCell::new(None) };
    }

    alone! {
        fn every_call_works_while_a_threads_locals_are_destroyed() {
            let (_name, bus) = bus(&small());
            let (ended_well, text) = stderr_of(|| {
                process::install_panic_hook();
                let (worker, log) = listener(&bus, &quiet().interval(HOUR));
                worker.on(Scope::events("thread", ["farewell"]), |_: &Event<'_>| -> () { panic!("so late") }).unwrap();
                worker.on(Scope::events("thread", ["farewell"]), |_: &Event<'_>| {
                    Err::<(), _>(HandlerError::msg("too late"))
                }).unwrap();
                let poller: Arc<Mutex<Option<Poller>>> = Arc::default();
                let (late, stopped) = (worker.clone(), Arc::clone(&poller));
                let polled = bus.join_with(&quiet().interval(HOUR)).unwrap();
                *poller.lock().unwrap() = Some(polled.start_poller().unwrap());
                let thread = thread::spawn(move || {
                    let at_end = late.clone();
                    // Locals are destroyed in the reverse order of their first use: those of the crate before this one.
                    ON_THREAD_END.set(Some(OnThreadEnd(Box::new(move || {
                        at_end.post(Farewell::TOPIC, &Farewell { to: "all".to_owned() }).unwrap();
                        at_end.event(Farewell::TOPIC).local(&Farewell { to: "itself".to_owned() }).unwrap();
                        drop(at_end.start_poller().unwrap());
                        drop(stopped.lock().unwrap().take());
                        at_end.wait(Duration::ZERO).unwrap();
                        poll(&at_end);
                        assert!(matches!(at_end.claim("key", HOUR), Ok(Claimed::Won(_))));
                    }))));
                    late.post(Farewell::TOPIC, &Farewell { to: "one".to_owned() }).unwrap();
                    poll(&late);
                });
                thread.join().unwrap();
                poll(&worker);
                assert_eq!(log.len(), 3);
                assert_eq!(counts(&bus, &worker).failed, 6);
            });
            assert!(ended_well, "{text}");
            assert!(text.matches("a handler failed: too late").count() >= 3, "{text}");
            assert!(text.matches("a handler panicked: so late").count() >= 3, "{text}");
        }
    }
}
