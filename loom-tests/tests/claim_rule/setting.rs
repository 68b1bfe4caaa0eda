//! The size of a world.

/// The numbers of a world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) workers: usize,
    /// The number of workers that join while the others work.
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
    /// The last time of the clock.
    pub(crate) clock: u64,
    pub(crate) kills: u32,
    /// `true` if winners release.
    pub(crate) releases: bool,
    /// `true` if claims without an event end with their holders, and winners renew and complete.
    pub(crate) lives: bool,
}
