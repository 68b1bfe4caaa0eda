//! The operating system: clocks, the fork check, futexes, byte locks, `/proc`, mappings. This module contains nothing
//! specific to seqcast.

pub(crate) mod cgroup;
pub(crate) mod clock;
pub(crate) mod descriptor;
pub(crate) mod fnv;
pub(crate) mod fork;
pub(crate) mod futex;
pub(crate) mod locks;
pub(crate) mod mapping;
pub(crate) mod pack;
pub(crate) mod ready_set;
pub(crate) mod signals;
pub(crate) mod stderr;
pub(crate) mod streaming;
pub(crate) mod string_move;
pub(crate) mod sys;
pub(crate) mod text;
