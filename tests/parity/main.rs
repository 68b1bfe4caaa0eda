//! The behaviour of lua-resty-worker-events that its users rely on, and faults that it was seen to have.

mod calls;
mod faults;
mod handlers;
mod options;
mod poller;
mod process_wide;
mod reports;
#[cfg(feature = "typed")]
mod typed;
