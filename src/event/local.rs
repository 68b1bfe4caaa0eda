//! Local events, which do not enter the segment.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::{Buffer, Data, Event, EventKept, Provenance};

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
        let data = match &self.data {
            LocalData::Value(value) => Data::Value(&**value),
            LocalData::Archived { type_tag, bytes } => Data::Bytes { type_tag: *type_tag, format: 0, bytes },
        };
        let provenance = Provenance::Local;
        Event { source: &self.source, event: &self.event, provenance, data, kept: EventKept::NOT, via: None }
    }
}
