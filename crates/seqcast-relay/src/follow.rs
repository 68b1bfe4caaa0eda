//! How a reader sees that the stream's past was rewritten.
//!
//! A reader keeps its position, with the chain, outside the server. An entry with the next number whose chain continues
//! the reader's chain proves that the reader has read a prefix of the present history. A server that was rolled back
//! has nothing behind a reader's position until its new history is longer; so a reader that gets nothing also compares
//! its position with the end of the stream. Without the chain, a history that was rewritten and has grown past the
//! reader goes unnoticed; without the comparison, one that has not.

use std::cmp::Ordering;

use crate::chain::{Added, Chain};
use crate::engine::{Follows, Position};

/// How an entry stands to the position before it. `n` is the number of its first event.
pub fn follows(before: &Position, position: &Position, n: u64, added: Added) -> Follows {
    if before.timeline == 0 {
        // Nothing was read, so nothing can have been rewritten; but the beginning can be gone.
        let is_first = n == 0 && Chain::begin(position.timeline).with(added) == position.chain;
        return if is_first { Follows::Yes } else { Follows::Hole(n) };
    }
    if position.timeline != before.timeline {
        return Follows::Break;
    }
    match position.seq.checked_sub(before.seq) {
        // No event is between them. Entries of other programs may be, which are no part of the chain.
        Some(1..) if n == before.n && before.chain.with(added) == position.chain => Follows::Yes,
        Some(2..) if n > before.n => Follows::Hole(n - before.n),
        _ => Follows::Break,
    }
}

/// How a position stands to the end of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is the end.
    AtEnd,
    /// So many events are behind it, if it is the same history. Reading tells.
    Behind(u64),
    /// The stream has another history now, or a shorter one.
    Break,
}

/// Compares a position with the end of the stream.
pub fn standing(own: &Position, tip: &Position) -> Standing {
    if own.timeline == 0 {
        // Nothing was read.
        return if tip.timeline == 0 { Standing::AtEnd } else { Standing::Behind(tip.n) };
    }
    if own.timeline != tip.timeline {
        return Standing::Break;
    }
    match own.seq.cmp(&tip.seq) {
        Ordering::Less => Standing::Behind(tip.n.saturating_sub(own.n)),
        Ordering::Equal if own.chain == tip.chain => Standing::AtEnd,
        Ordering::Equal | Ordering::Greater => Standing::Break,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Stored {
        position: Position,
        n: u64,
        added: Added,
    }

    /// A server's stream, as the scripts keep it.
    #[derive(Clone, Debug, Default)]
    struct Stream {
        /// All entries of the present history, also those that were trimmed.
        history: Vec<Stored>,
        trimmed: usize,
        clock: u64,
    }

    impl Stream {
        fn append(&mut self, added: Added) {
            let (timeline, seq, chain, n) = match self.history.last() {
                Some(Stored { position, .. }) => (position.timeline, position.seq + 1, position.chain, position.n),
                None => (self.clock, 0, Chain::begin(self.clock), 0),
            };
            let position = Position { timeline, seq, chain: chain.with(added), n: n + u64::from(added.count) };
            self.history.push(Stored { position, n, added });
        }

        fn tip(&self) -> Position {
            self.history.last().map_or(Position::START, |stored| stored.position)
        }

        fn after(&self, position: &Position) -> impl Iterator<Item = &Stored> {
            let after = (position.timeline, position.seq);
            let is_start = position.timeline == 0;
            let newer = move |stored: &&Stored| is_start || (stored.position.timeline, stored.position.seq) > after;
            self.history[self.trimmed..].iter().filter(newer)
        }
    }

    #[derive(Debug, PartialEq)]
    enum Told {
        Nothing,
        Missed(u64),
        Break,
    }

    /// Reads `most` entries, as the relay does, and then asks for the end if there was nothing.
    fn read(stream: &Stream, own: &mut Position, most: usize) -> Vec<Told> {
        let mut told = Vec::new();
        let mut got = 0;
        for stored in stream.after(own).take(most).cloned().collect::<Vec<_>>() {
            got += 1;
            told.push(match follows(own, &stored.position, stored.n, stored.added) {
                Follows::Yes => Told::Nothing,
                Follows::Hole(0) => Told::Nothing,
                Follows::Hole(n) => Told::Missed(n),
                Follows::Break => {
                    *own = Position::START;
                    told.push(Told::Break);
                    return told;
                }
            });
            *own = stored.position;
        }
        if got == 0 && standing(own, &stream.tip()) == Standing::Break {
            *own = Position::START;
            told.push(Told::Break);
        }
        told
    }

    proptest! {
        /// Random appends, rollbacks, wipes and trims. A reader is told of a break if and only if what it has read
        /// is no prefix of the present history, and of exactly the events that were trimmed before it came.
        #[test]
        fn r6_a_reader_is_told_of_a_break_iff_its_past_was_rewritten(
            steps in prop::collection::vec((0u8..6, 1usize..8), 1..120),
        ) {
            let mut stream = Stream { clock: 100, ..Stream::default() };
            let (mut own, mut past) = (Position::START, Vec::<Stored>::new());
            let mut next = 0;
            for (step, amount) in steps {
                match step {
                    0 | 1 => for _ in 0..amount {
                        next += 1;
                        stream.append(Added { origin: 7, next, count: 1 + next as u32 % 3 });
                    },
                    2 => {
                        // A failover to a replica that lags. What is appended after it differs from what was there.
                        let keep = stream.history.len().saturating_sub(amount);
                        stream.history.truncate(keep);
                        stream.trimmed = stream.trimmed.min(keep);
                        stream.clock += u64::from(keep == 0);
                        next += 1;
                    }
                    3 => {
                        let clock = stream.clock + 1;
                        stream = Stream { clock, ..Stream::default() };
                    }
                    4 => stream.trimmed = stream.history.len().min(stream.trimmed + amount),
                    _ => {
                        let is_prefix = stream.history.starts_with(&past);
                        let told = read(&stream, &mut own, amount);
                        if told.is_empty() && matches!(standing(&own, &stream.tip()), Standing::Behind(_)) {
                            // Everything behind the position was trimmed. The next entry is behind a hole.
                            continue;
                        }
                        let is_break = told.contains(&Told::Break);
                        // After a hole the chain cannot be compared: the hole itself is the report.
                        let is_hole = told.iter().any(|told| matches!(told, Told::Missed(_)));
                        let begin = past.last().map_or(0, |stored| stored.position.n);
                        match stream.after(&Position::START).next() {
                            Some(first) if is_prefix && first.n > begin => {
                                prop_assert_eq!(&told[0], &Told::Missed(first.n - begin));
                                prop_assert!(told[1..].iter().all(|told| *told == Told::Nothing), "told {:?}", told);
                            }
                            _ if is_hole => prop_assert!(!is_prefix, "told {:?} at {:?} of {:?}", told, own, stream),
                            _ => prop_assert_eq!(is_break, !is_prefix, "told {:?} at {:?} of {:?}", told, own, stream),
                        }
                        let end = stream.history.iter().position(|stored| stored.position == own);
                        past = end.map_or(Vec::new(), |end| stream.history[..=end].to_vec());
                    }
                }
            }
        }
    }

    #[test]
    fn r6_another_timeline_is_a_break_wherever_it_ends() {
        let own = Position { timeline: 100, seq: 5, chain: Chain(7), n: 6 };
        for seq in [0, 5, 6, 50] {
            let tip = Position { timeline: 101, seq, n: seq + 1, ..own };
            assert_eq!(standing(&own, &tip), Standing::Break, "{tip:?}");
        }
    }

    #[test]
    fn r6_a_fork_that_has_outgrown_its_reader_is_noticed_by_its_chain_alone() {
        let mut stream = Stream { clock: 100, ..Stream::default() };
        (1..=10).for_each(|next| stream.append(Added { origin: 7, next, count: 1 }));
        let own = stream.tip();
        stream.history.truncate(5);
        (6..=30).for_each(|next| stream.append(Added { origin: 8, next, count: 1 }));
        assert_eq!(standing(&own, &stream.tip()), Standing::Behind(20));
        let next = *stream.after(&own).next().unwrap();
        assert_eq!((next.position.seq, next.n), (own.seq + 1, own.n));
        assert_eq!(follows(&own, &next.position, next.n, next.added), Follows::Break);
    }

    #[test]
    fn r6_a_fork_whose_beginning_was_trimmed_is_noticed_although_it_has_as_many_events_as_its_reader() {
        let mut stream = Stream { clock: 100, ..Stream::default() };
        (1..=3).for_each(|next| stream.append(Added { origin: 7, next, count: 2 }));
        let own = stream.tip();
        stream.history.truncate(1);
        (4..=8).for_each(|next| stream.append(Added { origin: 7, next, count: 1 }));
        stream.trimmed = 5;
        let next = *stream.after(&own).next().unwrap();
        assert_eq!((next.position.seq, next.n), (own.seq + 3, own.n));
        assert_eq!(follows(&own, &next.position, next.n, next.added), Follows::Break);
    }

    #[test]
    fn r5_what_was_trimmed_is_counted_in_events_and_entries_of_other_programs_are_none() {
        let mut stream = Stream { clock: 100, ..Stream::default() };
        (1..=4).for_each(|next| stream.append(Added { origin: 7, next, count: 3 }));
        let Stored { position: own, .. } = stream.history[0];
        let [.., gone, next] = stream.history[..] else { panic!("four were appended") };
        assert_eq!(follows(&own, &next.position, next.n, next.added), Follows::Hole(6));
        let behind_others = Position { seq: next.position.seq + 2, ..next.position };
        assert_eq!(follows(&gone.position, &behind_others, next.n, next.added), Follows::Yes);
    }
}
