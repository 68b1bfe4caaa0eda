//! Carries the events of a seqcast segment to the segments of other hosts.
//!
//! One process for each host, `seqcast-relay`, reads the segment in order and appends to one stream of Redis or Valkey.
//! It reads the same stream, and posts into the segment. `docs/relay.md` is for operators; this page is for people who
//! change the relay, or run it inside of a program of their own: see [`run()`].
//!
//! ```text
//!            ring                 queue                          engine
//! segment ---------> ring thread --------> sender  ------------> stream
//!    ^                                                             |
//!    +------------------------ receiver <--------------------------+
//! ```
//!
//! | module | what it knows |
//! |---|---|
//! | [`run()`] | the three threads of a relay |
//! | `ring`, `queue`, `up` | the way up: read the ring, keep what is not acknowledged, send |
//! | `down` | the way down: read the stream, notice what it has forgotten, post |
//! | [`engine`] | the trait behind which the server is, and Redis and Valkey behind it |
//! | [`batch`] | the bytes of one entry of the stream |
//! | [`chain`], [`follow`] | the hash chain, and how a reader compares an entry with its own position |
//! | [`spool`] | what was read from the ring and is not acknowledged |
//! | [`retained`] | how an event changes what the hosts retain |
//! | [`select`] | which sources travel |
//! | [`context`], [`log`], [`metrics`], [`http`], [`notify`] | what operators set and see |
//!
//! # Guarantees
//!
//! | | |
//! |---|---|
//! | R1 order of a sender | Other hosts deliver the events of one segment in the order of its ring. |
//! | R2 one order | All hosts deliver ordered events by place, between two reports of missed events. |
//! | R3 cause before effect | What a worker posts after an event is delivered after it, between two such reports. |
//! | R4 once | No event is delivered twice on a host, whatever is killed; one exception is counted. |
//! | R5 no silent loss | What is not delivered is reported before the next event of the same segment. |
//! | R6 a forgetful engine | A rollback or a wipe is noticed at the next entry, or within a second. |
//! | R7 local life | The guarantees within a host do not depend on the engine. |
//! | R8 unique | One worker of all hosts runs a unique event, as long as the engine loses nothing. |
//! | R9 a dead relay | Its successor continues without loss, while the ring holds what was not sent. |
//! | R10 hostile bytes | An entry that is no batch is refused and reported. |
//!
//! R4: if a relay is killed in the instant of a post, and the ring is overwritten before its successor looks, that one
//! event may be delivered twice.

#![deny(missing_docs, missing_debug_implementations)]

pub mod backoff;
pub mod batch;
pub mod chain;
pub mod context;
mod down;
pub mod engine;
pub mod follow;
pub mod http;
pub mod log;
pub mod metrics;
pub mod notify;
mod queue;
pub mod retained;
mod ring;
mod run;
pub mod select;
pub mod spool;
mod up;

pub use run::{cluster_key, run};
