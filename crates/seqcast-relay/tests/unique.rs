//! Unique events while the server cannot be reached, and whose claims have to be replicated.

mod common;

use std::process::Command;
use std::time::Duration;

use common::host::{Host, eventually};
use common::oracle::{self, Kind, Seen};
use common::server::Server;
use seqcast::{MissedReason, SegmentOptions};

fn relay(name: &str, url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seqcast-relay"));
    command.args([name, "--redis", url, "--stream", "test"]);
    command
}

fn host(server: &Server, more: &[&str]) -> Host {
    let options = SegmentOptions::new().capacity(1024).claims(256).seats(16);
    let mut host = Host::new(relay, server.folder.path(), &server.socket(), &options).with_arguments(more);
    host.start_relay();
    host.wait_for_relay();
    host
}

fn post(host: &Host, key: &str, number: u64) {
    let mut publisher = host.bus.publisher().unwrap();
    let event = publisher.event((common::host::SOURCE, "mail")).cluster().unique(key).ttl(Duration::from_secs(600));
    event.post(oracle::payload((0, Kind::Unique), number, 0)).unwrap();
}

/// The numbers of the events that have run, and the reasons of reports.
fn log(host: &Host) -> (Vec<u64>, Vec<MissedReason>) {
    host.reader.with(|seen| {
        let (mut numbers, mut reasons) = (Vec::new(), Vec::new());
        for seen in seen {
            match seen {
                Seen::Event { number, .. } => numbers.push(*number),
                Seen::Missed(missed) => reasons.push(missed.reason),
            }
        }
        (numbers, reasons)
    })
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r8_a_unique_event_that_is_not_decided_in_its_ttl_is_told() {
    let server = Server::start();
    let host = host(&server, &[]);
    let mut worker = host.bus.publisher().unwrap();
    // It may run if the relay reads it so late that its ttl has not ended when the link is there again.
    for (number, away) in (0..).zip([300, 1000, 3000, 10_000, 30_000]) {
        let lost = || host.said().matches("no connection to send").count();
        let before = lost();
        host.proxy.refuse(true);
        eventually("the link is down", || lost() > before);
        let key = format!("mail {number}");
        let event = worker.event((common::host::SOURCE, "mail")).cluster().unique(&key).ttl(Duration::from_millis(100));
        event.post(oracle::payload((0, Kind::Unique), number, 0)).unwrap();
        std::thread::sleep(Duration::from_millis(away));
        host.proxy.refuse(false);
        eventually("it is told or runs", || host.reader.len() as u64 > number);
        if let Seen::Missed(missed) = host.reader.with(|seen| seen[number as usize]) {
            assert_eq!((missed.count, missed.reason), (Some(1), MissedReason::Undecided));
            return;
        }
    }
    panic!("it ran");
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r8_hosts_that_may_decide_alone_do_so_only_without_the_server_and_keep_the_key_afterwards() {
    let server = Server::start();
    let local = ["--unique-offline", "local", "--unique-patience", "200"];
    let hosts = [host(&server, &local), host(&server, &local), host(&server, &[])];
    // All relays write into one log. An event that is sent before the loss of the link is noticed may be decided.
    let lost = || hosts[0].said().matches("no connection to send").count();
    let before = lost();
    hosts.iter().for_each(|host| host.proxy.refuse(true));
    eventually("the links are down", || lost() >= before + hosts.len());
    // Two of the first host, one of the others.
    post(&hosts[0], "a", 0);
    post(&hosts[0], "a", 1);
    post(&hosts[1], "a", 2);
    post(&hosts[2], "b", 3);
    eventually("each host runs one", || log(&hosts[0]).0 == [0] && log(&hosts[1]).0 == [2]);
    hosts[0].reader.with(|seen| assert!(matches!(seen[..], [Seen::Event { place: None, .. }]), "{seen:?}"));
    // What comes from the server later is not passed over, and nothing runs again.
    hosts.iter().for_each(|host| host.proxy.refuse(false));
    eventually("the third host has asked the server", || log(&hosts[2]).0 == [3]);
    eventually("both keys are taken", || server.ask::<Vec<String>>("KEYS {test}:c:*").len() == 2);
    for (number, host) in (4..).zip(&hosts) {
        post(host, "a", number);
        post(host, &format!("c {number}"), number + 10);
    }
    eventually("the next ones run", || {
        log(&hosts[0]).0 == [0, 14] && log(&hosts[1]).0 == [2, 15] && log(&hosts[2]).0 == [3, 16]
    });
    // Nothing more comes, and the server has the key of each.
    eventually("all is sent", || hosts.iter().all(|host| host.relay_state().backlog == Some(0)));
    assert_eq!(server.ask::<Vec<String>>("KEYS {test}:c:*").len(), 5);
    assert_eq!(hosts.each_ref().map(|host| log(host).0), [vec![0, 14], vec![2, 15], vec![3, 16]]);
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r8_a_unique_event_whose_claim_is_not_replicated_does_not_run_and_is_told() {
    let (server, port) = Server::start_at_port("--port", &[]);
    let host = host(&server, &["--claim-replicas", "1"]);
    post(&host, "a", 0);
    eventually("it is told", || log(&host) == (vec![], vec![MissedReason::Undecided]));
    let master = format!("127.0.0.1 {port}");
    let mut words = vec!["--replicaof"];
    words.extend(master.split(' '));
    let replica = Server::start_with(&words);
    eventually("the replica is there", || server.ask::<String>("INFO replication").contains("state=online"));
    // It is told, or it runs: an answer of the replica may take longer than 100 ms here.
    let mut number = 1;
    eventually("one runs", || {
        post(&host, &number.to_string(), number);
        number += 1;
        eventually("it runs or is told", || host.reader.len() as u64 == number);
        !log(&host).0.is_empty()
    });
    replica.signal(libc::SIGSTOP);
    let (ran, told) = log(&host);
    post(&host, "late", number);
    eventually("it is told", || log(&host) == (ran.clone(), [&told[..], &[MissedReason::Undecided]].concat()));
    replica.signal(libc::SIGCONT);
}
