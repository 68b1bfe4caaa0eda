//! A payload that is written into a private block before its event is posted, piece by piece. Users' code runs between
//! the pieces.
//!
//! ```text
//! begin    choose a block of the ring or a large block, by the length as far as it is known; lend it
//! put      store a piece as relaxed words. If the block is too small, go on in a large block, or in a buffer
//! post     the words before the payload, and the exchange
//!          a large payload is public before its event. If the event finds no room, the payload goes to a buffer
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

use crate::error::{Error, Result, SizeLimit};
use crate::event::wire::{Keyed, Kind, LargeName, Travel};
use crate::event::{Buffer, NoRoom, Put, Topic};
use crate::protocol::Fault;
use crate::protocol::bytes;
use crate::protocol::large::LargeRead;
use crate::protocol::pool::Block;
use crate::protocol::thread_lock::Lend;
use crate::protocol::word::Where;
use crate::seat::copy::grow;
use crate::seat::post::Posts;
use crate::seat::publish::{Outgoing, Writer, set_meta, write_prefix};
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
    /// It was posted or moved, or an error has lost it.
    Over,
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
                    && let Some(mut buffer) = writer.take_saved().inspect_err(|_| *place = Place::Over)?
                {
                    // Without the filling of the last word.
                    buffer.resize(*len, 0);
                    *place = Place::Over;
                    return Ok(Drafted::Buffer(buffer));
                }
                check(writer)?;
                let drafted = writer.post_draft(&event, *len, place, posting)?;
                if let Drafted::Posted(id) = drafted {
                    posted(id);
                }
                Ok(drafted)
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
                        if let Some(saved) = writer.take_saved().inspect_err(|_| self.place = Place::Over)? {
                            return Ok(Some(Place::Buffer(saved)));
                        }
                        if !fits {
                            let moved = writer.move_lent(&event, at, begin, least);
                            return moved.map(Some).inspect_err(|_| {
                                writer.lent = Lent::Nothing;
                                self.place = Place::Over;
                            });
                        }
                        let way = writer.way_of(piece.len());
                        let words = &writer.lent_words(at).in_segment(&writer.segment)?[begin..];
                        bytes::store_by(way, words, piece);
                        writer.lent = Lent::Block { at, words: bytes::words_for(len) };
                        Ok(None)
                    })?
                }
                Place::Nowhere => Some(self.handle.with_lender(|writer| writer.lend_for(&event, least))?),
                Place::Over => return self.handle.with_lender(|writer| Err(writer.is_over())),
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

    #[cold]
    fn is_over(&self) -> Error {
        self.segment.corrupt("a payload is posted from where it was not written")
    }

    /// Posts an event whose payload of `len` bytes was put at `place`. If there is no room, `posting` states it, and
    /// the next attempt continues at `place`; or the payload was public already, and is returned.
    fn post_draft(
        &mut self,
        event: &Outgoing<'_>,
        len: usize,
        place: &mut Place,
        posting: &mut Posting<'_>,
    ) -> Result<Drafted> {
        let prefix = self.prefix(event, SizeLimit::Ring)?;
        let id = match *place {
            Place::Block { at: At::Ring(_), .. } => {
                let block = self.ring.begin(&self.hand).in_segment(&self.segment)?;
                set_meta(block, Kind::Event, prefix.len() + len);
                write_prefix(block.payload(), &prefix, Where::NONE);
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
                        *place = Place::Over;
                        match self.post_named(&prefix, name, posting) {
                            Ok(id) => id,
                            Err(error) => return self.recall(name, error, posting).map(Drafted::Buffer),
                        }
                    }
                }
            }
            Place::Nowhere | Place::Buffer(_) | Place::Over => return Err(self.is_over()),
        };
        self.lent = Lent::Nothing;
        *place = Place::Over;
        Ok(Drafted::Posted(self.has_posted(id)))
    }

    /// L5: takes a payload back that is public in a large block, and whose event has failed with `error`. By the end of
    /// a wait for room it might be overwritten. If it is already, or there was another reason than a lack of room,
    /// returns the error, and the post does not wait.
    #[cold]
    fn recall(&self, name: LargeName, error: Error, posting: &mut Posting<'_>) -> Result<Buffer> {
        let Some(large) = self.large.as_ref().filter(|_| posting.is_blocked()) else { return Err(error) };
        let (mut buffer, len) = (Buffer::new(), name.len as usize);
        grow(&mut buffer, len.next_multiple_of(8));
        let copy = |block: Block<'_>| bytes::load_bytes(block.payload(), &mut buffer);
        match large.recall(name.id, copy).in_segment(&self.segment)? {
            LargeRead::Whole(()) => {
                // Without the filling of the last word.
                buffer.resize(len, 0);
                Ok(buffer)
            }
            LargeRead::Overwritten | LargeRead::Absent => {
                posting.refuse();
                self.count_refused();
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::claim::Unique;
    use crate::error::ErrorKind;
    use crate::event::wire::{Kept, UniqueKey};
    use crate::protocol::ring::Stop;
    use crate::seat::Seat;
    use crate::seat::claim::Claimer;
    use crate::seat::must::MustRead;
    use crate::seat::options::WorkerOptions;
    use crate::seat::publisher::Publisher;
    use crate::segment::Segment;
    use crate::segment::options::SegmentOptions;

    /// The payload fits in a quarter of the ring.
    const CAPACITY: u64 = 64;
    const LARGE: u64 = 2;
    const LEN: usize = 4_001;
    const HOUR: Duration = Duration::from_secs(3600);

    fn segment() -> Arc<Segment> {
        let options = SegmentOptions::new().capacity(CAPACITY).claims(8).seats(3).large(LARGE, LEN as u64);
        Arc::new(Segment::anonymous(&options.most_patience(HOUR)).unwrap())
    }

    fn payload(message: u8) -> Vec<u8> {
        (0..LEN).map(|at| (at ^ at >> 8) as u8 ^ message).collect()
    }

    fn post(seat: &mut Seat, payload: &[u8]) {
        seat.writer.post(&Outgoing::plain(Topic::new("s", "e"), payload), &mut Posting::default()).unwrap();
    }

    /// The reader of `seat` joins, and `other` takes all the room that it leaves.
    fn join_and_fill(segment: &Arc<Segment>, seat: u16, other: &mut Seat) {
        MustRead::join(segment, seat, HOUR.as_nanos() as u64, None);
        (0..CAPACITY).for_each(|_| post(other, b"small"));
    }

    /// A publisher that calls a function when its post begins to wait.
    struct Waiting<'a>(Publisher, &'a dyn Fn());

    impl Posts for Waiting<'_> {
        fn check(&self) -> Result<()> {
            Posts::check(&self.0)
        }

        fn unique_key(&self, unique: Unique<'_>) -> Result<UniqueKey> {
            self.0.unique_key(unique)
        }

        fn with_writer<R>(&mut self, run: impl FnOnce(&mut Writer) -> Result<R>) -> Result<R> {
            self.0.with_writer(run)
        }

        fn with_lender<R>(&mut self, run: impl FnOnce(&mut Writer) -> Result<R>) -> Result<R> {
            self.0.with_lender(run)
        }

        fn with_halves<R>(&mut self, run: impl FnOnce(&mut Writer, &mut Claimer) -> Result<R>) -> Result<R> {
            self.0.with_halves(run)
        }

        fn wait_interval(&self) -> Duration {
            (self.1)();
            self.0.wait_interval()
        }

        fn kept(&self, topic: Topic<'_>, key: &[u8], ttl_ns: u64, clears: bool) -> Result<Kept> {
            self.0.kept(topic, key, ttl_ns, clears)
        }

        fn timeout(&self) -> Duration {
            self.0.timeout()
        }
    }

    #[test]
    fn g16_a_draft_that_finds_no_room_takes_its_large_payload_back_before_it_waits() {
        let (segment, topic) = (segment(), Topic::new("s", "e"));
        let other = RefCell::new(Seat::take(&segment, "").unwrap());
        let reader = RefCell::new(Some(Seat::take(&segment, "").unwrap()));
        let mut publisher = Publisher::join(&segment, &WorkerOptions::new().announce(false)).unwrap();
        // From now on it believes that there is room for a lap.
        post(&mut publisher.seat, b"first");
        // When it waits, the reader leaves, and others lap the ring of large blocks.
        let waits = || {
            drop(reader.take());
            (0..LARGE).for_each(|_| post(&mut other.borrow_mut(), &payload(2)));
        };
        let mut handle = Waiting(publisher, &waits);
        let mut draft = Draft::new(&mut handle, topic, Keyed::Nothing);
        draft.begin(LEN).unwrap();
        draft.put(&payload(1), 0).unwrap();
        // After the draft has looked for readers that must read, one joins.
        let has_joined = Cell::new(false);
        let join = |_: &Writer| {
            if !has_joined.replace(true) {
                join_and_fill(&segment, reader.borrow().as_ref().unwrap().number, &mut other.borrow_mut());
            }
            Ok(())
        };
        let Drafted::Buffer(whole) = draft.post(0, NoRoom::Wait, join, |_| {}).unwrap() else {
            panic!("it was posted after the wait, and its payload is overwritten")
        };
        assert!(whole[..] == payload(1));
        assert!(reader.borrow().is_some(), "it has waited");
        // It is posted like any other payload.
        let event = Outgoing::plain(topic, &whole);
        let posted = with_room(&mut handle, NoRoom::Wait, |handle, posting| {
            handle.with_writer(|writer| writer.post(&event, posting))
        });
        assert!(posted.is_ok() && reader.borrow().is_none(), "it waits for the reader now");
    }

    #[test]
    fn g10_a_draft_that_a_fault_has_ended_leaves_the_loan_of_another_alone() {
        let segment = segment();
        let mut publisher = Publisher::join(&segment, &WorkerOptions::new().announce(false)).unwrap();
        let lost = || Lent::Saved(Err(Fault::Corrupt("the block could not be read")));
        let lend = |writer: &mut Writer, lent| -> Result<()> {
            writer.lent = lent;
            Ok(())
        };
        for is_posted in [false, true] {
            let mut draft = Draft::new(&mut publisher, Topic::new("s", "e"), Keyed::Nothing);
            draft.begin(LEN).unwrap();
            draft.put(&payload(1)[..800], LEN - 800).unwrap();
            // Another post has needed the block of a hostile segment.
            draft.handle.with_lender(|writer| lend(writer, lost())).unwrap();
            if is_posted {
                let posted = draft.post(0, NoRoom::Wait, |_| Ok(()), |_| panic!("it is posted"));
                assert_eq!(posted.map(drop).unwrap_err().kind(), ErrorKind::Corrupt);
            } else {
                for _ in 0..2 {
                    assert_eq!(draft.put(&payload(1)[800..], 0).unwrap_err().kind(), ErrorKind::Corrupt);
                }
                // Now another thread has a draft.
                draft.handle.with_lender(|writer| lend(writer, Lent::Block { at: At::Large, words: 1 })).unwrap();
                drop(draft);
                assert!(publisher.seat.writer.is_lent(), "a post would write over the other draft");
            }
            publisher.seat.writer.lent = Lent::Nothing;
        }
        assert_eq!(segment.ring().newest(), 0);
    }

    #[test]
    fn g5_a_draft_whose_large_payload_is_overwritten_before_it_is_taken_back_is_refused() {
        let segment = segment();
        let (mut own, mut other) = (Seat::take(&segment, "").unwrap(), Seat::take(&segment, "").unwrap());
        let reader = Seat::take(&segment, "").unwrap();
        post(&mut own, &payload(0));
        (1..=LARGE).for_each(|message| post(&mut other, &payload(message as u8)));
        join_and_fill(&segment, reader.number, &mut other);
        let free = segment.ring().newest();
        for (id, is_blocked) in [(0, true), (1, true), (2, true), (2, false)] {
            let mut posting = Posting::default();
            let full = own.writer.make_room(Stop::NoRoom { id: free }, 1, &mut posting).unwrap_err();
            assert_eq!((full.kind(), posting.is_blocked()), (ErrorKind::Full, true));
            if !is_blocked {
                posting.refuse();
            }
            let recalled = own.writer.recall(LargeName { id, len: LEN as u64 }, full, &mut posting);
            if id == 0 || !is_blocked {
                assert_eq!(recalled.unwrap_err().kind(), ErrorKind::Full);
                assert!(!posting.is_blocked(), "it waits, and has nothing to post");
            } else {
                assert!(recalled.unwrap()[..] == payload(id as u8));
            }
        }
    }
}
