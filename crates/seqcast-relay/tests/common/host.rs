//! A host: a segment, a relay process with a link of its own, and a worker that writes down what it delivers.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use seqcast::{Bus, Scope, SegmentOptions, Start, Worker, WorkerOptions};

use super::oracle::{self, Kind, Log, Seen, Sequence};
use super::proxy::Proxy;
use super::server::signal;

/// Builds the command of a relay for a segment and a server.
pub type Launch = fn(name: &str, url: &str) -> Command;

static HOSTS: AtomicU32 = AtomicU32::new(0);

pub const SOURCE: &str = "cache";

/// A worker's thread that polls, and writes down what it gets.
#[derive(Debug)]
pub struct Reader {
    seen: Arc<Mutex<Vec<Seen>>>,
    /// The number of events that are not unique.
    delivered: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    fn start(bus: &Bus, slow: Duration) -> Reader {
        let (seen, delivered): (Arc<Mutex<Vec<Seen>>>, Arc<AtomicU64>) = Default::default();
        let ends = Arc::new(AtomicBool::new(false));
        let worker = bus.join_with(&WorkerOptions::new().start(Start::Oldest).announce(false)).unwrap();
        note(&worker, &seen, &delivered, slow);
        let of_thread = Arc::clone(&ends);
        let thread = thread::spawn(move || {
            while !of_thread.load(Ordering::Relaxed) {
                worker.poll().unwrap();
                worker.wait(Duration::from_millis(20)).unwrap();
            }
            worker.poll().unwrap();
        });
        Reader { seen, delivered, ends, thread: Some(thread) }
    }

    pub fn len(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// The number of events that it has got, without the unique ones, of which one host gets each.
    pub fn delivered(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.delivered)
    }

    pub fn with<R>(&self, look: impl FnOnce(&[Seen]) -> R) -> R {
        look(&self.seen.lock().unwrap())
    }

    fn end(&mut self) -> Vec<Seen> {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

fn note(worker: &Worker, seen: &Arc<Mutex<Vec<Seen>>>, delivered: &Arc<AtomicU64>, slow: Duration) {
    let (events, delivered) = (Arc::clone(seen), Arc::clone(delivered));
    let noting = move |event: &seqcast::Event<'_>| {
        let (sequence, number) = oracle::read(event.bytes());
        if !slow.is_zero() {
            thread::sleep(slow);
        }
        let when = Instant::now();
        events.lock().unwrap().push(Seen::Event { sequence, number, place: event.cluster_id(), when });
        if sequence.1 != Kind::Unique {
            delivered.fetch_add(1, Ordering::Relaxed);
        }
    };
    worker.on(Scope::source(SOURCE), noting).unwrap();
    let missed = Arc::clone(seen);
    worker.on_missed(move |report| missed.lock().unwrap().push(Seen::Missed(*report))).unwrap();
}

#[derive(Debug)]
pub struct Host {
    pub bus: Bus,
    pub proxy: Proxy,
    /// The server's URL for its relays, if it is not that of the proxy.
    pub url: Option<String>,
    pub reader: Reader,
    relay: Option<Child>,
    launch: Launch,
    folder: std::path::PathBuf,
    /// More arguments for its relays.
    pub more: Vec<String>,
}

impl Host {
    /// A host whose link leads to the server at `target`. Its files are in `folder`.
    pub fn new(launch: Launch, folder: &Path, target: &Path, options: &SegmentOptions) -> Host {
        Host::with_slow_reader(launch, folder, target, options, Duration::ZERO)
    }

    pub fn with_slow_reader(
        launch: Launch,
        folder: &Path,
        target: &Path,
        options: &SegmentOptions,
        slow: Duration,
    ) -> Host {
        let number = HOSTS.fetch_add(1, Ordering::Relaxed);
        let name = format!("relay-test-{}-{number}", std::process::id());
        let bus = options.create(&name).unwrap();
        let proxy = Proxy::start(folder.join(format!("link-{number}")), target);
        let reader = Reader::start(&bus, slow);
        Host { bus, proxy, url: None, reader, relay: None, launch, folder: folder.to_owned(), more: Vec::new() }
    }

    /// More arguments for its relays.
    pub fn with_arguments(mut self, more: &[&str]) -> Host {
        self.more = more.iter().map(|argument| (*argument).to_owned()).collect();
        self
    }

    pub fn command(&self) -> Command {
        let url = self.url.clone().unwrap_or_else(|| self.proxy.url());
        let mut command = (self.launch)(self.bus.name(), &url);
        let log = File::options().create(true).append(true).open(self.folder.join("relays.log")).unwrap();
        command.args(&self.more).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command
    }

    /// Starts a relay. The one before it must have ended.
    pub fn start_relay(&mut self) {
        assert!(self.relay.is_none(), "a relay runs");
        self.relay = Some(self.command().spawn().unwrap());
    }

    /// The relay is killed, and a standby that was started before takes over.
    pub fn replace_relay(&mut self, standby: Child) {
        self.kill_relay();
        self.relay = Some(standby);
    }

    pub fn relay_pid(&self) -> i32 {
        self.relay.as_ref().unwrap().id() as i32
    }

    /// Returns after SIGSTOP once it has stopped.
    pub fn signal_relay(&self, number: i32) {
        signal(self.relay.as_ref().unwrap(), number);
    }

    /// SIGKILL.
    pub fn kill_relay(&mut self) {
        if let Some(mut relay) = self.relay.take() {
            relay.kill().unwrap();
            relay.wait().unwrap();
        }
    }

    /// SIGTERM. Returns the exit code.
    pub fn stop_relay(&mut self) -> Option<i32> {
        self.signal_relay(libc::SIGTERM);
        self.relay.take().unwrap().wait().unwrap().code()
    }

    /// The exit code, once it has ended.
    pub fn relay_code(&mut self) -> Option<i32> {
        let status = self.relay.as_mut().unwrap().try_wait().unwrap()?;
        self.relay = None;
        status.code()
    }

    /// Waits until the relay is up, and has noted from where on this host's events travel. If it is killed before that,
    /// its successor begins at the end of the ring.
    pub fn wait_for_relay(&self) {
        use seqcast::inspect::RelayPresence;
        eventually("the relay is up", || {
            let state = self.relay_state();
            let is_up = state.presence == RelayPresence::Here && state.health == seqcast::relay::Health::Up;
            is_up && state.sent.is_some()
        });
    }

    /// What the segment says of its relay.
    pub fn relay_state(&self) -> seqcast::inspect::RelayState {
        seqcast::inspect::Inspector::open(self.bus.name()).unwrap().relay().unwrap()
    }

    pub fn log(&mut self) -> Log {
        Log { origin: self.bus.origin(), seen: self.reader.end() }
    }

    /// What its relays have said.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.folder.join("relays.log")).unwrap_or_default()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill_relay();
        self.reader.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.reader.thread.take() {
            let _ = thread.join();
        }
        let _ = self.bus.unlink();
    }
}

/// How long a test waits for what has to happen: far longer than it takes on a busy machine.
pub fn patience() -> Duration {
    // A mutant is to fail sooner.
    Duration::from_secs(if std::env::var_os("SEQCAST_MUTANTS").is_some() { 60 } else { 300 })
}

/// Waits until something is true. A test that waits in vain fails.
pub fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < patience(), "it never happened: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Tries until an attempt counts, and returns what it returns. `None`: something stood still for longer than a bound of
/// the relay, which then does something else, and says so.
pub fn undisturbed<R>(mut attempt: impl FnMut() -> Option<R>) -> R {
    (0..50).find_map(|_| attempt()).expect("each of 50 attempts was disturbed")
}

/// Posts numbered events of three kinds: of eight, five spread, two ordered and one unique.
pub struct Poster {
    publisher: seqcast::Publisher,
    sender: u32,
    pub posted: HashMap<Sequence, u64>,
    /// When each unique event was posted.
    pub unique: Vec<Instant>,
    turn: u64,
    kinds: bool,
}

impl Poster {
    pub fn new(bus: &Bus, sender: u32) -> Poster {
        let publisher = bus.publisher().unwrap();
        Poster { publisher, sender, posted: HashMap::new(), unique: Vec::new(), turn: 0, kinds: true }
    }

    /// Only spread and ordered events.
    pub fn without_unique(mut self) -> Poster {
        self.kinds = false;
        self
    }

    /// Returns its kind.
    pub fn post_next(&mut self) -> Kind {
        let kind = match self.turn % 8 {
            0 | 4 => Kind::Ordered,
            6 if self.kinds => Kind::Unique,
            _ => Kind::Spread,
        };
        // Every 17th is in fragments.
        let more = if self.turn % 17 == 16 { 900 } else { 27 };
        self.turn += 1;
        self.post(kind, more);
        kind
    }

    pub fn post(&mut self, kind: Kind, more: usize) {
        let sequence = (self.sender, kind);
        let number = self.posted.get(&sequence).copied().unwrap_or(0);
        let bytes = oracle::payload(sequence, number, more);
        if kind == Kind::Unique {
            self.unique.push(Instant::now());
        }
        let event = self.publisher.event((SOURCE, "changed"));
        let done = match kind {
            Kind::Spread => event.post(bytes),
            Kind::Ordered => event.cluster().post(bytes),
            // Senders of all hosts use the same keys, so one of them wins each.
            Kind::Unique => {
                let key = format!("key {number}");
                event.cluster().unique(&key).ttl(Duration::from_secs(600)).post(bytes)
            }
        };
        done.unwrap();
        self.posted.insert(sequence, number + 1);
    }
}
