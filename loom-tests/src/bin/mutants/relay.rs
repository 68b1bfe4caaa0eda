//! The deliberate bugs of what a relay keeps: one for each step, and for each order of stores that a kill may cut.

use crate::list::Mutant;

const KILLED: &[&str] = &["interrupted::relay::a_relay_and_its_successor_are_killed"];
const INSPECTED: &[&str] = &["interrupted::relay::an_inspector_reads_the_position_while_the_relay_moves_it"];

pub(crate) const RELAY: &[Mutant] = &[
    Mutant {
        name: "relay: no intent",
        file: "relay.rs",
        edits: &[("        self.word(SET).store(1, Ordering::Release); // E3\n", "")],
        breaks: "a relay is killed after a post: its successor posts the event again",
        killers: KILLED,
        ci: true,
    },
    Mutant {
        name: "relay: no table after the post",
        file: "relay.rs",
        edits: &[("            self.note(entry); // E5\n", "            let _ = entry;\n")],
        breaks: "what is read twice from the stream is posted twice",
        killers: KILLED,
        ci: false,
    },
    Mutant {
        name: "relay: the intent ends before the table",
        file: "relay.rs",
        edits: &[("        if posted.is_ok() {\n", "        self.end_intent();\n        if posted.is_ok() {\n")],
        breaks: "a relay is killed between the two: nothing says that the event exists",
        killers: KILLED,
        ci: true,
    },
    Mutant {
        name: "relay: nothing is recovered",
        file: "relay.rs",
        edits: &[("        if witness == Witness::Posted\n", "        if witness == Witness::Lapped\n")],
        breaks: "the successor posts again what the ring already has",
        killers: KILLED,
        ci: true,
    },
    Mutant {
        name: "relay: a recovery that leaves the intent",
        file: "relay.rs",
        edits: &[("        self.end_intent(); // F4\n", "")],
        breaks: "the next successor looks for an event that is over, and takes a lap for a doubt",
        killers: KILLED,
        ci: false,
    },
    Mutant {
        name: "relay: the next id before its origin",
        file: "relay.rs",
        edits: &[(
            "        self.table.at(at).store(entry.origin, Ordering::Relaxed);\n",
            concat!(
                "        self.table.at(at + 1).store(entry.id.saturating_add(1), Ordering::Release);\n",
                "        self.table.at(at).store(entry.origin, Ordering::Relaxed);\n",
            ),
        )],
        breaks: "a relay is killed between the two: the host that had the place loses events",
        killers: KILLED,
        ci: true,
    },
    Mutant {
        name: "relay: the next event counts as seen",
        file: "relay.rs",
        edits: &[("Some(place) if id < self.entry(place).1", "Some(place) if id <= self.entry(place).1")],
        breaks: "events are lost",
        killers: KILLED,
        ci: false,
    },
    Mutant {
        name: "relay: a position written in place",
        file: "relay.rs",
        edits: &[("| (version ^ COPY) & COPY;", "| version & COPY;")],
        breaks: "a relay is killed in the middle: its successor reads a position that never was",
        killers: KILLED,
        ci: true,
    },
    Mutant {
        name: "relay: the version before the copy",
        file: "relay.rs",
        edits: &[(
            "        let to = COPIES +",
            "        self.word(VERSION).store(next | IS_SET, Ordering::Release);\n        let to = COPIES +",
        )],
        breaks: "a relay is killed in the middle: its successor reads a position that never was",
        killers: KILLED,
        ci: false,
    },
    Mutant {
        name: "relay: a position without a second look",
        file: "relay.rs",
        edits: &[("            if self.word(VERSION).load(Ordering::Relaxed) == version {\n", "            {\n")],
        breaks: "an inspector reads a position that never was",
        killers: INSPECTED,
        ci: true,
    },
];
