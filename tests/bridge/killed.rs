//! SIGKILL at every step of a bridge: each change of either segment's memory is one.

use std::collections::BTreeMap;

use seqcast::{ClaimOptions, Publisher, Scope, Topic, Worker};
use seqcast_testkit::ptrace::{Breakpoints, Traced, trace_me};
use seqcast_testkit::stepped::{Memory, Stepped};
use seqcast_testkit::{Child, HOUR, Log, alone, exit, poll, quiet, small};

use crate::{Pair, pump};

const STATE: Topic<'_> = Topic::new("upstream", "state");

/// Two segments with a worker each, and what a bridge has to carry.
struct Scene {
    pair: Pair,
    workers: [Worker; 2],
    logs: [Log; 2],
    posts: Posts,
}

/// Posts in the old and in the new segment. Returns the payloads that both workers must get.
type Posts = fn(&mut Publisher, &mut Publisher) -> &'static [&'static str];

/// What the child does under the eyes of the tracer.
#[derive(Clone, Copy)]
enum Traces {
    Beginning,
    Pump,
}

impl Scene {
    fn new(posts: Posts) -> Scene {
        let pair = Pair::new(&small());
        // The positions of both sides are known: the bridge is not the first.
        pump(&mut pair.bridge());
        let workers = pair.buses().map(|bus| bus.join_with(&quiet()).unwrap());
        let logs = workers.each_ref().map(|worker| Log::of(worker, Scope::source("s")));
        Scene { pair, workers, logs, posts }
    }

    fn stepped(&self, traces: Traces, places: &[u64]) -> (Stepped, &'static [&'static str]) {
        let mut memory = Memory::of(&[&self.pair.names[0], &self.pair.names[1]]);
        let [mut old, mut new] = self.pair.buses().map(|bus| bus.publisher_with(&quiet()).unwrap());
        let child = Traced::of(Child::fork(|| {
            let mut bridge = match traces {
                Traces::Beginning => None,
                Traces::Pump => Some(self.pair.bridge()),
            };
            trace_me();
            let bridge = bridge.get_or_insert_with(|| self.pair.bridge());
            if matches!(traces, Traces::Pump) {
                bridge.pump().unwrap();
            }
            // Without the destructors.
            exit(0);
        }));
        let wanted = (self.posts)(&mut old, &mut new);
        let breaks = Breakpoints::at(child.tracee(), places);
        breaks.put(child.tracee());
        memory.has_changed();
        (Stepped::of(child, memory, breaks), wanted)
    }

    /// Checks what both generations have when a successor has carried the rest.
    fn judge(&self, wanted: &[&str], step: usize) {
        let mut bridge = self.pair.bridge();
        pump(&mut bridge);
        assert_eq!(bridge.carried().missed, 0);
        bridge.finish().unwrap();
        for (worker, log) in self.workers.iter().zip(&self.logs) {
            assert_eq!(poll(worker).1, 0);
            let texts = log.texts();
            let mut plain: Vec<_> = texts.iter().filter(|text| *text != "unique").map(|text| short(text)).collect();
            plain.sort_unstable();
            let mut wanted = wanted.to_vec();
            wanted.sort_unstable();
            assert_eq!(plain, wanted, "lost or doubled: killed at step {step}");
        }
        let unique = self.logs.iter().flat_map(Log::texts).filter(|text| text == "unique").count();
        assert!(unique <= 1, "G9: it ran twice: killed at step {step}");
        let tables = self.pair.buses().map(|bus| {
            let retained = bus.publisher_with(&quiet()).unwrap().retained().unwrap();
            let entry = |event: &seqcast::Retained| (event.key().to_owned(), event.bytes().to_owned());
            retained.iter().map(entry).collect::<BTreeMap<_, _>>()
        });
        assert_eq!(tables[0], tables[1], "G13: killed at step {step}");
        for bus in self.pair.buses() {
            assert!(bus.audit().unwrap().is_clean(), "G7: killed at step {step}");
        }
        // Workers of the old segment decide for themselves again.
        let options = ClaimOptions::new(HOUR).ends_with_holder(true);
        assert!(self.workers[0].claim_with("free", &options).unwrap().won().is_some());
        self.workers[0].event(("s", "unique")).unique("another").post("unique").unwrap();
        let before = self.logs[0].len();
        poll(&self.workers[0]);
        assert_eq!(self.logs[0].len(), before + 1, "it waits for a dead bridge: killed at step {step}");
    }
}

fn long(text: &str) -> String {
    format!("{text}{}", " ".repeat(600))
}

fn short(text: &str) -> &str {
    text.trim_end()
}

fn killed_at_every_step(traces: Traces, least: usize, posts: Posts) {
    let places = Scene::new(posts).stepped(traces, &[]).0.learn();
    assert!(places.len() >= least, "a bridge changes only {} words", places.len());
    // Two joins and two claims have many steps, each of which `tests/kill` covers.
    let stride = if matches!(traces, Traces::Beginning) { 3 } else { 1 };
    for steps in (0..).step_by(stride) {
        let scene = Scene::new(posts);
        let (stepped, wanted) = scene.stepped(traces, &places);
        let mut stepped = Some(stepped);
        for _ in 0..steps {
            stepped = stepped.and_then(Stepped::next_change);
        }
        let Some(stepped) = stepped else {
            assert!(steps > places.len() / 2, "of {} changes only {} were met", places.len(), steps);
            return;
        };
        stepped.child.kill();
        scene.judge(wanted, steps);
    }
}

alone! {
    fn g7_a_bridge_that_is_killed_while_it_begins_has_a_successor() {
        killed_at_every_step(Traces::Beginning, 30, |old, new| {
            old.post(("s", "e"), "old").unwrap();
            new.post(("s", "e"), "new").unwrap();
            &["old", "new"]
        });
    }

    fn g7_an_event_is_carried_once_by_a_killed_bridge_and_its_successor() {
        killed_at_every_step(Traces::Pump, 15, |old, _| {
            old.post(("s", "e"), "1").unwrap();
            old.post(("s", "e"), "2").unwrap();
            &["1", "2"]
        });
    }

    fn g7_an_event_of_the_new_is_carried_once_too() {
        killed_at_every_step(Traces::Pump, 10, |_, new| {
            new.post(("s", "e"), "1").unwrap();
            &["1"]
        });
    }

    fn g7_an_event_of_fragments_is_carried_once() {
        killed_at_every_step(Traces::Pump, 15, |old, _| {
            old.post(("s", "e"), long("1")).unwrap();
            &["1"]
        });
    }

    fn g7_g9_a_unique_event_runs_once_or_not_at_all() {
        killed_at_every_step(Traces::Pump, 20, |old, _| {
            old.event(("s", "unique")).unique("key").ttl(HOUR).post("unique").unwrap();
            &[]
        });
    }

    fn g7_g13_a_retained_event_is_retained_in_both() {
        killed_at_every_step(Traces::Pump, 15, |old, _| {
            old.event(STATE).retain_key("a").post("of old").unwrap();
            &[]
        });
    }

    fn g7_g13_two_values_of_a_key_end_as_one() {
        killed_at_every_step(Traces::Pump, 15, |old, new| {
            old.event(STATE).retain_key("a").post("of old").unwrap();
            new.event(STATE).retain_key("a").post("of new").unwrap();
            &[]
        });
    }

    fn g7_g13_a_clear_clears_in_both() {
        killed_at_every_step(Traces::Pump, 10, |old, _| {
            old.event(STATE).retain_key("a").post("of old").unwrap();
            old.event(STATE).retain_key("a").clear().unwrap();
            &[]
        });
    }
}
