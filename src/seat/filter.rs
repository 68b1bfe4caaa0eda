//! A subscriber's filter, and its decisions on unique events.

use std::collections::VecDeque;

use crate::error::Result;
use crate::event::wire::{Head, UniqueKey};
use crate::event::{Event, Scope, Topic, Words, library};
use crate::protocol::bucket::{At, Decision, Token};
use crate::seat::claim::Claimer;
use crate::seat::delivery::Undecided;
use crate::seat::publish::Writer;
use crate::seat::read::Gate;
use crate::seat::visit::{Choice, VisitedBy, visited_event};

/// The events that a subscriber wants.
#[derive(Debug, Default)]
pub(crate) enum Filter {
    #[default]
    All,
    Only(Vec<Wanted>),
    /// For a bridge: all but those of the library, and those that came over a bridge.
    ToCarry {
        /// `false` if unique events are left to other seats.
        unique: bool,
    },
}

/// One source, or one event of it.
#[derive(Debug)]
pub(crate) struct Wanted {
    source: Box<str>,
    event: Option<Box<str>>,
}

impl Filter {
    /// Returns a filter that wants the events of `topics`.
    pub(crate) fn topics<'t>(topics: impl IntoIterator<Item = impl Into<Topic<'t>>>) -> Result<Filter> {
        let wanted = |topic: Topic<'_>| {
            topic.check()?;
            Ok(Wanted { source: topic.source().into(), event: Some(topic.event().into()) })
        };
        topics.into_iter().map(|topic| wanted(topic.into())).collect::<Result<_>>().map(Filter::Only)
    }

    /// Returns a filter that wants all events of `sources`.
    pub(crate) fn sources<S: AsRef<str>>(sources: impl IntoIterator<Item = S>) -> Result<Filter> {
        let wanted = |source: &str| {
            Topic::from((source, "-")).check()?;
            Ok(Wanted { source: source.into(), event: None })
        };
        sources.into_iter().map(|name| wanted(name.as_ref())).collect::<Result<_>>().map(Filter::Only)
    }

    /// Wants the events of `scopes`.
    pub(crate) fn scopes(scopes: impl IntoIterator<Item = impl Into<Scope>>) -> Result<Filter> {
        let (mut wanted, mut is_all) = (Vec::new(), false);
        for scope in scopes {
            let scope = scope.into();
            scope.check()?;
            match scope {
                Scope::All => is_all = true,
                Scope::Source(source) => wanted.push(Wanted { source: source.into(), event: None }),
                Scope::Events(source, events) => wanted.extend(
                    events
                        .into_iter()
                        .map(|event| Wanted { source: source.as_str().into(), event: Some(event.into()) }),
                ),
            }
        }
        Ok(if is_all { Filter::All } else { Filter::Only(wanted) })
    }

    fn wants(&self, head: &Head, source: &str, event: &str) -> bool {
        let is_of =
            |wanted: &Wanted| *wanted.source == *source && wanted.event.as_ref().is_none_or(|name| **name == *event);
        match self {
            Filter::All => true,
            Filter::Only(wanted) => wanted.iter().any(is_of),
            Filter::ToCarry { unique } => {
                !head.is_bridged() && (*unique || !head.is_unique()) && source != library::SOURCE
            }
        }
    }
}

/// Called with an event whose payload is visited in place, and with `None` if that visit does not count.
pub(crate) type Visitor<'a> = dyn FnMut(Option<(&Event<'_>, Words<'_>)>) + 'a;

/// The gate of a subscriber.
pub(crate) struct PullGate<'a, 'v> {
    pub(crate) filter: &'a Filter,
    pub(crate) claimer: &'a mut Claimer,
    pub(crate) writer: &'a mut Writer,
    /// Unique events that could not be decided.
    pub(crate) undecided: &'a mut VecDeque<(u64, Undecided)>,
    pub(crate) reader: VisitedBy<'a>,
    pub(crate) visitor: Option<&'a mut Visitor<'v>>,
}

impl Gate for PullGate<'_, '_> {
    fn wants(&mut self, head: &Head, prefix: &[u8]) -> bool {
        self.choose(0, head, prefix) != Choice::Pass
    }

    fn choose(&mut self, _id: u64, head: &Head, prefix: &[u8]) -> Choice {
        let Some([source, event]) = head.texts(prefix) else { return Choice::Pass };
        if !self.filter.wants(head, source, event) {
            return Choice::Pass;
        }
        // An event that is put off, because undecided ones are delivered first, must be copied.
        let is_visited = self.visitor.is_some() && self.undecided.is_empty() && !head.clears();
        if is_visited { Choice::Visit } else { Choice::Copy }
    }

    fn visit(&mut self, id: u64, head: &Head, prefix: &[u8], words: Words<'_>) -> Result<()> {
        if let Some(visitor) = &mut self.visitor
            && let Some(names) = head.texts(prefix)
        {
            visitor(Some((&visited_event(self.reader, names, id, head, prefix), words)));
        }
        // The visitor may have forked and returned in the child.
        Ok(self.reader.guard.check()?)
    }

    fn drop_visit(&mut self) -> Result<()> {
        if let Some(visitor) = &mut self.visitor {
            visitor(None);
        }
        Ok(self.reader.guard.check()?)
    }

    fn claim(&mut self, unique: &UniqueKey, at: At) -> Result<Option<Token>> {
        let reason = match self.claimer.claim_event(unique.key, unique.ttl_ns, at)? {
            Decision::Won(token) => return Ok(Some(token)),
            Decision::Held { .. } | Decision::Decided => return Ok(None),
            Decision::Full => Undecided::ClaimsFull,
            Decision::Late => Undecided::Late,
        };
        self.undecided.push_back((at.place - 1, reason));
        Ok(None)
    }

    fn settle_below(&mut self, to: u64) -> Result<()> {
        self.writer.settle_below(to)
    }
}
