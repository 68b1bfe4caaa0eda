//! Typed events with archives that can be invalid in many ways: pointers, lengths, tags, invalid values, recursion.

use std::num::NonZeroU32;

use seqcast::rkyv::{Archive, Serialize};
use seqcast::{Scope, Topic, Typed, TypedEvent, Worker};

/// Every bit pattern is a valid value.
#[derive(Archive, Serialize)]
#[rkyv(crate = seqcast::rkyv)]
pub struct Plain {
    pub number: u64,
    pub bytes: [u8; 12],
}

impl TypedEvent for Plain {
    const TOPIC: Topic<'static> = Topic::new("typed", "plain");
}

/// Relative pointers, tags and niches.
#[derive(Archive, Serialize)]
#[rkyv(crate = seqcast::rkyv)]
pub struct Rich {
    pub name: String,
    pub words: Vec<String>,
    pub choice: Choice,
    pub nested: Option<Box<(u32, Vec<u16>)>>,
    pub not_zero: NonZeroU32,
    pub letter: char,
    pub yes: bool,
}

#[derive(Archive, Serialize)]
#[rkyv(crate = seqcast::rkyv)]
pub enum Choice {
    Nothing,
    Number(i32),
    Text { text: String },
}

impl TypedEvent for Rich {
    const TOPIC: Topic<'static> = Topic::new("typed", "rich");
}

/// The sender decides its depth.
#[derive(Archive, Serialize)]
#[rkyv(
    crate = seqcast::rkyv,
    serialize_bounds(
        __S: seqcast::rkyv::ser::Writer,
        <__S as seqcast::rkyv::rancor::Fallible>::Error: seqcast::rkyv::rancor::Source,
    ),
    bytecheck(bounds(
        __C: seqcast::rkyv::validation::ArchiveContext,
        <__C as seqcast::rkyv::rancor::Fallible>::Error: seqcast::rkyv::rancor::Source,
    ))
)]
pub struct Chain {
    pub link: u32,
    #[rkyv(omit_bounds)]
    pub next: Option<Box<Chain>>,
}

impl TypedEvent for Chain {
    const TOPIC: Topic<'static> = Topic::new("typed", "chain");
}

impl Chain {
    /// Returns a chain of `len` links.
    pub fn of_len(len: u32) -> Chain {
        let mut chain = Chain { link: 0, next: None };
        for link in 1..len {
            chain = Chain { link, next: Some(Box::new(chain)) };
        }
        chain
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        // Iterative: the derived drop would recurse along the chain.
        let mut next = self.next.take();
        while let Some(mut link) = next {
            next = link.next.take();
        }
    }
}

impl Rich {
    pub fn example() -> Rich {
        Rich {
            name: "upstream-of-some-length".to_owned(),
            words: vec![String::new(), "inline".to_owned(), "longer than an inline string".to_owned()],
            choice: Choice::Text { text: "down for maintenance".to_owned() },
            nested: Some(Box::new((7, vec![1, 2, 3]))),
            not_zero: NonZeroU32::MIN,
            letter: 'x',
            yes: true,
        }
    }
}

/// Registers handlers that read every byte of an event.
pub fn handle_typed(worker: &Worker) -> seqcast::Result<()> {
    worker.on_typed(|plain: Typed<'_, Plain>| {
        touch(&(plain.number.to_native(), plain.bytes));
    })?;
    worker.on_typed(|rich: Typed<'_, Rich>| {
        touch(&rich.name.as_bytes());
        for word in rich.words.iter() {
            touch(&word.chars().count());
        }
        match &rich.choice {
            ArchivedChoice::Nothing => {}
            ArchivedChoice::Number(number) => touch(&number.to_native()),
            ArchivedChoice::Text { text } => touch(&text.chars().count()),
        }
        if let Some(nested) = rich.nested.as_ref() {
            touch(&(nested.0.to_native(), nested.1.iter().map(|n| u64::from(n.to_native())).sum::<u64>()));
        }
        touch(&(rich.not_zero.get(), rich.letter.to_native(), rich.yes));
    })?;
    worker.on_typed(|chain: Typed<'_, Chain>| {
        let mut chain = Some(chain.value());
        while let Some(link) = chain {
            touch(&link.link.to_native());
            chain = link.next.as_ref().map(|next| &**next);
        }
    })?;
    // A scope of one event beside the typed ones, so that routes with several handlers are used.
    worker.on(Scope::events("typed", ["plain", "no such"]), |event: &seqcast::Event<'_>| {
        touch(&event.bytes());
    })?;
    Ok(())
}

/// Reads the whole value in a way that is not optimised out.
pub fn touch<T: std::hash::Hash + ?Sized>(value: &T) {
    use std::hash::{DefaultHasher, Hasher};
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    std::hint::black_box(hasher.finish());
}
