//! The way down: the scripts `tip` and `retained`, and XREAD.

use std::time::Duration;

use redis::{Value, cmd};

use super::Keys;
use super::link::{ANSWER, Link, evalsha, text, unexpected};
use crate::chain::{Added, Chain, hex16};
use crate::engine::{Down, EngineError, Entry, Follows, OriginSeen, Position, RetainedPart, RetainedValue, Tip};
use crate::follow::follows;

pub(super) const TIP: &str = include_str!("tip.lua");

pub(super) const RETAINED: &str = include_str!("retained.lua");

/// About as many values of one part: some 4 MiB if each has its longest.
const VALUES: u32 = 64;
/// Entries of one read: at most 1 MiB of batches, so that a reader that comes back does not fill the server's buffers.
const MOST_ENTRIES: u32 = 16;

pub(super) struct RedisDown {
    link: Link,
    keys: Keys,
}

impl RedisDown {
    pub(super) fn new(link: Link, keys: Keys) -> RedisDown {
        RedisDown { link, keys }
    }
}

impl Down for RedisDown {
    fn tip(&mut self, origins: bool) -> Result<Tip, EngineError> {
        self.link.wait_at_most(ANSWER)?;
        let mut command = evalsha(TIP, &[&self.keys.stream, &self.keys.meta, &self.keys.origins]);
        command.arg(u8::from(origins));
        tip(&self.link.ask(&command)?).ok_or_else(|| unexpected("tip"))
    }

    fn read(&mut self, after: &Position, wait: Duration) -> Result<Vec<Entry>, EngineError> {
        self.link.wait_at_most(wait + ANSWER)?;
        let mut command = cmd("XREAD");
        command.arg("COUNT").arg(MOST_ENTRIES);
        // 0 would mean without end.
        command.arg("BLOCK").arg(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1));
        command.arg("STREAMS").arg(&self.keys.stream).arg(format!("{}-{}", after.timeline, after.seq));
        match self.link.ask(&command)? {
            Value::Nil => Ok(Vec::new()),
            answer => entries(answer, after).ok_or_else(|| unexpected("XREAD")),
        }
    }

    fn replicated(&mut self, least: u32, most: Duration) -> Result<u64, EngineError> {
        self.link.wait_at_most(most + ANSWER)?;
        // WAIT waits for what its own connection has written, and with that for everything before.
        self.link.send(cmd("SET").arg(&self.keys.written).arg("").arg("PX").arg(60_000))?;
        self.link.send(cmd("WAIT").arg(least).arg(u64::try_from(most.as_millis()).unwrap_or(u64::MAX).max(1)))?;
        self.link.receive()?;
        match self.link.receive()? {
            Value::Int(replicas) => Ok(u64::try_from(replicas).unwrap_or(0)),
            _ => Err(unexpected("WAIT")),
        }
    }

    fn retained(&mut self, from: u64) -> Result<RetainedPart, EngineError> {
        self.link.wait_at_most(ANSWER)?;
        let mut command = evalsha(RETAINED, &[&self.keys.retained]);
        command.arg(from).arg(VALUES);
        part(&self.link.ask(&command)?).ok_or_else(|| unexpected("retained"))
    }
}

fn tip(answer: &Value) -> Option<Tip> {
    let Value::Array(values) = answer else { return None };
    let [id, chain, n, records] = &values[..] else { return None };
    let position = match text(id)? {
        "" => Position::START,
        id => {
            let (timeline, seq) = parse_id(id)?;
            // An entry of another program has no chain. A reader that is there will see that it has no past.
            let chain = text(chain).and_then(hex16).map_or(Chain(0), Chain);
            Position { timeline, seq, chain, n: text(n)?.parse().ok()? }
        }
    };
    let Value::Array(records) = records else { return None };
    let origins = records.chunks_exact(2).filter_map(|pair| origin(text(&pair[0])?, text(&pair[1])?)).collect();
    Some(Tip { position, origins })
}

fn origin(origin: &str, record: &str) -> Option<OriginSeen> {
    let mut fields = record.splitn(5, ' ').skip(1);
    let (next, seen, _format, host) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    Some(OriginSeen { origin: hex16(origin)?, next: hex16(next)?, seen_ms: seen.parse().ok()?, host: host.to_owned() })
}

fn part(answer: &Value) -> Option<RetainedPart> {
    let Value::Array(parts) = answer else { return None };
    let [Value::Int(now), next, Value::Array(values)] = &parts[..] else { return None };
    let values = values.chunks_exact(2).map(|pair| retained_value(&pair[1])).collect();
    Some(RetainedPart { next: text(next)?.parse().ok()?, now_ms: u64::try_from(*now).ok()?, values })
}

fn retained_value(value: &Value) -> Option<RetainedValue> {
    let Value::BulkString(bytes) = value else { return None };
    let mut fields = bytes.splitn(4, |byte| *byte == b' ');
    let mut number = || std::str::from_utf8(fields.next()?).ok()?.parse().ok();
    let (timeline, n, since_ms) = (number()?, number()?, number()?);
    Some(RetainedValue { timeline, n, since_ms, body: fields.next()?.to_vec() })
}

fn entries(answer: Value, after: &Position) -> Option<Vec<Entry>> {
    let Value::Array(mut streams) = answer else { return None };
    let Some(Value::Array(mut stream)) = streams.pop() else { return None };
    let Some(Value::Array(list)) = stream.pop() else { return None };
    let mut before = *after;
    let mut entries = Vec::with_capacity(list.len());
    for entry in list {
        let entry = read_entry(entry, &before)?;
        before = entry.position;
        entries.push(entry);
    }
    Some(entries)
}

fn read_entry(entry: Value, before: &Position) -> Option<Entry> {
    let Value::Array(mut parts) = entry else { return None };
    let (fields, id) = (parts.pop()?, parts.pop()?);
    let (timeline, seq) = parse_id(text(&id)?)?;
    let (mut chain, mut n, mut added, mut body) = (None, None, None, Vec::new());
    // An entry that was deleted while it was read has no fields.
    if let Value::Array(fields) = fields {
        let mut fields = fields.into_iter();
        while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
            match text(&name) {
                Some("c") => chain = text(&value).and_then(hex16).map(Chain),
                Some("n") => n = text(&value).and_then(|n| n.parse::<u64>().ok()),
                Some("k") => added = text(&value).and_then(|added| Added::parse(added.as_bytes())),
                Some("b") => {
                    if let Value::BulkString(bytes) = value {
                        body = bytes;
                    }
                }
                _ => {}
            }
        }
    }
    let (Some(chain), Some(n), Some(added)) = (chain, n, added) else {
        // Another program's entry. It is no part of the chain, so the next one follows the one before it.
        let follows = if timeline == before.timeline { Follows::Yes } else { Follows::Break };
        let position = Position { timeline, seq, ..*before };
        return Some(Entry { position, n: before.n, added: None, follows, body: Vec::new() });
    };
    let position = Position { timeline, seq, chain, n: n.saturating_add(u64::from(added.count)) };
    let follows = follows(before, &position, n, added);
    Some(Entry { position, n, added: Some(added), follows, body })
}

fn parse_id(id: &str) -> Option<(u64, u64)> {
    let (timeline, seq) = id.split_once('-')?;
    Some((timeline.parse().ok()?, seq.parse().ok()?))
}
