//! The thread that sends: batches go to the engine, at most four without an answer.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::backoff::Backoff;
use crate::batch::{Item, Reason, VERSION};
use crate::context::{Context, End, Way};
use crate::engine::{Appended, Engine, EngineError, Outgoing, Registration, Up};
use crate::queue::Queue;
use crate::spool::Cut;

/// Batches without an answer.
const WINDOW: usize = 4;
/// A connection that has nothing to send asks whether the engine still knows everything.
const IDLE: Duration = Duration::from_secs(1);
const TRIM: Duration = Duration::from_secs(30);
const NAP: Duration = Duration::from_millis(50);
const FIRST_WAIT: Duration = Duration::from_millis(20);
const MOST_WAIT: Duration = Duration::from_secs(1);
/// An operator has to change something first.
const DENIED_WAIT: Duration = Duration::from_secs(30);

pub(crate) struct Sender<'a> {
    pub context: &'a Context,
    pub queue: &'a Queue,
    pub engine: &'a dyn Engine,
    pub who: Registration,
    /// Ids that do not travel are passed over once there are so many.
    pub advance: u64,
}

/// A batch under way.
struct UnderWay {
    next: u64,
    count: u32,
    /// A unique event that is decided by this batch.
    decides: bool,
    since: Instant,
}

enum Ended {
    Stopped,
    Fenced,
    /// The engine waits for another id.
    Behind,
}

impl Sender<'_> {
    pub fn run(&mut self) {
        let mut backoff = Backoff::new(FIRST_WAIT, MOST_WAIT);
        let mut drain = None;
        while !self.is_drained(&mut drain) {
            self.context.turned(Way::Up);
            let mut worked = false;
            let ended = self.session(&mut worked, &mut drain);
            if worked {
                backoff.reset();
            }
            let wait = match ended {
                Ok(Ended::Stopped) => break,
                Ok(Ended::Fenced) => {
                    self.context.end_with(End::Fenced);
                    break;
                }
                Ok(Ended::Behind) => backoff.wait(),
                Err(error) => self.trouble(&error, worked, &mut backoff),
            };
            let end = Instant::now() + wait;
            while Instant::now() < end && !self.is_drained(&mut drain) {
                self.context.turned(Way::Up);
                self.context.wait(NAP.min(end.saturating_duration_since(Instant::now())));
                if self.context.is_stopping() {
                    // The wait returns at once now. There is no connection, so the rest stays in the ring.
                    self.queue.end_sending();
                    return;
                }
            }
        }
        self.queue.end_sending();
    }

    /// Returns `true` if the thread is to end: it was asked to, and everything is sent or the time for it is over.
    fn is_drained(&self, drain: &mut Option<Instant>) -> bool {
        if !self.context.is_stopping() {
            return false;
        }
        let until = *drain.get_or_insert_with(|| Instant::now() + self.context.options.drain);
        Instant::now() >= until || self.queue.with_spool(|spool| spool.is_empty())
    }

    fn trouble(&self, error: &EngineError, was_connected: bool, backoff: &mut Backoff) -> Duration {
        let Context { log, metrics, .. } = self.context;
        if was_connected {
            metrics.reconnects.inc();
        }
        match error {
            EngineError::Refused(_) => self.context.refused(Way::Up),
            _ => self.context.lost(Way::Up),
        }
        match error {
            EngineError::Lost(text) => log.trouble("up: lost", format_args!("no connection to send: {text}")),
            EngineError::Refused(text) => {
                log.trouble("up: refused", format_args!("the server takes nothing for now, events wait here: {text}"));
            }
            EngineError::Denied(text) => {
                log.trouble("up: denied", format_args!("the server denies, an operator has to act: {text}"));
                return DENIED_WAIT;
            }
            EngineError::Moved(text) => {
                log.trouble("up: moved", format_args!("another server has to be asked: {text}"));
            }
        }
        backoff.wait()
    }

    /// One connection. `worked` is set once the engine has answered.
    fn session(&mut self, worked: &mut bool, drain: &mut Option<Instant>) -> Result<Ended, EngineError> {
        let (mut up, hello) = self.engine.up(&self.who, self.queue.begin())?;
        *worked = true;
        self.context.set_hosts(hello.hosts);
        self.context.answered(Way::Up);
        for kind in ["up: lost", "up: refused", "up: denied", "up: moved"] {
            self.context.log.settled(kind);
        }
        if self.queue.rewind(hello.next).is_some() {
            while !self.queue.wait_for_healing(NAP) {
                self.context.turned(Way::Up);
                if self.context.is_stopping() {
                    return Ok(Ended::Stopped);
                }
            }
        }
        self.send_all(&mut *up, drain)
    }

    fn send_all(&mut self, up: &mut dyn Up, drain: &mut Option<Instant>) -> Result<Ended, EngineError> {
        let mut under_way = VecDeque::new();
        let (mut heard, mut trimmed, mut added) = (Instant::now(), Instant::now(), 0);
        // A stream that grows fast is looked at more often, or it would be far over its bound in between.
        let most_added = self.context.options.stream_bytes / 4;
        loop {
            self.context.turned(Way::Up);
            self.expire();
            let is_drained = self.is_drained(drain);
            // Nothing is sent until the answers that are missing are there: they would come before that to a trim.
            let trims = trimmed.elapsed() >= TRIM || added > most_added;
            while under_way.len() < WINDOW && !is_drained && !trims {
                let advance = if heard.elapsed() >= IDLE { 1 } else { self.advance };
                let Some(cut) = self.queue.with_spool(|spool| spool.cut().or_else(|| spool.advance(advance))) else {
                    break;
                };
                up.send(&cut.outgoing())?;
                added += cut.outgoing().body.len() as u64;
                under_way.push_back(UnderWay::of(&cut));
            }
            self.show();
            if under_way.is_empty() {
                if is_drained {
                    return Ok(Ended::Stopped);
                }
                if trims {
                    (trimmed, added) = (Instant::now(), 0);
                    self.trim(up)?;
                } else if heard.elapsed() >= IDLE {
                    // It is answered as a batch that was appended before, if the engine has forgotten nothing.
                    let next = self.queue.with_spool(|spool| spool.confirmed());
                    up.send(&Outgoing { from: next, next, count: 0, body: &[], claim: None, retains: None })?;
                    under_way.push_back(UnderWay { next, count: 0, decides: false, since: Instant::now() });
                } else {
                    self.queue.wait_for_items(NAP);
                }
                continue;
            }
            match self.receive(up, &mut under_way)? {
                None => heard = Instant::now(),
                Some(ended) => {
                    // The batches behind it were refused as well, because they do not follow.
                    while !under_way.is_empty() {
                        self.receive(up, &mut under_way)?;
                    }
                    return Ok(ended);
                }
            }
        }
    }

    /// Waits for the answer to the oldest batch.
    fn receive(&mut self, up: &mut dyn Up, under_way: &mut VecDeque<UnderWay>) -> Result<Option<Ended>, EngineError> {
        let answer = up.receive()?;
        let Some(batch) = under_way.pop_front() else { return Ok(None) };
        let metrics = &self.context.metrics;
        metrics.append_seconds.observe(batch.since.elapsed().as_secs_f64());
        self.context.answered(Way::Up);
        match answer {
            Appended::Ok | Appended::Held | Appended::Full | Appended::Old => {
                self.queue.with_spool(|spool| spool.confirm(batch.next));
                if answer == Appended::Ok {
                    metrics.sent.inc_by(batch.count.into());
                }
                if answer == Appended::Full {
                    metrics.not_relayed("retained_full");
                    self.context.log.trouble(
                        "retained_full",
                        format_args!(
                            "event {} is reported as missed: the stream retains as many keys as --retained-keys",
                            batch.next - 1
                        ),
                    );
                }
                if batch.decides && answer != Appended::Old {
                    metrics.claims(if answer == Appended::Ok { "won" } else { "held" }, 1);
                }
                Ok(None)
            }
            Appended::Rewind(_) | Appended::Unknown => Ok(Some(Ended::Behind)),
            Appended::Fenced => Ok(Some(Ended::Fenced)),
        }
    }

    fn expire(&self) {
        let gap = |id| Item::Gap { id, count: Some(1), reason: Reason::Undecided };
        let expired = self.queue.with_spool(|spool| spool.expire(Instant::now(), gap));
        if expired > 0 {
            self.context.metrics.claims("undecided", expired);
            self.context.log.trouble(
                "undecided",
                format_args!("{expired} unique events waited for the server longer than their ttl: told as missed"),
            );
        }
    }

    fn trim(&self, up: &mut dyn Up) -> Result<(), EngineError> {
        let removed = up.trim(self.context.options.stream_bytes)?;
        if removed > 0 {
            self.context.log.trouble(
                "trimmed",
                format_args!("the stream was over --stream-bytes: {removed} of its oldest entries were removed"),
            );
        }
        Ok(())
    }

    fn show(&self) {
        let (events, bytes) = self.queue.with_spool(|spool| (spool.len(), spool.bytes()));
        self.context.metrics.spool_events.set(i64::try_from(events).unwrap_or(i64::MAX));
        self.context.metrics.spool_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

impl UnderWay {
    fn of(cut: &Cut) -> UnderWay {
        let Outgoing { next, count, body, claim, .. } = cut.outgoing();
        UnderWay { next, count, decides: claim.is_some() && !body.is_empty(), since: Instant::now() }
    }
}

/// How the process registers.
pub(crate) fn registration(origin: u64, host: &str) -> Registration {
    // A record ends with the host's name, so it may hold anything but what would be hard to read.
    let host: String = host.chars().filter(|c| !c.is_control()).take(100).collect();
    Registration { origin, session: fastrand::u64(..), host, format: VERSION }
}
