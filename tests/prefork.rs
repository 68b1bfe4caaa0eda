//! The example `prefork`, run as a user would, and the audit of its results.

#![cfg(feature = "typed")]
#![deny(clippy::undocumented_unsafe_blocks)]

#[allow(dead_code)]
#[path = "../examples/prefork/audit.rs"]
mod audit;
#[allow(dead_code)]
#[path = "../examples/prefork/fold.rs"]
mod fold;
#[allow(dead_code)]
#[path = "../examples/prefork/report.rs"]
mod report;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use self::audit::{Audit, Unique, Verdict};
use self::fold::Fold;
use self::report::Checkpoint;

// The items of the example that the modules above use.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(300);

/// The example's executable.
fn example() -> &'static Path {
    static EXAMPLE: OnceLock<PathBuf> = OnceLock::new();
    let features = if cfg!(feature = "tracing") { &["tracing"][..] } else { &[] };
    EXAMPLE.get_or_init(|| seqcast_testkit::example("prefork", features))
}

fn run(args: &[&str]) -> Output {
    Command::new(example()).args(args).output().expect("the example runs")
}

/// Returns the fields of a last line that has exactly the required form.
fn last_line(output: &Output) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    let fields = last.strip_prefix("prefork: ").unwrap_or_else(|| panic!("{output:?}")).split(' ');
    let fields = fields.map(|field| field.split_once('=').expect("name=value"));
    fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn number(fields: &[(String, String)], at: usize, name: &str) -> u64 {
    assert_eq!(fields[at].0, name, "{fields:?}");
    fields[at].1.parse().expect("a number")
}

/// Returns the pids of all workers in the output of a run.
fn workers_of(text: &str) -> Vec<i32> {
    let pid = |line: &str| line.split_once(" is pid ")?.1.split_whitespace().next()?.parse().ok();
    text.lines().filter(|line| line.contains(" reads from ")).filter_map(pid).collect()
}

/// Returns `true` if a process runs. A zombie does not.
fn runs(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, rest)| &rest[..1]);
    state.is_some_and(|state| state != "Z" && state != "X")
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// G1, G2, G5, G7, G9 from a user's view.
#[test]
fn a_killed_worker_costs_nothing() {
    let output = run(&["--seconds", "2"]);
    assert!(output.status.success(), "{}\n{}", output.status, String::from_utf8_lossy(&output.stdout));
    let fields = last_line(&output);
    assert_eq!(fields.len(), 6, "{fields:?}");
    assert_eq!(number(&fields, 0, "workers"), 4);
    assert!(number(&fields, 1, "events") > 0, "{fields:?}");
    assert_eq!(number(&fields, 2, "lost"), 0);
    assert_eq!(fields[3], ("order".to_owned(), "identical".to_owned()));
    assert_eq!(fields[4], ("unique".to_owned(), "once".to_owned()));
    assert_eq!(number(&fields, 5, "killed"), 1);

    let text = String::from_utf8_lossy(&output.stdout);
    let workers = workers_of(&text);
    assert_eq!(workers.len(), 5, "four and a replacement: {text}");
    assert!(!workers.into_iter().any(runs), "a worker is left");
}

fn assert_fault_is_noticed(args: &[&str], is_noticed: impl Fn(&[(String, String)]) -> bool) {
    let output = run(args);
    let fields = last_line(&output);
    assert!(is_noticed(&fields), "{fields:?}");
    assert_eq!(output.status.code(), Some(1), "{fields:?}");
}

#[test]
fn a_lost_event_is_noticed() {
    assert_fault_is_noticed(&["--seconds", "1", "--fault", "lose"], |fields| number(fields, 2, "lost") == 1);
}

#[test]
fn another_order_is_noticed() {
    assert_fault_is_noticed(&["--seconds", "1", "--fault", "swap"], |fields| {
        number(fields, 2, "lost") == 0 && fields[3].1 == "differs"
    });
}

#[test]
fn a_unique_event_that_runs_twice_is_noticed() {
    let args = ["--seconds", "1", "--workers", "1", "--fault", "twice"];
    assert_fault_is_noticed(&args, |fields| fields[4].1 == "twice");
}

#[test]
fn a_unique_event_that_does_not_run_is_noticed() {
    let args = ["--seconds", "1", "--workers", "1", "--fault", "never"];
    assert_fault_is_noticed(&args, |fields| fields[4].1 == "never");
}

#[test]
fn bad_arguments_are_refused_with_the_rule() {
    for (args, says) in [
        (&["--workers", "0"][..], "1..=64"),
        (&["--port", "65536"], "0..=65535"),
        (&["--seconds"], "a value is required"),
        (&["--fault", "all"], "lose, swap, twice, never"),
        (&["--nonsense"], "--nonsense"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(says), "{args:?}: {error}");
    }
}

/// A server that was started with `--serve`, and its output.
struct Server {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    printed: String,
}

impl Server {
    fn start() -> Server {
        Server::start_with(&[])
    }

    fn start_with(more: &[&str]) -> Server {
        let mut command = Command::new(example());
        let mut child =
            command.args(["--serve", "--port", "0"]).args(more).stdout(Stdio::piped()).spawn().expect("it runs");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut server = Server { child, output, printed: String::new() };
        while !server.printed.contains("Ctrl-C ends it.") {
            assert_ne!(server.output.read_line(&mut server.printed).expect("text"), 0, "{}", server.printed);
        }
        server
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Returns a worker's answer, including headers, on a new connection.
    fn ask(&self, method: &str, path: &str) -> String {
        let address = self.printed.split_once("http://").expect("it says where").1;
        let address = address.split_whitespace().next().expect("an address");
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn worker_of(answer: &str) -> u64 {
    let header = answer.lines().find_map(|line| line.strip_prefix("x-worker: ")).expect("a worker answers");
    header.trim().parse().expect("a number")
}

#[test]
fn what_one_worker_is_told_shows_in_all() {
    let mut server = Server::start();
    assert!(server.ask("PUT", "/upstreams/app-2/down").starts_with("HTTP/1.1 202"));
    let mut asked = std::collections::BTreeSet::new();
    wait_until("an answer of each of the four workers", || {
        let answer = server.ask("GET", "/upstreams");
        assert!(answer.contains("app-2 down"), "{answer}");
        asked.insert(worker_of(&answer));
        asked.len() == 4
    });
    let workers = workers_of(&server.printed);
    assert_eq!(workers.len(), 4);

    kill_process(server.pid(), Signal::TERM).expect("it runs");
    let status = server.child.wait().expect("it ends");
    assert!(status.success(), "{status}");
    assert!(!workers.into_iter().any(runs), "a worker is left");
}

#[test]
fn a_named_one_can_be_looked_at_while_it_runs() {
    let name = format!("/seqcast-prefork-{}", std::process::id());
    let mut server = Server::start_with(&["--workers", "2", "--name", &name]);
    let looked_at = seqcast::inspect::Inspector::open_any(&name).and_then(|inspector| inspector.stats());
    kill_process(server.pid(), Signal::TERM).expect("it runs");
    assert!(server.child.wait().expect("it ends").success());
    let is_left = std::fs::remove_file(format!("/dev/shm{name}")).is_ok();
    let workers = looked_at.expect("it can be looked at").workers;
    assert!(workers.iter().filter(|worker| worker.alive).count() >= 3, "the master and two workers: {workers:?}");
    assert!(!is_left, "its name is left");
}

#[test]
fn workers_do_not_outlive_a_killed_master() {
    let mut server = Server::start();
    let workers = workers_of(&server.printed);
    assert!(workers.len() == 4 && workers.iter().all(|pid| runs(*pid)), "{}", server.printed);
    server.child.kill().expect("it runs");
    server.child.wait().expect("it ends");
    wait_until("the end of all workers", || !workers.iter().any(|pid| runs(*pid)));
}

// ---- the audit alone ----

/// Events of a simulated run: of the ids from 0 on, every fifth is a unique event.
fn is_unique(id: u64) -> bool {
    id % 5 == 4
}

fn digest(id: u64) -> u64 {
    id.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn key(id: u64) -> String {
    format!("key-{id}")
}

/// The report of a worker that has handled the events `ids`, in this order.
fn checkpoint(ids: impl IntoIterator<Item = u64>) -> Checkpoint {
    let ids: Vec<u64> = ids.into_iter().filter(|id| !is_unique(*id)).collect();
    let mut fold = Fold::default();
    ids.iter().for_each(|id| fold.add(digest(*id)));
    Checkpoint { first: ids[0], last: *ids.iter().max().expect("events"), fold }
}

/// The stop event of a simulated run.
const STOP: u64 = 101;

/// An audit of a run in which the master saw everything up to [`STOP`], and the driver got an answer for every event.
fn audit() -> Audit {
    let mut audit = Audit::new(0, true);
    for id in 0..=STOP {
        if !is_unique(id) {
            audit.saw(id, digest(id));
        }
        audit.answered(id, is_unique(id).then(|| key(id)));
    }
    audit.came_to(STOP + 1, 0);
    audit
}

fn run_unique(audit: &mut Audit, worker: usize, ids: impl IntoIterator<Item = u64>) {
    for id in ids.into_iter().filter(|id| is_unique(*id)) {
        audit.ran(worker, id, &key(id));
    }
}

/// Two workers, of which the second was killed after it had reported events up to 50, and a replacement from 60 on. The
/// unique events in `not_run` did not run.
fn verdict_with_kill(not_run: &[u64]) -> Verdict {
    let mut audit = audit();
    let (first, second) = (audit.joined(0), audit.joined(0));
    audit.checkpoint(first, checkpoint(0..=STOP));
    audit.checkpoint(second, checkpoint(0..=50));
    run_unique(&mut audit, first, (0..=STOP).filter(|id| !not_run.contains(id)));
    audit.killed(second, 60);
    let third = audit.joined(60);
    audit.checkpoint(third, checkpoint(60..=STOP));
    audit.verdict(STOP)
}

#[test]
fn audit_finds_nothing_where_nothing_is() {
    let verdict = verdict_with_kill(&[]);
    assert!(verdict.is_good(), "{verdict}");
    assert_eq!(verdict.to_string(), "prefork: workers=2 events=102 lost=0 order=identical unique=once killed=1");
}

#[test]
fn audit_excuses_what_a_killed_worker_had_in_its_hands() {
    assert_eq!(verdict_with_kill(&[54]).unique, Unique::Once);
    assert_eq!(verdict_with_kill(&[54, 59]).unique, Unique::Never, "it had one at most");
    assert_eq!(verdict_with_kill(&[49]).unique, Unique::Never, "it had handled later events");
    assert_eq!(verdict_with_kill(&[64]).unique, Unique::Never, "it was dead");
}

#[test]
fn audit_counts_events_that_a_worker_did_not_come_to() {
    let mut audit = audit();
    let worker = audit.joined(0);
    audit.checkpoint(worker, checkpoint(0..=98));
    run_unique(&mut audit, worker, 0..=STOP);
    let verdict = audit.verdict(STOP);
    assert_eq!((verdict.lost, verdict.workers, verdict.identical), (2, 0, true), "100 and 101; 99 is unique");
}

#[test]
fn audit_counts_the_first_events_too() {
    let mut audit = audit();
    let worker = audit.joined(0);
    audit.checkpoint(worker, checkpoint(2..=STOP));
    run_unique(&mut audit, worker, 0..=STOP);
    assert_eq!(audit.verdict(STOP).lost, 2);
}

#[test]
fn audit_counts_posts_that_nobody_saw() {
    let mut audit = Audit::new(0, true);
    audit.answered(1, None);
    for id in [0, 2, 3] {
        audit.saw(id, digest(id));
    }
    audit.came_to(4, 0);
    // Once as a post that vanished, once as an unexplained id.
    assert_eq!(audit.verdict(3).lost, 2);
    audit.answered(7, None);
    assert_eq!(audit.verdict(3).lost, 3);
}

#[test]
fn audit_counts_what_the_master_missed() {
    let mut audit = Audit::new(0, false);
    audit.saw(0, digest(0));
    audit.came_to(11, 10);
    assert_eq!(audit.verdict(10).lost, 10);
}

#[test]
fn audit_tells_content_and_order() {
    let identical = |reported: Checkpoint| {
        let mut audit = audit();
        let worker = audit.joined(0);
        audit.checkpoint(worker, reported);
        run_unique(&mut audit, worker, 0..=STOP);
        audit.verdict(STOP).identical
    };
    let good = checkpoint(0..=STOP);
    assert!(identical(good));
    assert!(!identical(checkpoint([1, 0].into_iter().chain(2..=STOP))), "swapped at the beginning");
    assert!(!identical(checkpoint((0..=98).chain([101, 100]))), "swapped at the end");
    assert!(!identical(checkpoint((0..=50).chain(50..=STOP))), "one twice");
    assert!(!identical(Checkpoint { fold: Fold { hash: good.fold.hash ^ 1, ..good.fold }, ..good }), "other content");
}

#[test]
fn audit_waits_for_the_master() {
    let mut audit = Audit::new(0, false);
    let worker = audit.joined(0);
    audit.checkpoint(worker, checkpoint(0..=3));
    assert!(audit.worker(worker).last().is_none(), "the master has seen nothing yet");
    for id in 0..=3 {
        audit.saw(id, digest(id));
    }
    audit.came_to(4, 0);
    assert_eq!(audit.worker(worker).last(), Some(checkpoint(0..=3)));
    assert!(audit.verdict(3).is_good());
}

#[test]
fn audit_finds_the_same_key_run_for_two_events() {
    let mut audit = Audit::new(0, true);
    let worker = audit.joined(0);
    audit.saw(0, digest(0));
    for id in [4, 9] {
        audit.answered(id, Some("same".to_owned()));
        audit.ran(worker, id, "same");
    }
    audit.came_to(10, 0);
    assert_eq!(audit.verdict(9).unique, Unique::Twice);
}
