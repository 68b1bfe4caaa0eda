//! Redis and Valkey, 7.0 and later.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `{NAME}:s` | stream | entries `TIMELINE-SEQ`: `c` chain, `n` number of the event, `k` what it adds, `b` batch |
//! | `{NAME}:m` | hash | `g` timeline, `c` chain of the last entry, `n` number of the next event, `x` lost timeline |
//! | `{NAME}:o` | hash | for each origin: session, next id, time of the last append, version of batches, host |
//! | `{NAME}:c:KEY` | string | the event that holds the cluster's key, until its ttl ends |
//! | `{NAME}:w` | string | nothing: it is written so that a wait for the replicas has something to wait for |
//! | `{NAME}:r` | hash | for each retained key: timeline, number, time in ms, and the batch with its last event |
//! | `{NAME}:t` | sorted set | clears in `{NAME}:r`, and when they may be forgotten |
//! | `{NAME}:e` | sorted set | values in `{NAME}:r` with a ttl, and when it ends |
//!
//! All keys have one hash tag, so they are in one slot of a Redis Cluster. How far an origin has appended is changed by
//! the same script as the append. The scripts are files of their own beside this one.

mod address;
mod down;
mod link;
mod up;

use std::fmt;
use std::sync::Mutex;

pub use self::address::{Address, AddressError, Secrets};
use self::down::RedisDown;
use self::link::Link;
use self::up::RedisUp;
use super::{Down, Engine, EngineError, Hello, Registration, Up};

/// The names of the keys.
#[derive(Clone)]
struct Keys {
    stream: String,
    meta: String,
    origins: String,
    claims: String,
    written: String,
    retained: String,
    cleared: String,
    ends: String,
}

/// Bounds of what the server keeps.
#[derive(Clone, Copy, Debug)]
struct Most {
    entries: u64,
    retained_keys: u64,
}

/// The default of [`Redis::retained_keys`].
pub const RETAINED_KEYS: u64 = 10_000;

/// A stream of a Redis or Valkey server.
pub struct Redis {
    address: Address,
    keys: Keys,
    most: Most,
    /// Where the last server said that the keys are.
    moved: Mutex<Option<(String, u16)>>,
}

impl Redis {
    /// The stream `name` at `address`, with at most about `most_entries` entries.
    pub fn new(address: Address, name: &str, most_entries: u64) -> Redis {
        let key = |part: &str| format!("{{{name}}}:{part}");
        let (stream, meta, origins, claims) = (key("s"), key("m"), key("o"), key("c:"));
        let (retained, cleared, ends, written) = (key("r"), key("t"), key("e"), key("w"));
        let keys = Keys { stream, meta, origins, claims, written, retained, cleared, ends };
        let most = Most { entries: most_entries, retained_keys: RETAINED_KEYS };
        Redis { address, keys, most, moved: Mutex::new(None) }
    }

    /// Sets for how many keys the stream retains a value. A further one is refused. Default: 10,000.
    #[must_use]
    pub fn retained_keys(mut self, most: u64) -> Redis {
        self.most.retained_keys = most;
        self
    }

    /// What an operator should change about the server, as far as it tells.
    ///
    /// # Errors
    ///
    /// [`EngineError`] if there is no connection.
    pub fn advice(&self) -> Result<Vec<String>, EngineError> {
        let mut link = self.connect(&[])?;
        let mut advice = Vec::new();
        // Most rules for users do not permit CONFIG, and a managed server may not have it.
        if let Some(policy) = link.setting("maxmemory-policy").filter(|policy| policy != "noeviction") {
            advice.push(format!(
                "maxmemory-policy is {policy}: the server may evict the stream or a claim. Set it to noeviction"
            ));
        }
        if link.setting("appendonly").is_some_and(|on| on == "no") {
            advice.push(
                "appendonly is no: a restart of the server loses what was appended since its last snapshot. Origins \
                 send it again as far as their rings reach"
                    .into(),
            );
        }
        Ok(advice)
    }

    fn connect(&self, scripts: &[&'static str]) -> Result<Link, EngineError> {
        let moved = self.moved.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        Link::connect(&self.address, moved.as_ref(), scripts)
    }

    /// Remembers where a refusal sends us, for the next connection.
    fn note(&self, moved: Option<(String, u16)>) {
        if moved.is_some() {
            *self.moved.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = moved;
        }
    }
}

/// Shows no password.
impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("address", &self.address).field("stream", &self.keys.stream).finish()
    }
}

impl Engine for Redis {
    fn up(&self, who: &Registration, begin: u64) -> Result<(Box<dyn Up>, Hello), EngineError> {
        let link = self.connect(&[up::APPEND, up::HELLO, up::TRIM])?;
        let mut up = RedisUp::new(link, self.keys.clone(), self.most, who);
        match up.hello(who, begin) {
            Ok(hello) => Ok((Box::new(up), hello)),
            Err(error) => {
                self.note(up.moved());
                Err(error)
            }
        }
    }

    fn down(&self) -> Result<Box<dyn Down>, EngineError> {
        Ok(Box::new(RedisDown::new(self.connect(&[down::TIP, down::RETAINED])?, self.keys.clone())))
    }
}
