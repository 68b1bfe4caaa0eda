//! A worker: it posts, answers requests, runs ticks, and checks what it receives.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use seqcast::{Bus, Event, Start, Topic, Trouble, Worker, WorkerOptions};

use crate::board::{Board, MOST, Phase, TICKS};
use crate::{Args, Result};

const CHANGED: Topic<'_> = Topic::new("cache", "changed");
const TICK: Topic<'_> = Topic::new("job", "tick");
/// A worker that misses what is due for so long says so.
const PATIENCE: Duration = Duration::from_secs(120);
/// Workers do not post while the slowest one is this many events behind: the smaller ring holds four times as many.
const MOST_BEHIND: u64 = 256;

/// What a worker has received of each other: the number of the last event, 0 for none.
type Received = Arc<[AtomicU64; MOST]>;

struct Member<'a> {
    args: &'a Args,
    board: &'static Board,
    bus: &'a Bus,
    number: usize,
    worker: Worker,
    received: Received,
    requests: UnixStream,
    posted: u64,
    ticked: u64,
}

/// Runs worker `number` until the end of its generation.
pub fn run(args: &Args, board: &'static Board, bus: &Bus, number: usize, requests: UnixStream) -> Result<()> {
    let is_new = number >= args.workers as usize;
    // The bridge may have carried events before this worker joins.
    let start = if is_new { Start::Oldest } else { Start::Now };
    let options = WorkerOptions::new().label(format!("worker {number}")).announce(false).start(start);
    let options = options.on_report(move |report| match report.trouble {
        Trouble::Lagged { missed, .. } => _ = board.lost.fetch_add(missed, Ordering::Relaxed),
        _ => eprintln!("{report}"),
    });
    let worker = bus.join_with(&options)?;
    let received = received_by(&worker, board, usize::from(is_new))?;
    requests.set_nonblocking(true)?;
    let mut member = Member { args, board, bus, number, worker, received, requests, posted: 0, ticked: 0 };
    member.note_cursor();
    board.workers[number].works.store(1, Ordering::Release);
    board.joined.fetch_add(1, Ordering::Release);
    member.work()?;
    // Release: with the number of its last post.
    board.stopped.fetch_add(1, Ordering::Release);
    member.receive_the_rest()?;
    board.workers[number].works.store(0, Ordering::Release);
    member.worker.leave()?;
    Ok(())
}

/// Registers the handlers that check what is received.
fn received_by(worker: &Worker, board: &'static Board, segment: usize) -> Result<Received> {
    let received = Received::new([const { AtomicU64::new(0) }; MOST]);
    let (log, last_id) = (received.clone(), AtomicU64::new(0));
    worker.on(CHANGED, move |event| {
        let (from, number) = parts(event).ok_or("not of a worker")?;
        let id = event.id().ok_or("not posted")?;
        // The id plus one, so that the first one counts.
        if last_id.swap(id + 1, Ordering::Relaxed) > id {
            board.disordered.fetch_add(1, Ordering::Relaxed);
        }
        board.note(segment, id, (from as u64 + 1) << 48 | number);
        let before = log[from].swap(number, Ordering::Relaxed);
        match number {
            // The first of this worker that is received here.
            _ if before == 0 => {}
            number if number <= before => _ = board.doubled.fetch_add(1, Ordering::Relaxed),
            number => _ = board.lost.fetch_add(number - before - 1, Ordering::Relaxed),
        }
        Ok::<_, &str>(())
    })?;
    worker.on(TICK, move |event| {
        let (_, tick) = parts(event).ok_or("not a tick")?;
        board.ran[tick as usize % TICKS].fetch_add(1, Ordering::Relaxed);
        Ok::<_, &str>(())
    })?;
    Ok(received)
}

fn payload(from: usize, number: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&(from as u64).to_le_bytes());
    bytes[8..].copy_from_slice(&number.to_le_bytes());
    bytes
}

fn parts(event: &Event<'_>) -> Option<(usize, u64)> {
    let bytes: &[u8; 16] = event.bytes().try_into().ok()?;
    let [from, number] = [0, 8].map(|at| bytes[at..at + 8].try_into().map(u64::from_le_bytes));
    Some((usize::try_from(from.ok()?).ok().filter(|&from| from < MOST)?, number.ok()?))
}

impl Member<'_> {
    fn is_new(&self) -> bool {
        self.number >= self.args.workers as usize
    }

    /// The first and last phase in which this worker posts.
    fn posts_in(&self) -> (Phase, Phase) {
        if self.is_new() { (Phase::Both, Phase::New) } else { (Phase::Old, Phase::Both) }
    }

    fn work(&mut self) -> Result<()> {
        let (first, last) = self.posts_in();
        let mut next = Instant::now();
        while self.board.phase() <= last {
            if self.board.phase() >= first && Instant::now() >= next && self.may_post() {
                self.post()?;
                let workers = if self.board.phase() == Phase::Both { 2 * self.args.workers } else { self.args.workers };
                next = Instant::now().max(next + Duration::from_nanos(workers * 1_000_000_000 / self.args.rate));
            }
            self.post_tick(first)?;
            self.answer()?;
            self.receive(Duration::from_micros(500))?;
        }
        Ok(())
    }

    /// Returns `true` if no worker of this segment is far behind.
    fn may_post(&self) -> bool {
        let each = self.args.workers as usize;
        let range = if self.is_new() { each..2 * each } else { 0..each };
        let slowest = self.board.received_below(usize::from(self.is_new()), range);
        self.bus.next_id().saturating_sub(slowest) < MOST_BEHIND
    }

    fn post(&mut self) -> Result<()> {
        self.posted += 1;
        self.worker.post(CHANGED, payload(self.number, self.posted))?;
        // Release: a process that sees the number finds the event.
        self.board.workers[self.number].posted.store(self.posted, Ordering::Release);
        Ok(())
    }

    /// Posts the current tick, as all workers do. One of them runs it.
    fn post_tick(&mut self, first: Phase) -> Result<()> {
        let tick = self.board.tick.load(Ordering::Acquire);
        let is_due = tick > self.ticked && self.board.phase() >= first && self.may_post();
        if is_due && (!self.is_new() || tick >= self.board.first_tick_of_new.load(Ordering::Acquire)) {
            self.ticked = tick;
            let key = format!("tick {tick}");
            let event = self.worker.event(TICK).unique(&key);
            self.board.posted_ticks[tick as usize].store(1, Ordering::Relaxed);
            event.ttl(Duration::from_secs(600)).post(payload(self.number, tick))?;
        }
        Ok(())
    }

    /// Answers the requests that are there: each changes something, which is posted, and is answered from a state that
    /// is up to date.
    fn answer(&mut self) -> Result<()> {
        let mut request = [0; 8];
        while self.may_post() {
            match self.requests.read(&mut request) {
                Ok(8) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Ok(_) | Err(_) => break,
            }
            self.post()?;
            self.receive(Duration::ZERO)?;
            let own = self.received[self.number].load(Ordering::Relaxed);
            self.requests.write_all(&own.to_le_bytes())?;
            self.board.requests.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn receive(&mut self, wait: Duration) -> Result<()> {
        if !wait.is_zero() {
            self.worker.wait(wait)?;
        }
        self.worker.poll()?;
        self.note_cursor();
        Ok(())
    }

    fn note_cursor(&self) {
        self.board.workers[self.number].received_below.store(self.worker.cursor(), Ordering::Relaxed);
    }

    /// Receives until everything that is due is there. What does not come is lost.
    fn receive_the_rest(&mut self) -> Result<()> {
        let begun = Instant::now();
        loop {
            self.receive(Duration::from_millis(1))?;
            let is_over = if self.is_new() {
                self.board.stopped.load(Ordering::Acquire) == 2 * self.args.workers
            } else {
                self.board.is_due.load(Ordering::Acquire) == 1
            };
            let due = |number: usize| {
                let worker = &self.board.workers[number];
                if self.is_new() { &worker.posted } else { &worker.due }.load(Ordering::Acquire)
            };
            let others = 0..2 * self.args.workers as usize;
            let lacks = others.map(|number| due(number).saturating_sub(self.received[number].load(Ordering::Relaxed)));
            let lacks: u64 = lacks.sum();
            if is_over && lacks == 0 {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                self.board.lost.fetch_add(lacks, Ordering::Relaxed);
                return Ok(());
            }
        }
    }
}
