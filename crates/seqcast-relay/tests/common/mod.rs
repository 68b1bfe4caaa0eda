//! Servers that the tests start, each with a Unix socket in a folder of its own.

#![allow(dead_code)]

pub mod server;
