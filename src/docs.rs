//! Pages of the repository: how the crate works, and the evidence.

/// The algorithm, the floors of the source tree, and why the guarantees hold.
///
/// [rejected]: rejected
/// [survival]: survival
/// [weak-memory]: weak_memory
#[doc = include_str!("../ARCHITECTURE.md")]
pub mod architecture {}

/// Each fault that was tried, its effect on the other workers, and the test for it.
#[doc = include_str!("../docs/survival.md")]
pub mod survival {}

/// Each access to a word that another thread or process may write, with its ordering and the reason.
#[doc = include_str!("../docs/weak-memory.md")]
pub mod weak_memory {}

/// Designs that were tried and dropped, with the reason and the figure.
#[doc = include_str!("../docs/rejected.md")]
pub mod rejected {}

/// The trust model, and what a process with write access to a segment can do.
#[doc = include_str!("../SECURITY.md")]
pub mod security {}

/// How to wait for events in an event loop: tokio, mio, async-io, epoll, poll, io_uring, libuv.
#[doc = include_str!("../docs/event_loops.md")]
pub mod event_loops {}
