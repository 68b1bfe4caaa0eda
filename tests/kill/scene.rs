//! A segment with listeners in this process, and a child that does one call on it.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use seqcast::{Bus, Cause, Scope, SegmentOptions, Worker, WorkerOptions};
use seqcast_testkit::ptrace::{Breakpoints, Traced, trace_me};
use seqcast_testkit::stepped::{Memory, Stepped};
use seqcast_testkit::{Child, HOUR, Log, Name, Noted, assert_error, exit, listener, poll, quiet, shared_words};

use crate::bells::Bells;
use crate::payload;

/// A segment with two listening workers in this process, and a child that does one call.
pub(super) struct Scene {
    pub(super) name: Name,
    pub(super) bus: Bus,
    pub(super) listeners: [(Worker, Log); 2],
    /// The child's report: its call's result plus one, and how often it ran the unique event.
    pub(super) said: &'static [AtomicU64],
    /// The bells, armed when the child begins its call.
    pub(super) bells: Option<Bells>,
    /// A stopped poster that has posted a retained event and not yet brought it into the table. It is killed when the
    /// next child begins its call, which thus does not have its seat.
    pub(super) dying: Option<Traced>,
    /// `true` if the segment has large blocks.
    pub(super) large: bool,
}

/// The child's actions: first its preparation, then the call under test.
pub(super) type Call = fn(&Bus, &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64>;

pub(super) fn hasty() -> WorkerOptions {
    quiet().wait_max(Duration::from_millis(2)).wait_interval(Duration::from_millis(1))
}

impl Scene {
    pub(super) fn new() -> Scene {
        Scene::of(SegmentOptions::new())
    }

    /// A scene in which what needs more than one block goes into a large block.
    pub(super) fn with_large() -> Scene {
        let scene = Scene { large: true, ..Scene::of(SegmentOptions::new().large(2, 400)) };
        scene.post_and_hear_large(5);
        scene
    }

    pub(super) fn of(options: SegmentOptions) -> Scene {
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

    pub(super) fn with_bells() -> Scene {
        Scene::new().and_bells()
    }

    pub(super) fn with_large_and_bells() -> Scene {
        Scene::with_large().and_bells()
    }

    pub(super) fn and_bells(mut self) -> Scene {
        self.bells = Some(Bells::new(&self.bus));
        self
    }

    /// Posts `count` events, each of which both listeners must get.
    pub(super) fn post_and_hear(&self, count: u64) {
        (0..count).for_each(|number| self.post_one_and_hear(&number.to_le_bytes()));
    }

    /// Posts `count` events with payloads in large blocks.
    pub(super) fn post_and_hear_large(&self, count: u64) {
        (0..count).for_each(|number| self.post_one_and_hear(&payload(300 + number as usize)));
    }

    pub(super) fn post_one_and_hear(&self, bytes: &[u8]) {
        let (poster, _) = &self.listeners[0];
        let id = poster.post(("s", "filler"), bytes).unwrap();
        for (worker, log) in &self.listeners {
            assert_eq!(poll(worker).1, 0, "G4: missed something");
            assert_eq!(log.seen().last().and_then(|seen| seen.id), Some(id), "G2: the event is not there");
        }
    }

    /// Returns the events of both listeners except the filler events; they must agree.
    pub(super) fn heard(&self) -> Vec<Noted> {
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
    pub(super) fn said(&self) -> Option<u64> {
        self.said[0].load(Relaxed).checked_sub(1)
    }

    pub(super) fn stepped(&mut self, call: Call, places: &[u64]) -> Stepped {
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
    pub(super) fn assert_sound(&self) {
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
}
