//! orbit-core: its only ring that orders all writers and survives their death, one for each direction.

use bytes::Bytes;
use orbit_core::ring::cursor::RingCursor;
use orbit_core::{Fleet, NodeId, OrbitTyped, RingSpec};

use crate::scratch;
use crate::support::channel::{Channel, End, Side, Sink};

/// A ring's type: payloads of `N` bytes, in one direction.
#[derive(Clone)]
struct Ring<const N: usize, const TO_FAR: bool>;

impl<const N: usize, const TO_FAR: bool> OrbitTyped for Ring<N, TO_FAR> {
    const KIND: u8 = 20 + 2 * N.trailing_zeros() as u8 + TO_FAR as u8;
    const RING_SPEC: RingSpec = RingSpec::shared_ordered(if N > 1024 { 256 } else { 4096 }, N);
}

pub struct Orbit<const N: usize> {
    name: String,
    _fleet: Fleet,
}

impl<const N: usize> Orbit<N> {
    pub fn new() -> Orbit<N> {
        let name = scratch::name();
        let fleet = join(&name, 0);
        Orbit { name, _fleet: fleet }
    }
}

fn join(name: &str, node: u16) -> Fleet {
    Fleet::join_shm_as(name, 8, NodeId::new(node)).expect("a fleet")
}

impl<const N: usize> Drop for Orbit<N> {
    fn drop(&mut self) {
        // Its segments remain after the last member.
        scratch::remove_shared_memory(&self.name);
    }
}

pub struct OrbitEnd<const N: usize> {
    fleet: Fleet,
    near: bool,
    cursor: RingCursor,
    missed: u64,
    sink: &'static Sink,
}

impl<const N: usize> Channel for Orbit<N> {
    type End = OrbitEnd<N>;

    fn open(&self, side: Side, sink: &'static Sink) -> OrbitEnd<N> {
        let near = side == Side::Near;
        let fleet = join(&self.name, if near { 1 } else { 2 });
        let cursor =
            if near { fleet.cursor_at_head::<Ring<N, false>>() } else { fleet.cursor_at_head::<Ring<N, true>>() };
        OrbitEnd { fleet, near, cursor, missed: 0, sink }
    }
}

impl<const N: usize> End for OrbitEnd<N> {
    fn send(&mut self, payload: &[u8]) {
        let bytes = Bytes::copy_from_slice(payload);
        if self.near {
            self.fleet.publish::<Ring<N, true>>(1, 0, bytes);
        } else {
            self.fleet.publish::<Ring<N, false>>(1, 0, bytes);
        }
    }

    fn poll(&mut self) {
        let polled = if self.near {
            self.fleet.poll_ring::<Ring<N, false>>(&mut self.cursor)
        } else {
            self.fleet.poll_ring::<Ring<N, true>>(&mut self.cursor)
        };
        self.missed += polled.loss.total();
        for frame in polled.frames {
            self.sink.take(&frame.payload);
        }
    }

    fn missed(&self) -> u64 {
        self.missed
    }
}
