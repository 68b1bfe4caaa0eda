//! What the users of lua-resty-worker-events rely on, row by row of PARITY.md, and the faults it was seen to have.

#[path = "../common/mod.rs"]
#[macro_use]
mod common;

mod calls;
mod faults;
mod handlers;
mod options;
mod poller;
mod process_wide;
mod reports;
mod typed;
