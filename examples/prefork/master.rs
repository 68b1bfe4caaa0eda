//! The master: forks the workers, replaces those that die, and shuts down in order.
//!
//! It has one thread, so it may fork at any time.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use seqcast::{Bus, SegmentOptions};

use crate::args::Args;
use crate::audit::{Audit, Verdict};
use crate::child::{Child, describe};
use crate::events::server::STOP;
use crate::observer::Observer;
use crate::progress::Progress;
use crate::report::{Driven, Report};
use crate::{Result, driver, process, routes, server};

/// The longest sleep of the master before it checks its children.
const NAP: Duration = Duration::from_millis(10);
/// The time within which the workers must start, or end after the stop event.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a unique key is held with --serve: the crate's default. After that a page can be refreshed again.
const SERVED_TTL: Duration = Duration::from_secs(2);
/// How long it is held in the demonstration: longer than any request for the same key can be late, because all of them
/// together must run once.
const DRIVEN_TTL: Duration = Duration::from_secs(600);
/// The exit code after Ctrl-C during the demonstration.
const INTERRUPTED: u8 = 130;

/// Runs the example. The exit code is 0 if it succeeded.
pub fn run(args: &Args) -> Result<ExitCode> {
    process::watch_for_stop();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port()))
        .map_err(|error| format!("cannot listen on 127.0.0.1:{}: {error}", args.port()))?;

    // The workers inherit the segment, so it needs no name, and there is nothing to clean up. A name is for processes
    // without a common parent, such as `seqcast top`.
    let options = SegmentOptions::new().capacity(1 << 15);
    let bus = match &args.name {
        None => options.anonymous()?,
        Some(name) => options.unlink_on_drop(true).create(name)?,
    };
    if args.name.is_some() {
        println!("prefork: the segment is {}", bus.name());
    }

    let mut master = Master::new(args, bus, listener)?;
    master.start_workers()?;
    if args.serve { master.serve() } else { master.demonstrate() }
}

struct Master<'a> {
    args: &'a Args,
    bus: Bus,
    listener: TcpListener,
    address: SocketAddr,
    observer: Observer,
    audit: Audit,
    workers: Vec<WorkerChild>,
    /// Slot and pid of all workers that ever joined, by their number in the audit.
    joined: Vec<(usize, i32)>,
    driver: Option<Child>,
    driven: Option<Driven>,
    progress: Progress,
    /// The number of workers and drivers that ended unexpectedly.
    accidents: usize,
}

/// A worker's process.
struct WorkerChild {
    slot: usize,
    child: Child,
    /// Its number in the audit, once it has joined.
    joined: Option<usize>,
    /// `true` if the master has killed it.
    killed: bool,
    gone: bool,
}

impl<'a> Master<'a> {
    fn new(args: &'a Args, bus: Bus, listener: TcpListener) -> Result<Master<'a>> {
        let observer = Observer::join(&bus)?;
        Ok(Master {
            args,
            address: listener.local_addr()?,
            audit: Audit::new(observer.next(), !args.serve),
            observer,
            bus,
            listener,
            workers: Vec::new(),
            joined: Vec::new(),
            driver: None,
            driven: None,
            progress: Progress::new(),
            accidents: 0,
        })
    }

    // ---- the modes ----

    fn serve(mut self) -> Result<ExitCode> {
        println!(
            "\nTry each of these a few times, since each connection may reach another worker:\n\n{}",
            self.curl_lines()
        );
        println!("{}\nCtrl-C ends it.\n", routes::HELP);
        while !process::stop_requested() {
            self.step(Replace::Yes)?;
        }
        let verdict = self.stop()?;
        println!("{verdict}");
        Ok(ExitCode::SUCCESS)
    }

    fn demonstrate(mut self) -> Result<ExitCode> {
        self.start_driver()?;
        let half = Duration::from_secs(self.args.seconds) / 2;
        let (start, mut killed) = (Instant::now(), false);
        while self.driver.is_some() {
            if process::stop_requested() {
                self.driver = None;
                self.stop()?;
                println!("prefork: interrupted");
                return Ok(ExitCode::from(INTERRUPTED));
            }
            if !killed && start.elapsed() >= half {
                self.kill_worker(self.args.workers / 2)?;
                killed = true;
            }
            self.step(Replace::Yes)?;
        }
        // If the host had no time for this process, the driver has ended before the half of its time was noticed.
        if !killed {
            self.kill_worker(self.args.workers / 2)?;
        }
        self.wait_for_workers(Replace::Yes)?;
        let mut verdict = self.stop()?;
        let Some(driven) = self.driven else { return Err("the driver ended without a result".into()) };
        // For the clients, an answer that does not show an event means that the event was lost.
        verdict.lost += driven.stale;
        self.show_result(&driven);
        println!("{verdict}");
        let as_planned = self.accidents == 0 && verdict.killed == 1 && verdict.workers == self.args.workers;
        Ok(if verdict.is_good() && as_planned { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    // ---- children ----

    fn start_workers(&mut self) -> Result<()> {
        let (count, address, pid) = (self.args.workers, self.address, std::process::id());
        self.progress.say(&format!("master is pid {pid}; {count} workers share http://{address}"));
        for slot in 0..count {
            self.start_worker(slot)?;
        }
        self.wait_for_workers(Replace::No)
    }

    /// Waits until all workers have joined, and those that were killed are replaced.
    fn wait_for_workers(&mut self, replace: Replace) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.workers.iter().any(|worker| worker.killed || worker.joined.is_none()) {
            if Instant::now() > deadline {
                return Err(format!("not all workers came up in {PATIENCE:?}").into());
            }
            self.step(replace)?;
        }
        Ok(())
    }

    fn start_worker(&mut self, slot: usize) -> Result<()> {
        // The worker inherits the master's state, and reads on from the master's position.
        let birth = server::Birth {
            slot,
            listener: self.listener.try_clone()?,
            upstreams: self.observer.upstreams(),
            first: self.observer.next(),
            unique_ttl: if self.args.serve { SERVED_TTL } else { DRIVEN_TTL },
            fault: self.args.fault.filter(|_| slot == 0),
        };
        let bus = &self.bus;
        let child = Child::fork(&format!("worker {slot}"), move |reports| server::run(bus, birth, reports))?;
        self.workers.push(WorkerChild { slot, child, joined: None, killed: false, gone: false });
        Ok(())
    }

    fn start_driver(&mut self) -> Result<()> {
        let Args { workers, seconds, rate, .. } = *self.args;
        let birth = driver::Birth { address: self.address, workers, seconds, rate };
        let child = Child::fork("driver", move |reports| driver::run(birth, reports))?;
        let pid = child.pid();
        self.driver = Some(child);
        self.progress.say(&format!("driver is pid {pid}: about {rate} requests/s for {seconds} s"));
        self.progress.restart(self.audit.next());
        Ok(())
    }

    fn kill_worker(&mut self, slot: usize) -> Result<()> {
        if let Some(worker) = self.workers.iter_mut().find(|worker| worker.slot == slot) {
            worker.killed = true;
            worker.child.kill()?;
            self.progress.say(&format!("SIGKILL to worker {slot}, pid {}", worker.child.pid()));
        }
        Ok(())
    }

    // ---- one turn ----

    /// Sleeps a little, then handles new events and reports.
    fn step(&mut self, replace: Replace) -> Result<()> {
        self.observer.wait(NAP)?;
        self.observer.poll(&mut self.audit)?;
        for index in 0..self.workers.len() {
            self.look_after(index)?;
        }
        for gone in self.workers.extract_if(.., |worker| worker.gone).collect::<Vec<_>>() {
            if replace == Replace::Yes {
                self.start_worker(gone.slot)?;
            }
        }
        self.look_after_driver()?;
        if replace == Replace::Yes {
            self.progress.tick(self.workers.len(), self.audit.next());
        }
        Ok(())
    }

    fn look_after(&mut self, index: usize) -> Result<()> {
        let worker = &mut self.workers[index];
        // Checked first: after its end, all its reports are there to be read.
        let ended = worker.child.ended()?;
        for report in worker.child.reports()? {
            match (report, worker.joined) {
                (Report::Joined { first }, None) => {
                    worker.joined = Some(self.audit.joined(first));
                    let (slot, pid) = (worker.slot, worker.child.pid());
                    self.joined.push((slot, pid));
                    self.progress.say(&format!("worker {slot} is pid {pid} and reads from event {first} on"));
                }
                (Report::Checkpoint(checkpoint), Some(number)) => self.audit.checkpoint(number, checkpoint),
                (Report::Ran { id, key }, Some(number)) => self.audit.ran(number, id, &key),
                (Report::Latency(latencies), _) => self.progress.add_latency(&latencies),
                (report, _) => return Err(format!("worker {} sent {report:?} out of turn", worker.slot).into()),
            }
        }
        let Some(status) = ended else { return Ok(()) };
        worker.gone = true;
        if status.exit_status() == Some(0) {
            return Ok(());
        }
        let (slot, how) = (worker.slot, describe(status));
        let Some(number) = worker.joined else {
            // Another one would fail in the same way.
            return Err(format!("worker {slot} {how} before it had joined the bus").into());
        };
        // It is dead, so the next id is beyond everything that it can have seen.
        self.audit.killed(number, self.bus.next_id());
        let last = self.audit.worker(number).last();
        let last = last.map_or_else(|| "none".to_owned(), |checkpoint| checkpoint.last.to_string());
        self.accidents += usize::from(!worker.killed);
        self.progress.say(&format!("worker {slot} {how}; the last event that it reported is {last}"));
        Ok(())
    }

    fn look_after_driver(&mut self) -> Result<()> {
        let Some(driver) = &mut self.driver else { return Ok(()) };
        let ended = driver.ended()?;
        for report in driver.reports()? {
            match report {
                Report::Answered { id, unique } => self.audit.answered(id, unique),
                Report::Unanswered { unique } => self.audit.unanswered(unique),
                Report::Driven(driven) => self.driven = Some(driven),
                report => return Err(format!("the driver sent {report:?}").into()),
            }
        }
        if let Some(status) = ended {
            self.accidents += usize::from(status.exit_status() != Some(0));
            self.driver = None;
        }
        Ok(())
    }

    // ---- the end ----

    /// Tells all workers to stop, waits until they have, and compares.
    fn stop(&mut self) -> Result<Verdict> {
        let stop = self.observer.post(STOP)?;
        self.progress.say(&format!("stop: event {stop}"));
        let deadline = Instant::now() + PATIENCE;
        while !self.workers.is_empty() && Instant::now() < deadline {
            self.step(Replace::No)?;
        }
        for stuck in self.workers.drain(..) {
            self.progress.say(&format!("worker {} does not end and is killed", stuck.slot));
            self.accidents += 1;
        }
        self.observer.poll(&mut self.audit)?;
        Ok(self.audit.verdict(stop))
    }

    fn show_result(&self, driven: &Driven) {
        let Driven { requests, unanswered, checks, stale, feed_lines } = driven;
        println!("\ntotal: {}", self.progress.latency_in_all());
        println!("driver: {requests} requests answered, {unanswered} unanswered because their worker was killed");
        println!("driver: {checks} checks that a change in one worker appears in another, {stale} failed");
        println!("driver: {feed_lines} lines read from a live feed");
        println!(
            "\nworker       pid     first id      last id    handled   unique   digest             same as master"
        );
        for ((slot, pid), worker) in self.joined.iter().zip(self.audit.workers()) {
            let (first, ran) = (worker.first(), worker.ran());
            let (last, fold) = worker.last().map(|last| (last.last, last.fold)).unwrap_or_default();
            let (count, hash) = (fold.count, fold.hash);
            let agrees = if worker.agrees() { "yes" } else { "NO" };
            println!("{slot:<6} {pid:>9} {first:>12} {last:>12} {count:>10} {ran:>8}   {hash:016x}   {agrees}");
        }
        println!();
    }

    fn curl_lines(&self) -> String {
        let base = format!("http://{}", self.address);
        format!(
            "  curl -i {base}/items/tea\n  curl -X DELETE {base}/items/tea\n  curl -X POST {base}/items/tea/refresh\n  \
             curl -X PUT {base}/upstreams/app-1/down\n  curl {base}/upstreams\n  curl -N {base}/events\n"
        )
    }
}

/// `true` if workers that end are replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Replace {
    Yes,
    No,
}
