//! What is measured. Rows of a table that are compared are measured alternately.

use std::time::{Duration, Instant};

use crate::bench::{Batch, Bench};
use crate::board::{Trip, now};
use crate::cpu;
use crate::crowd::{Crowd, Role};
use crate::pair::{Pair, Side};
use crate::table::{Table, digits, median, quantile, with_commas};
use crate::way::{Kind, Socket, open};

const SMALL: usize = 64;

/// Runs all rounds of all subjects, one subject after the other in each round. Subjects that cannot run have no rows.
fn alternate<S: Copy>(rounds: usize, subjects: &[S], mut run: impl FnMut(S) -> Option<Batch>) -> Vec<(S, Vec<Batch>)> {
    let mut results: Vec<(S, Vec<Batch>)> = subjects.iter().map(|subject| (*subject, Vec::new())).collect();
    for _ in 0..rounds {
        for (subject, batches) in &mut results {
            batches.extend(run(*subject));
        }
    }
    results.retain(|(_, batches)| !batches.is_empty());
    results
}

fn middle(batches: &[Batch], value: impl Fn(&Batch) -> f64) -> f64 {
    median(&mut batches.iter().map(value).collect::<Vec<_>>())
}

fn micros(batches: &[Batch], share: f64) -> f64 {
    let trips = batches.iter().flat_map(|batch| &batch.trips);
    quantile(&mut trips.map(|trip| trip.nanos() as f64 / 1000.0).collect::<Vec<_>>(), share)
}

pub fn one_way(bench: &Bench) {
    println!("### One way\n");
    println!("64 B, 500 messages per second, nothing else. To the first row: the ratio of the medians.\n");
    let time = bench.size.batch.max(Duration::from_millis(200));
    let kinds = [
        Kind::Stream,
        Kind::Spread,
        Kind::Ordered,
        Kind::Own,
        Kind::PubSub,
        Kind::PubSubTcp,
        Kind::Nats,
        Kind::JetStream,
    ];
    let results = alternate(bench.size.rounds, &kinds, |kind| bench.paced(kind, SMALL, 500, time));
    let base = micros(&results[0].1, 0.5);
    let mut table = Table::new(["way", "p50, us", "p99, us", "to the first"]);
    for (kind, batches) in &results {
        let half = micros(batches, 0.5);
        table.row([kind.name().into(), digits(half), digits(micros(batches, 0.99)), digits(half / base)]);
    }
    table.print();
}

pub fn throughput(bench: &Bench) {
    println!("### Throughput\n");
    println!(
        "As fast as it goes, with a bound on the messages under way: with 1, each waits for the one before it. CPU is \
         that of the server, and of both relays together.\n"
    );
    let mut table = Table::new([
        "size, under way",
        "way",
        "messages/s",
        "in an entry",
        "server, us each",
        "relays, us each",
        "to XADD",
    ]);
    let kinds = [Kind::Stream, Kind::Spread, Kind::Ordered, Kind::PubSub, Kind::Nats, Kind::JetStream];
    for (bytes, windows) in [(64, &[1, 16, 128, 4096][..]), (1024, &[1, 16, 128, 4096]), (16384, &[1, 16, 128])] {
        for &window in windows {
            let results = alternate(bench.size.rounds.div_ceil(2), &kinds, |kind| bench.flat_out(kind, bytes, window));
            let base = middle(&results[0].1, |batch| batch.rate);
            for (kind, batches) in &results {
                let (rate, is_relay) = (middle(batches, |batch| batch.rate), kind.is_relay());
                table.row([
                    format!("{} B, {}", with_commas(bytes as u64), with_commas(window)),
                    kind.name().into(),
                    digits(rate),
                    if is_relay { digits(middle(batches, |batch| batch.filled)) } else { String::new() },
                    digits(middle(batches, |batch| batch.engine)),
                    if is_relay { digits(middle(batches, |batch| batch.relays)) } else { String::new() },
                    digits(rate / base),
                ]);
            }
        }
    }
    table.print();
}

pub fn at_a_rate(bench: &Bench) {
    println!("### At a rate\n");
    println!("`post`, 64 B, one host to another; every millisecond its share. The last row has `appendonly yes`.\n");
    let subjects = [(100, false), (1000, false), (10_000, false), (100_000, false), (10_000, true)];
    let results = alternate(bench.size.rounds.div_ceil(2), &subjects, |(rate, keeps)| {
        let set = |on: &str| bench.server.run_command(&format!("CONFIG SET appendonly {on}"));
        if keeps {
            set("yes");
            // It writes what it has first.
            let info = || bench.server.ask::<String>("INFO persistence");
            while !info().contains("aof_rewrite_in_progress:0") || !info().contains("aof_rewrite_scheduled:0") {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let batch = bench.paced(Kind::Spread, SMALL, rate, bench.size.batch * 2);
        set("no");
        batch
    });
    let mut table = Table::new([
        "messages/s",
        "in an entry",
        "server, us each",
        "server, share of a core",
        "relays, us each",
        "p50, us",
        "p99, us",
    ]);
    for ((rate, keeps), batches) in &results {
        let engine = middle(batches, |batch| batch.engine);
        table.row([
            format!("{}{}", with_commas(*rate), if *keeps { ", kept" } else { "" }),
            digits(middle(batches, |batch| batch.filled)),
            digits(engine),
            format!("{} %", digits(engine * *rate as f64 / 1e4)),
            digits(middle(batches, |batch| batch.relays)),
            digits(micros(batches, 0.5)),
            digits(micros(batches, 0.99)),
        ]);
    }
    table.print();
}

/// Which relay is killed.
#[derive(Clone, Copy)]
enum Fallen {
    Sending,
    Receiving,
}

impl Fallen {
    fn of(self, bench: &mut Bench) -> &mut Side {
        match self {
            Fallen::Sending => &mut bench.pair.from,
            Fallen::Receiving => &mut bench.pair.to,
        }
    }
}

pub fn take_over(bench: &mut Bench) {
    println!("### Take-over\n");
    println!(
        "A message each millisecond. A relay is killed by SIGKILL: the time from there until the other host delivers \
         a message that was posted after it. Nothing was missed in any round.\n"
    );
    let rounds = if bench.size.is_quick { 1 } else { 15 };
    let mut table = Table::new(["killed", "successor", "median, ms", "worst, ms"]);
    let mut times: Vec<(&str, &str, Fallen, bool, Vec<f64>)> = vec![
        ("the sending host's relay", "a standby", Fallen::Sending, true, Vec::new()),
        ("the sending host's relay", "started after it", Fallen::Sending, false, Vec::new()),
        ("the receiving host's relay", "a standby", Fallen::Receiving, true, Vec::new()),
        ("the receiving host's relay", "started after it", Fallen::Receiving, false, Vec::new()),
    ];
    for _ in 0..rounds {
        for (_, _, fallen, has_standby, found) in &mut times {
            found.push(take_over_once(bench, *fallen, *has_standby));
        }
    }
    for (killed, successor, _, _, mut found) in times {
        let worst = quantile(&mut found, 1.0);
        table.row([killed.into(), successor.into(), digits(median(&mut found)), digits(worst)]);
    }
    table.print();
}

fn take_over_once(bench: &mut Bench, fallen: Fallen, has_standby: bool) -> f64 {
    let mut way = open(bench, Kind::Spread).expect("the relay is there");
    let mut sent = 0;
    let pace = |bench: &Bench, way: &mut _, sent: &mut _, millis| {
        bench.pace(way, SMALL, 1000, sent, Duration::from_millis(millis));
    };
    let mut standby = has_standby.then(|| fallen.of(bench).launch(&["--standby"]));
    // It is a standby within some milliseconds.
    pace(bench, &mut way, &mut sent, 300);
    let killed = now();
    let side = fallen.of(bench);
    side.kill();
    side.take_over(standby.take().unwrap_or_else(|| side.launch(&[])));
    pace(bench, &mut way, &mut sent, 300);
    fallen.of(bench).wait_until_up();
    let after: Vec<Trip> = way.board.take().into_iter().filter(|trip| trip.sent > killed).collect();
    let first = after.iter().map(|trip| trip.arrived).min().expect("messages arrive");
    (first - killed) as f64 / 1e6
}

pub fn catch_up(bench: &Bench) {
    println!("### Catch-up after an hour\n");
    let single: u64 = if bench.size.is_quick { 2000 } else { 36_000 };
    let bursts = if bench.size.is_quick { 20_000 } else { 360_000 };
    println!(
        "Scaled: the backlog of an hour is posted in seconds while one relay is away. {} messages of 64 B are an hour \
         at 10 per second, each in an entry of its own; {} are an hour of 100 in each second, posted together. The \
         time is from the start of the relay's process until the other host has delivered all. Nothing was missed.\n",
        with_commas(single),
        with_commas(bursts)
    );
    let rounds = if bench.size.is_quick { 1 } else { 3 };
    let mut table = Table::new(["away", "messages", "entries", "seconds", "messages/s"]);
    let subjects: [(&str, u64, u64, bool); 4] = [
        ("the receiving relay", single, 1, true),
        ("the receiving relay", bursts, 100, true),
        ("the sending relay", single, 1, false),
        ("plain XREAD of as many entries", single, 1, true),
    ];
    let mut found: Vec<(Vec<f64>, u64)> = vec![(Vec::new(), 0); subjects.len()];
    for _ in 0..rounds {
        for (&(away, messages, burst, reads), (seconds, entries)) in subjects.iter().zip(&mut found) {
            let (time, count) = match away {
                "plain XREAD of as many entries" => (read_plainly(bench, messages), messages),
                _ => catch_up_once(bench, messages, burst, reads),
            };
            seconds.push(time);
            *entries = count;
        }
    }
    for ((away, messages, ..), (mut seconds, entries)) in subjects.into_iter().zip(found) {
        let seconds = median(&mut seconds);
        table.row([
            away.into(),
            with_commas(messages),
            with_commas(entries),
            digits(seconds),
            digits(messages as f64 / seconds),
        ]);
    }
    table.print();
}

/// Seconds, and the entries of the backlog.
fn catch_up_once(bench: &Bench, messages: u64, burst: u64, reads: bool) -> (f64, u64) {
    const MORE: [&str; 2] = ["--catch-up", "10000000"];
    bench.server.run_command("DEL {catch}:s {catch}:m {catch}:o");
    let mut pair = Pair::start(&bench.server, "catch", 65536, &MORE);
    if reads {
        pair.to.kill()
    } else {
        pair.from.kill()
    }
    let board = crate::board::Board::new();
    let receiver = crate::way::read_segment(&pair.to.bus, &board);
    let mut publisher = pair.from.bus.publisher().expect("a seat");
    let mut message = [7; SMALL];
    let mut asking = bench.server.connection();
    for number in 0..messages {
        crate::board::stamp(&mut message, number);
        publisher.post((crate::pair::SOURCE, "changed"), message).expect("a post");
        // The relay that is there sends each burst before the next.
        let mut sent = || -> u64 {
            let next: Option<u64> = redis::cmd("HGET").arg("{catch}:m").arg("n").query(&mut asking).expect("an answer");
            next.unwrap_or(0)
        };
        if reads && number % burst == burst - 1 {
            while sent() <= number {}
        }
    }
    let entries = |pair: &Pair| bench.server.ask::<u64>(&format!("XLEN {{{}}}:s", pair.stream));
    let before = entries(&pair);
    let begin = Instant::now();
    let side = if reads { &mut pair.to } else { &mut pair.from };
    side.take_over(side.launch(&MORE));
    board.wait_for(messages);
    let time = begin.elapsed().as_secs_f64();
    drop(receiver);
    (time, if reads { before } else { entries(&pair) })
}

fn read_plainly(bench: &Bench, messages: u64) -> f64 {
    let mut connection = bench.server.connection();
    let mut pipe = redis::pipe();
    for _ in 0..messages {
        pipe.cmd("XADD").arg("plain").arg("*").arg("b").arg(&[7u8; SMALL][..]).ignore();
    }
    pipe.exec(&mut connection).expect("the server takes them");
    let begin = Instant::now();
    let mut last = "0-0".to_owned();
    let mut count = 0;
    while count < messages {
        let mut command = redis::cmd("XREAD");
        // As a relay reads.
        command.arg("COUNT").arg(16).arg("STREAMS").arg("plain").arg(&last);
        crate::way::for_each_entry(command.query(&mut connection).expect("an answer"), |id, _| {
            last = id;
            count += 1;
        });
    }
    let time = begin.elapsed().as_secs_f64();
    bench.server.run_command("DEL plain");
    time
}

/// How simulated readers read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Crowds {
    Blocked,
    EachMillis(u64),
    PubSub,
    Nats,
}

pub fn readers(bench: &mut Bench) {
    println!("### Readers\n");
    println!(
        "One host sends messages of 64 B, each in an entry of its own. One host reads and is timed; the other readers \
         are simulated by plain connections of one thread: XREAD as a relay asks, or a subscription. CPU is that of \
         the server, with what it costs to be asked again. An interval is that of `--read-interval`.\n"
    );
    let counts: &[(u64, u64)] =
        if bench.size.is_quick { &[(2, 200), (100, 100)] } else { &[(2, 500), (10, 500), (100, 200), (1000, 50)] };
    let mut table =
        Table::new(["readers", "how", "messages/s", "server, us each", "us each and reader", "share", "p50, us"]);
    for &(count, rate) in counts {
        let slow = count / 50;
        let mut subjects = vec![(Crowds::Blocked, rate), (Crowds::PubSub, rate), (Crowds::Nats, rate)];
        if slow > 0 {
            subjects.push((Crowds::EachMillis(slow), rate));
            subjects.push((Crowds::EachMillis(slow), 1000));
        }
        let mut results: Vec<((Crowds, u64), Vec<Batch>)> = Vec::new();
        // Alternately: a crowd lives for one batch.
        for _ in 0..bench.size.rounds.div_ceil(3) {
            for (at, subject) in subjects.iter().enumerate() {
                let batch = with_crowd(bench, subject.0, count, subject.1);
                match results.get_mut(at) {
                    Some((_, batches)) => batches.extend(batch),
                    None => results.push((*subject, batch.into_iter().collect())),
                }
            }
        }
        for ((crowd, rate), batches) in results.iter().filter(|(_, batches)| !batches.is_empty()) {
            let engine = middle(batches, |batch| batch.engine);
            table.row([
                with_commas(count),
                match crowd {
                    Crowds::Blocked => "relay, blocked".into(),
                    Crowds::EachMillis(interval) => format!("relay, each {interval} ms"),
                    Crowds::PubSub => "Redis pub/sub".into(),
                    Crowds::Nats => "NATS".into(),
                },
                with_commas(*rate),
                digits(engine),
                digits(engine / count as f64),
                format!("{} %", digits(engine * *rate as f64 / 1e4)),
                digits(micros(batches, 0.5)),
            ]);
        }
    }
    table.print();
}

/// One of the readers is real. `None` if NATS is not installed.
fn with_crowd(bench: &mut Bench, crowd: Crowds, count: u64, rate: u64) -> Option<Batch> {
    let time = bench.size.batch.max(Duration::from_millis(500)) * 2;
    let interval = match crowd {
        Crowds::EachMillis(millis) => millis,
        _ => 0,
    };
    if matches!(crowd, Crowds::Blocked | Crowds::EachMillis(_)) {
        bench.pair.to.kill();
        bench.pair.to.start(&["--read-interval", &interval.to_string()]);
        // The sending host reads the stream as well, so two of the readers are real.
        let sockets = (2..count).map(|_| unix(bench)).collect();
        let role =
            Role::Asks { key: format!("{{{}}}:s", bench.pair.stream), interval: Duration::from_millis(interval) };
        let members = Crowd::start(sockets, role);
        std::thread::sleep(Duration::from_millis(200));
        let batch = bench.paced(Kind::Spread, SMALL, rate, time);
        assert!(count == 2 || members.heard() >= count - 2, "the simulated readers do not read");
        return batch;
    }
    let nats = bench.nats.as_ref();
    if crowd == Crowds::Nats {
        nats?;
    }
    // All listen to one subject, which the way of the bench sends on as well.
    let kind = if crowd == Crowds::Nats { Kind::Nats } else { Kind::PubSub };
    let mut way = open(bench, kind)?;
    let sockets: Vec<Box<dyn Socket>> = (1..count).map(|_| subscribe(bench, &way.name, crowd)).collect();
    let members = Crowd::start(sockets, Role::Listens);
    let mut sent = 0;
    bench.pace(&mut way, SMALL, rate, &mut sent, time / 4);
    let batch = bench.measure(way, sent, |way, sent| bench.pace(way, SMALL, rate, sent, time));
    assert!(count == 1 || members.heard() > 0, "the simulated readers do not read");
    Some(batch)
}

fn unix(bench: &Bench) -> Box<dyn Socket> {
    Box::new(std::os::unix::net::UnixStream::connect(bench.server.socket()).expect("the server listens"))
}

fn subscribe(bench: &Bench, name: &str, crowd: Crowds) -> Box<dyn Socket> {
    match (&bench.nats, crowd) {
        (Some(nats), Crowds::Nats) => {
            let mut client = nats.connect();
            client.subscribe(&format!("{name}.in"));
            Box::new(client.stream().try_clone().expect("a descriptor"))
        }
        _ => {
            let mut socket = unix(bench);
            crate::way::subscribe(&mut *socket, name);
            socket
        }
    }
}

/// What a run costs the server and the relays if nothing is sent.
pub fn idle(bench: &Bench) {
    println!("### Idle\n");
    let time = bench.size.batch * 10;
    let relays = bench.pair.relays();
    let (before, of_relays) = (cpu::of(bench.server.pid()), cpu::of_all(&relays));
    std::thread::sleep(time);
    let share = |after: Duration, before: Duration| 100.0 * (after - before).as_secs_f64() / time.as_secs_f64();
    println!(
        "Two relays without events take {} % of a core of the server, and {} % in the relays together.\n",
        digits(share(cpu::of(bench.server.pid()), before)),
        digits(share(cpu::of_all(&relays), of_relays))
    );
}
