//! What the threads of a relay share: options, figures, health, and the wish to stop.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use seqcast::relay::Health;

use crate::log::Log;
use crate::metrics::Metrics;
use crate::select::Pattern;

/// How a relay works. Durations and sizes have the defaults of `seqcast-relay --help`.
#[derive(Clone, Debug)]
pub struct Options {
    /// The sources whose local events travel as well.
    pub sources: Vec<Pattern>,
    /// The largest event that travels, in bytes.
    pub largest: usize,
    /// The most memory for events that the engine has not acknowledged.
    pub spool_bytes: usize,
    /// A backlog of more events is not replayed but told. `None`: half the ring.
    pub catch_up: Option<u64>,
    /// The most memory of the stream in the engine.
    pub stream_bytes: u64,
    /// The shortest time between two reads. `None`: by the number of hosts.
    pub read_interval: Option<Duration>,
    /// What becomes of a unique event while the engine cannot be reached.
    pub unique_offline: UniqueOffline,
    /// How long a unique event waits for the engine before this host decides alone, with [`UniqueOffline::Local`].
    pub unique_patience: Duration,
    /// How many replicas must have the claim of a unique event before it runs.
    pub claim_replicas: u32,
    /// What people call the host.
    pub host: String,
    /// The longest time for which a stopping relay sends what it has read.
    pub drain: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            sources: Vec::new(),
            largest: 64 << 10,
            spool_bytes: 64 << 20,
            catch_up: None,
            stream_bytes: 64 << 20,
            read_interval: None,
            unique_offline: UniqueOffline::Fail,
            unique_patience: Duration::from_secs(2),
            claim_replicas: 0,
            host: "unnamed".into(),
            drain: Duration::from_secs(2),
        }
    }
}

/// What becomes of a unique event while the engine cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UniqueOffline {
    /// It waits for its ttl, and is then told as missed.
    Fail,
    /// Each host decides alone: one of its workers runs it.
    Local,
}

/// Why a relay has ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum End {
    /// It was asked to.
    Stopped,
    /// Another process has registered for the segment's identity: the segment was cloned.
    Fenced,
    /// The name leads to another segment now.
    Replaced,
    /// The segment cannot be used.
    Segment(seqcast::Error),
    /// A thread panicked: an error of this program.
    Panicked,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Stopped => f.write_str("stopped"),
            End::Fenced => f.write_str(
                "another process has registered for this segment's identity: the machine, or its memory, was cloned",
            ),
            End::Replaced => f.write_str("the segment was unlinked, and the name leads to no or to another segment"),
            End::Segment(error) => error.fmt(f),
            End::Panicked => f.write_str("a thread of the relay panicked"),
        }
    }
}

/// What the threads share.
#[derive(Debug)]
pub struct Context {
    /// How the relay works.
    pub options: Options,
    /// Its figures.
    pub metrics: Metrics,
    /// Its log.
    pub log: Log,
    started: Instant,
    stopping: AtomicBool,
    end: Mutex<Option<End>>,
    ended: Condvar,
    /// Hosts that the engine knows.
    hosts: AtomicU64,
    ring: Half,
    up: Half,
    down: Half,
}

/// The state of one loop. Times are in milliseconds since the start.
#[derive(Debug, Default)]
struct Half {
    /// When its loop last turned.
    turned: AtomicU64,
    /// When the engine last answered, plus one. 0: never, or it has refused since.
    answered: AtomicU64,
    refused: AtomicBool,
}

/// One of the three loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the segment into the spool.
    Ring,
    /// From the spool to the engine.
    Up,
    /// From the engine to the segment.
    Down,
}

/// An engine that has not answered for so long is down.
const FRESH: Duration = Duration::from_secs(3);

impl Context {
    /// A context with these options, which logs to `log`.
    pub fn new(options: Options, log: Log) -> Context {
        Context {
            options,
            metrics: Metrics::default(),
            log,
            started: Instant::now(),
            stopping: AtomicBool::new(false),
            end: Mutex::new(None),
            ended: Condvar::new(),
            hosts: AtomicU64::new(1),
            ring: Half::default(),
            up: Half::default(),
            down: Half::default(),
        }
    }

    /// Asks all threads to end. What was read from the ring is still sent, for [`Options::drain`].
    pub fn stop(&self) {
        self.end_with(End::Stopped);
    }

    /// Ends all threads for this reason, unless there is one already.
    pub fn end_with(&self, end: End) {
        self.end().get_or_insert(end);
        self.stopping.store(true, Ordering::Release);
        self.ended.notify_all();
    }

    /// Returns `true` if the threads are to end.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Waits until the relay ends, for at most `time`. Returns `true` if it does.
    pub fn wait(&self, time: Duration) -> bool {
        let (end, _) = self
            .ended
            .wait_timeout_while(self.end(), time, |end| end.is_none())
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        end.is_some()
    }

    /// Why the relay ends.
    pub fn take_end(&self) -> End {
        self.end().take().unwrap_or(End::Stopped)
    }

    fn end(&self) -> MutexGuard<'_, Option<End>> {
        self.end.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn half(&self, way: Way) -> &Half {
        match way {
            Way::Ring => &self.ring,
            Way::Up => &self.up,
            Way::Down => &self.down,
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A loop has turned.
    pub fn turned(&self, way: Way) {
        self.half(way).turned.store(self.now(), Ordering::Relaxed);
    }

    /// The engine has answered as it should.
    pub fn answered(&self, way: Way) {
        self.turned(way);
        self.half(way).refused.store(false, Ordering::Relaxed);
        self.half(way).answered.store(self.now() + 1, Ordering::Relaxed);
    }

    /// The engine is there, and refuses.
    pub fn refused(&self, way: Way) {
        self.half(way).refused.store(true, Ordering::Relaxed);
    }

    /// The engine is not there.
    pub fn lost(&self, way: Way) {
        self.half(way).answered.store(0, Ordering::Relaxed);
    }

    /// Returns `true` if the engine does not answer as it should.
    pub fn is_away(&self, way: Way) -> bool {
        let half = self.half(way);
        half.refused.load(Ordering::Relaxed) || half.answered.load(Ordering::Relaxed) == 0
    }

    /// Returns `true` if all loops have turned within `time`.
    pub fn is_turning(&self, time: Duration) -> bool {
        let since = self.now().saturating_sub(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        [&self.ring, &self.up, &self.down].iter().all(|half| half.turned.load(Ordering::Relaxed) >= since)
    }

    /// How the relay does.
    pub fn health(&self) -> Health {
        self.health_at(self.now())
    }

    fn health_at(&self, now: u64) -> Health {
        let since = now.saturating_sub(FRESH.as_millis() as u64);
        let fresh = |half: &Half| half.answered.load(Ordering::Relaxed) > since;
        let refused = |half: &Half| half.refused.load(Ordering::Relaxed);
        if refused(&self.up) || refused(&self.down) {
            Health::Degraded
        } else if fresh(&self.up) && fresh(&self.down) {
            Health::Up
        } else if now < FRESH.as_millis() as u64 {
            Health::Starting
        } else {
            Health::Down
        }
    }

    /// The number of hosts that the engine knows.
    pub fn set_hosts(&self, hosts: u64) {
        self.hosts.store(hosts, Ordering::Relaxed);
        self.metrics.hosts.set(i64::try_from(hosts).unwrap_or(i64::MAX));
    }

    /// The shortest time between two reads. Each reader that is woken costs the server some 9 microseconds for each
    /// entry, so with many hosts they ask again later, and get more at once.
    pub fn read_interval(&self) -> Duration {
        const MOST_WOKEN: u64 = 50;
        let hosts = self.hosts.load(Ordering::Relaxed);
        let by_hosts = if hosts > MOST_WOKEN { Duration::from_millis(hosts / MOST_WOKEN) } else { Duration::ZERO };
        self.options.read_interval.unwrap_or(by_hosts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_read_interval_follows_the_number_of_hosts_unless_it_is_set() {
        let context = Context::new(Options::default(), Log::silent());
        for (hosts, millis) in [(1, 0), (50, 0), (51, 1), (100, 2), (1000, 20)] {
            context.set_hosts(hosts);
            assert_eq!(context.read_interval(), Duration::from_millis(millis), "{hosts}");
        }
        let read_interval = Some(Duration::from_millis(7));
        let context = Context::new(Options { read_interval, ..Options::default() }, Log::silent());
        assert_eq!(context.read_interval(), Duration::from_millis(7));
    }

    #[test]
    fn health_is_up_only_if_both_ways_have_an_answer() {
        let context = Context::new(Options::default(), Log::silent());
        assert_eq!(context.health_at(0), Health::Starting);
        context.answered(Way::Up);
        assert_ne!(context.health_at(0), Health::Up);
        context.answered(Way::Down);
        assert_eq!(context.health_at(0), Health::Up);
        context.refused(Way::Up);
        assert_eq!(context.health_at(0), Health::Degraded);
        context.answered(Way::Up);
        assert_eq!(context.health_at(0), Health::Up);
        // The answers are old.
        assert_eq!(context.health_at(context.now() + FRESH.as_millis() as u64 + 1), Health::Down);
        context.lost(Way::Down);
        assert_ne!(context.health_at(0), Health::Up);
    }

    #[test]
    fn the_first_reason_to_end_is_kept() {
        let context = Context::new(Options::default(), Log::silent());
        assert!(!context.wait(Duration::ZERO));
        context.end_with(End::Fenced);
        context.stop();
        assert!(context.wait(Duration::ZERO) && context.is_stopping());
        assert!(matches!(context.take_end(), End::Fenced));
    }
}
