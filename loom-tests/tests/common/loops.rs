//! What `src/sync.rs` has for the processor alone. The models run the loops that these functions stand for.

pub(crate) const PREFETCHES: bool = false;

pub(crate) fn prefetch_to_write<W>(_: &W) {}

pub(crate) fn prefetch_to_read<W>(_: &W) {}

pub(crate) fn store_many<W>(_: &[W], _: &[[u8; 8]], _: bool) -> bool {
    false
}

pub(crate) fn load_many<W>(_: &[W], _: &mut [[u8; 8]]) -> bool {
    false
}

pub(crate) fn copy_many<W>(_: &[W], _: &[W]) -> bool {
    false
}
