//! Events as handlers see them, and types that events are made of.

pub(crate) mod message;

use std::any::Any;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use rkyv::api::high::{HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::util::AlignedVec;
use rkyv::validation::Validator;
use rkyv::validation::archive::ArchiveValidator;
use rkyv::validation::shared::SharedValidator;
use rkyv::{Archive, Serialize};

use crate::error::{Error, Result};
use crate::layout::Fnv;
use crate::message::PAYLOAD_ALIGN;
use crate::worker::Claim;

/// The library's own source.
pub const SOURCE: &str = "seqcast";
/// Posted under [`SOURCE`] by every worker that joins; the payload is its label.
pub const STARTED: &str = "started";
/// Posted under [`SOURCE`] by every worker that leaves in order; the payload is its label.
pub const STOPPING: &str = "stopping";

/// The name of an event: a source, and one of its events. Made at compile time by [`event_list!`](crate::event_list).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Topic {
    /// What the event is about, 1 to 255 bytes.
    pub source: &'static str,
    /// What happened to it, 1 to 255 bytes.
    pub event: &'static str,
}

/// Names a source and its events once, so that a misspelt event does not compile.
///
/// ```
/// seqcast::event_list! {
///     /// What the health checker says.
///     pub mod health = "health" {
///         /// The upstream does not answer.
///         DOWN = "down",
///         UP = "up",
///     }
/// }
/// assert_eq!(health::DOWN.source, "health");
/// assert_eq!(health::SOURCE, "health");
/// assert_eq!(health::ALL.len(), 2);
/// ```
///
/// ```compile_fail
/// seqcast::event_list! { mod health = "health" { DOWN = "down" } }
/// let _ = health::DOWM;
/// ```
#[macro_export]
macro_rules! event_list {
    ($(#[$attr:meta])* $vis:vis mod $name:ident = $source:literal {
        $($(#[$event_attr:meta])* $event:ident = $text:literal),+ $(,)?
    }) => {
        $(#[$attr])*
        #[allow(dead_code, missing_docs)]
        $vis mod $name {
            /// The source of these events.
            pub const SOURCE: &str = $source;
            $($(#[$event_attr])* pub const $event: $crate::Topic = $crate::Topic::new($source, $text);)+
            /// All events of the source.
            pub const ALL: &[$crate::Topic] = &[$($event),+];
        }
    };
}

impl Topic {
    /// A topic. Names that events cannot have do not compile in a constant.
    ///
    /// # Panics
    ///
    /// If a name is empty or longer than 255 bytes.
    pub const fn new(source: &'static str, event: &'static str) -> Topic {
        assert!(!source.is_empty() && source.len() <= crate::message::MOST_NAME, "a source has 1 to 255 bytes");
        assert!(!event.is_empty() && event.len() <= crate::message::MOST_NAME, "an event has 1 to 255 bytes");
        Topic { source, event }
    }
}

/// A type whose values are events of their own: archived when posted, checked and accessed in place when handled.
///
/// ```
/// use rkyv::{Archive, Serialize};
///
/// #[derive(Archive, Serialize)]
/// struct UpstreamDown {
///     ip: [u8; 4],
///     port: u16,
/// }
///
/// impl seqcast::TypedEvent for UpstreamDown {
///     const SOURCE: &'static str = "health";
///     const EVENT: &'static str = "down";
///     const VERSION: u32 = 1;
/// }
/// ```
pub trait TypedEvent: Archive {
    /// The events' source.
    const SOURCE: &'static str;
    /// The events' name.
    const EVENT: &'static str;
    /// Raise it when the type's fields change meaning or order, so that workers of an older build do not take the new
    /// values for theirs.
    const VERSION: u32 = 1;
}

/// A [`TypedEvent`] that can be posted. Implemented for all whose `rkyv::Serialize` is derived.
pub trait Postable: TypedEvent + for<'a> Serialize<Serializer<'a>> {}
impl<T: TypedEvent + for<'a> Serialize<Serializer<'a>>> Postable for T {}

/// A [`TypedEvent`] that can be handled. Implemented for all whose `rkyv::Archive` is derived with `bytecheck`.
pub trait Handleable: TypedEvent<Archived: for<'a> CheckBytes<HighValidator<'a, rancor::Failure>>> {}
impl<T: TypedEvent<Archived: for<'a> CheckBytes<HighValidator<'a, rancor::Failure>>>> Handleable for T {}

/// Ranges within ranges that validation follows, the whole being the first. A link of a list takes eight bytes, so that
/// hostile ones would otherwise recurse until the stack is used up.
const MOST_DEPTH: usize = 129;

/// What archives posted values.
pub type Serializer<'a> = HighSerializer<AlignedVec<PAYLOAD_ALIGN>, ArenaHandle<'a>, rancor::Error>;

/// Tells values of `T` from those of any other type and version. Never 0, which means bytes.
pub(crate) const fn type_tag<T: TypedEvent>() -> u64 {
    assert!(align_of::<T::Archived>() <= PAYLOAD_ALIGN, "archived events are aligned to at most 16 bytes");
    let mut hash = Fnv::new();
    hash.bytes(T::SOURCE.as_bytes());
    hash.number(T::SOURCE.len() as u64);
    hash.bytes(T::EVENT.as_bytes());
    hash.number(T::EVENT.len() as u64);
    hash.number(T::VERSION as u64);
    hash.number(size_of::<T::Archived>() as u64);
    hash.number(align_of::<T::Archived>() as u64);
    hash.finish() | 1
}

/// Archives `value` into `buffer`, which is emptied first.
pub(crate) fn archive<T: Postable>(
    value: &T,
    mut buffer: AlignedVec<PAYLOAD_ALIGN>,
) -> Result<AlignedVec<PAYLOAD_ALIGN>> {
    buffer.clear();
    rkyv::api::high::to_bytes_in(value, buffer).map_err(|error: rancor::Error| Error::Archive {
        type_name: std::any::type_name::<T>(),
        reason: error.to_string(),
    })
}

/// An event on its way to its handlers.
///
/// Its `Debug` shows everything but the payload.
pub struct Event<'a> {
    pub(crate) source: &'a str,
    pub(crate) event: &'a str,
    pub(crate) origin: Origin,
    pub(crate) data: Data<'a>,
}

/// Where an event came from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    Local,
    Posted { id: u64, pid: u32, record: u16, own: bool, claim: Option<Claim> },
}

/// What an event carries.
#[derive(Clone, Copy)]
pub(crate) enum Data<'a> {
    Bytes { type_tag: u64, bytes: &'a [u8] },
    Value(&'a (dyn Any + Send + Sync)),
}

impl<'a> Event<'a> {
    /// What the event is about.
    pub fn source(&self) -> &'a str {
        self.source
    }

    /// What happened.
    pub fn event(&self) -> &'a str {
        self.event
    }

    /// The event's place in the order that all workers share. `None` for local events.
    pub fn id(&self) -> Option<u64> {
        match self.origin {
            Origin::Local => None,
            Origin::Posted { id, .. } => Some(id),
        }
    }

    /// Process id of the sender, in its own pid namespace. `None` for local events.
    pub fn pid(&self) -> Option<u32> {
        match self.origin {
            Origin::Local => None,
            Origin::Posted { pid, .. } => Some(pid),
        }
    }

    /// The worker record of the sender. `None` for local events.
    pub fn record(&self) -> Option<u32> {
        match self.origin {
            Origin::Local => None,
            Origin::Posted { record, .. } => Some(u32::from(record)),
        }
    }

    /// Whether this process posted the event. Not so, to be on the safe side, if the worker that posted it has left and
    /// another process has taken its seat since.
    pub fn is_own(&self) -> bool {
        match self.origin {
            Origin::Local => true,
            Origin::Posted { own, .. } => own,
        }
    }

    /// Whether the event was posted to this worker only.
    pub fn is_local(&self) -> bool {
        matches!(self.origin, Origin::Local)
    }

    /// The claim by which this worker is the only one to run a unique event. Releasing it lets the next event with the
    /// same key run before the ttl is over.
    pub fn claim(&self) -> Option<Claim> {
        match self.origin {
            Origin::Local => None,
            Origin::Posted { claim, .. } => claim,
        }
    }

    /// The payload's bytes. For a local event: those of the vector, string or static slice that was posted, and none
    /// for any other value.
    pub fn bytes(&self) -> &'a [u8] {
        match self.data {
            Data::Bytes { bytes, .. } => bytes,
            Data::Value(value) => bytes_of_value(value),
        }
    }

    /// The value that was posted with [`Worker::post_local`](crate::Worker::post_local), if it is a `T`.
    pub fn local<T: Any>(&self) -> Option<&'a T> {
        match self.data {
            Data::Bytes { .. } => None,
            Data::Value(value) => value.downcast_ref(),
        }
    }

    /// The value that was posted as a `T`, checked and in place.
    ///
    /// # Errors
    ///
    /// [`Error::Payload`] if it was not posted as a `T` of this version, or its bytes are not a valid `T`, or it is nested
    /// more than 127 pointers deep (a box in a box, a vector in a vector): validation recurses, and the bytes must not
    /// decide how far.
    pub fn typed<T: Handleable>(&self) -> Result<&'a T::Archived> {
        let reason = match self.data {
            Data::Bytes { type_tag: tag, bytes } if tag == const { type_tag::<T>() } => {
                let archive = ArchiveValidator::with_max_depth(bytes, NonZeroUsize::new(MOST_DEPTH));
                let mut validator = Validator::new(archive, SharedValidator::new());
                match rkyv::api::access_with_context::<T::Archived, _, rancor::Failure>(bytes, &mut validator) {
                    Ok(value) => return Ok(value),
                    Err(_) => "its bytes are not a valid value",
                }
            }
            Data::Bytes { type_tag: 0, .. } | Data::Value(_) => "it was not posted as a typed event",
            Data::Bytes { .. } => "it was posted as another type or version",
        };
        Err(Error::Payload { source: self.source.to_owned(), event: self.event.to_owned(), reason })
    }
}

fn bytes_of_value(value: &(dyn Any + Send + Sync)) -> &[u8] {
    if let Some(bytes) = value.downcast_ref::<Vec<u8>>() {
        bytes
    } else if let Some(text) = value.downcast_ref::<String>() {
        text.as_bytes()
    } else if let Some(text) = value.downcast_ref::<&'static str>() {
        text.as_bytes()
    } else if let Some(bytes) = value.downcast_ref::<&'static [u8]>() {
        bytes
    } else {
        &[]
    }
}

impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut event = f.debug_struct("Event");
        event.field("source", &self.source).field("event", &self.event);
        if let Origin::Posted { id, pid, record, claim, .. } = &self.origin {
            event.field("id", id).field("pid", pid).field("record", record).field("unique", &claim.is_some());
        }
        match self.data {
            Data::Bytes { bytes, .. } => event.field("len", &bytes.len()),
            Data::Value(_) => event.field("local", &true),
        };
        event.finish_non_exhaustive()
    }
}

/// An event that waits in its own process.
pub(crate) struct LocalEvent {
    pub(crate) source: Arc<str>,
    pub(crate) event: Arc<str>,
    pub(crate) data: LocalData,
}

pub(crate) enum LocalData {
    Value(Arc<dyn Any + Send + Sync>),
    Archived { type_tag: u64, bytes: AlignedVec<PAYLOAD_ALIGN> },
}

impl LocalEvent {
    pub(crate) fn as_event(&self) -> Event<'_> {
        let data = match &self.data {
            LocalData::Value(value) => Data::Value(&**value),
            LocalData::Archived { type_tag, bytes } => Data::Bytes { type_tag: *type_tag, bytes },
        };
        Event { source: &self.source, event: &self.event, origin: Origin::Local, data }
    }
}
