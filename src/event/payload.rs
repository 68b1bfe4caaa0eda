//! The payloads of events.

use std::cell::Cell;
use std::fmt;

use super::{LocalData, Topic};
use crate::error::Result;
use crate::sync::{AtomicU64, Ordering};

/// The bytes of an event outside the segment, aligned for archived values.
#[cfg(feature = "typed")]
pub type Buffer = rkyv::util::AlignedVec<{ super::wire::PAYLOAD_ALIGN }>;
/// The bytes of an event outside the segment.
#[cfg(not(feature = "typed"))]
pub type Buffer = Vec<u8>;

/// The payload of an event: bytes or text, owned or borrowed, or a reference to a
/// [`TypedEvent`](crate::TypedEvent).
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// # let worker = bus.join()?;
/// worker.post(("cache", "stale"), "user:42")?;
/// worker.post(("cache", "stale"), [7, 8, 9])?;
/// worker.post(("cache", "stale"), format!("user:{}", 43))?;
/// # Ok::<(), seqcast::Error>(())
/// ```
///
/// The trait is sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the payload of an event",
    note = "payloads are bytes, text, or a reference to a type that implements `TypedEvent`"
)]
pub trait Payload: Encode {}

impl<P: Encode> Payload for P {}

/// Bytes with a type tag, for formats of the application and for other languages.
///
/// The tag is any number except 0, which means bytes without a tag. The reader gets it from
/// [`Event::type_tag`](crate::Event::type_tag). A tag that equals the tag of a [`TypedEvent`](crate::TypedEvent) by
/// chance does no harm: the bytes are validated before they count as a value.
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// use seqcast::{Delivery, Tagged};
///
/// const CBOR: u64 = 0x63626f72;
/// let mut subscriber = bus.subscribe()?;
/// bus.publisher()?.post(("cache", "stale"), Tagged { type_tag: CBOR, bytes: &[0x18, 0x2a] })?;
/// # subscriber.only([("cache", "stale")])?;
/// let Some(Delivery::Event(event)) = subscriber.try_next()? else { panic!() };
/// assert_eq!((event.type_tag(), event.bytes()), (CBOR, &[0x18, 0x2a][..]));
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tagged<'a> {
    /// The tag.
    pub type_tag: u64,
    /// The payload.
    pub bytes: &'a [u8],
}

impl fmt::Debug for Tagged<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the payload.
        f.debug_struct("Tagged").field("type_tag", &self.type_tag).field("len", &self.bytes.len()).finish()
    }
}

impl Encode for Tagged<'_> {
    #[inline]
    fn encode<'b>(
        &'b self,
        _topic: Topic<'_>,
        _buffer: &'b mut Buffer,
        _long: Option<&mut dyn Put>,
    ) -> Result<(u64, &'b [u8])> {
        Ok((self.type_tag, self.bytes))
    }

    fn into_local(self, _topic: Topic<'_>) -> Result<LocalData> {
        let mut bytes = Buffer::with_capacity(self.bytes.len());
        bytes.extend_from_slice(self.bytes);
        Ok(LocalData::Archived { type_tag: self.type_tag, bytes })
    }
}

/// What takes a payload that is longer than what is kept in a buffer.
pub trait Put {
    /// Takes the next bytes, behind which at least `more` follow. Their number is a multiple of 8, unless they are the
    /// last.
    #[doc(hidden)]
    fn put(&mut self, piece: &[u8], more: usize) -> Result<()>;
}

/// A piece that is at least as long is put by itself.
const LONG_PIECE: usize = 1 << 10;

/// Puts what is in `stage`, and then `bytes`, except for what is kept in `stage`: less than [`LONG_PIECE`] bytes.
pub(super) fn put_long(to: &mut dyn Put, stage: &mut Buffer, bytes: &[u8]) -> Result<()> {
    let missing = stage.len().next_multiple_of(8) - stage.len();
    let (first, rest) = bytes.split_at(missing.min(bytes.len()));
    stage.extend_from_slice(first);
    if !stage.len().is_multiple_of(8) {
        // `bytes` are too few to complete the last word.
        return Ok(());
    }
    if !stage.is_empty() {
        to.put(stage, rest.len())?;
        stage.clear();
    }
    let at_once = if rest.len() < LONG_PIECE { 0 } else { rest.len() / 8 * 8 };
    let (now, later) = rest.split_at(at_once);
    if !now.is_empty() {
        to.put(now, later.len())?;
    }
    stage.extend_from_slice(later);
    Ok(())
}

/// The conversion of a payload to bytes.
pub trait Encode {
    /// Returns the type tag and the bytes. Uses `buffer` if the bytes do not exist yet. If they become too many for
    /// that, puts some of them to `long`, and returns those behind them.
    #[doc(hidden)]
    fn encode<'b>(
        &'b self,
        topic: Topic<'_>,
        buffer: &'b mut Buffer,
        long: Option<&mut dyn Put>,
    ) -> Result<(u64, &'b [u8])>;

    /// Checks that the other programs on the bus can read such a payload. `_bus` is the word with the format of the
    /// bus's typed values.
    #[doc(hidden)]
    #[inline]
    fn check_format(&self, _bus: &AtomicU64) -> Result<()> {
        Ok(())
    }

    /// Returns `true` if [`encode`](Encode::encode) needs the buffer.
    #[doc(hidden)]
    const BUFFERED: bool = false;

    /// Returns the payload of a local event.
    #[doc(hidden)]
    fn into_local(self, topic: Topic<'_>) -> Result<LocalData>;
}

/// Stores `own` as the format of a bus's typed values, if the bus has none yet. If it has another one, returns that.
#[inline]
pub(crate) fn agree_on_format(bus: &AtomicU64, own: u64) -> std::result::Result<(), u64> {
    // Relaxed: the word changes once, before the exchange that publishes the first typed value and releases it.
    let found = match bus.load(Ordering::Relaxed) {
        0 => bus.compare_exchange(0, own, Ordering::Relaxed, Ordering::Relaxed).map_or_else(|found| found, |_| own),
        found => found,
    };
    if found == own { Ok(()) } else { Err(found) }
}

macro_rules! bytes {
    ($([$($generics:tt)*] $type:ty),+ $(,)?) => {
        $(impl<$($generics)*> Encode for $type {
            #[inline]
            fn encode<'b>(
                &'b self,
                _topic: Topic<'_>,
                _buffer: &'b mut Buffer,
                _long: Option<&mut dyn Put>,
            ) -> Result<(u64, &'b [u8])> {
                Ok((0, self.as_ref()))
            }

            fn into_local(self, _topic: Topic<'_>) -> Result<LocalData> {
                let bytes: &[u8] = self.as_ref();
                let mut copy = Buffer::with_capacity(bytes.len());
                copy.extend_from_slice(bytes);
                Ok(LocalData::Archived { type_tag: 0, bytes: copy })
            }
        })+
    };
}

bytes! {
    [] &[u8], [] &&[u8], [] &Vec<u8>, [] Vec<u8>, [const N: usize] [u8; N], [const N: usize] &[u8; N],
    [] &str, [] &&str, [] &String, [] String,
    [] Box<[u8]>, [] std::borrow::Cow<'_, [u8]>, [] std::sync::Arc<[u8]>,
}

/// Encodes `payload`, in this thread's buffer if it is needed, and calls `run` with the result.
#[inline]
pub(crate) fn with_encoded<P: Payload, R>(
    topic: Topic<'_>,
    payload: &P,
    run: impl FnOnce(u64, &[u8]) -> Result<R>,
) -> Result<R> {
    if !P::BUFFERED {
        // An empty buffer allocates nothing.
        let mut buffer = Buffer::new();
        let (type_tag, bytes) = payload.encode(topic, &mut buffer, None)?;
        return run(type_tag, bytes);
    }
    with_buffer(|buffer| {
        let (type_tag, bytes) = payload.encode(topic, buffer, None)?;
        run(type_tag, bytes)
    })
}

/// Calls `run` with this thread's buffer. It is a new buffer if the thread's is in use, because one value is archived
/// during the archiving of another, or if the thread's locals are destroyed.
pub(crate) fn with_buffer<R>(run: impl FnOnce(&mut Buffer) -> R) -> R {
    /// A buffer that has grown beyond this is not kept.
    const MOST_KEPT: usize = 64 << 10;
    thread_local! {
        static BUFFER: Cell<Buffer> = Cell::default();
    }
    let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
    let result = run(&mut buffer);
    if buffer.capacity() <= MOST_KEPT {
        let _ = BUFFER.try_with(|kept| kept.set(buffer));
    }
    result
}
