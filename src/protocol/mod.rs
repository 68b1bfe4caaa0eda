//! The lock-free core: how processes change each other's words.
//!
//! This module contains nothing about segments, files, handlers or system calls. It accesses words only through
//! [`crate::sync`], and the package `loom-tests` compiles these files a second time over a model checker's words.
//!
//! | file | what |
//! |---|---|
//! | [`word`] | the packed words: cell, stamp |
//! | [`bytes`] | payload in and out of shared words |
//! | [`pool`] | cells and blocks, publication by exchange, adoption of a dead worker's block |
//! | [`ring`] | the total order: post, look, copy, reserve, commit, void |
//! | [`bucket`] | the rule of unique keys: what a claim makes of a bucket |
//! | [`claims`] | unique keys: one decision per event, for all; claims that end with their holder |
//! | [`bridge`] | which unique events are left to a bridge, and how far it is |
//! | [`retained`] | the last event of each key, beside the ring |
//! | [`large`] | a second ring, of large blocks, for payloads that do not fit in a block |
//! | [`room`] | readers that are waited for |
//! | [`relay`] | what a relay keeps, so that its successor posts nothing twice |
//! | [`wake`] | sleeping until something is published |
//! | [`thread_lock`] | a lock between the threads of one process that post, claim and poll |
//! | [`seat_words`] | the layout of a worker's own words |

pub(crate) mod bridge;
pub(crate) mod bucket;
pub(crate) mod bytes;
pub(crate) mod claims;
pub(crate) mod large;
pub(crate) mod pool;
pub(crate) mod relay;
pub(crate) mod retained;
pub(crate) mod ring;
pub(crate) mod room;
pub(crate) mod seat_words;
pub(crate) mod thread_lock;
pub(crate) mod wake;
pub(crate) mod word;

use crate::sync::{AtomicU64, Ordering, fence};

/// The reason why a protocol step failed. The bus turns it into the public error, with its name and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Shared words are inconsistent: a process that does not follow the protocol wrote to the segment.
    Corrupt(&'static str),
    /// A counter that must never repeat is exhausted.
    Exhausted(&'static str),
}

/// An acquire load of a word that may be mapped read-only, as in an inspector. On such memory std guarantees only
/// relaxed loads ("Atomic accesses to read-only memory"); together with the fence after it, a relaxed load is as
/// strong.
#[inline]
pub(crate) fn load_acquire(word: &AtomicU64) -> u64 {
    // Acquire fence: pairs with the release of the store that this load reads.
    let seen = word.load(Ordering::Relaxed);
    fence(Ordering::Acquire);
    seen
}

/// The number of tries after which a step counts as a fault. Every failed try means that another process succeeded, so
/// honest processes never come near this number; it ends the loop when the words are hostile.
pub(crate) const TRIES: u32 = 1 << 20;
