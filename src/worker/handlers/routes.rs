//! The handlers of events, looked up once for each topic.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use siphasher::sip::SipHasher13;

use super::dispatch::{Dispatched, Visitor, dispatch};
use super::registry::{Callback, HandlerEntry, Registry};
use crate::error::Result;
use crate::event::Event;
use crate::event::wire::{self, Head};
use crate::os::fork::ForkGuard;
use crate::seat::report::Report;

/// The handlers of the events of one topic.
pub(crate) struct Route {
    source: Box<str>,
    event: Box<str>,
    /// The words of `names`, as an event without a key has them.
    padded: Box<[u64]>,
    /// The lengths of source and event, as in a head.
    name_lens: u16,
    handlers: Box<[Arc<HandlerEntry>]>,
    /// `true` if the only handler visits payloads in place.
    is_in_place: bool,
    /// `true` if the event has handlers, and none of them is weak.
    is_steady: bool,
}

impl Route {
    /// Returns `true` if the payloads of the event are to be visited in place.
    #[inline]
    pub(crate) fn visits(&self) -> bool {
        self.is_in_place
    }

    /// Returns the handler that visits the payload in place, if there is no other handler, which would need a copy.
    #[inline]
    pub(super) fn in_place(&self) -> Option<&Arc<HandlerEntry>> {
        if self.is_in_place { self.handlers.first() } else { None }
    }

    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    pub(crate) fn event(&self) -> &str {
        &self.event
    }

    fn is_of(&self, names: &[u8], source_len: usize) -> bool {
        names.split_at_checked(source_len) == Some((self.source.as_bytes(), self.event.as_bytes()))
    }

    /// Returns `true` if the names are those of an event with this head, without a key, which was read from `bytes`.
    /// Compares words, as the reader has copied them: a read of other parts of what was just written stalls the
    /// processor.
    #[inline]
    fn is_of_padded(&self, head: &Head, bytes: &[u8]) -> bool {
        if self.name_lens != head.name_lens() {
            return false;
        }
        match (head.two_words_of_names(bytes), &*self.padded) {
            (Some([first, second]), &[own_first, own_second]) => first == own_first && second == own_second,
            _ => self.is_of_longer(head.padded_names(bytes)),
        }
    }

    #[inline(never)]
    fn is_of_longer(&self, padded: &[[u8; 8]]) -> bool {
        self.padded.len() == padded.len()
            && self.padded.iter().zip(padded).all(|(word, bytes)| *word == u64::from_ne_bytes(*bytes))
    }

    /// Returns `true` if the event still has a handler.
    #[inline]
    pub(crate) fn is_wanted(&self) -> bool {
        // A weak handler may be gone since the lookup, and no event may be claimed for it.
        self.handlers.iter().any(|entry| !entry.is_gone())
    }

    /// Returns `false` if the event has no handler. Does not look at handlers that are being removed.
    #[inline]
    pub(crate) fn may_be_wanted(&self) -> bool {
        self.is_steady || self.is_wanted()
    }

    /// Calls the handlers and `visitor` with `event`, whose names are the route's.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`] in a child that returned from a handler that forked it.
    #[inline]
    pub(crate) fn dispatch(
        &self,
        visitor: Option<&mut Visitor<'_>>,
        event: &Event<'_>,
        guard: &ForkGuard,
        report: &dyn Fn(&Report<'_>) -> Result<()>,
    ) -> Result<Dispatched> {
        dispatch(&self.handlers, visitor, event, guard, report)
    }
}

/// The routes that were looked up so far. Only the polling thread uses them.
pub(crate) struct Routes {
    generation: u64,
    hash: NamesHash,
    by_hash: HashMap<u64, Arc<Route>, BuildHasherDefault<AsItIs>>,
    /// The latest route, which may be stale.
    last: Option<Arc<Route>>,
    /// Stale routes. One may be the last owner of a handler that was unregistered, whose drop is users' code; see
    /// [`Routes::drop_stale`].
    stale: Vec<Arc<Route>>,
}

/// The most routes. At this number all are dropped and looked up again. It bounds the memory that ever-new event names
/// can take.
const MOST_ROUTES: usize = 16_384;

impl Routes {
    pub(crate) fn new() -> Routes {
        Routes { generation: 0, hash: NamesHash::new(), by_hash: HashMap::default(), last: None, stale: Vec::new() }
    }

    /// Returns the route of an event with this head, which was read from `bytes`. Returns `None` if its names are not
    /// UTF-8.
    #[inline]
    pub(crate) fn find(&mut self, registry: &Registry, head: &Head, bytes: &[u8]) -> Option<&Arc<Route>> {
        // Acquire: with the index of this generation.
        let generation = registry.generation.load(Ordering::Acquire);
        if generation != self.generation {
            self.generation = generation;
            self.retire();
        }
        if !self.last.as_ref().is_some_and(|last| last.is_of_padded(head, bytes)) {
            self.find_other(registry, head.names(bytes), head.source_len())?;
        }
        self.last.as_ref()
    }

    /// Returns the route that was found last.
    #[inline]
    pub(crate) fn latest(&self) -> Option<&Arc<Route>> {
        self.last.as_ref()
    }

    fn retire(&mut self) {
        self.last = None;
        self.stale.extend(self.by_hash.drain().map(|(_, route)| route));
    }

    #[inline]
    pub(crate) fn has_stale(&self) -> bool {
        !self.stale.is_empty()
    }

    /// Drops stale routes, and with them perhaps handlers. Call it where users' code may run.
    pub(crate) fn drop_stale(&mut self) {
        // One after the other, so that a panic does not stop the drop of the others.
        while let Some(route) = self.stale.pop() {
            drop(route);
        }
    }

    /// As [`find`](Routes::find), for an event that may have other names than the latest one.
    fn find_other(&mut self, registry: &Registry, names: &[u8], source_len: usize) -> Option<()> {
        // An event with a key, or with words that no writer stores.
        if !self.last.as_ref().is_some_and(|last| last.is_of(names, source_len)) {
            self.last = Some(self.look_up(registry, names, source_len)?);
        }
        Some(())
    }

    fn look_up(&mut self, registry: &Registry, names: &[u8], source_len: usize) -> Option<Arc<Route>> {
        let hash = self.hash.of(names, source_len);
        if let Some(route) = self.by_hash.get(&hash)
            && route.is_of(names, source_len)
        {
            return Some(Arc::clone(route));
        }
        let names_text = str::from_utf8(names).ok()?;
        let (source, event) = names_text.split_at_checked(source_len)?;
        let handlers = registry.handlers_of(source, event);
        let is_in_place = matches!(&*handlers, [only] if matches!(only.callback, Callback::InPlace(_)));
        let route = Arc::new(Route {
            is_in_place,
            is_steady: !handlers.is_empty() && !handlers.iter().any(|entry| entry.is_weak()),
            source: source.into(),
            event: event.into(),
            padded: wire::padded_names(source, event).into(),
            name_lens: wire::name_lens(source, event),
            handlers,
        });
        if self.by_hash.len() >= MOST_ROUTES {
            self.retire();
        }
        // If another route has this hash, it is replaced, and looked up again when it is needed.
        self.stale.extend(self.by_hash.insert(hash, Arc::clone(&route)));
        Some(route)
    }
}

/// SipHash-1-3 of an event's names, with a random key of this worker. So other processes cannot choose names with
/// colliding hashes.
struct NamesHash(SipHasher13);

impl NamesHash {
    fn new() -> NamesHash {
        // The standard library's keys are random for each process.
        let random = || RandomState::new().build_hasher().finish();
        NamesHash(SipHasher13::new_with_keys(random(), random()))
    }

    /// Different sources and events never have the same hash if their concatenations are equal.
    #[inline]
    fn of(&self, names: &[u8], source_len: usize) -> u64 {
        self.0.hash(names).wrapping_add(source_len as u64)
    }
}

/// A hasher for keys that are hashes.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, bytes: &[u8]) {
        unreachable!("{} bytes instead of a hash", bytes.len());
    }

    #[inline]
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Scope;
    use crate::event::Topic;
    use crate::event::wire::{Keyed, Prefix, Travel};
    use crate::protocol::word::Where;
    use crate::worker::handlers::handler::Handler;

    /// An event's head, and the bytes that it was read from.
    fn event(source: &str, event: &str) -> (Head, Vec<u8>) {
        let mut bytes = Vec::new();
        let (topic, keyed, travel) = (Topic::new(source, event), Keyed::Nothing, Travel::Local);
        let prefix = Prefix { seat: 0, pid: 1, topic, type_tag: 0, keyed, travel, bridged: false };
        prefix.for_each_word(Where::NONE, |word| bytes.extend(word.to_ne_bytes()));
        (Head::parse(&bytes).unwrap(), bytes)
    }

    #[test]
    fn g10_hashes_of_names_cannot_be_known_in_advance() {
        let (one, other) = (NamesHash::new(), NamesHash::new());
        assert_ne!(one.of(b"cachestale", 5), other.of(b"cachestale", 5));
        assert_eq!(one.of(b"cachestale", 5), one.of(b"cachestale", 5));
        assert_ne!(one.of(b"cachestale", 5), one.of(b"cachestale", 4));
    }

    #[test]
    fn names_that_differ_only_in_where_the_source_ends_have_routes_of_their_own() {
        let (registry, mut routes) = (Registry::new(), Routes::new());
        let names = "abcdefgh".repeat(32);
        let handler: Arc<dyn Handler> = Arc::new(|_: &Event<'_>| {});
        registry.register(Scope::source(&names[..7]), handler).unwrap();
        // Twice: found, and remembered.
        for source_len in (1..names.len()).chain(1..names.len()) {
            let (head, bytes) = event(&names[..source_len], &names[source_len..]);
            let route = routes.find(&registry, &head, &bytes).unwrap();
            assert_eq!((route.source(), route.event()), names.split_at(source_len));
            assert_eq!(route.is_wanted(), source_len == 7);
        }
        assert_eq!(routes.by_hash.len(), names.len() - 1);
    }

    #[test]
    fn g10_ever_new_names_take_a_bounded_amount_of_memory() {
        let (registry, mut routes) = (Registry::new(), Routes::new());
        for i in 0..MOST_ROUTES + 100 {
            // Each with a sibling that differs only in where the source ends.
            for (source, name) in [(format!("a{i}"), "bc"), (format!("a{i}b"), "c")] {
                let (head, bytes) = event(&source, name);
                assert_eq!(routes.find(&registry, &head, &bytes).unwrap().source(), source);
            }
            assert!(routes.by_hash.len() <= MOST_ROUTES);
        }
    }

    #[test]
    fn a_route_that_was_replaced_is_found_again() {
        let (registry, mut routes) = (Registry::new(), Routes::new());
        let (head, bytes) = event("cache", "stale");
        let (other, other_bytes) = event("other", "event");
        let route = Arc::clone(routes.find(&registry, &other, &other_bytes).unwrap());
        // As if both had one hash.
        routes.by_hash.insert(routes.hash.of(b"cachestale", 5), route);
        assert_eq!(routes.find(&registry, &head, &bytes).unwrap().source(), "cache");
        assert_eq!(routes.find(&registry, &head, &bytes).unwrap().event(), "stale");
    }
}
