//! Subscribers and workers for [tokio](https://docs.rs/tokio): the handles of this module wait as tasks, without
//! threads or timers of their own.
//!
//! [`AsyncSubscriber`] is a [`Subscriber`](crate::Subscriber) that is awaited. [`AsyncWorker`] polls a
//! [`Worker`](crate::Worker), whose handlers then run on the task that awaits. Posting, claiming and reserving never
//! wait for other processes: call them from tasks as they are.
//!
//! Both register a bell ([`PullBell`](crate::PullBell), [`Bell`](crate::Bell)) with the runtime, once. Make them when
//! the service starts and keep them, because dropping a bell takes up to some milliseconds.
//!
//! Create the runtime after the fork, because a forked child cannot use its parent's runtime. In a child that inherits
//! one of these handles, each call returns [`ErrorKind::Forked`](crate::ErrorKind::Forked), and a drop does not end the
//! parent's registration.
//!
//! With other runtimes, wait for the descriptor of a bell: see the [page about event loops](crate::docs::event_loops).

mod ready;
mod subscriber;
mod worker;

pub use subscriber::{AsyncSubscriber, Deliveries};
pub use worker::AsyncWorker;
