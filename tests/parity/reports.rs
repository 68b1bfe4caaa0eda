//! What is reported, and that no payload is in it.

use std::io::Read;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};

use seqcast::{Event, HandlerError, Report, Scope, Trouble, Unique, Worker};

use crate::common::{HOUR, Reports, bus, in_child, poll, quiet, small};

/// A payload that nobody may print, as text or as numbers.
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
        let worker = bus.join_with(reports.of(quiet())).unwrap();
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
        let reports = Reports::default();
        let worker = bus.join_with(reports.of(quiet())).unwrap();
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
        let worker = bus.join_with(reports.of(quiet())).unwrap();
        worker.on(Scope::All, |_: &Event<'_>| -> () { std::panic::panic_any(17) }).unwrap();
        worker.post(("s", "e"), SECRET).unwrap();
        poll(&worker);
        assert!(reports.texts()[0].contains("a handler panicked: (no text)"), "{:?}", reports.texts());
    }

    fn a_panic_outside_of_handlers_goes_to_the_hook_that_was_there() {
        let (_name, bus) = bus(&small());
        let hooked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&hooked);
        std::panic::set_hook(Box::new(move |info| noted.lock().unwrap().push(info.to_string())));
        let worker = bus.join_with(Reports::default().of(quiet())).unwrap();
        worker.on(Scope::All, |_: &Event<'_>| -> () { panic!("inside") }).unwrap();
        worker.post(("s", "e"), b"").unwrap();
        poll(&worker);
        let outside = std::panic::catch_unwind(|| panic!("outside"));
        let hooked = std::mem::take(&mut *hooked.lock().unwrap());
        drop(std::panic::take_hook());
        assert!(outside.is_err());
        assert!(hooked.len() == 1 && hooked[0].contains("outside"), "{hooked:?}");
    }

    fn reports_tell_errors_from_panics_to_a_program() {
        let (_name, bus) = bus(&small());
        let kinds: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&kinds);
        let worker = bus.join_with(quiet().on_report(move |report: &Report<'_>| {
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
        let (mut reader, writer) = std::io::pipe().unwrap();
        in_child(|| {
            // SAFETY: both descriptors are open; the child's standard error is its own.
            assert_eq!(unsafe { libc::dup2(writer.as_raw_fd(), 2) }, 2);
            let worker = bus.join_with(quiet()).unwrap();
            worker.on(Scope::All, |_: &Event<'_>| fails_deep_inside()).unwrap();
            worker.post(("health", "down"), SECRET).unwrap();
            poll(&worker);
        });
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("seqcast: health/down (id 0): a handler failed: no luck today\n"), "{text}");
        assert_secret("standard error", &text);
    }

    fn no_debug_output_shows_a_payload_or_a_key() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(quiet()).unwrap();
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
        let worker = bus.join_with(quiet()).unwrap();
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
