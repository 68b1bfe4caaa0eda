//! How large a world is.

/// What there is of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) workers: usize,
    /// How many of the workers join while the others are at work.
    pub(crate) joiners: usize,
    pub(crate) keys: u64,
    /// Cells of the ring.
    pub(crate) capacity: u64,
    /// Entries of the one bucket.
    pub(crate) entries: usize,
    pub(crate) events: u64,
    /// Claims without an event.
    pub(crate) alone: u64,
    pub(crate) ttl: u64,
    /// How far the clock goes.
    pub(crate) clock: u64,
    pub(crate) kills: u32,
    /// Whether winners release.
    pub(crate) releases: bool,
}
