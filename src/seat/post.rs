//! From a topic and a payload to the writer: the common path of all handles that post.

use crate::claim::Unique;
use crate::error::Result;
use crate::event::wire::UniqueKey;
use crate::event::{Payload, Topic, with_encoded};
use crate::seat::publish::{Outgoing, Writer};

/// A handle on a seat that posts. The trait is sealed.
pub trait Posts {
    /// Returns an error if the handle can no longer post.
    #[doc(hidden)]
    fn check(&self) -> Result<()>;

    /// Returns the hashed key and the ttl of a unique event. A key without a ttl gets the seat's timeout.
    #[doc(hidden)]
    fn unique_key(&self, unique: Unique<'_>) -> Result<UniqueKey>;

    /// Checks the handle and calls `run` with the writer, which no other thread uses during the call.
    #[doc(hidden)]
    fn with_writer<R>(&mut self, run: impl FnOnce(&mut Writer) -> Result<R>) -> Result<R>;
}

impl<P: Posts> Posts for &mut P {
    #[inline]
    fn check(&self) -> Result<()> {
        (**self).check()
    }

    fn unique_key(&self, unique: Unique<'_>) -> Result<UniqueKey> {
        (**self).unique_key(unique)
    }

    #[inline]
    fn with_writer<R>(&mut self, run: impl FnOnce(&mut Writer) -> Result<R>) -> Result<R> {
        (**self).with_writer(run)
    }
}

/// Builds an event from the arguments, and calls `publish` with it.
#[inline]
pub(crate) fn send<R>(
    mut handle: impl Posts,
    topic: Topic<'_>,
    unique: Option<Unique<'_>>,
    payload: &impl Payload,
    publish: impl FnOnce(&mut Writer, &Outgoing<'_>) -> Result<R>,
) -> Result<R> {
    handle.check()?;
    topic.check_to_post()?;
    let unique = match unique {
        Some(unique) => Some(handle.unique_key(unique)?),
        None => None,
    };
    with_encoded(topic, payload, |type_tag, bytes| {
        // Archiving runs the user's code, which may have forked and returned in the child. So the handle is checked
        // again.
        handle.with_writer(|writer| {
            payload.check_format(writer.segment().typed_format())?;
            publish(writer, &Outgoing { topic, type_tag, unique, payload: bytes })
        })
    })
}
