//! The deliberate bugs of retained events: one for each ordering, second look, step and clause.

use crate::list::Mutant;

pub(crate) const RETAINED: &[Mutant] = &[
    // The phase *keep* in the exchange.
    Mutant {
        name: "retained: a second look that compares phases",
        file: "pool.rs",
        edits: &[("        self.second_look(index).names_as(seen)", "        self.second_look(index) == seen")],
        breaks: "a reader takes an event that was settled meanwhile for a lapped one",
        killers: &["loom::retained_races::a_mark_meets_a_readers_second_look"],
        ci: true,
    },
    Mutant {
        name: "retained: an adopter that compares phases",
        file: "pool.rs",
        edits: &[(
            "named.names_as(CellWord::new(version, Phase::Published, own))",
            "named == CellWord::new(version, Phase::Published, own)",
        )],
        breaks: "an adopter takes the dead seat's retained event for one that was never posted: a block in two places",
        killers: &["loom::retained_races::a_poster_is_killed_and_a_lap_settles"],
        ci: true,
    },
    Mutant {
        name: "retained: posted as published",
        file: "ring.rs",
        edits: &[(
            concat!(
                "            let posted = CellWord::new(self.version_of(id), Phase::Keep, hand.own());\n",
                "            if self.take(hand, id, seen, Phase::Keep)?",
            ),
            concat!(
                "            let posted = CellWord::new(self.version_of(id), Phase::Published, hand.own());\n",
                "            if self.take(hand, id, seen, Phase::Published)?",
            ),
        )],
        breaks: "a poster is killed before it settles its event: the event is lost",
        killers: &["loom::retained_races::an_adopter_meets_a_joiner_that_marks"],
        ci: true,
    },
    // Rule D.
    Mutant {
        name: "retained: a post displaces what is unsettled",
        file: "ring.rs",
        edits: &[(
            concat!(
                "            if seen.phase() == Phase::Keep {\n",
                "                self.settle_displaced(id, seen, settler)?;\n",
                "            } else if",
            ),
            "            let _ = &settler;\n            if",
        )],
        breaks: "the event of a poster that stopped is lost with the next lap",
        killers: &["loom::retained_races::a_poster_is_killed_and_a_lap_settles"],
        ci: true,
    },
    Mutant {
        name: "retained: a retained post displaces what is unsettled",
        file: "ring.rs",
        edits: &[(
            concat!(
                "                self.settle_displaced(id, seen, settler)?;\n",
                "                prepared = false;\n",
                "                continue;\n",
            ),
            "",
        )],
        breaks: "as above",
        killers: &["loom::retained_races::a_retained_poster_is_killed_and_another_laps"],
        ci: false,
    },
    Mutant {
        name: "retained: a reservation displaces what is unsettled",
        file: "ring.rs",
        edits: &[(
            concat!(
                "            if seen.phase() == Phase::Keep {\n",
                "                self.settle_displaced(id, seen, settler)?;\n",
                "                continue;\n",
                "            }\n",
                "            // Stored",
            ),
            "            let _ = &settler;\n            // Stored",
        )],
        breaks: "as above",
        killers: &["loom::retained_races::a_poster_is_killed_and_a_reservation_laps"],
        ci: false,
    },
    Mutant {
        name: "retained: not prepared again",
        file: "ring.rs",
        edits: &[("                prepared = false;\n", "")],
        breaks: "a poster settles another seat's event and then posts a torn value of its own",
        killers: &["loom::retained_races::a_retained_post_laps_an_unsettled_one"],
        ci: true,
    },
    // Announcements.
    Mutant {
        name: "retained: announced without its fence",
        file: "retained.rs",
        edits: &[(
            concat!(
                "        self.announced.at(seat.into()).store(announcement(key), Ordering::Relaxed);\n",
                "        // SeqCst fence: pairs with the one in `make_room`. Of a seat that announces and then ",
                "looks for its place, and a\n",
                "        // seat that closes the place and then looks for announcements, at least one sees what ",
                "the other did.\n",
                "        fence(Ordering::SeqCst);",
            ),
            "        self.announced.at(seat.into()).store(announcement(key), Ordering::Relaxed);",
        )],
        breaks: "a key loses its place just before it is posted",
        killers: &["loom::retained_races::an_announcer_meets_a_sweeper"],
        ci: true,
    },
    Mutant {
        name: "retained: swept without its fence",
        file: "retained.rs",
        edits: &[(
            concat!(
                "        // SeqCst fence: pairs with the one in `announce`.\n",
                "        fence(Ordering::SeqCst);\n",
                "        let gone",
            ),
            "        let gone",
        )],
        breaks: "as above",
        killers: &["loom::retained_races::an_announcer_meets_a_sweeper"],
        ci: true,
    },
    Mutant {
        name: "retained: announced after the place was found",
        file: "retained.rs",
        edits: &[(
            concat!(
                "        self.table.announce(self.hand.seat(), key);\n",
                "        let place = self.table.place(claim_hand, scratch, key, absent, now);\n",
            ),
            concat!(
                "        let place = self.table.place(claim_hand, scratch, key, absent, now);\n",
                "        self.table.announce(self.hand.seat(), key);\n",
            ),
        )],
        breaks: "as above",
        killers: &["loom::retained_races::an_announcer_meets_a_sweeper"],
        ci: true,
    },
    Mutant {
        name: "retained: withdrawn without release",
        file: "retained.rs",
        edits: &[(
            "self.announced.at(seat.into()).store(0, Ordering::Release);",
            "self.announced.at(seat.into()).store(0, Ordering::Relaxed);",
        )],
        breaks: "a joiner finds no announcement and misses the event that was settled before",
        killers: &["loom::retained_races::a_joiner_meets_a_poster"],
        ci: true,
    },
    Mutant {
        name: "retained: withdrawn before it is settled",
        file: "retained.rs",
        edits: &[(
            "        let note = Note { seat: self.hand.seat(), key, slot, block: self.hand.own() };\n",
            concat!(
                "        let note = Note { seat: self.hand.seat(), key, slot, block: self.hand.own() };\n",
                "        self.end();\n",
            ),
        )],
        breaks: "a joiner misses the event of a poster that stopped",
        killers: &["loom::retained_races::a_joiner_meets_a_poster"],
        ci: true,
    },
    // Places.
    Mutant {
        name: "retained: a place is taken away in one step",
        file: "retained.rs",
        edits: &[("        if index.close(dead) {", "        if false {")],
        breaks: "a key loses its place just before it is posted",
        killers: &["loom::retained_races::an_announcer_meets_a_sweeper"],
        ci: true,
    },
    Mutant {
        name: "retained: announcements are not checked",
        file: "retained/index.rs",
        edits: &[(
            "                gone.remove(place);\n            }\n        }\n        gone",
            "                let _ = place;\n            }\n        }\n        gone",
        )],
        breaks: "as above",
        killers: &["retained_rule::two_keys_contend_for_a_place"],
        ci: true,
    },
    Mutant {
        name: "retained: announcements are checked before the closing",
        file: "retained.rs",
        edits: &[
            (
                "        let (dead, _) = self.dead_among(bucket, index, index.used, now())?; // I2\n",
                concat!(
                    "        let (dead, _) = self.dead_among(bucket, index, index.used, now())?;\n",
                    "        let gone = index.unannounced(dead, self.announcements());\n",
                ),
            ),
            (
                "            return Ok(Room::Closed);",
                concat!(
                    "            let (gone, floor) = self.dead_among(bucket, index, gone, now())?;\n",
                    "            let seen = self.snapshot(bucket, index)?;\n",
                    "            let room = index.replace(gone, floor, key).map_or(Room::None, Room::At);\n",
                    "            return Ok(if let Room::At(_) = room { if self.publish(hand, bucket, seen, index)? ",
                    "== Exchange::Done { room } else { Room::Closed } } else { room });",
                ),
            ),
        ],
        breaks: "as above",
        killers: &["loom::retained_races::an_announcer_meets_a_sweeper"],
        ci: false,
    },
    Mutant {
        name: "retained: the slot is checked before the announcements",
        file: "retained.rs",
        edits: &[(
            "        let (gone, floor) = self.dead_among(bucket, index, gone, now())?; // I4",
            "        let (_, floor) = self.dead_among(bucket, index, gone, now())?;",
        )],
        breaks: "a value that was posted in between is swept: lost",
        killers: &["loom::retained_races::an_announcer_meets_a_sweeper"],
        ci: true,
    },
    Mutant {
        name: "retained: a closing place is not opened again",
        file: "retained/index.rs",
        edits: &[("if self.closing.contains(place) { Plan::Reopen(place) }", "if false { Plan::Reopen(place) }")],
        breaks: "the sweeper, undisturbed, takes the place away",
        killers: &["retained_rule::two_keys_contend_for_a_place"],
        ci: true,
    },
    Mutant {
        name: "retained: a closing place is taken as open",
        file: "retained.rs",
        edits: &[(
            "(place, !index::closing(words).contains(place))",
            "(place, { let _ = index::closing(words); true })",
        )],
        breaks: "as above",
        killers: &["loom::retained_races::an_announcer_meets_a_sweeper"],
        ci: true,
    },
    Mutant {
        name: "retained: a place is looked for without acquire",
        file: "retained.rs",
        edits: &[(
            concat!(
                "            let seen = CellWord::from_bits(load_acquire(self.index.cell(cell)));\n",
                "            if seen.version() == 0 {\n",
                "                return Ok(None);",
            ),
            concat!(
                "            let seen = CellWord::from_bits(self.index.cell(cell).load(Ordering::Relaxed));\n",
                "            if seen.version() == 0 {\n",
                "                return Ok(None);",
            ),
        )],
        breaks: "a look-up reads an old index and finds nothing",
        killers: &["loom::retained_races::an_announcer_meets_a_sweeper"],
        ci: false,
    },
    Mutant {
        name: "retained: a place is looked for without a second look",
        file: "retained.rs",
        edits: &[(
            "            if self.index.unchanged(cell, seen) {\n                return Ok(found);",
            "            if true {\n                return Ok(found);",
        )],
        breaks: "a poster takes another key's place",
        killers: &["interrupted::a_place_is_looked_for_in_a_bucket_that_is_written_again"],
        ci: false,
    },
    Mutant {
        name: "retained: the index is copied without a second look",
        file: "retained.rs",
        edits: &[(
            "            if self.index.unchanged(cell, seen) {\n                return Ok(seen);",
            "            if true {\n                return Ok(seen);",
        )],
        breaks: "as above",
        killers: &["loom::retained_races::a_walk_meets_a_sweep"],
        ci: false,
    },
    // Decisions about slots and floors.
    Mutant {
        name: "retained: ids are not compared",
        file: "retained/index.rs",
        edits: &[("self.key == key && self.place > id", "{ let _ = id; self.key == key && false }")],
        breaks: "an old event replaces a newer one",
        killers: &["retained_rule::two_writers_of_one_key"],
        ci: true,
    },
    Mutant {
        name: "retained: keys are not compared where ids are",
        file: "retained/index.rs",
        edits: &[("self.key == key && self.place > id", "{ let _ = key; self.place > id }")],
        breaks: "a reader that missed a fragment takes another key's event for its own: missed",
        killers: &["retained_rule::a_value_in_two_fragments_expires"],
        ci: false,
    },
    Mutant {
        name: "retained: a later id is not enough",
        file: "retained/index.rs",
        edits: &[("self.key == key && self.place > id", "self.key == key && self.place == id + 1")],
        breaks: "as above",
        killers: &["retained_rule::two_writers_of_one_key"],
        ci: false,
    },
    Mutant {
        name: "retained: another key's value keeps a place",
        file: "retained/index.rs",
        edits: &[("(self.key == key && self.place != 0).then", "(self.place != 0 && key != Key::default()).then")],
        breaks: "a look-up finds another key's value",
        killers: &["interrupted::"],
        ci: false,
    },
    Mutant {
        name: "retained: an expired event is not dead",
        file: "retained/index.rs",
        edits: &[("is_none_or(|deadline| deadline <= now)", "is_none_or(|_| { let _ = now; false })")],
        breaks: "a place is never freed, although the ttl has ended",
        killers: &["retained_rule::a_ttl_ends"],
        ci: true,
    },
    Mutant {
        name: "retained: the floor is not raised",
        file: "retained/index.rs",
        edits: &[("        self.floor = self.floor.max(floor);\n", "        let _ = floor;\n")],
        breaks: "a lapped reader keeps a value that was cleared and swept",
        killers: &["retained_rule::a_reader_is_lapped_by_a_sweep"],
        ci: true,
    },
    Mutant {
        name: "retained: only clears raise the floor",
        file: "retained/index.rs",
        edits: &[(
            "if self.key == key { self.place } else { 0 }",
            "if self.key == key && self.deadline == TOMBSTONE { self.place } else { 0 }",
        )],
        breaks: "a lapped reader keeps a value that expired and was swept",
        killers: &["retained_rule::a_ttl_ends"],
        ci: true,
    },
    Mutant {
        name: "retained: the floor is not checked",
        file: "retained/index.rs",
        edits: &[("        self.reset |= floor > self.from;", "        let _ = floor;")],
        breaks: "a lapped reader keeps a value that was cleared and swept",
        killers: &["retained_rule::a_reader_is_lapped_by_a_sweep"],
        ci: true,
    },
    Mutant {
        name: "retained: an event that comes live is also handed over",
        file: "retained/index.rs",
        edits: &[("held.key == key && id < self.to &&", "held.key == key &&")],
        breaks: "a joiner is handed an id twice",
        killers: &["retained_rule::two_writers_of_one_key_and_a_joiner"],
        ci: true,
    },
    Mutant {
        name: "retained: an event that was read is handed over again",
        file: "retained/index.rs",
        edits: &[("(self.reset || id >= self.from)", "true")],
        breaks: "a lapped reader is handed an id twice",
        killers: &["retained_rule::a_value_and_a_clear"],
        ci: true,
    },
    Mutant {
        name: "retained: a reset hands over only new events",
        file: "retained/index.rs",
        edits: &[("(self.reset || id >= self.from)", "id >= self.from")],
        breaks: "after a reset a reader lacks the events that it had read before",
        killers: &["retained_rule::a_lapped_reader_begins_again"],
        ci: true,
    },
    // Settling.
    Mutant {
        name: "retained: a note without its second look",
        file: "retained.rs",
        edits: &[("        if !self.ring.holds(id, seen) {\n            return Ok(None);\n        }\n", "")],
        breaks: "a helper that stopped takes words of a later event as a slot number",
        killers: &["interrupted::"],
        ci: false,
    },
    Mutant {
        name: "retained: settled without S4",
        file: "retained.rs",
        edits: &[(
            "            if !self.ring.holds(id, seen) {\n                return Ok(false); // S4\n            }\n",
            "",
        )],
        breaks: "a helper that stopped puts an old event into another key's slot",
        killers: &["interrupted::"],
        ci: true,
    },
    Mutant {
        name: "retained: S4 ignores a mark",
        file: "pool.rs",
        edits: &[("        self.second_look(index) == seen", "        self.second_look(index).names_as(seen)")],
        breaks: "as above",
        killers: &["interrupted::"],
        ci: true,
    },
    Mutant {
        name: "retained: S4 before the slot is read",
        file: "retained.rs",
        edits: &[
            (
                "            if !self.ring.holds(id, seen) {\n                return Ok(false); // S4\n            }\n",
                "",
            ),
            (
                "            let (word, held) = self.held(slot)?; // S2",
                concat!(
                    "            if !self.ring.holds(id, seen) {\n",
                    "                return Ok(false);\n",
                    "            }\n",
                    "            let (word, held) = self.held(slot)?;",
                ),
            ),
        ],
        breaks: "as above",
        killers: &["interrupted::"],
        ci: true,
    },
    Mutant {
        name: "retained: marked before the slot is exchanged",
        file: "retained.rs",
        edits: &[(
            "            if exchange(hand, &self.slots, slot, word)? == Exchange::Done {",
            concat!(
                "            self.ring.mark_settled(id, seen);\n",
                "            if exchange(hand, &self.slots, slot, word)? == Exchange::Done {",
            ),
        )],
        breaks: "the event is lapped between the two: lost",
        killers: &["interrupted::"],
        ci: true,
    },
    Mutant {
        name: "retained: never marked",
        file: "retained.rs",
        edits: &[("        self.ring.mark_settled(id, seen); // S6\n", "")],
        breaks: "a post that laps the event never ends",
        killers: &["interrupted::"],
        ci: true,
    },
    Mutant {
        name: "retained: settled without the copy",
        file: "retained.rs",
        edits: &[("                copy(self.slots.block(note.block)?, own); // S3", "                let _ = own;")],
        breaks: "a helper settles a value that is not the event's: torn",
        killers: &["loom::retained_races::a_poster_that_is_lapped_meets_its_helper"],
        ci: true,
    },
    Mutant {
        name: "retained: settled with a copy that is a word short",
        file: "bytes.rs",
        edits: &[("from.iter().zip(to)", "from.iter().zip(&to[..to.len() - 1])")],
        breaks: "a helper settles a value that is not the event's: torn",
        killers: &["interrupted::what_is_unsettled_for_a_lap_is_settled_for_a_joiner"],
        ci: false,
    },
    Mutant {
        name: "retained: settled without its id",
        file: "retained.rs",
        edits: &[("            own.payload()[ID].store(id + 1, Ordering::Relaxed);\n", "")],
        breaks: "an older event replaces it",
        killers: &["loom::retained_races::two_posters_retain_under_one_key"],
        ci: true,
    },
    Mutant {
        name: "retained: a slot is read without acquire",
        file: "retained.rs",
        edits: &[(
            "        let seen = CellWord::from_bits(load_acquire(self.slots.cell(slot)));",
            "        let seen = CellWord::from_bits(self.slots.cell(slot).load(Ordering::Relaxed));",
        )],
        breaks: "a torn value is read from the table",
        killers: &[
            "loom::retained_races::a_look_up_meets_a_poster_that_stopped",
            "loom::retained_races::a_joiner_meets_a_poster",
            "loom::retained_races::two_posters_retain_under_one_key",
        ],
        ci: false,
    },
    Mutant {
        name: "retained: a slot is read without a second look",
        file: "retained.rs",
        edits: &[(
            "            if look.unchanged() {\n                return Ok((look.seen, held));",
            "            if true {\n                return Ok((look.seen, held));",
        )],
        breaks: "a settling seat takes the id of a later event for its slot's: lost",
        killers: &["interrupted::"],
        ci: false,
    },
    // Adoption.
    Mutant {
        name: "retained: an adopter settles nothing",
        file: "retained.rs",
        edits: &[(
            "            self.settle_noted(hand, id, seen, note)?;\n            break;",
            "            let _ = (hand, note);\n            break;",
        )],
        breaks: "a later joiner misses the dead seat's event",
        killers: &["loom::retained_races::an_adopter_meets_a_joiner_that_marks"],
        ci: true,
    },
    Mutant {
        name: "retained: an adopter withdraws first",
        file: "retained.rs",
        edits: &[(
            concat!(
                "        let newest = self.ring.newest();\n",
                "        for id in newest.saturating_sub(self.ring.capacity())..newest {\n",
                "            let Some(seen)",
            ),
            concat!(
                "        self.withdraw(seat);\n",
                "        let newest = self.ring.newest();\n",
                "        for id in newest.saturating_sub(self.ring.capacity())..newest {\n",
                "            let Some(seen)",
            ),
        )],
        breaks: "a joiner between the two misses the dead seat's event",
        killers: &["loom::retained_races::an_adopter_meets_a_joiner_that_marks"],
        ci: true,
    },
    Mutant {
        name: "retained: an adopter settles only the event that names its block",
        file: "retained.rs",
        edits: &[(".filter(|note| note.seat == seat) else", ".filter(|note| note.block == hand.own()) else")],
        breaks: "an event that is in its slot and not marked stays unsettled, and its key is not announced",
        killers: &["loom::retained_races::two_posters_are_killed_one_after_the_other"],
        ci: true,
    },
    Mutant {
        name: "retained: an adopter settles every event that it finds",
        file: "retained.rs",
        edits: &[
            (".filter(|note| note.seat == seat) else", " else"),
            (
                "            self.settle_noted(hand, id, seen, note)?;\n            break;",
                "            self.settle_noted(hand, id, seen, note)?;",
            ),
        ],
        breaks: "the block with the dead seat's value is used for another event: torn",
        killers: &["loom::retained_races::two_posters_are_killed_one_after_the_other"],
        ci: true,
    },
    Mutant {
        name: "retained: an adopter leaves the announcement",
        file: "retained.rs",
        edits: &[("            break;\n        }\n        self.withdraw(seat);", "            break;\n        }")],
        breaks: "the dead seat's key keeps its place and is never swept",
        killers: &["loom::retained_races::two_posters_are_killed_one_after_the_other"],
        ci: false,
    },
    // Readers that are brought up to date, and look-ups.
    Mutant {
        name: "retained: a walk without a second look",
        file: "retained.rs",
        edits: &[(
            "            if self.index.unchanged(self.first + bucket, seen) {\n                return Ok(());",
            "            if true {\n                let _ = seen;\n                return Ok(());",
        )],
        breaks: "a lapped reader misses a clear that was swept",
        killers: &["interrupted::a_lapped_reader_is_brought_up_to_date_beside_a_sweep"],
        ci: true,
    },
    Mutant {
        name: "retained: a walk keeps copies from its discarded attempt",
        file: "retained.rs",
        edits: &[("            copies.truncate(before);\n", "            let _ = before;\n")],
        breaks: "a reader is handed an event twice",
        killers: &["interrupted::"],
        ci: false,
    },
    Mutant {
        name: "retained: a look-up overlooks announcements",
        file: "retained.rs",
        edits: &[(
            "lines.iter().any(|line| is_in(line)) || is_in(rest)",
            "{ let _ = rest; lines.iter().any(|line| is_in(line)) }",
        )],
        breaks: "a look-up finds an event before one that a worker has handled",
        killers: &["loom::retained_races::a_look_up_meets_a_poster_that_stopped", "interrupted::"],
        ci: true,
    },
    Mutant {
        name: "retained: nothing is settled for a joiner",
        file: "retained.rs",
        edits: &[(
            "            if let Some(seen) = self.ring.unsettled(id) {\n                done +=",
            "            if let Some(seen) = self.ring.unsettled(id).filter(|_| false) {\n                done +=",
        )],
        breaks: "a joiner misses the event of a poster that stopped",
        killers: &["loom::retained_races::a_joiner_meets_a_poster"],
        ci: true,
    },
    Mutant {
        name: "retained: unsettled events are sought from a lap too late",
        file: "retained.rs",
        edits: &[(
            "        for id in from.max(to.saturating_sub(self.ring.capacity()))..to {\n            if let",
            "        for id in from.max(to.saturating_sub(self.ring.capacity() - 1))..to {\n            if let",
        )],
        breaks: "as above",
        killers: &["interrupted::"],
        ci: false,
    },
];

/// Edits that break nothing.
pub(crate) const REDUNDANT_RETAINED: &[Mutant] = &[
    Mutant {
        name: "retained: opened, and still closing",
        file: "retained/index.rs",
        edits: &[("        self.closing.remove(place);\n", "")],
        breaks: "nothing: the exchange has disturbed the sweeper, and the next sweeper checks announcements again",
        killers: &["retained_rule::", "loom::retained_races::"],
        ci: false,
    },
    Mutant {
        name: "retained: S4 before the copy",
        file: "retained.rs",
        edits: &[
            (
                "            if !self.ring.holds(id, seen) {\n                return Ok(false); // S4\n            }\n",
                "",
            ),
            (
                "            let own = hand.begin(&self.slots)?;\n",
                concat!(
                    "            if !self.ring.holds(id, seen) {\n",
                    "                return Ok(false);\n",
                    "            }\n",
                    "            let own = hand.begin(&self.slots)?;\n",
                ),
            ),
        ],
        breaks: "nothing: if the copy is not whole, the slot was exchanged, and the settling exchange fails",
        killers: &["loom::retained_races::"],
        ci: false,
    },
    Mutant {
        name: "retained: unsettled events are looked for without acquire",
        file: "ring.rs",
        edits: &[(
            concat!(
                "        // Acquire: as in `look`.\n",
                "        let seen = CellWord::from_bits(load_acquire(self.pool.cell(self.cell_of(id))));\n",
                "        (seen.phase()",
            ),
            concat!(
                "        let seen = CellWord::from_bits(self.pool.cell(self.cell_of(id)).load(Ordering::Relaxed));\n",
                "        (seen.phase()",
            ),
        )],
        breaks: "nothing: the seat learned with acquire that the id is taken, and that orders its cell and block too",
        killers: &["loom::retained_races::", "interrupted::"],
        ci: false,
    },
    Mutant {
        name: "retained: handed over from another key's place",
        file: "retained/index.rs",
        edits: &[("held.key == key && id < self.to", "({ let _ = key; true }) && id < self.to")],
        breaks: "nothing: the event of an earlier key is dead, and a reader may receive it",
        killers: &["retained_rule::", "interrupted::"],
        ci: false,
    },
    Mutant {
        name: "retained: announcements read without acquire",
        file: "retained.rs",
        edits: &[(
            "self.announced.as_slice().iter().map(load_acquire)",
            "self.announced.as_slice().iter().map(|word| word.load(Ordering::Relaxed))",
        )],
        breaks: "nothing: the fence before a slot's second look comes after it",
        killers: &[
            "loom::retained_races::an_announcer_meets_a_sweeper",
            "loom::retained_races::a_joiner_meets_a_poster",
        ],
        ci: false,
    },
];
