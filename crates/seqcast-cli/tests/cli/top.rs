//! top, on a screen of 80 columns and for scripts.

use serde_json::{Value, json};

use crate::pty::Pty;
use crate::support::{Name, WorkerProcess, command, eventually, seqcast, seqcast_on_all};

/// Runs `seqcast top` in a terminal.
fn top(name: &str, more: &[&str], rows: u16, columns: u16) -> Pty {
    let arguments = [&["top", name, "--interval", "50ms"], more].concat();
    Pty::run(command(&arguments), rows, columns)
}

/// The line of the worker `pid` on the screen.
fn row(screen: &str, pid: u32) -> Option<&str> {
    // On a wide screen the seat is before it.
    screen.lines().find(|line| line.split_whitespace().take(2).any(|word| word == pid.to_string()))
}

#[test]
fn top_shows_every_worker_in_80_columns() {
    let (name, _bus) = Name::segment("top");
    let mut web = WorkerProcess::join(&name, "web");
    let mailer = WorkerProcess::join(&name, "a label that is longer than its column");
    let doomed = WorkerProcess::join(&name, "doomed");
    let doomed_pid = doomed.pid();
    doomed.kill();
    web.told("posts 10");
    web.told("poll");
    let mut pty = top(&name, &[], 24, 80);
    pty.shows("the three workers", |screen| {
        [web.pid(), mailer.pid(), doomed_pid].iter().all(|&pid| row(screen, pid).is_some())
    });
    let text = pty.text();
    assert!(pty.lines().iter().all(|line| line.chars().count() <= 80), "{text}");
    // The one that is behind is slow when it has been silent for five seconds.
    let seats = ["2 ok 0 slow", "1 ok 1 slow"].map(|states| format!("3 of 8 seats: {states} 0 stopped 1 dead"));
    assert!(seats.iter().any(|seats| text.contains(seats)), "{text}");
    assert!(text.lines().next().unwrap().contains("next 13"), "{text}");
    let heading = text.lines().find(|line| line.contains("PID")).unwrap();
    for column in ["LABEL", "AGE", "LAG", "HIGH", "MISSED", "FAILED", "POLL", "STATE", "READ/S", "POST/S"] {
        assert!(heading.contains(column), "no {column} in {heading:?}");
    }
    assert_eq!(heading.chars().count(), 80, "{heading:?}");
    let fields = |pid| row(&text, pid).unwrap().split_whitespace().collect::<Vec<_>>();
    // PID LABEL AGE LAG HIGH MISSED FAILED POLL STATE READ/S POST/S.
    assert_eq!([fields(web.pid())[1], fields(web.pid())[3], fields(web.pid())[5]], ["web", "0", "0"], "{text}");
    assert!(row(&text, mailer.pid()).unwrap().contains("a label that "), "{text}");
    // Its label contains blanks.
    let behind = row(&text, mailer.pid()).unwrap().split_once("that ").unwrap().1;
    assert_eq!(behind.split_whitespace().skip(2).take(3).collect::<Vec<_>>(), ["12", "12", "0"], "{text}");
    assert!(row(&text, doomed_pid).unwrap().contains(" dead "), "{text}");
    pty.type_in("q");
    assert!(pty.ends().success());
}

#[test]
fn g8_a_stopped_worker_is_stopped_and_a_dead_one_dead() {
    let (name, _bus) = Name::segment("top-states");
    let mut worker = WorkerProcess::join(&name, "web");
    // A worker with nothing to read is not slow, even after a long silence.
    worker.told("poll");
    let pid = worker.pid();
    let mut pty = top(&name, &[], 24, 80);
    let state = |screen: &str, state: &str| {
        row(screen, pid).is_some_and(|row| row.split_whitespace().any(|word| word == state))
    };
    pty.shows("ok", |screen| state(screen, "ok"));
    worker.signal(libc::SIGSTOP);
    pty.shows("stopped", |screen| state(screen, "stopped"));
    worker.signal(libc::SIGCONT);
    pty.shows("ok again", |screen| state(screen, "ok"));
    worker.kill();
    pty.shows("dead", |screen| state(screen, "dead"));
    pty.type_in("q");
    assert!(pty.ends().success());
}

#[test]
fn the_high_water_mark_of_lag_stays_and_the_history_moves() {
    let (name, _bus) = Name::segment("top-high");
    let mut worker = WorkerProcess::join(&name, "web");
    worker.told("poll");
    let mut pty = top(&name, &[], 24, 120);
    let pid = worker.pid();
    // SEAT PID LABEL AGE CURSOR LAG HIGH MISSED FAILED POLL STATE.
    let field =
        |screen: &str, at: usize| row(screen, pid).and_then(|row| Some(row.split_whitespace().nth(at)?.to_owned()));
    pty.shows("no lag", |screen| field(screen, 5).as_deref() == Some("0"));
    worker.told("posts 40");
    pty.shows("a lag of 40, slow", |screen| {
        field(screen, 5).as_deref() == Some("40") && field(screen, 10).as_deref() == Some("slow")
    });
    worker.told("poll");
    pty.shows("no lag, but HIGH still shows 40", |screen| {
        field(screen, 5).as_deref() == Some("0") && field(screen, 6).as_deref() == Some("40")
    });
    let mut looks = 0;
    pty.shows("a peak in the history", |screen| {
        looks += 1;
        // Again, if the first peak has left the history before this process looked.
        if looks % 100 == 0 {
            worker.told("posts 40");
            worker.told("poll");
        }
        row(screen, pid).is_some_and(|row| row.contains('█') && row.contains('▁'))
    });
    pty.type_in("q");
    assert!(pty.ends().success());
}

#[test]
fn top_sorts_by_every_column() {
    let (name, _bus) = Name::segment("top-sort");
    let mut workers: Vec<WorkerProcess> =
        ["c", "a", "b"].iter().map(|label| WorkerProcess::join(&name, label)).collect();
    let pids: Vec<u32> = workers.iter().map(WorkerProcess::pid).collect();
    workers[0].told("posts 20");
    workers[2].told("poll");
    workers[0].told("poll");
    // Only the one in the middle lags.
    let mut pty = top(&name, &["--sort", "label"], 24, 80);
    let order = |screen: &str| -> Vec<u32> {
        let first = |line: &str| line.split_whitespace().next().and_then(|word| word.parse().ok());
        screen.lines().filter_map(first).filter(|pid| pids.contains(pid)).collect()
    };
    pty.shows("by label", |screen| order(screen) == [pids[1], pids[2], pids[0]]);
    pty.type_in("r");
    pty.shows("by label, reversed", |screen| order(screen) == [pids[0], pids[2], pids[1]]);
    pty.type_in("r");
    // Label, age, lag.
    pty.type_in("ss");
    pty.shows("by lag", |screen| screen.contains("sort: lag") && order(screen)[0] == pids[1]);
    pty.type_in("SSSS");
    pty.shows("by seat", |screen| screen.contains("sort: seat") && order(screen) == pids);
    pty.type_in("q");
    assert!(pty.ends().success());
    let once = seqcast(&["top", &name, "--once", "--interval", "1ms", "--sort", "lag", "--format", "json"]).expect(0);
    assert_eq!(once.json()["workers"][0]["pid"], pids[1]);
}

#[test]
fn top_looks_no_sooner_than_asked_and_answers_keys_meanwhile() {
    let (name, _bus) = Name::segment("top-interval");
    let mut pty = Pty::run(command(&["top", &name, "--interval", "1h"]), 24, 80);
    pty.shows("its screen", |screen| screen.contains("sort: seat"));
    pty.type_in("r");
    pty.shows("the other order", |screen| screen.contains("sort: seat reversed"));
    // A second measurement would be in the history.
    assert!(pty.lines()[1].trim_end().ends_with("claims 0  events/s"), "{}", pty.text());
    pty.type_in("q");
    assert!(pty.ends().success());
}

#[test]
fn top_leaves_the_terminal_as_it_was() {
    let (name, _bus) = Name::segment("top-quit");
    for leave in ["q", "\x1b", "\x03", "SIGTERM", "SIGHUP"] {
        let mut pty = top(&name, &[], 24, 80);
        pty.shows("its screen", |screen| screen.contains("0 of 8 seats"));
        eventually("the terminal is taken over", || pty.is_alternate() && !pty.is_cooked() && pty.hides_cursor());
        match leave {
            "SIGTERM" => pty.signal(libc::SIGTERM),
            "SIGHUP" => pty.signal(libc::SIGHUP),
            keys => pty.type_in(keys),
        }
        assert_eq!(pty.ends().code(), Some(0), "after {leave:?}");
        pty.shows("an empty screen", |screen| screen.trim().is_empty());
        eventually(&format!("the terminal is restored after {leave:?}"), || {
            !pty.is_alternate() && pty.is_cooked() && !pty.hides_cursor()
        });
    }
}

#[test]
fn a_segment_cut_off_under_top_gives_the_terminal_back_and_a_reason() {
    let (name, bus) = Name::segment("top-cut");
    drop(bus);
    let mut pty = top(&name, &[], 24, 80);
    pty.shows("its screen", |screen| screen.contains("0 of 8 seats"));
    std::fs::OpenOptions::new().write(true).open(name.path()).unwrap().set_len(0).unwrap();
    assert_eq!(pty.ends().code(), Some(3));
    pty.shows("why", |screen| screen.contains("a process truncated the segment's file"));
    assert!(!pty.is_alternate() && pty.is_cooked() && !pty.hides_cursor());
}

#[test]
fn top_follows_a_segment_that_is_created_again() {
    let (name, bus) = Name::segment("top-again");
    let mut pty = top(&name, &[], 24, 80);
    pty.shows("the old one", |screen| screen.contains("0 of 8 seats"));
    bus.unlink().unwrap();
    pty.shows("REMOVED", |screen| screen.contains("REMOVED"));
    let _bus = crate::support::small().seats(5).create(&name).unwrap();
    pty.shows("the new one", |screen| screen.contains("0 of 5 seats") && !screen.contains("REMOVED"));
    pty.type_in("q");
    assert!(pty.ends().success());
}

#[test]
fn top_works_on_narrow_and_wide_terminals() {
    let (name, _bus) = Name::segment("top-sizes");
    let worker = WorkerProcess::join(&name, "a label of some length for once");
    for (rows, columns) in [(24, 200), (24, 40), (3, 80), (1, 1)] {
        let mut pty = top(&name, &[], rows, columns);
        if columns >= 40 && rows > 3 {
            pty.shows("the worker", |screen| row(screen, worker.pid()).is_some());
        }
        if columns == 200 {
            assert!(pty.text().contains("a label of some length for once"), "{}", pty.text());
        }
        // On a screen that is too small for anything, it still quits.
        pty.type_in("q");
        assert_eq!(pty.ends().code(), Some(0), "{columns} x {rows}");
    }
}

#[test]
fn colours_are_for_terminals_without_no_color() {
    let (name, _bus) = Name::segment("colours");
    let mut worker = WorkerProcess::join(&name, "web");
    // With nothing to read it is not slow, however long this takes.
    worker.told("poll");
    let is_coloured =
        |text: &str| ["\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[38;5;"].iter().any(|code| text.contains(code));
    let once = ["top", &name, "--once", "--interval", "1ms"];
    for (arguments, live) in [(&once[..], false), (&["top", &name, "--interval", "50ms"], true)] {
        for (forbid, coloured) in [(None, true), (Some(("NO_COLOR", "1")), false), (Some(("NO_COLOR", "")), true)] {
            let mut command = command(arguments);
            command.envs(forbid);
            let mut pty = Pty::run(command, 24, 80);
            pty.shows("the worker", |screen| screen.contains(" ok "));
            if live {
                pty.type_in("q");
            }
            assert!(pty.ends().success());
            assert_eq!(is_coloured(&pty.raw()), coloured, "{arguments:?} with {forbid:?}: {:?}", pty.raw());
        }
    }
    assert!(!is_coloured(&seqcast(&once).expect(0).stdout), "coloured into a pipe");
}

#[test]
fn top_once_is_for_scripts() {
    let (name, _bus) = Name::segment("top-once");
    let mut worker = WorkerProcess::join(&name, "web");
    worker.told("posts 5");
    let text = seqcast(&["top", &name, "--once", "--interval", "10ms"]).expect(0).stdout;
    // It is behind, and slow when it has been silent for five seconds.
    let states = ["ok", "slow"];
    let shows_state = |row: &str| states.iter().any(|state| row.contains(&format!(" {state} ")));
    assert!(row(&text, worker.pid()).is_some_and(shows_state), "{text}");
    let once = seqcast(&["top", &name, "--once", "--interval", "10ms", "--format", "json"]).expect(0).json();
    assert_eq!((&once["name"], &once["next_id"]), (&json!(*name), &json!(6)));
    let row = &once["workers"][0];
    assert_eq!((&row["pid"], &row["label"], &row["lag"]), (&json!(worker.pid()), &json!("web"), &json!(6)));
    assert!(states.contains(&row["state"].as_str().unwrap()), "{row}");
    assert_eq!((&row["last_poll_seconds"], &row["cursor"]), (&Value::Null, &json!(0)));
}

#[test]
fn top_shows_help_details_and_a_part_by_keys() {
    let (name, _bus) = Name::segment("top-keys");
    let workers = ["web", "mailer"].map(|label| WorkerProcess::join(&name, label));
    let mut pty = top(&name, &[], 24, 80);
    let is_shown = |screen: &str, i: usize| row(screen, workers[i].pid()).is_some();
    pty.shows("both", |screen| is_shown(screen, 0) && is_shown(screen, 1));
    pty.type_in("?");
    pty.shows("help", |screen| screen.contains("details of the selected worker") && !is_shown(screen, 0));
    pty.type_in("x");
    pty.shows("both workers again", |screen| is_shown(screen, 0) && is_shown(screen, 1));
    pty.type_in("/mail");
    pty.shows("one worker", |screen| {
        screen.contains("filter: mail_  1 of 2") && !is_shown(screen, 0) && is_shown(screen, 1)
    });
    pty.type_in("\r\r");
    pty.shows("details of the worker", |screen| screen.contains("worker mailer") && screen.contains("handlers failed"));
    pty.type_in("q");
    assert!(pty.ends().success());
}

#[test]
fn top_finds_the_segment_of_a_process() {
    let (name, _bus) = Name::segment("top-pid");
    let (web, mailer) = (WorkerProcess::join(&name, "web"), WorkerProcess::join(&name, "mailer"));
    let pid = web.pid().to_string();
    let of = |arguments: &[&str]| {
        let end = ["--once", "--interval", "1ms", "--format", "json"];
        seqcast(&[&["top"], arguments, &end].concat())
    };
    for arguments in [&["--pid", &pid][..], &[&name, "--pid", &pid]] {
        let once = of(arguments).expect(0).json();
        assert_eq!(once["name"], *name);
        let [row] = once["workers"].as_array().unwrap().as_slice() else { panic!("{once}") };
        assert_eq!((&row["pid"], &row["label"]), (&json!(web.pid()), &json!("web")));
    }
    assert_eq!(of(&[&name]).expect(0).json()["workers"].as_array().unwrap().len(), 2);
    // A process without a segment, and a process that does not exist.
    let own = of(&["--pid", "1"]);
    assert!(own.code != 0 && !own.stderr.is_empty(), "{own:?}");
    assert_ne!(of(&["--pid", "4194304"]).code, 0);
    drop(mailer);
}

#[test]
fn a_wrong_name_is_answered_with_those_there_are() {
    let (name, _bus) = Name::segment("top-there");
    let nothing = Name::new("top-nothing");
    for arguments in [&["top", &*nothing, "--once"][..], &["inspect", &nothing], &["tail", &nothing]] {
        let run = seqcast_on_all(arguments).expect(3);
        assert!(run.stderr.starts_with(&format!("seqcast: no segment {}; there are ", &*nothing)), "{run:?}");
        assert!(run.stderr.contains(&*name) || run.stderr.contains(" more"), "{run:?}");
    }
}
