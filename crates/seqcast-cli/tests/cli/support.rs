//! Segments, worker processes and runs of the command.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use seqcast::{Bus, Claimed, Reservation, Scope, SegmentOptions, Worker, WorkerOptions};
use serde_json::Value;

/// How long to wait for an expected result. Long, because only a failure waits to its end.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// A segment name for one test. Dropping it removes the segment, also when the test fails.
pub struct Name(String);

impl Name {
    pub fn new(what: &str) -> Name {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Name(format!("/seqcast-cli-{}-{}-{what}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    pub fn path(&self) -> String {
        format!("/dev/shm{}", self.0)
    }

    /// Creates a small segment with this name.
    pub fn segment(what: &str) -> (Name, Bus) {
        let name = Name::new(what);
        let bus = small().create(&name).unwrap();
        (name, bus)
    }
}

impl std::ops::Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.path());
    }
}

pub fn small() -> SegmentOptions {
    SegmentOptions::new().capacity(64).seats(8).claims(16)
}

/// The result of a run of the command.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// One object per line.
    pub fn json_lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[track_caller]
    pub fn expect(self, code: i32) -> Run {
        assert_eq!(self.code, code, "{self:?}");
        self
    }
}

pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seqcast"));
    command.args(arguments).env_remove("NO_COLOR").stdin(Stdio::null());
    command
}

/// Runs `seqcast` until it ends.
pub fn seqcast(arguments: &[&str]) -> Run {
    run(&mut command(arguments))
}

pub fn run(command: &mut Command) -> Run {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let output = Watched(child).output();
    // A crash is the negative number of a signal.
    let code = output.status.code().unwrap_or_else(|| -output.status.signal().unwrap());
    Run { code, stdout: String::from_utf8(output.stdout).unwrap(), stderr: String::from_utf8(output.stderr).unwrap() }
}

/// Waits for a child, but not indefinitely.
struct Watched(Child);

impl Watched {
    fn output(mut self) -> Output {
        let drain = |stream: Option<Box<dyn Read + Send>>| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                stream.unwrap().read_to_end(&mut bytes).unwrap();
                bytes
            })
        };
        let stdout = drain(self.0.stdout.take().map(|stream| Box::new(stream) as _));
        let stderr = drain(self.0.stderr.take().map(|stream| Box::new(stream) as _));
        let mut status = None;
        eventually("the command ends", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        Output { status: status.unwrap(), stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `seqcast` until it ends with `code`. For results that depend on a segment being closed here: another test's
/// child may be between fork and exec, with a copy of the descriptor.
#[track_caller]
pub fn seqcast_until(code: i32, arguments: &[&str]) -> Run {
    let mut last = None;
    eventually("that exit code", || {
        let run = seqcast(arguments);
        let is_so = run.code == code;
        last = Some(run);
        is_so
    });
    last.unwrap()
}

/// Runs a command that reads all segments of the host. Runs it again if one was truncated meanwhile, as other tests do.
pub fn seqcast_on_all(arguments: &[&str]) -> Run {
    on_all(|| seqcast(arguments))
}

/// [`seqcast_on_all`] with another way to run the command.
pub fn on_all(run: impl Fn() -> Run) -> Run {
    let mut ran = run();
    eventually("no segment is truncated", || {
        let cut_off = ran.stderr.contains("a process truncated the segment's file");
        if cut_off {
            ran = run();
        }
        !cut_off
    });
    ran
}

/// Tells a program to stop when this is dropped, also after a panic. The program would not end otherwise.
#[derive(Default)]
pub struct Stop(AtomicBool);

impl Stop {
    pub fn is_said(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Says it when the guard is dropped.
    pub fn guard(&self) -> impl Drop + '_ {
        struct Guard<'a>(&'a Stop);
        impl Drop for Guard<'_> {
            fn drop(&mut self) {
                self.0.0.store(true, Ordering::Relaxed);
            }
        }
        Guard(self)
    }
}

/// Waits until a condition holds.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A worker in a separate process that executes orders, line by line.
pub struct WorkerProcess {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

const NAME: &str = "SEQCAST_TEST_WORKER";
const LABEL: &str = "SEQCAST_TEST_LABEL";
const ANSWER: &str = "@ ";

impl WorkerProcess {
    pub fn join(name: &str, label: &str) -> WorkerProcess {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "worker_process", "--nocapture"])
            .env(NAME, name)
            .env(LABEL, label)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut worker = WorkerProcess { child, orders, answers };
        assert_eq!(worker.answer(), "joined");
        worker
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives an order and returns the answer.
    pub fn told(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").unwrap();
        self.answer()
    }

    fn answer(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.answers.read_line(&mut line).unwrap(), 0, "the worker process has ended");
            // The harness prints something on the same line.
            if let Some((_, answer)) = line.split_once(ANSWER) {
                return answer.trim_end().to_owned();
            }
        }
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: a system call without pointers, to a child that is not waited for before `self` is dropped.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, signal) }, 0);
    }

    /// Kills it, and waits until it is gone.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The worker process itself.
pub fn worker_process() {
    // If it was started by hand, there is nothing to do.
    let (Ok(name), Ok(label)) = (std::env::var(NAME), std::env::var(LABEL)) else { return };
    let bus = Bus::open_or_create(&name).unwrap();
    let worker = bus.join_with(&WorkerOptions::new().label(label)).unwrap();
    worker.on(Scope::All, |_: &seqcast::Event<'_>| {}).unwrap();
    println!("{ANSWER}joined");
    let mut reservation = None;
    for order in std::io::stdin().lines() {
        let answer = obey(&worker, &mut reservation, &order.unwrap());
        println!("{ANSWER}{answer}");
    }
}

fn obey(worker: &Worker, reservation: &mut Option<Reservation<Worker>>, order: &str) -> String {
    let words: Vec<&str> = order.split(' ').collect();
    let ms = |text: &str| Duration::from_millis(text.parse().unwrap());
    match *words.as_slice() {
        ["post", source, event, data] => worker.post((source, event), data).unwrap().to_string(),
        ["posts", count] => {
            let count: u64 = count.parse().unwrap();
            (0..count).fold(0, |_, _| worker.post(("many", "one"), "x").unwrap()).to_string()
        }
        ["post_bytes", len] => worker.post(("large", "one"), vec![b'L'; len.parse().unwrap()]).unwrap().to_string(),
        ["unique", key, ttl] => worker.event(("jobs", "run")).unique(key).ttl(ms(ttl)).post("x").unwrap().to_string(),
        ["poll"] => format!("{:?}", worker.poll().unwrap()),
        ["claim", key, ttl] => match worker.claim(key, ms(ttl)).unwrap() {
            Claimed::Won(_) => "won".to_owned(),
            Claimed::Held { .. } => "held".to_owned(),
            other => format!("{other:?}"),
        },
        ["reserve"] => {
            let reserved = worker.reserve().unwrap();
            let id = reserved.id();
            *reservation = Some(reserved);
            id.to_string()
        }
        ["commit", data] => reservation.take().unwrap().commit(("late", "one"), data).unwrap().to_string(),
        ["give_up"] => {
            drop(reservation.take());
            "given up".to_owned()
        }
        // A child that only stays alive.
        ["fork"] => {
            // SAFETY: the child makes system calls only, and never returns.
            let child = unsafe { libc::fork() };
            if child == 0 {
                loop {
                    // SAFETY: as above.
                    unsafe { libc::pause() };
                }
            }
            child.to_string()
        }
        // Simulates code that unmaps memory that it does not own. Returns the number of lost locks.
        ["lose_lock"] => {
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            let pages: Vec<&str> = maps.lines().filter(|line| line.contains(" ---s ")).collect();
            for page in &pages {
                let (from, to) = page.split_once(' ').unwrap().0.split_once('-').unwrap();
                let [from, to] = [from, to].map(|address| usize::from_str_radix(address, 16).unwrap());
                // SAFETY: no code reads or writes pages that are mapped without the right to either.
                assert_eq!(unsafe { libc::munmap(from as *mut libc::c_void, to - from) }, 0);
            }
            pages.len().to_string()
        }
        ["leave"] => {
            worker.clone().leave().unwrap();
            "left".to_owned()
        }
        _ => panic!("no such order: {order}"),
    }
}
