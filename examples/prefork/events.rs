//! The events of this example.
//!
//! Each name is defined once here, so that a misspelt one does not compile. Some events are typed: an rkyv value that
//! its handler gets validated and in place. Others are plain bytes.

use rkyv::{Archive, Serialize};
use seqcast::{Topic, TypedEvent, event_list};

event_list! {
    /// About pages in the workers' caches.
    pub mod cache = "cache" {
        /// One page is stale: an [`Invalidate`](super::Invalidate).
        INVALIDATE = "invalidate",
        /// All pages are stale. No payload.
        PURGE = "purge",
        /// A page for all caches: a [`Rendered`](super::Rendered).
        RENDERED = "rendered",
    }
}

event_list! {
    /// About upstreams. The payload is the upstream's name.
    pub mod health = "health" {
        DOWN = "down",
        UP = "up",
    }
}

event_list! {
    /// Work for one of the workers. These are posted as unique events.
    pub mod jobs = "jobs" {
        /// Render a page: a [`Render`](super::Render).
        RENDER = "render",
    }
}

event_list! {
    /// Events of the master.
    pub mod server = "server" {
        /// Stop. No payload. In every worker the same events come before this one.
        STOP = "stop",
    }
}

/// A page is stale.
#[derive(Archive, Serialize)]
pub struct Invalidate {
    pub key: String,
    /// [`now_ns`] of the poster, to measure the time until a handler runs.
    pub posted_ns: u64,
}

impl TypedEvent for Invalidate {
    const TOPIC: Topic<'static> = cache::INVALIDATE;
}

/// A page was rendered again; here it is.
#[derive(Archive, Serialize)]
pub struct Rendered {
    pub key: String,
    pub page: String,
    /// As in [`Invalidate`].
    pub posted_ns: u64,
}

impl TypedEvent for Rendered {
    const TOPIC: Topic<'static> = cache::RENDERED;
}

/// A request to render a page again; one worker is enough.
#[derive(Archive, Serialize)]
pub struct Render {
    pub key: String,
}

impl TypedEvent for Render {
    const TOPIC: Topic<'static> = jobs::RENDER;
}

/// A clock that all processes of the host share, in nanoseconds.
pub fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
