//! Payloads longer than a block.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use seqcast::inspect::{self};
use seqcast::{Bus, Cause, Scope, SegmentOptions, Start, Worker};
use seqcast_testkit::{
    Child, HOUR, Log, Reports, alone, bus, counts, error, eventually, listener, of_seat, poll, quiet, shared_words,
    small,
};

/// Bytes that identify their message and their position in it.
fn payload(message: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (i.wrapping_mul(31) ^ message.wrapping_mul(7) ^ (i >> 8)) as u8).collect()
}

/// Returns the number of ids of an event of `len` bytes on a bus of these sizes.
fn ids_of(options: &SegmentOptions, len: usize) -> u64 {
    let (_name, bus) = bus(options);
    ids_on(&bus, &bus.join_with(&quiet()).unwrap(), len)
}

fn ids_on(bus: &Bus, worker: &Worker, len: usize) -> u64 {
    let before = bus.next_id();
    worker.post(("s", "e"), payload(0, len)).unwrap();
    bus.next_id() - before
}

/// Returns the length of the longest payload that fits.
fn longest(options: &SegmentOptions) -> usize {
    let (_name, bus) = bus(options);
    let worker = bus.join_with(&quiet()).unwrap();
    let largest = bus.largest_event();
    (0..=largest).rev().find(|&len| worker.post(("s", "e"), payload(0, len)).is_ok()).unwrap()
}

/// A process that posts messages of one length, each on request.
struct Sender {
    child: Child,
    wanted: &'static AtomicU64,
    len: usize,
    ids: u64,
}

impl Sender {
    /// Returns a sender of messages of `len` bytes in `ids` fragments, stopped in the middle of one of them.
    fn stopped_in_the_middle(bus: &Bus, len: usize, ids: u64) -> Sender {
        let wanted = &shared_words(1)[0];
        let child = Child::fork(|| {
            let sender = bus.join_with(&quiet()).unwrap();
            for message in 0.. {
                eventually_or_never(|| wanted.load(Relaxed) > message);
                sender.post(("theirs", "large"), payload(message, len)).unwrap();
            }
        });
        loop {
            let before = bus.next_id();
            wanted.fetch_add(1, Relaxed);
            while bus.next_id() == before {
                std::hint::spin_loop();
            }
            child.stop();
            if bus.next_id() < before + ids {
                return Sender { child, wanted, len, ids };
            }
            child.go_on();
        }
    }

    /// Lets it post the remaining fragments. Returns the message's number.
    fn go_on(&self, bus: &Bus) -> u64 {
        let (before, seat) = (bus.next_id(), self.seat(bus));
        let posted = || of_seat(&bus.stats().unwrap(), seat).posted;
        let first = posted();
        self.child.go_on();
        eventually("it has gone on", || posted() > first);
        assert!(bus.next_id() < before + self.ids, "it was not in the middle");
        self.wanted.load(Relaxed) - 1
    }

    /// Makes it post another whole message. Returns its number.
    fn post_another(&self, bus: &Bus) -> u64 {
        let before = bus.next_id();
        let message = self.wanted.fetch_add(1, Relaxed);
        eventually("it has posted", || bus.next_id() == before + self.ids);
        message
    }

    fn seat(&self, bus: &Bus) -> u32 {
        bus.stats().unwrap().workers.iter().find(|worker| worker.pid == self.child.pid()).unwrap().seat
    }

    fn payload(&self, message: u64) -> Vec<u8> {
        payload(message, self.len)
    }
}

/// Waits until a condition holds, possibly indefinitely: the waiting process is then killed.
fn eventually_or_never(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        std::thread::sleep(std::time::Duration::from_micros(100));
    }
}

/// Reads all available events, and ignores reports.
fn catch_up(worker: &Worker, log: &Log) {
    poll(worker);
    log.drain();
}

/// A ring in which a quarter is a message of some hundred fragments.
fn roomy() -> SegmentOptions {
    small().capacity(2048)
}

alone! {
    fn g3_every_length_up_to_the_largest_arrives_as_it_was_sent() {
        for options in [small(), small().block_size(64), small().capacity(8), small().block_size(1000).capacity(16)] {
            let max = longest(&options);
            let (_name, bus) = bus(&options);
            let (worker, log) = listener(&bus, &quiet());
            let mut taken = Vec::new();
            for len in 0..=max {
                let before = bus.next_id();
                let bytes = payload(len as u64, len);
                let id = worker.post(("s", "e"), &bytes).unwrap();
                assert_eq!(bus.next_id(), id + 1, "the event is not at its last id");
                assert_eq!(poll(&worker), (1, 0), "{len} of {max} bytes");
                let seen = log.drain().remove(0);
                assert!((seen.id, seen.bytes) == (Some(id), bytes), "{len} of {max} bytes");
                taken.push(id + 1 - before);
            }
            assert!(taken.is_sorted() && taken[0] == 1, "longer events take fewer ids: {taken:?}");
            let most = taken[max];
            assert_eq!(most, bus.capacity() / 4, "the largest takes a quarter of the ring");
        }
    }

    fn g5_a_payload_above_the_largest_posts_nothing_and_says_what_fits() {
        for options in [small(), small().capacity(8).block_size(64), small().block_size(4096)] {
            let max = longest(&options);
            let (_name, bus) = bus(&options);
            let (worker, log) = listener(&bus, &quiet());
            let mut poster = bus.publisher().unwrap();
            for len in [max + 1, max + 2, max * 2, max * 100] {
                for refusal in [
                    error(worker.post(("s", "e"), payload(0, len))),
                    error(worker.event(("s", "e")).unique("key").post(payload(0, len))),
                    error(poster.post(("s", "e"), payload(0, len))),
                ] {
                    let text = refusal.to_string();
                    let Cause::PayloadTooLarge { len: found, max: limit, .. } = *refusal.cause() else {
                        panic!("{refusal:?}")
                    };
                    assert!((len..len + 128).contains(&found) && found > limit, "{text}");
                    assert_eq!(limit, bus.largest_event());
                    assert!(text.contains(&found.to_string()) && text.contains(&limit.to_string()), "{text}");
                    assert!(text.contains("capacity") && text.contains("block_size"), "no remedy: {text}");
                }
            }
            assert_eq!((bus.next_id(), poll(&worker)), (0, (0, 0)), "something was posted");
            worker.post(("s", "e"), payload(1, max)).unwrap();
            assert_eq!(poll(&worker), (1, 0));
            assert_eq!(log.seen()[0].bytes, payload(1, max));
            assert_eq!(counts(&bus, &worker).posted, 1);
        }
    }

    fn the_largest_event_is_a_quarter_of_the_ring() {
        let (_name, bus) = bus(&small());
        let stats = bus.stats().unwrap();
        let quarter = stats.sizes.capacity * stats.sizes.block_size / 4;
        let largest = bus.largest_event() as u64;
        assert!(largest <= quarter && largest > quarter - stats.sizes.capacity / 4 * 64, "{largest} of {quarter}");
    }

    fn g2_fragments_of_several_senders_interleave_and_arrive_whole_in_one_order() {
        const SENDERS: u64 = 4;
        const EACH: u64 = 40;
        let (_name, bus) = bus(&small().capacity(8192));
        let readers = [bus.join_with(&quiet()).unwrap(), bus.join_with(&quiet()).unwrap()];
        let logs = readers.each_ref().map(|reader| Log::of(reader, Scope::All));
        let ready = shared_words(1);
        let len = |sender: u64, i: u64| ((sender * 977 + i * 613) % 4000) as usize;
        let children: Vec<Child> = (0..SENDERS).map(|sender| {
            let bus = &bus;
            Child::fork(move || {
                let mut poster = bus.publisher().unwrap();
                ready[0].fetch_add(1, Relaxed);
                eventually("all are ready", || ready[0].load(Relaxed) == SENDERS);
                for i in 0..EACH {
                    let bytes = payload(sender * EACH + i, len(sender, i));
                    poster.post((&sender.to_string(), &i.to_string()), bytes).unwrap();
                }
            })
        }).collect();
        while bus.next_id() < 500 {
            // One of the readers reads while they post.
            poll(&readers[0]);
        }
        assert!(children.into_iter().all(Child::ended_well));
        for (reader, log) in readers.iter().zip(&logs) {
            poll(reader);
            assert_eq!(counts(&bus, reader).missed, 0);
            let seen = log.seen();
            assert_eq!(seen.len() as u64, SENDERS * EACH);
            assert!(seen.is_sorted_by_key(|seen| seen.id));
            for sender in 0..SENDERS {
                let of_sender = seen.iter().filter(|seen| seen.source == sender.to_string());
                for (i, seen) in (0..).zip(of_sender) {
                    assert_eq!(seen.event, i.to_string(), "out of order");
                    assert!(seen.bytes == payload(sender * EACH + i, len(sender, i)), "torn: {sender} {i}");
                }
            }
        }
        assert_eq!(logs[0].seen(), logs[1].seen());
    }

    fn g8_a_sender_stopped_in_the_middle_delays_nobody_and_its_message_arrives_when_it_goes_on() {
        let options = roomy();
        let len = longest(&options);
        let (_name, bus) = bus(&options);
        let (reader, log) = listener(&bus, &quiet().on_report(|_| ()));
        let sender = Sender::stopped_in_the_middle(&bus, len, ids_of(&options, len));
        catch_up(&reader, &log);
        // Events of others, small and large, overtake the half message.
        for i in 0..20 {
            reader.post(("mine", "small"), payload(i, 10)).unwrap();
            reader.post(("mine", "large"), payload(i, len / 50)).unwrap();
            assert_eq!(poll(&reader), (2, 0));
            let seen = log.drain();
            assert!(seen[0].bytes == payload(i, 10) && seen[1].bytes == payload(i, len / 50));
        }
        let message = sender.go_on(&bus);
        assert_eq!(poll(&reader), (1, 0));
        assert!(log.drain()[0].bytes == sender.payload(message), "torn");
        let next = sender.post_another(&bus);
        assert_eq!(poll(&reader), (1, 0));
        assert!(log.drain()[0].bytes == sender.payload(next), "torn");
    }

    fn g2_half_a_message_that_was_read_survives_that_the_reader_is_lapped() {
        let options = roomy();
        let len = longest(&options);
        let (_name, bus) = bus(&options);
        let reader = bus.join_with(&quiet().on_report(|_| ())).unwrap();
        let log = Log::of(&reader, Scope::source("theirs"));
        let sender = Sender::stopped_in_the_middle(&bus, len, ids_of(&options, len));
        catch_up(&reader, &log);
        for _ in 0..bus.capacity() * 2 {
            reader.post(("mine", "e"), b"").unwrap();
        }
        let (delivered, missed) = poll(&reader);
        assert!(delivered == 0 && missed > 0, "it was to be lapped: {delivered}, {missed}");
        let message = sender.go_on(&bus);
        assert_eq!(poll(&reader), (1, 0), "the message begun before the lap did not arrive");
        assert!(log.drain()[0].bytes == sender.payload(message), "torn");
    }

    fn g3_half_a_message_is_never_continued_with_another_ones_fragments() {
        let options = roomy();
        let len = longest(&options);
        let ids = ids_of(&options, len);
        let (_name, bus) = bus(&options);
        let (reader, log) = listener(&bus, &quiet().on_report(|_| ()));
        let sender = Sender::stopped_in_the_middle(&bus, len, ids);
        catch_up(&reader, &log);
        sender.go_on(&bus);
        // More than a lap, so that the reader, which has half of the first message, continues in the middle of a later
        // one.
        let laps = bus.capacity() / ids + 1;
        let messages: Vec<u64> = (0..laps).map(|_| sender.post_another(&bus)).collect();
        let resumed = bus.next_id() - bus.capacity() + bus.capacity() / 8;
        assert!(!resumed.is_multiple_of(ids), "it is to resume in the middle");
        let whole = (bus.next_id() - resumed) / ids;
        assert_eq!(poll(&reader).0, whole);
        let seen = log.drain();
        for (seen, message) in seen.iter().zip(&messages[(laps - whole) as usize..]) {
            assert!(seen.bytes == sender.payload(*message), "torn");
        }
    }

    fn g2_a_joiner_in_the_middle_skips_the_rest_silently() {
        let options = roomy();
        let len = longest(&options);
        let (_name, bus) = bus(&options);
        let sender = Sender::stopped_in_the_middle(&bus, len, ids_of(&options, len));
        let reports = Reports::default();
        let (joiner, log) = listener(&bus, &reports.of(quiet()));
        sender.go_on(&bus);
        assert_eq!(poll(&joiner), (0, 0), "of a message that began before it joined");
        let message = sender.post_another(&bus);
        assert_eq!(poll(&joiner), (1, 0));
        assert!(log.seen()[0].bytes == sender.payload(message), "torn");
        assert!(reports.texts().is_empty(), "{:?}", reports.texts());
        assert_eq!(counts(&bus, &joiner).missed, 0);
    }

    fn g7_half_a_message_of_a_killed_sender_is_never_seen_nor_mixed_with_its_successors() {
        let options = roomy();
        let len = longest(&options);
        let ids = ids_of(&options, len);
        let (_name, bus) = bus(&options);
        let reports = Reports::default();
        let (reader, log) = listener(&bus, &reports.of(quiet()));
        for generation in 0..5 {
            let sender = Sender::stopped_in_the_middle(&bus, len, ids);
            catch_up(&reader, &log);
            let reported = reports.texts().len();
            drop(sender);
            // The successor in the same seat posts messages with the same number of fragments.
            let successor = bus.join_with(&quiet()).unwrap();
            assert_eq!(successor.seat(), 1);
            assert_eq!(counts(&bus, &successor).adopted, generation + 1);
            for message in 0..3 {
                successor.post(("mine", "e"), payload(message + 1_000_000, len)).unwrap();
                assert_eq!(poll(&reader), (1, 0));
                assert!(log.drain()[0].bytes == payload(message + 1_000_000, len), "torn");
            }
            assert_eq!(reports.texts().len(), reported, "{:?}", reports.texts());
        }
    }

    fn g4_a_message_lapped_in_the_middle_is_missed_exactly_once() {
        let capacity = 32;
        let options = small().capacity(capacity);
        let max = longest(&options);
        let ids = ids_of(&options, max);
        assert_eq!(ids, 8);
        // One message at ids 0..8, then single events until `posted`; the reader continues an eighth above the oldest.
        for posted in ids..=capacity + 2 * ids {
            let (_name, bus) = bus(&options);
            let reports = Reports::default();
            let (reader, log) = listener(&bus, &reports.of(quiet()));
            let sender = bus.join_with(&quiet()).unwrap();
            sender.post(("s", "large"), payload(1, max)).unwrap();
            for id in ids..posted {
                sender.post(("s", "small"), id.to_string()).unwrap();
            }
            let resumed = if posted > capacity { posted - capacity + capacity / 8 } else { 0 };
            let whole = u64::from(resumed == 0);
            // An end without its beginning is one missed event; the ids in between are not reported separately.
            let headless = u64::from((1..ids).contains(&resumed));
            let singles = posted - ids.max(resumed);
            assert_eq!(poll(&reader), (whole + singles, resumed + headless), "{posted} posted");
            assert_eq!(reports.texts().len() as u64, u64::from(resumed > 0) + headless, "{posted} posted");
            let seen = log.seen();
            assert!(whole == 0 || seen[0].bytes == payload(1, max));
            let texts: Vec<u64> =
                seen.iter().filter(|seen| seen.event == "small").map(|seen| seen.id.unwrap()).collect();
            assert_eq!(texts, (ids.max(resumed)..posted).collect::<Vec<_>>());
            let counts = counts(&bus, &reader);
            assert_eq!((counts.missed, counts.corrupt), (resumed + headless, 0));
        }
    }

    fn a_worker_that_starts_at_any_fragment_skips_the_rest_of_the_message_silently() {
        let options = small();
        let max = longest(&options);
        let ids = ids_of(&options, max);
        let (_name, bus) = bus(&options);
        let sender = bus.join_with(&quiet()).unwrap();
        sender.post(("s", "large"), payload(1, max)).unwrap();
        sender.post(("s", "small"), b"").unwrap();
        for start in 0..=ids {
            let reports = Reports::default();
            let (reader, log) = listener(&bus, &reports.of(quiet().start(Start::At(start))));
            poll(&reader);
            let expected: &[&str] = if start == 0 { &["large", "small"] } else { &["small"] };
            assert_eq!(log.events(), expected, "from id {start}");
            assert!(reports.texts().is_empty(), "{:?}", reports.texts());
            assert_eq!(counts(&bus, &reader).missed, 0);
        }
    }

    fn g4_a_worker_that_goes_on_after_any_id_delivers_what_one_that_stayed_delivers() {
        let options = roomy();
        let len = longest(&options);
        let ids = ids_of(&options, len);
        let (name, bus) = bus(&options);
        let (stayed, other) = (bus.join_with(&quiet()).unwrap(), bus.join_with(&quiet()).unwrap());
        let log = Log::of(&stayed, Scope::All);
        let sender = Sender::stopped_in_the_middle(&bus, len, ids);
        catch_up(&stayed, &log);
        let begin = bus.next_id();
        // More than a quarter of the ring lies between its fragments.
        for i in 0..bus.capacity() / 4 + 50 {
            other.post(("s", "small"), i.to_string()).unwrap();
        }
        let message = sender.go_on(&bus);
        other.post(("s", "small"), b"last").unwrap();
        let end = bus.next_id();
        assert_eq!(poll(&stayed), (bus.capacity() / 4 + 52, 0));
        let all = log.drain();
        let large = all.iter().find(|seen| seen.event == "large").unwrap();
        assert!(large.bytes == sender.payload(message) && large.id.unwrap() > begin + bus.capacity() / 4);
        let ends = (begin - 1..begin + 9).chain(end - 9..end).chain((begin..end).step_by(37));
        for id in ends {
            let reports = Reports::default();
            let (resumed, theirs) = listener(&bus, &reports.of(quiet().start(Start::After(id))));
            let expected: Vec<_> = all.iter().filter(|seen| seen.id.unwrap() > id).cloned().collect();
            assert_eq!(resumed.cursor(), id + 1);
            assert_eq!(poll(&resumed), (expected.len() as u64, 0), "after {id} of {begin}..{end}");
            assert!(theirs.seen() == expected, "after {id} of {begin}..{end}");
            let counts = counts(&bus, &resumed);
            assert_eq!((counts.delivered, counts.skipped, counts.missed), (expected.len() as u64, 0, 0));
            assert_eq!((reports.texts().len(), resumed.position().next()), (0, end));
        }
        // A reader that does not want it gets no report; an inspector sees it, too.
        let resumed = bus.join_with(&quiet().start(Start::After(end - 3))).unwrap();
        let theirs = Log::of(&resumed, Scope::source("s"));
        assert_eq!(poll(&resumed), (1, 0));
        assert_eq!((theirs.texts(), counts(&bus, &resumed).skipped), (vec!["last".to_owned()], 1));
        let mut tail = options.inspect(&name).unwrap().tail(Start::After(end - 3)).unwrap().payloads(true);
        let Ok(Some(inspect::Seen::Event(event))) = tail.try_next() else { panic!("not seen") };
        assert!((event.source.as_str(), event.payload) == ("theirs", Some(sender.payload(message))));
    }

    fn g4_a_message_whose_beginning_is_gone_is_told_to_who_goes_on_after_it() {
        let options = roomy();
        let len = longest(&options);
        let ids = ids_of(&options, len);
        let (_name, bus) = bus(&options);
        let other = bus.join_with(&quiet()).unwrap();
        let sender = Sender::stopped_in_the_middle(&bus, len, ids);
        let begin = bus.next_id();
        for i in 0..bus.capacity() {
            other.post(("s", "small"), i.to_string()).unwrap();
        }
        let small_end = bus.next_id();
        sender.go_on(&bus);
        let end = bus.next_id();
        // After some of the small ones that the ring still holds: only the message is lost.
        for id in [small_end - 11, small_end - 1, end - 2] {
            let reports = Reports::default();
            let (resumed, log) = listener(&bus, &reports.of(quiet().start(Start::After(id))));
            let smalls = small_end.saturating_sub(id + 1);
            assert_eq!(poll(&resumed), (smalls, 1), "after {id} of {begin}..{end}");
            assert_eq!(log.ids(), (id + 1..small_end).collect::<Vec<_>>());
            let texts = reports.texts();
            assert!(texts.len() == 1 && texts[0].starts_with(&format!("event id {}: 1 ", end - 1)), "{texts:?}");
        }
        // After one that the ring no longer holds: from the next id on, exactly.
        let reports = Reports::default();
        let (resumed, log) = listener(&bus, &reports.of(quiet().start(Start::After(begin - 1))));
        let goes_on = end - bus.capacity() + bus.capacity() / 8;
        assert_eq!(poll(&resumed), (small_end - goes_on, goes_on - begin + 1));
        assert_eq!(log.ids(), (goes_on..small_end).collect::<Vec<_>>());
        let texts = reports.texts();
        let missed = format!("event id {begin}: {} ", goes_on - begin);
        assert!(texts.len() == 2 && texts[0].starts_with(&missed), "{texts:?}");
        // A reader that begins at an id for the first time has no part in it.
        let fresh = bus.join_with(&quiet().start(Start::At(end - 1))).unwrap();
        assert_eq!(poll(&fresh), (0, 0));
    }

    fn messages_that_nobody_here_wants_are_skipped_as_one() {
        let options = small();
        let (_name, bus) = bus(&options);
        let reader = bus.join_with(&quiet()).unwrap();
        let log = Log::of(&reader, Scope::source("wanted"));
        let max = longest(&options);
        reader.post(("unwanted", "e"), payload(1, max)).unwrap();
        reader.post(("wanted", "e"), payload(2, max)).unwrap();
        assert_eq!(poll(&reader), (1, 0));
        assert!(log.seen()[0].bytes == payload(2, max));
        let counts = counts(&bus, &reader);
        assert_eq!((counts.delivered, counts.skipped, counts.posted), (1, 1, 2));
    }

    fn g9_a_unique_event_of_many_fragments_runs_once() {
        let options = small();
        let (_name, bus) = bus(&options);
        let workers = [bus.join_with(&quiet()).unwrap(), bus.join_with(&quiet()).unwrap()];
        let logs = workers.each_ref().map(|worker| Log::of(worker, Scope::All));
        let len = longest(&options) - 64;
        workers[0].event(("s", "e")).unique("key").ttl(HOUR).post(payload(1, len)).unwrap();
        workers[0].event(("s", "e")).unique("key").ttl(HOUR).post(payload(2, len)).unwrap();
        assert_eq!(workers.each_ref().map(poll), [(1, 0), (0, 0)]);
        assert!(logs[0].seen()[0].bytes == payload(1, len));
        assert_eq!(logs[1].len(), 0);
    }

    fn names_of_every_length_travel_in_fragments_too() {
        for options in [small().block_size(64), small()] {
            let (_name, bus) = bus(&options);
            let (worker, log) = listener(&bus, &quiet());
            for len in (1..=255).step_by(7).chain([254, 255]) {
                let (source, event) = ("s".repeat(len), "e".repeat(256 - len));
                worker.post((&source, &event), payload(len as u64, 100)).unwrap();
                assert_eq!(poll(&worker), (1, 0), "{len}");
                let seen = log.drain().remove(0);
                assert_eq!((seen.source, seen.event, seen.bytes), (source, event, payload(len as u64, 100)));
            }
        }
    }

    fn the_counters_of_a_sender_tell_events_from_fragments() {
        let options = small();
        let max = longest(&options);
        let (_name, bus) = bus(&options);
        let worker = bus.join_with(&quiet()).unwrap();
        worker.post(("s", "e"), payload(1, max)).unwrap();
        worker.post(("s", "e"), b"").unwrap();
        let counts = of_seat(&bus.stats().unwrap(), worker.seat());
        assert_eq!((counts.posted, counts.fragments), (2, ids_of(&options, max)));
    }
}
