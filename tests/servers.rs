//! The examples `axum`, `epoll` and `reload`, run as a user would.

use std::process::Command;

use seqcast_testkit::example;

/// Runs an example. Returns its last line, and `true` if it succeeded.
fn run(name: &str, arguments: &[&str]) -> (String, bool) {
    let output = Command::new(example(name, &["tokio"])).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let last = text.lines().last().unwrap_or_default().to_owned();
    assert!(last.starts_with(&format!("{name}: ")), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    (last, output.status.success())
}

fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let at = line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    at.unwrap_or_else(|| panic!("no {name} in {line}"))
}

#[test]
fn g1_an_acknowledged_change_is_seen_by_every_later_request_in_all_workers() {
    let (line, succeeded) = run("axum", &["--workers=3", "--seconds=3"]);
    assert!(succeeded, "{line}");
    assert_eq!((field(&line, "workers"), field(&line, "stale"), field(&line, "missed")), ("3", "0", "0"), "{line}");
    assert!(field(&line, "requests").parse::<u64>().unwrap() > 0, "{line}");
}

#[test]
fn the_load_finds_stale_answers_if_the_workers_poll_by_a_timer_only() {
    let (line, succeeded) = run("axum", &["--workers=3", "--seconds=3", "--careless"]);
    assert!(!succeeded, "{line}");
    assert_ne!(field(&line, "stale"), "0", "{line}");
}

#[test]
fn g9_one_loop_of_sockets_timers_signals_and_a_bell_serves_what_was_acknowledged_and_runs_each_tick_once() {
    let (line, succeeded) = run("epoll", &["--workers=3", "--seconds=2"]);
    assert!(succeeded, "{line}");
    let fields = ["workers", "stale", "killed", "doubled"].map(|name| field(&line, name));
    assert_eq!(fields, ["3", "0", "1", "0"], "{line}");
    assert!(field(&line, "ticks").parse::<u64>().unwrap() > 0, "{line}");
}

#[test]
fn g9_g13_a_ring_grows_under_load_and_nothing_is_lost_or_doubled() {
    let (line, succeeded) = run("reload", &["--both-ms=1500"]);
    assert!(succeeded, "{line}");
    let fields = ["generations", "workers", "lost", "doubled", "order", "unique"].map(|name| field(&line, name));
    assert_eq!(fields, ["2", "8+8", "0", "0", "per-generation", "once"], "{line}");
    let counts = ["events", "requests", "ticks"].map(|name| field(&line, name).parse::<u64>().unwrap());
    assert!(counts.iter().all(|&count| count > 2), "{line}");
    let (to_new, to_old) = field(&line, "carried").split_once('+').unwrap();
    assert!([to_new, to_old].iter().all(|count| count.parse::<u64>().unwrap() > 2), "{line}");
}
