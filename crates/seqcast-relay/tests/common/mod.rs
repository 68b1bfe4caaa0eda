//! What the tests of the relay share: servers, links that fail, hosts, and an oracle.

#![allow(dead_code)]

pub mod host;
pub mod oracle;
pub mod proxy;
pub mod run;
pub mod server;
