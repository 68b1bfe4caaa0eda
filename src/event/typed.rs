//! Typed events.

use std::cell::Cell;
use std::fmt;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::sync::LazyLock;

use rkyv::api::high::{HighSerializer, HighValidator, to_bytes_in_with_alloc};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor;
use rkyv::ser::allocator::{Arena, ArenaHandle};
use rkyv::ser::{Positional, Writer};
use rkyv::validation::Validator;
use rkyv::validation::archive::ArchiveValidator;
use rkyv::validation::shared::SharedValidator;
use rkyv::{Archive, Serialize};

use super::payload::{Encode, Put, agree_on_format, put_long};
use super::wire::PAYLOAD_ALIGN;
use super::{Buffer, Data, Event, LocalData, Topic};
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Cause, Error, Result};
use crate::os::fnv::Fnv;
use crate::sync::AtomicU64;

/// A type whose values can be posted. A value is archived by rkyv when it is posted, and validated and accessed in
/// place when it is handled.
///
/// ```
/// use rkyv::{Archive, Serialize};
/// use seqcast::Topic;
///
/// #[derive(Archive, Serialize)]
/// struct UpstreamDown {
///     ip: [u8; 4],
///     port: u16,
/// }
///
/// impl seqcast::TypedEvent for UpstreamDown {
///     const TOPIC: Topic<'static> = Topic::new("health", "down");
///     const VERSION: u32 = 1;
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither bytes nor a typed event",
    note = "derive `rkyv::Archive` and `rkyv::Serialize`, and implement `seqcast::TypedEvent` with its `TOPIC`"
)]
pub trait TypedEvent:
    Archive<Archived: for<'a> CheckBytes<HighValidator<'a, rancor::Failure>>> + for<'a> Serialize<Serializer<'a>>
{
    /// The topic of these events.
    const TOPIC: Topic<'static>;
    /// The version of the type. Raise it when the type's fields change meaning or order, so that workers of an older
    /// build do not misread the new values.
    const VERSION: u32 = 1;
}

/// The largest depth of nested ranges in validation; the whole payload is the first range. A link of a list takes only
/// eight bytes, so without this limit a hostile list would exhaust the stack.
const MOST_DEPTH: usize = 129;

/// The serializer of posted values.
pub type Serializer<'a> = HighSerializer<Archiver<'a>, ArenaHandle<'a>, rancor::Error>;

/// A value of up to so many bytes is archived to a buffer and copied. A longer one goes to its place in the segment.
/// `benches/typed.rs` measures from which size on that is faster.
const MOST_BUFFERED: usize = 16 << 10;

/// What values are archived to: a buffer, which a long value leaves piece by piece.
pub struct Archiver<'a> {
    buffer: &'a mut Buffer,
    /// The most bytes that the buffer gets.
    most: usize,
    /// The bytes that have left the buffer.
    put: usize,
    /// Where they go, and the error of a put, which ends the archiving.
    long: Option<(&'a mut (dyn Put + 'a), &'a mut Option<Error>)>,
}

impl Positional for Archiver<'_> {
    #[inline]
    fn pos(&self) -> usize {
        self.put + self.buffer.len()
    }
}

impl Writer<rancor::Error> for Archiver<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> std::result::Result<(), rancor::Error> {
        if self.buffer.len() + bytes.len() > self.most {
            return self.put(bytes);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }
}

impl Archiver<'_> {
    /// Puts what is in the buffer, and then `bytes`, except for what is kept in the buffer.
    #[cold]
    fn put(&mut self, bytes: &[u8]) -> std::result::Result<(), rancor::Error> {
        let end = self.pos() + bytes.len();
        let Archiver { buffer, long: Some((to, failed)), .. } = self else {
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        };
        if let Err(error) = put_long(*to, buffer, bytes) {
            **failed = Some(error);
            return Err(rancor::Source::new(Stopped));
        }
        self.put = end - self.buffer.len();
        Ok(())
    }
}

impl fmt::Debug for Archiver<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the payload.
        f.debug_struct("Archiver").field("len", &self.pos()).finish_non_exhaustive()
    }
}

/// The archiving was stopped by an error of its destination.
#[derive(Debug)]
struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value could not be written to the segment")
    }
}

impl std::error::Error for Stopped {}

/// Distinguishes values of `T` from those of any other type and version. Never 0, which means bytes.
const fn type_tag<T: TypedEvent>() -> u64 {
    assert!(align_of::<T::Archived>() <= PAYLOAD_ALIGN, "archived events are aligned to at most 16 bytes");
    let (source, event) = (T::TOPIC.source(), T::TOPIC.event());
    let mut hash = Fnv::new();
    hash.bytes(source.as_bytes());
    hash.number(source.len() as u64);
    hash.bytes(event.as_bytes());
    hash.number(event.len() as u64);
    hash.number(T::VERSION as u64);
    hash.number(size_of::<T::Archived>() as u64);
    hash.number(align_of::<T::Archived>() as u64);
    hash.finish() | 1
}

/// Returns the format in which this program archives typed values. It depends on the features with which rkyv was
/// built: `unaligned`, `little_endian` or `big_endian`, `pointer_width_16`, `_32` or `_64`. Values of programs with
/// different formats must not meet. It is never 0.
///
/// Programs on one bus compare it by themselves: see [`ErrorKind::TypedFormat`]. It is for programs that carry typed
/// values from one bus to another, such as a [relay](crate::relay).
///
/// ```
/// assert_ne!(seqcast::archive_format(), 0);
/// ```
pub fn archive_format() -> u32 {
    format() as u32
}

/// The format in which this program archives values, as rkyv was compiled for it: a number of 32 bits, never 0.
fn format() -> u64 {
    static FORMAT: LazyLock<u64> = LazyLock::new(|| {
        let mut hash = Fnv::new();
        for number in
            [size_of::<rkyv::Archived<usize>>(), align_of::<rkyv::Archived<u64>>(), size_of::<rkyv::Archived<String>>()]
        {
            hash.number(number as u64);
        }
        if let Ok(bytes) = rkyv::to_bytes::<rancor::Failure>(&0x0102_0304_u32) {
            hash.bytes(&bytes);
        }
        let hash = hash.finish();
        u64::from((hash ^ hash >> 32) as u32 | 1)
    });
    *FORMAT
}

/// Checks that the typed values of a bus have this program's format. `bus` is the word that holds their format. If no
/// program has used typed values yet, stores this program's format.
#[inline]
pub(crate) fn check_format<T: TypedEvent>(bus: &AtomicU64) -> Result<()> {
    agree_on_format(bus, format()).map_err(other_format::<T>)
}

#[cold]
fn other_format<T>(found: u64) -> Error {
    Error::from(Cause::TypedFormat { type_name: std::any::type_name::<T>(), found, expected: format() })
}

/// Archives `value` into `buffer`, which is cleared first. Puts the first bytes of a long value to `long`.
#[inline]
fn archive<T: TypedEvent>(value: &T, buffer: &mut Buffer, long: Option<&mut dyn Put>) -> Result<()> {
    buffer.clear();
    let mut failed = None;
    let archived = with_arena(|arena| {
        let most = if long.is_some() { MOST_BUFFERED } else { usize::MAX };
        let long = long.map(|to| (to as &mut dyn Put, &mut failed));
        to_bytes_in_with_alloc::<_, _, rancor::Error>(value, Archiver { buffer, most, put: 0, long }, arena.acquire())
            .map(drop)
    });
    match (archived, failed) {
        (Ok(()), None) => Ok(()),
        // The value's own code may have ignored the error of a put. Then a part of the value is missing.
        (_, Some(failed)) => Err(failed),
        (Err(error), None) => Err(not_archived::<T>(&error)),
    }
}

#[cold]
fn not_archived<T>(error: &rancor::Error) -> Error {
    Error::from(Cause::Archive { type_name: std::any::type_name::<T>(), reason: error.to_string() })
}

/// Calls `run` with this thread's arena, in which rkyv keeps temporary data while it archives. It is a new arena if the
/// thread's is in use, because one value is archived during the archiving of another, or if the thread's locals are
/// destroyed, where rkyv's own arena would panic.
fn with_arena<R>(run: impl FnOnce(&mut Arena) -> R) -> R {
    /// A larger arena is not kept.
    const MOST_KEPT: usize = 64 << 10;
    thread_local! {
        static ARENA: Cell<Option<Arena>> = const { Cell::new(None) };
    }
    let mut arena = ARENA.try_with(Cell::take).ok().flatten().unwrap_or_default();
    let result = run(&mut arena);
    if arena.shrink() <= MOST_KEPT {
        let _ = ARENA.try_with(|kept| kept.set(Some(arena)));
    }
    result
}

/// Validates that `bytes` are a `T` and returns it in place.
fn access<T: TypedEvent>(bytes: &[u8]) -> Option<&T::Archived> {
    let archive = ArchiveValidator::with_max_depth(bytes, NonZeroUsize::new(MOST_DEPTH));
    let mut validator = Validator::new(archive, SharedValidator::new());
    rkyv::api::access_with_context::<T::Archived, _, rancor::Failure>(bytes, &mut validator).ok()
}

impl<T: TypedEvent> Encode for &T {
    const BUFFERED: bool = true;

    #[inline]
    fn check_format(&self, bus: &AtomicU64) -> Result<()> {
        check_format::<T>(bus)
    }

    #[inline]
    fn encode<'b>(
        &'b self,
        topic: Topic<'_>,
        buffer: &'b mut Buffer,
        long: Option<&mut dyn Put>,
    ) -> Result<(u64, &'b [u8])> {
        check_topic_of::<T>(topic)?;
        archive(*self, buffer, long)?;
        Ok((const { type_tag::<T>() }, buffer))
    }

    fn into_local(self, topic: Topic<'_>) -> Result<LocalData> {
        check_topic_of::<T>(topic)?;
        let mut bytes = Buffer::new();
        archive(self, &mut bytes, None)?;
        Ok(LocalData::Archived { type_tag: const { type_tag::<T>() }, bytes })
    }
}

/// Rejects a typed value under a topic other than its type's.
#[inline]
fn check_topic_of<T: TypedEvent>(topic: Topic<'_>) -> Result<()> {
    if topic == T::TOPIC {
        return Ok(());
    }
    Err(Error::from(Cause::TypedTopic {
        type_name: std::any::type_name::<T>(),
        topic: topic.to_string(),
        expected: T::TOPIC.to_string(),
    }))
}

impl<'a> Event<'a> {
    /// Returns the value that was posted as a `T`, validated and in place.
    ///
    /// ```
    /// # use seqcast::rkyv::{Archive, Serialize};
    /// # use seqcast::{Topic, TypedEvent};
    /// # #[derive(Archive, Serialize)]
    /// # #[rkyv(crate = seqcast::rkyv)]
    /// # struct UpstreamDown {
    /// #     port: u16,
    /// # }
    /// # impl TypedEvent for UpstreamDown {
    /// #     const TOPIC: Topic<'static> = Topic::new("health", "down");
    /// # }
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// # worker.poll()?;
    /// worker.post(UpstreamDown::TOPIC, &UpstreamDown { port: 8080 })?;
    /// worker.poll_with(|event| {
    ///     let down = event.typed::<UpstreamDown>()?;
    ///     println!("port {}", down.port);
    ///     Ok::<(), seqcast::HandlerError>(())
    /// })?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TypedFormat`] if values on the bus have another format than those of this program;
    /// [`ErrorKind::Payload`] if the event was not posted as a `T` of this version, if its bytes are not a valid `T`,
    /// or if it is nested more than 127 pointers deep (a box in a box, a vector in a vector). Validation recurses, so
    /// its depth must be limited.
    pub fn typed<T: TypedEvent>(&self) -> Result<&'a T::Archived> {
        let reason = match self.data() {
            Data::Bytes { format: found, .. } if found != 0 && found != format() => {
                return Err(other_format::<T>(found));
            }
            Data::Bytes { type_tag: tag, bytes, .. } if tag == const { type_tag::<T>() } => match access::<T>(bytes) {
                Some(value) => return Ok(value),
                None => "its bytes are not a valid value",
            },
            Data::Bytes { type_tag: 0, .. } | Data::Value => "it was not posted as a typed event",
            Data::Bytes { .. } => "it was posted as another type or version",
            Data::Visited => "its payload is visited in place, and is not here",
        };
        Err(Error::from(Cause::Payload { source: self.source.to_owned(), event: self.event.to_owned(), reason }))
    }
}

/// A value of a typed event, in place, as a handler of [`Worker::on_typed`](crate::Worker::on_typed) receives it.
///
/// It dereferences to the archived value.
///
/// ```
/// # use seqcast::rkyv::{Archive, Serialize};
/// # use seqcast::{Topic, TypedEvent};
/// # #[derive(Archive, Serialize)]
/// # #[rkyv(crate = seqcast::rkyv)]
/// # struct UpstreamDown {
/// #     port: u16,
/// # }
/// # impl TypedEvent for UpstreamDown {
/// #     const TOPIC: Topic<'static> = Topic::new("health", "down");
/// # }
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// # let worker = bus.join()?;
/// use seqcast::Typed;
///
/// worker.on_typed(|down: Typed<'_, UpstreamDown>| {
///     println!("port {} is down (event {:?})", down.port, down.event().id());
/// })?;
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Debug)]
pub struct Typed<'a, T: TypedEvent> {
    value: &'a T::Archived,
    event: &'a Event<'a>,
}

impl<'a, T: TypedEvent> Typed<'a, T> {
    /// Returns the value of `event`, if it is a `T`.
    pub(crate) fn of(event: &'a Event<'a>) -> Result<Typed<'a, T>> {
        event.typed::<T>().map(|value| Typed { value, event })
    }

    /// Returns the event that carries the value.
    pub fn event(&self) -> &'a Event<'a> {
        self.event
    }

    /// Returns the archived value.
    pub fn value(&self) -> &'a T::Archived {
        self.value
    }
}

impl<T: TypedEvent> Deref for Typed<'_, T> {
    type Target = T::Archived;

    fn deref(&self) -> &T::Archived {
        self.value
    }
}

#[cfg(test)]
mod tests {
    use rkyv::Place;
    use rkyv::rancor::Fallible;

    use super::*;

    /// A value whose own code ignores that its bytes could not be archived.
    struct Careless(Vec<u8>);

    impl Archive for Careless {
        type Archived = ();
        type Resolver = ();

        fn resolve(&self, (): (), _: Place<()>) {}
    }

    impl<S: Fallible + Writer<S::Error> + ?Sized> Serialize<S> for Careless {
        fn serialize(&self, serializer: &mut S) -> std::result::Result<(), S::Error> {
            let _ = serializer.write(&self.0);
            Ok(())
        }
    }

    impl TypedEvent for Careless {
        const TOPIC: Topic<'static> = Topic::new("s", "careless");
    }

    /// A place of which one put fails.
    struct Fails(usize);

    impl Put for Fails {
        fn put(&mut self, _: &[u8], _: usize) -> Result<()> {
            self.0 = self.0.wrapping_sub(1);
            if self.0 == 0 { Err(Error::option("place", 0, "this put fails")) } else { Ok(()) }
        }
    }

    #[test]
    fn g5_a_value_that_ignores_a_failed_put_is_not_archived() {
        let value = Careless(vec![7; 2 * MOST_BUFFERED]);
        for (fails, is_whole) in [(0, true), (1, false)] {
            let mut buffer = Buffer::new();
            assert_eq!(archive(&value, &mut buffer, Some(&mut Fails(fails))).is_ok(), is_whole);
        }
    }
}
