//! Claims, their results, and unique keys.

use std::fmt;
use std::time::Duration;

use crate::protocol::claims::Token;

/// The right to run a unique key until its ttl ends.
///
/// Dropping a claim does not release it. Keep it to [`release`](crate::Worker::release) it, or let the ttl end it.
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
    /// Returns the claim as plain data, to be stored outside Rust or released by another worker of this bus.
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
        /// Time until the key is free. Never too short; too long by at most one kernel tick (10 ms).
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
