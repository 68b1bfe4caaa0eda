//! Events between the worker processes of one host, through shared memory, without a broker and without locks.
//!
//! Every worker sees every event, in one order. An event can be marked unique, so that one worker runs it. Whatever is
//! killed or stopped at whatever instruction, the others go on, and nobody sees half an event.
//!
//! ```
//! use seqcast::{Bus, SegmentOptions, Scope};
//!
//! # let name = format!("doc-lib-{}", std::process::id());
//! # let options = SegmentOptions::new().unlink_on_drop(true);
//! # /*
//! let bus = Bus::open_or_create("my-server")?; // in the master, before it forks
//! # */
//! # let bus = options.open_or_create(&name)?;
//! let worker = bus.join()?; // in each worker process
//! worker.on(Scope::source("cache"), |event| {
//!     println!("drop {} from the cache", String::from_utf8_lossy(event.bytes()));
//! })?;
//! worker.post(("cache", "stale"), "user:42")?; // reaches all workers, this one too
//! worker.poll()?; // on every request, or worker.wait(..), or worker.start_poller()
//! # Ok::<(), seqcast::Error>(())
//! ```
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | segment | the named shared-memory object: header, seats, ring, claims |
//! | [`Bus`] | a process's handle on a segment |
//! | [`Worker`] | one seat on the bus: reads all events in order, posts events; one per process as a rule |
//! | [`Subscriber`] | one seat that is read by pulling, for event loops and other languages |
//! | [`Publisher`] | a seat that only posts, for a thread that posts much |
//! | event id | position in the one order, from 0 |
//! | source, event | what an event is about, and what happened |
//! | unique | of an event: one worker runs it at most, and none while its key is held for an earlier one |
//! | claim | the right to run a unique key until its ttl is over |
//! | reserved | of an id: taken, its payload still to come |
//! | lapped | of a worker: its next event has been overwritten by newer ones |
//!
//! # What is promised
//!
//! | | |
//! |---|---|
//! | G1 order | all workers deliver events in increasing id; one id has one content for everybody |
//! | G2 all or none | an id is an event for every worker that is not lapped, or for none |
//! | G3 never torn | no worker accepts bytes of two events mixed |
//! | G4 no silent loss | a lapped worker is told, in order, how many ids it missed, exactly |
//! | G5 a post is not lost | `post` returns the id at which the event is visible, or an error, and then nobody sees it |
//! | G6 nobody waits for another process | but a reader that meets a *reserved* id, for `wait_max` at most |
//! | G7 kill-safe | SIGKILL at any instruction of any process: the others go on, nothing leaks beyond the next join |
//! | G8 stop-safe | SIGSTOP at any instruction, for any time: the process that wakes up harms nothing |
//! | G9 unique | at most one worker ever runs a unique event, whatever the clock and the ring do |
//! | G10 hostile bytes | any content of a segment gives an error or a refused payload: no undefined behaviour, no panic |
//! | G11 idle is free | a poll with nothing new is a few loads that stay in the cache: no system call, store, lock or clock |
//! | G12 fork-safe | a handle used in a forked child gives [`ErrorKind::Forked`]; a child's exit disturbs nobody |
//!
//! What is NOT promised: that a slow worker sees everything (the ring is overwritten; it is told what it missed), that
//! events survive the last process and the segment, that they reach another host, or that a process with write access
//! to the segment cannot spoil it for all.
//!
//! # Fork
//!
//! Open the [`Bus`] in the master; join in each child. What joined before the fork stays the parent's. A master that
//! drops privileges in its children joins them before, or gives the segment to the workers' user with
//! [`SegmentOptions::owner`].
//!
//! What a forked child can do with what it inherits:
//!
//! | handle | in the child |
//! |---|---|
//! | [`Bus`] | works, and its drop never unlinks the name |
//! | [`Worker`], [`Publisher`], [`Reservation`] | every call gives [`ErrorKind::Forked`] and does nothing; `unregister` returns `false` |
//! | [`Poller`] | its thread is not there: `stop` gives [`ErrorKind::Forked`] |
//! | [`Waker`] | does nothing |
//! | [`process::worker`] | gives [`ErrorKind::NotConfigured`], until the child configures its own |
//! | [`inspect::Inspector`], [`inspect::Tail`] | work |
//!
//! Whatever other threads were doing at the fork, none of these calls waits for them, and neither does a drop. A drop
//! frees the child's copy of memory and descriptors only; what another thread was in the middle of changing is leaked.
//!
//! A handler may fork, and so may a reporter, a `Drop` that the library runs, or anything else of yours that it calls.
//! If the child returns from there, the call that it is in, such as [`Worker::poll`], runs no further handler, stores
//! nothing, and gives [`ErrorKind::Forked`] in the child; the parent goes on. On a [`Poller`]'s thread there is nothing
//! to return to: the thread ends, and with it the child, with exit status 0.
//!
//! A child is known by a page that the kernel wipes in it (`MADV_WIPEONFORK`) and by a handler of `pthread_atfork`. So
//! `fork` is supported everywhere, and a raw `clone` or `_Fork`, which run no handlers, where the kernel does wipe the
//! page: Linux 4.14 and later, but not gVisor, qemu's user mode, or under a seccomp filter that answers for the kernel.
//!
//! # Signals
//!
//! A signal handler may call [`Waker::wake`], and nothing else of this crate: it is the one call that is
//! async-signal-safe. All that post, poll, claim, reserve, register, look or change options take locks or allocate. So
//! a handler stores a flag and wakes; what the flag asks for is done in the loop that [`Worker::wait`] returns to.
//! Where the process's signals are not its own to handle, as in an extension of a language's runtime,
//! [`Worker::wait_interruptible`] returns after each.
//!
//! A thread that polls and is interrupted goes on where it was. A handler must return: one that leaves by `longjmp`, or
//! that forks a child which returns from it, leaves the call that it interrupted half done. Only a wait takes that, and
//! gives [`ErrorKind::Forked`] in the child. A [`Poller`]'s thread takes no signals.
//!
//! # Panics
//!
//! A handler that panics is reported like one that returns an error, and the next handler runs. The process's panic
//! hook is yours: it gets these panics, too, and the crate does not change it. [`process::install_panic_hook`] adds
//! location and backtrace to the reports. A reporter, an error, or a value that panics when it is dropped ends no poll
//! either.
//!
//! # Features
//!
//! `typed`, on by default: values of Rust types as events, archived by [rkyv](https://docs.rs/rkyv). Without it events
//! carry bytes and text, and rkyv is not built.
//!
//! `tokio`: [`tokio::AsyncSubscriber`] and [`tokio::AsyncWorker`], which wait as tasks.
//!
//! `tracing`: where the thread that reports has a subscriber, reports go to `tracing` and not to standard error.

// Pages that stand without the feature name what comes with it.
#![cfg_attr(not(feature = "typed"), allow(rustdoc::broken_intra_doc_links))]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(missing_docs, missing_debug_implementations)]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("seqcast needs 64-bit Linux: open file description locks, futex, memfd and MADV_WIPEONFORK");

mod bus;
mod claim;
#[cfg(doc)]
pub mod docs;
mod error;
mod event;
mod identity;
pub mod inspect;
mod os;
pub mod process;
mod protocol;
mod seat;
mod segment;
mod sync;
#[cfg(feature = "tokio")]
pub mod tokio;
mod worker;

pub use bus::{Bus, unlink};
pub use claim::{Claim, Claimed, Unique};
pub use error::{Cause, Difference, Error, ErrorKind, Holder, Result, SizeLimit};
pub use event::{Event, EventBuilder, Payload, Tagged, Topic, library};
#[cfg(feature = "typed")]
pub use event::{Typed, TypedEvent};
pub use identity::{BusId, Position};
#[cfg(feature = "typed")]
pub use rkyv;
pub use seat::bell::options::{BellKind, BellOptions};
pub use seat::bell::pull::PullBell;
pub use seat::delivery::{Delivery, Undecided};
pub use seat::options::{Start, WorkerOptions};
pub use seat::publisher::Publisher;
pub use seat::report::{HandlerError, HandlerPanic, Report, Trouble};
pub use seat::reservation::Reservation;
pub use seat::stats::{Stats, WorkerStats};
pub use seat::subscriber::Subscriber;
pub use segment::options::SegmentOptions;
pub use worker::{Bell, Handler, Outcome, Polled, Poller, Registration, Scope, Waited, Waker, WeakWorker, Worker};

/// The README's program, so that it keeps compiling.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
