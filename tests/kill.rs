//! G7 and G8 with real processes: SIGKILL at every step of every call, and a stop at every step.
//!
//! A child runs instruction by instruction (ptrace). Each change of the segment's memory is a step of the protocol:
//! from then on other processes could see another state than before. So killing the child after each change is
//! equivalent to killing it at every instruction. Single steps are slow, so they are taken once for each call, to learn
//! after which instructions the memory changes. These then get breakpoints.

#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use seqcast::inspect::{Inspector, Seen};
use seqcast::relay::{Foreign, Kept, Recovered, RelayOptions, RelayPoster};
use seqcast::{
    Bell, BellKind, BellOptions, Bus, Cause, ClaimOptions, Claimed, ClusterId, Delivery, ErrorKind, Event,
    MissedReason, Origin, PullBell, Scope, SegmentOptions, Sink, Start, Subscriber, Topic, Worker, WorkerOptions,
};
use seqcast_testkit::ptrace::{Breakpoints, Traced, trace_me};
use seqcast_testkit::stepped::{Memory, Stepped};
use seqcast_testkit::{
    Child, HANGS, HOUR, Log, Name, Noted, alone, assert_error, exit, is_readable, listener, poll, quiet, shared_words,
};

/// A segment with two listening workers in this process, and a child that does one call.
struct Scene {
    name: Name,
    bus: Bus,
    listeners: [(Worker, Log); 2],
    /// The child's report: its call's result plus one, and how often it ran the unique event.
    said: &'static [AtomicU64],
    /// The bells, armed when the child begins its call.
    bells: Option<Bells>,
    /// A stopped poster that has posted a retained event and not yet brought it into the table. It is killed when the
    /// next child begins its call, which thus does not have its seat.
    dying: Option<Traced>,
    /// `true` if the segment has large blocks.
    large: bool,
}

/// A loop that is not woken within this time sleeps over an event.
const LONG: Duration = HANGS.checked_div(4).unwrap();

/// Event loops that no timer wakes. They wait for reserved ids as long as the reservers live.
struct Bells {
    worker: Worker,
    pushed: Bell,
    subscriber: Subscriber,
    pulled: PullBell,
}

impl Bells {
    fn new(bus: &Bus) -> Bells {
        let (patient, options) = (quiet().wait_max(HOUR), BellOptions::new().interval(HOUR));
        let (worker, subscriber) = (bus.join_with(&patient).unwrap(), bus.subscribe_with(&patient).unwrap());
        let (pushed, pulled) = (worker.bell_with(&options).unwrap(), subscriber.bell_with(&options).unwrap());
        assert_eq!([pushed.kind(), pulled.kind()], [BellKind::Inotify; 2]);
        Bells { worker, pushed, subscriber, pulled }
    }

    /// Runs both loops until neither is woken again.
    fn run(&mut self) {
        while is_readable(&self.pushed, Duration::ZERO) || is_readable(&self.pulled, Duration::ZERO) {
            self.pushed.poll().unwrap();
            while let Some(delivery) = self.subscriber.try_next().unwrap() {
                if matches!(delivery, Delivery::Reserved { .. }) {
                    break;
                }
            }
            assert!(!self.pulled.arm(&self.subscriber).unwrap(), "an event came from nowhere");
        }
    }

    fn has_all(&self, bus: &Bus) -> bool {
        [self.worker.cursor(), self.subscriber.cursor()] == [bus.next_id(); 2]
    }

    /// Checks that both loops are woken, and then have all events.
    fn assert_rung(&mut self, bus: &Bus) {
        assert!(is_readable(&self.pushed, LONG) && is_readable(&self.pulled, LONG), "G19: a loop sleeps over an event");
        self.run();
        assert!(self.has_all(bus), "G19: a loop sleeps over an event");
    }
}

/// The child's actions: first its preparation, then the call under test.
type Call = fn(&Bus, &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64>;

fn hasty() -> WorkerOptions {
    quiet().wait_max(Duration::from_millis(2)).wait_interval(Duration::from_millis(1))
}

impl Scene {
    fn new() -> Scene {
        Scene::of(SegmentOptions::new())
    }

    /// A scene in which what needs more than one block goes into a large block.
    fn with_large() -> Scene {
        let scene = Scene { large: true, ..Scene::of(SegmentOptions::new().large(2, 400)) };
        scene.post_and_hear_large(5);
        scene
    }

    fn of(options: SegmentOptions) -> Scene {
        let name = Name::new();
        let options = options.capacity(8).block_size(64).seats(6).claims(1);
        let bus = options.retained(2).retained_size(400).create(&name).unwrap();
        let listener = || {
            let (worker, log) = listener(&bus, &hasty());
            worker.on_cleared(Scope::All, log.noting()).unwrap();
            (worker, log)
        };
        let listeners = [listener(), listener()];
        let scene = Scene { name, bus, listeners, said: shared_words(2), bells: None, dying: None, large: false };
        // More than a lap, so that every block has been used.
        scene.post_and_hear(12);
        scene
    }

    fn with_bells() -> Scene {
        Scene::new().and_bells()
    }

    fn with_large_and_bells() -> Scene {
        Scene::with_large().and_bells()
    }

    fn and_bells(mut self) -> Scene {
        self.bells = Some(Bells::new(&self.bus));
        self
    }

    /// Posts `count` events, each of which both listeners must get.
    fn post_and_hear(&self, count: u64) {
        (0..count).for_each(|number| self.post_one_and_hear(&number.to_le_bytes()));
    }

    /// Posts `count` events with payloads in large blocks.
    fn post_and_hear_large(&self, count: u64) {
        (0..count).for_each(|number| self.post_one_and_hear(&payload(300 + number as usize)));
    }

    fn post_one_and_hear(&self, bytes: &[u8]) {
        let (poster, _) = &self.listeners[0];
        let id = poster.post(("s", "filler"), bytes).unwrap();
        for (worker, log) in &self.listeners {
            assert_eq!(poll(worker).1, 0, "G4: missed something");
            assert_eq!(log.seen().last().and_then(|seen| seen.id), Some(id), "G2: the event is not there");
        }
    }

    /// Returns the events of both listeners except the filler events; they must agree.
    fn heard(&self) -> Vec<Noted> {
        for (worker, _) in &self.listeners {
            assert_eq!(poll(worker).1, 0, "G4: missed something");
        }
        let heard = |log: &Log| log.seen().into_iter().filter(|seen| seen.event != "filler").collect::<Vec<_>>();
        let [first, second] = [heard(&self.listeners[0].1), heard(&self.listeners[1].1)];
        // A unique event reaches only one of them.
        let for_all = |seen: &[Noted]| seen.iter().filter(|seen| seen.event != "unique").cloned().collect::<Vec<_>>();
        assert_eq!(for_all(&first), for_all(&second), "G1, G2: they do not agree");
        let unique = second.iter().filter(|seen| seen.event == "unique").cloned();
        let mut all: Vec<_> = first.iter().cloned().chain(unique).collect();
        all.sort_by_key(|seen| seen.id);
        all
    }

    /// Returns the result of the call, if it returned.
    fn said(&self) -> Option<u64> {
        self.said[0].load(Relaxed).checked_sub(1)
    }

    fn stepped(&mut self, call: Call, places: &[u64]) -> Stepped {
        let mut memory = Memory::of(&[&self.name]);
        let (bus, said) = (self.bus.clone(), self.said);
        let child = Traced::of(Child::fork(move || {
            let call = call(&bus, said);
            trace_me();
            said[0].store(call() + 1, Relaxed);
            // Without the destructors, which are another call.
            exit(0);
        }));
        let breaks = Breakpoints::at(child.tracee(), places);
        breaks.put(child.tracee());
        if let Some(bells) = &mut self.bells {
            bells.run();
        }
        if let Some(dying) = self.dying.take() {
            dying.kill();
            assert_eq!(self.bus.stats().unwrap().retaining, 1, "the call finds nothing to settle");
        }
        memory.has_changed();
        Stepped::of(child, memory, breaks)
    }

    /// Checks that everything works, and that no block is lost.
    fn assert_sound(&self) {
        self.post_and_hear(20);
        if self.large {
            self.post_and_hear_large(5);
        }
        // The next join adopts the dead worker's seat.
        let newcomer = self.bus.join_with(&hasty()).unwrap();
        for _ in 0..20 {
            let len = if self.large { 300 } else { 20 };
            newcomer.post(("s", "filler"), payload(len)).unwrap();
            self.heard();
            let _ = newcomer.claim(b"newcomer's", HOUR).unwrap();
        }
        drop(newcomer);
        let seats: Vec<_> = (0..4).map(|_| self.bus.publisher_with(&quiet()).unwrap()).collect();
        assert_error!(self.bus.publisher(), Cause::NoSeat { seats: 6, .. });
        drop(seats);
        let audit = self.bus.audit().unwrap();
        assert!(audit.is_clean(), "G7: {audit:?}");
        assert_eq!(self.bus.stats().unwrap().retaining, 0, "G7: an announcement is left");
    }

    /// A scene in which a call finds a retained event that its dead poster has not brought into the table.
    fn with_an_unsettled_event() -> Scene {
        static PLACES: OnceLock<Vec<u64>> = OnceLock::new();
        let places = PLACES.get_or_init(|| Scene::new().stepped(retain, &[]).learn());
        let mut scene = Scene::new();
        let mut stepped = scene.stepped(retain, places);
        while scene.heard().is_empty() {
            stepped = stepped.next_change().expect("it is posted at some step");
        }
        scene.dying = Some(stepped.child);
        scene
    }
}

/// A check of the listeners' events, and of the result of the call if it returned.
type Check = fn(&Scene, said: Option<u64>, heard: &[Noted]);

/// Kills `call` after each of its changes to the segment. Then, in other scenes, stops it there for more than two laps
/// and resumes it. `least`: the smallest number of changes.
fn killed_and_stopped_at_every_step(call: Call, least: usize, check: Check) {
    killed_and_stopped_at_every_step_of(Scene::new, call, least, check, |_, _| {});
}

/// Does the same in scenes of another kind. `look` also checks while the call is stopped.
fn killed_and_stopped_at_every_step_of(
    scene: fn() -> Scene,
    call: Call,
    least: usize,
    check: Check,
    look: fn(&Scene, &[Noted]),
) {
    let places = scene().stepped(call, &[]).learn();
    assert!(places.len() >= least, "the call changes only {} words: does it do anything?", places.len());
    at_every_step_of(scene, call, &places, |scene, stepped| {
        stepped.child.kill();
        let heard = scene.heard();
        check(scene, scene.said(), &heard);
        scene.assert_sound();
        assert_eq!(scene.heard(), heard, "G5: something came later");
    });
    at_every_step_of(scene, call, &places, |scene, stepped| {
        let before = scene.heard();
        look(scene, &before);
        // G6: no process waits for it. G8: late does not mean dead, and its seat is not given away.
        scene.post_and_hear(20);
        look(scene, &before);
        let newcomer = scene.bus.join_with(&hasty()).unwrap();
        newcomer.post(("s", "filler"), b"from the newcomer").unwrap();
        drop(newcomer);
        stepped.let_go();
        let heard = scene.heard();
        assert!(heard.starts_with(&before), "G1: earlier events have changed");
        assert!(scene.said().is_some());
        check(scene, scene.said(), &heard);
        scene.assert_sound();
    });
}

fn at_every_step_of(scene: fn() -> Scene, call: Call, places: &[u64], act: impl Fn(&mut Scene, Stepped)) {
    for steps in 0.. {
        let mut scene = scene();
        let mut stepped = Some(scene.stepped(call, places));
        for _ in 0..steps {
            stepped = stepped.and_then(Stepped::next_change);
        }
        match stepped {
            Some(stepped) => act(&mut scene, stepped),
            None => {
                assert!(steps > places.len() / 2, "of {} changes only {} were met", places.len(), steps - 1);
                return;
            }
        }
    }
}

/// Kills `call` after each of its changes to the segment. Then, in other scenes, stops it there while another process
/// posts, and resumes it. No loop may sleep over an event. `least`: the smallest number of changes.
fn rung_at_every_step(call: Call, least: usize) {
    rung_at_every_step_of(Scene::with_bells, call, least);
}

fn rung_at_every_step_of(scene: fn() -> Scene, call: Call, least: usize) {
    fn bells(scene: &mut Scene) -> (&mut Bells, &Bus) {
        (scene.bells.as_mut().unwrap(), &scene.bus)
    }
    let mut first = scene();
    let places = first.stepped(call, &[]).learn();
    assert!(places.len() >= least, "the call changes only {} words: does it ring?", places.len());
    let (loops, bus) = bells(&mut first);
    loops.assert_rung(bus);
    at_every_step_of(scene, call, &places, |scene, stepped| {
        stepped.child.kill();
        let (loops, bus) = bells(scene);
        // Even if nothing was posted: the kernel rings for every death.
        loops.assert_rung(bus);
        scene.listeners[1].0.post(("s", "filler"), b"").unwrap();
        let (loops, bus) = bells(scene);
        loops.assert_rung(bus);
    });
    at_every_step_of(scene, call, &places, |scene, stepped| {
        scene.listeners[1].0.post(("s", "filler"), b"").unwrap();
        let (loops, bus) = bells(scene);
        assert!(
            is_readable(&loops.pushed, LONG) && is_readable(&loops.pulled, LONG),
            "G19: a loop sleeps over an event"
        );
        loops.run();
        stepped.let_go();
        if !loops.has_all(bus) {
            loops.assert_rung(bus);
        }
    });
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + len) as u8).collect()
}

/// An event of `len` bytes exists completely or not at all; and it exists if the call said so.
fn whole_or_nothing(said: Option<u64>, heard: &[Noted], event: &str, len: usize) {
    for seen in heard {
        assert_eq!((&*seen.event, &*seen.bytes), (event, &*payload(len)), "G3: torn");
    }
    assert!(heard.len() <= 1, "G5: posted once, heard {} times", heard.len());
    if let Some(id) = said {
        assert_eq!(heard.first().and_then(|seen| seen.id), Some(id), "G5: not where the post said");
    }
}

fn post(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    Box::new(move || worker.post(("s", "post"), payload(40)).unwrap())
}

/// Written to the block in pieces of odd lengths.
fn post_filled(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let mut publisher = bus.publisher_with(&quiet()).unwrap();
    let fill = |sink: &mut Sink<'_>| payload(40).chunks(7).try_for_each(|piece| sink.put(piece));
    Box::new(move || publisher.post_with(("s", "post"), 40, fill).unwrap())
}

/// Of two fragments, or in a large block.
fn post_long(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    assert_eq!(bus.stats().unwrap().sizes.block_size, 160);
    Box::new(move || worker.post(("s", "long"), payload(180)).unwrap())
}

fn post_long_unique(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    Box::new(move || worker.event(("s", "unique")).unique("key").post(payload(180)).unwrap())
}

fn post_unique(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    Box::new(move || worker.event(("s", "unique")).unique("key").post(payload(24)).unwrap())
}

const TOO_LATE: u64 = 1 << 40;

/// The id, or [`TOO_LATE`].
fn reserve_and_commit(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    Box::new(move || match worker.reserve().unwrap().commit(("s", "commit"), payload(40)) {
        Ok(id) => id,
        Err(error) if matches!(error.cause(), Cause::TooLate { .. }) => TOO_LATE,
        Err(error) => panic!("{error}"),
    })
}

/// The same, in a large block.
fn reserve_and_commit_long(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    Box::new(move || match worker.reserve().unwrap().commit(("s", "commit"), payload(180)) {
        Ok(id) => id,
        Err(error) if matches!(error.cause(), Cause::TooLate { .. }) => TOO_LATE,
        Err(error) => panic!("{error}"),
    })
}

/// With a reserved id from the preparation.
fn commit(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    let mut reservation = worker.reserve().unwrap();
    Box::new(move || reservation.commit(("s", "commit"), payload(40)).unwrap())
}

fn reserve_and_drop(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    Box::new(move || worker.reserve().unwrap().id())
}

/// Returns 1 if the claim was won.
fn claim(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    Box::new(move || u64::from(matches!(worker.claim("key", HOUR).unwrap(), Claimed::Won(_))))
}

/// Returns 1 if the claim was released.
fn release(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    let Claimed::Won(claim) = worker.claim("key", HOUR).unwrap() else { panic!("not won") };
    Box::new(move || u64::from(worker.release(&claim).unwrap()))
}

fn for_life() -> ClaimOptions {
    ClaimOptions::new(HOUR).ends_with_holder(true)
}

/// Returns 1 if the claim was won.
fn claim_for_life(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    Box::new(move || u64::from(worker.claim_with("key", &for_life()).unwrap().won().is_some()))
}

/// Returns 1 if the claim of a worker that has left was taken over.
fn take_over(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    let mut left = bus.publisher().unwrap();
    assert!(left.claim_with("key", &for_life()).unwrap().won().is_some());
    drop(left);
    Box::new(move || u64::from(worker.claim_with("key", &for_life()).unwrap().won().is_some()))
}

/// A claim that outlives its holder.
fn renew(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    let Claimed::Won(claim) = worker.claim("key", HOUR).unwrap() else { panic!("not won") };
    Box::new(move || {
        worker.renew(&claim, 3 * HOUR).unwrap();
        0
    })
}

/// A claim that ends with its holder.
fn complete(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    let Claimed::Won(claim) = worker.claim_with("key", &for_life()).unwrap() else { panic!("not won") };
    Box::new(move || {
        worker.complete(&claim, 3 * HOUR).unwrap();
        0
    })
}

/// Polls three events, of which the second is unique; counts the runs of that one.
fn deliver(bus: &Bus, said: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    let ran = Scope::events("s", ["unique"]);
    let count = |_: &Event<'_>| {
        said[1].fetch_add(1, Relaxed);
    };
    worker.on(ran, count).unwrap();
    worker.post(("s", "first"), b"1").unwrap();
    worker.event(("s", "unique")).unique("key").ttl(HOUR).post(payload(24)).unwrap();
    worker.post(("s", "last"), b"3").unwrap();
    Box::new(move || poll(&worker).0)
}

fn join(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let bus = bus.clone();
    Box::new(move || {
        std::mem::forget(bus.join_with(&WorkerOptions::new().label("joins")).unwrap());
        0
    })
}

fn leave(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    worker.reconfigure(|options| options.announce(true).label("leaves")).unwrap();
    Box::new(move || {
        worker.leave().unwrap();
        0
    })
}

/// So short that a stopped reader delays the scene for a moment only.
fn must_read() -> WorkerOptions {
    hasty().must_read(Duration::from_millis(4))
}

/// Joins, reads what is there, and leaves, as a reader that posts wait for.
fn join_and_leave_as_a_reader(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let bus = bus.clone();
    Box::new(move || {
        let worker = bus.join_with(&must_read().start(Start::Oldest)).unwrap();
        poll(&worker);
        worker.leave().unwrap();
        0
    })
}

/// Goes on reading after it was cut off.
fn go_on_after_a_cut(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    // A whole ring behind, so that one post cuts it off and no listener is lapped.
    let mut reader = bus.subscribe_with(&must_read().start(Start::Oldest)).unwrap();
    bus.publisher_with(&quiet()).unwrap().post(("s", "filler"), b"").unwrap();
    Box::new(move || {
        let Some(Delivery::Lagged { cut_off: true, .. }) = reader.try_next().unwrap() else { panic!("not cut off") };
        while reader.try_next().unwrap().is_some() {}
        0
    })
}

/// Cuts off a reader, and posts.
fn cut_off_and_post(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let reader = bus.subscribe_with(&must_read().start(Start::Oldest)).unwrap();
    let mut publisher = bus.publisher_with(&quiet()).unwrap();
    Box::new(move || {
        let id = publisher.post(("s", "post"), payload(40)).unwrap();
        std::mem::forget(reader);
        id
    })
}

fn sleep(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    Box::new(move || u64::from(worker.wait(Duration::from_millis(1)).unwrap()))
}

const STATE: Topic<'_> = Topic::new("s", "state");
const KEY: &str = "17";

fn retain(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    Box::new(move || worker.event(STATE).retain_key(KEY).post(payload(40)).unwrap())
}

fn retain_another(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    worker.event(STATE).retain_key(KEY).post(payload(20)).unwrap();
    Box::new(move || worker.event(STATE).retain_key(KEY).post(payload(40)).unwrap())
}

/// Of two fragments, or in a large block.
fn retain_long(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    Box::new(move || worker.event(STATE).retain_key(KEY).post(payload(120)).unwrap())
}

/// In a table whose places are all used, by keys that were cleared.
fn retain_in_a_place_of_another(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    for key in ["18", "19"] {
        worker.event(("s", "filler")).retain_key(key).post("").unwrap();
        worker.event(("s", "filler")).retain_key(key).clear().unwrap();
    }
    Box::new(move || worker.event(STATE).retain_key(KEY).post(payload(40)).unwrap())
}

fn clear(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    worker.event(STATE).retain_key(KEY).post(payload(20)).unwrap();
    Box::new(move || worker.event(STATE).retain_key(KEY).clear().unwrap().unwrap())
}

/// Finds an event that it has to bring into the table first.
fn get(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    Box::new(move || worker.get_key(STATE, KEY).unwrap().unwrap().id())
}

/// Is handed an event that it has to bring into the table first.
fn be_brought_up_to_date(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet().start(Start::Retained)).unwrap();
    let log = Log::of(&worker, STATE);
    Box::new(move || {
        poll(&worker);
        log.ids()[0]
    })
}

/// Takes the cell of an event that it has to bring into the table first.
fn post_over_it(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    let kept = bus.next_id() - 1;
    for _ in 1..bus.capacity() {
        worker.post(("s", "filler"), "").unwrap();
    }
    Box::new(move || {
        worker.post(("s", "filler"), "").unwrap();
        kept
    })
}

/// The same with a retained event of another key.
fn retain_over_it(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    let kept = bus.next_id() - 1;
    for _ in 1..bus.capacity() {
        worker.post(("s", "filler"), "").unwrap();
    }
    Box::new(move || {
        worker.event(("s", "filler")).retain_key("18").post("18").unwrap();
        kept
    })
}

/// Takes the dead holder's seat, which is the first free one.
fn adopt(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let (bus, kept) = (bus.clone(), bus.next_id() - 1);
    let others: Vec<_> = (0..2).map(|_| bus.publisher_with(&quiet()).unwrap()).collect();
    Box::new(move || {
        std::mem::forget((bus.join_with(&quiet()).unwrap(), others));
        kept
    })
}

/// Asserts that every look-up and every joiner gets the last event of the key that was received.
fn last_is_kept(scene: &Scene, said: Option<u64>, heard: &[Noted]) {
    let last = heard.iter().rfind(|seen| seen.event == STATE.event());
    let whole = [0, 20, 40, 120].map(payload);
    assert!(heard.iter().all(|seen| whole.contains(&seen.bytes)), "G3: torn");
    if said.is_some() {
        assert_eq!(last.and_then(|seen| seen.id), said, "G5: not where the call said");
    }
    let last = last.filter(|seen| !seen.bytes.is_empty()).map(|seen| (seen.id, seen.bytes.clone()));
    for (worker, _) in &scene.listeners {
        let found = worker.get_key(STATE, KEY).unwrap().map(|found| (Some(found.id()), found.bytes().to_owned()));
        assert_eq!(found, last, "G13: a look-up does not find what was heard last");
    }
    let joiner = scene.bus.join_with(&hasty().start(Start::Retained)).unwrap();
    let log = Log::of(&joiner, STATE);
    poll(&joiner);
    let handed = log.seen().pop().map(|seen| (seen.id, seen.bytes));
    assert_eq!(handed, last, "G14: a joiner is not handed what was heard last");
}

fn last_is_kept_now(scene: &Scene, heard: &[Noted]) {
    last_is_kept(scene, None, heard);
}

/// Kills and stops a call for retained events at every step, each time in a new scene.
fn retains_at_every_step(call: Call, least: usize) {
    killed_and_stopped_at_every_step_of(Scene::new, call, least, last_is_kept, last_is_kept_now);
}

/// Does the same in scenes with a retained event of a killed poster.
fn settles_at_every_step(call: Call, least: usize) {
    let scene = Scene::with_an_unsettled_event;
    killed_and_stopped_at_every_step_of(scene, call, least, last_is_kept, last_is_kept_now);
}

fn post_is_whole(_: &Scene, said: Option<u64>, heard: &[Noted]) {
    whole_or_nothing(said, heard, "post", 40);
}

fn long_is_whole(_: &Scene, said: Option<u64>, heard: &[Noted]) {
    whole_or_nothing(said, heard, "long", 180);
}

fn long_unique_runs_once(_: &Scene, said: Option<u64>, heard: &[Noted]) {
    whole_or_nothing(said, heard, "unique", 180);
}

fn unique_runs_once(_: &Scene, said: Option<u64>, heard: &[Noted]) {
    whole_or_nothing(said, heard, "unique", 24);
}

fn commit_is_whole(_: &Scene, said: Option<u64>, heard: &[Noted]) {
    commit_of_len_is_whole(said, heard, 40);
}

fn long_commit_is_whole(_: &Scene, said: Option<u64>, heard: &[Noted]) {
    commit_of_len_is_whole(said, heard, 180);
}

fn commit_of_len_is_whole(said: Option<u64>, heard: &[Noted], len: usize) {
    whole_or_nothing(said.filter(|&said| said != TOO_LATE), heard, "commit", len);
    if said == Some(TOO_LATE) {
        assert_eq!(heard.len(), 0, "G5: too late, and heard");
    }
}

fn nothing_is_heard(_: &Scene, _: Option<u64>, heard: &[Noted]) {
    assert_eq!(heard.len(), 0);
}

/// Either the caller or a listener has the key.
fn claim_is_whole(scene: &Scene, said: Option<u64>, _: &[Noted]) {
    let [(first, _), (second, _)] = &scene.listeners;
    let won = |worker: &Worker| matches!(worker.claim("key", HOUR).unwrap(), Claimed::Won(_));
    let (first_won, second_won) = (won(first), won(second));
    assert!(!second_won, "G9: held, and won by another");
    assert!(!(first_won && said == Some(1)), "G9: held by two");
}

fn release_is_whole(scene: &Scene, said: Option<u64>, _: &[Noted]) {
    let won = matches!(scene.listeners[0].0.claim("key", HOUR).unwrap(), Claimed::Won(_));
    assert!(won || said.is_none(), "released, and held still");
    assert_ne!(said, Some(0), "no other process had it");
}

/// The caller is dead or has ended: the first listener wins the key, and the second one does not.
fn claim_has_ended(scene: &Scene, said: Option<u64>, _: &[Noted]) {
    assert_ne!(said, Some(0), "no other process had it");
    let won = |(worker, _): &(Worker, Log)| worker.claim_with("key", &for_life()).unwrap().won().is_some();
    assert_eq!(scene.listeners.each_ref().map(won), [true, false], "G20: not free for one, and for one alone");
}

fn renewal_is_whole(scene: &Scene, said: Option<u64>, _: &[Noted]) {
    let held = scene.bus.held("key").unwrap().expect("G20: a renewal gave the key up");
    assert!(held.left > HOUR / 2 && (held.left > 2 * HOUR || said.is_none()), "G20: not renewed");
}

fn completion_is_whole(scene: &Scene, said: Option<u64>, _: &[Noted]) {
    let held = scene.bus.held("key").unwrap();
    assert!(held.is_some() || said.is_none(), "G20: what is done is free");
    assert!(held.as_ref().is_none_or(|held| !held.ends_with_holder && held.left > 2 * HOUR), "{held:?}");
    let won = scene.listeners[0].0.claim_with("key", &for_life()).unwrap().won();
    assert_eq!(won.is_some(), held.is_none(), "G20: a look and a claim do not agree");
}

fn unique_runs_at_most_once(scene: &Scene, said: Option<u64>, heard: &[Noted]) {
    let events = |wanted: &str| heard.iter().filter(|seen| seen.event == wanted).count() as u64;
    assert_eq!((events("first"), events("last")), (1, 1));
    let ran = events("unique") + scene.said[1].load(Relaxed);
    assert!(ran <= 1, "G9: it ran twice");
    if said.is_some() {
        assert_eq!(ran, 1, "G9: without a kill, it never ran");
    }
}

fn may_announce(_: &Scene, said: Option<u64>, heard: &[Noted]) {
    assert!(heard.len() <= 1 && heard.len() >= usize::from(said.is_some()));
    assert!(
        heard
            .iter()
            .all(|seen| seen.source == seqcast::library::SOURCE && (seen.bytes == b"joins" || seen.bytes == b"leaves"))
    );
}

/// The host that the relay of this host posts for, and what it posts.
const THERE: Origin = Origin::from_bits(7);
/// The id there of the event under test. An earlier one was posted.
const ID_THERE: u64 = 5;

/// Posts what a relay is killed at. Returns `false` if it was there.
type Relayed = fn(&mut RelayPoster) -> bool;

fn relayed_event(bytes: &[u8]) -> Foreign<'_> {
    Foreign::new(THERE, ID_THERE, ClusterId { timeline: 1, n: 9 }, "s", "post", bytes)
}

fn relay_short(poster: &mut RelayPoster) -> bool {
    poster.post(&relayed_event(&payload(40))).unwrap()
}

fn relay_long(poster: &mut RelayPoster) -> bool {
    poster.post(&relayed_event(&payload(150))).unwrap()
}

fn relay_unique(poster: &mut RelayPoster) -> bool {
    // One of the listeners runs it.
    let event = Foreign::new(THERE, ID_THERE, ClusterId { timeline: 1, n: 9 }, "s", "unique", b"");
    poster.post(&event.unique(HOUR)).unwrap()
}

fn relay_retained(poster: &mut RelayPoster) -> bool {
    let kept = Kept { key: b"1", ttl: None, clears: false };
    poster.post(&relayed_event(&payload(40)).retained(kept)).unwrap()
}

fn relay_missed(poster: &mut RelayPoster) -> bool {
    poster.post_missed(THERE, ID_THERE, Some(3), MissedReason::OriginLapped).unwrap()
}

/// A relay whose host was heard of before, and one whose host was not.
fn relaying<const KNOWN: bool>(bus: &Bus, relayed: Relayed) -> Box<dyn FnOnce() -> u64> {
    let (reader, mut poster) = bus.relay(&RelayOptions::new()).unwrap().split();
    if KNOWN {
        poster.pass(THERE, 2).unwrap();
    }
    Box::new(move || {
        let posted = relayed(&mut poster);
        drop(reader);
        // The hold ends with the process.
        std::mem::forget(poster);
        u64::from(posted)
    })
}

/// The events under test and the reports of missed ones that the ring holds.
fn relayed_in_ring(scene: &Scene) -> usize {
    let mut tail = Inspector::open(&scene.name).unwrap().tail(Start::Oldest).unwrap();
    let mut found = 0;
    while let Some(seen) = tail.try_next().unwrap() {
        found += usize::from(match seen {
            Seen::Event(event) => {
                event.relayed.is_some_and(|relayed| (relayed.origin, relayed.id) == (THERE, ID_THERE))
            }
            Seen::Missed(missed) => missed.origin == Some(THERE),
            _ => false,
        });
    }
    found
}

/// Kills a relay after each of its changes to the segment. Its successor gets the same again: it is there once. Then,
/// in other scenes, stops the relay there, while no other can take its place, and resumes it.
fn relays_once_at_every_step(call: Call, relayed: Relayed, least: usize) {
    let places = Scene::new().stepped(call, &[]).learn();
    assert!(places.len() >= least, "the call changes only {} words: does it do anything?", places.len());
    let take = |scene: &Scene| scene.bus.relay(&RelayOptions::new()).map(|relay| relay.split());
    at_every_step_of(Scene::new, call, &places, |scene, stepped| {
        stepped.child.kill();
        let before = relayed_in_ring(scene);
        assert!(before <= 1, "R4: {before} times");
        let (_reader, mut poster) = take(scene).unwrap();
        match poster.recovered() {
            Recovered::Nothing => {}
            Recovered::Posted { origin, id, .. } => assert_eq!((before, origin, id), (1, THERE, ID_THERE)),
            Recovered::NotPosted { origin, id, .. } => assert_eq!((before, origin, id), (0, THERE, ID_THERE)),
            other => panic!("{other:?}"),
        }
        assert_eq!(relayed(&mut poster), before == 0, "R4: doubled or lost");
        assert_eq!((relayed_in_ring(scene), poster.seen(THERE)), (1, Some(ID_THERE)));
        assert!(!relayed(&mut poster));
        drop((_reader, poster));
        scene.assert_sound();
    });
    at_every_step_of(Scene::new, call, &places, |scene, stepped| {
        assert_eq!(take(scene).map(drop).unwrap_err().kind(), ErrorKind::RelayTaken);
        stepped.let_go();
        assert_eq!(relayed_in_ring(scene), 1);
        let (_reader, mut poster) = take(scene).unwrap();
        assert!(!relayed(&mut poster));
    });
}

/// Kills and stops a call at every step, each time in a new scene with large blocks.
fn killed_and_stopped_with_large(call: Call, least: usize, check: Check) {
    killed_and_stopped_at_every_step_of(Scene::with_large, call, least, check, |_, _| {});
}

alone! {
    fn g7_g8_a_post_in_a_large_block_happens_once_or_not_at_all() {
        killed_and_stopped_with_large(post_long, 20, long_is_whole);
    }

    fn g7_g8_a_unique_post_in_a_large_block_runs_once_or_not_at_all() {
        killed_and_stopped_with_large(post_long_unique, 20, long_unique_runs_once);
    }

    fn g7_g8_a_commit_in_a_large_block_happens_once_or_says_that_it_is_too_late() {
        killed_and_stopped_with_large(reserve_and_commit_long, 25, long_commit_is_whole);
    }

    fn g7_g8_g13_an_event_in_a_large_block_is_retained_or_was_not_posted() {
        killed_and_stopped_at_every_step_of(Scene::with_large, retain_long, 25, last_is_kept, last_is_kept_now);
    }

    fn g7_g8_a_join_adopts_a_large_hand() {
        killed_and_stopped_with_large(join, 15, may_announce);
    }

    fn g19_a_post_in_a_large_block_rings_or_the_kernel_rings_for_its_dead_poster() {
        rung_at_every_step_of(Scene::with_large_and_bells, post_long, 20);
    }

    fn g4_g8_a_payload_that_is_overwritten_before_its_event_is_posted_is_missed() {
        let places = Scene::with_large().stepped(post_long, &[]).learn();
        let (whole, missed) = (shared_words(1), shared_words(1));
        at_every_step_of(Scene::with_large, post_long, &places, |scene, stepped| {
            let before = scene.heard();
            // More than a lap of the large ring, and less than one of the ring.
            scene.post_and_hear_large(3);
            stepped.let_go();
            let id = scene.said().expect("it was posted");
            for (worker, log) in &scene.listeners {
                let told = poll(worker);
                let heard: Vec<_> = log.seen().into_iter().filter(|seen| seen.event == "long").collect();
                if heard.is_empty() {
                    assert_eq!((told, before.len()), ((0, 1), 0), "G4: not told exactly that one is missed");
                    assert_eq!(worker.cursor(), id + 1, "G4: missed in another place");
                    missed[0].fetch_add(1, Relaxed);
                } else {
                    whole_or_nothing(Some(id), &heard, "long", 180);
                    whole[0].fetch_add(1, Relaxed);
                }
            }
            assert!(scene.bus.audit().unwrap().is_clean());
        });
        assert!([whole, missed].iter().all(|count| count[0].load(Relaxed) > 0), "only one of the two was met");
    }

    fn g7_g8_a_post_happens_once_or_not_at_all() {
        killed_and_stopped_at_every_step(post, 10, post_is_whole);
    }

    fn g7_g8_a_post_that_fills_its_block_happens_once_or_not_at_all() {
        killed_and_stopped_at_every_step(post_filled, 10, post_is_whole);
    }

    fn g7_g8_a_post_of_fragments_happens_once_or_not_at_all() {
        killed_and_stopped_at_every_step(post_long, 20, long_is_whole);
    }

    fn g7_g8_a_unique_post_runs_once_or_not_at_all() {
        killed_and_stopped_at_every_step(post_unique, 10, unique_runs_once);
    }

    fn g7_g8_a_commit_happens_once_or_says_that_it_is_too_late() {
        killed_and_stopped_at_every_step(reserve_and_commit, 15, commit_is_whole);
    }

    fn g7_g8_a_reservation_that_is_given_up_delays_nobody() {
        killed_and_stopped_at_every_step(reserve_and_drop, 5, nothing_is_heard);
    }

    fn g7_g8_a_claim_is_held_by_one() {
        killed_and_stopped_at_every_step(claim, 5, claim_is_whole);
    }

    fn g7_g8_a_release_happens_or_does_not() {
        killed_and_stopped_at_every_step(release, 5, release_is_whole);
    }

    fn g20_a_claim_ends_with_its_killed_holder() {
        killed_and_stopped_at_every_step(claim_for_life, 5, claim_has_ended);
    }

    fn g20_a_rescuer_is_killed_too() {
        killed_and_stopped_at_every_step(take_over, 5, claim_has_ended);
    }

    fn g20_a_renewal_happens_or_does_not() {
        killed_and_stopped_at_every_step(renew, 5, renewal_is_whole);
    }

    fn g20_a_completion_happens_or_does_not() {
        killed_and_stopped_at_every_step(complete, 5, completion_is_whole);
    }

    fn g7_g8_g9_a_poll_runs_a_unique_event_once_at_most() {
        killed_and_stopped_at_every_step(deliver, 10, unique_runs_at_most_once);
    }

    fn g7_g8_a_join_takes_no_seat_for_ever() {
        killed_and_stopped_at_every_step(join, 15, may_announce);
    }

    fn g7_g8_a_leave_takes_no_seat_for_ever() {
        killed_and_stopped_at_every_step(leave, 5, may_announce);
    }

    fn g7_g8_g17_a_reader_that_joins_and_leaves_holds_up_nobody_for_ever() {
        killed_and_stopped_at_every_step(join_and_leave_as_a_reader, 20, nothing_is_heard);
    }

    fn g7_g8_g17_a_reader_that_goes_on_holds_up_nobody_for_ever() {
        killed_and_stopped_at_every_step(go_on_after_a_cut, 8, nothing_is_heard);
    }

    fn g7_g8_g17_a_post_that_cuts_a_reader_off_happens_once_or_not_at_all() {
        killed_and_stopped_at_every_step(cut_off_and_post, 12, post_is_whole);
    }

    fn g19_a_post_rings_or_the_kernel_rings_for_its_dead_poster() {
        rung_at_every_step(post, 12);
    }

    fn g19_a_post_of_fragments_rings_or_the_kernel_rings_for_its_dead_poster() {
        rung_at_every_step(post_long, 20);
    }

    fn g19_a_commit_rings_or_the_kernel_rings_for_its_dead_reserver() {
        rung_at_every_step(commit, 5);
    }

    fn g7_g8_g13_an_event_is_retained_or_was_not_posted() {
        retains_at_every_step(retain, 15);
    }

    fn g7_g8_g13_an_event_takes_the_place_of_the_one_before() {
        retains_at_every_step(retain_another, 15);
    }

    fn g7_g8_g13_an_event_of_fragments_is_retained_or_was_not_posted() {
        retains_at_every_step(retain_long, 25);
    }

    fn g7_g8_g15_a_place_is_taken_from_a_key_that_was_cleared() {
        retains_at_every_step(retain_in_a_place_of_another, 25);
    }

    fn g7_g8_g13_what_is_cleared_stays_so() {
        retains_at_every_step(clear, 15);
    }

    fn g7_g8_g13_a_look_up_brings_the_event_of_a_dead_poster_into_the_table() {
        settles_at_every_step(get, 5);
    }

    fn g7_g8_g14_a_joiner_brings_the_event_of_a_dead_poster_into_the_table() {
        settles_at_every_step(be_brought_up_to_date, 5);
    }

    fn g7_g8_g13_a_post_brings_the_event_that_it_laps_into_the_table() {
        settles_at_every_step(post_over_it, 15);
    }

    fn g7_g8_g13_a_retained_post_brings_the_event_that_it_laps_into_the_table() {
        settles_at_every_step(retain_over_it, 25);
    }

    fn g7_g8_g13_an_adopter_brings_the_event_of_the_dead_into_the_table() {
        settles_at_every_step(adopt, 15);
    }

    fn g7_g8_a_sleeper_delays_nobody() {
        killed_and_stopped_at_every_step(sleep, 1, nothing_is_heard);
    }

    fn r4_a_relayed_event_is_there_once() {
        relays_once_at_every_step(|bus, _| relaying::<true>(bus, relay_short), relay_short, 15);
    }

    fn r4_the_first_event_of_a_host_is_there_once() {
        relays_once_at_every_step(|bus, _| relaying::<false>(bus, relay_short), relay_short, 15);
    }

    fn r4_a_relayed_event_of_fragments_is_there_once() {
        relays_once_at_every_step(|bus, _| relaying::<true>(bus, relay_long), relay_long, 20);
    }

    fn r4_a_relayed_unique_event_is_there_once() {
        relays_once_at_every_step(|bus, _| relaying::<true>(bus, relay_unique), relay_unique, 15);
    }

    fn r4_a_relayed_retained_event_is_there_once() {
        relays_once_at_every_step(|bus, _| relaying::<true>(bus, relay_retained), relay_retained, 20);
    }

    fn r4_a_report_of_missed_events_is_there_once() {
        relays_once_at_every_step(|bus, _| relaying::<true>(bus, relay_missed), relay_missed, 15);
    }
}
