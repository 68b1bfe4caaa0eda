//! What carries events between hosts, behind a small trait.
//!
//! Everything that makes the promises is above this trait: the spool, healing, the table of what was seen, pacing and
//! reports of missed events. An engine has to keep one order, to append a batch only after the batch before it, and to
//! tell whether its past was rewritten.

pub mod redis;

use std::fmt;
use std::time::Duration;

use crate::chain::{Added, Chain};

/// A position in the stream: all entries up to and with this one were handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Position {
    /// The history of the stream. 0: before the first.
    pub timeline: u64,
    /// The entry's number in its timeline.
    pub seq: u64,
    /// The hash of everything up to this entry.
    pub chain: Chain,
    /// The number of the next event in the timeline.
    pub n: u64,
}

impl Position {
    /// Before everything.
    pub const START: Position = Position { timeline: 0, seq: 0, chain: Chain(0), n: 0 };
}

/// The host that registers.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The segment's identity.
    pub origin: u64,
    /// A random number of this process. Earlier processes of the origin are fenced off.
    pub session: u64,
    /// What people call the host.
    pub host: String,
    /// The version of batches that it reads.
    pub format: u8,
}

/// What the engine knows of an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// `false` if it had never heard of the origin, or has lost it.
    pub known: bool,
    /// The first id of the origin that it does not have.
    pub next: u64,
    /// The number of origins that it knows.
    pub hosts: u64,
}

/// A batch that is to be appended.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The first id that the engine must be waiting for.
    pub from: u64,
    /// The first id after the batch.
    pub next: u64,
    /// The number of events.
    pub count: u32,
    /// The batch. Empty: nothing is appended; only `next` moves, and the key of `claim` is taken if it is free.
    pub body: &'a [u8],
    /// The key that must be free.
    pub claim: Option<Claim>,
    /// How it changes what is retained. Such a batch has one event, and no claim.
    pub retains: Option<Retains<'a>>,
}

/// How a batch changes what is retained between the hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retains<'a> {
    /// The hash of source, event and key.
    pub field: [u64; 2],
    /// How long the value is kept. `None`: until it is cleared.
    pub ttl: Option<Duration>,
    /// `true` if nothing is kept any more.
    pub clears: bool,
    /// The batch that is appended in its place if there is no room for a further key.
    pub instead: &'a [u8],
}

/// A key of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The hash of the key.
    pub key: [u64; 2],
    /// How long it is held.
    pub ttl: Duration,
}

/// The answer to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is in the stream.
    Ok,
    /// Its key is held by another event. It is not in the stream, and will not be.
    Held,
    /// There is no room for a further retained key. [`Retains::instead`] is in the stream.
    Full,
    /// It was appended before, and the answer was lost.
    Old,
    /// The engine waits for this id: it has forgotten batches, or refused one before this.
    Rewind(u64),
    /// The engine does not know the origin.
    Unknown,
    /// Another process has registered for the origin.
    Fenced,
}

/// The end of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tip {
    /// The last entry. [`Position::START`] if there is none.
    pub position: Position,
    /// How far each origin has appended: the first id that is not in the stream. Empty unless asked for.
    pub origins: Vec<OriginSeen>,
}

/// An origin that the engine knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginSeen {
    /// The origin.
    pub origin: u64,
    /// The first id that is not in the stream.
    pub next: u64,
    /// When it last appended, by the engine's clock, in milliseconds since 1970.
    pub seen_ms: u64,
    /// The name of its host.
    pub host: String,
}

/// One entry of the stream.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The position after this entry, if it holds what it says.
    pub position: Position,
    /// The number of its first event in the timeline.
    pub n: u64,
    /// Whose events it has. `None` if that cannot be read.
    pub added: Option<Added>,
    /// The engine's proof that nothing was rewritten between the position that was asked for, or the entry before this
    /// one, and this entry.
    pub follows: Follows,
    /// The batch.
    pub body: Vec<u8>,
}

/// A part of what is retained between the hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetainedPart {
    /// Where the next part begins. 0: this is the last one.
    pub next: u64,
    /// The engine's clock, in milliseconds since 1970.
    pub now_ms: u64,
    /// The values. `None`: one that cannot be read.
    pub values: Vec<Option<RetainedValue>>,
}

/// A retained value, or a clear.
#[derive(Clone, PartialEq, Eq)]
pub struct RetainedValue {
    /// The timeline of its place.
    pub timeline: u64,
    /// The number of its event in the timeline.
    pub n: u64,
    /// When it was appended, by the engine's clock, in milliseconds since 1970.
    pub since_ms: u64,
    /// The batch, of one event.
    pub body: Vec<u8>,
}

/// Shows no payload.
impl fmt::Debug for RetainedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RetainedValue { timeline, n, since_ms, body } = self;
        let mut shown = f.debug_struct("RetainedValue");
        shown.field("timeline", timeline).field("n", n).field("since_ms", since_ms).field("len", &body.len()).finish()
    }
}

/// How an entry stands to the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    /// It is the next one of the same history.
    Yes,
    /// Entries between them are gone from the stream. So many events, if it is the same history.
    Hole(u64),
    /// The history is another one.
    Break,
}

/// Shows no payload.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Entry { position, n, added, follows, body } = self;
        let mut shown = f.debug_struct("Entry");
        shown.field("position", position).field("n", n).field("added", added).field("follows", follows);
        shown.field("len", &body.len()).finish()
    }
}

/// Why an engine did not answer as it should. The kind decides what the relay does. The text has no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineError {
    /// The connection is of no use any more: connect again.
    Lost(String),
    /// The server refuses for now (out of memory, no replicas, loading): wait.
    Refused(String),
    /// The server denies (password, rights, configuration): wait long, and say so.
    Denied(String),
    /// Another server is the one to ask.
    Moved(String),
}

impl EngineError {
    /// The text.
    pub fn text(&self) -> &str {
        match self {
            EngineError::Lost(text)
            | EngineError::Refused(text)
            | EngineError::Denied(text)
            | EngineError::Moved(text) => text,
        }
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for EngineError {}

/// A system that carries batches between hosts.
pub trait Engine: Send + Sync {
    /// Connects, and registers the process.
    ///
    /// If the engine does not know the origin, it begins at `begin`.
    ///
    /// # Errors
    ///
    /// [`EngineError`].
    fn up(&self, who: &Registration, begin: u64) -> Result<(Box<dyn Up>, Hello), EngineError>;

    /// Connects to read.
    ///
    /// # Errors
    ///
    /// [`EngineError`].
    fn down(&self) -> Result<Box<dyn Down>, EngineError>;
}

/// The way up: a pipeline, in which `send` may run ahead of `receive`.
pub trait Up: Send {
    /// Sends a batch without waiting for the answer.
    ///
    /// # Errors
    ///
    /// [`EngineError`]. The connection must then be dropped.
    fn send(&mut self, batch: &Outgoing<'_>) -> Result<(), EngineError>;

    /// Waits for the answer to the oldest batch that has none.
    ///
    /// # Errors
    ///
    /// [`EngineError`]. The connection must then be dropped.
    fn receive(&mut self) -> Result<Appended, EngineError>;

    /// Keeps the memory of the stream below `bytes`, and removes retained values that have ended. Returns how many
    /// entries were removed.
    ///
    /// Call it only if every batch has its answer.
    ///
    /// # Errors
    ///
    /// [`EngineError`]. The connection must then be dropped.
    fn trim(&mut self, bytes: u64) -> Result<u64, EngineError>;
}

/// The way down.
pub trait Down: Send {
    /// Returns the end of the stream and, if `origins` is set, how far each origin has appended, at one moment.
    ///
    /// # Errors
    ///
    /// [`EngineError`]. The connection must then be dropped.
    fn tip(&mut self, origins: bool) -> Result<Tip, EngineError>;

    /// Returns entries after `after`, or none if none came for `wait`.
    ///
    /// # Errors
    ///
    /// [`EngineError`]. The connection must then be dropped.
    fn read(&mut self, after: &Position, wait: Duration) -> Result<Vec<Entry>, EngineError>;

    /// Returns how many replicas of the engine have everything that was appended before, once they are `least`, or
    /// after the time `most`.
    ///
    /// # Errors
    ///
    /// [`EngineError`]. The connection must then be dropped.
    fn replicated(&mut self, least: u32, most: Duration) -> Result<u64, EngineError>;

    /// Returns a part of what is retained. `from` is 0, or where the part before said that the next one begins. A value
    /// that is there from the first part to the last one is in one of them.
    ///
    /// # Errors
    ///
    /// [`EngineError`]. The connection must then be dropped.
    fn retained(&mut self, from: u64) -> Result<RetainedPart, EngineError>;
}
