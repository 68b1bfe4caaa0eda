//! Posts payloads that are produced in the private block itself.
//!
//! ```text
//! fill    head and payload into the private block, as relaxed words: the user's code writes to a `Sink`
//! check   is this still the process that holds the seat?
//! post    as any event: the exchange publishes the block
//! ```
//!
//! Until the exchange nothing is visible. A writer that is killed in the user's code leaves a private block, which its
//! adopter overwrites from its beginning. There is no `&mut [u8]`: a late reader of the block's last event still loads
//! its words.

use crate::error::{Result, SizeLimit};
use crate::event::wire::{Keyed, Kind, LargeName, Travel};
use crate::event::{Buffer, NoRoom, Sender, Sink, Special, Topic};
use crate::os::fork::ForkGuard;
use crate::protocol::word::Where;
use crate::seat::post::Posts;
use crate::seat::publish::{Outgoing, Writer, set_meta, write_words};
use crate::seat::publisher::Publisher;
use crate::seat::room::{Posting, with_room};
use crate::segment::fault::InSegment;
use crate::sync::AtomicU64;

/// The most bytes that are allocated before they are written.
const MOST_AT_FIRST: usize = 64 << 10;

/// Produces a payload of `len` bytes by `fill` in a private buffer.
fn fill_buffer(len: usize, fill: impl FnOnce(&mut Sink<'_>) -> Result<()>) -> Result<Buffer> {
    let mut buffer = Buffer::with_capacity(len.min(MOST_AT_FIRST));
    let mut sink = Sink::to_buffer(&mut buffer, len);
    fill(&mut sink)?;
    sink.finish()?;
    Ok(buffer)
}

/// Posts an event whose payload, of `len` bytes, `fill` writes into a private buffer first.
pub(crate) fn send_buffered(
    sender: impl Sender,
    topic: Topic<'_>,
    special: Special<'_>,
    len: usize,
    fill: impl FnOnce(&mut Sink<'_>) -> Result<()>,
) -> Result<u64> {
    sender.send(topic, special, &fill_buffer(len, fill)?[..], NoRoom::Wait)
}

impl Publisher {
    /// Posts an event that is not retained. `fill` writes its payload, of `len` bytes, into the private block.
    pub(super) fn send_filled(
        &mut self,
        topic: Topic<'_>,
        special: Special<'_>,
        len: usize,
        fill: impl FnOnce(&mut Sink<'_>) -> Result<()>,
    ) -> Result<u64> {
        self.check()?;
        topic.check_to_post()?;
        let keyed = match special {
            Special::Unique(unique) => Keyed::Unique(Posts::unique_key(self, unique)?),
            _ => Keyed::Nothing,
        };
        let event = Outgoing { topic, type_tag: 0, keyed, travel: Travel::Local, payload: &[], bridged: false };
        let guard = self.seat.guard;
        let mut filled = match self.seat.writer.fill(&event, len, &guard, fill)? {
            Filled::Buffer(buffer) => return self.send(topic, special, &buffer[..], NoRoom::Wait),
            filled => filled,
        };
        let mut publisher = self;
        with_room(&mut publisher, NoRoom::Wait, |publisher, posting| {
            // The check of the handle: `fill` may have forked and returned in the child, or may have taken long.
            publisher.with_writer(|writer| writer.post_filled(&event, len, &mut filled, posting))
        })
    }
}

/// Where a payload was written to.
pub(super) enum Filled {
    Block,
    Large,
    /// It is public in a large block, and no event names it yet.
    Named(LargeName),
    /// It is too large for both.
    Buffer(Buffer),
}

impl Writer {
    /// Writes an event whose payload of `len` bytes is produced by `fill`. Nothing is posted yet. If `fill` fails or
    /// panics, the block stays private, and the next event is written over it.
    fn fill(
        &mut self,
        event: &Outgoing<'_>,
        len: usize,
        guard: &ForkGuard,
        fill: impl FnOnce(&mut Sink<'_>) -> Result<()>,
    ) -> Result<Filled> {
        let prefix = self.prefix(event, SizeLimit::Ring)?;
        let whole = prefix.len().saturating_add(len);
        if whole <= self.block_bytes() {
            let block = self.ring.begin(&self.hand).in_segment(&self.segment)?;
            set_meta(block, Kind::Event, whole);
            write_words(block.payload(), &prefix, Where::NONE, &[]);
            fill_words(&block.payload()[prefix.len() / 8..], len, guard, fill)?;
            return Ok(Filled::Block);
        }
        self.check_len(prefix.len(), whole, SizeLimit::Ring)?;
        if !self.fits_large(prefix.len(), len) {
            return fill_buffer(len, fill).map(Filled::Buffer);
        }
        let Some(large) = &self.large else { return Err(self.segment.corrupt("the segment has no large blocks")) };
        let block = large.begin().in_segment(&self.segment)?;
        set_meta(block, Kind::Large, len);
        fill_words(block.payload(), len, guard, fill)?;
        Ok(Filled::Large)
    }

    /// Posts what [`fill`](Writer::fill) has written. Returns its id. If there is no room, `posting` says so, and
    /// `filled` is for the next attempt.
    fn post_filled(
        &mut self,
        event: &Outgoing<'_>,
        len: usize,
        filled: &mut Filled,
        posting: &mut Posting<'_>,
    ) -> Result<u64> {
        let prefix = self.prefix(event, SizeLimit::Ring)?;
        if matches!(filled, Filled::Large) {
            self.make_room_for_next(posting)?;
            match self.post_large_filled(&prefix, len)? {
                Ok(id) => return Ok(self.has_posted(id)),
                // Other seats have taken the room meanwhile.
                Err((_, name)) => *filled = Filled::Named(name),
            }
        }
        let id = match filled {
            Filled::Named(name) => self.post_named(&prefix, *name, posting)?,
            _ => self.post_block(1, posting, |_| {})?,
        };
        Ok(self.has_posted(id))
    }
}

fn fill_words(
    words: &[AtomicU64],
    len: usize,
    guard: &ForkGuard,
    fill: impl FnOnce(&mut Sink<'_>) -> Result<()>,
) -> Result<()> {
    let mut sink = Sink::to_block(words, len, guard);
    fill(&mut sink)?;
    sink.finish()
}
