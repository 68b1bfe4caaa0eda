//! A running hash over a sequence of events.

use std::hash::{DefaultHasher, Hash, Hasher};

use rkyv::{Archive, Deserialize, Serialize};
use seqcast::Event;

/// The digest of an event: its id and its whole content.
pub fn digest(id: u64, event: &Event<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (id, event.source(), event.event(), event.pid(), event.bytes()).hash(&mut hasher);
    hasher.finish()
}

/// The number of events, and a hash over them in this order. Two values are equal if the same events were folded in.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fold {
    pub count: u64,
    pub hash: u64,
}

impl Fold {
    /// Folds in an event, by its [`digest`].
    pub fn add(&mut self, digest: u64) {
        let mut hasher = DefaultHasher::new();
        (self.hash, digest).hash(&mut hasher);
        self.hash = hasher.finish();
        self.count += 1;
    }
}
