//! What all sections use: a server, two hosts, NATS, and the size of the run.

use std::time::{Duration, Instant};

use redis::Value;

use crate::board::{HEAD, Trip};
use crate::common::server::Server;
use crate::cpu;
use crate::pair::Pair;
use crate::servers::{Nats, free_port};
use crate::way::{Kind, Way, open};

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Size {
    pub is_quick: bool,
    pub rounds: usize,
    /// How long a batch of one subject takes.
    pub batch: Duration,
}

pub struct Bench {
    pub pair: Pair,
    pub server: Server,
    pub port: u16,
    pub nats: Option<Nats>,
    pub size: Size,
}

/// What one batch has shown.
#[derive(Clone, Debug)]
pub struct Batch {
    pub rate: f64,
    /// Microseconds of processor time for each message.
    pub engine: f64,
    pub relays: f64,
    /// Messages in each entry of the stream.
    pub filled: f64,
    /// Nanoseconds, one way.
    pub trips: Vec<Trip>,
}

impl Bench {
    pub fn start(size: Size) -> Bench {
        let port = free_port();
        let server = Server::start_with(&["--port", &port.to_string(), "--bind", "127.0.0.1"]);
        let pair = Pair::start(&server, "figures", 16384, &[]);
        Bench { pair, server, port, nats: Nats::start(), size }
    }

    /// The number of entries that the relays' stream has had.
    pub fn entries(&self) -> u64 {
        let Ok(Value::Array(facts)) = self.server.try_ask(&format!("XINFO STREAM {{{}}}:s", self.pair.stream)) else {
            return 0;
        };
        let mut facts = facts.into_iter();
        while let (Some(name), Some(value)) = (facts.next(), facts.next()) {
            if let (Value::BulkString(name), Value::Int(value)) = (name, value)
                && name == b"entries-added"
            {
                return value as u64;
            }
        }
        panic!("XINFO STREAM has no entries-added: the server is too old");
    }

    /// Sends as fast as it goes, with at most `window` messages under way.
    pub fn flat_out(&self, kind: Kind, bytes: usize, window: u64) -> Option<Batch> {
        let mut way = open(self, kind)?;
        let mut sent = 0;
        self.flow(&mut way, bytes, window, &mut sent, self.size.batch / 4);
        let name = way.name.clone();
        let batch = self.measure(way, sent, |way, sent| self.flow(way, bytes, window, sent, self.size.batch));
        self.forget(kind, &name);
        Some(batch)
    }

    fn flow(&self, way: &mut Way, bytes: usize, window: u64, sent: &mut u64, time: Duration) {
        /// Messages of one call of `write`.
        const MOST_AT_ONCE: u64 = 64;
        let mut message = vec![7; bytes.max(HEAD)];
        let start = Instant::now();
        while start.elapsed() < time {
            let room = window - (*sent - way.board.received());
            if room == 0 {
                // Half of the window, so that a wake-up is not for one message.
                way.board.wait_for(*sent - window / 2);
                continue;
            }
            let count = room.min(MOST_AT_ONCE);
            way.send(*sent, count, &mut message);
            *sent += count;
        }
        way.board.wait_for(*sent);
    }

    /// Sends `rate` messages per second, each millisecond its share.
    pub fn paced(&self, kind: Kind, bytes: usize, rate: u64, time: Duration) -> Option<Batch> {
        let mut way = open(self, kind)?;
        let mut sent = 0;
        self.pace(&mut way, bytes, rate, &mut sent, time / 4);
        let name = way.name.clone();
        let batch = self.measure(way, sent, |way, sent| self.pace(way, bytes, rate, sent, time));
        self.forget(kind, &name);
        Some(batch)
    }

    pub fn pace(&self, way: &mut Way, bytes: usize, rate: u64, sent: &mut u64, time: Duration) {
        let tick = Duration::from_nanos(1_000_000_000 / rate).max(Duration::from_millis(1));
        let mut message = vec![7; bytes.max(HEAD)];
        let (start, before) = (Instant::now(), *sent);
        for turn in 1.. {
            let due = tick * turn;
            if due > time {
                break;
            }
            std::thread::sleep(due.saturating_sub(start.elapsed()));
            let count = before + (due.as_secs_f64() * rate as f64).round() as u64 - *sent;
            way.send(*sent, count, &mut message);
            *sent += count;
        }
        way.board.wait_for(*sent);
    }

    /// Removes what a way has left in its server.
    fn forget(&self, kind: Kind, name: &str) {
        match (kind, &self.nats) {
            (Kind::Stream, _) => self.server.run_command(&format!("UNLINK {name}")),
            (Kind::JetStream, Some(nats)) => {
                nats.connect().ask(&format!("$JS.API.STREAM.DELETE.{name}"), "");
            }
            _ => {}
        }
    }

    pub fn measure(&self, mut way: Way, mut sent: u64, work: impl FnOnce(&mut Way, &mut u64)) -> Batch {
        way.board.take();
        let (before, entries, begin) = (sent, self.entries(), Instant::now());
        let (engine, relays) = (cpu::of(way.engine), cpu::of_all(&way.relays));
        work(&mut way, &mut sent);
        let (engine, relays) = (cpu::of(way.engine) - engine, cpu::of_all(&way.relays) - relays);
        let (time, count) = (begin.elapsed(), (sent - before) as f64);
        let entries = self.entries() - entries;
        Batch {
            rate: count / time.as_secs_f64(),
            engine: engine.as_secs_f64() * 1e6 / count,
            relays: relays.as_secs_f64() * 1e6 / count,
            filled: if entries > 0 { count / entries as f64 } else { 1.0 },
            trips: way.board.take(),
        }
    }
}
