//! The parameters of a poll.

use super::patience::Patience;
use crate::worker::handlers::Visitor;

/// The parameters of a poll.
pub(crate) struct PollRequest<'a, 'v> {
    /// The most events to deliver.
    pub(super) most: u64,
    pub(super) patience: Patience<'a>,
    /// Called with every event, after the handlers.
    pub(super) visitor: Option<&'a mut Visitor<'v>>,
}

impl PollRequest<'_, '_> {
    /// Ends the poll after a panic of the visitor, which is not called again.
    pub(super) fn stop(&mut self) {
        self.most = 0;
        self.visitor = None;
    }
}
