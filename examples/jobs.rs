//! Jobs that are done at least once, and never by two processes at a time: `cargo run --release --example jobs`
//!
//! Four runners do a job for each tick. A runner claims the job with a claim that ends with its holder, renews the
//! claim while it works, and completes it at the end, so that no runner repeats the job of this tick. The master kills
//! runners with SIGKILL in the middle of jobs and starts new ones. Then another runner takes over the job.
//!
//! The last line is `jobs: ticks=<n> done=<n> kills=<n> taken_over=<n> two_at_once=0 died=<n> takeover_max_ms=<x>`.

use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use seqcast::{Bus, ClaimOptions, Claimed, Delivery, ErrorKind, SegmentOptions, WorkerOptions, event_list, library};

event_list! { mod job = "job" { BEGUN = "begun", DONE = "done" } }

const RUNNERS: usize = 4;
const TICKS: u32 = 40;
/// The number of parts of a job, and the time for each.
const PARTS: u32 = 5;
const PART: Duration = Duration::from_millis(4);
/// The longest time that a runner may take for one part. It is longer than any pause of the host.
const TTL: Duration = Duration::from_secs(300);
/// No runner repeats the job of a tick within this time. It is longer than the difference between their clocks.
const DONE_FOR: Duration = Duration::from_secs(3600);
/// The interval at which a runner checks the jobs of others. A job of a dead runner is taken over after at most this
/// time.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// If nothing happens for this time, the program hangs.
const HANGS: Duration = Duration::from_secs(300);

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1) {
        Some(name) => Ok(run(&name)?),
        None => lead(),
    }
}

/// Runs a runner: for each tick, does the job if no other runner has done it.
fn run(name: &str) -> seqcast::Result<()> {
    let worker = Bus::open(name)?.join_with(&WorkerOptions::new().label("runner"))?;
    let options = ClaimOptions::new(TTL).ends_with_holder(true);
    for tick in 0..TICKS {
        let key = format!("report:{tick}");
        loop {
            if let Claimed::Won(claim) = worker.claim_with(&key, &options)? {
                worker.post(job::BEGUN, tick.to_string())?;
                let done = (0..PARTS).try_for_each(|_part| {
                    thread::sleep(PART);
                    // The renewal shows if the job still belongs to this runner, before the next part.
                    worker.renew(&claim, TTL)
                });
                match done {
                    Ok(()) => {
                        worker.post(job::DONE, tick.to_string())?;
                        worker.complete(&claim, DONE_FOR)?;
                        break;
                    }
                    // Another runner has taken it over.
                    Err(error) if error.kind() == ErrorKind::ClaimLost => continue,
                    Err(error) => return Err(error),
                }
            }
            // A completed claim does not end with its holder: the job is done for this tick.
            if worker.held(&key)?.is_some_and(|held| !held.ends_with_holder) {
                break;
            }
            thread::sleep(LOOK_AGAIN);
        }
    }
    Ok(())
}

/// The master's record of a tick's job.
#[derive(Default)]
struct Job {
    /// The process that is doing it.
    runner: Option<u32>,
    killed_at: Option<Instant>,
    is_done: bool,
}

/// The master's records.
#[derive(Default)]
struct Seen {
    jobs: HashMap<u32, Job>,
    killed: BTreeSet<u32>,
    taken_over: u32,
    two_at_once: u32,
    died: u32,
    takeover_max: Duration,
}

impl Seen {
    fn begun(&mut self, tick: u32, runner: u32) {
        let job = self.jobs.entry(tick).or_default();
        if let Some(before) = job.runner.replace(runner) {
            match job.killed_at.take() {
                Some(killed_at) => {
                    self.taken_over += 1;
                    self.takeover_max = self.takeover_max.max(killed_at.elapsed());
                }
                // A runner that was killed after it reported the job as done and before it completed its claim.
                None if self.killed.contains(&before) => self.taken_over += 1,
                None => self.two_at_once += 1,
            }
        }
    }

    fn done(&mut self, tick: u32) {
        self.jobs.entry(tick).or_default().is_done = true;
    }
}

fn lead() -> Result<(), Box<dyn Error>> {
    let name = format!("seqcast-jobs-{}", std::process::id());
    let bus = SegmentOptions::new().unlink_on_drop(true).create(&name)?;
    let mut subscriber = bus.subscribe()?;
    let program = std::env::current_exe()?;
    let start = || Command::new(&program).arg(&name).spawn();
    let mut runners: Vec<Child> = (0..RUNNERS).map(|_| start()).collect::<Result<_, _>>()?;
    let mut seen = Seen::default();

    while seen.jobs.values().filter(|job| job.is_done).count() < TICKS as usize {
        let Some(delivery) = subscriber.next(HANGS)? else { return Err("the runners hang".into()) };
        let Delivery::Event(event) = delivery else { return Err("the master missed events".into()) };
        if event.topic() == library::DIED {
            seen.died += 1;
        }
        let (Some(pid), Ok(tick)) = (event.pid(), str::from_utf8(event.bytes()).unwrap_or("").parse::<u32>()) else {
            continue;
        };
        match event.topic() {
            job::BEGUN => seen.begun(tick, pid),
            job::DONE => seen.done(tick),
            _ => continue,
        }
        // Every other job loses its first runner in the middle.
        let is_first = seen.killed.len() <= tick as usize / 2;
        if event.topic() == job::BEGUN && tick % 2 == 0 && is_first {
            let Some(runner) = runners.iter_mut().find(|runner| runner.id() == pid) else { continue };
            thread::sleep(PART * PARTS / 2);
            runner.kill()?;
            seen.jobs.entry(tick).or_default().killed_at = Some(Instant::now());
            seen.killed.insert(pid);
            runner.wait()?;
            *runner = start()?;
        }
    }
    for mut runner in runners {
        runner.wait()?;
    }
    let Seen { jobs, killed, taken_over, two_at_once, died, takeover_max } = seen;
    println!(
        "jobs: ticks={TICKS} done={} kills={} taken_over={taken_over} two_at_once={two_at_once} died={died} \
         takeover_max_ms={:.1}",
        jobs.values().filter(|job| job.is_done).count(),
        killed.len(),
        takeover_max.as_secs_f64() * 1e3,
    );
    Ok(())
}
