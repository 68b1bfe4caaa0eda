//! The thread that posts: what the stream has goes into the segment.
//!
//! The position, the table of what was seen of each origin, and the intent before each post are in the segment, because
//! that is where the effect is. So a relay that is killed anywhere has a successor that continues exactly.

mod restore;
mod unique;

use std::time::{Duration, Instant};

use seqcast::relay::{Foreign, Kept, MissedReason, Recovered, RelayPoster, StreamPosition};
use seqcast::{ClusterId, ErrorKind, Origin};

use crate::backoff::Backoff;
use crate::batch::{Batch, Event, Item, Kind, Reason};
use crate::chain::{Added, Chain};
use crate::context::{Context, Way};
use crate::engine::{Down, Engine, EngineError, Entry, Follows, Position, Tip};
use crate::follow::{Standing, standing};
use crate::queue::Queue;

/// A read that gets nothing returns after this time, and then the end of the stream is compared with the position.
const IDLE: Duration = Duration::from_secs(1);
/// The longest wait for the slowest reader of this host. One stuck worker must not cut the host off.
const PACE: Duration = Duration::from_secs(1);
/// The longest wait for a worker that must read.
const MUST_READ: Duration = Duration::from_secs(5);
/// After a wait in vain no reader is waited for, for this time.
const UNPACED: Duration = Duration::from_secs(30);
const NAP: Duration = Duration::from_millis(50);
const FIRST_WAIT: Duration = Duration::from_millis(20);
const MOST_WAIT: Duration = Duration::from_secs(1);
const DENIED_WAIT: Duration = Duration::from_secs(30);

pub(crate) struct Receiver<'a> {
    context: &'a Context,
    engine: &'a dyn Engine,
    queue: &'a Queue,
    poster: RelayPoster,
    own: Origin,
    catch_up: u64,
    /// When entries last came.
    last_read: Instant,
    /// Until then no reader is waited for.
    unpaced_until: Instant,
    /// Since when what is retained here has to be compared with the engine's copy.
    compare: Option<Instant>,
    /// The latest timeline of which a break was told.
    told_timeline: u64,
}

/// Why a connection is not used any more.
enum Stop {
    /// The relay ends.
    Asked,
    Engine(EngineError),
    Segment(seqcast::Error),
}

impl From<EngineError> for Stop {
    fn from(error: EngineError) -> Stop {
        Stop::Engine(error)
    }
}

impl From<seqcast::Error> for Stop {
    fn from(error: seqcast::Error) -> Stop {
        Stop::Segment(error)
    }
}

impl<'a> Receiver<'a> {
    pub fn new(poster: RelayPoster, engine: &'a dyn Engine, queue: &'a Queue, context: &'a Context) -> Receiver<'a> {
        let (own, half) = (poster.origin(), poster.capacity() / 2);
        let catch_up = context.options.catch_up.unwrap_or(half);
        let now = Instant::now();
        // The last relay may have been killed before it had compared what is retained.
        let compare = Some(now);
        Receiver {
            context,
            engine,
            queue,
            poster,
            own,
            catch_up,
            last_read: now,
            unpaced_until: now,
            compare,
            told_timeline: 0,
        }
    }

    pub fn run(mut self) -> seqcast::Result<()> {
        if let Recovered::Unknown { origin, id, .. } = self.poster.recovered() {
            self.context.metrics.possible_duplicates.inc();
            self.context.log.line(format_args!(
                "the last relay was killed while it posted event {id} of origin {origin}, and the ring was overwritten \
                 since: that event may be delivered twice"
            ));
        }
        let mut backoff = Backoff::new(FIRST_WAIT, MOST_WAIT);
        while !self.context.is_stopping() {
            self.turn();
            let mut worked = false;
            let wait = match self.session(&mut worked) {
                Err(Stop::Asked) => break,
                Err(Stop::Segment(error)) => return Err(error),
                Err(Stop::Engine(error)) => {
                    if worked {
                        backoff.reset();
                        self.context.metrics.reconnects.inc();
                    }
                    self.trouble(&error, &mut backoff)
                }
                Ok(never) => match never {},
            };
            let end = Instant::now() + wait;
            while Instant::now() < end && !self.context.is_stopping() {
                self.turn();
                self.decide_alone()?;
                self.context.wait(NAP.min(end.saturating_duration_since(Instant::now())));
            }
        }
        Ok(())
    }

    fn turn(&self) {
        self.context.turned(Way::Down);
        let health = self.context.health();
        self.poster.beat();
        self.poster.set_health(health);
        self.context.metrics.health(health);
    }

    fn trouble(&self, error: &EngineError, backoff: &mut Backoff) -> Duration {
        let log = &self.context.log;
        match error {
            EngineError::Refused(_) => self.context.refused(Way::Down),
            _ => self.context.lost(Way::Down),
        }
        match error {
            EngineError::Denied(text) => {
                log.trouble("down: denied", format_args!("the server denies, an operator has to act: {text}"));
                return DENIED_WAIT;
            }
            EngineError::Lost(text) | EngineError::Moved(text) | EngineError::Refused(text) => {
                log.trouble("down: lost", format_args!("no connection to receive: {text}"));
            }
        }
        backoff.wait()
    }

    /// One connection, until it fails.
    fn session(&mut self, worked: &mut bool) -> Result<std::convert::Infallible, Stop> {
        let mut down = self.engine.down()?;
        let tip = down.tip(false)?;
        *worked = true;
        for kind in ["down: lost", "down: denied"] {
            self.context.log.settled(kind);
        }
        let mut position = match self.poster.position() {
            None => self.begin(&mut *down)?,
            Some(kept) => self.arrive(position_of(&kept), &tip, &mut *down)?,
        };
        loop {
            if self.context.is_stopping() {
                return Err(Stop::Asked);
            }
            self.turn();
            self.decide_alone()?;
            self.compare_if_due(&position, &mut *down)?;
            let since = self.last_read.elapsed();
            if let Some(early) = self.context.read_interval().checked_sub(since).filter(|early| !early.is_zero()) {
                std::thread::sleep(early.min(NAP));
                continue;
            }
            let entries = down.read(&position, IDLE)?;
            self.context.answered(Way::Down);
            if entries.is_empty() {
                let tip = down.tip(false)?;
                self.context.answered(Way::Down);
                self.show_lag(&position, &tip);
                // Entries may have come between the two answers. The next read gets them.
                if standing(&position, &tip.position) == Standing::Break {
                    position = self.break_off(&tip.position)?;
                }
                continue;
            }
            self.last_read = Instant::now();
            for entry in &entries {
                if self.context.is_stopping() {
                    return Err(Stop::Asked);
                }
                position = self.entry(entry, &position, &mut *down)?;
                if position == Position::START {
                    break;
                }
            }
        }
    }

    fn show_lag(&self, position: &Position, tip: &Tip) {
        let lag = match standing(position, &tip.position) {
            Standing::Behind(events) => events,
            Standing::AtEnd | Standing::Break => 0,
        };
        self.context.metrics.stream_lag.set(i64::try_from(lag).unwrap_or(i64::MAX));
    }

    /// The first time on this segment: what is in the stream was before its time.
    fn begin(&mut self, down: &mut dyn Down) -> Result<Position, Stop> {
        let position = self.jump(down)?;
        self.context.log.line(format_args!("this segment is new to the stream, and begins at its end"));
        Ok(position)
    }

    /// Goes to the end of the stream. What is before it counts as seen.
    fn jump(&mut self, down: &mut dyn Down) -> Result<Position, Stop> {
        let tip = down.tip(true)?;
        for seen in &tip.origins {
            if let Some(last) = seen.next.checked_sub(1) {
                self.with_place(down, |poster| poster.pass(Origin::from_bits(seen.origin), last).map(|()| true))?;
            }
        }
        self.keep(tip.position);
        self.compare_later();
        Ok(tip.position)
    }

    /// Continues where this or another relay was.
    fn arrive(&mut self, position: Position, tip: &Tip, down: &mut dyn Down) -> Result<Position, Stop> {
        self.show_lag(&position, tip);
        match standing(&position, &tip.position) {
            Standing::AtEnd => Ok(position),
            Standing::Break => self.break_off(&tip.position),
            // What was read of a history that has to be read from its beginning is known by the table only.
            Standing::Behind(events) if events > self.catch_up && position != Position::START => {
                self.missed(Some(events), None, MissedReason::CatchUp)?;
                self.context.log.line(format_args!(
                    "{events} events came while this host was away, more than --catch-up {}: they are not replayed",
                    self.catch_up
                ));
                self.jump(down)
            }
            Standing::Behind(_) => Ok(position),
        }
    }

    /// The stream's past is not what it was. What came before has perhaps another order on other hosts, and some of it
    /// may be missing. The stream is read from its beginning, and the table tells what is new. `because` is what was
    /// found in place of what was expected.
    fn break_off(&mut self, because: &Position) -> Result<Position, Stop> {
        self.told_timeline = self.told_timeline.max(because.timeline);
        self.missed(None, None, MissedReason::EngineLost)?;
        self.context.metrics.breaks.inc();
        self.context.log.line(format_args!(
            "the server has forgotten what it had handed out: all handlers of missed events are called"
        ));
        self.keep(Position::START);
        self.compare_later();
        Ok(Position::START)
    }

    fn keep(&mut self, position: Position) {
        let Position { timeline, seq, chain, n } = position;
        self.poster.set_position(&StreamPosition { timeline, seq, chain: chain.0, n });
    }

    fn missed(&mut self, count: Option<u64>, origin: Option<Origin>, reason: MissedReason) -> Result<(), Stop> {
        self.context.metrics.missed(reason.name());
        self.poster.missed(count, origin, reason)?;
        Ok(())
    }

    /// Handles one entry, and returns the position after it. [`Position::START`] after a break.
    fn entry(&mut self, entry: &Entry, before: &Position, down: &mut dyn Down) -> Result<Position, Stop> {
        match entry.follows {
            Follows::Yes | Follows::Hole(0) => {}
            Follows::Hole(events) => {
                self.missed(Some(events), None, MissedReason::Trimmed)?;
                self.compare_later();
            }
            Follows::Break if *before == Position::START => {}
            // A server that lost only where its timeline ends has begun another one in the same stream.
            Follows::Break
                if before.timeline < entry.position.timeline && entry.position.timeline <= self.told_timeline =>
            {
                if entry.n > 0 {
                    self.missed(Some(entry.n), None, MissedReason::Trimmed)?;
                    self.compare_later();
                }
            }
            Follows::Break => return self.break_off(&entry.position),
        }
        self.pace()?;
        match entry.added {
            None => {
                self.context.metrics.refused("entry");
                self.missed(None, None, MissedReason::Format)?;
            }
            Some(added) => self.batch(entry, added, down)?,
        }
        self.keep(entry.position);
        Ok(entry.position)
    }

    fn batch(&mut self, entry: &Entry, added: Added, down: &mut dyn Down) -> Result<(), Stop> {
        let metrics = &self.context.metrics;
        metrics.received.inc_by(added.count.into());
        let origin = Origin::from_bits(added.origin);
        let batch = match Batch::parse(&entry.body) {
            Ok(batch) if is_what_it_says(&batch, added) => batch,
            refused => {
                let name = refused.as_ref().map_or_else(|error| error.name(), |_| "chain");
                metrics.refused(name);
                let why = refused.map_or_else(|error| error.to_string(), |_| "it is not what its entry says".into());
                self.context.log.trouble(
                    "refused",
                    format_args!("a batch of origin {origin} is refused and told as missed: {why}"),
                );
                let Some(last) = added.next.checked_sub(1) else { return Ok(()) };
                let count = Some(u64::from(added.count));
                return self.tell(origin, last, count, MissedReason::Format, down);
            }
        };
        let (mut n, mut passed) = (entry.n, None);
        for item in &batch.items {
            let place = ClusterId { timeline: entry.position.timeline, n };
            n += 1;
            match item {
                Item::Gap { id, count, reason } => self.tell(origin, *id, *count, told(*reason), down)?,
                // It is on its own host already, or belongs to the host that posted it.
                Item::Event(event) if self.is_for_others(origin, event) => {
                    passed = Some(event.id);
                    let reason = if event.unique.is_some() { "unique" } else { "own" };
                    self.context.metrics.skipped(reason, 1);
                    continue;
                }
                Item::Event(event) => self.event(origin, place, event, down)?,
            }
            passed = None;
        }
        if let Some(last) = passed {
            self.with_place(down, |poster| poster.pass(origin, last).map(|()| true))?;
        }
        Ok(())
    }

    fn is_for_others(&self, origin: Origin, event: &Event<'_>) -> bool {
        match (event.kind, event.unique) {
            (Kind::Spread, _) => origin == self.own,
            (Kind::Ordered, None) => false,
            (Kind::Ordered, Some(_)) => origin != self.own,
        }
    }

    fn event(&mut self, origin: Origin, place: ClusterId, event: &Event<'_>, down: &mut dyn Down) -> Result<(), Stop> {
        let foreign = foreign(origin, place, event);
        if event.unique.is_some() && !self.is_safe(origin, event.id, down)? {
            return self.tell(origin, event.id, Some(1), MissedReason::Undecided, down);
        }
        match self.patiently(down, |poster| poster.post(&foreign)) {
            Ok(true) => {
                self.context.metrics.posted.inc();
                Ok(())
            }
            Ok(false) => {
                self.context.metrics.skipped("seen", 1);
                if event.kept.is_some() {
                    // Its host may have sent it again, behind a later one of its key.
                    self.compare_later();
                }
                Ok(())
            }
            Err(Stop::Segment(error)) => {
                if error.kind() == ErrorKind::RelayFull {
                    // No place for its origin: told without its place in the table, perhaps again.
                    return self.full(origin, &error);
                }
                let Some(reason) = refusal(&error) else { return Err(Stop::Segment(error)) };
                self.context.log.trouble(
                    "cannot post",
                    format_args!("event {} of origin {origin} is told as missed: {error}", event.id),
                );
                self.tell(origin, event.id, Some(1), reason, down)
            }
            Err(stop) => Err(stop),
        }
    }

    /// Posts, and waits for a worker that must read. Posts of this host cut it off if it stays behind.
    fn patiently(
        &mut self,
        down: &mut dyn Down,
        mut work: impl FnMut(&mut RelayPoster) -> seqcast::Result<bool>,
    ) -> Result<bool, Stop> {
        let start = Instant::now();
        loop {
            match self.with_place(down, &mut work) {
                Err(Stop::Segment(error)) if error.kind() == ErrorKind::Full && start.elapsed() < MUST_READ => {
                    if self.context.is_stopping() {
                        return Err(Stop::Asked);
                    }
                    self.turn();
                    std::thread::sleep(Duration::from_millis(1));
                }
                done => return done,
            }
        }
    }

    /// Tells that events of an origin are missing, once.
    fn tell(
        &mut self,
        origin: Origin,
        last: u64,
        count: Option<u64>,
        reason: MissedReason,
        down: &mut dyn Down,
    ) -> Result<(), Stop> {
        match self.with_place(down, |poster| poster.post_missed(origin, last, count, reason)) {
            Ok(true) => {
                self.context.metrics.missed(reason.name());
                Ok(())
            }
            Ok(false) => Ok(()),
            Err(Stop::Segment(error)) if error.kind() == ErrorKind::RelayFull => self.full(origin, &error),
            Err(stop) => Err(stop),
        }
    }

    fn full(&mut self, origin: Origin, error: &seqcast::Error) -> Result<(), Stop> {
        self.context.log.trouble("full", format_args!("events of origin {origin} are told as missed: {error}"));
        self.missed(None, Some(origin), MissedReason::Format)
    }

    /// Does something that needs a place in the table of origins. If the table is full, origins that the engine has
    /// forgotten give up theirs.
    fn with_place(
        &mut self,
        down: &mut dyn Down,
        mut work: impl FnMut(&mut RelayPoster) -> seqcast::Result<bool>,
    ) -> Result<bool, Stop> {
        match work(&mut self.poster) {
            Err(error) if error.kind() == ErrorKind::RelayFull => {
                let known = down.tip(true)?.origins;
                let mut freed = false;
                for (origin, _) in self.poster.origins() {
                    if known.iter().all(|seen| seen.origin != origin.bits()) {
                        freed |= self.poster.forget(origin);
                    }
                }
                if freed { Ok(work(&mut self.poster)?) } else { Err(Stop::Segment(error)) }
            }
            done => Ok(done?),
        }
    }

    /// Waits for the readers of this host, so that a backlog does not overwrite what they have not read.
    fn pace(&mut self) -> Result<(), Stop> {
        let most = self.poster.capacity() / 4;
        let start = Instant::now();
        if start < self.unpaced_until {
            return Ok(());
        }
        while self.poster.slowest_lag()? > most && !self.context.is_stopping() {
            if start.elapsed() >= PACE {
                self.unpaced_until = Instant::now() + UNPACED;
                self.context.log.trouble(
                    "slow",
                    format_args!("a worker of this host is far behind, and the relay waits no longer for it"),
                );
                break;
            }
            self.turn();
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

/// Why an event that the segment refuses is told as missed. `None`: the segment cannot be used.
fn refusal(error: &seqcast::Error) -> Option<MissedReason> {
    match error.kind() {
        ErrorKind::PayloadTooLarge => Some(MissedReason::TooLarge),
        ErrorKind::Full => Some(MissedReason::CatchUp),
        ErrorKind::TypedFormat
        | ErrorKind::Topic
        | ErrorKind::LibrarySource
        | ErrorKind::RetainedFull
        | ErrorKind::Option => Some(MissedReason::Format),
        _ => None,
    }
}

fn is_what_it_says(batch: &Batch<'_>, added: Added) -> bool {
    let Added { origin, next, count } = added;
    batch.origin == origin && batch.last() + 1 == next && batch.items.len() == count as usize
}

/// The event as the segment takes it.
fn foreign<'a>(origin: Origin, place: ClusterId, event: &Event<'a>) -> Foreign<'a> {
    let mut foreign = Foreign::new(origin, event.id, place, event.source, event.event, event.bytes);
    if event.type_tag != 0 {
        foreign = foreign.type_tag(event.type_tag, event.format);
    }
    if let Some(ttl) = event.unique {
        foreign = foreign.unique(ttl);
    }
    if let Some(crate::batch::Kept { key, ttl, clears }) = event.kept {
        foreign = foreign.retained(Kept { key, ttl, clears });
    }
    foreign
}

fn told(reason: Reason) -> MissedReason {
    match reason {
        Reason::OriginLapped => MissedReason::OriginLapped,
        Reason::Undecided => MissedReason::Undecided,
        Reason::TooLarge => MissedReason::TooLarge,
        Reason::Format => MissedReason::Format,
    }
}

fn position_of(kept: &StreamPosition) -> Position {
    Position { timeline: kept.timeline, seq: kept.seq, chain: Chain(kept.chain), n: kept.n }
}
