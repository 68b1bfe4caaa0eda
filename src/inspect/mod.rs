//! Inspects a segment from outside, for operators and monitoring.
//!
//! An [`Inspector`] maps the segment read-only and takes no seat: it cannot change the segment, and no worker waits for
//! it. The command `seqcast` (package `seqcast-cli`) is built on this module.
//!
//! ```
//! use seqcast::inspect::{Inspector, Seen};
//! use seqcast::{SegmentOptions, Start};
//!
//! # let name = format!("doc-inspect-{}", std::process::id());
//! # let bus = SegmentOptions::new().unlink_on_drop(true).create(&name)?;
//! # let worker = bus.join()?;
//! worker.post(("cache", "stale"), "user:42")?;
//! let inspector = Inspector::open(&name)?;
//! assert_eq!(inspector.stats()?.workers.len(), 1);
//! let mut tail = inspector.tail(Start::Oldest)?;
//! while let Some(seen) = tail.try_next()? {
//!     if let Seen::Event(event) = seen {
//!         println!("{} {}/{}: {} bytes", event.id, event.source, event.event, event.len);
//!     }
//! }
//! # Ok::<(), seqcast::Error>(())
//! ```
//!
//! Writers never wait for an inspector, so it may miss events. What it missed is a [`Seen::Gap`].
//!
//! [`adopt_dead`] and [`unlink_unheld`] are the exceptions: they repair, and write.

mod claims;
mod faults;
mod header;
mod inspector;
mod layout;
mod list;
mod must;
mod processes;
mod relay;
mod repair;
mod tail;

pub use self::claims::{ClaimEntry, ClaimKind};
pub use self::faults::Faults;
pub use self::header::Header;
pub use self::inspector::Inspector;
pub use self::layout::{Region, fields};
pub use self::list::{Listed, list, names};
pub use self::must::MustReader;
pub use self::processes::{Namespaces, OpenBy, Processes};
pub use self::relay::{Health, RelayPresence, RelayState};
pub use self::repair::{adopt_dead, unlink_unheld};
pub use self::tail::{Seen, SeenEvent, SeenRelayed, SeenRetained, SeenUnique, Tail, UniqueState};
pub use crate::claim::{HeldKey, KeyHash, Winner};
pub use crate::os::text::{Printable, is_printable, printable};
pub use crate::seat::audit::{Audit, PoolAudit};
pub use crate::segment::layout::Field;
