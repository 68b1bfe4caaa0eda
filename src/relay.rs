//! The seat of a relay: what carries events from this host to others, and from others to this host.
//!
//! One process per host is the relay of a segment. The package `seqcast-relay` is such a process, over Redis or Valkey.
//! This module has what any such process needs, whatever the engine between the hosts is: it knows nothing of it.
//!
//! - [`RelayReader`] reads what the workers of this host post, in order, and the requests of
//!   [`post_cluster`](crate::Worker::post_cluster), which no worker sees.
//! - [`RelayPoster`] posts what comes from other hosts, and keeps in the segment what its successor must know. Each
//!   event is posted at most once, wherever the relay is killed.
//!
//! Two words: an *origin* is one segment among the hosts, and a *place* is the position of an event in the order that
//! all hosts share.
//!
//! ```
//! use std::time::Duration;
//! use seqcast::relay::{Foreign, Outgoing, OutgoingKind, RelayOptions};
//! use seqcast::{ClusterId, SegmentOptions};
//!
//! let (here, there) = (SegmentOptions::new().anonymous()?, SegmentOptions::new().anonymous()?);
//! let worker = there.join()?;
//! worker.on(("cache", "stale"), |event| println!("{event:?}"))?;
//!
//! // The engine between the hosts is one loop here.
//! let (mut reader, _) = here.relay(&RelayOptions::new())?.split();
//! let (_, mut poster) = there.relay(&RelayOptions::new())?.split();
//! here.publisher()?.post(("cache", "stale"), "user:42")?;
//! let mut n = 0;
//! while reader.wait(Duration::ZERO)? {
//!     let Some(Outgoing::Event(event)) = reader.try_next()? else { continue };
//!     if event.kind == OutgoingKind::Local {
//!         let place = ClusterId { timeline: 1, n };
//!         n += 1;
//!         poster.post(&Foreign::new(here.origin(), event.id, place, event.source, event.event, event.bytes))?;
//!     }
//! }
//! assert_eq!(worker.poll()?.delivered(), 1);
//! # Ok::<(), seqcast::Error>(())
//! ```

pub use crate::event::{Missed, MissedReason, Whence};
pub use crate::identity::{ClusterId, Origin};
pub use crate::seat::relay::poster::RelayPoster;
pub use crate::seat::relay::reader::RelayReader;
pub use crate::seat::relay::region::Health;
pub use crate::seat::relay::travel::{
    Foreign, Kept, Outgoing, OutgoingEvent, OutgoingKind, OutgoingUnique, Recovered, StreamPosition,
};
pub use crate::seat::relay::{Relay, RelayOptions};
