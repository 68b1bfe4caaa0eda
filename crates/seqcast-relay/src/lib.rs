//! Carries the events of a seqcast segment to the segments of other hosts.
//!
//! One process for each host, `seqcast-relay`, reads the segment in order and appends to one stream of Redis or Valkey.
//! It reads the same stream, and posts into the segment. `docs/relay.md` is for operators; this page is for people who
//! change the relay.
//!
//! | module | what it knows |
//! |---|---|
//! | [`engine`] | the trait behind which the server is, and Redis and Valkey behind it |
//! | [`batch`] | the bytes of one entry of the stream |
//! | [`chain`] | the hash chain by which a reader notices that the stream's past was rewritten |
//! | [`follow`] | how a reader compares an entry with its own position |
//! | [`spool`] | what was read from the ring and is not acknowledged |
//! | [`backoff`] | how long to wait before the next attempt |

#![deny(missing_docs, missing_debug_implementations)]

pub mod backoff;
pub mod batch;
pub mod chain;
pub mod engine;
pub mod follow;
pub mod spool;
