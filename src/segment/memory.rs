//! The mapped bytes of a segment, and the offsets in them.

use std::sync::Arc;

use rustix::io::retry_on_intr;

use super::fingerprint::fingerprint;
use super::geometry::{Geometry, PoolRegions, Regions};
use super::layout::{RELAY_BYTES, header_word, magic};
use super::options::SegmentOptions;
use super::pools::{POOLS, PoolId};
use super::storage::native_words;
use super::unique_hash::UniqueHash;
use crate::error::{Error, Result};
use crate::os::mapping::Mapping;
use crate::os::sys;
use crate::protocol::bridge::BRIDGE_WORDS;
use crate::protocol::pool::Pool;
use crate::protocol::relay::ORIGIN_WORDS;
use crate::protocol::room::Musts;
use crate::protocol::seat_words::{self, HAND_WORDS};
use crate::sync::{Ordering, Words};

#[derive(Debug)]
pub(super) struct Memory {
    pub(super) mapping: Arc<Mapping>,
    pub(super) geometry: Geometry,
    pub(super) regions: Regions,
}

impl Memory {
    pub(super) fn of(mapping: Mapping, geometry: Geometry, regions: Regions, options: &SegmentOptions) -> Memory {
        if !options.dump {
            mapping.keep_out_of_dumps();
        }
        Memory { mapping: Arc::new(mapping), geometry, regions }
    }

    fn words(&self, offset: usize, len: u64) -> Words {
        Words::of(&self.mapping, offset, len as usize).expect("the regions lie inside the mapping")
    }

    pub(super) fn header(&self) -> Words {
        self.words(0, header_word!(tail) as u64)
    }

    pub(super) fn tail(&self) -> Words {
        self.words(header_word!(tail) * 8, 1)
    }

    pub(super) fn large_tail(&self) -> Words {
        self.words(header_word!(large_tail) * 8, 1)
    }

    pub(super) fn seats(&self) -> Words {
        self.words(self.regions.seats, self.geometry.seats * seat_words::WORDS as u64)
    }

    /// One that the segment has.
    /// Returns the words about the bridge that reads the segment.
    pub(super) fn bridge(&self) -> Words {
        self.words(header_word!(bridge) * 8, BRIDGE_WORDS as u64)
    }

    pub(super) fn pool(&self, pool: PoolId) -> Pool {
        let stride = self.geometry.pool(pool).stride;
        let at: PoolRegions = self.regions.pools[pool as usize];
        let blocks = self.words(at.blocks, self.geometry.blocks(pool) * (stride / 8));
        Pool::new(self.words(at.cells, self.geometry.cells(pool)), blocks, stride as usize / 8)
    }

    /// The words in which seats announce retained events.
    pub(super) fn announced(&self) -> Words {
        self.words(self.regions.announced, self.geometry.seats)
    }

    /// The words that tell which readers are waited for.
    pub(super) fn musts(&self) -> Musts {
        Musts::new(self.words(self.regions.must, self.geometry.seats), self.seats())
    }

    /// The words of the relay's region.
    pub(super) fn relay(&self) -> Words {
        self.words(self.regions.relay, RELAY_BYTES as u64 / 8)
    }

    /// The words of the relay's table of origins.
    pub(super) fn origins(&self) -> Words {
        self.words(self.regions.origins, self.geometry.relay_hosts * ORIGIN_WORDS as u64)
    }

    /// Returns the words of the hand that `seat` has in a pool.
    pub(super) fn hand(&self, pool: PoolId, seat: u16) -> Words {
        self.seats().sub(usize::from(seat) * seat_words::WORDS + pool.spec().hand, HAND_WORDS)
    }

    /// Turns zeroed memory into a finished segment.
    pub(super) fn format(&self, birth: &Birth) {
        for spec in self.geometry.pools() {
            let hands: Vec<Words> = (0..=self.geometry.last_seat()).map(|seat| self.hand(spec.id, seat)).collect();
            self.pool(spec.id).format(&hands);
        }
        let header = self.header();
        // Relaxed: no process reads these words before the magic is stored.
        let set = |word: usize, value| header.at(word).store(value, Ordering::Relaxed);
        let boot_id = sys::boot_id();
        set(header_word!(fingerprint), fingerprint());
        set(header_word!(nonce), birth.nonce[0]);
        set(header_word!(nonce) + 1, birth.nonce[1]);
        set(header_word!(boot_id), boot_id[0]);
        set(header_word!(boot_id) + 1, boot_id[1]);
        set(header_word!(hash_key), birth.hash_key[0]);
        set(header_word!(hash_key) + 1, birth.hash_key[1]);
        set(header_word!(size), self.regions.end as u64);
        set(header_word!(seats), self.geometry.seats);
        set(header_word!(most_patience), self.geometry.most_patience);
        set(header_word!(relay_hosts), self.geometry.relay_hosts);
        for (size, spec) in self.geometry.pools.iter().zip(&POOLS) {
            set(spec.cells_word, size.cells);
            set(spec.stride_word, size.stride);
        }
        set(header_word!(creator_pid), u64::from(sys::pid()));
        set(header_word!(created_at), sys::wall_ns());
        // Release: a process that reads the magic also reads everything stored before it.
        header.at(header_word!(magic)).store(magic(), Ordering::Release);
    }

    /// Returns `true` if the mapping is of the file from which `nonce` was read.
    pub(super) fn has_nonce(&self, nonce: [u64; 2]) -> bool {
        // Relaxed: stored before the file was found finished, or by this process.
        let word = |word| self.header().at(word).load(Ordering::Relaxed);
        [word(header_word!(nonce)), word(header_word!(nonce) + 1)] == nonce
    }
}

/// The random values of a segment.
pub(super) struct Birth {
    pub(super) nonce: [u64; 2],
    pub(super) hash_key: [u64; 2],
}

impl Birth {
    /// Draws them. `keys_of` is the hash of a segment whose keys the new one has, too.
    pub(super) fn now(name: &str, keys_of: Option<UniqueHash>) -> Result<Birth> {
        let mut bytes = [0; 32];
        // So few bytes are never returned in part. While the host boots, the call may block.
        retry_on_intr(|| rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty()))
            .map_err(|errno| Error::system(name, "getrandom", errno))?;
        let words = native_words::<4>(&bytes);
        let hash_key = keys_of.map_or([words[2], words[3]], |hash| hash.segment_key());
        Ok(Birth { nonce: [words[0], words[1]], hash_key })
    }
}
