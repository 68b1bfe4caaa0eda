//! A worker: one seat on the bus, with handlers.

mod bell;
mod claiming;
mod default_report;
#[cfg(test)]
mod fork_tests;
mod handle;
pub(crate) mod handlers;
mod inner;
mod leaving;
mod options;
pub(crate) mod panics;
pub(crate) mod poller;
mod polling;
mod posting;
mod reporting;
mod retained;
#[cfg(test)]
mod tests;
#[cfg(feature = "typed")]
mod typed;
mod waiting;
pub(crate) mod waker;
mod weak;

pub use self::bell::Bell;
pub use self::handle::Worker;
pub use self::handlers::handler::{Handler, Outcome};
pub use self::handlers::registry::Registration;
pub use self::poller::Poller;
pub use self::polling::polled::Polled;
pub use self::waiting::Waited;
pub use self::waker::Waker;
pub use self::weak::WeakWorker;
