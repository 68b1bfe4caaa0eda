//! Every answer of the scripts, against a real server. No segment is needed.

mod common;

use std::time::Duration;

use common::server::Server;
use seqcast_relay::chain::{Added, Chain};
use seqcast_relay::engine::{
    Appended, Claim, Down, Engine, EngineError, Follows, Hello, Outgoing, Position, Registration, Retains, Up,
};

const A: u64 = 0xa1;
const B: u64 = 0xb2;

fn who(origin: u64, session: u64) -> Registration {
    Registration { origin, session, host: format!("host {origin:x}"), format: 1 }
}

fn up(server: &Server, origin: u64, begin: u64) -> (Box<dyn Up>, Hello) {
    server.redis().up(&who(origin, 1), begin).unwrap()
}

fn batch(from: u64, next: u64) -> Outgoing<'static> {
    Outgoing { from, next, count: 1, body: b"body", claim: None, retains: None }
}

fn append(up: &mut dyn Up, batch: &Outgoing<'_>) -> Appended {
    up.send(batch).unwrap();
    up.receive().unwrap()
}

fn down(server: &Server) -> Box<dyn Down> {
    server.redis().down().unwrap()
}

/// All entries from the beginning, without waiting.
fn bodies(server: &Server) -> Vec<(u64, u64)> {
    let mut down = down(server);
    let (mut position, mut all) = (Position::START, Vec::new());
    loop {
        let entries = down.read(&position, Duration::from_millis(1)).unwrap();
        let Some(last) = entries.last() else { return all };
        position = last.position;
        all.extend(entries.iter().map(|entry| entry.added.map(|added| (added.origin, added.next)).unwrap()));
    }
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r1_a_batch_is_appended_once_and_only_after_the_batch_before_it() {
    let server = Server::start();
    let (mut up, hello) = up(&server, A, 0);
    assert_eq!(hello, Hello { known: false, next: 0, hosts: 1 });
    // The first id of a segment is 0.
    assert_eq!(append(&mut *up, &batch(0, 1)), Appended::Ok);
    assert_eq!(append(&mut *up, &batch(0, 1)), Appended::Old);
    assert_eq!(append(&mut *up, &batch(5, 6)), Appended::Rewind(1));
    assert_eq!(append(&mut *up, &batch(1, 6)), Appended::Ok);
    // A batch that overlaps what is there, and ends behind it, is not appended either.
    assert_eq!(append(&mut *up, &batch(1, 7)), Appended::Rewind(6));
    assert_eq!(bodies(&server), [(A, 1), (A, 6)]);
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r1_a_refused_batch_in_a_pipeline_leaves_no_hole() {
    let server = Server::start();
    let (mut up, _) = up(&server, A, 0);
    for (from, next) in [(0, 1), (9, 10), (1, 2), (10, 11)] {
        up.send(&batch(from, next)).unwrap();
    }
    let answers: Vec<_> = (0..4).map(|_| up.receive().unwrap()).collect();
    assert_eq!(answers, [Appended::Ok, Appended::Rewind(1), Appended::Ok, Appended::Rewind(2)]);
    assert_eq!(bodies(&server), [(A, 1), (A, 2)]);
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r1_ids_are_exact_above_2_to_the_53() {
    let server = Server::start();
    for (origin, begin) in [(A, (1 << 53) - 1), (B, u64::MAX - 5)] {
        let (mut up, _) = up(&server, origin, begin);
        for id in begin..begin + 3 {
            assert_eq!(append(&mut *up, &batch(id, id + 1)), Appended::Ok);
            assert_eq!(append(&mut *up, &batch(id, id + 1)), Appended::Old);
            assert_eq!(append(&mut *up, &batch(id, id + 2)), Appended::Rewind(id + 1));
        }
    }
    assert_eq!(bodies(&server).len(), 6);
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r4_a_process_that_registers_fences_its_predecessor_off() {
    let server = Server::start();
    let redis = server.redis();
    let (mut old, _) = redis.up(&who(A, 1), 0).unwrap();
    let (mut new, hello) = redis.up(&who(A, 2), 7).unwrap();
    assert_eq!(hello, Hello { known: true, next: 0, hosts: 1 });
    assert_eq!(append(&mut *old, &batch(0, 1)), Appended::Fenced);
    assert_eq!(append(&mut *new, &batch(0, 1)), Appended::Ok);
    let (_, other) = redis.up(&who(B, 2), 7).unwrap();
    assert_eq!(other, Hello { known: false, next: 7, hosts: 2 });
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r6_a_server_that_lost_the_origin_says_so_and_a_wiped_one_begins_a_greater_timeline() {
    let server = Server::start();
    let (mut first, _) = up(&server, A, 0);
    assert_eq!(append(&mut *first, &batch(0, 1)), Appended::Ok);
    let before = down(&server).tip(false).unwrap().position;
    assert_eq!((before.seq, before.n), (0, 1));
    assert_eq!(before.chain, Chain::begin(before.timeline).with(Added { origin: A, next: 1, count: 1 }));
    server.run_command("FLUSHALL");
    assert_eq!(append(&mut *first, &batch(1, 2)), Appended::Unknown);
    assert_eq!(down(&server).tip(false).unwrap().position, Position::START);
    let (mut again, hello) = up(&server, A, 1);
    assert!(!hello.known);
    assert_eq!(append(&mut *again, &batch(1, 2)), Appended::Ok);
    assert!(down(&server).tip(false).unwrap().position.timeline >= before.timeline);
    // The meta key is lost: the name of the timeline grows, and the entries stay.
    let before = down(&server).tip(false).unwrap().position.timeline;
    server.run_command("DEL {test}:m");
    assert_eq!(append(&mut *again, &batch(2, 3)), Appended::Ok);
    let tip = down(&server).tip(false).unwrap().position;
    assert!(tip.timeline > before, "{tip:?} after {before}");
    assert_eq!((tip.seq, tip.n, bodies(&server)), (0, 1, vec![(A, 2), (A, 3)]));
    // The stream is lost: all origins have to send again, once, and the name grows.
    let (mut other, _) = up(&server, B, 0);
    let before = tip.timeline;
    server.run_command("DEL {test}:s");
    assert_eq!(append(&mut *again, &batch(3, 4)), Appended::Unknown);
    assert_eq!(append(&mut *other, &batch(0, 1)), Appended::Unknown);
    let (mut again, hello) = up(&server, A, 1);
    assert_eq!((hello.known, hello.next), (false, 1));
    assert_eq!(append(&mut *again, &batch(1, 4)), Appended::Ok);
    let (mut other, _) = up(&server, B, 0);
    assert_eq!(append(&mut *other, &batch(0, 1)), Appended::Ok);
    let tip = down(&server).tip(false).unwrap().position;
    assert!(tip.timeline > before && tip.seq == 1, "{tip:?} after {before}");
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r8_one_event_wins_a_key_until_its_ttl_ends() {
    let server = Server::start();
    let claim = |ttl| Some(Claim { key: [7, 8], ttl: Duration::from_millis(ttl) });
    let unique = |from, next, ttl| Outgoing { claim: claim(ttl), ..batch(from, next) };
    let (mut a, _) = up(&server, A, 0);
    let (mut b, _) = up(&server, B, 0);
    assert_eq!(append(&mut *a, &unique(0, 1, 60_000)), Appended::Ok);
    assert_eq!(append(&mut *b, &unique(0, 1, 60_000)), Appended::Held);
    // The answer was lost: asking again decides nothing again.
    assert_eq!(append(&mut *a, &unique(0, 1, 60_000)), Appended::Old);
    assert_eq!(append(&mut *b, &unique(0, 1, 60_000)), Appended::Old);
    assert_eq!(bodies(&server), [(A, 1)]);
    let key = "{test}:c:00000000000000070000000000000008";
    assert_eq!(server.ask::<String>(&format!("GET {key}")), format!("{A:016x}{:016x}", 1));
    assert!(server.ask::<i64>(&format!("PTTL {key}")) > 50_000);
    // An empty body takes the key again, and appends nothing, whether it is free or not.
    server.run_command(&format!("DEL {key}"));
    let empty = Outgoing { body: b"", count: 1, ..unique(1, 2, 1) };
    assert_eq!(append(&mut *a, &empty), Appended::Ok);
    while server.ask::<bool>(&format!("EXISTS {key}")) {}
    assert_eq!(append(&mut *b, &unique(1, 2, 60_000)), Appended::Ok);
    assert_eq!(append(&mut *a, &Outgoing { from: 2, next: 3, ..empty }), Appended::Held);
    assert_eq!(bodies(&server), [(A, 1), (B, 2)]);
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn ids_that_do_not_travel_move_the_next_id_and_append_nothing() {
    let server = Server::start();
    let (mut up, _) = up(&server, A, 3);
    let advance = Outgoing { count: 0, body: b"", ..batch(3, 50) };
    assert_eq!(append(&mut *up, &advance), Appended::Ok);
    assert_eq!(append(&mut *up, &batch(50, 51)), Appended::Ok);
    assert_eq!(bodies(&server), [(A, 51)]);
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn a_server_without_memory_refuses_whole_batches_and_may_still_be_trimmed() {
    let server = Server::start();
    let (mut up, _) = up(&server, A, 0);
    let body = vec![7; 60 << 10];
    for id in 0..100 {
        assert_eq!(append(&mut *up, &Outgoing { body: &body, ..batch(id, id + 1) }), Appended::Ok);
    }
    server.run_command("CONFIG SET maxmemory 1mb");
    let claim = Some(Claim { key: [1, 2], ttl: Duration::from_secs(60) });
    up.send(&Outgoing { claim, ..batch(100, 101) }).unwrap();
    assert!(matches!(up.receive(), Err(EngineError::Refused(text)) if text.contains("OOM")));
    assert_eq!(server.ask::<Vec<String>>("KEYS {test}:c:*"), [""; 0], "the key was taken by a batch that was refused");
    let hello = server.redis().up(&who(B, 1), 0).map(|(_, hello)| hello);
    assert!(matches!(hello, Err(EngineError::Refused(_))), "{hello:?}");
    assert!(up.trim(400 << 10).unwrap() > 80);
    assert!(server.ask::<u64>("MEMORY USAGE {test}:s SAMPLES 0") < 700 << 10);
    server.run_command("CONFIG SET maxmemory 0");
    assert_eq!(append(&mut *up, &batch(100, 101)), Appended::Ok);
    // A host that was away is told how many events are gone.
    let entries = down(&server).read(&Position::START, Duration::from_millis(1)).unwrap();
    assert!(matches!(entries[0].follows, Follows::Hole(n) if n == entries[0].n && n > 80), "{:?}", entries[0]);
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn replicas_and_masters_without_replicas_refuse_and_change_nothing() {
    let server = Server::start();
    let (mut up, _) = up(&server, A, 0);
    assert_eq!(append(&mut *up, &batch(0, 1)), Appended::Ok);
    server.run_command("CONFIG SET min-replicas-to-write 1");
    up.send(&batch(1, 2)).unwrap();
    assert!(matches!(up.receive(), Err(EngineError::Refused(text)) if text.contains("NOREPLICAS")));
    server.run_command("CONFIG SET min-replicas-to-write 0");
    server.run_command("REPLICAOF 127.0.0.1 1");
    up.send(&batch(1, 2)).unwrap();
    assert!(matches!(up.receive(), Err(EngineError::Moved(text)) if text.contains("READONLY")));
    // Reading goes on at a replica.
    assert_eq!(down(&server).tip(true).unwrap().position.n, 1);
    server.run_command("REPLICAOF NO ONE");
    assert_eq!(append(&mut *up, &batch(1, 2)), Appended::Ok);
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn scripts_that_were_flushed_and_a_key_of_another_type_are_errors_and_change_nothing() {
    let server = Server::start();
    let (mut first, _) = up(&server, A, 0);
    server.run_command("SCRIPT FLUSH");
    first.send(&batch(0, 1)).unwrap();
    assert!(matches!(first.receive(), Err(EngineError::Lost(_))));
    let (mut second, hello) = up(&server, A, 9);
    assert_eq!(hello, Hello { known: true, next: 0, hosts: 1 });
    server.run_command("SET {test}:s text");
    let claim = Some(Claim { key: [1, 2], ttl: Duration::from_secs(60) });
    second.send(&Outgoing { claim, ..batch(0, 1) }).unwrap();
    assert!(matches!(second.receive(), Err(EngineError::Denied(text)) if text.contains("another type")));
    assert_eq!(server.ask::<u64>("EXISTS {test}:m {test}:c:00000000000000010000000000000002"), 0);
}

/// The rule that `docs/relay.md` gives.
const RULE: &str = "~{test}:* resetchannels +evalsha +eval +script|load +xread +xadd +xrevrange +xtrim +xlen \
                    +xinfo|stream +exists +type +hget +hset +hdel +hmget +hgetall +hexists +hlen \
                    +hscan +zadd +zrem +zcard +zscore +zrangebyscore +zpopmin +set +wait +time +memory|usage +ping \
                    +hello +auth +select";

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn the_documented_rule_for_users_suffices_and_a_smaller_one_is_denied() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/relay.md")).unwrap();
    let page = page.replace("\\\n", " ");
    let page = page.split_whitespace().collect::<Vec<_>>().join(" ").replace("{shop}", "{test}");
    assert!(page.contains(RULE), "docs/relay.md has another rule");
    let mut server = Server::start();
    server.run_command(&format!("ACL SETUSER relay on >word {RULE}"));
    server.login = "?user=relay&pass=word".into();
    let (mut up, _) = server.redis().up(&who(A, 1), 0).unwrap();
    let claim = Some(Claim { key: [1, 2], ttl: Duration::from_secs(60) });
    assert_eq!(append(&mut *up, &Outgoing { claim, ..batch(0, 1) }), Appended::Ok);
    // A value, clears of which one goes, and values that end.
    let ttl = Some(Duration::from_millis(1));
    let steps = [(1, None, false), (1, None, true), (2, None, true), (3, ttl, false), (4, ttl, false)];
    let (mut up, _) = server.redis().retained_keys(1).up(&who(A, 1), 0).unwrap();
    for (id, (field, ttl, clears)) in (1..).zip(steps) {
        let retains = Some(Retains { field: [0, field], ttl, clears, instead: b"full" });
        assert_eq!(append(&mut *up, &Outgoing { retains, ..batch(id, id + 1) }), Appended::Ok, "{id}");
        std::thread::sleep(Duration::from_millis(20));
    }
    server.run_command("XTRIM {test}:s MAXLEN 0");
    let mut down = server.redis().down().unwrap();
    assert_eq!(down.tip(true).unwrap().position.n, 6);
    assert_eq!(down.read(&Position::START, Duration::from_millis(1)).unwrap(), []);
    assert_eq!(down.replicated(0, Duration::from_millis(1)), Ok(0));
    assert_eq!(down.retained(0).unwrap().values.len(), 2);
    assert_eq!(up.trim(1).unwrap(), 0);
    assert_eq!(down.retained(0).unwrap().values.len(), 1);
    server.run_command("ACL SETUSER relay -xadd");
    up.send(&batch(6, 7)).unwrap();
    let denied = up.receive();
    assert!(matches!(denied, Err(EngineError::Denied(_))), "{denied:?}");
    server.login = "?user=relay&pass=wrong".into();
    let denied = server.redis().down().map(drop);
    assert!(matches!(&denied, Err(EngineError::Denied(text)) if !text.contains("wrong")), "{denied:?}");
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r6_the_tip_of_a_stream_that_was_trimmed_to_nothing_is_still_known() {
    let server = Server::start();
    let (mut up, _) = up(&server, A, 0);
    for id in 0..3 {
        append(&mut *up, &batch(id, id + 1));
    }
    let tip = down(&server).tip(true).unwrap();
    assert_eq!(
        tip.origins.iter().map(|seen| (seen.origin, seen.next, &*seen.host)).collect::<Vec<_>>(),
        [(A, 3, "host a1")]
    );
    assert!(tip.origins[0].seen_ms > 1_700_000_000_000);
    server.run_command("XTRIM {test}:s MAXLEN 0");
    assert_eq!(down(&server).tip(true).unwrap(), tip);
    assert_eq!(append(&mut *up, &batch(3, 4)), Appended::Ok);
    let entries = down(&server).read(&tip.position, Duration::from_millis(1)).unwrap();
    assert_eq!((entries.len(), entries[0].follows), (1, Follows::Yes));
}

#[test]
#[ignore = "needs a server: crates/seqcast-relay/tests/run"]
fn r10_entries_of_other_programs_are_no_part_of_the_chain() {
    let server = Server::start();
    let (mut up, _) = up(&server, A, 0);
    append(&mut *up, &batch(0, 1));
    let timeline = down(&server).tip(false).unwrap().position.timeline;
    server.run_command(&format!("XADD {{test}}:s {timeline}-* x y c zz n -1 k 5 b hostile"));
    append(&mut *up, &batch(1, 2));
    let entries = down(&server).read(&Position::START, Duration::from_millis(1)).unwrap();
    let shown: Vec<_> = entries.iter().map(|entry| (entry.added.is_some(), entry.follows)).collect();
    // The entry behind it has the right chain, and a number that is not the next.
    assert_eq!(shown[..2], [(true, Follows::Yes), (false, Follows::Yes)]);
    assert_eq!((shown.len(), shown[2].1), (3, Follows::Yes));
    server.run_command("DEL {test}:s");
    server.run_command("SET {test}:s text");
    assert!(matches!(down(&server).read(&Position::START, Duration::from_millis(1)), Err(EngineError::Denied(_))));
}
