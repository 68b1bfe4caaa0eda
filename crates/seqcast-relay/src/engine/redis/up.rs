//! The way up: the scripts `append`, `hello` and `trim`.

use std::time::Duration;

use redis::Value;

use super::link::{Link, evalsha, text, unexpected};
use super::{Keys, Most};
use crate::chain::hex16;
use crate::engine::{Appended, EngineError, Hello, Outgoing, Registration, Retains, Up};

pub(super) const APPEND: &str = include_str!("append.lua");
pub(super) const HELLO: &str = include_str!("hello.lua");
pub(super) const TRIM: &str = include_str!("trim.lua");

/// An origin that was not seen for so long is forgotten when another one registers.
const FORGET: Duration = Duration::from_secs(7 * 24 * 3600);

/// Some thousand years.
const LONGEST_TTL: Duration = Duration::from_secs(100_000_000_000);

pub(super) struct RedisUp {
    link: Link,
    keys: Keys,
    most: Most,
    origin: String,
    session: String,
}

impl RedisUp {
    pub(super) fn new(link: Link, keys: Keys, most: Most, who: &Registration) -> RedisUp {
        RedisUp { link, keys, most, origin: hex(who.origin), session: hex(who.session) }
    }

    pub(super) fn moved(&mut self) -> Option<(String, u16)> {
        self.link.moved.take()
    }

    pub(super) fn hello(&mut self, who: &Registration, begin: u64) -> Result<Hello, EngineError> {
        let mut command = evalsha(HELLO, &[&self.keys.origins]);
        let forget = u64::try_from(FORGET.as_millis()).unwrap_or(u64::MAX);
        command.arg(&self.origin).arg(&self.session).arg(hex(begin)).arg(who.format).arg(&who.host).arg(forget);
        match &self.link.ask(&command)? {
            Value::Array(values) => match &values[..] {
                [Value::Int(known), next, Value::Int(hosts)] => {
                    let next = text(next).and_then(hex16).ok_or_else(|| unexpected("hello"))?;
                    Ok(Hello { known: *known == 1, next, hosts: u64::try_from(*hosts).unwrap_or(0) })
                }
                _ => Err(unexpected("hello")),
            },
            _ => Err(unexpected("hello")),
        }
    }
}

impl Up for RedisUp {
    fn send(&mut self, batch: &Outgoing<'_>) -> Result<(), EngineError> {
        let claim = batch.claim.map(|claim| {
            let [high, low] = claim.key;
            (format!("{}{high:016x}{low:016x}", self.keys.claims), claim.ttl.as_millis().max(1))
        });
        let mut keys = vec![&*self.keys.stream, &*self.keys.meta, &*self.keys.origins];
        keys.extend(claim.as_ref().map(|(key, _)| &**key));
        if batch.retains.is_some() {
            keys.extend([&*self.keys.retained, &*self.keys.cleared, &*self.keys.ends]);
        }
        let mut command = evalsha(APPEND, &keys);
        command.arg(&self.origin).arg(&self.session).arg(hex(batch.from)).arg(hex(batch.next)).arg(batch.count);
        command.arg(batch.body).arg(self.most.entries);
        if let Some((_, ttl)) = &claim {
            command.arg(u64::try_from(*ttl).unwrap_or(u64::MAX));
        }
        if let Some(Retains { field: [high, low], ttl, clears, instead }) = batch.retains {
            let ttl = match ttl {
                _ if clears => "clear".to_owned(),
                // Longer than a double counts exactly is without an end.
                Some(ttl) if ttl < LONGEST_TTL => ttl.as_millis().max(1).to_string(),
                Some(_) | None => String::new(),
            };
            command.arg(format!("{high:016x}{low:016x}")).arg(ttl).arg(self.most.retained_keys).arg(instead);
        }
        self.link.send(&command)
    }

    fn receive(&mut self) -> Result<Appended, EngineError> {
        let Value::Array(values) = self.link.receive()? else { return Err(unexpected("append")) };
        let [word, next] = &values[..] else { return Err(unexpected("append")) };
        match text(word) {
            Some("OK") => Ok(Appended::Ok),
            Some("HELD") => Ok(Appended::Held),
            Some("FULL") => Ok(Appended::Full),
            Some("OLD") => Ok(Appended::Old),
            Some("REWIND") => text(next).and_then(hex16).map(Appended::Rewind).ok_or_else(|| unexpected("append")),
            Some("UNKNOWN") => Ok(Appended::Unknown),
            Some("FENCED") => Ok(Appended::Fenced),
            _ => Err(unexpected("append")),
        }
    }

    fn trim(&mut self, bytes: u64) -> Result<u64, EngineError> {
        let Keys { stream, retained, cleared, ends, .. } = &self.keys;
        match &self.link.ask(evalsha(TRIM, &[stream, retained, cleared, ends]).arg(bytes))? {
            Value::Array(values) => match values[..] {
                [Value::Int(_), Value::Int(removed)] => Ok(u64::try_from(removed).unwrap_or(0)),
                _ => Err(unexpected("trim")),
            },
            _ => Err(unexpected("trim")),
        }
    }
}

fn hex(id: u64) -> String {
    format!("{id:016x}")
}
