//! Claims: their options, their results, and the state of a key.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Error, Result};
use crate::os::text::printable;
use crate::protocol::bucket::{Ends, Term, Token};

/// The right to run a unique key until its ttl ends.
///
/// Dropping a claim does not release it. Keep it to [`renew`](crate::Worker::renew),
/// [`complete`](crate::Worker::complete) or [`release`](crate::Worker::release) it, or let the ttl end it.
///
/// ```
/// # use std::time::Duration;
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// # let worker = bus.join()?;
/// let claim = worker.claim("nightly-mail", Duration::from_secs(3600))?.won().expect("no other worker claims");
/// worker.release(&claim)?;
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the key stays held until the claim is released or its ttl ends"]
pub struct Claim {
    pub(crate) key: [u64; 2],
    pub(crate) token: Token,
}

impl Claim {
    /// Returns the claim as plain data, to be stored outside Rust or used by another worker of this bus.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use seqcast::{Claim, Claimed};
    ///
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// let mut publisher = bus.publisher()?;
    /// let Claimed::Won(claim) = publisher.claim("nightly-mail", Duration::from_secs(60))? else { panic!() };
    /// let bytes: [u8; 24] = claim.to_bytes();
    /// assert!(bus.publisher()?.release(&Claim::from_bytes(bytes))?);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        for (chunk, word) in bytes.as_chunks_mut().0.iter_mut().zip([self.key[0], self.key[1], self.token.0]) {
            *chunk = word.to_le_bytes();
        }
        bytes
    }

    /// Returns the claim for bytes from [`Claim::to_bytes`]. Other bytes give a claim that holds nothing.
    pub fn from_bytes(bytes: [u8; 24]) -> Claim {
        let word = |index: usize| u64::from_le_bytes(bytes.as_chunks().0[index]);
        Claim { key: [word(0), word(1)], token: Token(word(2)) }
    }
}

/// Returns a ttl in nanoseconds. A ttl that does not fit becomes the largest one, which never ends.
#[inline]
pub(crate) fn ttl_ns(ttl: Duration) -> Result<u64> {
    match ttl.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(ttl.subsec_nanos())) {
        0 => Err(Error::option("ttl", "0", "a key's ttl must be greater than 0")),
        ns => Ok(ns),
    }
}

/// How a key is claimed: see [`Worker::claim_with`](crate::Worker::claim_with).
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// # let worker = bus.join()?;
/// use std::time::Duration;
/// use seqcast::ClaimOptions;
///
/// let options = ClaimOptions::new(Duration::from_secs(30)).ends_with_holder(true);
/// if let Some(claim) = worker.claim_with("nightly-mail", &options)?.won() {
///     worker.release(&claim)?;
/// }
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "options do nothing until a key is claimed with them"]
pub struct ClaimOptions {
    ttl: Duration,
    ends_with_holder: bool,
}

impl ClaimOptions {
    /// Returns the options of a claim that is held for `ttl` and outlives its holder, like a
    /// [`Worker::claim`](crate::Worker::claim).
    pub fn new(ttl: Duration) -> ClaimOptions {
        ClaimOptions { ttl, ends_with_holder: false }
    }

    /// Sets if the claim ends with its holder. Default: `false`.
    ///
    /// Such a claim ends at its ttl, or as soon as the seat that won it has no holder any more: when its process is
    /// killed or ends in any other way, when it calls `exec`, and when the worker leaves. A process that is stopped
    /// keeps it. The kernel's lock of the seat proves this, so it does not depend on clocks or pids.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// use std::time::Duration;
    /// use seqcast::ClaimOptions;
    ///
    /// let (first, second) = (bus.join()?, bus.join()?);
    /// let options = ClaimOptions::new(Duration::from_secs(3600)).ends_with_holder(true);
    /// assert!(first.claim_with("nightly-mail", &options)?.won().is_some());
    /// assert!(second.claim_with("nightly-mail", &options)?.won().is_none());
    /// first.leave()?; // or its process is killed
    /// assert!(second.claim_with("nightly-mail", &options)?.won().is_some());
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn ends_with_holder(mut self, yes: bool) -> ClaimOptions {
        self.ends_with_holder = yes;
        self
    }

    /// Returns the ttl.
    pub fn get_ttl(&self) -> Duration {
        self.ttl
    }

    /// Returns `true` if the claim ends with its holder.
    pub fn get_ends_with_holder(&self) -> bool {
        self.ends_with_holder
    }

    pub(crate) fn term(&self) -> Result<Term> {
        let ends = if self.ends_with_holder { Ends::WithHolder } else { Ends::AtDeadline };
        Ok(Term { ttl: ttl_ns(self.ttl)?, ends })
    }
}

/// The state of the worker that won a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Winner {
    /// It lives, running or stopped.
    Alive,
    /// It died, and no other worker has taken its seat since.
    Dead,
    /// It left, or another worker has taken its seat since.
    Gone,
}

/// A key that is held, as returned by [`Bus::held`](crate::Bus::held).
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// # let worker = bus.join_with(&seqcast::WorkerOptions::new().label("web-1"))?;
/// use std::time::Duration;
///
/// let _claim = worker.claim("nightly-mail", Duration::from_secs(3600))?;
/// let held = bus.held("nightly-mail")?.expect("it is held");
/// assert_eq!((held.seat, held.label.as_str()), (worker.seat(), "web-1"));
/// println!("process {:?} has it for {:?} more", held.pid, held.left);
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldKey {
    /// The seat that won it.
    pub seat: u32,
    /// The state of that seat.
    pub winner: Winner,
    /// The process id of the seat's last holder, in its own pid namespace; `None` if the winner is gone.
    pub pid: Option<u32>,
    /// The label of the seat; empty if the winner is gone.
    pub label: String,
    /// The time since the key was won.
    pub since: Duration,
    /// The time for which it is still held.
    pub left: Duration,
    /// `true` if the claim ends with its holder, possibly before `left`.
    pub ends_with_holder: bool,
}

/// The hash of a unique key, keyed by a random number of the segment. The segment does not contain the key itself.
///
/// Its text form is 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(pub(crate) [u64; 2]);

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.0[0], self.0[1])
    }
}

impl FromStr for KeyHash {
    type Err = Error;

    /// # Errors
    ///
    /// [`ErrorKind::Option`] if the text is not 32 hexadecimal digits.
    fn from_str(text: &str) -> Result<KeyHash> {
        // The number's own parser would also accept a sign.
        let plausible = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match u128::from_str_radix(text, 16) {
            Ok(hash) if plausible => Ok(KeyHash([(hash >> 64) as u64, hash as u64])),
            _ => {
                let beginning: String = text.chars().take(64).collect();
                let shown = format!("{:?}", printable(&beginning));
                Err(Error::option("key hash", shown, "it must be 32 hexadecimal digits"))
            }
        }
    }
}

/// The result of a claim.
///
/// ```
/// # use std::time::Duration;
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// # let worker = bus.join()?;
/// use seqcast::Claimed;
///
/// match worker.claim("nightly-mail", Duration::from_secs(3600))? {
///     Claimed::Won(_) => println!("send it"),
///     Claimed::Held { seat, left, .. } => println!("seat {seat} sends it; again in {left:?}"),
///     _ => println!("there are too many claims"),
/// }
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "only the seat that won may do what the key stands for"]
#[non_exhaustive]
pub enum Claimed {
    /// The caller holds the key until the ttl ends or the claim is released.
    Won(Claim),
    /// Another seat holds the key.
    #[non_exhaustive]
    Held {
        /// The number of the holder's seat.
        seat: u32,
        /// Time until the key is free. Never too short; too long by at most one kernel tick (10 ms). If the claim ends
        /// with its holder, the key may be free earlier.
        left: Duration,
    },
    /// The bucket of this key has no room; raise [`SegmentOptions::claims`](crate::SegmentOptions::claims).
    Full,
}

impl Claimed {
    /// Returns the claim if the caller has won it.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// if let Some(claim) = worker.claim("nightly-mail", Duration::from_secs(3600))?.won() {
    ///     // send it, and release the key if that fails:
    ///     worker.release(&claim)?;
    /// }
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn won(self) -> Option<Claim> {
        match self {
            Claimed::Won(claim) => Some(claim),
            _ => None,
        }
    }
}

/// The key of a unique event, with an optional ttl; the default ttl is the worker's
/// [`timeout`](crate::WorkerOptions::timeout).
///
/// Bytes and text convert into it, as they do into the key of a [`claim`](crate::Worker::claim).
///
/// ```
/// # use std::time::Duration;
/// use seqcast::Unique;
///
/// let _ = Unique::from("refresh:users");
/// let _ = Unique::key("nightly-mail").ttl(Duration::from_secs(3600));
/// ```
#[derive(Clone, Copy)]
pub struct Unique<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) ttl: Option<Duration>,
}

impl<'a> Unique<'a> {
    /// Returns a key without a ttl of its own.
    pub fn key<K: AsRef<[u8]> + ?Sized>(key: &'a K) -> Unique<'a> {
        Unique { key: key.as_ref(), ttl: None }
    }

    /// Sets how long the key is held after the first worker has reached the event. It must be greater than zero.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Unique<'a> {
        self.ttl = Some(ttl);
        self
    }
}

impl<'a, K: AsRef<[u8]> + ?Sized> From<&'a K> for Unique<'a> {
    fn from(key: &'a K) -> Unique<'a> {
        Unique::key(key)
    }
}

impl fmt::Debug for Unique<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A key may contain payload bytes.
        f.debug_struct("Unique").field("key_len", &self.key.len()).field("ttl", &self.ttl).finish()
    }
}
