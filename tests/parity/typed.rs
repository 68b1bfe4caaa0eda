//! Typed events: bound to source, event and version, validated before a handler sees them.

use rkyv::{Archive, Serialize};
use seqcast::inspect::Inspector;
use seqcast::{Cause, Delivery, Error, ErrorKind, Event, Topic, Typed, TypedEvent, rkyv};

use seqcast_testkit::hostile::map::Map;
use seqcast_testkit::hostile::scene::Scene;
use seqcast_testkit::{Child, HOUR, Log, Reports, alone, bus, poll, quiet, small};
use std::sync::{Arc, Mutex};

#[derive(Archive, Serialize)]
#[rkyv(crate = rkyv)]
struct Upstream {
    host: String,
    port: u16,
    weights: Vec<u64>,
}

impl TypedEvent for Upstream {
    const TOPIC: Topic<'static> = Topic::new("health", "down");
    const VERSION: u32 = 1;
}

/// The same fields with a newer meaning.
#[derive(Archive, Serialize)]
#[rkyv(crate = rkyv)]
struct NewUpstream {
    host: String,
    port: u16,
    weights: Vec<u64>,
}

impl TypedEvent for NewUpstream {
    const TOPIC: Topic<'static> = Topic::new("health", "down");
    const VERSION: u32 = 2;
}

/// Another type under the same names and version.
#[derive(Archive, Serialize)]
#[rkyv(crate = rkyv)]
struct Number {
    value: u64,
}

impl TypedEvent for Number {
    const TOPIC: Topic<'static> = Topic::new("health", "down");
}

#[derive(Archive, Serialize)]
#[rkyv(crate = rkyv)]
struct Digits {
    values: [u64; 4],
    signed: i64,
    float: f64,
}

impl TypedEvent for Digits {
    const TOPIC: Topic<'static> = Topic::new("numbers", "digits");
}

fn upstream() -> Upstream {
    Upstream {
        host: "a host with a rather long name.example.org".to_owned(),
        port: 8080,
        weights: vec![1, 2, u64::MAX],
    }
}

alone! {
    fn a_typed_event_arrives_as_it_was_posted_in_every_way_of_posting() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&seen);
        worker.on_typed(move |upstream: Typed<'_, Upstream>| {
            let event = upstream.event();
            let weights: Vec<u64> = upstream.weights.iter().map(|weight| weight.to_native()).collect();
            let place = (event.is_local(), event.claim().is_some());
            noted.lock().unwrap().push(format!("{} {} {weights:?} {place:?}", upstream.host, upstream.port));
        }).unwrap();
        worker.post(Upstream::TOPIC, &upstream()).unwrap();
        worker.event(Upstream::TOPIC).unique("key").post(&upstream()).unwrap();
        bus.publisher().unwrap().post(Upstream::TOPIC, &upstream()).unwrap();
        worker.event(Upstream::TOPIC).local(&upstream()).unwrap();
        let child = Child::fork(|| {
            bus.join_with(&quiet()).unwrap().post(Upstream::TOPIC, &upstream()).unwrap();
        });
        assert!(child.ended_well());
        assert_eq!(poll(&worker), (5, 0));
        let expected = format!("a host with a rather long name.example.org 8080 [1, 2, {}]", u64::MAX);
        let places = ["(true, false)", "(false, false)", "(false, true)", "(false, false)", "(false, false)"];
        assert_eq!(*seen.lock().unwrap(), places.map(|place| format!("{expected} {place}")));
    }

    fn a_typed_event_of_many_fragments_arrives_too() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let sum = Arc::new(Mutex::new(0));
        let adding = Arc::clone(&sum);
        worker.on_typed(move |upstream: Typed<'_, Upstream>| {
            *adding.lock().unwrap() += upstream.weights.iter().map(|weight| weight.to_native()).sum::<u64>();
        }).unwrap();
        worker.post(Upstream::TOPIC, &Upstream { weights: (0..400).collect(), ..upstream() }).unwrap();
        assert!(bus.next_id() > 10, "it was one fragment");
        assert_eq!(poll(&worker), (1, 0));
        assert_eq!(*sum.lock().unwrap(), 399 * 200);
    }

    fn numbers_keep_their_digits() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let exact = [u64::MAX, (1 << 53) + 1, 0x1234_5678_9abc_def1, 0];
        let seen = Arc::new(Mutex::new(None));
        let noted = Arc::clone(&seen);
        worker.on_typed(move |digits: Typed<'_, Digits>| {
            let values = digits.values.map(|value| value.to_native());
            *noted.lock().unwrap() = Some((values, digits.signed.to_native(), digits.float.to_native()));
        }).unwrap();
        worker.post(Digits::TOPIC, &Digits { values: exact, signed: i64::MIN + 1, float: 0.1 }).unwrap();
        poll(&worker);
        assert_eq!(*seen.lock().unwrap(), Some((exact, i64::MIN + 1, 0.1)));
    }

    fn another_version_type_or_bytes_are_reported_and_left_out_and_the_handlers_after_it_run() {
        let (_name, bus) = bus(&small());
        let reports = Reports::default();
        let worker = bus.join_with(&reports.of(quiet())).unwrap();
        let called = Arc::new(Mutex::new(0));
        let counting = Arc::clone(&called);
        worker.on_typed(move |_: Typed<'_, Upstream>| *counting.lock().unwrap() += 1).unwrap();
        let after = Log::of(&worker, seqcast::Scope::events("health", ["down"]));
        worker.post(NewUpstream::TOPIC, &NewUpstream { host: String::new(), port: 1, weights: vec![] }).unwrap();
        worker.post(Number::TOPIC, &Number { value: 7 }).unwrap();
        worker.post(("health", "down"), b"plain bytes").unwrap();
        worker.post_local(("health", "down"), upstream()).unwrap();
        worker.post(Upstream::TOPIC, &upstream()).unwrap();
        assert_eq!(poll(&worker), (5, 0));
        assert_eq!(*called.lock().unwrap(), 1, "the handler ran for another type's event");
        assert_eq!(after.len(), 5);
        let texts = reports.texts();
        assert_eq!(texts.len(), 4);
        for (text, reason) in texts.iter().zip(["not posted as a typed", "type or version", "type or version",
            "not posted as a typed"])
        {
            assert!(text.starts_with("health/down (") && text.contains("typed handler was skipped"), "{text}");
            assert!(text.contains(reason), "{text}");
        }
    }

    fn an_event_tells_whether_it_is_of_a_type() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let answers = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&answers);
        worker.on(seqcast::Scope::All, move |event: &Event<'_>| {
            let refusal = event.typed::<NewUpstream>().err();
            let typed = matches!(refusal.as_ref().map(|error| error.cause()), Some(Cause::Payload { source, event, .. })
                if source == "health" && event == "down");
            noted.lock().unwrap().push((event.typed::<Upstream>().is_ok(), typed));
        }).unwrap();
        worker.post(Upstream::TOPIC, &upstream()).unwrap();
        poll(&worker);
        assert_eq!(*answers.lock().unwrap(), [(true, true)]);
    }

    fn a_typed_value_is_refused_under_another_topic_and_nobody_sees_it() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let log = Log::of(&worker, seqcast::Scope::All);
        let refusal = worker.post(("health", "up"), &upstream()).unwrap_err();
        assert!(matches!(refusal.cause(), Cause::TypedTopic { topic, expected, .. }
            if topic == "health/up" && expected == "health/down"), "{refusal:?}");
        assert!(worker.event(("health", "up")).local(&upstream()).is_err());
        worker.post(Upstream::TOPIC, &upstream()).unwrap();
        assert_eq!(poll(&worker), (1, 0));
        assert_eq!(log.events(), ["down"]);
    }

    fn g9_a_unique_event_can_be_committed_at_a_reserved_id() {
        let (_name, bus) = bus(&small());
        let workers = [bus.join_with(&quiet()).unwrap(), bus.join_with(&quiet()).unwrap()];
        let logs = [Log::of(&workers[0], seqcast::Scope::All), Log::of(&workers[1], seqcast::Scope::All)];
        let sender = bus.join_with(&quiet()).unwrap();
        let mut reservation = sender.reserve().unwrap();
        let first = reservation.id();
        let second = sender.event(("s", "later")).unique("key").ttl(HOUR).post("").unwrap();
        reservation.event(("s", "reserved")).unique("key").ttl(HOUR).post("").unwrap();
        for worker in &workers {
            poll(worker);
        }
        let ids: Vec<u64> = logs.iter().flat_map(Log::ids).collect();
        assert_eq!(ids, [first], "the key was held by the reserved event when {second} came");
    }

    fn bytes_and_values_reach_only_this_worker_as_local_events() {
        let (_name, bus) = bus(&small());
        let (worker, other) = (bus.join_with(&quiet()).unwrap(), bus.join_with(&quiet()).unwrap());
        let (log, others) = (Log::of(&worker, seqcast::Scope::All), Log::of(&other, seqcast::Scope::All));
        worker.event(("s", "bytes")).local("abc").unwrap();
        worker.event(Upstream::TOPIC).local(&upstream()).unwrap();
        assert_eq!((poll(&worker), poll(&other)), ((2, 0), (0, 0)));
        assert_eq!((log.seen()[0].id, log.seen()[0].bytes.as_slice()), (None, &b"abc"[..]));
        assert_eq!(others.len(), 0);
    }

    fn g10_values_of_another_format_are_refused_with_both_formats_and_bytes_are_not() {
        const FORMAT: u64 = 0xfeed;
        let (scene, bus) = Scene::new(&small());
        let inspector = Inspector::open(bus.name()).unwrap();
        assert_eq!(inspector.header().typed_format, None, "no program has used typed values yet");
        let (worker, mut subscriber) = (bus.join_with(&quiet()).unwrap(), bus.subscribe().unwrap());
        let log = Log::of(&worker, seqcast::Scope::All);
        worker.post(Upstream::TOPIC, "bytes").unwrap();
        assert_eq!(inspector.header().typed_format, None, "bytes have no format");
        let posted = worker.post(Upstream::TOPIC, &upstream()).unwrap();
        let own = inspector.header().typed_format.expect("the first value decides the format");
        scene.set(Map::header("typed_format"), FORMAT);

        let refused = |error: Error| {
            let Cause::TypedFormat { type_name, found, expected } = *error.cause() else { panic!("{error:?}") };
            assert_eq!((error.kind(), found, expected), (ErrorKind::TypedFormat, FORMAT, own));
            let text = error.to_string();
            let formats = [found, expected].map(|format| format!("{format:#018x}"));
            let parts = [type_name, &formats[0], &formats[1], "features of rkyv", "bytes"];
            assert!(type_name.ends_with("Upstream") && parts.iter().all(|part| text.contains(part)), "{text}");
        };
        refused(worker.post(Upstream::TOPIC, &upstream()).unwrap_err());
        refused(worker.event(Upstream::TOPIC).unique("key").post(&upstream()).unwrap_err());
        refused(worker.reserve().unwrap().commit(Upstream::TOPIC, &upstream()).unwrap_err());
        refused(bus.publisher().unwrap().post(Upstream::TOPIC, &upstream()).unwrap_err());
        refused(worker.on_typed(|_: Typed<'_, Upstream>| {}).unwrap_err());
        // Programs that only inspect or exchange bytes are not affected.
        worker.post(("s", "e"), "more bytes").unwrap();
        assert_eq!(small().open(bus.name()).unwrap().id(), bus.id());
        assert_eq!(inspector.header().typed_format, Some(FORMAT));
        worker.event(Upstream::TOPIC).local(&upstream()).unwrap();
        poll(&worker);
        let mut events = log.events();
        events.retain(|event| event != "started");
        assert_eq!(events, ["down", "down", "down", "e"]);
        // A value that was posted anyway is not read as one of this format.
        let mut values = 0;
        while let Some(delivery) = subscriber.try_next().unwrap() {
            let Delivery::Event(event) = delivery else { continue };
            if event.id() == Some(posted) {
                refused(event.typed::<Upstream>().err().unwrap());
                values += 1;
            }
        }
        assert_eq!(values, 1);
    }

    fn the_first_program_that_handles_values_decides_their_format() {
        let (_name, bus) = bus(&small());
        let format = || Inspector::open(bus.name()).unwrap().header().typed_format;
        let worker = bus.join_with(&quiet()).unwrap();
        worker.event(Upstream::TOPIC).local(&upstream()).unwrap();
        assert_eq!(format(), None, "a local event stays in the process");
        worker.on_typed(|_: Typed<'_, Upstream>| {}).unwrap();
        let decided = format().expect("a handler waits for values of this format");
        bus.join_with(&quiet()).unwrap().post(Upstream::TOPIC, &upstream()).unwrap();
        assert_eq!(format(), Some(decided));
        assert_eq!(poll(&worker), (2, 0));
    }
}
