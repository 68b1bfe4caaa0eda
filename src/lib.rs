//! An event bus in shared memory for the worker processes of one host.

#![deny(missing_docs, missing_debug_implementations, unsafe_op_in_unsafe_fn)]
#![deny(clippy::undocumented_unsafe_blocks)]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("seqcast needs 64-bit Linux: open file description locks, futex, memfd and MADV_WIPEONFORK");

mod bus;
mod claimer;
mod counters;
mod error;
mod event;
mod handlers;
mod layout;
mod mapping;
mod message;
mod poller;
mod poster;
pub mod process;
mod protocol;
mod reader;
mod report;
mod seat;
mod segment;
mod stats;
mod sync;
mod sync_util;
mod sys;
mod worker;
mod worker_options;
mod writer;

pub use bus::{Bus, stat, unlink};
pub use error::{Error, Holder, Result};
pub use event::{Event, Handleable, Postable, SOURCE, STARTED, STOPPING, Serializer, Topic, TypedEvent};
pub use handlers::{Handler, Outcome, Registration, Scope};
pub use layout::{Field, Options, fields};
pub use poller::Poller;
pub use poster::Poster;
pub use report::{HandlerError, HandlerPanic, Report, Trouble};
pub use rkyv;
pub use stats::{Stats, WorkerStats};
pub use worker::{Claim, Claimed, Polled, Reservation, Worker};
pub use worker_options::{Start, Unique, WorkerOptions};
