//! Reports, and that they contain no payload.

use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};

use seqcast::{Event, HandlerError, Report, Scope, Trouble, Unique, Worker, process};

use seqcast_testkit::{HOUR, Log, Reports, alone, bus, in_child, poll, quiet, small, stderr_of};

/// A payload that must not be printed, as text or as numbers.
const SECRET: &str = "s3cret-payload";

fn assert_secret(what: &str, text: &str) {
    let decimal = format!("{:?}", SECRET.as_bytes());
    let numbers = decimal.trim_matches(['[', ']']);
    assert!(!text.contains(SECRET) && !text.contains(numbers), "{what} shows the payload: {text}");
}

#[derive(Debug)]
struct NoLuck;

impl std::fmt::Display for NoLuck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no luck today")
    }
}

impl std::error::Error for NoLuck {}

#[inline(never)]
fn fails_deep_inside() -> Result<(), HandlerError> {
    Err(NoLuck)?;
    Ok(())
}

#[inline(never)]
fn panics_deep_inside() {
    panic!("index out of luck");
}

alone! {
    fn a_failing_handler_is_reported_with_source_event_id_and_backtrace_but_no_payload() {
        let (_name, bus) = bus(&small());
        let reports = Reports::default();
        let worker = bus.join_with(&reports.of(quiet())).unwrap();
        worker.on(Scope::All, |_: &Event<'_>| fails_deep_inside()).unwrap();
        worker.post(("health", "down"), SECRET).unwrap();
        worker.post_local(("health", "up"), SECRET).unwrap();
        assert_eq!(poll(&worker), (2, 0));
        let texts = reports.texts();
        assert!(texts[0].starts_with("health/up (local): a handler failed: no luck today\n"), "{}", texts[0]);
        assert!(texts[1].starts_with("health/down (id 0): a handler failed: no luck today\n"), "{}", texts[1]);
        for text in texts.iter().chain(&reports.debugs()) {
            assert!(text.contains("fails_deep_inside"), "no backtrace: {text}");
            assert_secret("a report", text);
        }
    }

    fn a_panicking_handler_is_reported_with_source_event_place_and_backtrace_but_no_payload() {
        let (_name, bus) = bus(&small());
        assert!(process::install_panic_hook());
        let reports = Reports::default();
        let worker = bus.join_with(&reports.of(quiet())).unwrap();
        worker.on(Scope::All, |_: &Event<'_>| panics_deep_inside()).unwrap();
        worker.post(("health", "down"), SECRET).unwrap();
        assert_eq!(poll(&worker), (1, 0));
        let text = &reports.texts()[0];
        assert!(text.starts_with("health/down (id 0): a handler panicked: index out of luck, at "), "{text}");
        assert!(text.contains("reports.rs:"), "no place: {text}");
        for text in [text, &reports.debugs()[0]] {
            assert!(text.contains("panics_deep_inside"), "no backtrace: {text}");
            assert_secret("a report", text);
        }
    }

    fn a_panic_with_a_value_that_is_no_text_is_reported_too() {
        let (_name, bus) = bus(&small());
        let reports = Reports::default();
        let worker = bus.join_with(&reports.of(quiet())).unwrap();
        worker.on(Scope::All, |_: &Event<'_>| -> () { std::panic::panic_any(17) }).unwrap();
        worker.post(("s", "e"), SECRET).unwrap();
        poll(&worker);
        assert!(reports.texts()[0].contains("a handler panicked: (no text)"), "{:?}", reports.texts());
    }

    fn reports_tell_errors_from_panics_to_a_program() {
        let (_name, bus) = bus(&small());
        let kinds: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&kinds);
        let worker = bus.join_with(&quiet().on_report(move |report: &Report<'_>| {
            let kind = match &report.trouble {
                Trouble::Failed(error) => format!("failed: {}", error.error().is::<NoLuck>()),
                Trouble::Panicked(panic) => format!("panicked: {}", panic.message),
                other => format!("{other:?}"),
            };
            noted.lock().unwrap().push(format!("{}/{} {:?} {kind}", report.source, report.event, report.id));
        })).unwrap();
        worker.on(Scope::events("s", ["fail"]), |_: &Event<'_>| Err::<(), _>(NoLuck)).unwrap();
        worker.on(Scope::events("s", ["panic"]), |_: &Event<'_>| -> () { panic!("boom") }).unwrap();
        worker.post(("s", "fail"), b"").unwrap();
        worker.post_local(("s", "panic"), ()).unwrap();
        poll(&worker);
        assert_eq!(*kinds.lock().unwrap(), ["s/panic None panicked: boom", "s/fail Some(0) failed: true"]);
    }

    fn by_default_reports_go_to_standard_error_without_the_payload() {
        let (_name, bus) = bus(&small());
        let (ended_well, text) = stderr_of(|| {
            let worker = bus.join_with(&quiet()).unwrap();
            worker.on(Scope::All, |_: &Event<'_>| fails_deep_inside()).unwrap();
            worker.post(("health", "down"), SECRET).unwrap();
            poll(&worker);
        });
        assert!(ended_well, "{text}");
        assert!(text.starts_with("seqcast: health/down (id 0): a handler failed: no luck today\n"), "{text}");
        assert!(text.contains("fails_deep_inside"), "no backtrace: {text}");
        let backtrace: Vec<&str> = text.lines().skip(1).collect();
        assert!(!backtrace.is_empty() && backtrace.iter().all(|line| line.starts_with("seqcast: | ")), "{text}");
        assert_secret("standard error", &text);
    }

    #[expect(clippy::disallowed_methods, reason = "the child that sets the variable has one thread")]
    fn without_backtraces_a_failure_and_a_panic_are_one_line_each() {
        for setting in [None, Some("0")] {
            let (_name, bus) = bus(&small());
            let (ended_well, text) = stderr_of(|| {
                // SAFETY: the child has one thread, and no code has asked for a backtrace yet.
                unsafe {
                    match setting {
                        Some(value) => std::env::set_var("RUST_BACKTRACE", value),
                        None => std::env::remove_var("RUST_BACKTRACE"),
                    }
                }
                std::panic::set_hook(Box::new(|_| ()));
                assert!(process::install_panic_hook());
                let reports = Reports::default();
                let both = bus.join_with(&quiet()).unwrap();
                let noted = bus.join_with(&reports.of(quiet())).unwrap();
                for worker in [&both, &noted] {
                    worker.on(Scope::All, |_: &Event<'_>| fails_deep_inside()).unwrap();
                    worker.on(Scope::All, |_: &Event<'_>| panics_deep_inside()).unwrap();
                }
                both.post(("health", "down"), SECRET).unwrap();
                poll(&both);
                poll(&noted);
                assert!(reports.texts().iter().all(|text| !text.contains('\n')), "{:?}", reports.texts());
                let debugs = reports.debugs();
                assert!(debugs.iter().all(|text| !text.contains("disabled backtrace")), "{debugs:?}");
            });
            assert!(ended_well, "{text}");
            let lines: Vec<&str> = text.lines().collect();
            assert_eq!(lines[0], "seqcast: health/down (id 0): a handler failed: no luck today");
            let panicked =
                "seqcast: health/down (id 0): a handler panicked: index out of luck, at tests/parity/reports.rs";
            assert!(lines[1].starts_with(panicked), "{setting:?}: {text}");
            assert_eq!(lines.len(), 2, "{setting:?}: {text}");
        }
    }

    fn equal_reports_are_counted_by_default_and_all_given_to_a_reporter() {
        let (_name, bus) = bus(&small().capacity(1024));
        let (ended_well, text) = stderr_of(|| {
            let reports = Reports::default();
            let limited = bus.join_with(&quiet()).unwrap();
            let unlimited = bus.join_with(&reports.of(quiet())).unwrap();
            for worker in [&limited, &unlimited] {
                worker.on(Scope::All, |_: &Event<'_>| Err::<(), _>(NoLuck)).unwrap();
            }
            for _ in 0..499 {
                limited.post(("s", "e"), b"").unwrap();
            }
            assert_eq!((poll(&limited), poll(&unlimited)), ((499, 0), (499, 0)));
            assert_eq!(reports.texts().len(), 499);
            // Omitted reports are counted at the latest when the worker leaves.
            drop(limited);
        });
        assert!(ended_well, "{text}");
        let failed = text.lines().filter(|line| line.contains("no luck today")).count();
        let left_out = text.lines().filter_map(|line| {
            let rest = line.strip_prefix("seqcast: s/e: failed: and ")?;
            rest.split_once(" more like it in the last ")?.0.parse::<usize>().ok()
        });
        assert_eq!(failed + left_out.sum::<usize>(), 499, "{text}");
        // However slow this is, there are at most five in ten seconds.
        assert!(failed < 50, "{failed} lines");
    }

    fn g10_names_of_events_forge_no_line_of_a_report() {
        let (_name, bus) = bus(&small());
        let event = "e\nseqcast: forged\u{1b}[2J\u{9b}\u{202e}";
        let escaped = r"s/e\nseqcast: forged\u{1b}[2J\u{9b}\u{202e} (id 0): a handler failed: no luck today";
        let reports = Reports::default();
        let noted = bus.join_with(&reports.of(quiet())).unwrap();
        noted.on(Scope::All, |_: &Event<'_>| Err::<(), _>(NoLuck)).unwrap();
        let (ended_well, text) = stderr_of(|| {
            let worker = bus.join_with(&quiet()).unwrap();
            worker.on(Scope::All, |_: &Event<'_>| Err::<(), _>(NoLuck)).unwrap();
            worker.post(("s", event), b"").unwrap();
            poll(&worker);
        });
        assert!(ended_well, "{text}");
        assert_eq!(text.lines().next().unwrap(), format!("seqcast: {escaped}"), "{text}");
        poll(&noted);
        assert!(reports.texts()[0].starts_with(escaped), "{:?}", reports.texts());
        assert!(!reports.debugs()[0].contains("\u{202e}"), "{:?}", reports.debugs());
    }

    fn the_lines_of_an_errors_text_say_where_they_are_from() {
        let (_name, bus) = bus(&small());
        let (ended_well, text) = stderr_of(|| {
            let worker = bus.join_with(&quiet()).unwrap();
            worker.on(Scope::All, |_: &Event<'_>| Err::<(), _>(HandlerError::msg("one\ntwo"))).unwrap();
            worker.post(("s", "e"), b"").unwrap();
            poll(&worker);
        });
        assert!(ended_well, "{text}");
        assert!(text.starts_with("seqcast: s/e (id 0): a handler failed: one\nseqcast: | two\n"), "{text}");
    }

    fn a_standard_error_that_is_closed_or_has_no_reader_ends_nothing() {
        let (_name, bus) = bus(&small());
        for closed in [true, false] {
            in_child(|| {
                let worker = bus.join_with(&quiet()).unwrap();
                let (reader, writer) = std::io::pipe().unwrap();
                drop(reader);
                // SAFETY: plain numbers; the child's standard error and signals are its own. A host whose main is not
                // Rust's does not ignore SIGPIPE.
                unsafe {
                    assert_ne!(libc::signal(libc::SIGPIPE, libc::SIG_DFL), libc::SIG_ERR);
                    if closed {
                        assert_eq!(libc::close(2), 0);
                    } else {
                        assert_eq!(libc::dup2(writer.as_raw_fd(), 2), 2);
                    }
                }
                worker.on(Scope::All, |_: &Event<'_>| Err::<(), _>(NoLuck)).unwrap();
                let log = Log::of(&worker, Scope::All);
                worker.post(("s", "e"), b"").unwrap();
                worker.post(("s", "e"), b"").unwrap();
                assert_eq!(poll(&worker), (2, 0));
                assert_eq!(log.len(), 2);
                // The process's signals are as before: none pending, none blocked.
                // SAFETY: a signal set is plain numbers, and it outlives the calls.
                unsafe {
                    let mut set: libc::sigset_t = std::mem::zeroed();
                    assert_eq!(libc::sigpending(&raw mut set), 0);
                    assert_eq!(libc::sigismember(&raw const set, libc::SIGPIPE), 0);
                    assert_eq!(libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut set), 0);
                    assert_eq!(libc::sigismember(&raw const set, libc::SIGPIPE), 0);
                }
            });
        }
    }

    fn no_debug_output_shows_a_payload_or_a_key() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let shown: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&shown);
        worker.on(Scope::All, move |event: &Event<'_>| noted.lock().unwrap().push(format!("{event:?}"))).unwrap();
        worker.post(("s", "e"), SECRET).unwrap();
        worker.post_local(("s", "e"), SECRET).unwrap();
        worker.event(("s", "e")).unique(SECRET).post(SECRET).unwrap();
        poll(&worker);
        assert_eq!(shown.lock().unwrap().len(), 3);
        for text in shown.lock().unwrap().iter() {
            assert!(text.contains("\"s\"") && text.contains("\"e\""), "{text}");
            assert_secret("Debug of an event", text);
        }
        let mut reservation = worker.reserve().unwrap();
        reservation.commit(("s", "e"), SECRET).unwrap();
        for (what, text) in [
            ("a worker", format!("{worker:?}")),
            ("a bus", format!("{bus:?}")),
            ("a poster", format!("{:?}", worker.publisher().unwrap())),
            ("a key", format!("{:?}", Unique::from(SECRET))),
            ("a claim", format!("{:?}", worker.claim(SECRET, HOUR).unwrap())),
            ("a reservation", format!("{reservation:?}")),
            ("stats", format!("{:?}", bus.stats().unwrap())),
        ] {
            assert_secret(what, &text);
        }
    }

    fn no_error_shows_a_payload() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let huge = SECRET.repeat(bus.largest_event());
        let too_late = |worker: &Worker| {
            let mut reservation = worker.reserve().unwrap();
            drop(worker.reserve().unwrap());
            reservation.commit(("s", "e"), SECRET)
        };
        let errors = [
            worker.post(("s", "e"), &huge).unwrap_err(),
            worker.post(("", "e"), SECRET).unwrap_err(),
            worker.event(("s", "e")).unique("").post(SECRET).unwrap_err(),
            worker.reserve().unwrap().commit(("s", "e"), &huge).unwrap_err(),
            too_late(&worker).unwrap_err(),
        ];
        for error in errors {
            assert_secret("an error", &format!("{error} {error:?}"));
        }
    }
}
