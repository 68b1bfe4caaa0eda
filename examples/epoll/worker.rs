//! The life of a worker process: one loop for everything.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use seqcast::{Bus, Delivery, PullBell, Start, Subscriber, Topic, WorkerOptions};

use crate::Result;
use crate::connection::{Closed, Connection};

const SET: Topic<'_> = Topic::new("table", "set");
const TICK: Topic<'_> = Topic::new("jobs", "tick");
const TICK_EVERY: Duration = Duration::from_millis(50);

// The names of the descriptors in the loop. Connections are numbered from `FIRST_CONNECTION`.
const LISTENER: u64 = 0;
const BELL: u64 = 1;
const TIMER: u64 = 2;
const SIGNALS: u64 = 3;
const FIRST_CONNECTION: u64 = 4;

/// The workers' reports to the master, in memory that all of them share.
pub struct Board {
    /// How often each tick was run.
    pub runs: &'static [AtomicU64],
    /// Ids that some worker has missed.
    pub missed: &'static AtomicU64,
}

struct Worker<'a> {
    subscriber: Subscriber,
    bell: PullBell,
    table: HashMap<String, String>,
    board: &'a Board,
    next_tick: u64,
}

/// Serves until SIGTERM.
pub fn run(bus: &Bus, listener: &TcpListener, board: &Board, number: u64) -> Result<()> {
    let signals = signal_descriptor()?;
    // From the oldest event: a worker that is forked later builds the same table as the others.
    let options = WorkerOptions::new().label(format!("epoll {number}")).start(Start::Oldest);
    let subscriber = bus.subscribe_with(&options)?;
    let bell = subscriber.bell()?;
    let timer = timer(TICK_EVERY)?;
    listener.set_nonblocking(true)?;

    let set = epoll::create(CreateFlags::CLOEXEC)?;
    let add = |descriptor: &dyn AsFd, name: u64| {
        epoll::add(&set, descriptor.as_fd(), EventData::new_u64(name), EventFlags::IN)
    };
    add(&listener, LISTENER)?;
    add(&bell, BELL)?;
    add(&timer, TIMER)?;
    add(&signals, SIGNALS)?;

    let worker = Worker { subscriber, bell, table: HashMap::new(), board, next_tick: 0 };
    let worker = Rc::new(RefCell::new(worker));
    let mut connections: HashMap<u64, Connection> = HashMap::new();
    let mut next_connection = FIRST_CONNECTION;
    let mut events = [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 64];
    loop {
        let ready = rustix::io::retry_on_intr(|| epoll::wait(&set, &mut events, None))?;
        for event in &events[..ready] {
            match { event.data }.u64() {
                LISTENER => match listener.accept() {
                    Ok((stream, _)) => {
                        let connection = Connection::new(stream)?;
                        add(&connection, next_connection)?;
                        connections.insert(next_connection, connection);
                        next_connection += 1;
                    }
                    // Another worker was faster.
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error.into()),
                },
                BELL => worker.borrow_mut().on_bell()?,
                TIMER => {
                    let mut expirations = [0; 8];
                    let _ = rustix::io::read(&timer, &mut expirations);
                    worker.borrow_mut().tick()?;
                }
                SIGNALS => {
                    drop(connections);
                    let Ok(worker) = Rc::try_unwrap(worker) else { return Err("the worker is in use".into()) };
                    return worker.into_inner().leave();
                }
                name => {
                    let Some(connection) = connections.get_mut(&name) else { continue };
                    let mut failed = None;
                    let served = connection.serve(|line| {
                        worker.borrow_mut().answer(line).unwrap_or_else(|error| {
                            failed = Some(error);
                            "error".to_owned()
                        })
                    });
                    if let Some(error) = failed {
                        return Err(error);
                    }
                    if let Err(Closed) = served {
                        // Closing it removes it from the set.
                        connections.remove(&name);
                    }
                }
            }
        }
    }
}

impl Worker<'_> {
    /// Reads all events, and arms the bell.
    fn on_bell(&mut self) -> Result<()> {
        loop {
            self.catch_up()?;
            if !self.bell.arm(&self.subscriber)? {
                return Ok(());
            }
        }
    }

    /// Handles all events that were posted before this call. Returns `false` if one of them is behind an id that
    /// another process has reserved.
    fn catch_up(&mut self) -> Result<bool> {
        while let Some(delivery) = self.subscriber.try_next()? {
            match delivery {
                Delivery::Event(event) if event.topic() == SET => {
                    let text = String::from_utf8_lossy(event.bytes());
                    if let Some((key, value)) = text.split_once('=') {
                        self.table.insert(key.to_owned(), value.to_owned());
                    }
                }
                // A unique event is delivered to one seat only.
                Delivery::Event(event) if event.topic() == TICK => {
                    let number = u64::from_le_bytes(event.bytes().try_into()?);
                    if let Some(runs) = self.board.runs.get(number as usize) {
                        runs.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Delivery::Lagged { missed, .. } => _ = self.board.missed.fetch_add(missed, Ordering::Relaxed),
                Delivery::Reserved { .. } => return Ok(false),
                _ => {}
            }
        }
        Ok(true)
    }

    /// All workers post the same tick at about the same time. One of them runs it.
    fn tick(&mut self) -> Result<()> {
        self.catch_up()?;
        let now = u64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis())?;
        let tick = now / TICK_EVERY.as_millis() as u64;
        if tick > self.next_tick {
            self.next_tick = tick;
            let number = tick % self.board.runs.len() as u64;
            let (event, key) = (self.subscriber.publisher().event(TICK), tick.to_le_bytes());
            event.unique(&key[..]).ttl(Duration::from_secs(60)).post(number.to_le_bytes())?;
        }
        Ok(())
    }

    /// `set KEY VALUE` or `get KEY`.
    fn answer(&mut self, line: &str) -> Result<String> {
        let mut words = line.splitn(3, ' ');
        Ok(match (words.next(), words.next(), words.next()) {
            (Some("set"), Some(key), Some(value)) => {
                self.subscriber.publisher().post(SET, format!("{key}={value}"))?;
                "ok".to_owned()
            }
            // Polling first costs nanoseconds, and ensures that no acknowledged change is missed.
            (Some("get"), Some(key), None) if self.catch_up()? => {
                self.table.get(key).map_or_else(|| "none".to_owned(), |value| format!("value {value}"))
            }
            (Some("get"), Some(_), None) => "busy".to_owned(),
            _ => "what?".to_owned(),
        })
    }

    fn leave(mut self) -> Result<()> {
        self.catch_up()?;
        let Worker { subscriber, bell, .. } = self;
        drop(bell);
        Ok(subscriber.leave(|_| {})?)
    }
}

/// A descriptor for SIGTERM, which no longer ends the process.
fn signal_descriptor() -> Result<OwnedFd> {
    // SAFETY: the set is written before it is read, and the calls take no other pointers.
    let descriptor = unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    if descriptor < 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    // SAFETY: it was just opened, and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn timer(interval: Duration) -> Result<OwnedFd> {
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
    let interval = Timespec::try_from(interval)?;
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval: interval, it_value: interval })?;
    Ok(timer)
}
