//! The oracle: checks what all actors saw against the guarantees.

use std::collections::{BTreeMap, BTreeSet};

/// The observations of all actors, to be judged at the end.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Contents that `post` or `commit` reported as visible.
    pub(crate) posted: BTreeMap<u64, u64>,
    /// Ids that an actor saw as void.
    pub(crate) void: BTreeSet<u64>,
    /// Events that readers read.
    pub(crate) read: BTreeMap<u64, u64>,
    /// Contents of failed commits.
    never: BTreeSet<u64>,
}

impl Log {
    /// G1, G2, G5: each id has one outcome and one content in all observations.
    pub(crate) fn event(&mut self, id: u64, content: u64) {
        assert!(!self.void.contains(&id), "id {id} is void for one and an event for another");
        assert!(!self.never.contains(&content), "{content} is visible after an error said that it never will be");
        for (&at, &other) in self.posted.iter().chain(&self.read) {
            assert_eq!(at == id, other == content, "id {id} is {content}, id {at} is {other}");
        }
    }

    pub(crate) fn posted(&mut self, id: u64, content: u64) {
        self.event(id, content);
        assert!(self.posted.insert(id, content).is_none(), "id {id} was given to two posts");
    }

    pub(crate) fn read(&mut self, id: u64, content: u64) {
        self.event(id, content);
        self.read.insert(id, content);
    }

    pub(crate) fn never(&mut self, content: u64) {
        assert!(!self.read.values().any(|&read| read == content), "{content} was read, and its commit failed");
        self.never.insert(content);
    }

    pub(crate) fn void(&mut self, id: u64) {
        assert!(!self.posted.contains_key(&id), "id {id} was committed and is void");
        assert!(!self.read.contains_key(&id), "id {id} was read and is void");
        self.void.insert(id);
    }
}
