//! post and claim: they join for a moment.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::pty::Pty;
use crate::support::{Name, WorkerProcess, command, eventually, run, seqcast, seqcast_on_all};

/// The payloads in the ring, as text.
fn payloads(name: &str) -> Vec<String> {
    let run = seqcast(&["tail", name, "--from", "oldest", "--no-follow", "--payload", "utf8", "--format", "json"]);
    let own = |event: &Value| event["source"] != "seqcast";
    let events = run.expect(0).json_lines().into_iter().filter(own);
    events.map(|event| event["payload_utf8"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn post_reaches_the_workers() {
    let (name, _bus) = Name::segment("post");
    let mut worker = WorkerProcess::join(&name, "web");
    let posted = seqcast(&["post", &name, "cache", "stale", "--data", "user:42", "--format", "json"]).expect(0).json();
    // After the worker's own start event.
    assert_eq!(posted, json!({ "posted": true, "id": 1 }));
    assert_eq!(worker.told("poll"), "Done { delivered: 2, missed: 0, missed_elsewhere: 0 }");
    assert_eq!(seqcast(&["post", &name, "cache", "stale"]).expect(0).stdout, "posted as id 2\n");
    assert_eq!(payloads(&name), ["user:42", ""]);
}

#[test]
fn post_leaves_no_trace_but_the_event() {
    let (name, bus) = Name::segment("post-trace");
    seqcast(&["post", &name, "a", "b"]).expect(0);
    assert!(bus.stats().unwrap().workers.is_empty());
    assert_eq!(bus.next_id(), 1, "it was announced like a worker");
}

#[test]
fn post_reads_standard_input_and_files() {
    let (name, _bus) = Name::segment("post-data");
    let mut child =
        command(&["post", &name, "a", "b", "--data", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"from a pipe").unwrap();
    assert!(child.wait().unwrap().success());
    let file = std::env::temp_dir().join(format!("seqcast-post-{}", std::process::id()));
    std::fs::write(&file, "from a file").unwrap();
    let posted = seqcast(&["post", &name, "a", "b", "--data", &format!("@{}", file.display())]);
    std::fs::remove_file(&file).unwrap();
    posted.expect(0);
    assert_eq!(payloads(&name), ["from a pipe", "from a file"]);
    let mut endless = command(&["post", &name, "a", "b", "--data", "@/dev/zero", "--format", "json"]);
    let refused = run(&mut endless).expect(2);
    assert!(refused.stderr.contains("payload_too_large"), "{refused:?}");
}

#[test]
fn g9_a_unique_post_whose_key_is_held_is_refused_with_the_holder() {
    let (name, bus) = Name::segment("post-unique");
    let mut worker = WorkerProcess::join(&name, "mailer");
    let post = ["post", &*name, "jobs", "run", "--unique", "nightly", "--ttl", "10m"];
    seqcast(&post).expect(0);
    // No worker has reached the event, so the next event may still run.
    seqcast(&post).expect(0);
    worker.told("poll");
    let before = bus.next_id();
    let refused = seqcast(&post).expect(1);
    let expected = format!("held by seat 0 (pid {} \"mailer\") for 9m", worker.pid());
    assert!(refused.stdout.contains(&expected), "{refused:?}");
    assert!(!refused.stdout.contains("nightly"), "the key is shown: {refused:?}");
    let refused = seqcast(&[&["--format", "json"], post.as_slice()].concat()).expect(1).json();
    assert_eq!((&refused["posted"], &refused["held"]["pid"]), (&json!(false), &json!(worker.pid())));
    assert!(refused["held"]["left_seconds"].as_f64().unwrap() > 500.0, "{refused}");
    assert_eq!(bus.next_id(), before, "it was posted anyway");
    // Keys of claims without an event are separate.
    seqcast(&["claim", &name, "nightly", "--ttl", "1m", "--", "true"]).expect(0);
}

#[test]
fn claim_runs_a_command_once_and_gives_its_exit_code() {
    let (name, _bus) = Name::segment("claim");
    let ran = seqcast(&["claim", &name, "import", "--ttl", "10m", "--", "sh", "-c", "echo done; exit 7"]).expect(7);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("done\n", ""));
    // Released when the command ends.
    seqcast(&["claim", &name, "import", "--ttl", "10m", "--keep", "--", "true"]).expect(0);
    // Kept until its ttl ends.
    let refused = seqcast(&["claim", &name, "import", "--ttl", "10m", "--", "echo", "twice"]).expect(1);
    assert!(refused.stdout.is_empty() && refused.stderr.contains("held by seat"), "{refused:?}");
    seqcast(&["claim", &name, "import", "--ttl", "10m", "-E", "42", "--", "echo", "twice"]).expect(42);
    seqcast(&["claim", &name, "a", "--ttl", "10m", "--", "/no/such/command"]).expect(127);
    seqcast(&["claim", &name, "a", "--ttl", "10m", "--", "/etc/passwd"]).expect(126);
    seqcast(&["claim", &name, "a", "--ttl", "10m", "--", "sh", "-c", "kill -9 $$"]).expect(128 + 9);
    // Each of these has released the key.
    seqcast(&["claim", &name, "a", "--ttl", "10m", "--", "true"]).expect(0);
}

#[test]
fn claim_is_held_while_the_command_runs_and_by_a_seat_that_does_not_lag() {
    let (name, bus) = Name::segment("claim-held");
    let mut child = command(&["claim", &name, "import", "--ttl", "10m", "--", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the claim is held", || bus.stats().unwrap().claims_held == 1);
    let pid = child.id();
    let refused = seqcast(&["claim", &name, "import", "--ttl", "10m", "--format", "json", "--", "true"]).expect(1);
    let held: Value = serde_json::from_str(&refused.stderr).unwrap();
    assert_eq!((&held["claimed"], &held["held"]["pid"]), (&json!(false), &json!(pid)), "{held}");
    let stats = bus.stats().unwrap();
    let [worker] = stats.workers.as_slice() else { panic!("{stats:?}") };
    assert_eq!((worker.label.as_str(), worker.cursor), ("seqcast claim", None));
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert_eq!(bus.stats().unwrap().claims_held, 0);
    assert!(bus.stats().unwrap().workers.is_empty());
}

/// A script that prints each of these signals that it gets, and exits with 3 on the last one. If the last one does not
/// come, the script ends by itself with another code.
fn script_that_tells(signals: &[&str]) -> String {
    let traps: String = signals.iter().map(|signal| format!("trap 'echo told {signal}' {signal}; ")).collect();
    let last = signals.last().unwrap();
    format!("{traps}trap 'echo told {last}; exit 3' {last}; echo ready; for i in $(seq 30000); do sleep 0.01; done")
}

#[test]
fn claim_hands_signals_on_and_releases_after_the_command() {
    let (name, bus) = Name::segment("claim-signals");
    for (signal, number) in
        [("TERM", libc::SIGTERM), ("HUP", libc::SIGHUP), ("INT", libc::SIGINT), ("QUIT", libc::SIGQUIT)]
    {
        let script = script_that_tells(&[signal]);
        let mut child = command(&["claim", &name, "import", "--ttl", "10m", "--", "sh", "-c", &script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut line = || lines.next().map(Result::unwrap);
        assert_eq!(line().as_deref(), Some("ready"));
        // SAFETY: a system call without pointers, to a child that has not been waited for.
        assert_eq!(unsafe { libc::kill(child.id() as i32, number) }, 0);
        let told = line();
        assert_eq!(child.wait().unwrap().code(), Some(3), "after SIG{signal}");
        assert_eq!(told.unwrap(), format!("told {signal}"));
        assert_eq!(bus.stats().unwrap().claims_held, 0);
    }
}

#[test]
fn claim_leaves_it_to_a_terminal_to_interrupt_the_command() {
    let (name, _bus) = Name::segment("claim-terminal");
    let script = script_that_tells(&["INT", "QUIT", "TERM"]);
    let mut pty = Pty::run(command(&["claim", &name, "import", "--ttl", "10m", "--", "sh", "-c", &script]), 24, 80);
    pty.shows("that it runs", |screen| screen.contains("ready"));
    // As a terminal sends them, but to `claim` only; the command would print them before the last one.
    for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        pty.signal(signal);
    }
    assert_eq!(pty.ends().code(), Some(3));
    pty.shows("what it was told", |screen| screen.contains("told TERM"));
    assert!(!pty.text().contains("told INT") && !pty.text().contains("told QUIT"), "{}", pty.text());
}

#[test]
fn claim_says_when_its_time_was_too_short() {
    let (name, _bus) = Name::segment("claim-short");
    let ran = seqcast(&["claim", &name, "import", "--ttl", "10ms", "--", "sleep", "0.1"]).expect(0);
    assert!(ran.stderr.contains("use a longer --ttl"), "{ran:?}");
}

#[test]
fn another_users_segment_is_not_written_to_unless_trusted() {
    // SAFETY: `geteuid` takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("skipped: only root can give files away");
        return;
    }
    let name = Name::new("owner");
    drop(crate::support::small().owner(65_534, 65_534).create(&name).unwrap());
    let refused = seqcast(&["post", &name, "a", "b"]).expect(3);
    assert!(refused.stderr.contains("user 65534") && refused.stderr.contains("--trust-owner"), "{refused:?}");
    seqcast(&["post", &name, "a", "b", "--trust-owner"]).expect(0);
    seqcast(&["claim", &name, "a", "--ttl", "1m", "--trust-owner", "--", "true"]).expect(0);
    assert_eq!(seqcast_on_all(&["ls"]).expect(0).stdout.lines().filter(|line| line.starts_with(&*name)).count(), 1);
}

#[test]
fn claim_waits_for_a_key_for_as_long_as_it_is_told_to() {
    let (name, bus) = Name::segment("claim-wait");
    // Holds the key until its standard input ends.
    let mut first =
        command(&["claim", &name, "key", "--ttl", "10m", "--", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
    eventually("the first has it", || bus.stats().unwrap().claims_held == 1);
    let refused = seqcast(&["claim", &name, "key", "--ttl", "10m", "--wait", "1ms", "-E", "7", "--", "true"]).expect(7);
    assert!(refused.stderr.contains("not run: the key is held by seat"), "{refused:?}");
    let mut second =
        command(&["claim", &name, "key", "--ttl", "10m", "--wait", "1h", "--", "sh", "-c", "exit 5"]).spawn().unwrap();
    eventually("the second has joined", || bus.stats().unwrap().workers.len() == 2);
    assert!(second.try_wait().unwrap().is_none(), "it has not waited");
    drop(first.stdin.take());
    assert!(first.wait().unwrap().success());
    assert_eq!(second.wait().unwrap().code(), Some(5));
    // A key is also free when its time is over.
    let worker = bus.join().unwrap();
    let _claim = worker.claim("key", Duration::from_millis(50)).unwrap();
    seqcast(&["claim", &name, "key", "--ttl", "1s", "--wait", "1h", "--", "true"]).expect(0);
}

#[test]
fn release_ends_the_claims_of_the_dead_only() {
    let (name, bus) = Name::segment("release");
    let mut alive = WorkerProcess::join(&name, "alive");
    let mut dead = WorkerProcess::join(&name, "doomed");
    assert_eq!(alive.told("claim hourly 600000"), "won");
    for key in ["nightly", "weekly"] {
        assert_eq!(dead.told(&format!("claim {key} 600000")), "won");
    }
    dead.kill();
    assert_eq!(alive.told("claim nightly 600000"), "held");
    let released = seqcast(&["release", &name, "nightly"]).expect(0);
    assert!(released.stdout.is_empty() && released.stderr.contains("released nightly"), "{released:?}");
    assert_eq!(alive.told("claim nightly 600000"), "won");
    // The release has taken the winner's seat, so the winner is now gone instead of dead.
    let weekly = seqcast(&["release", &name, "weekly", "--format", "json"]).expect(0);
    assert_eq!(weekly.json(), json!({ "released": true }));
    assert!(bus.held("weekly").unwrap().is_none());

    for key in ["weekly", "yearly"] {
        let free = seqcast(&["release", &name, key]).expect(1);
        assert!(free.stderr.contains(&format!("{key} is not held")), "{free:?}");
    }
    let lives = seqcast(&["release", &name, "hourly"]).expect(1);
    assert!(lives.stderr.contains("which lives"), "{lives:?}");
    let lives = seqcast(&["release", &name, "hourly", "--format", "json"]).expect(1).json();
    assert_eq!((&lives["released"], &lives["held"]["pid"]), (&json!(false), &json!(alive.pid())));
    assert!(bus.held("hourly").unwrap().is_some());
    seqcast(&["release", &name, "hourly", "--force"]).expect(0);
    assert!(bus.held("hourly").unwrap().is_none());
}
