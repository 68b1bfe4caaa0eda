//! The deliberate bugs: one for each ordering, fence, second look and helper's step of the protocol.

use crate::large::LARGE;
use crate::relay::RELAY;
use crate::retained::{REDUNDANT_RETAINED, RETAINED};
use crate::room::{REDUNDANT_ROOM, ROOM};

/// A deliberate bug.
#[derive(Debug)]
pub(crate) struct Mutant {
    pub(crate) name: &'static str,
    /// Under `src/protocol`.
    pub(crate) file: &'static str,
    /// The text in the source, which occurs exactly once, and its replacement.
    pub(crate) edits: &'static [(&'static str, &'static str)],
    /// The effect of the bug.
    pub(crate) breaks: &'static str,
    /// The tests that find it, each as `suite::module::test`.
    pub(crate) killers: &'static [&'static str],
    /// In the subset for every change.
    pub(crate) ci: bool,
}

/// The test programs of this package that are built from `src/protocol`.
pub(crate) const SUITES: &[&str] = &["loom", "claim_rule", "retained_rule", "room_rule", "interrupted"];

/// Every deliberate bug.
pub(crate) fn every_mutant() -> impl Iterator<Item = &'static Mutant> {
    MUTANTS.iter().chain(RETAINED).chain(ROOM).chain(RELAY).chain(LARGE)
}

/// Every edit that breaks nothing.
pub(crate) fn every_redundant_edit() -> impl Iterator<Item = &'static Mutant> {
    REDUNDANT.iter().chain(REDUNDANT_RETAINED).chain(REDUNDANT_ROOM)
}

const MUTANTS: &[Mutant] = &[
    // The exchange, and readers beside it.
    Mutant {
        name: "unchanged without its fence",
        file: "pool.rs",
        edits: &[(
            "        fence(Ordering::Acquire);\n        CellWord::from_bits(self.cell(index).load(Ordering::Relaxed))",
            "        CellWord::from_bits(self.cell(index).load(Ordering::Relaxed))",
        )],
        breaks: "a reader accepts words of a later event: torn",
        killers: &["loom::post_races::a_reader_copies_while_a_lap_overwrites"],
        ci: true,
    },
    Mutant {
        name: "unchanged without its look",
        file: "pool.rs",
        edits: &[("        self.second_look(index).names_as(seen)", "        let _ = (index, seen);\n        true")],
        breaks: "a reader accepts overwritten words: torn, or another event",
        killers: &["loom::post_races::a_reader_copies_while_a_lap_overwrites"],
        ci: false,
    },
    Mutant {
        name: "begin without its fence",
        file: "pool.rs",
        edits: &[("        fence(Ordering::Release);\n        Ok(block)", "        Ok(block)")],
        breaks: "a writer's first words become visible before the exchange that made the block private: torn",
        killers: &["loom::post_races::a_reader_copies_while_a_lap_overwrites"],
        ci: true,
    },
    Mutant {
        name: "exchange without release",
        file: "pool.rs",
        edits: &[(
            "compare_exchange(seen.bits(), published.bits(), Ordering::SeqCst, Ordering::Relaxed); // P",
            "compare_exchange(seen.bits(), published.bits(), Ordering::Acquire, Ordering::Relaxed); // P",
        )],
        breaks: "a reader sees the cell before the payload: torn",
        killers: &["loom::post_races::a_reader_copies_while_a_lap_overwrites"],
        ci: true,
    },
    Mutant {
        name: "exchange without acquire and SeqCst",
        file: "pool.rs",
        edits: &[(
            "compare_exchange(seen.bits(), published.bits(), Ordering::SeqCst, Ordering::Relaxed); // P",
            "compare_exchange(seen.bits(), published.bits(), Ordering::Release, Ordering::Relaxed); // P",
        )],
        breaks: "a wake-up is lost",
        killers: &["loom::wake_races::a_sleeper_waits_for_a_post"],
        ci: false,
    },
    Mutant {
        name: "exchange without SeqCst",
        file: "pool.rs",
        edits: &[(
            "compare_exchange(seen.bits(), published.bits(), Ordering::SeqCst, Ordering::Relaxed); // P",
            "compare_exchange(seen.bits(), published.bits(), Ordering::AcqRel, Ordering::Relaxed); // P",
        )],
        breaks: "a wake-up is lost: the call looks for sleepers before the event is there",
        killers: &["loom::wake_races::a_sleeper_waits_for_a_post"],
        ci: true,
    },
    Mutant {
        name: "exchange as a store",
        file: "pool.rs",
        edits: &[(
            concat!(
                "            pool.cell(index).compare_exchange(seen.bits(), published.bits(), Ordering::SeqCst, ",
                "Ordering::Relaxed); // P",
            ),
            "            Ok::<u64, u64>(pool.cell(index).swap(published.bits(), Ordering::SeqCst));",
        )],
        breaks: "two posters get one id",
        killers: &["loom::post_races::two_posters_meet_in_one_cell"],
        ci: true,
    },
    Mutant {
        name: "a failed exchange taken for done",
        file: "pool.rs",
        edits: &[(
            "        if exchanged.is_err() {\n            return Ok(Exchange::Moved);\n        }",
            "        let _ = exchanged;",
        )],
        breaks: "a post returns the id of another post",
        killers: &["loom::post_races::two_posters_meet_in_one_cell"],
        ci: false,
    },
    Mutant {
        name: "look without acquire",
        file: "ring.rs",
        edits: &[(
            "        CellWord::from_bits(load_acquire(self.pool.cell(self.cell_of(id))))\n",
            "        CellWord::from_bits(self.pool.cell(self.cell_of(id)).load(Ordering::Relaxed))\n",
        )],
        breaks: "a reader sees the cell before the payload: torn",
        killers: &["loom::post_races::a_reader_copies_while_a_lap_overwrites"],
        ci: true,
    },
    Mutant {
        name: "published: any version",
        file: "ring.rs",
        edits: &[("        (seen.version() == self.version_of(id) && matches!(", "        (matches!(")],
        breaks: "a reader gets another event, or none that was ever posted, for the one that it is at",
        killers: &["loom::reserve_races::a_reader_takes_an_id_while_it_is_reserved_and_lapped"],
        ci: true,
    },
    Mutant {
        name: "published: any phase",
        file: "ring.rs",
        edits: &[(
            concat!(
                "        (seen.version() == self.version_of(id) && ",
                "matches!(seen.phase(), Phase::Published | Phase::Keep))\n",
            ),
            "        (seen.version() == self.version_of(id))\n",
        )],
        breaks: "a reader gets the payload of a reserved id before it is there",
        killers: &["loom::reserve_races::a_reader_takes_an_id_while_it_is_reserved_and_lapped"],
        ci: true,
    },
    Mutant {
        name: "id search: tail without acquire",
        file: "ring.rs",
        edits: &[(
            "let tail = self.ring.tail().load(Ordering::Acquire);",
            "let tail = self.ring.tail().load(Ordering::Relaxed);",
        )],
        breaks: "a poster reports a valid ring as corrupt",
        killers: &["loom::post_races::a_poster_that_stopped_moves_the_tail_late"],
        ci: true,
    },
    Mutant {
        name: "id search: cell without acquire",
        file: "ring.rs",
        edits: &[(
            "CellWord::from_bits(ring.pool.cell(ring.cell_of(id)).load(Ordering::Acquire));",
            "CellWord::from_bits(ring.pool.cell(ring.cell_of(id)).load(Ordering::Relaxed));",
        )],
        breaks: "a poster takes an old stamp for the stamp of the event that it erases",
        killers: &["loom::adopt_races::a_poster_is_killed_and_a_lap_confirms"],
        ci: false,
    },
    Mutant {
        name: "help_tail without release",
        file: "ring.rs",
        edits: &[(
            "compare_exchange(before, id, Ordering::Release, Ordering::Relaxed)",
            "compare_exchange(before, id, Ordering::Relaxed, Ordering::Relaxed)",
        )],
        breaks: "a poster reports a valid ring as corrupt",
        killers: &["loom::post_races::a_poster_goes_by_a_tail_that_a_third_has_moved"],
        ci: true,
    },
    Mutant {
        name: "help_tail as a store",
        file: "ring.rs",
        edits: &[(
            "            let _ = self.tail().compare_exchange(before, id, Ordering::Release, Ordering::Relaxed);",
            "            let _ = before;\n            self.tail().store(id, Ordering::Release);",
        )],
        breaks: "the event id moves back by more than a stretch",
        killers: &["loom::post_races::a_poster_that_stopped_moves_the_tail_late"],
        ci: true,
    },
    Mutant {
        name: "id search: tail not moved",
        file: "ring.rs",
        edits: &[("                    ring.help_tail(id);\n", "")],
        breaks: "the event id does not move, and a poster reports a valid ring as corrupt",
        killers: &["loom::post_races::a_stalled_poster_is_lapped"],
        ci: true,
    },
    Mutant {
        name: "id search: overtaken taken for corrupt",
        file: "ring.rs",
        edits: &[("if seen > version && tail <= self.id {", "if seen > version {")],
        breaks: "a lapped poster reports a valid ring as corrupt",
        killers: &["loom::post_races::a_stalled_poster_is_lapped"],
        ci: true,
    },
    Mutant {
        name: "a hand knows of one id too many",
        file: "pool.rs",
        edits: &[("        self.known = self.after_last;", "        self.known = self.after_last + 1;")],
        breaks: "an id is skipped: ids are not dense",
        killers: &["loom::post_races::two_posters_fill_two_cells"],
        ci: true,
    },
    Mutant {
        name: "newest without its look",
        file: "ring.rs",
        edits: &[("let stretch = tail..tail.saturating_add(self.stretch);", "let stretch = tail..tail;")],
        breaks: "a joiner gets an event that its parent has seen",
        killers: &["loom::post_races::a_joiner_starts_after_what_it_has_heard_of"],
        ci: true,
    },
    Mutant {
        name: "resume where it was",
        file: "ring.rs",
        edits: &[("above_oldest.max(next.saturating_add(1))", "above_oldest.max(next)")],
        breaks: "a lapped reader makes no progress",
        killers: &["loom::post_races::a_reader_that_was_lapped_goes_on"],
        ci: false,
    },
    Mutant {
        name: "a lap of just one id is denied",
        file: "ring.rs",
        edits: &[("self.first_of_stretch(lapping) <= tail", "self.first_of_stretch(lapping) < tail")],
        breaks: "a lapped reader reports a valid ring as corrupt",
        killers: &["loom::post_races::a_reader_copies_while_a_lap_overwrites"],
        ci: false,
    },
    // The helper's confirmation, and adoption.
    Mutant {
        name: "exchange without confirmation",
        file: "pool.rs",
        edits: &[(
            concat!(
                "        if !pool.confirm(self.seat, index, seen)? {\n",
                "            return Ok(Exchange::Moved);\n",
                "        }\n",
                "        let published",
            ),
            "        let published",
        )],
        breaks: "the successor of a dead poster takes its lapped event for one that never existed: a block in two \
            places",
        killers: &["loom::adopt_races::a_poster_is_killed_and_a_lap_confirms"],
        ci: true,
    },
    Mutant {
        name: "mark without confirmation",
        file: "pool.rs",
        edits: &[(
            concat!(
                "        // It ends the previous publication, which must be confirmed first, as for any exchange.\n",
                "        if !pool.confirm(self.seat, index, seen)? {",
            ),
            "        if false {",
        )],
        breaks: "as above, where a reservation laps",
        killers: &["loom::adopt_races::a_poster_is_killed_and_a_reserve_laps"],
        ci: true,
    },
    Mutant {
        name: "confirm without its look",
        file: "pool.rs",
        edits: &[("        if !self.unchanged(index, seen) {\n            return Ok(false);\n        }\n", "")],
        breaks: "a helper confirms an attempt that has not happened: a block is lost",
        killers: &["loom::adopt_races::a_poster_is_killed_over_its_own_event"],
        ci: true,
    },
    Mutant {
        name: "confirm without H2",
        file: "pool.rs",
        edits: &[(
            "word.compare_exchange(stamp.bits(), stamp.confirmed().bits(), Ordering::AcqRel, Ordering::Relaxed);",
            "word.compare_exchange(stamp.bits(), stamp.bits(), Ordering::AcqRel, Ordering::Relaxed);",
        )],
        breaks: "as in \"exchange without confirmation\"",
        killers: &["loom::adopt_races::a_poster_is_killed_and_a_lap_confirms"],
        ci: false,
    },
    Mutant {
        name: "H2 as a store",
        file: "pool.rs",
        edits: &[(
            concat!(
                "        let _ = word.compare_exchange(stamp.bits(), stamp.confirmed().bits(), Ordering::AcqRel, ",
                "Ordering::Relaxed);",
            ),
            "        word.store(stamp.confirmed().bits(), Ordering::Release);",
        )],
        breaks: "a helper that stopped erases a later stamp",
        killers: &["loom::adopt_races::a_helper_that_stopped_confirms_late"],
        ci: false,
    },
    Mutant {
        name: "confirm trusts every seat",
        file: "pool.rs",
        edits: &[("stamp.is_confirmed() || stamp.seat() == me", "true")],
        breaks: "as in \"exchange without confirmation\"",
        killers: &["loom::adopt_races::a_poster_is_killed_and_a_lap_confirms"],
        ci: false,
    },
    Mutant {
        name: "A1 after the exchange",
        file: "pool.rs",
        edits: &[
            ("        self.shared.at(ATTEMPT).store(self.attempt, Ordering::Relaxed); // A1\n", ""),
            (
                "        self.own = old;\n",
                "        self.shared.at(ATTEMPT).store(self.attempt, Ordering::Relaxed);\n        self.own = old;\n",
            ),
        ],
        breaks: "an attempt's number is used twice: two claims with one token",
        killers: &["loom::claim_races::a_claimer_is_killed_and_another_decides"],
        ci: true,
    },
    Mutant {
        name: "A2 after the exchange",
        file: "pool.rs",
        edits: &[
            (
                concat!(
                    "        block[CELL].store(index as u64, Ordering::Release); // A2\n",
                    "        block[VERSION].store(version, Ordering::Release);\n",
                ),
                "",
            ),
            (
                "        self.own = old;\n",
                concat!(
                    "        block[CELL].store(index as u64, Ordering::Release);\n",
                    "        block[VERSION].store(version, Ordering::Release);\n",
                    "        self.own = old;\n",
                ),
            ),
        ],
        breaks: "an adopter looks for the event in the wrong cell",
        killers: &["loom::adopt_races::a_poster_is_killed_and_a_lap_confirms"],
        ci: false,
    },
    Mutant {
        name: "A3 missing",
        file: "pool.rs",
        edits: &[(
            "        block[STAMP].store(Stamp::new(self.attempt, self.seat).bits(), Ordering::Release); // A3\n",
            "",
        )],
        breaks: "an adopter takes an attempt for one that was confirmed long ago",
        killers: &["loom::adopt_races::a_poster_is_killed_and_a_lap_confirms"],
        ci: false,
    },
    Mutant {
        name: "A4 before A3",
        file: "pool.rs",
        edits: &[
            ("        self.shared.at(PREV).store(u64::from(old), Ordering::Release); // A4\n", ""),
            (
                "        block[CELL].store(index as u64, Ordering::Release); // A2\n",
                concat!(
                    "        self.shared.at(PREV).store(u64::from(old), Ordering::Release);\n",
                    "        block[CELL].store(index as u64, Ordering::Release); // A2\n",
                ),
            ),
        ],
        breaks: "an adopter takes the block that the dead seat was to get, although no attempt began",
        killers: &["loom::adopt_races::a_poster_is_killed_and_a_lap_confirms"],
        ci: true,
    },
    Mutant {
        name: "A4 after the exchange",
        file: "pool.rs",
        edits: &[
            ("        self.shared.at(PREV).store(u64::from(old), Ordering::Release); // A4\n", ""),
            (
                "        self.own = old;\n",
                "        self.shared.at(PREV).store(u64::from(old), Ordering::Release);\n        self.own = old;\n",
            ),
        ],
        breaks: "an adopter does not know which block the dead seat was to get",
        killers: &["loom::adopt_races::a_poster_is_killed_and_a_lap_confirms"],
        ci: false,
    },
    Mutant {
        name: "own not stored after the exchange",
        file: "pool.rs",
        edits: &[(
            "        self.shared.at(OWN).store(u64::from(old), Ordering::Release);\n        Ok(Exchange::Done)",
            "        Ok(Exchange::Done)",
        )],
        breaks: "an adopter looks at the block of the previous exchange",
        killers: &["loom::adopt_races::a_poster_is_killed_over_its_own_event"],
        ci: true,
    },
    Mutant {
        name: "adopt without its second look at the stamp",
        file: "pool.rs",
        edits: &[("if !is_named && stamp_after == stamp { own }", "if !is_named { let _ = stamp_after; own }")],
        breaks: "an adopter misses a confirmation that arrives while it looks",
        killers: &["loom::adopt_races::a_poster_is_killed_and_a_lap_confirms"],
        ci: true,
    },
    Mutant {
        name: "adopt without its look at the cell",
        file: "pool.rs",
        edits: &[("if !is_named && stamp_after == stamp { own }", "if stamp_after == stamp { let _ = is_named; own }")],
        breaks: "an adopter takes a public block for its own",
        killers: &["loom::adopt_races::a_poster_is_killed_and_a_lap_confirms"],
        ci: true,
    },
    Mutant {
        name: "adopt: second look at the stamp before the cell",
        file: "pool.rs",
        edits: &[
            (
                "            let is_named = index <",
                concat!(
                    "            let stamp_after = Stamp::from_bits(block[STAMP].load(Ordering::Acquire));\n",
                    "            let is_named = index <",
                ),
            ),
            (
                concat!(
                    "            };\n",
                    "            let stamp_after = Stamp::from_bits(block[STAMP].load(Ordering::Acquire));\n",
                ),
                "            };\n",
            ),
        ],
        breaks: "an adopter misses a confirmation that arrives while it looks",
        killers: &["loom::adopt_races::a_poster_is_killed_and_a_lap_confirms"],
        ci: false,
    },
    Mutant {
        name: "adopt: confirmation not checked",
        file: "pool.rs",
        edits: &[("stamp.seat() == seat && !stamp.is_confirmed()", "stamp.seat() == seat")],
        breaks: "an adopter takes a lapped event's block for its own",
        killers: &["loom::adopt_races::a_poster_is_killed_and_a_lap_confirms"],
        ci: true,
    },
    Mutant {
        name: "adopt: cell without acquire",
        file: "pool.rs",
        edits: &[(
            "pool.cell(index as usize).load(Ordering::Acquire));",
            "pool.cell(index as usize).load(Ordering::Relaxed));",
        )],
        breaks: "an adopter sees the cell without the name and the stamp without the confirmation",
        killers: &["loom::adopt_races::a_poster_is_killed_and_a_lap_confirms"],
        ci: true,
    },
    Mutant {
        name: "adopt stores nothing",
        file: "pool.rs",
        edits: &[(
            "        if held == own {\n            shared.at(PREV)",
            "        if true {\n        } else if held == own {\n            shared.at(PREV)",
        )],
        breaks: "the next adopter reads the state that the first dead holder left",
        killers: &["loom::adopt_races::an_adopter_is_killed_too"],
        ci: true,
    },
    Mutant {
        name: "adopt stores in two steps that do not repeat",
        file: "pool.rs",
        edits: &[(
            "        if held == own {\n            shared.at(PREV)",
            concat!(
                "        if held != own {\n",
                "            shared.at(PREV).store(u64::from(own), Ordering::Release);\n",
                "            shared.at(OWN).store(u64::from(held), Ordering::Release);\n",
                "        } else if held == own {\n",
                "            shared.at(PREV)",
            ),
        )],
        breaks: "an adopter that is killed between the two stores leaves another result",
        killers: &["loom::adopt_races::an_adopter_is_killed_too"],
        ci: true,
    },
    Mutant {
        name: "adopt: attempts start again from 0",
        file: "pool.rs",
        edits: &[("let attempt = shared.at(ATTEMPT).load(Ordering::Acquire);", "let attempt = 0;")],
        breaks: "an attempt's number is used twice: two claims with one token, and a helper that stopped confirms the \
            wrong one",
        killers: &[
            "loom::claim_races::a_claimer_is_killed_and_another_decides",
            "loom::adopt_races::a_helper_that_stopped_confirms_late",
        ],
        ci: false,
    },
    // Reserved ids.
    Mutant {
        name: "reserved said after the reservation",
        file: "ring.rs",
        edits: &[
            ("            reserved.store(id + 1, Ordering::Release);\n", ""),
            (
                concat!(
                    "                hand.has_taken(id);\n",
                    "                return Ok(id);\n",
                    "            }\n",
                    "        }\n",
                    "    }\n",
                    "\n",
                    "    /// Makes",
                ),
                concat!(
                    "                reserved.store(id + 1, Ordering::Release);\n",
                    "                hand.has_taken(id);\n",
                    "                return Ok(id);\n",
                    "            }\n",
                    "        }\n",
                    "    }\n",
                    "\n",
                    "    /// Makes",
                ),
            ),
        ],
        breaks: "a reader voids an id that a live worker has just reserved",
        killers: &["loom::reserve_races::a_reader_asks_for_the_reserver"],
        ci: true,
    },
    Mutant {
        name: "reserved cleared before the commit",
        file: "ring.rs",
        edits: &[
            (
                "        let fate = match self.look(id)? {",
                "        self.forget_reservation(hand.seat());\n        let fate = match self.look(id)? {",
            ),
            ("        self.forget_reservation(hand.seat());\n        Ok(fate)", "        Ok(fate)"),
        ],
        breaks: "a reader voids an id that a live worker is about to commit",
        killers: &["loom::reserve_races::a_reader_asks_for_the_reserver"],
        ci: true,
    },
    Mutant {
        name: "mark without release",
        file: "pool.rs",
        edits: &[(
            "compare_exchange(seen.bits(), to.bits(), Ordering::SeqCst, Ordering::Relaxed)",
            "compare_exchange(seen.bits(), to.bits(), Ordering::Acquire, Ordering::Relaxed)",
        )],
        breaks: "a reader sees the reservation but not its holder",
        killers: &["loom::reserve_races::a_reader_asks_for_the_reserver"],
        ci: true,
    },
    Mutant {
        name: "mark without SeqCst",
        file: "pool.rs",
        edits: &[(
            "compare_exchange(seen.bits(), to.bits(), Ordering::SeqCst, Ordering::Relaxed)",
            "compare_exchange(seen.bits(), to.bits(), Ordering::AcqRel, Ordering::Relaxed)",
        )],
        breaks: "a wake-up is lost: the call looks for sleepers before the void is there",
        killers: &["loom::wake_races::a_sleeper_waits_for_a_void"],
        ci: true,
    },
    Mutant {
        name: "reserve forgets without voiding",
        file: "ring.rs",
        edits: &[("        self.abandon(hand.seat())?;\n", "")],
        breaks: "an id that will never be committed stays reserved",
        killers: &["loom::reserve_races::a_forgotten_reservation_is_voided_by_the_next"],
        ci: true,
    },
    Mutant {
        name: "commit forgets whatever is reserved",
        file: "ring.rs",
        edits: &[("        if self.reserved_by(hand.seat()) != Some(id) {", "        if false {")],
        breaks: "another thread of the worker loses the id that it has just reserved",
        killers: &["loom::reserve_races::two_threads_of_a_worker_reserve_and_commit"],
        ci: true,
    },
    Mutant {
        name: "void takes events too",
        file: "ring.rs",
        edits: &[(
            "let Look::Reserved(seen) = self.look(id)? else",
            "let (Look::Reserved(seen) | Look::Published(seen)) = self.look(id)? else",
        )],
        breaks: "an event that some readers have read is void for others",
        killers: &["loom::reserve_races::a_commit_meets_a_void_by_a_reader"],
        ci: true,
    },
    Mutant {
        name: "commit with the next lap's version",
        file: "ring.rs",
        edits: &[("seen, seen.version(), Phase::Published)?", "seen, seen.version() + 1, Phase::Published)?")],
        breaks: "the reserved id is never decided, and a later one is taken without need",
        killers: &["loom::reserve_races::a_commit_meets_a_void_by_a_reader"],
        ci: false,
    },
    Mutant {
        name: "an idle look at the lap after",
        file: "word.rs",
        edits: &[(
            "self.0 >> CellWord::VERSION_SHIFT << CellWord::VERSION_SHIFT",
            "((self.0 >> CellWord::VERSION_SHIFT) + 1) << CellWord::VERSION_SHIFT",
        )],
        breaks: "an idle poll reports nothing although there is an event",
        killers: &["loom::mark_races::an_idle_look_beside_a_poll_that_comes_to_the_next_lap"],
        ci: true,
    },
    // Claims.
    Mutant {
        name: "snapshot without acquire",
        file: "claims.rs",
        edits: &[(
            "CellWord::from_bits(load_acquire(self.pool.cell(index)));",
            "CellWord::from_bits(self.pool.cell(index).load(Ordering::Relaxed));",
        )],
        breaks: "a bucket is seen without its entries",
        killers: &["loom::claim_races::two_claim_one_key"],
        ci: true,
    },
    Mutant {
        name: "snapshot without its second look",
        file: "claims.rs",
        edits: &[(
            "            if !self.pool.unchanged(index, seen) {\n                continue;\n            }\n",
            "",
        )],
        breaks: "a torn bucket is taken for a valid one",
        killers: &["loom::claim_races::a_claimer_copies_a_bucket_that_is_written_again"],
        ci: true,
    },
    Mutant {
        name: "claim not tried again",
        file: "claims.rs",
        edits: &[(
            concat!(
                "            if self.replace(hand, index, seen, bucket)? == Exchange::Done {\n",
                "                return Ok(decision);\n",
                "            }",
            ),
            "            self.replace(hand, index, seen, bucket)?;\n            return Ok(decision);",
        )],
        breaks: "two workers run one event",
        killers: &["loom::claim_races::two_reach_one_unique_event"],
        ci: true,
    },
    Mutant {
        name: "release not tried again",
        file: "claims.rs",
        edits: &[(
            concat!(
                "            if self.replace(hand, index, seen, bucket)? == Exchange::Done {\n",
                "                return Ok(true);\n",
                "            }",
            ),
            "            self.replace(hand, index, seen, bucket)?;\n            return Ok(true);",
        )],
        breaks: "a release is lost",
        killers: &["loom::claim_races::a_release_meets_a_claim_of_another_key"],
        ci: false,
    },
    Mutant {
        name: "release without its token",
        file: "bucket.rs",
        edits: &[("if !entry.token.is_same_win(token) || entry.deadline <= now", "if entry.deadline <= now")],
        breaks: "a late release ends the next holder's claim, and a late renewal extends it",
        killers: &[
            "loom::claim_races::a_late_release_meets_the_next_holder",
            "loom::life_races::a_renewal_meets_a_claim_at_the_end_of_the_ttl",
        ],
        ci: true,
    },
    Mutant {
        name: "a bucket's version stands still",
        file: "claims.rs",
        edits: &[("let version = seen.version() + 1;", "let version = seen.version().max(1);")],
        breaks: "a stale exchange succeeds",
        killers: &["loom::claim_races::a_claimer_copies_a_bucket_that_is_written_again"],
        ci: false,
    },
    // Claims without an event, in place.
    Mutant {
        name: "in place: cell without acquire",
        file: "claims.rs",
        edits: &[(
            "CellWord::from_bits(self.pool.cell(bucket).load(Ordering::Acquire));",
            "CellWord::from_bits(self.pool.cell(bucket).load(Ordering::Relaxed));",
        )],
        breaks: "a claimer reads a bucket before it is written",
        killers: &["loom::claim_races::two_claim_one_key"],
        ci: true,
    },
    Mutant {
        name: "in place: held without the second look",
        file: "claims.rs",
        edits: &[(
            "        self.pool.unchanged(bucket, seen).then_some(Decision::Held { by: entry.token, left })",
            "        let _ = (bucket, seen);\n        Some(Decision::Held { by: entry.token, left })",
        )],
        breaks: "a claimer reports one claim with the words of another",
        killers: &["loom::claim_races::a_claimer_looks_at_a_bucket_that_is_written_again"],
        ci: false,
    },
    Mutant {
        name: "in place: held without the second look, by the clock",
        file: "claims.rs",
        edits: &[("return Ok(self.pool.unchanged(bucket, seen).then_some(held));", "return Ok(Some(held));")],
        breaks: "a claimer reports one claim with the words of another",
        killers: &["loom::claim_races::a_claimer_in_place_meets_a_bucket_that_is_written_again"],
        ci: false,
    },
    Mutant {
        name: "in place: moved taken for done",
        file: "claims.rs",
        edits: &[(
            "            Exchange::Moved => None,",
            "            Exchange::Moved => Some(Decision::Won(token)),",
        )],
        breaks: "two workers win one key",
        killers: &["loom::claim_races::two_claim_one_key"],
        ci: true,
    },
    Mutant {
        name: "in place: other claims are not kept",
        file: "claims.rs",
        edits: &[(
            "                entry.store(slot);\n                kept += 1;",
            "                entry.store(slot);",
        )],
        breaks: "a key is won while it is held",
        killers: &[
            "loom::claim_races::two_claim_two_keys_of_one_bucket",
            "claim_rule::in_place::a_claim_in_place_does_what_the_rule_does",
        ],
        ci: true,
    },
    Mutant {
        name: "in place: claims that decided events are dropped",
        file: "claims.rs",
        edits: &[("} else if entry.last != 0 {", "} else if false {")],
        breaks: "an event that was decided under an ended claim is run again",
        killers: &["claim_rule::in_place::a_claim_in_place_does_what_the_rule_does"],
        ci: true,
    },
    Mutant {
        name: "in place: the floor is forgotten",
        file: "claims.rs",
        edits: &[(
            "head[0].store(floor.load(Ordering::Relaxed), Ordering::Relaxed);",
            "head[0].store(0 * floor.load(Ordering::Relaxed), Ordering::Relaxed);",
        )],
        breaks: "an event that the bucket has forgotten is run twice",
        killers: &["claim_rule::in_place::a_claim_in_place_does_what_the_rule_does"],
        ci: true,
    },
    Mutant {
        name: "in place: the holder is not checked",
        file: "claims.rs",
        edits: &[("                if own == Some(e) {", "                if own == Some(e) && false {")],
        breaks: "a key has two holders",
        killers: &[
            "loom::claim_races::two_claim_one_key",
            "claim_rule::in_place::a_claim_in_place_does_what_the_rule_does",
        ],
        ci: true,
    },
    // Claims that end with their holders, renewals.
    Mutant {
        name: "life: dead holders are not checked",
        file: "bucket.rs",
        edits: &[("            && !entry.has_ended_with_holder(&is_over)\n", "")],
        breaks: "a claim of a dead holder is held until its ttl ends",
        killers: &[
            "loom::life_races::a_holder_is_killed_and_another_takes_over",
            "claim_rule::claims_that_end_with_their_holders",
        ],
        ci: true,
    },
    Mutant {
        name: "life: no claim is marked as ending with its holder",
        file: "bucket.rs",
        edits: &[(
            "Token(Stamp::new(attempt, seat).bits() | ends as u64)",
            "{ let _ = ends; Token(Stamp::new(attempt, seat).bits()) }",
        )],
        breaks: "a claim of a dead holder is held until its ttl ends",
        killers: &["loom::life_races::two_rescuers_meet_over_a_claim_of_the_dead"],
        ci: false,
    },
    Mutant {
        name: "life: every claim ends with its holder",
        file: "bucket.rs",
        edits: &[("self.token.ends_with_holder() && is_over(self.token)", "is_over(self.token)")],
        breaks: "a claim that outlives its holder is won while it is held",
        killers: &["claim_rule::claims_without_an_event_share_the_bucket"],
        ci: true,
    },
    Mutant {
        name: "life: dead holders make no room",
        file: "bucket.rs",
        edits: &[("match oldest.or_else(of_dead) {", "match oldest.or_else(|| of_dead().filter(|_| false)) {")],
        breaks: "a bucket stays full of claims of dead holders",
        killers: &["claim_rule::a_claim_of_the_dead_makes_room"],
        ci: false,
    },
    Mutant {
        name: "life: a tenure is not ended",
        file: "claims.rs",
        edits: &[(
            "self.seats.at(words + CLAIMS_BEFORE).store(won_before, Ordering::Relaxed); // T",
            "let _ = won_before; // T",
        )],
        breaks: "the next holder of a seat keeps the claims of the dead one",
        killers: &["loom::life_races::a_rescuer_meets_the_next_holder_of_the_seat"],
        ci: true,
    },
    Mutant {
        name: "life: the last attempt of a tenure is left out",
        file: "claims.rs",
        edits: &[("by.attempt() <= before.load", "by.attempt() < before.load")],
        breaks: "the next holder of a seat keeps the last claim of the dead one",
        killers: &["loom::life_races::a_rescuer_meets_the_next_holder_of_the_seat"],
        ci: true,
    },
    Mutant {
        name: "life: all claims are of an earlier tenure",
        file: "claims.rs",
        edits: &[("by.attempt() <= before.load(Ordering::Relaxed)", "before.load(Ordering::Relaxed) > 0")],
        breaks: "a claim of a holder that lives is taken over",
        killers: &["loom::life_races::a_rescuer_meets_the_next_holder_of_the_seat"],
        ci: true,
    },
    Mutant {
        name: "life: the lock is not checked",
        file: "claims.rs",
        edits: &[(
            "self.is_of_earlier_tenure(by) || locks.is_free(by.seat()) // D2",
            "{ let _ = locks; self.is_of_earlier_tenure(by) }",
        )],
        breaks: "a claim of a dead holder is held until another process takes the seat",
        killers: &[
            "loom::life_races::two_rescuers_meet_over_a_claim_of_the_dead",
            "loom::life_races::a_holder_is_killed_and_another_takes_over",
        ],
        ci: true,
    },
    Mutant {
        name: "life: a look-up takes every claim as held",
        file: "claims.rs",
        edits: &[("        if entry.token.ends_with_holder() {\n            return None;\n        }\n", "")],
        breaks: "a claim of a dead holder is held until its ttl ends",
        killers: &["loom::life_races::two_rescuers_meet_over_a_claim_of_the_dead"],
        ci: true,
    },
    Mutant {
        name: "life: a claim in place takes every claim as held",
        file: "claims.rs",
        edits: &[(
            concat!(
                "                    if entry.token.ends_with_holder() {\n",
                "                        return Ok(None);\n",
                "                    }\n",
            ),
            "",
        )],
        breaks: "a claim of a dead holder is held until its ttl ends",
        killers: &["loom::life_races::two_rescuers_meet_over_a_claim_of_the_dead"],
        ci: true,
    },
    Mutant {
        name: "extend: a claim that ended with its holder",
        file: "bucket.rs",
        edits: &[(" || entry.has_ended_with_holder(is_over) {", " {")],
        breaks: "a claim of a dead holder is renewed for a worker that does not hold it",
        killers: &["claim_rule::a_claim_that_ended_with_its_holder_is_lost"],
        ci: false,
    },
    Mutant {
        name: "extend: a claim that is completed still ends with its holder",
        file: "bucket.rs",
        edits: &[("                entry.token = entry.token.outliving();\n", "")],
        breaks: "completed work is done again",
        killers: &[
            "loom::life_races::a_completed_claim_meets_a_rescuer",
            "claim_rule::claims_that_end_with_their_holders",
        ],
        ci: true,
    },
    Mutant {
        name: "extend: a completed claim is another win",
        file: "bucket.rs",
        edits: &[("self.outliving().0 == other.outliving().0", "self.0 == other.0")],
        breaks: "a completed claim cannot be renewed or released",
        killers: &["claim_rule::a_claim_that_ended_with_its_holder_is_lost"],
        ci: false,
    },
    Mutant {
        name: "extend: the clock wraps",
        file: "bucket.rs",
        edits: &[(
            "        entry.deadline = now.saturating_add(ttl);",
            "        entry.deadline = now.wrapping_add(ttl);",
        )],
        breaks: "a claim without an end has ended",
        killers: &["claim_rule::a_claim_that_ended_with_its_holder_is_lost"],
        ci: false,
    },
    Mutant {
        name: "extend: a claim is lost to an ended claim",
        file: "bucket.rs",
        edits: &[("(entry.deadline > now && !", "(!")],
        breaks: "a claim that no worker holds is lost to one that does not hold it",
        killers: &["claim_rule::a_claim_that_ended_with_its_holder_is_lost"],
        ci: false,
    },
    Mutant {
        name: "extend: a claim is lost to a dead holder",
        file: "bucket.rs",
        edits: &[(
            "(entry.deadline > now && !entry.has_ended_with_holder(is_over))",
            "{ let _ = is_over; entry.deadline > now }",
        )],
        breaks: "as above",
        killers: &["claim_rule::a_claim_that_ended_with_its_holder_is_lost"],
        ci: false,
    },
    Mutant {
        name: "extend: not tried again",
        file: "claims.rs",
        edits: &[(
            concat!(
                "            if self.replace(hand, index, seen, bucket)? == Exchange::Done {\n",
                "                return Ok(Extended::Done);\n",
                "            }",
            ),
            "            self.replace(hand, index, seen, bucket)?;\n            return Ok(Extended::Done);",
        )],
        breaks: "a renewal is lost",
        killers: &["loom::life_races::a_renewal_meets_a_claim_of_another_key"],
        ci: true,
    },
    // The rule of unique events.
    Mutant {
        name: "rule: decided events are not looked up",
        file: "bucket.rs",
        edits: &[("            Some(Decision::Decided)\n        } else if", "            None\n        } else if")],
        breaks: "an event is run twice",
        killers: &["claim_rule::one_key_and_a_ring_that_holds_everything"],
        ci: true,
    },
    Mutant {
        name: "rule: the floor is not checked",
        file: "bucket.rs",
        edits: &[("} else if at.place <= self.floor {", "} else if at.place == 0 {")],
        breaks: "an event that the bucket has forgotten is run twice",
        killers: &["claim_rule::one_key_and_a_ring_that_laps"],
        ci: true,
    },
    Mutant {
        name: "rule: unread events between are not considered",
        file: "bucket.rs",
        edits: &[("if at.place > last && at.since > last.saturating_add(1) {", "if false {")],
        breaks: "an event that no worker has read for the entry counts as decided: lost silently",
        killers: &["claim_rule::one_key_and_a_ring_that_laps"],
        ci: true,
    },
    Mutant {
        name: "rule: unread events between: floor not raised",
        file: "bucket.rs",
        edits: &[(
            "                self.raise_floor(last);\n                self.entries[e].first = at.since;",
            "                self.entries[e].first = at.since;",
        )],
        breaks: "an event that was decided before the gap is run again",
        killers: &["claim_rule::one_key_and_a_ring_that_laps"],
        ci: true,
    },
    Mutant {
        name: "rule: unread events between: first kept",
        file: "bucket.rs",
        edits: &[(
            "                self.raise_floor(last);\n                self.entries[e].first = at.since;",
            "                self.raise_floor(last);",
        )],
        breaks: "an event that no worker has read for the entry counts as decided: lost silently",
        killers: &["claim_rule::one_key_and_a_ring_that_laps"],
        ci: false,
    },
    Mutant {
        name: "rule: an event before first is not considered",
        file: "bucket.rs",
        edits: &[("} else if at.place.saturating_add(1) < first {", "} else if false {")],
        breaks: "an event before the entry is run twice",
        killers: &["claim_rule::three_workers"],
        ci: false,
    },
    Mutant {
        name: "rule: first goes back over a gap",
        file: "bucket.rs",
        edits: &[("if place.saturating_add(1) == self.first { place } else { self.first }", "self.first.min(place)")],
        breaks: "an undecided event in between counts as decided: lost silently",
        killers: &["claim_rule::one_key_and_a_ring_that_laps"],
        ci: false,
    },
    Mutant {
        name: "rule: last goes back",
        file: "bucket.rs",
        edits: &[("(first, self.last.max(place))", "(first, place)")],
        breaks: "an event is run twice",
        killers: &["claim_rule::one_key_and_a_ring_that_laps"],
        ci: false,
    },
    Mutant {
        name: "rule: held at the deadline",
        file: "bucket.rs",
        edits: &[("checked_sub(now).filter(|&left| left > 0)?", "checked_sub(now)?")],
        breaks: "an event is ignored although its key is free",
        killers: &["claim_rule::one_key_and_a_ring_that_holds_everything"],
        ci: false,
    },
    Mutant {
        name: "rule: the holder is not checked",
        file: "bucket.rs",
        edits: &[(
            "            && let Some(held) = entry.held_at(now)",
            "            && let Some(held) = entry.held_at(now).filter(|_| false)",
        )],
        breaks: "a key is won while it is held",
        killers: &["claim_rule::one_key_and_a_ring_that_holds_everything"],
        ci: true,
    },
    Mutant {
        name: "rule: an ignored event is not remembered",
        file: "bucket.rs",
        edits: &[(
            "            (entry.first, entry.last) = entry.range_with(at.place);\n            return",
            "            return",
        )],
        breaks: "an event is ignored by one worker and run by another",
        killers: &["claim_rule::one_key_and_a_ring_that_holds_everything"],
        ci: true,
    },
    Mutant {
        name: "rule: the entry before is forgotten",
        file: "bucket.rs",
        edits: &[(
            "        let before = found.map(|e| self.entries.swap_remove(e));",
            "        let before = found.map(|e| self.entries.swap_remove(e)).filter(|_| false);",
        )],
        breaks: "an event that was decided under the ended claim is run again",
        killers: &["claim_rule::one_key_and_a_ring_that_holds_everything"],
        ci: true,
    },
    Mutant {
        name: "rule: held keys are swept too",
        file: "bucket.rs",
        edits: &[("|entry| entry.deadline <= now && entry.last < oldest", "|entry| entry.last < oldest")],
        breaks: "a key is won while it is held",
        killers: &["claim_rule::two_keys_and_room_for_both"],
        ci: false,
    },
    Mutant {
        name: "rule: keys of the ring are swept too",
        file: "bucket.rs",
        edits: &[(
            "|entry| entry.deadline <= now && entry.last < oldest",
            "|entry| entry.deadline <= now && entry.last <= u64::MAX - 0 * oldest",
        )],
        breaks: "workers are late although nothing left the ring",
        killers: &["claim_rule::two_keys_and_a_ring_that_holds_everything"],
        ci: false,
    },
    Mutant {
        name: "rule: nothing is swept",
        file: "bucket.rs",
        edits: &[("        self.sweep(now, oldest);\n", "        let _ = oldest;\n")],
        breaks: "buckets grow to their limit and stay there",
        killers: &["claim_rule::what_left_the_ring_is_forgotten"],
        ci: false,
    },
    Mutant {
        name: "rule: forgetting does not raise the floor",
        file: "bucket.rs",
        edits: &[("        self.raise_floor(entry.last);", "        let _ = entry;")],
        breaks: "a forgotten event is run twice",
        killers: &["claim_rule::two_keys_and_room_for_both", "claim_rule::two_keys_and_room_for_one"],
        ci: true,
    },
    Mutant {
        name: "rule: held keys make room",
        file: "bucket.rs",
        edits: &[(
            "filter(|(_, entry)| entry.deadline <= now);",
            "filter(|(_, entry)| entry.deadline <= now || true);",
        )],
        breaks: "a key is won while it is held",
        killers: &["claim_rule::two_keys_and_room_for_one"],
        ci: false,
    },
    Mutant {
        name: "rule: the newest ended key makes room",
        file: "bucket.rs",
        edits: &[("ended.min_by_key(", "ended.max_by_key(")],
        breaks: "the bucket forgets more than it has to",
        killers: &["claim_rule::the_oldest_ended_key_makes_room"],
        ci: false,
    },
    Mutant {
        name: "rule: no room is made",
        file: "bucket.rs",
        edits: &[("match oldest.or_else(of_dead) {", "match oldest.or_else(of_dead).filter(|_| false) {")],
        breaks: "a bucket is full of keys that ended",
        killers: &["claim_rule::the_oldest_ended_key_makes_room"],
        ci: false,
    },
    Mutant {
        name: "rule: a new entry begins at the floor",
        file: "bucket.rs",
        edits: &[(
            "(at.since.max(self.floor.saturating_add(1)), at.place)",
            "(self.floor.saturating_add(1), at.place)",
        )],
        breaks: "an event that no worker has read counts as decided: lost silently",
        killers: &["claim_rule::one_key_and_a_ring_that_laps", "claim_rule::one_key_and_a_ring_that_holds_everything"],
        ci: false,
    },
    Mutant {
        name: "rule: a release forgets what was decided",
        file: "bucket.rs",
        edits: &[(
            "        if entry.last == 0 {\n            self.entries",
            "        if entry.last == 0 || true {\n            self.entries",
        )],
        breaks: "a released event is run again",
        killers: &["claim_rule::one_key_and_a_ring_that_holds_everything"],
        ci: false,
    },
    Mutant {
        name: "rule: a release leaves the claim",
        file: "bucket.rs",
        edits: &[("            entry.deadline = 0;", "            entry.deadline -= 0;")],
        breaks: "a released key stays held",
        killers: &["claim_rule::one_key_and_a_ring_that_holds_everything"],
        ci: false,
    },
    Mutant {
        name: "rule: a release after the end",
        file: "bucket.rs",
        edits: &[("is_same_win(token) || entry.deadline <= now ||", "is_same_win(token) ||")],
        breaks: "a worker reports the release of a claim that was no longer its own",
        killers: &["claim_rule::one_key_and_a_ring_that_holds_everything"],
        ci: false,
    },
    Mutant {
        name: "rule: claims without an event leave a trace",
        file: "bucket.rs",
        edits: &[("            (None, _) => (0, 0),", "            (None, _) => (1, 1),")],
        breaks: "a claim without an event makes events late",
        killers: &["claim_rule::forgetting_a_claim_without_an_event_makes_nobody_late"],
        ci: false,
    },
    // The wake word.
    Mutant {
        name: "notify without SeqCst",
        file: "wake.rs",
        edits: &[("let seen = word.load(Ordering::SeqCst);", "let seen = word.load(Ordering::Acquire);")],
        breaks: "a wake-up is lost",
        killers: &["loom::wake_races::a_sleeper_announces_while_an_event_is_published"],
        ci: true,
    },
    Mutant {
        name: "announce without its fence",
        file: "wake.rs",
        edits: &[("    fence(Ordering::SeqCst);\n    announced", "    announced")],
        breaks: "a wake-up is lost",
        killers: &["loom::wake_races::a_sleeper_announces_while_an_event_is_published"],
        ci: true,
    },
    Mutant {
        name: "announce with a weaker fence",
        file: "wake.rs",
        edits: &[("    fence(Ordering::SeqCst);\n    announced", "    fence(Ordering::AcqRel);\n    announced")],
        breaks: "a wake-up is lost",
        killers: &["loom::wake_races::a_sleeper_announces_while_an_event_is_published"],
        ci: false,
    },
    Mutant {
        name: "no look after the announcement",
        file: "wake.rs",
        edits: &[("    if ready() {\n        return true;\n    }\n", "    let _ = &mut ready;\n")],
        breaks: "a wake-up is lost",
        killers: &["loom::wake_races::a_sleeper_announces_while_an_event_is_published"],
        ci: true,
    },
    Mutant {
        name: "announce without NEW",
        file: "wake.rs",
        edits: &[("let announced = announce(word, WAIT | NEW);", "let announced = announce(word, WAIT);")],
        breaks: "a waker clears the flag of a sleeper that has just arrived",
        killers: &["loom::wake_races::a_sleeper_comes_back_while_it_is_being_woken"],
        ci: true,
    },
    Mutant {
        name: "wake without a new epoch",
        file: "wake.rs",
        edits: &[("(seen & !NEW & !BELL_NEW).wrapping_add(EPOCH)", "seen & !NEW & !BELL_NEW")],
        breaks: "a sleeper that announced itself before the wake goes to sleep after it",
        killers: &["loom::wake_races::two_sleepers_wait_for_two_publishers"],
        ci: true,
    },
    Mutant {
        name: "NEW not cleared",
        file: "wake.rs",
        edits: &[("(seen & !NEW & !BELL_NEW).wrapping_add(EPOCH)", "(seen & !BELL_NEW).wrapping_add(EPOCH)")],
        breaks: "the flag of a sleeper stays set: every later post makes a system call",
        killers: &["loom::wake_races::a_sleeper_is_killed_and_costs_one_call"],
        ci: false,
    },
    Mutant {
        name: "flag cleared before the wake",
        file: "wake.rs",
        edits: &[
            (
                "let calling = (seen & !NEW & !BELL_NEW).wrapping_add(EPOCH);",
                "let calling = (seen & !NEW & !BELL_NEW & !WAIT).wrapping_add(EPOCH);",
            ),
            ("if calling & WAIT != 0 {", "if seen & WAIT != 0 {"),
        ],
        breaks: "a waker that is killed before its call leaves sleepers that are not woken",
        killers: &["loom::wake_races::a_waker_is_killed_and_the_next_one_wakes"],
        ci: true,
    },
    Mutant {
        name: "flag cleared without looking",
        file: "wake.rs",
        edits: &[("        if now & NEW == 0 {\n", "        {\n")],
        breaks: "a sleeper that arrived in the meantime loses its flag",
        killers: &["loom::wake_races::a_sleeper_comes_back_while_it_is_being_woken"],
        ci: true,
    },
    Mutant {
        name: "flag never cleared",
        file: "wake.rs",
        edits: &[("            cleared &= !WAIT;\n", "")],
        breaks: "every later post makes a system call",
        killers: &["loom::wake_races::a_sleeper_is_killed_and_costs_one_call"],
        ci: true,
    },
    Mutant {
        name: "wake not called",
        file: "wake.rs",
        edits: &[(
            "            futex.wake_all(word);\n        }\n        if calling",
            "            let _ = futex;\n        }\n        if calling",
        )],
        breaks: "no sleeper is woken",
        killers: &["loom::wake_races::a_sleeper_announces_while_an_event_is_published"],
        ci: true,
    },
    Mutant {
        name: "a lost race for the call ends it",
        file: "wake.rs",
        edits: &[(
            "            seen = now;\n            continue;",
            "            let _ = (&mut seen, now);\n            return;",
        )],
        breaks: "a sleeper that announced itself while a waker looked is not woken",
        killers: &["loom::wake_races::a_waker_is_killed_while_another_one_calls"],
        ci: true,
    },
    Mutant {
        name: "rouse without a new epoch",
        file: "wake.rs",
        edits: &[("        word.fetch_add(EPOCH, Ordering::AcqRel);\n", "")],
        breaks: "a thread that announced itself before it was roused goes to sleep after it",
        killers: &["loom::wake_races::a_sleeper_is_roused_from_within_its_process"],
        ci: true,
    },
    Mutant {
        name: "rouse without its call",
        file: "wake.rs",
        edits: &[(
            "        word.fetch_add(EPOCH, Ordering::AcqRel);\n        futex.wake_all(word);\n",
            "        word.fetch_add(EPOCH, Ordering::AcqRel);\n        let _ = futex;\n",
        )],
        breaks: "a thread that sleeps is not roused",
        killers: &["loom::wake_races::a_sleeper_is_roused_from_within_its_process"],
        ci: false,
    },
    // Bells.
    Mutant {
        name: "bell: notify looks for threads only",
        file: "wake.rs",
        edits: &[(
            "    if seen & (WAIT | BELL) == 0 {\n        return false;",
            "    if seen & WAIT == 0 {\n        return false;",
        )],
        breaks: "no bell is rung while no thread sleeps",
        killers: &["loom::bell_races::a_bell_is_armed_while_an_event_is_published"],
        ci: true,
    },
    Mutant {
        name: "bell: not rung",
        file: "wake.rs",
        edits: &[("            bells.ring_all();\n", "            let _ = bells;\n")],
        breaks: "no bell is rung",
        killers: &["loom::bell_races::a_bell_is_armed_while_an_event_is_published"],
        ci: false,
    },
    Mutant {
        name: "bell: not rung beside a thread",
        file: "wake.rs",
        edits: &[("        if calling & BELL != 0 {", "        if calling & (WAIT | BELL) == BELL {")],
        breaks: "a loop sleeps over an event for which a thread was woken",
        killers: &["loom::bell_races::a_bell_and_a_sleeper_wait_for_two_events"],
        ci: false,
    },
    Mutant {
        name: "bell: a thread is not woken beside it",
        file: "wake.rs",
        edits: &[("        if calling & WAIT != 0 {", "        if calling & (WAIT | BELL) == WAIT {")],
        breaks: "a thread sleeps over an event for which a bell was rung",
        killers: &["loom::bell_races::a_bell_and_a_sleeper_wait_for_two_events"],
        ci: false,
    },
    Mutant {
        name: "bell: armed before it is drained",
        file: "wake.rs",
        edits: &[
            ("    drain()?;\n    for", "    for"),
            ("announce(word, BELL | BELL_NEW);\n    }\n", "announce(word, BELL | BELL_NEW);\n    }\n    drain()?;\n"),
        ],
        breaks: "a ring that has cleared the flag is drained: a loop sleeps over the next event",
        killers: &["loom::bell_races::a_bell_is_armed_again_while_it_is_rung"],
        ci: true,
    },
    Mutant {
        name: "bell: drained after the look",
        file: "wake.rs",
        edits: &[
            ("    drain()?;\n    for", "    for"),
            ("    Ok(look())", "    let seen = look();\n    drain()?;\n    Ok(seen)"),
        ],
        breaks: "the ring of an event that the look has missed is drained",
        killers: &["loom::bell_races::a_bell_is_armed_while_an_event_is_published"],
        ci: true,
    },
    Mutant {
        name: "bell: a look before it is armed",
        file: "wake.rs",
        edits: &[
            ("    drain()?;\n    for", "    drain()?;\n    let seen = look();\n    for"),
            ("    Ok(look())", "    Ok(seen)"),
        ],
        breaks: "an event between the look and the arming rings no bell",
        killers: &["loom::bell_races::a_bell_is_armed_while_an_event_is_published"],
        ci: true,
    },
    Mutant {
        name: "bell: not drained",
        file: "wake.rs",
        edits: &[("    drain()?;\n    for", "    let _ = drain;\n    for")],
        breaks: "a loop never sleeps again after the first ring",
        killers: &["loom::bell_races::a_bell_is_armed_while_an_event_is_published"],
        ci: true,
    },
    Mutant {
        name: "bell: armed without BELL_NEW",
        file: "wake.rs",
        edits: &[("announce(word, BELL | BELL_NEW);", "announce(word, BELL);")],
        breaks: "a ringer takes away the flag of a bell that was just armed",
        killers: &["loom::bell_races::a_bell_is_armed_again_while_it_is_rung"],
        ci: true,
    },
    Mutant {
        name: "bell: BELL_NEW not cleared",
        file: "wake.rs",
        edits: &[("(seen & !NEW & !BELL_NEW).wrapping_add(EPOCH)", "(seen & !NEW).wrapping_add(EPOCH)")],
        breaks: "the flag of a bell stays set: every post rings",
        killers: &["loom::bell_races::a_loop_is_killed_and_costs_one_ring"],
        ci: false,
    },
    Mutant {
        name: "bell: flag cleared before the ring",
        file: "wake.rs",
        edits: &[
            (
                "let calling = (seen & !NEW & !BELL_NEW).wrapping_add(EPOCH);",
                "let calling = (seen & !NEW & !BELL_NEW & !BELL).wrapping_add(EPOCH);",
            ),
            ("if calling & BELL != 0 {", "if seen & BELL != 0 {"),
        ],
        breaks: "a ringer that is killed before its ring, and that the kernel does not ring for, leaves loops that \
            are not woken",
        killers: &["loom::bell_races::a_ringer_is_killed_unheard_and_the_next_one_rings"],
        ci: true,
    },
    Mutant {
        name: "bell: flag cleared without looking",
        file: "wake.rs",
        edits: &[("        if now & BELL_NEW == 0 {\n", "        {\n")],
        breaks: "a bell that is armed in the meantime loses its flag",
        killers: &["loom::bell_races::a_bell_is_armed_again_while_it_is_rung"],
        ci: true,
    },
    Mutant {
        name: "bell: flag never cleared",
        file: "wake.rs",
        edits: &[("            cleared &= !BELL;\n", "")],
        breaks: "every later post makes a system call",
        killers: &["loom::bell_races::a_loop_is_killed_and_costs_one_ring"],
        ci: true,
    },
    Mutant {
        name: "bell: cleared if no thread has come",
        file: "wake.rs",
        edits: &[("        if now & BELL_NEW == 0 {", "        if now & NEW == 0 {")],
        breaks: "a bell that is armed in the meantime loses its flag",
        killers: &["loom::bell_races::a_bell_is_armed_again_while_it_is_rung"],
        ci: false,
    },
    Mutant {
        name: "bell: a thread's flag is cleared if no bell was armed",
        file: "wake.rs",
        edits: &[("        if now & NEW == 0 {", "        if now & BELL_NEW == 0 {")],
        breaks: "a thread that comes in the meantime loses its flag",
        killers: &["loom::wake_races::a_sleeper_comes_back_while_it_is_being_woken"],
        ci: false,
    },
    Mutant {
        name: "bell: flags cleared in one try",
        file: "wake.rs",
        edits: &[("            Err(other) if is_of_epoch(other, called) => now = other,\n", "")],
        breaks: "a thread that comes again and again keeps the flag of a dead loop set, and the reverse",
        killers: &["loom::bell_races::each_kind_of_sleeper_is_called_for_itself"],
        ci: true,
    },
    Mutant {
        name: "bell: cleared in any epoch",
        file: "wake.rs",
        edits: &[(
            "            Err(other) if is_of_epoch(other, called) => now = other,",
            "            Err(other) => now = other,",
        )],
        breaks: "a ringer clears the flag of another ringer that was killed before it rang",
        killers: &["loom::bell_races::a_ringer_is_killed_between_the_steps_of_another"],
        ci: true,
    },
    // The lock between threads.
    // Bridges.
    Mutant {
        name: "bridge: left without the worker's fence",
        file: "bridge.rs",
        edits: &[("        fence(Ordering::SeqCst); // Y1\n", "")],
        breaks: "a worker leaves an event to a bridge that has ended and does not find it: nobody runs it",
        killers: &["loom::bridge_races::a_bridge_ends_while_a_worker_reads_a_unique_event"],
        ci: true,
    },
    Mutant {
        name: "bridge: given back without its fence",
        file: "bridge.rs",
        edits: &[("        fence(Ordering::SeqCst); // Y3\n", "")],
        breaks: "as above",
        killers: &["loom::bridge_races::a_bridge_ends_while_a_worker_reads_a_unique_event"],
        ci: true,
    },
    Mutant {
        name: "bridge: a look that is not repeated",
        file: "bridge.rs",
        edits: &[(
            "        holder.0 != 0 && place >= from && holder.seat() != own && !is_over(holder)",
            "        place >= from && holder.seat() != own && !is_over(holder)",
        )],
        breaks: "as above",
        killers: &["loom::bridge_races::a_bridge_ends_while_a_worker_reads_a_unique_event"],
        ci: false,
    },
    Mutant {
        name: "bridge: holder stored without release",
        file: "bridge.rs",
        edits: &[(
            "        self.0.at(HOLDER).store(holder.0, Ordering::Release);",
            "        self.0.at(HOLDER).store(holder.0, Ordering::Relaxed);",
        )],
        breaks: "a worker leaves an event to a bridge that begins to read behind it: nobody runs it",
        killers: &["loom::bridge_races::a_bridge_begins_while_a_worker_reads_what_was_there_before"],
        ci: true,
    },
    Mutant {
        name: "bridge: holder loaded without acquire",
        file: "bridge.rs",
        edits: &[(
            "Token(self.0.at(HOLDER).load(Ordering::Acquire)); // Y2",
            "Token(self.0.at(HOLDER).load(Ordering::Relaxed)); // Y2",
        )],
        breaks: "as above, if one bridge takes the place of another",
        killers: &["loom::bridge_races::a_bridge_begins_while_a_worker_reads_what_was_there_before"],
        ci: false,
    },
    Mutant {
        name: "bridge: everything is left to it",
        file: "bridge.rs",
        edits: &[("holder.0 != 0 && place >= from && ", "holder.0 != 0 && (place >= from || true) && ")],
        breaks: "a worker leaves an event to a bridge that begins to read behind it: nobody runs it",
        killers: &["loom::bridge_races::a_bridge_begins_while_a_worker_reads_what_was_there_before"],
        ci: false,
    },
    Mutant {
        name: "lock without acquire",
        file: "thread_lock.rs",
        edits: &[(
            "compare_exchange(FREE, HELD, Ordering::Acquire,",
            "compare_exchange(FREE, HELD, Ordering::Relaxed,",
        )],
        breaks: "a thread does not see what the previous holder did to the writer: two posts of one attempt",
        killers: &["loom::lock_races::two_threads_take_the_lock"],
        ci: true,
    },
    Mutant {
        name: "unlock without release",
        file: "thread_lock.rs",
        edits: &[("store(FREE, Ordering::Release)", "store(FREE, Ordering::Relaxed)")],
        breaks: "as above",
        killers: &["loom::lock_races::two_threads_take_the_lock"],
        ci: true,
    },
    Mutant {
        name: "lock that excludes no thread",
        file: "thread_lock.rs",
        edits: &[(
            "(FREE, HELD, Ordering::Acquire, Ordering::Relaxed);\n        \
             taken.is_ok().then(|| Locked(self, PhantomData))",
            "(FREE, HELD, Ordering::Acquire, Ordering::Relaxed);\n        \
             { let _ = taken; Some(Locked(self, PhantomData)) }",
        )],
        breaks: "two threads use one writer at once",
        killers: &["loom::lock_races::two_threads_take_the_lock"],
        ci: false,
    },
    Mutant {
        name: "lock: what is lent is not taken back",
        file: "thread_lock.rs",
        edits: &[("                locked.take_back();\n", "                let _ = &mut *locked;\n")],
        breaks: "a post uses a block that another thread writes a payload into",
        killers: &["loom::lock_races::a_thread_posts_while_another_fills_the_block_that_it_was_lent"],
        ci: true,
    },
    Mutant {
        name: "lock: lent as if it were free",
        file: "thread_lock.rs",
        edits: &[("store(LENT, Ordering::Release)", "store(FREE, Ordering::Release)")],
        breaks: "as above",
        killers: &["loom::lock_races::a_thread_posts_while_another_fills_the_block_that_it_was_lent"],
        ci: false,
    },
    Mutant {
        name: "lock: lent without release",
        file: "thread_lock.rs",
        edits: &[("store(LENT, Ordering::Release)", "store(LENT, Ordering::Relaxed)")],
        breaks: "a post that takes the block back does not see what was written: a piece of the payload is lost",
        killers: &["loom::lock_races::a_thread_posts_while_another_fills_the_block_that_it_was_lent"],
        ci: true,
    },
    Mutant {
        name: "lock: resumed without acquire",
        file: "thread_lock.rs",
        edits: &[(
            "compare_exchange(LENT, HELD, Ordering::Acquire,",
            "compare_exchange(LENT, HELD, Ordering::Relaxed,",
        )],
        breaks: "as above",
        killers: &["loom::lock_races::a_thread_posts_while_another_fills_the_block_that_it_was_lent"],
        ci: true,
    },
    Mutant {
        name: "lock: resumed whatever it is",
        file: "thread_lock.rs",
        edits: &[(
            concat!(
                "        let taken = self.state.compare_exchange(LENT, HELD, Ordering::Acquire, Ordering::Relaxed);\n",
                "        taken.is_ok().then",
            ),
            concat!("        let taken = self.state.swap(HELD, Ordering::Acquire);\n", "        (taken <= LENT).then",),
        )],
        breaks: "a thread stores a piece while another posts",
        killers: &["loom::lock_races::a_thread_posts_while_another_fills_the_block_that_it_was_lent"],
        ci: false,
    },
];

/// Edits that break nothing, each with the reason: orderings and questions that others make redundant, kept because
/// they cost nothing where they stand. `killers` are the tests that would find one that is not redundant any more.
const REDUNDANT: &[Mutant] = &[
    Mutant {
        name: "newest without acquire",
        file: "ring.rs",
        edits: &[(
            "        let tail = load_acquire(self.tail());\n        // It lags",
            "        let tail = self.tail().load(Ordering::Relaxed);\n        // It lags",
        )],
        breaks: "nothing that is guaranteed: the joiner sees no tail older than the one it has learned of, and a cell \
            that looks older than it is looks empty and is read again",
        killers: &["loom::post_races::"],
        ci: false,
    },
    Mutant {
        name: "H1 without acquire",
        file: "pool.rs",
        edits: &[(
            "Stamp::from_bits(word.load(Ordering::Acquire)); // H1",
            "Stamp::from_bits(word.load(Ordering::Relaxed)); // H1",
        )],
        breaks: "nothing: the cell was read with acquire, and after that no stamp older than that of its publication \
            is visible",
        killers: &["loom::adopt_races::"],
        ci: false,
    },
    Mutant {
        name: "H2 relaxed",
        file: "pool.rs",
        edits: &[(
            "word.compare_exchange(stamp.bits(), stamp.confirmed().bits(), Ordering::AcqRel, Ordering::Relaxed);",
            concat!(
                "word.compare_exchange(stamp.bits(), stamp.confirmed().bits(), Ordering::Relaxed, ",
                "Ordering::Relaxed);",
            ),
        )],
        breaks: "nothing: a reader of the cell that the helper writes next sees no stamp older than the helper's",
        killers: &["loom::adopt_races::"],
        ci: false,
    },
    Mutant {
        name: "adopt: the stamp's seat is not checked",
        file: "pool.rs",
        edits: &[("stamp.seat() == seat && !stamp.is_confirmed()", "!stamp.is_confirmed()")],
        breaks: "nothing: a block displaced from another seat was confirmed before. The check costs nothing and makes \
            the answer obvious",
        killers: &["loom::adopt_races::"],
        ci: false,
    },
    Mutant {
        name: "adopt: stamp without acquire",
        file: "pool.rs",
        edits: &[(
            "let stamp = Stamp::from_bits(block[STAMP].load(Ordering::Acquire));",
            "let stamp = Stamp::from_bits(block[STAMP].load(Ordering::Relaxed));",
        )],
        breaks: "nothing: the lock that proves the death orders all stores of the dead process before it",
        killers: &["loom::adopt_races::"],
        ci: false,
    },
    Mutant {
        name: "adopt: second look at the stamp without acquire",
        file: "pool.rs",
        edits: &[(
            "let stamp_after = Stamp::from_bits(block[STAMP].load(Ordering::Acquire));",
            "let stamp_after = Stamp::from_bits(block[STAMP].load(Ordering::Relaxed));",
        )],
        breaks: "nothing: the cell was read with acquire",
        killers: &["loom::adopt_races::"],
        ci: false,
    },
    Mutant {
        name: "reserved_by without acquire",
        file: "ring.rs",
        edits: &[(
            "load_acquire(self.reserved(seat)).checked_sub(1)",
            "self.reserved(seat).load(Ordering::Relaxed).checked_sub(1)",
        )],
        breaks: "nothing: the exchange decides, and a reader that sees a stale name waits or fails to void",
        killers: &["loom::reserve_races::"],
        ci: false,
    },
    Mutant {
        name: "forget_reservation without release",
        file: "ring.rs",
        edits: &[(
            "self.reserved(seat).store(0, Ordering::Release)",
            "self.reserved(seat).store(0, Ordering::Relaxed)",
        )],
        breaks: "nothing: as above",
        killers: &["loom::reserve_races::"],
        ci: false,
    },
    Mutant {
        name: "reserved said without release",
        file: "ring.rs",
        edits: &[("reserved.store(id + 1, Ordering::Release)", "reserved.store(id + 1, Ordering::Relaxed)")],
        breaks: "nothing: the exchange that reserves releases it",
        killers: &["loom::reserve_races::"],
        ci: false,
    },
    Mutant {
        name: "rule: a new entry begins at its event",
        file: "bucket.rs",
        edits: &[("(at.since.max(self.floor.saturating_add(1)), at.place)", "(at.place, at.place)")],
        breaks: "nothing: the claimer has read the events before it. The decided ones are at or below the floor, and \
            those reported as Full may be decided later",
        killers: &["claim_rule::"],
        ci: false,
    },
    Mutant {
        name: "rule: a new entry begins below the floor",
        file: "bucket.rs",
        edits: &[("(at.since.max(self.floor.saturating_add(1)), at.place)", "(at.since, at.place)")],
        breaks: "nothing: the claimer has read those events and knows that they were decided or reported",
        killers: &["claim_rule::"],
        ci: false,
    },
    Mutant {
        name: "A2 relaxed",
        file: "pool.rs",
        edits: &[(
            concat!(
                "        block[CELL].store(index as u64, Ordering::Release); // A2\n",
                "        block[VERSION].store(version, Ordering::Release);\n",
            ),
            concat!(
                "        block[CELL].store(index as u64, Ordering::Relaxed); // A2\n",
                "        block[VERSION].store(version, Ordering::Relaxed);\n",
            ),
        )],
        breaks: "nothing that a model shows: the lock that proves the death orders all stores of the dead process \
            before it. Release keeps the compiler from reordering the stores",
        killers: &["loom::adopt_races::"],
        ci: false,
    },
    Mutant {
        name: "A3 relaxed",
        file: "pool.rs",
        edits: &[(
            "        block[STAMP].store(Stamp::new(self.attempt, self.seat).bits(), Ordering::Release); // A3\n",
            "        block[STAMP].store(Stamp::new(self.attempt, self.seat).bits(), Ordering::Relaxed); // A3\n",
        )],
        breaks: "nothing that a model shows: the lock that proves the death orders all stores of the dead process \
            before it. Release keeps the compiler from reordering the stores",
        killers: &["loom::adopt_races::"],
        ci: false,
    },
    Mutant {
        name: "A4 relaxed",
        file: "pool.rs",
        edits: &[(
            "        self.shared.at(PREV).store(u64::from(old), Ordering::Release); // A4\n",
            "        self.shared.at(PREV).store(u64::from(old), Ordering::Relaxed); // A4\n",
        )],
        breaks: "nothing that a model shows: the lock that proves the death orders all stores of the dead process \
            before it. Release keeps the compiler from reordering the stores",
        killers: &["loom::adopt_races::"],
        ci: false,
    },
    Mutant {
        name: "own stored relaxed",
        file: "pool.rs",
        edits: &[(
            "        self.shared.at(OWN).store(u64::from(old), Ordering::Release);\n        Ok(Exchange::Done)",
            "        self.shared.at(OWN).store(u64::from(old), Ordering::Relaxed);\n        Ok(Exchange::Done)",
        )],
        breaks: "nothing that a model shows: the lock that proves the death orders all stores of the dead process \
            before it. Release keeps the compiler from reordering the stores",
        killers: &["loom::adopt_races::"],
        ci: false,
    },
    Mutant {
        name: "adopt: own and prev relaxed",
        file: "pool.rs",
        edits: &[
            ("shared.at(OWN).load(Ordering::Acquire)", "shared.at(OWN).load(Ordering::Relaxed)"),
            ("shared.at(PREV).load(Ordering::Acquire)", "shared.at(PREV).load(Ordering::Relaxed)"),
            (
                "shared.at(PREV).store(u64::from(held), Ordering::Release)",
                "shared.at(PREV).store(u64::from(held), Ordering::Relaxed)",
            ),
            (
                "shared.at(OWN).store(u64::from(held), Ordering::Release)",
                "shared.at(OWN).store(u64::from(held), Ordering::Relaxed)",
            ),
            ("shared.at(ATTEMPT).load(Ordering::Acquire)", "shared.at(ATTEMPT).load(Ordering::Relaxed)"),
        ],
        breaks: "nothing that a model shows: the lock that proves the death orders all stores of the dead process \
            before it. Release keeps the compiler from reordering the stores",
        killers: &["loom::adopt_races::"],
        ci: false,
    },
    Mutant {
        name: "A2 after A3",
        file: "pool.rs",
        edits: &[(
            concat!(
                "        block[CELL].store(index as u64, Ordering::Release); // A2\n",
                "        block[VERSION].store(version, Ordering::Release);\n",
                "        block[STAMP].store(Stamp::new(self.attempt, self.seat).bits(), Ordering::Release); // A3\n",
            ),
            concat!(
                "        block[STAMP].store(Stamp::new(self.attempt, self.seat).bits(), Ordering::Release); // A3\n",
                "        block[CELL].store(index as u64, Ordering::Release); // A2\n",
                "        block[VERSION].store(version, Ordering::Release);\n",
            ),
        )],
        breaks: "nothing: a process that dies in between has not exchanged, and an older cell and version say so as \
            well",
        killers: &["loom::adopt_races::"],
        ci: false,
    },
    Mutant {
        name: "announce relaxed",
        file: "wake.rs",
        edits: &[("word.fetch_or(flags, Ordering::AcqRel)", "word.fetch_or(flags, Ordering::Relaxed)")],
        breaks: "nothing: the fence after it and the kernel's lock provide the necessary order",
        killers: &["loom::wake_races::"],
        ci: false,
    },
    Mutant {
        name: "wake: exchanges relaxed",
        file: "wake.rs",
        edits: &[
            (
                "word.compare_exchange(seen, calling, Ordering::AcqRel, Ordering::Acquire)",
                "word.compare_exchange(seen, calling, Ordering::Relaxed, Ordering::Relaxed)",
            ),
            (
                "word.compare_exchange(now, cleared, Ordering::AcqRel, Ordering::Relaxed)",
                "word.compare_exchange(now, cleared, Ordering::Relaxed, Ordering::Relaxed)",
            ),
        ],
        breaks: "nothing: a single word has a single order, and the kernel's lock orders the rest",
        killers: &["loom::wake_races::"],
        ci: false,
    },
    Mutant {
        name: "claim: clock read before the copy",
        file: "claims.rs",
        edits: &[
            (
                concat!(
                    "            let seen = self.snapshot(index, scratch)?;\n",
                    "            let bucket = &mut *scratch;\n",
                    "            if let Some(decision)",
                ),
                concat!(
                    "            let now = clock.now();\n",
                    "            let seen = self.snapshot(index, scratch)?;\n",
                    "            let bucket = &mut *scratch;\n",
                    "            if let Some(decision)",
                ),
            ),
            ("            let now = clock.now();\n            let oldest", "            let oldest"),
        ],
        breaks: "nothing that is guaranteed: with an older time an entry that has just ended still counts as held",
        killers: &["loom::claim_races::"],
        ci: false,
    },
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_edit_has_its_place_in_the_source() {
        let protocol = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/protocol");
        let mut lost = vec![];
        for mutant in every_mutant().chain(every_redundant_edit()) {
            // Edits are made one after the other.
            let mut source = std::fs::read_to_string(protocol.join(mutant.file)).unwrap_or_default();
            for (find, replace) in mutant.edits {
                if source.matches(find).count() != 1 {
                    lost.push((mutant.name, mutant.file, find));
                }
                source = source.replacen(find, replace, 1);
            }
        }
        assert!(lost.is_empty(), "to be found exactly once, and are not: {lost:#?}");
    }
}
