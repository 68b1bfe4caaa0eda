//! Rounds of event loops that sleep on their bells, without a timer, while the posters that ring are killed and
//! stopped.
//!
//! In a watch, every poster posts a few events, and some processes are killed or stopped, some of them next to an
//! atomic instruction. Then the stopped processes continue, and nothing more is posted. Every live loop must now have
//! all events: a loop that sleeps over an event at this point would do so forever.

use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::event::epoll;
use seqcast::{BellKind, BellOptions, Bus, Error, SegmentOptions, WorkerOptions};
use seqcast_testkit::process::{Child, shared_words};

use crate::aim;
use crate::rng::Rng;
use crate::sums::sums;

const POSTERS: usize = 3;
const LOOPS: usize = 6;
const PROCESSES: usize = POSTERS + LOOPS;
/// A loop that does not have all events after this time sleeps over an event.
const LONG: Duration = Duration::from_secs(120);
const HOUR: Duration = Duration::from_secs(3600);

sums! {
    /// Sums over all watches.
    pub struct Watched {
        pub watches,
        pub posts,
        pub wakes,
        pub kills,
        pub stops,
        pub lost,
    }
}

/// Sleeps until `bell` is readable, for at most `timeout`.
pub fn sleep_on(bell: impl AsFd, timeout: Duration) {
    let mut polled = libc::pollfd { fd: bell.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let timeout = libc::timespec { tv_sec: 0, tv_nsec: timeout.as_nanos().min(999_999_999) as libc::c_long };
    // SAFETY: one `pollfd` is read and written. By now, the number may lead to another file, or be closed.
    unsafe { libc::ppoll(&raw mut polled, 1, &raw const timeout, std::ptr::null()) };
}

/// The reports of a process to the one that started it.
struct Told {
    /// For a poster, the watch that it has finished. For a loop, the next id to deliver.
    reached: &'static AtomicU64,
    /// Posts, or wake-ups.
    count: &'static AtomicU64,
    /// 1 once it has joined.
    joined: &'static AtomicU64,
}

struct Watcher<'a> {
    bus: &'a Bus,
    words: &'static [AtomicU64],
    processes: Vec<Option<Child>>,
    stopped: Vec<bool>,
    rng: Rng,
    lives: u64,
    seen: Watched,
}

/// Watches for `length`.
pub fn run(seed: u64, number: u64, length: Duration) -> Watched {
    let name = format!("/seqcast-torture-{}-bells-{number}", std::process::id());
    let options = SegmentOptions::new().capacity(1 << 12).block_size(64).seats(2 * PROCESSES as u64).claims(4);
    let bus = match options.unlink_on_drop(true).create(&name) {
        Ok(bus) => bus,
        Err(error) => {
            eprintln!("torture: {error}");
            return Watched { lost: 1, ..Watched::default() };
        }
    };
    let mut watcher = Watcher {
        bus: &bus,
        words: shared_words(1 + 3 * PROCESSES),
        processes: (0..PROCESSES).map(|_| None).collect(),
        stopped: vec![false; PROCESSES],
        rng: Rng::of(&[seed, number, 0xbe11]),
        lives: 0,
        seen: Watched::default(),
    };
    let end = Instant::now() + length;
    while Instant::now() < end && watcher.seen.lost == 0 && !crate::conductor::is_interrupted() {
        watcher.watch();
    }
    let count = |processes: Range<usize>| {
        processes.map(|process| Told::by(watcher.words, process).count.load(Ordering::Relaxed)).sum()
    };
    Watched { posts: count(0..POSTERS), wakes: count(POSTERS..PROCESSES), ..watcher.seen }
}

impl Told {
    fn by(words: &'static [AtomicU64], process: usize) -> Told {
        let of = &words[1 + 3 * process..];
        Told { reached: &of[0], count: &of[1], joined: &of[2] }
    }
}

impl Watcher<'_> {
    fn watch(&mut self) {
        for process in 0..PROCESSES {
            if self.processes[process].is_none() {
                self.start(process);
            }
        }
        let watch = self.seen.watches + 1;
        self.words[0].store(watch, Ordering::Release);
        for _ in 0..self.rng.below(4) {
            std::thread::sleep(Duration::from_micros(self.rng.below(600)));
            self.disturb();
        }
        std::thread::sleep(Duration::from_micros(self.rng.below(600)));
        for process in 0..PROCESSES {
            if std::mem::take(&mut self.stopped[process])
                && let Some(child) = &self.processes[process]
            {
                child.go_on();
            }
        }
        self.wait_for(0..POSTERS, watch, "a poster hangs");
        // Nothing more is posted: every loop must have all events.
        self.wait_for(POSTERS..PROCESSES, self.bus.next_id(), "a loop sleeps over an event");
        self.seen.watches = watch;
    }

    fn start(&mut self, process: usize) {
        let (words, told, bus) = (self.words, Told::by(self.words, process), self.bus);
        told.joined.store(0, Ordering::Relaxed);
        self.lives += 1;
        let mut rng = Rng::of(&[self.rng.next(), self.lives]);
        let child = Child::fork(move || {
            let ended = if process < POSTERS {
                post(bus, words, &told, &mut rng)
            } else if process.is_multiple_of(2) {
                loop_of_worker(bus, &told, process)
            } else {
                loop_of_subscriber(bus, &told, process)
            };
            panic!("{ended:?}");
        });
        self.processes[process] = Some(child);
        let joined = Told::by(self.words, process).joined;
        self.eventually(|| joined.load(Ordering::Acquire) == 1, "a process does not join");
    }

    /// Kills or stops a random process.
    fn disturb(&mut self) {
        // Most lost wakes happen where a poster ends.
        let processes = if self.rng.one_in(2) { POSTERS } else { PROCESSES };
        let process = self.rng.below(processes as u64) as usize;
        // Not a loop: a process that is held while it goes to sleep is waited for until it wakes, and loops sleep
        // forever.
        let is_aimed = process < POSTERS && self.rng.one_in(3) && !self.stopped[process];
        let is_kill = self.rng.one_in(2);
        let Some(child) = self.processes[process].take() else { return };
        let held = is_aimed.then(|| aim::hold(&child, &mut self.rng));
        if let Some(Err(status)) = held {
            eprintln!("torture: bells: process {process} has ended: {status}");
            child.buried();
            self.seen.lost += 1;
            return;
        }
        if is_kill {
            child.kill();
            self.seen.kills += 1;
            self.stopped[process] = false;
            return;
        }
        match held {
            // It stops at once when it is released.
            Some(Ok(held)) => held.detach(libc::SIGSTOP),
            _ => child.signal(libc::SIGSTOP),
        }
        self.seen.stops += 1;
        self.stopped[process] = true;
        self.processes[process] = Some(child);
    }

    /// Waits until the live ones of `processes` have reached `goal`.
    fn wait_for(&mut self, processes: Range<usize>, goal: u64, otherwise: &str) {
        for process in processes {
            if self.processes[process].is_some() {
                let reached = Told::by(self.words, process).reached;
                self.eventually(|| reached.load(Ordering::Acquire) >= goal, otherwise);
            }
        }
    }

    fn eventually(&mut self, is_so: impl Fn() -> bool, otherwise: &str) {
        let begin = Instant::now();
        while !is_so() {
            if begin.elapsed() > LONG {
                eprintln!("torture: bells: {otherwise}, in watch {}", self.seen.watches + 1);
                self.seen.lost += 1;
                return;
            }
            std::thread::sleep(Duration::from_micros(50));
        }
    }
}

fn quiet() -> WorkerOptions {
    WorkerOptions::new().announce(false)
}

/// Posts in every watch.
fn post(bus: &Bus, words: &'static [AtomicU64], told: &Told, rng: &mut Rng) -> Result<(), Error> {
    let mut publisher = bus.publisher()?;
    let mut done = words[0].load(Ordering::Acquire);
    told.reached.store(done, Ordering::Release);
    told.joined.store(1, Ordering::Release);
    loop {
        let watch = words[0].load(Ordering::Acquire);
        if watch == done {
            std::thread::sleep(Duration::from_micros(20));
            continue;
        }
        for _ in 0..1 + rng.below(6) {
            publisher.post(("bells", "e"), "")?;
            told.count.fetch_add(1, Ordering::Relaxed);
            if rng.one_in(2) {
                std::thread::sleep(Duration::from_micros(rng.below(200)));
            }
        }
        done = watch;
        told.reached.store(done, Ordering::Release);
    }
}

/// How the loop of a process waits: level-triggered, edge-triggered, or with a set inside a set.
struct Sleep(Vec<OwnedFd>);

impl Sleep {
    fn on(bell: impl AsFd, process: usize) -> Sleep {
        let set = |of: &dyn AsFdDyn, flags| {
            let set = epoll::create(epoll::CreateFlags::CLOEXEC).expect("a descriptor");
            epoll::add(&set, of.descriptor(), epoll::EventData::new_u64(0), flags).expect("room for a bell");
            set
        };
        let (level, edge) = (epoll::EventFlags::IN, epoll::EventFlags::IN | epoll::EventFlags::ET);
        let inner = set(&bell, if (process / 2).is_multiple_of(3) { level } else { edge });
        if process / 2 % 3 != 2 {
            return Sleep(vec![inner]);
        }
        let outer = set(&inner, level);
        Sleep(vec![inner, outer])
    }

    /// Sleeps until the bell is readable.
    fn sleep(&self) {
        for set in self.0.iter().rev() {
            let mut event = [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }];
            let _ = epoll::wait(set, &mut event, None);
        }
    }
}

trait AsFdDyn {
    fn descriptor(&self) -> std::os::fd::BorrowedFd<'_>;
}

impl<T: AsFd> AsFdDyn for T {
    fn descriptor(&self) -> std::os::fd::BorrowedFd<'_> {
        self.as_fd()
    }
}

fn loop_of_worker(bus: &Bus, told: &Told, process: usize) -> Result<(), Error> {
    let worker = bus.join_with(&quiet())?;
    worker.on(seqcast::Scope::All, |_: &seqcast::Event<'_>| {})?;
    let bell = worker.bell_with(&BellOptions::new().interval(HOUR))?;
    assert_eq!(bell.kind(), BellKind::Inotify, "{:?}", bell.unheard());
    let sleep = Sleep::on(&bell, process);
    told.reached.store(worker.cursor(), Ordering::Release);
    told.joined.store(1, Ordering::Release);
    loop {
        sleep.sleep();
        told.count.fetch_add(1, Ordering::Relaxed);
        bell.poll()?;
        told.reached.store(worker.cursor(), Ordering::Release);
    }
}

fn loop_of_subscriber(bus: &Bus, told: &Told, process: usize) -> Result<(), Error> {
    let mut subscriber = bus.subscribe_with(&quiet())?;
    let bell = subscriber.bell_with(&BellOptions::new().interval(HOUR))?;
    assert_eq!(bell.kind(), BellKind::Inotify, "{:?}", bell.unheard());
    let sleep = Sleep::on(&bell, process);
    told.reached.store(subscriber.cursor(), Ordering::Release);
    told.joined.store(1, Ordering::Release);
    loop {
        sleep.sleep();
        told.count.fetch_add(1, Ordering::Relaxed);
        loop {
            while subscriber.try_next()?.is_some() {}
            if !bell.arm(&subscriber)? {
                break;
            }
        }
        told.reached.store(subscriber.cursor(), Ordering::Release);
    }
}
