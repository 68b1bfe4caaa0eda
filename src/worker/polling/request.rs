//! What a poll is asked to do.

use super::patience::Patience;
use crate::worker::handlers::Visitor;

/// What a poll is asked to do.
pub(crate) struct Request<'a, 'v> {
    /// The most events that it delivers.
    pub(super) most: u64,
    pub(super) patience: Patience<'a>,
    /// The poll's own handler of every event.
    pub(super) visitor: Option<&'a mut Visitor<'v>>,
}

impl Request<'_, '_> {
    /// Ends the poll after a panic of its visitor, which is not called again.
    pub(super) fn stop(&mut self) {
        self.most = 0;
        self.visitor = None;
    }
}
