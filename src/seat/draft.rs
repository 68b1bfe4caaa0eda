//! A payload that is written into a private block before its event is posted, piece by piece. Users' code runs between
//! the pieces.
//!
//! ```text
//! begin    choose a block of the ring or a large block, by the length as far as it is known; lend it
//! put      store a piece as relaxed words. If the block is too small, go on in a large block, or in a buffer
//! post     the words before the payload, and the exchange
//! ```
//!
//! Until the exchange nothing is visible. A writer that is killed in the users' code leaves a private block, which its
//! adopter overwrites from its beginning. There is no `&mut [u8]`: a late reader of the block's last event still loads
//! its words.
//!
//! Other threads of a worker, and the users' code itself, may post meanwhile, and a seat has one private block. So the
//! lock of the writer is held for each piece only, and the writer knows what is lent. A post that comes between copies
//! what was written into a buffer and uses the block. The draft finds this at its next piece, and continues in the
//! buffer.

use std::mem;

use crate::error::{Result, SizeLimit};
use crate::event::wire::{Keyed, Kind, LargeName, Travel};
use crate::event::{Buffer, NoRoom, Put, Topic};
use crate::protocol::Fault;
use crate::protocol::bytes;
use crate::protocol::pool::Block;
use crate::protocol::thread_lock::Lend;
use crate::protocol::word::Where;
use crate::seat::copy::grow;
use crate::seat::post::Posts;
use crate::seat::publish::{Outgoing, Writer, set_meta, write_words};
use crate::seat::room::{Posting, with_room};
use crate::segment::fault::InSegment;
use crate::sync::AtomicU64;

/// What a writer has lent.
#[derive(Default)]
pub(super) enum Lent {
    #[default]
    Nothing,
    /// A private block, of which the first `words` words behind `at` are written.
    Block { at: At, words: usize },
    /// Another post needed the block. This is what was written.
    Saved(std::result::Result<Buffer, Fault>),
}

/// Where a payload begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// In the private block of the ring, at this word.
    Ring(usize),
    /// At the beginning of the private large block.
    Large,
}

/// Where a draft goes on.
enum Place {
    /// Nothing was written.
    Nowhere,
    /// In a lent block that has room for `room` bytes.
    Block {
        at: At,
        room: usize,
    },
    Buffer(Buffer),
    /// It is public in a large block, and no event names it yet.
    Named(LargeName),
    Posted,
}

/// What became of a draft.
pub(super) enum Drafted {
    Posted(u64),
    /// The payload is in a buffer, and nothing was posted.
    Buffer(Buffer),
}

/// A payload that is being written, and what it is to be posted with.
pub(super) struct Draft<'a, 'b, P: Posts> {
    handle: &'b mut P,
    topic: Topic<'a>,
    keyed: Keyed<'a>,
    place: Place,
    /// The bytes that were put.
    len: usize,
}

impl<'a, 'b, P: Posts> Draft<'a, 'b, P> {
    #[inline]
    pub(super) fn new(handle: &'b mut P, topic: Topic<'a>, keyed: Keyed<'a>) -> Draft<'a, 'b, P> {
        Draft { handle, topic, keyed, place: Place::Nowhere, len: 0 }
    }

    /// Returns `true` if nothing was put.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        matches!(self.place, Place::Nowhere)
    }

    fn event(&self, type_tag: u64) -> Outgoing<'a> {
        let Draft { topic, keyed, .. } = *self;
        Outgoing { topic, type_tag, keyed, travel: Travel::Local, payload: &[], bridged: false }
    }

    /// Begins a payload of exactly `len` bytes. Returns an error if it is too long.
    pub(super) fn begin(&mut self, len: usize) -> Result<()> {
        let event = self.event(0);
        self.place = self.handle.with_lender(|writer| {
            writer.check_payload(&event, len)?;
            writer.lend_for(&event, len)
        })?;
        Ok(())
    }

    /// Posts the payload. Calls `check` before, and `posted` with the id while no other thread posts. If the payload is
    /// in a buffer, returns that.
    pub(super) fn post(
        mut self,
        type_tag: u64,
        no_room: NoRoom,
        check: impl Fn(&Writer) -> Result<()>,
        posted: impl Fn(u64),
    ) -> Result<Drafted> {
        let event = self.event(type_tag);
        let Draft { handle, place, len, .. } = &mut self;
        with_room(&mut **handle, no_room, |handle, posting| {
            if let Place::Buffer(buffer) = place {
                return Ok(Drafted::Buffer(mem::take(buffer)));
            }
            // The check of the handle: users' code may have forked and returned in the child, or may have taken long.
            handle.with_lender(|writer| {
                if let Place::Block { at: At::Large, .. } = place
                    && !writer.large_is_allowed()
                {
                    // A worker that must read has joined since the payload was begun.
                    writer.take_back();
                }
                if let Place::Block { .. } = place
                    && let Some(mut buffer) = writer.take_saved()?
                {
                    // Without the filling of the last word.
                    buffer.resize(*len, 0);
                    *place = Place::Posted;
                    return Ok(Drafted::Buffer(buffer));
                }
                check(writer)?;
                let id = writer.post_draft(&event, *len, place, posting)?;
                posted(id);
                Ok(Drafted::Posted(id))
            })
        })
    }
}

impl<P: Posts> Put for Draft<'_, '_, P> {
    fn put(&mut self, piece: &[u8], more: usize) -> Result<()> {
        let event = self.event(0);
        let len = self.len + piece.len();
        let least = len.saturating_add(more);
        loop {
            let next = match &mut self.place {
                Place::Buffer(buffer) => {
                    buffer.extend_from_slice(piece);
                    None
                }
                Place::Block { at, room } => {
                    let (at, fits, begin) = (*at, least <= *room, self.len / 8);
                    self.handle.with_lender(|writer| {
                        if let Some(saved) = writer.take_saved()? {
                            return Ok(Some(Place::Buffer(saved)));
                        }
                        if !fits {
                            return writer.move_lent(&event, at, begin, least).map(Some);
                        }
                        bytes::store(&writer.lent_words(at).in_segment(&writer.segment)?[begin..], piece);
                        writer.lent = Lent::Block { at, words: bytes::words_for(len) };
                        Ok(None)
                    })?
                }
                _ => Some(self.handle.with_lender(|writer| writer.lend_for(&event, least))?),
            };
            match next {
                Some(place) => self.place = place,
                None => {
                    self.len = len;
                    return Ok(());
                }
            }
        }
    }
}

impl<P: Posts> Drop for Draft<'_, '_, P> {
    #[inline]
    fn drop(&mut self) {
        if let Place::Block { .. } = self.place {
            // If the handle cannot post any more, nobody needs the block.
            let _ = self.handle.with_lender(|writer| {
                writer.lent = Lent::Nothing;
                Ok(())
            });
        }
    }
}

impl Lend for Writer {
    #[cold]
    fn take_back(&mut self) {
        if let Lent::Block { at, words } = self.lent {
            let mut buffer = Buffer::new();
            grow(&mut buffer, words * 8);
            let saved = self.lent_words(at).map(|lent| bytes::load_bytes(lent, &mut buffer));
            self.lent = Lent::Saved(saved.map(|()| buffer));
        }
    }
}

impl Writer {
    /// Returns `true` if a block is lent, and is as its borrower has left it.
    #[inline]
    pub(crate) fn is_lent(&self) -> bool {
        matches!(self.lent, Lent::Block { .. })
    }

    fn check_payload(&self, event: &Outgoing<'_>, len: usize) -> Result<()> {
        let prefix = self.prefix(event, SizeLimit::Ring)?;
        let whole = prefix.len().saturating_add(len);
        if whole > self.block_bytes() { self.check_len(prefix.len(), whole, SizeLimit::Ring) } else { Ok(()) }
    }

    /// Chooses where a payload of `len` or more bytes is written.
    fn lend_for(&mut self, event: &Outgoing<'_>, len: usize) -> Result<Place> {
        let prefix_len = self.prefix(event, SizeLimit::Ring)?.len();
        // One payload at a time is written in place.
        let is_free = matches!(self.lent, Lent::Nothing);
        let (at, room) = match prefix_len.saturating_add(len) {
            _ if !is_free => return Ok(Place::Buffer(Buffer::new())),
            whole if whole <= self.block_bytes() => (At::Ring(prefix_len / 8), self.block_bytes() - prefix_len),
            _ if self.fits_large(prefix_len, len) => (At::Large, self.segment.geometry().large_bytes()),
            _ => return Ok(Place::Buffer(Buffer::new())),
        };
        self.lent = Lent::Block { at, words: 0 };
        Ok(Place::Block { at, room })
    }

    /// Moves the first `words` words of a payload that turns out to have at least `len` bytes from the block at `at` to
    /// where it has room.
    #[cold]
    fn move_lent(&mut self, event: &Outgoing<'_>, at: At, words: usize, len: usize) -> Result<Place> {
        let prefix_len = self.prefix(event, SizeLimit::Ring)?.len();
        let room = self.segment.geometry().large_bytes();
        if at != At::Large && self.fits_large(prefix_len, len) {
            let (from, to) = (self.lent_words(at), self.lent_words(At::Large));
            let (from, to) = (from.in_segment(&self.segment)?, to.in_segment(&self.segment)?);
            bytes::copy(&from[..words], &to[..words]);
            self.lent = Lent::Block { at: At::Large, words };
            return Ok(Place::Block { at: At::Large, room });
        }
        self.lent = Lent::Block { at, words };
        self.take_back();
        // Never empty after that.
        Ok(Place::Buffer(self.take_saved()?.unwrap_or_default()))
    }

    /// Returns what was written to a block that another post has needed.
    fn take_saved(&mut self) -> Result<Option<Buffer>> {
        match &mut self.lent {
            Lent::Saved(_) => match mem::take(&mut self.lent) {
                Lent::Saved(saved) => saved.in_segment(&self.segment).map(Some),
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// Returns the words of a private block from `at` on.
    fn lent_words(&self, at: At) -> std::result::Result<&[AtomicU64], Fault> {
        match at {
            At::Ring(at) => self.ring.begin(&self.hand).map(|block| &block.payload()[at..]),
            At::Large => self.large_block().map(Block::payload),
        }
    }

    fn large_block(&self) -> std::result::Result<Block<'_>, Fault> {
        match &self.large {
            Some(large) => large.begin(),
            None => Err(Fault::Corrupt("the segment has no large blocks")),
        }
    }

    /// Posts an event whose payload of `len` bytes was put at `place`. Returns its id. If there is no room, `posting`
    /// states it, and the next attempt continues at `place`.
    fn post_draft(
        &mut self,
        event: &Outgoing<'_>,
        len: usize,
        place: &mut Place,
        posting: &mut Posting<'_>,
    ) -> Result<u64> {
        let prefix = self.prefix(event, SizeLimit::Ring)?;
        let id = match *place {
            Place::Block { at: At::Ring(_), .. } => {
                let block = self.ring.begin(&self.hand).in_segment(&self.segment)?;
                set_meta(block, Kind::Event, prefix.len() + len);
                write_words(block.payload(), &prefix, Where::NONE, &[]);
                self.post_block(1, posting, |_| {})?
            }
            Place::Block { at: At::Large, .. } => {
                self.make_room_for_next(posting)?;
                set_meta(self.large_block().in_segment(&self.segment)?, Kind::Large, len);
                match self.post_large_by(&prefix, len, |_| {})? {
                    Ok(id) => id,
                    Err((_, name)) => {
                        // Other seats have taken the room meanwhile.
                        self.lent = Lent::Nothing;
                        *place = Place::Named(name);
                        self.post_named(&prefix, name, posting)?
                    }
                }
            }
            Place::Named(name) => self.post_named(&prefix, name, posting)?,
            Place::Nowhere | Place::Buffer(_) | Place::Posted => {
                return Err(self.segment.corrupt("a payload is posted from where it was not written"));
            }
        };
        self.lent = Lent::Nothing;
        *place = Place::Posted;
        Ok(self.has_posted(id))
    }
}
