//! What one instruction for many words (`rep movsq`), and stores past the cache, gain over a loop of words, by size.
//! `src/protocol/bytes.rs` uses the first from [`MANY`](../src/protocol/bytes.rs) words on, and the second from
//! [`LEAST_STREAMED`](../src/protocol/bytes.rs) words on if a reader is far (see `src/seat/placement.rs`).
//!
//! ```text
//! cargo bench --bench copy -- [--quick] [--realtime]
//! ```
//!
//! Two pinned threads hand a payload back and forth through shared words: each side writes from private memory into
//! words that the other has read before, and reads what the other wrote into private memory. A figure is half a round
//! trip. Batches of all ways alternate, because the machine is not quiet; only the ratios of one row count. The host
//! may move the two cores: each row says what the hand-over of one line took. With `--realtime` the threads run before
//! all ordinary ones, which a busy machine needs.

#[path = "support/cpu.rs"]
#[allow(dead_code)]
mod cpu;
#[path = "../src/os/streaming.rs"]
#[allow(dead_code, unused_imports)]
mod streaming;
#[path = "../src/os/string_move.rs"]
#[allow(dead_code)]
mod string_move;

use std::hint::black_box;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// Bytes that each direction goes through, so that a block was last used some time ago, as in a ring.
const RING: usize = 2 << 20;
const SIZES: [usize; 10] = [256, 384, 512, 768, 1024, 2048, 4096, 8192, 16_384, 65_536];

/// The cores before the first thread was pinned.
static CORES: OnceLock<Vec<usize>> = OnceLock::new();

#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Loop,
    One,
    /// Past the cache. Only for writes.
    Past,
}

#[cfg(target_arch = "x86_64")]
unsafe fn move_words(to: *mut u64, from: *const u64, words: usize) {
    // SAFETY: as the caller states.
    unsafe { string_move::move_words(to, from, words) }
}

#[cfg(target_arch = "x86_64")]
fn store_past(words: &[AtomicU64], from: &[u64]) {
    // SAFETY: plain numbers, as their bytes.
    let bytes = unsafe { std::slice::from_raw_parts(from.as_ptr().cast::<[u8; 8]>(), from.len()) };
    streaming::store(words, bytes);
}

#[cfg(not(target_arch = "x86_64"))]
fn store_past(_: &[AtomicU64], _: &[u64]) {
    unreachable!("main refuses other processors")
}

#[cfg(not(target_arch = "x86_64"))]
unsafe fn move_words(_: *mut u64, _: *const u64, _: usize) {
    unreachable!("main refuses other processors")
}

#[inline(never)]
fn write(by: By, words: &[AtomicU64], from: &[u64]) {
    match by {
        By::Loop => words.iter().zip(from).for_each(|(word, &number)| word.store(number, Ordering::Relaxed)),
        // SAFETY: as many on both sides, which do not overlap.
        By::One => unsafe {
            move_words(words.as_ptr().cast_mut().cast(), from.as_ptr(), words.len().min(from.len()));
        },
        By::Past => store_past(words, from),
    }
}

#[inline(never)]
fn read(by: By, words: &[AtomicU64], into: &mut [u64]) {
    match by {
        By::Loop => words.iter().zip(into).for_each(|(word, slot)| *slot = word.load(Ordering::Relaxed)),
        // SAFETY: as above.
        By::One | By::Past => unsafe {
            move_words(into.as_mut_ptr(), words.as_ptr().cast(), words.len().min(into.len()))
        },
    }
}

struct Shared {
    flags: Vec<AtomicU64>,
    blocks: [Vec<AtomicU64>; 2],
}

impl Shared {
    fn flag(&self, side: usize) -> &AtomicU64 {
        &self.flags[side * 32 + 16]
    }
}

/// One side of a batch. Returns what it read, so that it is not optimised away.
fn hand_over(shared: &Shared, side: usize, words: usize, rounds: u64, writes: By, reads: By) -> u64 {
    let places = RING / 8 / words;
    let (out, back) = (&shared.blocks[side], &shared.blocks[1 - side]);
    let (from, mut into) = (vec![side as u64; words], vec![0; words]);
    let mut sum = 0_u64;
    for round in 1..=rounds {
        let place = (round as usize % places) * words;
        if side == 0 {
            write(writes, &out[place..place + words], &from);
            shared.flag(0).store(round, Ordering::Release);
        }
        let mut looks = 0_u32;
        while shared.flag(1 - side).load(Ordering::Acquire) < round {
            looks += 1;
            // Another program may use the core that the other side needs.
            if looks.is_multiple_of(1 << 14) { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
        read(reads, &back[place..place + words], &mut into);
        sum = into.iter().fold(sum, |sum, &word| sum.wrapping_add(word));
        if side == 1 {
            write(writes, &out[place..place + words], &from);
            shared.flag(1).store(round, Ordering::Release);
        }
    }
    sum
}

/// Pins the calling thread.
fn start_on(core: usize) {
    // Before: the other core's thread waits for this one.
    if std::env::args().any(|argument| argument == "--realtime") {
        cpu::realtime();
    }
    cpu::pin(CORES.get_or_init(cpu::allowed)[core]).expect("pinned");
}

/// Returns the nanoseconds of half a round trip.
fn batch(shared: &Shared, words: usize, writes: By, reads: By) -> f64 {
    let rounds = (64_000_u64 / words as u64).clamp(100, 1000);
    shared.flag(0).store(0, Ordering::SeqCst);
    shared.flag(1).store(0, Ordering::SeqCst);
    let is_ready = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            start_on(1);
            is_ready.store(true, Ordering::Release);
            black_box(hand_over(shared, 1, words, rounds, writes, reads));
        });
        start_on(0);
        while !is_ready.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        let start = Instant::now();
        black_box(hand_over(shared, 0, words, rounds, writes, reads));
        start.elapsed().as_nanos() as f64 / rounds as f64 / 2.0
    })
}

fn main() {
    if !cfg!(target_arch = "x86_64") {
        println!("copy: only x86-64 has the instruction");
        return;
    }
    let batches = if std::env::args().any(|argument| argument == "--quick") { 15 } else { 101 };
    let words_of = |_| (0..RING / 8).map(|_| AtomicU64::new(0)).collect();
    let shared = Shared { flags: (0..64).map(|_| AtomicU64::new(0)).collect(), blocks: [0, 1].map(words_of) };
    if CORES.get_or_init(cpu::allowed).len() < 2 {
        println!("copy: needs two cores");
        return;
    }
    println!("{}\n", cpu::machine());
    println!(
        "Half a round trip in ns, and relative to loops both ways. W: written by one instruction, R: read by one, P: \
         written past the cache. Line: the hand-over of one line at the time, lowest and highest.\n"
    );
    println!("| bytes | line | loops | W | R | W and R | P and R |\n|---:|---:|---:|---:|---:|---:|---:|");
    let ways =
        [(By::Loop, By::Loop), (By::One, By::Loop), (By::Loop, By::One), (By::One, By::One), (By::Past, By::One)];
    for size in SIZES {
        let mut times = [const { Vec::new() }; 5];
        let mut lines = (f64::INFINITY, 0.0);
        for round in 0..=batches {
            let line = batch(&shared, 1, By::Loop, By::Loop);
            lines = (line.min(lines.0), line.max(lines.1));
            for (way, times) in ways.iter().zip(&mut times) {
                let time = batch(&shared, size / 8, way.0, way.1);
                // The first round warms up.
                if round > 0 {
                    times.push(time);
                }
            }
        }
        let figures = times.map(|mut times| {
            times.sort_unstable_by(f64::total_cmp);
            // The lower quartile: other programs only add time.
            times[times.len() / 4]
        });
        let cell = |way: usize| format!("{:.0} ({:.2})", figures[way], figures[way] / figures[0]);
        println!(
            "| {size} | {:.0} to {:.0} | {:.0} | {} | {} | {} | {} |",
            lines.0,
            lines.1,
            figures[0],
            cell(1),
            cell(2),
            cell(3),
            cell(4)
        );
    }
}
