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
#[derive(Debug)]
pub(crate) struct Filter {
    rule: Rule,
    /// The decisions on the topics that were met last.
    met: [Met; 2],
}

#[derive(Debug)]
enum Rule {
    All,
    Only(Vec<Wanted>),
    /// For a bridge: all but those of the library, and those that came over a bridge.
    ToCarry {
        /// `false` if unique events are left to other seats.
        unique: bool,
    },
}

/// A decision on events without a key, with these names. At first it is about no event: none has names without bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Met {
    name_lens: u16,
    names: [u64; 2],
    is_wanted: bool,
}

/// One source, or one event of it.
#[derive(Debug)]
pub(crate) struct Wanted {
    source: Box<str>,
    event: Option<Box<str>>,
}

impl Filter {
    pub(crate) fn all() -> Filter {
        Filter::of(Rule::All)
    }

    /// Returns the filter of a bridge, which wants all events but those of the library, and those that came over a
    /// bridge. If `unique` is `false`, it leaves unique events to other seats.
    pub(crate) fn to_carry(unique: bool) -> Filter {
        Filter::of(Rule::ToCarry { unique })
    }

    fn of(rule: Rule) -> Filter {
        Filter { rule, met: [Met::default(); 2] }
    }

    fn only(wanted: Vec<Wanted>) -> Filter {
        Filter::of(Rule::Only(wanted))
    }

    /// Returns a filter that wants the events of `topics`.
    pub(crate) fn topics<'t>(topics: impl IntoIterator<Item = impl Into<Topic<'t>>>) -> Result<Filter> {
        let wanted = |topic: Topic<'_>| {
            topic.check()?;
            Ok(Wanted { source: topic.source().into(), event: Some(topic.event().into()) })
        };
        topics.into_iter().map(|topic| wanted(topic.into())).collect::<Result<_>>().map(Filter::only)
    }

    /// Returns a filter that wants all events of `sources`.
    pub(crate) fn sources<S: AsRef<str>>(sources: impl IntoIterator<Item = S>) -> Result<Filter> {
        let wanted = |source: &str| {
            Topic::from((source, "-")).check()?;
            Ok(Wanted { source: source.into(), event: None })
        };
        sources.into_iter().map(|name| wanted(name.as_ref())).collect::<Result<_>>().map(Filter::only)
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
        Ok(Filter::of(if is_all { Rule::All } else { Rule::Only(wanted) }))
    }

    /// Returns `true` if the event with this head, which was read from `bytes`, is wanted. One whose names are not text
    /// is not.
    #[inline(always)]
    fn wants(&mut self, head: &Head, bytes: &[u8]) -> bool {
        if let Some(names) = head.two_words_of_names(bytes) {
            for met in &self.met {
                if met.names == names && met.name_lens == head.name_lens() {
                    return met.is_wanted;
                }
            }
        }
        self.wants_other(head, bytes)
    }

    #[inline(never)]
    fn wants_other(&mut self, head: &Head, bytes: &[u8]) -> bool {
        let is_wanted = head.texts(bytes).is_some_and(|names| self.rule.wants(head, names));
        // A bridge's decision is not by the names alone.
        if let (Some(names), Rule::All | Rule::Only(_)) = (head.two_words_of_names(bytes), &self.rule) {
            self.met = [Met { name_lens: head.name_lens(), names, is_wanted }, self.met[0]];
        }
        is_wanted
    }
}

impl Rule {
    fn wants(&self, head: &Head, [source, event]: [&str; 2]) -> bool {
        let is_of =
            |wanted: &Wanted| *wanted.source == *source && wanted.event.as_ref().is_none_or(|name| **name == *event);
        match self {
            Rule::All => true,
            Rule::Only(wanted) => wanted.iter().any(is_of),
            Rule::ToCarry { unique } => {
                !head.is_bridged() && (*unique || !head.is_unique()) && source != library::SOURCE
            }
        }
    }
}

/// Called with an event whose payload is visited in place, and with `None` if that visit does not count.
pub(crate) type Visitor<'a> = dyn FnMut(Option<(&Event<'_>, Words<'_>)>) + 'a;

/// The gate of a subscriber.
pub(crate) struct PullGate<'a, 'v> {
    pub(crate) filter: &'a mut Filter,
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

    #[inline(always)]
    fn choose(&mut self, _id: u64, head: &Head, prefix: &[u8]) -> Choice {
        if !self.filter.wants(head, prefix) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::wire::{Kept, Keyed, Prefix, Travel};
    use crate::protocol::word::Where;

    /// Asks `filter` about an event with these names.
    fn wants(filter: &mut Filter, source: &str, event: &str, key: Option<&[u8]>) -> bool {
        let kept = Kept { key: [1, 2], ttl_ns: 0, clears: false };
        let keyed = key.map_or(Keyed::Nothing, |text| Keyed::Kept { kept, text });
        let (topic, travel) = (Topic::new(source, event), Travel::Local);
        let prefix = Prefix { seat: 1, pid: 2, topic, type_tag: 0, keyed, travel, bridged: false };
        let mut bytes = Vec::new();
        prefix.for_each_word(Where::NONE, |word| bytes.extend(word.to_ne_bytes()));
        filter.wants(&Head::parse(&bytes).unwrap(), &bytes)
    }

    #[test]
    fn a_remembered_decision_is_that_of_the_same_source_and_event_only() {
        let names = [
            ("ab", "c"),
            ("a", "bc"),
            ("abc", "d"),
            ("ab", "cd"),
            ("ab", "e"),
            ("ab", "c\0"),
            ("a source of", "other"),
        ];
        let wanted = [("ab", "c"), ("abc", "d"), ("a source of", "other")];
        let (mut by_topic, mut by_source) = (Filter::topics(wanted).unwrap(), Filter::sources(["ab"]).unwrap());
        // In each order of two, so that each is remembered while another one is asked for.
        for (one, other) in names.iter().flat_map(|one| names.map(|other| (*one, other))) {
            for (source, event) in [one, other, one] {
                for key in [None, Some(&b"k"[..])] {
                    let is_wanted = wanted.contains(&(source, event));
                    assert_eq!(wants(&mut by_topic, source, event, key), is_wanted, "{source} {event} {key:?}");
                    assert_eq!(wants(&mut by_source, source, event, key), source == "ab", "{source} {event} {key:?}");
                }
            }
        }
    }
}
