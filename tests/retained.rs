//! Retained events: look-ups, workers that join or were lapped, clears, and refusals (G13 to G15).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use seqcast::{
    Bus, Cause, Delivery, Event, Scope, SegmentOptions, SizeLimit, Start, Subscriber, Topic, Trouble, Worker,
    WorkerOptions, library,
};
use seqcast_testkit::{
    HOUR, Log, Name, alone, assert_error, bus, counts, error, eventually, in_child, poll, quiet, small,
};

const STATE: Topic<'_> = Topic::new("upstream", "state");

/// The deliveries of a worker, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Live(u64, String, String),
    Retained(u64, String, String),
    Cleared(u64, String),
    Reset,
    UpToDate,
    Lagged(u64),
}

use Told::{Cleared, Lagged, Live, Reset, Retained, UpToDate};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn of_event(event: &Event<'_>) -> Told {
    if event.topic() == library::RESET {
        return Reset;
    }
    if event.topic() == library::UP_TO_DATE {
        return UpToDate;
    }
    let (id, key) = (event.id().unwrap(), text(event.retained_key().unwrap_or(b"-")));
    if event.is_cleared() {
        assert!(event.bytes().is_empty(), "a clear has a payload");
        return Cleared(id, key);
    }
    let told = if event.is_retained() { Retained } else { Live };
    told(id, key, text(event.bytes()))
}

fn live(id: u64, key: &str, value: &str) -> Told {
    Live(id, key.to_owned(), value.to_owned())
}

fn retained(id: u64, key: &str, value: &str) -> Told {
    Retained(id, key.to_owned(), value.to_owned())
}

fn cleared(id: u64, key: &str) -> Told {
    Cleared(id, key.to_owned())
}

/// A worker or a subscriber.
trait Listener {
    fn join(bus: &Bus, options: &WorkerOptions) -> Self;
    /// Returns its new deliveries.
    fn told(&mut self) -> Vec<Told>;
    fn position(&self) -> seqcast::Position;
}

struct ByHandlers {
    worker: Worker,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Listener for ByHandlers {
    fn join(bus: &Bus, options: &WorkerOptions) -> ByHandlers {
        let told = Arc::new(Mutex::new(Vec::new()));
        let note = |told: &Arc<Mutex<Vec<Told>>>| {
            let told = Arc::clone(told);
            move |event: &Event<'_>| told.lock().unwrap().push(of_event(event))
        };
        let lagged = Arc::clone(&told);
        let options = options.clone().on_report(move |report| {
            let Trouble::Lagged { missed, .. } = report.trouble else { panic!("{report}") };
            lagged.lock().unwrap().push(Lagged(missed));
        });
        let worker = bus.join_with(&options).unwrap();
        worker.on(Scope::All, note(&told)).unwrap();
        worker.on_cleared(Scope::All, note(&told)).unwrap();
        ByHandlers { worker, told }
    }

    fn told(&mut self) -> Vec<Told> {
        poll(&self.worker);
        std::mem::take(&mut *self.told.lock().unwrap())
    }

    fn position(&self) -> seqcast::Position {
        self.worker.position()
    }
}

impl Listener for Subscriber {
    fn join(bus: &Bus, options: &WorkerOptions) -> Subscriber {
        bus.subscribe_with(options).unwrap()
    }

    fn told(&mut self) -> Vec<Told> {
        let mut told = Vec::new();
        while let Some(delivery) = self.try_next().unwrap() {
            told.push(match delivery {
                Delivery::Event(event) | Delivery::Cleared(event) => of_event(&event),
                Delivery::Reset { .. } => Reset,
                Delivery::UpToDate { .. } => UpToDate,
                Delivery::Lagged { missed, .. } => Lagged(missed),
                other => panic!("{other:?}"),
            });
        }
        told
    }

    fn position(&self) -> seqcast::Position {
        Subscriber::position(self)
    }
}

/// Runs `test` for both kinds of listeners.
macro_rules! for_both {
    ($test:ident) => {{
        $test::<ByHandlers>();
        $test::<Subscriber>();
    }};
}

fn with_retained() -> WorkerOptions {
    quiet().start(Start::Retained)
}

/// A bus with a ring of eight ids, and a poster on it.
fn tiny(keys: u64) -> (Name, Bus, Worker) {
    let (name, bus) = bus(&small().capacity(8).retained(keys));
    let poster = bus.join_with(&quiet()).unwrap();
    (name, bus, poster)
}

fn retain(worker: &Worker, key: &str, value: &str) -> u64 {
    worker.event(STATE).retain_key(key).post(value).unwrap()
}

fn clear(worker: &Worker, key: &str) -> Option<u64> {
    worker.event(STATE).retain_key(key).clear().unwrap()
}

fn fill(worker: &Worker, count: u64) {
    for _ in 0..count {
        worker.post(("s", "filler"), "").unwrap();
    }
}

fn look_up(worker: &Worker, key: &str) -> Option<String> {
    worker.get_key(STATE, key).unwrap().map(|state| text(state.bytes()))
}

fn a_joiner_gets_the_last_of_each_key<L: Listener>() {
    let (_name, bus, poster) = tiny(64);
    retain(&poster, "a", "1");
    let b = retain(&poster, "b", "1");
    retain(&poster, "c", "1");
    clear(&poster, "c").unwrap();
    poster.post(("s", "other"), "not retained").unwrap();
    let a = retain(&poster, "a", "2");
    // The event has left the ring.
    fill(&poster, 100);
    let mut joiner = L::join(&bus, &with_retained());
    let after = retain(&poster, "b", "2");
    // A retained event that will be read live is not handed over.
    assert_eq!(joiner.told(), [retained(a, "a", "2"), UpToDate, live(after, "b", "2")]);
    let cleared_at = clear(&poster, "a").unwrap();
    assert_eq!(joiner.told(), [cleared(cleared_at, "a")]);
    let mut later = L::join(&bus, &with_retained());
    assert_eq!(later.told(), [retained(after, "b", "2"), UpToDate]);
    let mut plain = L::join(&bus, &quiet());
    assert_eq!(plain.told(), []);
    assert!(b < a);
}

fn a_lapped_reader_is_brought_up_to_date<L: Listener>() {
    let (_name, bus, poster) = tiny(64);
    let (a, mut reader) = (retain(&poster, "a", "1"), L::join(&bus, &quiet().start(Start::Oldest).resync(true)));
    let gone = retain(&poster, "gone", "1");
    retain(&poster, "b", "1");
    assert_eq!(reader.told().len(), 3);
    let missed_from = reader.position();
    let gone_at = clear(&poster, "gone").unwrap();
    let b = retain(&poster, "b", "2");
    fill(&poster, 20);
    let last = poster.post(("s", "filler"), "").unwrap();
    let told = reader.told();
    // "a" has not changed.
    assert_eq!(told[1..4], [cleared(gone_at, "gone"), retained(b, "b", "2"), UpToDate]);
    assert!(matches!(told[0], Lagged(missed) if missed > 2), "{told:?}");
    assert_eq!(told.last(), Some(&live(last, "-", "")));
    let reached = reader.position();
    // A worker that resumes before the lap gets the same.
    let mut resumed = L::join(&bus, &quiet().start(Start::Resume(missed_from)).resync(true));
    assert_eq!(resumed.told()[1..4], told[1..4]);
    assert_eq!(resumed.position(), reached);
    assert!(a < gone);
}

fn a_reader_without_resync_is_told_what_it_missed_and_no_more<L: Listener>() {
    let (_name, bus, poster) = tiny(64);
    let mut reader = L::join(&bus, &quiet());
    retain(&poster, "a", "1");
    fill(&poster, 20);
    let told = reader.told();
    assert!(matches!(told[0], Lagged(_)) && told[1..].iter().all(|told| matches!(told, Live(..))), "{told:?}");
}

fn a_reader_that_may_know_what_was_forgotten_begins_again<L: Listener>() {
    let (_name, bus, poster) = tiny(2);
    let mut reader = L::join(&bus, &quiet().resync(true));
    let a = retain(&poster, "a", "1");
    retain(&poster, "b", "1");
    assert_eq!(reader.told().len(), 2);
    // The worker will miss the clear of "b". The table forgets this clear when it needs the place.
    clear(&poster, "b").unwrap();
    let c = retain(&poster, "c", "1");
    fill(&poster, 20);
    let told = reader.told();
    assert_eq!(told[1..5], [Reset, retained(a, "a", "1"), retained(c, "c", "1"), UpToDate], "{told:?}");
    assert_eq!(bus.stats().unwrap().workers.iter().map(|worker| worker.resets).sum::<u64>(), 1);
    // A second lap without such a gap needs no reset.
    fill(&poster, 20);
    assert_eq!(reader.told()[1], UpToDate);
}

fn a_value_of_several_blocks_arrives_whole<L: Listener>() {
    let options = small().capacity(16).block_size(64).retained(4).retained_size(400);
    let (_name, bus) = bus(&options);
    let poster = bus.join_with(&quiet()).unwrap();
    let value = "abcdefg".repeat(25);
    let mut reader = L::join(&bus, &quiet().resync(true));
    let first = retain(&poster, "a", &value);
    assert!(first > 0, "it fits one block");
    assert_eq!(reader.told(), [live(first, "a", &value)]);
    let mut joiner = L::join(&bus, &with_retained());
    assert_eq!(joiner.told(), [retained(first, "a", &value), UpToDate]);
    assert_eq!(look_up(&poster, "a").as_ref(), Some(&value));
    // For each id at which a lapped reader may continue, also in the middle of the message.
    for behind in 0..24 {
        let mut reader = L::join(&bus, &quiet().resync(true));
        fill(&poster, 2);
        let value = format!("{behind}{value}");
        let id = retain(&poster, "a", &value);
        fill(&poster, behind);
        let told = reader.told();
        let of_key: Vec<_> = told.iter().filter(|told| !matches!(told, Live(_, key, _) if key == "-")).collect();
        let is_value = |told: &Told| *told == live(id, "a", &value) || *told == retained(id, "a", &value);
        assert_eq!(of_key.iter().filter(|told| is_value(told)).count(), 1, "{behind} behind: {of_key:?}");
    }
}

fn a_hand_over_that_is_interrupted_goes_on<L: Listener>() {
    let (_name, bus, poster) = tiny(64);
    for key in ["a", "b", "c"] {
        retain(&poster, key, "1");
    }
    fill(&poster, 20);
    // It has received a part of the events that it lacks, and its position shows this.
    let joiner = bus.join_with(&with_retained()).unwrap();
    let log = Log::of(&joiner, Scope::All);
    assert_eq!(joiner.poll_at_most(1).unwrap().delivered(), 1);
    let begun = joiner.position();
    assert_eq!(joiner.poll_at_most(1).unwrap().delivered(), 1);
    assert_eq!(joiner.position(), begun);
    poll(&joiner);
    assert_ne!(joiner.position(), begun);
    assert_eq!((log.ids(), log.events().last().map(String::as_str)), (vec![0, 1, 2], Some("up-to-date")));
    let mut resumed = L::join(&bus, &quiet().start(Start::Resume(begun)).resync(true));
    let told = resumed.told();
    let values = told.iter().filter(|told| matches!(told, Retained(..))).count();
    assert_eq!(values, 3, "{told:?}");
}

alone! {
    fn g13_a_look_up_finds_the_last_event_of_its_key() {
        let (_name, bus, worker) = tiny(64);
        let mut publisher = bus.publisher_with(&quiet()).unwrap();
        assert!(worker.get(STATE).unwrap().is_none() && publisher.get(STATE).unwrap().is_none());
        retain(&worker, "17", "down");
        let id = publisher.event(STATE).retain_key("17").post("up").unwrap();
        let alone = worker.event(STATE).retain().post("no key").unwrap();
        fill(&worker, 100);
        let found = worker.get_key(STATE, "17").unwrap().unwrap();
        assert_eq!((found.id(), found.key(), found.bytes(), found.left()), (id, &b"17"[..], &b"up"[..], None));
        assert_eq!((found.topic(), found.pid(), found.seat()), (STATE, std::process::id(), publisher.seat()));
        assert_eq!(publisher.get(STATE).unwrap().unwrap().id(), alone);
        let (shorter, other) = (Topic::new("upstream", "stat"), Topic::new("u", "s"));
        for (topic, key) in [(STATE, "1"), (STATE, "171"), (shorter, "e17"), (other, "17")] {
            assert!(worker.get_key(topic, key).unwrap().is_none(), "{topic} {key}");
        }
        let all: Vec<_> = worker.retained().unwrap().iter().map(|found| (found.id(), text(found.key()))).collect();
        assert_eq!(all, [(id, "17".to_owned()), (alone, String::new())]);
        assert_eq!(publisher.retained().unwrap().len(), 2);
        assert!(!format!("{found:?}").contains("up\""), "a payload in Debug");
    }

    fn g13_an_event_is_retained_until_its_ttl_ends() {
        let (_name, _bus, worker) = tiny(1);
        worker.event(STATE).retain_key("17").ttl(HOUR).post("down").unwrap();
        let left = worker.get_key(STATE, "17").unwrap().unwrap().left().unwrap();
        assert!(left <= HOUR && left > HOUR / 2, "{left:?}");
        worker.event(STATE).retain_key("17").ttl(Duration::from_millis(1)).post("up").unwrap();
        eventually("its ttl ends", || look_up(&worker, "17").is_none());
        assert_eq!(worker.retained().unwrap().len(), 0);
        // Another key has its place.
        retain(&worker, "18", "down");
        assert_eq!(look_up(&worker, "18").as_deref(), Some("down"));
    }

    fn g14_what_has_expired_meanwhile_is_told_as_cleared() {
        let (_name, bus, poster) = tiny(64);
        let mut reader = ByHandlers::join(&bus, &quiet().resync(true));
        // A reader that has read no event knows no event that could expire.
        fill(&poster, 1);
        assert_eq!(reader.told().len(), 1);
        let id = poster.event(STATE).retain_key("17").ttl(Duration::from_millis(1)).post("down").unwrap();
        fill(&poster, 20);
        eventually("its ttl ends", || look_up(&poster, "17").is_none());
        assert_eq!(reader.told()[1..3], [cleared(id, "17"), UpToDate]);
        assert_eq!(ByHandlers::join(&bus, &with_retained()).told(), [UpToDate]);
    }

    fn g14_a_joiner_is_handed_the_last_event_of_each_key() {
        for_both!(a_joiner_gets_the_last_of_each_key);
    }

    fn g14_a_lapped_reader_is_handed_what_it_missed() {
        for_both!(a_lapped_reader_is_brought_up_to_date);
    }

    fn g4_without_resync_a_lapped_reader_is_handed_nothing() {
        for_both!(a_reader_without_resync_is_told_what_it_missed_and_no_more);
    }

    fn g14_where_clears_are_forgotten_all_is_void() {
        for_both!(a_reader_that_may_know_what_was_forgotten_begins_again);
    }

    fn g14_values_larger_than_a_block_are_kept_and_handed_over_whole() {
        for_both!(a_value_of_several_blocks_arrives_whole);
    }

    fn g14_a_position_within_a_hand_over_loses_nothing() {
        for_both!(a_hand_over_that_is_interrupted_goes_on);
    }

    fn g14_only_what_is_handled_is_handed_over() {
        let (_name, bus, poster) = tiny(64);
        retain(&poster, "17", "down");
        poster.event(("config", "changed")).retain().post("workers = 4").unwrap();
        let worker = bus.join_with(&with_retained()).unwrap();
        let log = Log::of(&worker, Scope::source("config"));
        assert_eq!(poll(&worker), (1, 0));
        assert_eq!(log.texts(), ["workers = 4"]);
        let mut subscriber = bus.subscribe_with(&with_retained()).unwrap();
        subscriber.only([STATE]).unwrap();
        assert!(matches!(subscriber.told()[..], [Retained(..), UpToDate]));
    }

    fn clears_reach_the_handlers_of_clears_and_the_visitor_alone() {
        let (_name, bus, poster) = tiny(64);
        let worker = bus.join_with(&quiet()).unwrap();
        let log = Log::of(&worker, Scope::All);
        let clears = Log::default();
        let registration = worker.on_cleared(STATE, clears.noting()).unwrap();
        retain(&poster, "17", "down");
        let id = clear(&poster, "17").unwrap();
        poster.event(("config", "changed")).retain().post("").unwrap();
        poster.event(("config", "changed")).clear().unwrap().unwrap();
        assert_eq!(poll(&worker), (3, 0));
        assert_eq!((log.len(), clears.ids()), (2, vec![id]));
        assert!(worker.unregister(registration) && !worker.unregister(registration));
        retain(&poster, "17", "down");
        clear(&poster, "17").unwrap();
        let mut told = Vec::new();
        worker.poll_with(|event| told.push(of_event(event))).unwrap();
        assert!(matches!(told[..], [Live(..), Cleared(..)]), "{told:?}");
        assert_eq!(clears.len(), 1);
    }

    fn g5_a_clear_of_nothing_posts_nothing() {
        let (_name, bus, worker) = tiny(1);
        assert_eq!(clear(&worker, "17"), None);
        retain(&worker, "17", "down");
        assert_eq!(clear(&worker, "18"), None, "another key, and no place for it");
        let before = bus.next_id();
        assert_eq!(clear(&worker, "17"), Some(before));
        assert_eq!(clear(&worker, "17"), None);
        assert_eq!((bus.next_id(), look_up(&worker, "17")), (before + 1, None));
    }

    fn g15_without_a_place_nothing_is_posted() {
        for keys in [1, 3, 64] {
            let (_name, bus, worker) = tiny(keys);
            for key in 0..keys {
                retain(&worker, &key.to_string(), "value");
            }
            let before = bus.next_id();
            let full = worker.event(STATE).retain_key("one more").post("value");
            assert_error!(full, Cause::RetainedFull { source, event, keys: room }
                if source == "upstream" && event == "state" && *room == keys);
            assert_eq!(bus.next_id(), before, "G15: it was posted");
            assert_eq!(counts(&bus, &worker).retained_full, 1);
            assert_eq!(worker.retained().unwrap().len() as u64, keys);
            // Keys in the table need no new place, and a clear makes room.
            retain(&worker, "0", "another value");
            clear(&worker, "0").unwrap();
            retain(&worker, "one more", "value");
            assert_eq!(look_up(&worker, "one more").as_deref(), Some("value"));
            assert_eq!(look_up(&worker, "0"), None);
        }
    }

    fn g15_a_table_of_many_keys_has_room_for_all_of_them() {
        for keys in [65, 1000] {
            let (_name, bus) = bus(&small().retained(keys));
            let worker = bus.join_with(&quiet()).unwrap();
            for key in 0..keys {
                retain(&worker, &key.to_string(), &format!("value {key}"));
            }
            for key in 0..keys {
                assert_eq!(look_up(&worker, &key.to_string()), Some(format!("value {key}")));
            }
            assert_eq!(bus.stats().unwrap().retained, keys);
            let told = ByHandlers::join(&bus, &with_retained()).told();
            let id_of = |told: &Told| if let Retained(id, ..) = told { Some(*id) } else { None };
            let ids: Vec<_> = told.iter().map_while(id_of).collect();
            assert!(ids.is_sorted() && ids.len() as u64 == keys, "{} of {keys}", ids.len());
            assert!(bus.audit().unwrap().is_clean());
        }
    }

    fn g5_what_cannot_be_retained_is_refused_before_it_is_posted() {
        let (_name, bus) = bus(&small().retained_size(400));
        let worker = bus.join_with(&quiet()).unwrap();
        let largest = bus.stats().unwrap().sizes.retained_size as usize;
        let head = 48 + "upstreamstate17".len().next_multiple_of(16);
        let value = vec![b'v'; largest - head];
        worker.event(STATE).retain_key("17").post(&value).unwrap();
        assert_eq!(worker.get_key(STATE, "17").unwrap().unwrap().bytes(), value);
        let before = bus.next_id();
        assert_error!(worker.event(STATE).retain_key("17").post([&value[..], b"v"].concat()),
            Cause::PayloadTooLarge { len, max, limit: SizeLimit::Retained } if *max == largest && *len == largest + 1);
        let too_long = [b'k'; 256];
        let options = [
            worker.event(STATE).retain_key(&too_long).post("").map(Some),
            worker.event(STATE).retain_key(&too_long).clear(),
            worker.event(STATE).retain().unique("key").post("").map(Some),
            worker.event(STATE).retain().ttl(Duration::ZERO).post("").map(Some),
            worker.event(STATE).ttl(HOUR).post("").map(Some),
            worker.event(STATE).ttl(HOUR).clear(),
            worker.event(STATE).unique("key").clear(),
            worker.event(STATE).retain().local("").map(|()| None),
            worker.get_key(STATE, too_long).map(|_| None),
        ];
        for refused in options {
            assert_error!(refused, Cause::Option { .. });
        }
        assert_error!(worker.event((library::SOURCE, "x")).retain().post(""), Cause::LibrarySource);
        assert_error!(worker.event(("", "x")).retain().post(""), Cause::Topic { .. });
        assert_error!(worker.event(("", "x")).clear(), Cause::Topic { .. });
        assert_error!(worker.get(("x", "")), Cause::Topic { .. });
        assert_eq!(bus.next_id(), before, "G5: it was posted");
        let mut reservation = worker.reserve().unwrap();
        assert_error!(reservation.event(STATE).retain().post(""), Cause::Option { option: "retain", .. });
        assert_error!(reservation.event(STATE).clear(), Cause::Option { option: "clear", .. });
        assert_eq!(reservation.commit(STATE, "").unwrap(), before, "it does not stand any more");
        assert_eq!(worker.get_key(STATE, "17").unwrap().unwrap().bytes(), value);
        worker.event(STATE).retain_key(&too_long[..255]).post("the longest").unwrap();
        assert_eq!(worker.get_key(STATE, &too_long[..255]).unwrap().unwrap().bytes(), b"the longest");
    }

    fn a_segment_without_a_table_says_so_and_works_as_ever() {
        let (_name, bus) = bus(&small().retained(0));
        let worker = bus.join_with(&quiet()).unwrap();
        let mut publisher = bus.publisher().unwrap();
        let says = |error: seqcast::Error| {
            let is_named = matches!(error.cause(), Cause::Option { option: "retained", value, .. } if value == "0");
            assert!(is_named, "{error}");
        };
        says(error(worker.event(STATE).retain().post("value")));
        says(error(worker.event(STATE).clear()));
        says(error(worker.get(STATE)));
        says(error(worker.retained()));
        says(error(publisher.event(STATE).retain().post("value")));
        says(error(publisher.get(STATE)));
        says(error(bus.join_with(&with_retained())));
        says(error(bus.subscribe_with(&quiet().resync(true))));
        says(error(worker.reconfigure(|options| options.resync(true))));
        assert_eq!(bus.next_id(), 0);
        let log = Log::of(&worker, Scope::All);
        for number in 0..200 {
            worker.post(("s", "e"), number.to_string()).unwrap();
            poll(&worker);
        }
        assert_eq!(log.len(), 200);
        assert!(worker.claim("key", HOUR).unwrap().won().is_some());
        assert!(bus.audit().unwrap().is_clean());
        let stats = bus.stats().unwrap();
        assert_eq!((stats.sizes.retained_keys, stats.sizes.retained_size, stats.retained), (0, 0, 0));
    }

    fn resync_can_be_switched_while_a_worker_runs() {
        let (_name, bus, poster) = tiny(64);
        let mut reader = ByHandlers::join(&bus, &quiet());
        for resync in [true, false] {
            reader.worker.reconfigure(|options| options.resync(resync)).unwrap();
            retain(&poster, "17", "down");
            fill(&poster, 20);
            assert_eq!(reader.told().contains(&UpToDate), resync);
        }
    }

    fn retained_events_are_counted() {
        let (_name, bus, worker) = tiny(64);
        retain(&worker, "17", "down");
        retain(&worker, "18", "down");
        clear(&worker, "17").unwrap();
        let counts = counts(&bus, &worker);
        assert_eq!((counts.retained, counts.posted, counts.settled), (3, 3, 0));
        let stats = bus.stats().unwrap();
        assert_eq!((stats.sizes.retained_keys, stats.retained, stats.retaining), (64, 1, 0));
    }

    fn g7_no_block_is_lost_where_threads_retain_and_clear_at_once() {
        let (_name, bus) = bus(&SegmentOptions::new().capacity(16).claims(8).seats(16).retained(3));
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let bus = &bus;
                scope.spawn(move || {
                    let worker = bus.join_with(&quiet().start(Start::Retained).resync(true).on_report(|_| ())).unwrap();
                    for round in 0..400_u32 {
                        let key = ((round + thread) % 5).to_string();
                        let value = format!("{thread} {round}");
                        match worker.event(STATE).retain_key(&key).post(&value) {
                            Ok(id) => {
                                let found = worker.get_key(STATE, &key).unwrap();
                                let is_old = found.is_some_and(|found| found.id() < id);
                                assert!(!is_old, "G13: something older");
                            }
                            Err(error) => assert!(matches!(error.cause(), Cause::RetainedFull { .. }), "{error}"),
                        }
                        if round % 3 == 0 {
                            worker.event(STATE).retain_key(&key).clear().unwrap();
                        }
                        worker.poll().unwrap();
                    }
                });
            }
        });
        assert!(bus.audit().unwrap().is_clean());
        assert_eq!(bus.stats().unwrap().retaining, 0);
    }

    fn g12_a_forked_child_cannot_retain_or_look_up() {
        let (_name, _bus, worker) = tiny(64);
        retain(&worker, "17", "down");
        in_child(|| {
            assert_error!(worker.event(STATE).retain_key("17").post("child"), Cause::Forked);
            assert_error!(worker.event(STATE).retain_key("17").clear(), Cause::Forked);
            assert_error!(worker.get_key(STATE, "17"), Cause::Forked);
            assert_error!(worker.retained(), Cause::Forked);
            assert_error!(worker.on_cleared(STATE, |_| ()), Cause::Forked);
        });
        assert_eq!(look_up(&worker, "17").as_deref(), Some("down"));
    }
}

/// Runs the example `state` like a user.
#[test]
fn g13_g14_g16_workers_that_are_killed_stopped_and_late_agree_on_what_they_retain() {
    let path = seqcast_testkit::example("state", &[]);
    let output = std::process::Command::new(path).args(["--workers=4", "--seconds=3"]).output().unwrap();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    let last = stdout.lines().last().unwrap_or_default();
    assert!(output.status.success(), "{last}\n{stderr}");
    for part in ["state: workers=4 ", " agree=yes stale=0 lost=0 waited_max_ms="] {
        assert!(last.contains(part), "no {part:?} in {last:?}\n{stderr}");
    }
    assert!(stdout.contains(", lapped 0 times without\n"), "G16: a worker that must read was lapped\n{stdout}");
}
