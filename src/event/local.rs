//! Local events, which do not enter the segment.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::{Buffer, Content, Event};

/// An event in the queue of its worker.
pub(crate) struct LocalEvent {
    pub(crate) source: Arc<str>,
    pub(crate) event: Arc<str>,
    pub(crate) data: LocalData,
}

/// The payload of a local event.
pub enum LocalData {
    Value(Arc<dyn Any + Send + Sync>),
    Archived { type_tag: u64, bytes: Buffer },
}

impl fmt::Debug for LocalData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalData").finish_non_exhaustive()
    }
}

impl LocalEvent {
    pub(crate) fn as_event(&self) -> Event<'_> {
        let content = match &self.data {
            LocalData::Value(value) => Content::Value(&**value),
            LocalData::Archived { type_tag, bytes } => Content::Archived { type_tag: *type_tag, bytes },
        };
        Event { source: &self.source, event: &self.event, content }
    }
}
