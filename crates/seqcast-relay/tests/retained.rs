//! What is retained between hosts: the scripts, and hosts that are new, that were away, or whose server forgot.

mod common;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use common::host::{Host, eventually};
use common::server::Server;
use seqcast::inspect::Inspector;
use seqcast::relay::{RelayOptions, StreamPosition};
use seqcast::{Bus, MissedReason, Publisher, SegmentOptions, Start, Worker, WorkerOptions};
use seqcast_relay::batch::{self, Batch, Event, Item, Kept, Kind, Reason};
use seqcast_relay::context::{Context, End, Options};
use seqcast_relay::engine::redis::Redis;
use seqcast_relay::engine::{
    Appended, Down, Engine, EngineError, Entry, Hello, Outgoing, Position, Registration, RetainedPart, Retains, Tip, Up,
};
use seqcast_relay::log::Log;

const A: u64 = 0xa1;

// ---- scripts ----

fn who(origin: u64) -> Registration {
    Registration { origin, session: 1, host: "a".into(), format: 1 }
}

/// A batch that sets a field, as the relay makes it.
struct Set {
    id: u64,
    field: u64,
    ttl: Option<Duration>,
    clears: bool,
    body: Vec<u8>,
    instead: Vec<u8>,
}

fn set(id: u64, field: u64) -> Set {
    let kept = Some(Kept { key: b"", ttl: None, clears: false });
    let (kind, source, event, bytes) = (Kind::Ordered, "state", "changed", &b" a b c d "[..]);
    let event = Event { id, kind, source, event, type_tag: 0, format: 0, unique: None, kept, bytes };
    let batch = |item| {
        let mut body = batch::head(A, 1).to_vec();
        batch::encode(&item, &mut body);
        body
    };
    let gap = Item::Gap { id, count: Some(1), reason: Reason::TooLarge };
    Set { id, field, ttl: None, clears: false, body: batch(Item::Event(event)), instead: batch(gap) }
}

fn clear(id: u64, field: u64) -> Set {
    Set { clears: true, ..set(id, field) }
}

impl Set {
    fn append(&self, up: &mut dyn Up) -> Result<Appended, EngineError> {
        let Set { id, field, ttl, clears, body, instead } = self;
        let retains = Some(Retains { field: [0, *field], ttl: *ttl, clears: *clears, instead });
        up.send(&Outgoing { from: *id, next: id + 1, count: 1, body, claim: None, retains })?;
        up.receive()
    }
}

fn all(redis: &Redis) -> (u32, Vec<(u64, Vec<u8>)>) {
    let mut down = redis.down().unwrap();
    let (mut parts, mut from, mut values) = (0, 0, BTreeMap::new());
    loop {
        let part = down.retained(from).unwrap();
        parts += 1;
        values.extend(part.values.into_iter().map(|value| {
            let value = value.unwrap();
            assert!(value.since_ms <= part.now_ms && value.since_ms > 1_700_000_000_000);
            (value.n, value.body)
        }));
        match part.next {
            0 => return (parts, values.into_iter().collect()),
            next => from = next,
        }
    }
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r2_the_script_keeps_the_last_value_of_each_key_with_its_place_and_clears_for_a_day() {
    let server = Server::start();
    let redis = server.redis();
    let (mut up, _) = redis.up(&who(A), 0).unwrap();
    assert_eq!(all(&redis), (1, Vec::new()));
    for id in 0..300 {
        assert_eq!(set(id, id).append(&mut *up), Ok(Appended::Ok));
    }
    assert_eq!(set(300, 7).append(&mut *up), Ok(Appended::Ok));
    assert_eq!(set(300, 7).append(&mut *up), Ok(Appended::Old), "the answer was lost");
    assert_eq!(set(400, 8).append(&mut *up), Ok(Appended::Rewind(301)));
    let (parts, values) = all(&redis);
    assert!(parts > 2, "{parts} parts");
    let places: Vec<u64> = values.iter().map(|(n, _)| *n).collect();
    assert_eq!(places, (0..301).filter(|n| *n != 7).collect::<Vec<_>>());
    assert!(values.iter().all(|(n, body)| *body == set(*n, 0).body));
    // A clear takes the place of the value, also if there is none, and goes after a day.
    assert_eq!(clear(301, 7).append(&mut *up), Ok(Appended::Ok));
    assert_eq!(clear(302, 999).append(&mut *up), Ok(Appended::Ok));
    assert_eq!(all(&redis).1.len(), 301);
    let field = |field: u64| format!("{:032x}", field);
    let end: f64 = server.ask(&format!("ZSCORE {{test}}:t {}", field(7)));
    let [seconds, _]: [u64; 2] = server.ask::<Vec<u64>>("TIME").try_into().unwrap();
    assert!((end as u64 / 1000).abs_diff(seconds + 24 * 3600) < 600, "{end}");
    up.trim(u64::MAX >> 12).unwrap();
    assert_eq!(all(&redis).1.len(), 301, "it is not a day old");
    server.run_command(&format!("ZADD {{test}}:t 1 {}", field(7)));
    up.trim(u64::MAX >> 12).unwrap();
    assert_eq!((all(&redis).1.len(), server.ask::<u64>("ZCARD {test}:t")), (300, 1));
    // A value that is set after its clear is no clear.
    assert_eq!(set(303, 999).append(&mut *up), Ok(Appended::Ok));
    assert_eq!((all(&redis).1.len(), server.ask::<u64>("ZCARD {test}:t")), (300, 0));
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r5_a_key_too_many_is_refused_and_told_in_its_place() {
    let server = Server::start();
    let redis = server.redis().retained_keys(3);
    let (mut up, _) = redis.up(&who(A), 0).unwrap();
    for id in 0..3 {
        assert_eq!(set(id, id).append(&mut *up), Ok(Appended::Ok));
    }
    assert_eq!(set(3, 3).append(&mut *up), Ok(Appended::Full));
    assert_eq!(set(3, 3).append(&mut *up), Ok(Appended::Old));
    assert_eq!(set(4, 2).append(&mut *up), Ok(Appended::Ok), "a key that is there");
    let entries = redis.down().unwrap().read(&Position::START, Duration::from_millis(1)).unwrap();
    assert_eq!(entries.len(), 5);
    let Batch { items, .. } = Batch::parse(&entries[3].body).unwrap();
    assert_eq!(items, [Item::Gap { id: 3, count: Some(1), reason: Reason::TooLarge }]);
    assert_eq!(all(&redis).1.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [0, 1, 4]);
    // A clear makes room. There are at most as many clears as keys, and the oldest one goes.
    for (id, field) in (5..10).zip([2, 20, 21, 22, 23]) {
        assert_eq!(clear(id, field).append(&mut *up), Ok(Appended::Ok));
        thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(all(&redis).1.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [0, 1, 7, 8, 9]);
    let short = Set { ttl: Some(Duration::from_millis(1)), ..set(10, 4) };
    assert_eq!(short.append(&mut *up), Ok(Appended::Ok));
    thread::sleep(Duration::from_millis(20));
    // So does a value whose ttl has ended.
    assert_eq!(set(11, 5).append(&mut *up), Ok(Appended::Ok));
    assert_eq!(set(12, 6).append(&mut *up), Ok(Appended::Full));
    let short = Set { ttl: Some(Duration::from_millis(1)), ..set(13, 5) };
    assert_eq!(short.append(&mut *up), Ok(Appended::Ok));
    thread::sleep(Duration::from_millis(20));
    up.trim(u64::MAX >> 12).unwrap();
    assert_eq!(all(&redis).1.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [0, 1, 7, 8, 9]);
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r2_keys_of_another_type_are_refused_before_anything_is_written() {
    let server = Server::start();
    let redis = server.redis();
    let (mut up, _) = redis.up(&who(A), 0).unwrap();
    for key in ["r", "t", "e"] {
        server.run_command(&format!("SET {{test}}:{key} text"));
        let refused = set(0, 0).append(&mut *up);
        assert!(matches!(refused, Err(EngineError::Denied(_))), "{key}: {refused:?}");
        assert_eq!(server.ask::<u64>("EXISTS {test}:s {test}:m"), 0, "{key}");
        server.run_command(&format!("DEL {{test}}:{key}"));
    }
    server.run_command("HSET {test}:r some thing");
    assert_eq!(redis.down().unwrap().retained(0).unwrap().values, [None]);
    server.run_command("CONFIG SET maxmemory 1");
    assert!(matches!(set(0, 0).append(&mut *up), Err(EngineError::Refused(_))));
    assert_eq!(server.ask::<u64>("HLEN {test}:r"), 1);
}

// ---- hosts ----

fn relay(name: &str, url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seqcast-relay"));
    command.args([name, "--redis", url, "--stream", "test"]);
    command
}

fn options() -> SegmentOptions {
    SegmentOptions::new().capacity(4096).claims(1024).seats(16).retained(1024).retained_size(1024)
}

fn host(server: &Server, more: &[&str]) -> Host {
    let mut host = Host::new(relay, server.folder.path(), &server.socket(), &options()).with_arguments(more);
    host.start_relay();
    host.wait_for_relay();
    host
}

fn post(publisher: &mut Publisher, key: &str, value: &str) {
    publisher.event(("state", "changed")).cluster().retain_key(key).post(value).unwrap();
}

fn clear_key(publisher: &mut Publisher, key: &str) {
    publisher.event(("state", "changed")).cluster().retain_key(key).clear().unwrap();
}

/// What is retained, by key.
fn values(bus: &Bus) -> BTreeMap<String, String> {
    let mut publisher = bus.publisher_with(&WorkerOptions::new().announce(false)).unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let kept = publisher.retained().unwrap();
    kept.iter().filter(|kept| kept.source() == "state").map(|kept| (text(kept.key()), text(kept.bytes()))).collect()
}

fn map(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A worker that gets everything that comes, and what it got.
struct Noted {
    worker: Worker,
    events: Arc<Mutex<Vec<(String, String)>>>,
}

impl Noted {
    fn of(bus: &Bus) -> Noted {
        let worker = bus.join_with(&WorkerOptions::new().start(Start::Oldest).announce(false)).unwrap();
        let events: Arc<Mutex<Vec<_>>> = Arc::default();
        let noting = Arc::clone(&events);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let note = move |event: &seqcast::Event<'_>| {
            noting.lock().unwrap().push((text(event.retained_key().unwrap_or_default()), text(event.bytes())));
        };
        worker.on(("state", "changed"), note.clone()).unwrap();
        worker.on_cleared(("state", "changed"), note).unwrap();
        Noted { worker, events }
    }

    fn all(&self) -> Vec<(String, String)> {
        self.worker.poll().unwrap();
        self.events.lock().unwrap().clone()
    }
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r2_a_host_that_is_new_or_was_away_gets_what_the_stream_no_longer_has() {
    let server = Server::start();
    let first = host(&server, &[]);
    let mut publisher = first.bus.publisher().unwrap();
    for (key, value) in [("1", "a"), ("2", "a"), ("1", "b"), ("3", "a")] {
        post(&mut publisher, key, value);
    }
    clear_key(&mut publisher, "3");
    let short = Duration::from_secs(3600);
    publisher.event(("state", "changed")).cluster().retain_key("ttl").ttl(short).post("short").unwrap();
    let kept = map(&[("1", "b"), ("2", "a"), ("ttl", "short")]);
    eventually("it is appended", || server.ask::<Option<u64>>("HGET {test}:m n") == Some(6));
    eventually("it is retained at home", || values(&first.bus) == kept);
    server.run_command("XTRIM {test}:s MAXLEN 0");
    let mut second = host(&server, &["--catch-up", "10"]);
    let noted = Noted::of(&second.bus);
    eventually("a new host has it", || values(&second.bus) == kept);
    let mut of_second = second.bus.publisher().unwrap();
    let left = of_second.get_key(("state", "changed"), "ttl").unwrap().unwrap().left().unwrap();
    assert!(left <= short && left > short / 2, "{left:?}");
    // It was delivered there, once, and no clear of what was never there.
    eventually("workers have got it", || noted.all().len() >= 3);
    assert_eq!(noted.all().len(), 3);
    // The same host again: what is there is not delivered again.
    assert_eq!(second.stop_relay(), Some(0));
    second.start_relay();
    second.wait_for_relay();
    post(&mut publisher, "4", "a");
    eventually("the next one is there", || noted.all().last() == Some(&("4".into(), "a".into())));
    assert_eq!(noted.all().len(), 4);
    // It is away for longer than --catch-up, and then for longer than the stream reaches.
    let inspector = Inspector::open(second.bus.name()).unwrap();
    eventually("its entry is handled", || inspector.relay().unwrap().position.unwrap().n == 7);
    second.kill_relay();
    for value in 0..20 {
        post(&mut publisher, "1", &value.to_string());
    }
    clear_key(&mut publisher, "2");
    eventually("it is appended", || server.ask::<Option<u64>>("HGET {test}:m n") == Some(28));
    second.start_relay();
    let kept = map(&[("1", "19"), ("4", "a"), ("ttl", "short")]);
    eventually("it is up to date", || values(&second.bus) == kept);
    eventually("its position is kept", || inspector.relay().unwrap().position.unwrap().n == 28);
    second.kill_relay();
    clear_key(&mut publisher, "4");
    post(&mut publisher, "5", "a");
    eventually("it is appended", || server.ask::<Option<u64>>("HGET {test}:m n") == Some(30));
    server.run_command("XTRIM {test}:s MAXLEN 0");
    second.start_relay();
    post(&mut publisher, "1", "last");
    eventually("it is up to date", || values(&second.bus) == map(&[("1", "last"), ("5", "a"), ("ttl", "short")]));
}

/// An engine that does something before the first part of the copy is read.
struct Between<'a> {
    redis: Redis,
    before: &'a (dyn Fn() + Sync),
}

struct DownBetween<'a> {
    down: Box<dyn Down>,
    before: Option<&'a (dyn Fn() + Sync)>,
}

struct StopAtDrop<'a>(&'a Context);

impl Drop for StopAtDrop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Engine for Between<'static> {
    fn up(&self, who: &Registration, begin: u64) -> Result<(Box<dyn Up>, Hello), EngineError> {
        self.redis.up(who, begin)
    }

    fn down(&self) -> Result<Box<dyn Down>, EngineError> {
        Ok(Box::new(DownBetween { down: self.redis.down()?, before: Some(self.before) }))
    }
}

impl Down for DownBetween<'_> {
    fn tip(&mut self, origins: bool) -> Result<Tip, EngineError> {
        self.down.tip(origins)
    }

    fn read(&mut self, after: &Position, wait: Duration) -> Result<Vec<Entry>, EngineError> {
        self.down.read(after, wait)
    }

    fn replicated(&mut self, least: u32, most: Duration) -> Result<u64, EngineError> {
        self.down.replicated(least, most)
    }

    fn retained(&mut self, from: u64) -> Result<RetainedPart, EngineError> {
        if let Some(before) = self.before.take() {
            before();
        }
        self.down.retained(from)
    }
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r2_r4_what_is_set_and_cleared_while_a_new_host_reads_the_copy_is_delivered_once_and_in_order() {
    let server = Server::start();
    let first = host(&server, &[]);
    let publisher: &'static Mutex<Publisher> = Box::leak(Box::new(Mutex::new(first.bus.publisher().unwrap())));
    for (key, value) in [("1", "a"), ("2", "a"), ("3", "a"), ("4", "a")] {
        post(&mut publisher.lock().unwrap(), key, value);
    }
    eventually("it is retained at home", || values(&first.bus).len() == 4);
    server.run_command("XTRIM {test}:s MAXLEN 0");
    let redis = server.redis();
    let before = move || {
        let mut publisher = publisher.lock().unwrap();
        post(&mut publisher, "1", "b");
        post(&mut publisher, "1", "c");
        clear_key(&mut publisher, "2");
        post(&mut publisher, "3", "b");
        clear_key(&mut publisher, "3");
        post(&mut publisher, "5", "a");
        let mut down = redis.down().unwrap();
        eventually("it is appended", || down.tip(false).unwrap().position.n == 10);
    };
    let name = format!("relay-new-{}", std::process::id());
    let bus = options().create(&name).unwrap();
    let noted = Noted::of(&bus);
    let engine = Between { redis: server.redis(), before: Box::leak(Box::new(before)) };
    let context = Context::new(Options::default(), Log::silent());
    let relay = bus.relay(&RelayOptions::new()).unwrap();
    thread::scope(|threads| {
        threads.spawn(|| assert!(matches!(seqcast_relay::run(&bus, relay, &engine, &context, || {}), End::Stopped)));
        // Also if it waits in vain.
        let _stop = StopAtDrop(&context);
        eventually("all is there", || noted.all().last() == Some(&("5".into(), "a".into())));
    });
    bus.unlink().unwrap();
    // Of the copy there is only what nobody changes meanwhile; the rest comes from the stream. No clear of a key that
    // is not retained yet is delivered.
    let expected = [("4", "a"), ("1", "b"), ("1", "c"), ("3", "b"), ("3", ""), ("5", "a")];
    assert_eq!(noted.all(), expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    assert_eq!(values(&bus), map(&[("1", "c"), ("4", "a"), ("5", "a")]));
    eventually("the other host has the same", || values(&first.bus) == values(&bus));
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r4_a_relay_that_is_killed_while_it_reads_the_copy_has_a_successor_that_ends_it() {
    const KEYS: u64 = 600;
    let server = Server::start();
    let first = host(&server, &[]);
    let mut publisher = first.bus.publisher().unwrap();
    for key in 0..KEYS {
        post(&mut publisher, &key.to_string(), "a");
    }
    eventually("it is retained at home", || values(&first.bus).len() == KEYS as usize);
    server.run_command("XTRIM {test}:s MAXLEN 0");
    let mut killed = 0;
    // Until some were killed in the midst of it.
    for round in 0..400 {
        let mut second = Host::new(relay, server.folder.path(), &server.socket(), &options());
        let noted = Noted::of(&second.bus);
        for _ in 0..3 {
            let start = second.bus.next_id();
            second.start_relay();
            eventually("it has begun", || second.bus.next_id() > start || values(&second.bus).len() == KEYS as usize);
            thread::sleep(Duration::from_micros(fastrand::u64(0..2000)));
            second.kill_relay();
            killed += u32::from((1..KEYS as usize).contains(&values(&second.bus).len()));
        }
        second.start_relay();
        eventually("all is there", || values(&second.bus) == values(&first.bus));
        // The table is public before the worker is to get the event.
        eventually("all is delivered", || noted.all().len() >= KEYS as usize);
        let mut keys: Vec<_> = noted.all().into_iter().map(|(key, _)| key).collect();
        let events = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!((keys.len(), events), (KEYS as usize, KEYS as usize), "round {round}: one was delivered twice");
        if killed > 5 {
            return;
        }
    }
    panic!("of 1200 relays {killed} were killed while they read the copy");
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r2_two_hosts_that_set_one_key_end_with_one_value_also_after_the_server_was_wiped() {
    let server = Server::start();
    let hosts = [host(&server, &[]), host(&server, &[])];
    let mut publishers: Vec<Publisher> = hosts.iter().map(|host| host.bus.publisher().unwrap()).collect();
    let agree = |hosts: &[Host]| {
        let first = values(&hosts[0].bus);
        hosts.iter().all(|host| values(&host.bus) == first).then_some(first)
    };
    for round in 0..3 {
        for turn in 0..50 {
            for (host, publisher) in publishers.iter_mut().enumerate() {
                post(publisher, &(turn % 5).to_string(), &format!("{round} {turn} {host}"));
            }
        }
        eventually("all is handled", || {
            let end: (Option<u64>, Option<u64>) = server.ask("HMGET {test}:m g n");
            let is_at_end = |at: StreamPosition| (Some(at.timeline), Some(at.n)) == end;
            hosts.iter().map(Host::relay_state).all(|state| {
                // What it sends comes back by the stream, so it is at its end only if it has sent everything before.
                state.backlog == Some(0) && state.position.is_some_and(is_at_end)
            })
        });
        assert_eq!(agree(&hosts).expect("the hosts differ").len(), 5);
        if round == 1 {
            continue;
        }
        // The origins send again what their rings have, in an order that nobody knows.
        server.run_command("FLUSHALL");
        eventually("it is filled again", || server.ask::<u64>("HLEN {test}:r") == 5);
        let third = host(&server, &[]);
        eventually("they agree, and the server's copy with them", || {
            agree(&hosts).is_some_and(|values_here| values_here == values(&third.bus) && values_here.len() == 5)
        });
    }
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r2_two_hosts_whose_values_are_sent_again_in_another_order_have_the_one_that_is_last_now() {
    let server = Server::start();
    let mut hosts = [host(&server, &[]), host(&server, &[])];
    let have_all = |hosts: &[Host], value: &str| {
        hosts.iter().all(|host| values(&host.bus).get("key").is_some_and(|there| there == value))
    };
    for (number, value) in ["first", "second"].into_iter().enumerate() {
        post(&mut hosts[number].bus.publisher().unwrap(), "key", value);
        eventually("both have it", || have_all(&hosts, value));
    }
    assert_eq!(hosts[0].stop_relay(), Some(0));
    server.run_command("FLUSHALL");
    eventually("the second one has sent again", || server.ask::<u64>("HLEN {test}:r") == 1);
    hosts[0].start_relay();
    // Both had both values before, so the stream brings neither of them anything new.
    eventually("both have what the server has", || have_all(&hosts, "first"));
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r5_what_is_not_retained_because_of_a_bound_is_told() {
    let server = Server::start();
    let hosts = [(); 2].map(|()| {
        let large = options().retained(16).retained_size(128 << 10);
        let host = Host::new(relay, server.folder.path(), &server.socket(), &large);
        let mut host = host.with_arguments(&["--retained-keys", "2", "--largest", "1M"]);
        host.start_relay();
        host.wait_for_relay();
        host
    });
    let mut publisher = hosts[0].bus.publisher().unwrap();
    for key in ["1", "2", "3", "2"] {
        post(&mut publisher, key, "a");
    }
    post(&mut publisher, "1", &"x".repeat((64 << 10) + 1));
    post(&mut publisher, "1", &"y".repeat(64 << 10));
    for host in &hosts {
        eventually("all is there", || values(&host.bus).get("1").is_some_and(|value| value.starts_with('y')));
        assert_eq!(values(&host.bus).keys().collect::<Vec<_>>(), ["1", "2"]);
        let told = || {
            host.reader.with(|seen| {
                seen.iter()
                    .filter_map(|seen| match seen {
                        common::oracle::Seen::Missed(missed) => Some((missed.count, missed.reason)),
                        common::oracle::Seen::Event { .. } => None,
                    })
                    .collect::<Vec<_>>()
            })
        };
        // The table is public before the reader polls.
        eventually("both reports are there", || told().len() >= 2);
        assert_eq!(told(), [(Some(1), MissedReason::TooLarge); 2]);
    }
}
