//! The behaviour that users of lua-resty-worker-events rely on, row by row of PARITY.md, and the faults that it was
//! seen to have.

mod calls;
mod faults;
mod handlers;
mod options;
mod poller;
mod process_wide;
mod reports;
#[cfg(feature = "typed")]
mod typed;
