//! The operations of workers, and how they are drawn.

use seqcast::Scope;

use crate::hostile::draw::Draw;
use crate::model::{EVENTS, KEYS, RETAINED_KEYS, SOURCES, Topic, WORKERS};

/// A handler's scope: all, a source, or some events of a source by their bits.
#[derive(Clone, Copy, Debug)]
pub enum Scoped {
    All,
    Source(usize),
    Events(usize, u8),
}

/// The start of a worker.
#[derive(Clone, Copy, Debug)]
pub enum From {
    Now,
    Oldest,
    At(u64),
    After(u64),
    Retained,
}

/// An operation of one of the workers.
#[derive(Clone, Debug)]
pub enum Op {
    Post { worker: usize, topic: Topic, len: usize },
    PostUnique { worker: usize, topic: Topic, len: usize, key: usize, lasting: bool },
    PostLocal { worker: usize, topic: Topic },
    Poll { worker: usize, most: u64 },
    Reserve { worker: usize },
    Commit { worker: usize, topic: Topic, len: usize },
    DropReservation { worker: usize },
    Claim { worker: usize, key: usize, lasting: bool },
    Release { worker: usize },
    ReleaseClaim { worker: usize, key: usize },
    Register { worker: usize, scope: Scoped, weak: bool },
    Unregister { worker: usize, nth: usize },
    DropOwner { worker: usize, nth: usize },
    Leave { worker: usize },
    Join { worker: usize, from: From, resync: bool, must: bool },
    TryPost { worker: usize, topic: Topic, len: usize },
    Retain { worker: usize, topic: Topic, key: usize, len: usize, lasting: bool },
    Clear { worker: usize, topic: Topic, key: usize },
    Get { worker: usize, topic: Topic, key: usize },
}

impl Op {
    /// Draws an operation on a bus that assigns `next_id` next, and on which no event is longer than `longest`.
    pub fn draw(draw: &mut impl Draw, next_id: u64, longest: usize) -> Op {
        let mut below = |bound: usize| draw.below(bound as u64) as usize;
        let kind = below(42);
        let worker = below(WORKERS);
        match kind {
            0..=6 => Op::Post { worker, topic: (below(2), below(2)), len: drawn_len(&mut below, longest) },
            7..=11 => {
                let (topic, len) = ((below(2), below(2)), drawn_len(&mut below, longest));
                Op::PostUnique { worker, topic, len, key: below(KEYS.len()), lasting: below(4) > 0 }
            }
            12 => Op::PostLocal { worker, topic: (below(2), below(2)) },
            13..=15 => Op::Poll { worker, most: 1 + below(4) as u64 },
            16..=18 => Op::Poll { worker, most: u64::MAX },
            19 | 20 => Op::Reserve { worker },
            21 | 22 => Op::Commit { worker, topic: (below(2), below(2)), len: below(80) },
            23 => Op::DropReservation { worker },
            24 => Op::Claim { worker, key: below(KEYS.len()), lasting: below(4) > 0 },
            25 => Op::ReleaseClaim { worker, key: below(KEYS.len()) },
            26 => Op::Release { worker },
            27 | 28 => {
                let scope = match below(4) {
                    0 | 1 => Scoped::All,
                    2 => Scoped::Source(below(SOURCES.len())),
                    _ => Scoped::Events(below(SOURCES.len()), 1 + below(3) as u8),
                };
                Op::Register { worker, scope, weak: below(2) > 0 }
            }
            29 => match below(2) {
                0 => Op::Unregister { worker, nth: below(8) },
                _ => Op::DropOwner { worker, nth: below(8) },
            },
            30 => Op::Leave { worker },
            31..=35 => {
                let (topic, len) = ((below(2), below(2)), drawn_len(&mut below, longest));
                Op::Retain { worker, topic, key: below(RETAINED_KEYS.len()), len, lasting: below(5) > 0 }
            }
            36 => Op::Clear { worker, topic: (below(2), below(2)), key: below(RETAINED_KEYS.len()) },
            37 | 38 => Op::Get { worker, topic: (below(2), below(2)), key: below(RETAINED_KEYS.len()) },
            39 | 40 => Op::TryPost { worker, topic: (below(2), below(2)), len: drawn_len(&mut below, longest) },
            _ => {
                let (resync, must) = (below(2) > 0, below(2) > 0);
                let from = match below(6) {
                    0 => From::Now,
                    1 => From::Oldest,
                    2 => From::After(draw.below(next_id + 3)),
                    3 => From::At(draw.below(next_id + 3)),
                    _ => From::Retained,
                };
                Op::Join { worker, from, resync, must }
            }
        }
    }
}

fn drawn_len(below: &mut impl FnMut(usize) -> usize, longest: usize) -> usize {
    if below(4) == 0 { below(longest + 20) } else { below(40) }
}

impl Scoped {
    pub(super) fn real(self) -> Scope {
        match self {
            Scoped::All => Scope::All,
            Scoped::Source(source) => Scope::source(SOURCES[source]),
            Scoped::Events(source, bits) => {
                let events = EVENTS.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1).map(|(_, event)| *event);
                Scope::events(SOURCES[source], events)
            }
        }
    }

    /// Returns the position of its handlers in the calling order, if it takes the topic at all.
    pub(super) fn rank(self, (source, event): Topic) -> Option<u8> {
        match self {
            Scoped::All => Some(0),
            Scoped::Source(of) => (of == source).then_some(1),
            Scoped::Events(of, bits) => (of == source && bits >> event & 1 == 1).then_some(2),
        }
    }
}
