//! The master forks, kills and stops workers, and compares their tables.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use seqcast::{Bus, Publisher, SegmentOptions};

use crate::board::{Board, Entry};
use crate::process::fork;
use crate::random::Random;
use crate::worker::{self, STATE};
use crate::{Args, Result};

/// Small, so that a worker that is stopped for a few milliseconds is lapped.
const CAPACITY: u64 = 64;
/// Laps of the ring while a worker is stopped.
const LAPS: u64 = 20;
/// A worker that does not answer within this time hangs.
const PATIENCE: Duration = Duration::from_secs(120);

pub fn run(args: &Args) -> Result<()> {
    let name = format!("seqcast-state-{}", std::process::id());
    let options = SegmentOptions::new().capacity(CAPACITY).block_size(64).seats(32).retained(args.upstreams);
    let bus = options.unlink_on_drop(true).create(&name)?;
    let board = Board::shared()?;
    let mut random = Random(args.seed.unwrap_or(u64::from(std::process::id())));
    let mut workers = Workers { bus: &bus, board, upstreams: args.upstreams, living: Vec::new(), forked: 0 };
    for number in 0..args.workers as usize {
        workers.fork(number, &mut random)?;
    }
    let mut judge = Judge { publisher: bus.publisher()?, requests: 0, lost: 0 };
    let mut kills = 0;
    let until = Instant::now() + Duration::from_secs(args.seconds);
    // Longer if the host had no time for what the demonstration shows.
    while Instant::now() < until || kills == 0 || board.laps.load(Ordering::Relaxed) == 0 {
        for _ in 0..4 {
            thread::sleep(Duration::from_millis(random.below(20)));
            let number = random.below(args.workers) as usize;
            if random.one_in(2) {
                workers.kill(number)?;
                kills += 1;
                // The other workers continue meanwhile.
                thread::sleep(Duration::from_millis(random.below(10)));
                workers.fork(number, &mut random)?;
            } else {
                workers.stop_for_laps(number)?;
            }
        }
        judge.compare(board, args.workers as usize)?;
    }
    board.over.store(1, Ordering::Release);
    let ended_well = workers.end()?;
    let [laps, stale, overrun, cut_off, longest] =
        [&board.laps, &board.stale, &board.overrun, &board.cut_off, &board.longest_post]
            .map(|count| count.load(Ordering::Relaxed));
    let lost = judge.lost + overrun;
    println!("worker 0 must read: cut off {cut_off} times, lapped {overrun} times without");
    let late = workers.forked - args.workers;
    println!(
        "state: workers={} events={} kills={kills} laps={laps} late={late} agree={} stale={stale} lost={lost} \
         waited_max_ms={:.1}",
        args.workers,
        bus.next_id(),
        if lost == 0 { "yes" } else { "no" },
        longest as f64 / 1e6,
    );
    let is_good = ended_well && stale == 0 && lost == 0 && laps > 0 && kills > 0;
    if is_good { Ok(()) } else { Err("a promise was not kept".into()) }
}

struct Workers<'a> {
    bus: &'a Bus,
    board: &'static Board,
    upstreams: u64,
    /// By number.
    living: Vec<Pid>,
    forked: u64,
}

impl Workers<'_> {
    /// Forks worker `number`, also in place of one that has ended.
    fn fork(&mut self, number: usize, random: &mut Random) -> Result<()> {
        let name = random.next();
        let pid = fork("worker", || worker::run(self.bus, self.board, number, name, self.upstreams))?;
        self.forked += 1;
        match self.living.get_mut(number) {
            Some(living) => *living = pid,
            None => self.living.push(pid),
        }
        Ok(())
    }

    fn kill(&mut self, number: usize) -> Result<()> {
        kill_process(self.living[number], Signal::KILL)?;
        wait(self.living[number])?;
        Ok(())
    }

    /// Stops a worker for many laps of the ring.
    fn stop_for_laps(&self, number: usize) -> Result<()> {
        let end = self.bus.next_id() + LAPS * CAPACITY;
        let begun = Instant::now();
        kill_process(self.living[number], Signal::STOP)?;
        while self.bus.next_id() < end && begun.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(1));
        }
        kill_process(self.living[number], Signal::CONT)?;
        Ok(())
    }

    /// Waits until all workers have ended. Returns `true` if all succeeded.
    fn end(&mut self) -> Result<bool> {
        let mut ended_well = true;
        for pid in std::mem::take(&mut self.living) {
            ended_well &= wait(pid)?;
        }
        Ok(ended_well)
    }
}

impl Drop for Workers<'_> {
    fn drop(&mut self) {
        for &pid in &self.living {
            let _ = kill_process(pid, Signal::KILL);
            let _ = wait(pid);
        }
    }
}

/// Waits until a child has ended. Returns `true` if it succeeded.
fn wait(pid: Pid) -> Result<bool> {
    let ended = rustix::io::retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty()))?;
    Ok(ended.is_some_and(|(_, status)| status.exit_status() == Some(0)))
}

/// Compares the workers' tables with the retained events of the segment.
struct Judge {
    publisher: Publisher,
    requests: u64,
    lost: u64,
}

impl Judge {
    fn compare(&mut self, board: &Board, workers: usize) -> Result<()> {
        // First all workers stop posting, then they read the rest.
        self.answers(board, workers)?;
        let answers = self.answers(board, workers)?;
        let retained = self.retained()?;
        for (number, entries) in answers.iter().enumerate() {
            let lacks = retained.iter().filter(|entry| !entries.contains(entry)).count();
            let should_not_have = entries.iter().filter(|entry| !retained.contains(entry)).count();
            if lacks + should_not_have > 0 {
                eprintln!("worker {number} lacks {lacks} of {}, and has {should_not_have} others", retained.len());
            }
            self.lost += (lacks + should_not_have) as u64;
        }
        board.still.store(0, Ordering::Release);
        Ok(())
    }

    /// Pauses the workers, and returns their tables.
    fn answers(&mut self, board: &Board, workers: usize) -> Result<Vec<Vec<Entry>>> {
        self.requests += 1;
        board.still.store(self.requests, Ordering::Release);
        let begun = Instant::now();
        let answers = board.workers[..workers].iter().map(|worker| {
            loop {
                if let Some(answer) = worker.answer_to(self.requests) {
                    break Ok(answer);
                }
                if begun.elapsed() > PATIENCE {
                    break Err("a worker does not answer".into());
                }
                thread::sleep(Duration::from_micros(100));
            }
        });
        answers.collect()
    }

    fn retained(&mut self) -> Result<Vec<Entry>> {
        let number = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes);
        let mut entries = Vec::new();
        for event in self.publisher.retained()? {
            if event.topic() == STATE {
                entries.push([number(event.key())?, event.id(), number(event.bytes())?]);
            }
        }
        Ok(entries)
    }
}
