//! The way from a topic and a payload to the writer. It is the same for all handles that post.

use crate::claim::Unique;
use crate::error::Result;
use crate::event::wire::UniqueKey;
use crate::event::{Payload, Topic, with_encoded};
use crate::seat::publish::{Outgoing, Writer};

/// A handle on a seat that posts. The trait is sealed.
pub trait Posts {
    /// Refuses a handle that cannot post any more.
    #[doc(hidden)]
    fn check(&self) -> Result<()>;

    /// Returns what a unique event carries. A key without a ttl gets the seat's timeout.
    #[doc(hidden)]
    fn unique_key(&self, unique: Unique<'_>) -> Result<UniqueKey>;

    /// Checks the handle and runs `run` with the writer, which no other thread uses meanwhile.
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

/// Makes an event of what the caller says, and has `publish` publish it.
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
        // Archiving is users' code: it may have forked and returned in the child. So the handle is checked again.
        handle.with_writer(|writer| {
            payload.check_format(writer.segment().typed_format())?;
            publish(writer, &Outgoing { topic, type_tag, unique, payload: bytes })
        })
    })
}
