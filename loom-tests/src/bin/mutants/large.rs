//! The deliberate bugs of large payloads: one for each step and clause. Looks and exchanges are those of the ring.

use crate::list::Mutant;

pub(crate) const LARGE: &[Mutant] = &[
    Mutant {
        name: "large: the event before its payload",
        file: "large.rs",
        edits: &[(
            concat!(
                "        let id = self.ring.ring.post(&mut self.hand, &mut NoTable, write)?;\n",
                "        post(id)",
            ),
            concat!(
                "        let id = self.ring.ring.newest();\n",
                "        let posted = post(id)?;\n",
                "        self.ring.ring.post(&mut self.hand, &mut NoTable, write)?;\n",
                "        Ok(posted)",
            ),
        )],
        breaks: "an event names a payload that is not there, or another one",
        killers: &["loom::large_races::a_reader_copies_a_payload_while_a_lap_overwrites"],
        ci: true,
    },
    Mutant {
        name: "large: read without its second look",
        file: "large.rs",
        edits: &[(
            concat!(
                "                if self.ring.unchanged(id, seen) { LargeRead::Whole(copied) } ",
                "else { LargeRead::Overwritten }",
            ),
            "                LargeRead::Whole(copied)",
        )],
        breaks: "a reader accepts a payload that was overwritten meanwhile: torn, or another event's",
        killers: &["loom::large_races::a_reader_copies_a_payload_while_a_lap_overwrites"],
        ci: true,
    },
    Mutant {
        name: "large: read without its version",
        file: "large.rs",
        edits: &[(
            "        Ok(match self.ring.look(id)? {",
            concat!(
                "        let id = self.ring.newest().saturating_sub(1);\n",
                "        Ok(match self.ring.look(id)? {",
            ),
        )],
        breaks: "a reader takes the payload that is in the cell for the one that the event names",
        killers: &["loom::large_races::a_reader_copies_a_payload_while_a_lap_overwrites"],
        ci: true,
    },
    Mutant {
        name: "large: a payload that was overwritten is not told from one that never was",
        file: "large.rs",
        edits: &[(
            "            Look::Lapped => LargeRead::Overwritten,\n            Look::Empty |",
            "            Look::Lapped | Look::Empty |",
        )],
        breaks: "a reader reports malformed content instead of a missed event",
        killers: &["loom::large_races::a_reader_copies_a_payload_while_a_lap_overwrites"],
        ci: false,
    },
    Mutant {
        name: "large: a payload is taken back without its second look",
        file: "large.rs",
        edits: &[(
            "        self.ring.read(id, copy)\n",
            concat!(
                "        Ok(match self.ring.ring.look(id)? {\n",
                "            Look::Published(seen) => LargeRead::Whole(copy(self.ring.ring.block(seen)?)),\n",
                "            _ => LargeRead::Overwritten,\n",
                "        })\n",
            ),
        )],
        breaks: "a post that finds no room goes on with a payload that was overwritten: torn, or another event's",
        killers: &["loom::large_races::a_poster_takes_its_payload_back_while_a_lap_overwrites"],
        ci: true,
    },
    Mutant {
        name: "large: every hand is adopted as that of seat 0",
        file: "large.rs",
        edits: &[(
            "        let hand = Hand::adopt(&ring.pool, hand, seat)?;",
            "        let hand = Hand::adopt(&ring.pool, hand, seat.min(0))?;",
        )],
        breaks: "a lap does not confirm a dead poster's payload, whose adopter takes the block back: in two places",
        killers: &["loom::large_races::a_large_poster_is_killed_and_a_lap_confirms"],
        ci: true,
    },
];
