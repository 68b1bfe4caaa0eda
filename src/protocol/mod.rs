//! The lock-free core: what processes do to each other's words.
//!
//! Nothing here knows of segments, files, handlers or system calls; it sees words through [`crate::sync`] alone, and the
//! package `loom-tests` compiles these files a second time over a model checker's words.
//!
//! | file | what |
//! |---|---|
//! | [`word`] | the packed words: cell, stamp |
//! | [`bytes`] | payload in and out of shared words |
//! | [`pool`] | cells and blocks, publication by exchange, adoption of a dead worker's block |
//! | [`ring`] | the total order: post, look, copy, reserve, commit, void |
//! | [`claims`] | unique keys: one decision per event, for all |
//! | [`wake`] | sleeping until something is published |
//! | [`thread_lock`] | between the threads of one process: who of them posts, claims, polls |
//! | [`seat_words`] | where a worker's own words are |

pub(crate) mod bytes;
pub(crate) mod claims;
pub(crate) mod pool;
pub(crate) mod ring;
pub(crate) mod seat_words;
pub(crate) mod thread_lock;
pub(crate) mod wake;
pub(crate) mod word;

use crate::sync::{AtomicU64, Ordering, fence};

/// Why a protocol step could not be taken. The bus turns it into the public error, with its name and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Shared words contradict each other: somebody who does not follow the protocol wrote to the segment.
    Corrupt(&'static str),
    /// A counter that must never repeat has come to its end.
    Exhausted(&'static str),
}

/// An acquire load of a word that may be mapped for reading only, as in an inspector. On such memory std promises nothing
/// but relaxed loads ("Atomic accesses to read-only memory"); with the fence after it, one is as strong.
#[inline]
pub(crate) fn load_acquire(word: &AtomicU64) -> u64 {
    // Acquire fence: pairs with the release of the store that this load reads.
    let seen = word.load(Ordering::Relaxed);
    fence(Ordering::Acquire);
    seen
}

/// Tries after which a step that others always got ahead of is taken for a fault. Every failed try means that another
/// process succeeded meanwhile, so that honest peers are never near it; it ends the loop when the words are hostile.
pub(crate) const TRIES: u32 = 1 << 20;
