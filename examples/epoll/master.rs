//! The master: forks and kills workers, and checks the results.

use std::mem::size_of;
use std::net::TcpListener;
use std::os::raw::c_int;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use seqcast::{Bus, SegmentOptions};

use crate::process::fork;
use crate::worker::{self, Board};
use crate::{Args, Result, client};

const CLIENTS: u64 = 6;
/// More ticks than a demonstration has.
const TICKS: usize = 1 << 17;
/// A worker that runs no tick within this time hangs.
const PATIENCE: Duration = Duration::from_secs(120);

pub fn run(args: &Args) -> Result<()> {
    let name = format!("seqcast-epoll-{}", std::process::id());
    // A worker that is forked later reads all events from the first on. The ring has room for all events of a
    // demonstration.
    let bus = SegmentOptions::new().capacity(1 << 18).block_size(64).unlink_on_drop(true).create(&name)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let board = shared_board()?;

    let mut workers = Workers { bus: &bus, listener: &listener, board, pids: Vec::new() };
    for number in 0..args.workers {
        workers.fork(number)?;
    }
    // The master has one thread whenever it forks, so a separate process runs the clients.
    let until = Instant::now() + Duration::from_secs(args.seconds);
    let tallies = shared_words(2)?;
    let clients = fork("clients", || {
        let running: Vec<_> =
            (0..CLIENTS).map(|number| thread::spawn(move || client::run(address, number, until))).collect();
        for client in running {
            let tally = client.join().map_err(|_| "a client panicked")??;
            tallies[0].fetch_add(tally.requests, Ordering::Relaxed);
            tallies[1].fetch_add(tally.stale, Ordering::Relaxed);
        }
        Ok(())
    })?;

    thread::sleep(Duration::from_secs(args.seconds) / 2);
    let killed = workers.pids.remove(0);
    kill_process(killed, Signal::KILL)?;
    wait(killed)?;
    workers.fork(args.workers)?;

    let is_good = wait(clients)?;
    let ran = || -> Vec<u64> {
        board.runs.iter().map(|runs| runs.load(Ordering::Relaxed)).filter(|&runs| runs > 0).collect()
    };
    // Longer if the host had no time for the workers.
    let begun = Instant::now();
    while ran().is_empty() && begun.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(10));
    }
    workers.end()?;
    let ran = ran();
    let doubled = ran.iter().filter(|&&runs| runs > 1).count();
    let [requests, stale] = [&tallies[0], &tallies[1]].map(|tally| tally.load(Ordering::Relaxed));
    let missed = board.missed.load(Ordering::Relaxed);
    if missed > 0 {
        println!("workers missed {missed} events: the ring is too small for so many seconds");
    }
    println!(
        "epoll: workers={} requests={requests} stale={stale} killed=1 ticks={} doubled={doubled}",
        args.workers,
        ran.len()
    );
    let is_good = is_good && stale == 0 && doubled == 0 && missed == 0 && requests > 0 && !ran.is_empty();
    if is_good { Ok(()) } else { Err("a check failed".into()) }
}

struct Workers<'a> {
    bus: &'a Bus,
    listener: &'a TcpListener,
    board: &'static Board,
    pids: Vec<Pid>,
}

impl Workers<'_> {
    fn fork(&mut self, number: u64) -> Result<()> {
        let pid = fork("worker", || worker::run(self.bus, self.listener, self.board, number))?;
        self.pids.push(pid);
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        for &pid in &self.pids {
            kill_process(pid, Signal::TERM)?;
        }
        for pid in std::mem::take(&mut self.pids) {
            if !wait(pid)? {
                return Err("a worker did not end well".into());
            }
        }
        Ok(())
    }
}

impl Drop for Workers<'_> {
    fn drop(&mut self) {
        for &pid in &self.pids {
            let _ = kill_process(pid, Signal::KILL);
            let _ = wait(pid);
        }
    }
}

/// Waits for a child's end. Returns `true` if it ended well.
fn wait(pid: Pid) -> Result<bool> {
    let ended = rustix::io::retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty()))?;
    Ok(ended.is_some_and(|(_, status)| status.exit_status() == Some(0 as c_int)))
}

/// Memory that forked children share with this process, as long as it lives.
fn shared_words(count: usize) -> Result<&'static [AtomicU64]> {
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
    let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
    // SAFETY: a new mapping at an address of the kernel's choice.
    let memory = unsafe { mmap_anonymous(std::ptr::null_mut(), count * size_of::<AtomicU64>(), access, flags)? };
    // SAFETY: the mapping is aligned to a page, as long as asked for, zeroed, and never unmapped.
    Ok(unsafe { std::slice::from_raw_parts(memory.cast::<AtomicU64>(), count) })
}

fn shared_board() -> Result<&'static Board> {
    let (runs, missed) = shared_words(TICKS + 1)?.split_at(TICKS);
    Ok(Box::leak(Box::new(Board { runs, missed: &missed[0] })))
}
