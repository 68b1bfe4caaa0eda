//! The master: it forks both generations, has the bridge, sends requests, and judges.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use seqcast::{Bridge, Bus, SegmentOptions};

use crate::board::{Board, Phase, TICKS};
use crate::process::fork;
use crate::{Args, Result, worker};

/// A process that does not come so far within this time hangs.
const PATIENCE: Duration = Duration::from_secs(120);
const TICK: Duration = Duration::from_millis(50);
/// A turn counts as this long at most, so that pauses of the host take nothing from the time of the workers.
const LONGEST_TURN: Duration = Duration::from_millis(5);

pub fn run(args: &Args) -> Result<()> {
    let name = |which| format!("seqcast-reload-{which}-{}", std::process::id());
    let options = SegmentOptions::new().block_size(96).seats(32).unlink_on_drop(true);
    let old = options.clone().capacity(1024).create(&name("old"))?;
    let new = options.capacity(8192).keys_of(&old).create(&name("new"))?;
    let board = Board::shared()?;
    let mut master = Master { args, board, began: Instant::now(), workers: Vec::new(), answers: 0, sent: 0 };

    master.fork_generation(&old, 0)?;
    master.run_for(Duration::from_millis(args.both_ms / 4), None)?;

    master.fork_generation(&new, args.workers as usize)?;
    let mut bridge = old.bridge_to(&new)?.ok_or("another process bridges the segments")?;
    // What was posted before the bridge is decided in its own segment.
    board.first_tick_of_new.store(board.tick.load(Ordering::Relaxed) + 2, Ordering::Release);
    board.enter(Phase::Both);
    master.run_for(Duration::from_millis(args.both_ms), Some((&mut bridge, [&old, &new])))?;

    board.enter(Phase::Drain);
    let left = master.drain(&mut bridge, [&old, &new])?;
    let carried = bridge.finish()?;
    board.enter(Phase::New);
    master.run_for(Duration::from_millis(args.both_ms / 4), None)?;
    board.enter(Phase::End);
    let ended = master.end()?;
    master.judge(left && ended, [carried.to_new, carried.to_old], carried.missed + carried.refused)
}

struct Master<'a> {
    args: &'a Args,
    board: &'static Board,
    began: Instant,
    workers: Vec<(Pid, UnixStream)>,
    answers: u64,
    sent: u64,
}

type Bridged<'b> = Option<(&'b mut Bridge, [&'b Bus; 2])>;

impl Master<'_> {
    /// Forks the workers from number `first` on, and waits until all have joined.
    fn fork_generation(&mut self, bus: &Bus, first: usize) -> Result<()> {
        let end = first + self.args.workers as usize;
        for number in first..end {
            let (own, childs) = UnixStream::pair()?;
            own.set_nonblocking(true)?;
            let (args, board) = (self.args, self.board);
            let pid = fork("worker", move || worker::run(args, board, bus, number, childs))?;
            self.workers.push((pid, own));
        }
        self.wait_until("all workers have joined", |board| board.joined.load(Ordering::Acquire) == end as u64)
    }

    fn wait_until(&mut self, what: &str, is_so: impl Fn(&Board) -> bool) -> Result<()> {
        let begun = Instant::now();
        while !is_so(self.board) {
            if begun.elapsed() > PATIENCE {
                return Err(format!("it never was so that {what}").into());
            }
            self.turn(None)?;
        }
        Ok(())
    }

    fn run_for(&mut self, time: Duration, mut bridged: Bridged<'_>) -> Result<()> {
        let mut left = time;
        while !left.is_zero() {
            let begun = Instant::now();
            self.turn(bridged.as_mut().map(|(bridge, buses)| (&mut **bridge, *buses)))?;
            left = left.saturating_sub(begun.elapsed().min(LONGEST_TURN));
        }
        Ok(())
    }

    /// One turn of the loop: the tick, a request, and the bridge.
    fn turn(&mut self, bridged: Bridged<'_>) -> Result<()> {
        let tick = (self.began.elapsed().as_nanos() / TICK.as_nanos()) as u64 + 1;
        self.board.tick.store(tick.min(TICKS as u64 - 1), Ordering::Release);
        self.request()?;
        match bridged {
            Some((bridge, buses)) => {
                let ids = buses.map(Bus::next_id);
                bridge.pump()?;
                for (carried, id) in self.board.carried_below.iter().zip(ids) {
                    carried.store(id, Ordering::Relaxed);
                }
                bridge.wait(Duration::from_millis(1))?;
            }
            None => std::thread::sleep(Duration::from_millis(1)),
        }
        Ok(())
    }

    /// Sends a request to the next worker that answers, and takes the answers that are there.
    fn request(&mut self) -> Result<()> {
        let working = match self.board.phase() {
            Phase::Old | Phase::Both => 0..self.workers.len(),
            Phase::New => self.args.workers as usize..self.workers.len(),
            Phase::Drain | Phase::End => 0..0,
        };
        let count = working.len() as u64;
        if count > 0 {
            let (_, stream) = &mut self.workers[working.start + (self.sent % count) as usize];
            self.sent += u64::from(stream.write(&self.sent.to_le_bytes()).is_ok());
        }
        let mut answer = [0; 8];
        for (_, stream) in &mut self.workers {
            while matches!(stream.read(&mut answer), Ok(8)) {
                // A worker answers from what it has received, its own change included.
                if u64::from_le_bytes(answer) == 0 {
                    return Err("a worker answered before it had received its own change".into());
                }
                self.answers += 1;
            }
        }
        Ok(())
    }

    /// Carries what is due to the old workers, until they have left. Returns `true` if all succeeded.
    fn drain(&mut self, bridge: &mut Bridge, buses: [&Bus; 2]) -> Result<bool> {
        let old = self.args.workers as usize;
        let mut left = vec![false; old];
        let mut succeeded = true;
        while left.contains(&false) {
            let have_stopped = self.board.stopped.load(Ordering::Acquire) == old as u64;
            if have_stopped && self.board.is_due.load(Ordering::Relaxed) == 0 {
                for worker in &self.board.workers {
                    worker.due.store(worker.posted.load(Ordering::Acquire), Ordering::Relaxed);
                }
                self.board.is_due.store(1, Ordering::Release);
            }
            self.turn(Some((&mut *bridge, buses)))?;
            for (number, left) in left.iter_mut().enumerate().filter(|(_, left)| !**left) {
                if let Some((_, status)) = waitpid(Some(self.workers[number].0), WaitOptions::NOHANG)? {
                    *left = true;
                    succeeded &= status.exit_status() == Some(0);
                }
            }
        }
        Ok(succeeded)
    }

    /// Waits until the new workers have ended. Returns `true` if all succeeded.
    fn end(&mut self) -> Result<bool> {
        let mut succeeded = true;
        for (pid, _) in self.workers.drain(..).skip(self.args.workers as usize) {
            let ended = rustix::io::retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty()))?;
            succeeded &= ended.is_some_and(|(_, status)| status.exit_status() == Some(0));
        }
        Ok(succeeded)
    }

    fn judge(&self, ended_well: bool, carried: [u64; 2], not_carried: u64) -> Result<()> {
        let count = |word: &std::sync::atomic::AtomicU64| word.load(Ordering::Relaxed);
        let events: u64 = self.board.workers.iter().map(|worker| count(&worker.posted)).sum();
        let (lost, doubled) = (count(&self.board.lost) + not_carried, count(&self.board.doubled));
        let order = if count(&self.board.disordered) == 0 { "per-generation" } else { "broken" };
        let runs: Vec<u64> = self.board.ran.iter().map(count).collect();
        let ticks = runs.iter().filter(|&&runs| runs > 0).count();
        let posted = self.board.posted_ticks.iter().map(count);
        let unique = if runs.iter().copied().eq(posted) { "once" } else { "not-once" };
        println!(
            "reload: generations=2 workers={0}+{0} events={events} requests={1} carried={2}+{3} ticks={ticks} \
             lost={lost} doubled={doubled} order={order} unique={unique}",
            self.args.workers,
            count(&self.board.requests),
            carried[0],
            carried[1],
        );
        let is_good = ended_well && lost + doubled == 0 && order == "per-generation" && unique == "once" && ticks > 2;
        if is_good && self.answers > 0 { Ok(()) } else { Err("a promise was not kept".into()) }
    }
}

impl Drop for Master<'_> {
    fn drop(&mut self) {
        for (pid, _) in &self.workers {
            let _ = kill_process(*pid, Signal::KILL);
            let _ = waitpid(Some(*pid), WaitOptions::empty());
        }
    }
}
