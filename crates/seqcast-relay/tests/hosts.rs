//! Hosts with relays over a real server: faults one by one, and the oracle.

mod common;

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use common::host::{Host, Poster, eventually, undisturbed};
use common::oracle::{Kind, Loss, Seen, Twice, cause};
use common::run::{judge, post_gently, post_while};
use common::server::Server;
use seqcast::inspect::RelayPresence;
use seqcast::{Event, MissedReason, SegmentOptions, Start, WorkerOptions};
use seqcast_relay::engine::{Appended, Engine, Outgoing, Registration};

fn relay(name: &str, url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seqcast-relay"));
    command.args([name, "--redis", url, "--stream", "test", "--source", "cache"]);
    command
}

fn options(capacity: u64) -> SegmentOptions {
    SegmentOptions::new().capacity(capacity).claims(4096).seats(16)
}

fn hosts(server: &Server, count: usize, capacity: u64) -> Vec<Host> {
    hosts_with(server, count, &options(capacity))
}

fn hosts_with(server: &Server, count: usize, options: &SegmentOptions) -> Vec<Host> {
    let new = |_| Host::new(relay, server.folder.path(), &server.socket(), options);
    let mut hosts: Vec<Host> = (0..count).map(new).collect();
    hosts.iter_mut().for_each(Host::start_relay);
    hosts.iter().for_each(Host::wait_for_relay);
    hosts
}

fn sleep(millis: u64) {
    thread::sleep(Duration::from_millis(millis));
}

/// Waits until each host has read something of the server's present timeline. If the server forgets it then, each is
/// told.
fn wait_for_timeline(hosts: &[Host], server: &Server) {
    eventually("the timeline is read", || {
        let present: Option<u64> = server.ask("HGET {test}:m g");
        let reads =
            |host: &Host| host.relay_state().position.is_some_and(|at| Some(at.timeline) == present && at.n > 0);
        present.is_some() && hosts.iter().all(reads)
    });
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r1_r2_r3_r4_all_hosts_get_everything_once_and_in_order() {
    let server = Server::start();
    let mut hosts = hosts(&server, 3, 8192);
    let posted = post_gently(&mut hosts, 500, |_| sleep(2000));
    let verdict = judge(&mut hosts, &posted);
    let unique: u64 = posted.counts.iter().filter(|((_, kind), _)| *kind == Kind::Unique).map(|(_, n)| n).sum();
    assert!(verdict.is_clean() && verdict.told == 0 && verdict.unique_twice == 0, "{verdict:?}");
    let keys = posted.counts.iter().filter(|((_, kind), _)| *kind == Kind::Unique).map(|(_, n)| *n).max().unwrap();
    assert_eq!(verdict.delivered, 3 * (posted.events() - unique) + keys, "{posted:?}");
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r4_r9_relays_that_are_killed_lose_and_double_nothing() {
    let server = Server::start();
    let mut hosts = hosts(&server, 2, 16384);
    let posted = post_gently(&mut hosts, 1000, |hosts| {
        for turn in 0..30 {
            sleep(fastrand::u64(20..120));
            let host = &mut hosts[turn % 2];
            host.kill_relay();
            host.start_relay();
        }
    });
    let verdict = judge(&mut hosts, &posted);
    assert!(verdict.is_clean() && verdict.told == 0 && verdict.unique_twice == 0, "{verdict:?}\n{}", hosts[0].said());
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r6_a_server_that_is_wiped_is_noticed_and_filled_again_by_the_origins() {
    let server = Server::start();
    let mut hosts = hosts(&server, 2, 16384);
    let breaks = |host: &Host| {
        host.reader.with(|seen| {
            let is_break = |seen: &&Seen| matches!(seen, Seen::Missed(missed) if missed.count.is_none());
            seen.iter().filter(is_break).count()
        })
    };
    let posted = post_gently(&mut hosts, 500, |hosts| {
        for command in ["FLUSHALL", "DEL {test}:s", "DEL {test}:m", "FLUSHALL"] {
            sleep(700);
            wait_for_timeline(hosts, &server);
            let before: Vec<usize> = hosts.iter().map(breaks).collect();
            server.run_command(command);
            eventually("the break is told on both", || {
                hosts.iter().zip(&before).all(|(host, before)| breaks(host) > *before)
            });
        }
        sleep(700);
    });
    let verdict = judge(&mut hosts, &posted);
    assert!(verdict.is_clean() && verdict.told == 0, "{verdict:?}\n{}", hosts[0].said());
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r6_a_host_to_which_nothing_comes_notices_a_wipe_by_the_end_of_the_stream() {
    let server = Server::start();
    let mut hosts = hosts(&server, 2, 1024);
    let mut poster = Poster::new(&hosts[0].bus, 0);
    (0..5).for_each(|_| poster.post(Kind::Ordered, 0));
    eventually("all are there", || hosts[1].reader.len() == 5);
    // Nobody fills the stream again.
    hosts[0].kill_relay();
    server.run_command("FLUSHALL");
    eventually("the break is told", || hosts[1].reader.len() == 6);
    hosts[1].reader.with(|seen| match seen[5] {
        Seen::Missed(missed) => assert_eq!((missed.count, missed.reason), (None, MissedReason::EngineLost)),
        Seen::Event { .. } => panic!("an event came"),
    });
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r4_r5_a_server_that_is_killed_and_keeps_its_file_loses_nothing() {
    // With everysec, the server answers before it writes, as long as an earlier fsync takes.
    let mut server = Server::start_with(&["--appendonly", "yes", "--appendfsync", "no"]);
    let mut hosts = hosts(&server, 2, 16384);
    let posted = post_gently(&mut hosts, 500, |_| {
        for _ in 0..4 {
            sleep(500);
            server.kill();
            sleep(100);
            server.run();
        }
        sleep(500);
    });
    let verdict = judge(&mut hosts, &posted);
    assert!(verdict.is_clean() && verdict.told == 0 && verdict.unique_twice == 0, "{verdict:?}\n{}", hosts[0].said());
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r5_overload_of_a_ring_of_64_is_told_on_all_hosts() {
    let server = Server::start();
    let mut hosts = hosts(&server, 2, 64);
    let posted = post_while(&mut hosts, 20_000, |hosts| {
        sleep(500);
        hosts[0].signal_relay(libc::SIGSTOP);
        let stopped_at = hosts[0].bus.next_id();
        eventually("the ring is overwritten", || hosts[0].bus.next_id() > stopped_at + 64 * 10);
        hosts[0].signal_relay(libc::SIGCONT);
        sleep(700);
    });
    let verdict = judge(&mut hosts, &posted);
    assert!(verdict.is_clean() && verdict.told > 0, "{verdict:?}\n{}", hosts[0].said());
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r2_of_two_hosts_that_set_one_value_the_last_writer_wins_on_both() {
    let server = Server::start();
    let mut hosts = hosts(&server, 2, 8192);
    let mut posters: Vec<Poster> =
        hosts.iter().enumerate().map(|(sender, host)| Poster::new(&host.bus, sender as u32)).collect();
    for round in 0..200 {
        posters.iter_mut().for_each(|poster| poster.post(Kind::Ordered, 0));
        let have = 2 * (round + 1);
        eventually("both hosts have both values", || hosts.iter().all(|host| host.reader.len() >= have));
        let last: Vec<_> = hosts
            .iter()
            .map(|host| {
                host.reader.with(|seen| match seen[have - 1] {
                    Seen::Event { sequence, number, place, .. } => (sequence, number, place),
                    Seen::Missed(missed) => panic!("{missed:?}"),
                })
            })
            .collect();
        assert_eq!(last[0], last[1], "round {round}");
    }
    hosts.iter_mut().for_each(|host| assert_eq!(host.stop_relay(), Some(0)));
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r6_a_fork_that_has_outgrown_its_reader_is_a_break() {
    let server = Server::start_with(&["--port", "0"]);
    let mut hosts = hosts(&server, 2, 8192);
    let mut poster = Poster::new(&hosts[0].bus, 0);
    for count in 1..=10 {
        // Each in an entry of its own.
        poster.post(Kind::Ordered, 0);
        eventually("it is there", || hosts.iter().all(|host| host.reader.len() == count));
    }
    // The reader of the second host does not see how the server loses five entries, and others take their place.
    hosts[1].kill_relay();
    hosts[0].kill_relay();
    let (stream, meta, origins) = ("{test}:s", "{test}:m", "{test}:o");
    let ids: Vec<(String, Vec<Vec<u8>>)> = server.ask(&format!("XRANGE {stream} - +"));
    let kept = ids.len() / 2;
    let timeline = ids[0].0.split_once('-').unwrap().0.to_owned();
    server.run_command(&format!("DEL {stream} {meta} {origins}"));
    for (id, fields) in &ids[..kept] {
        let mut command = redis::cmd("XADD");
        command.arg(stream).arg(id).arg(fields);
        let _: String = command.query(&mut server.connection()).unwrap();
    }
    let fields = &ids[kept - 1].1;
    let field = |name: &str| {
        let at = fields.iter().position(|field| field == name.as_bytes()).unwrap() + 1;
        String::from_utf8(fields[at].clone()).unwrap()
    };
    let n = field("n").parse::<u64>().unwrap() + field("k")[32..].parse::<u64>().unwrap();
    server.run_command(&format!("HSET {meta} g {timeline} c {} n {n}", field("c")));
    // Another origin makes the new history longer than the one that was read.
    let mut third = Host::new(relay, server.folder.path(), &server.socket(), &options(8192));
    third.start_relay();
    third.wait_for_relay();
    let mut other = Poster::new(&third.bus, 2);
    let longer = ids.len() - kept + 20;
    for count in 1..=longer {
        other.post(Kind::Ordered, 0);
        eventually("it is appended", || third.reader.len() == count);
    }
    hosts[1].start_relay();
    eventually("the second host has the new events", || {
        hosts[1].reader.with(|seen| {
            let new = |seen: &&Seen| matches!(seen, Seen::Event { sequence: (2, _), .. });
            seen.iter().filter(new).count() == longer
        })
    });
    let first_new = |seen: &[Seen]| {
        let report = seen.iter().position(|seen| matches!(seen, Seen::Missed(missed) if missed.count.is_none()));
        (report, seen.iter().position(|seen| matches!(seen, Seen::Event { sequence: (2, _), .. })))
    };
    let (report, event) = hosts[1].reader.with(first_new);
    assert!(report.is_some() && report < event, "{report:?} {event:?}\n{}", hosts[1].said());
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r5_a_host_that_was_away_for_long_is_told_how_many_events_it_missed() {
    let server = Server::start();
    let mut hosts = hosts(&server, 2, 1024);
    let mut poster = Poster::new(&hosts[0].bus, 0);
    poster.post(Kind::Spread, 0);
    eventually("the first is there", || hosts[1].reader.len() == 1);
    let inspector = seqcast::inspect::Inspector::open(hosts[1].bus.name()).unwrap();
    let read_to = |n| inspector.relay().unwrap().position.is_some_and(|position| position.n == n);
    eventually("its entry is handled", || read_to(1));
    hosts[1].kill_relay();
    for count in 2..=801 {
        poster.post(Kind::Spread, 0);
        eventually("it is sent", || count % 100 != 1 || server.ask::<Option<u64>>("HGET {test}:m n") == Some(count));
    }
    hosts[1].start_relay();
    // The end of the stream, to which it goes, is taken after the report.
    eventually("the report is there", || hosts[1].reader.len() == 2 && read_to(801));
    hosts[1].reader.with(|seen| match seen[1] {
        Seen::Missed(missed) => assert_eq!((missed.count, missed.reason), (Some(800), MissedReason::CatchUp)),
        Seen::Event { .. } => panic!("it was replayed"),
    });
    poster.post(Kind::Spread, 0);
    eventually("the next is there", || hosts[1].reader.len() == 3 && read_to(802));
    // A stream that was trimmed while it was away is told exactly, too.
    hosts[1].kill_relay();
    for _ in 0..50 {
        poster.post(Kind::Spread, 0);
    }
    eventually("they are sent", || server.ask::<Option<u64>>("HGET {test}:m n") == Some(852));
    server.run_command("XTRIM {test}:s MAXLEN 0");
    poster.post(Kind::Spread, 0);
    hosts[1].start_relay();
    eventually("the next is there", || hosts[1].reader.len() == 5);
    hosts[1].reader.with(|seen| match seen[3] {
        Seen::Missed(missed) => assert_eq!((missed.count, missed.reason), (Some(50), MissedReason::Trimmed)),
        Seen::Event { .. } => panic!("nothing was told"),
    });
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r5_a_burst_that_fits_the_ring_laps_no_slow_worker() {
    let slow = Duration::from_micros(500);
    undisturbed(|| {
        let server = Server::start();
        let mut hosts = [
            Host::new(relay, server.folder.path(), &server.socket(), &options(8192)),
            Host::with_slow_reader(relay, server.folder.path(), &server.socket(), &options(512), slow)
                .with_arguments(&["--catch-up", "100000"]),
        ];
        hosts.iter_mut().for_each(Host::start_relay);
        hosts.iter().for_each(Host::wait_for_relay);
        hosts[1].kill_relay();
        let mut poster = Poster::new(&hosts[0].bus, 0);
        for count in 1..=3000 {
            poster.post(Kind::Spread, 0);
            eventually("it is sent", || count % 500 > 0 || server.ask::<Option<u64>>("HGET {test}:m n") == Some(count));
        }
        hosts[1].start_relay();
        // The relay waits a second for a worker that gets no processor. Then any may be overwritten, also the last one.
        let is_given_up = || hosts[1].said().contains("a worker of this host is far behind");
        let is_last = |seen: &Seen| matches!(seen, Seen::Event { number: 2999, .. });
        let has_last = || hosts[1].reader.with(|seen| seen.iter().rev().any(is_last));
        eventually("the last one is there", || has_last() || is_given_up());
        let has_all = |seen: &[Seen]| seen.len() == 3000 && seen.iter().all(|seen| matches!(seen, Seen::Event { .. }));
        let has_all = hosts[1].reader.with(has_all);
        (!is_given_up()).then(|| assert!(has_all, "some were missed"))
    });
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r5_a_worker_that_must_read_gets_everything_that_comes_from_other_hosts() {
    undisturbed(|| {
        let server = Server::start();
        // After this time it is cut off.
        let patience = Duration::from_secs(600);
        let hosts = hosts_with(&server, 2, &options(512).most_patience(patience));
        let options = WorkerOptions::new().must_read(patience).announce(false).wait_max(Duration::from_millis(50));
        let worker = hosts[1].bus.join_with(&options).unwrap();
        let mut poster = Poster::new(&hosts[0].bus, 0);
        let mut numbers = Vec::new();
        let mut poll = || {
            worker.poll_with(|event| numbers.push(common::oracle::read(event.bytes()).1)).unwrap();
            numbers.len()
        };
        for round in 1..=20 {
            (0..100).for_each(|_| poster.post(Kind::Spread, 0));
            eventually("they are sent", || server.ask::<Option<u64>>("HGET {test}:m n") == Some(round * 100));
            if round % 10 == 0 {
                // The ring is full of what the worker has not read.
                sleep(100);
                poll();
            }
        }
        // The relay waits five seconds for a place in the ring.
        let is_told = |seen: &Seen| matches!(seen, Seen::Missed(missed) if missed.reason == MissedReason::CatchUp);
        let is_given_up = || hosts[1].reader.with(|seen| seen.iter().any(is_told));
        eventually("all are there", || poll() == 2000 || is_given_up());
        (!is_given_up()).then(|| assert!(numbers.iter().copied().eq(0..2000)))
    });
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r7_a_host_works_while_the_server_hangs_and_everything_arrives_afterwards() {
    let server = Server::start();
    let mut hosts = hosts(&server, 2, 16384);
    server.signal(libc::SIGSTOP);
    let mut poster = Poster::new(&hosts[0].bus, 0);
    for count in 1..=1000 {
        poster.post(Kind::Spread, 0);
        eventually("it is delivered at home", || hosts[0].reader.len() == count);
    }
    assert_eq!(hosts[1].reader.len(), 0);
    server.signal(libc::SIGCONT);
    eventually("it is delivered elsewhere", || hosts[1].reader.len() == 1000);
    hosts[1].reader.with(|seen| assert!(seen.iter().all(|seen| matches!(seen, Seen::Event { .. }))));
    hosts.iter_mut().for_each(|host| assert_eq!(host.stop_relay(), Some(0)));
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r4_a_second_relay_is_refused_and_a_standby_takes_over() {
    let server = Server::start();
    let mut hosts = hosts(&server, 2, 1024);
    let refused = hosts[0].command().output().unwrap();
    assert_eq!(refused.status.code(), Some(3));
    let mut standby = hosts[0].command().arg("--standby").spawn().unwrap();
    eventually("it stands by", || hosts[0].said().contains("standby"));
    let before = hosts[0].relay_pid();
    hosts[0].kill_relay();
    let inspector = seqcast::inspect::Inspector::open(hosts[0].bus.name()).unwrap();
    eventually("it took over", || {
        let state = inspector.relay().unwrap();
        state.pid != before as u32 && state.presence == RelayPresence::Here
    });
    let mut poster = Poster::new(&hosts[0].bus, 0);
    poster.post(Kind::Spread, 0);
    eventually("it carries on", || hosts[1].reader.len() == 1);
    standby.kill().unwrap();
    standby.wait().unwrap();
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r4_a_relay_of_a_cloned_segment_is_fenced_off() {
    let server = Server::start();
    let mut hosts = hosts(&server, 1, 1024);
    let redis = server.redis();
    // What the relay of a clone would do: it registers for the same origin.
    let who = Registration { origin: hosts[0].bus.origin().bits(), session: 1, host: "clone".into(), format: 1 };
    let mut code = None;
    eventually("it has ended", || {
        // A relay that connects again registers again.
        let _clone = redis.up(&who, 0);
        sleep(1500);
        code = hosts[0].relay_code();
        code.is_some()
    });
    assert_eq!(code, Some(4));
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn a_stopping_relay_sends_what_it_has_read() {
    let server = Server::start();
    let mut hosts = hosts(&server, 1, 16384);
    let mut poster = Poster::new(&hosts[0].bus, 0);
    let mut posted = 0;
    let (kept, next) = undisturbed(|| {
        (0..2000).for_each(|_| poster.post(Kind::Spread, 0));
        posted += 2000;
        assert_eq!(hosts[0].stop_relay(), Some(0));
        let record: String = server.ask(&format!("HGET {{test}}:o {}", hosts[0].bus.origin()));
        let (kept, said) = (hosts[0].relay_state().sent.unwrap(), hosts[0].said());
        let next = record.split(' ').nth(1).unwrap().to_owned();
        // What it had not read is still sent by its successor.
        hosts[0].start_relay();
        eventually("all are sent", || server.ask::<Option<u64>>("HGET {test}:m n") == Some(posted));
        // It gives a server up that does not answer for 2.5 seconds.
        (!said.contains("no connection to send")).then_some((kept, next))
    });
    assert_eq!(next, format!("{kept:016x}"), "the acknowledgement was not kept");
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn what_is_retained_by_a_cluster_post_is_retained_on_all_hosts_until_it_is_cleared() {
    let server = Server::start();
    let hosts = hosts(&server, 2, 1024);
    let mut publisher = hosts[0].bus.publisher().unwrap();
    let late = |host: &Host| {
        let worker = host.bus.join_with(&WorkerOptions::new().start(Start::Retained).announce(false)).unwrap();
        let mut values = Vec::new();
        let note = |event: &Event<'_>| {
            if event.source() == "state" {
                values.push((event.retained_key().map(<[u8]>::to_vec), event.bytes().to_vec()));
            }
        };
        worker.poll_with(note).unwrap();
        values
    };
    publisher.event(("state", "changed")).cluster().retain_key("17").post("up").unwrap();
    publisher.event(("state", "changed")).cluster().retain_key("17").post("down").unwrap();
    let kept = [(Some(b"17".to_vec()), b"down".to_vec())];
    for host in &hosts {
        eventually("it is retained", || late(host) == kept);
    }
    publisher.event(("state", "changed")).cluster().retain_key("17").clear().unwrap();
    for host in &hosts {
        eventually("it is cleared", || late(host).is_empty());
    }
    // A local one of a chosen source stays at home, because two hosts could end with each other's value.
    publisher.event(("state", "changed")).retain_key("18").post("up").unwrap();
    publisher.event(("state", "changed")).cluster().retain_key("19").post("up").unwrap();
    eventually("the second is there", || late(&hosts[1]) == [(Some(b"19".to_vec()), b"up".to_vec())]);
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r9_a_relay_that_is_killed_before_it_has_reached_the_server_has_a_successor_that_sends_what_was_posted() {
    let server = Server::start();
    let new = || Host::new(relay, server.folder.path(), &server.socket(), &options(8192));
    let mut host = new();
    Poster::new(&host.bus, 7).post(Kind::Spread, 0);
    host.proxy.refuse(true);
    let mut poster = Poster::new(&host.bus, 0);
    for count in 1..=2 {
        host.start_relay();
        let mut probe = host.bus.publisher().unwrap();
        eventually("requests are accepted", || {
            host.relay_state().presence == RelayPresence::Here
                && probe.event(("probe", "sent")).cluster().post("").is_ok()
        });
        for _ in 0..3 {
            poster.post(Kind::Ordered, 0);
            poster.post(Kind::Spread, 0);
        }
        host.kill_relay();
        assert_eq!(host.relay_state().sent, None, "relay {count} has not reached the server");
    }
    host.proxy.refuse(false);
    let mut other = new();
    other.start_relay();
    other.wait_for_relay();
    host.start_relay();
    eventually("all that was posted since the first relay is there", || other.reader.len() == 12);
    other.reader.with(|seen| {
        let is_of_the_poster = |seen: &Seen| matches!(seen, Seen::Event { sequence: (0, _), .. });
        assert!(seen.iter().all(is_of_the_poster), "what was posted before the first relay does not travel: {seen:?}");
    });
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r5_an_event_that_is_too_large_is_told_and_the_next_one_arrives() {
    let server = Server::start();
    let hosts = hosts(&server, 2, 8192);
    let mut poster = Poster::new(&hosts[0].bus, 0);
    poster.post(Kind::Ordered, 60 << 10);
    poster.post(Kind::Ordered, 70 << 10);
    poster.post(Kind::Ordered, 0);
    for host in &hosts {
        eventually("all is there", || host.reader.len() == 3);
        host.reader.with(|seen| match seen {
            [Seen::Event { number: 0, .. }, Seen::Missed(missed), Seen::Event { number: 2, .. }] => {
                assert_eq!((missed.count, missed.reason), (Some(1), MissedReason::TooLarge));
            }
            other => panic!("{other:?}"),
        });
    }
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r10_what_is_no_batch_is_refused_and_told() {
    let server = Server::start();
    let hosts = hosts(&server, 1, 1024);
    let mut poster = Poster::new(&hosts[0].bus, 0);
    poster.post(Kind::Ordered, 0);
    eventually("it is there", || hosts[0].reader.len() == 1);
    // Another program's entry, and a relay that writes a later version. The relay sees the former only with what comes
    // behind it: as the end of the stream for a second, it would be a past that has changed.
    let ids: Vec<(String, Vec<Vec<u8>>)> = server.ask("XRANGE {test}:s - +");
    let timeline = ids[0].0.split_once('-').unwrap().0;
    let redis = server.redis();
    let who = Registration { origin: 99, session: 1, host: "later".into(), format: 2 };
    let (mut up, _) = redis.up(&who, 0).unwrap();
    hosts[0].signal_relay(libc::SIGSTOP);
    server.run_command(&format!("XADD {{test}}:s {timeline}-* some thing"));
    up.send(&Outgoing { from: 0, next: 5, count: 3, body: b"\x02later", claim: None, retains: None }).unwrap();
    assert_eq!(up.receive().unwrap(), Appended::Ok);
    hosts[0].signal_relay(libc::SIGCONT);
    eventually("both are told", || hosts[0].reader.len() == 3);
    poster.post(Kind::Ordered, 0);
    eventually("the next is there", || hosts[0].reader.len() == 4);
    hosts[0].reader.with(|seen| match seen[1..3] {
        [Seen::Missed(first), Seen::Missed(second)] => {
            assert_eq!((first.count, first.origin, first.reason), (None, None, MissedReason::Format));
            let origin = Some(seqcast::Origin::from_bits(99));
            assert_eq!((second.count, second.origin, second.reason), (Some(3), origin, MissedReason::Format));
        }
        _ => panic!("{seen:?}"),
    });
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn the_memory_of_the_stream_is_bounded_also_while_much_is_sent() {
    let server = Server::start();
    let new = Host::new(relay, server.folder.path(), &server.socket(), &options(16384));
    let mut host = new.with_arguments(&["--stream-bytes", "1M"]);
    host.start_relay();
    host.wait_for_relay();
    let inspector = seqcast::inspect::Inspector::open(host.bus.name()).unwrap();
    let mut poster = Poster::new(&host.bus, 0);
    let mut most = 0;
    // 24 MiB, far within the time after which a relay looks at the stream in any case.
    for _ in 0..60 {
        (0..50).for_each(|_| poster.post(Kind::Spread, 8192));
        eventually("everything is sent", || inspector.relay().unwrap().backlog == Some(0));
        most = most.max(server.ask::<u64>("MEMORY USAGE {test}:s SAMPLES 0"));
    }
    assert!((512 << 10..2 << 20).contains(&most), "the stream took {most} bytes");
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r6_a_stream_of_several_timelines_is_one_break_for_each() {
    let server = Server::start();
    let mut hosts = hosts(&server, 2, 16384);
    let breaks = |host: &Host| host.said().matches("the server has forgotten").count();
    let posted = post_gently(&mut hosts, 500, |hosts| {
        for round in 1..=3 {
            sleep(700);
            wait_for_timeline(hosts, &server);
            // The stream stays.
            server.run_command("DEL {test}:m");
            eventually("the break is told on both", || breaks(&hosts[0]) >= 2 * round);
        }
        sleep(700);
    });
    let verdict = judge(&mut hosts, &posted);
    assert!(verdict.is_clean() && verdict.told == 0 && verdict.unique_twice == 0, "{verdict:?}\n{}", hosts[0].said());
    assert_eq!(breaks(&hosts[0]), 2 * 3, "{}", hosts[0].said());
}

#[test]
fn a_unique_event_that_ran_twice_is_due_to_a_loss_between_its_post_and_its_last_run() {
    let zero = Instant::now();
    let at = |seconds| zero + Duration::from_secs(seconds);
    let losses = [(10, 12), (20, 22)].map(|(begin, end)| Loss { name: "wiped", begin: at(begin), end: at(end) });
    for (posted, last, expected) in [
        (5, 9, None),
        (5, 11, Some(0)),
        (12, 13, Some(0)),
        (13, 19, None),
        (13, 20, Some(1)),
        (5, 30, Some(1)),
        (23, 30, None),
    ] {
        let twice = Twice { number: 0, last: at(last) };
        assert_eq!(cause(&twice, at(posted), &losses), expected, "posted at {posted}, ran last at {last}");
    }
}
