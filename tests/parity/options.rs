//! Options, and changing them.

use std::time::Duration;

use seqcast::{Cause, Scope, Start, WorkerOptions};

use seqcast_testkit::{HOUR, Reports, alone, bus, counts, error, listener, poll, quiet, small};

const MS: Duration = Duration::from_millis(1);

alone! {
    fn the_defaults_are_the_originals() {
        let text = format!("{:?}", WorkerOptions::new());
        for default in ["interval: 1s", "wait_interval: 10ms", "wait_max: 500ms", "timeout: 2s", "start: Now"] {
            assert!(text.contains(default), "{text}");
        }
    }

    fn bad_values_are_refused_with_name_value_and_rule() {
        type Change = fn(WorkerOptions) -> WorkerOptions;
        let cases: [(Change, &str, &str, &str); 3] = [
            (|o| o.wait_interval(Duration::ZERO), "wait_interval", "0", "greater than 0"),
            (|o| o.wait_interval(MS * 30).wait_max(MS * 20), "wait_interval", "30ms with wait_max = 20ms", "wait_max"),
            (|o| o.timeout(Duration::ZERO), "timeout", "0", "greater than 0"),
        ];
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let before = format!("{:?}", worker.options());
        for (change, name, shown, part_of_rule) in cases {
            for refusal in [error(bus.join_with(&change(quiet()))), error(worker.reconfigure(change))] {
                let text = refusal.to_string();
                let Cause::Option { option, value, rule } = refusal.cause() else { panic!("{refusal:?}") };
                assert_eq!((*option, value.as_str()), (name, shown));
                assert!(rule.contains(part_of_rule), "{rule}");
                assert!(text.contains(name) && text.contains(shown) && text.contains(rule), "{text}");
            }
        }
        assert_eq!(format!("{:?}", worker.options()), before);
        assert_eq!(bus.stats().unwrap().workers.len(), 1, "a refused join took a seat");
        worker.post(("s", "e"), b"").unwrap();
    }

    fn reconfigure_takes_effect_and_shows() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet().label("before")).unwrap();
        worker.reconfigure(|options| options.label("after").timeout(MS * 3).interval(MS * 4)).unwrap();
        let options = format!("{:?}", worker.options());
        assert!(options.contains("timeout: 3ms") && options.contains("interval: 4ms"), "{options}");
        assert!(options.contains("wait_max: 500ms"), "an unchanged option differs: {options}");
        assert_eq!(counts(&bus, &worker).label, "after");
    }

    fn reconfigure_changes_the_ttl_of_unique_events_posted_from_then_on() {
        let (_name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &quiet().timeout(HOUR));
        worker.reconfigure(|options| options.timeout(Duration::from_nanos(1))).unwrap();
        for _ in 0..2 {
            worker.event(("s", "e")).unique("key").post(b"").unwrap();
            assert_eq!(poll(&worker), (1, 0), "held for an hour");
        }
        worker.reconfigure(|options| options.timeout(HOUR)).unwrap();
        for expected in [1, 0] {
            worker.event(("s", "e")).unique("key").post(b"").unwrap();
            assert_eq!(poll(&worker), (expected, 0));
        }
        assert_eq!(log.len(), 3);
    }

    fn reconfigure_changes_wait_max_for_the_next_poll() {
        let (_name, bus) = bus(&small());
        let reserver = bus.join_with(&quiet()).unwrap();
        let worker = bus.join_with(&quiet().wait_max(HOUR)).unwrap();
        let _reservation = reserver.reserve().unwrap();
        worker.reconfigure(|options| options.wait_interval(MS).wait_max(MS * 2)).unwrap();
        assert_eq!(poll(&worker), (0, 0));
        assert_eq!(counts(&bus, &worker).voided, 1);
    }

    fn reconfigure_changes_who_gets_the_reports() {
        let (_name, bus) = bus(&small());
        let (before, after) = (Reports::default(), Reports::default());
        let worker = bus.join_with(&before.of(quiet())).unwrap();
        worker.on(Scope::All, |_: &seqcast::Event<'_>| Err::<(), _>("no")).unwrap();
        worker.post_local(("s", "e"), ()).unwrap();
        poll(&worker);
        worker.reconfigure(|options| after.of(options)).unwrap();
        worker.post_local(("s", "e"), ()).unwrap();
        poll(&worker);
        assert_eq!((before.texts().len(), after.texts().len()), (1, 1));
    }

    fn reconfigure_cannot_move_the_start() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let refusal = error(worker.reconfigure(|options| options.start(Start::Oldest).label("x")));
        assert!(matches!(refusal.cause(), Cause::Option { option: "start", .. }), "{refusal:?}");
        assert_eq!(counts(&bus, &worker).label, "");
    }
}
