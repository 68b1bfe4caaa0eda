//! Names, options and sizes of every kind: valid ones work, and invalid ones are refused with the matching error.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use seqcast::{Bus, Cause, Error, Event, Scope, SegmentOptions, WorkerOptions};
use seqcast_testkit::hostile::draw::{Draw, Input};
use seqcast_testkit::hostile::scene::{fresh_name, path_of};

/// No segment is larger than this.
const MOST_BYTES: u128 = 2 << 20;

/// Calls everything that takes a name, a size or a time with arbitrary values, and compares the results with the
/// documented rules, which are written a second time here.
pub fn options(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    name(&mut input);
    let sizes = Sizes::draw(&mut input);
    let options = sizes.options(&mut input);
    let name = fresh_name();
    let _cleared = Cleared(&name);
    if !sizes.are_possible() {
        for result in [options.create(&name), options.open_or_create(&name), options.anonymous()] {
            let error = result.expect_err("sizes that cannot be");
            assert_eq!(error.code(), "option", "{error}");
        }
        assert!(
            matches!(options.open(&name).as_ref().map_err(|error| error.cause()), Err(Cause::NotFound { .. })),
            "a refused call left something"
        );
        return;
    }
    if sizes.bytes() > MOST_BYTES {
        return;
    }
    let made = if input.one_in(2) { options.anonymous() } else { options.create(&name) };
    let bus = made.expect("sizes that can be");
    let stats = bus.stats().expect("a sound segment");
    assert_eq!((stats.sizes.capacity, u64::from(stats.sizes.seats)), (sizes.capacity, sizes.seats));
    assert!(stats.sizes.block_size >= sizes.block_size, "{} for {}", stats.sizes.block_size, sizes.block_size);
    assert!(
        u128::from(stats.sizes.size) <= sizes.bytes(),
        "{} bytes, expected at most {}",
        stats.sizes.size,
        sizes.bytes()
    );
    worker(&bus, &mut input);
}

/// A name: only its characters decide whether it is refused.
fn name(input: &mut Input<'_>) {
    let mut name = input.text(24);
    if input.one_in(8) {
        name = name.repeat(1 + input.below(20) as usize);
    }
    let bare = name.strip_prefix('/').unwrap_or(&name);
    let good = (1..=200).contains(&bare.len())
        && bare.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        && bare != "."
        && bare != "..";
    // A file that already has this name is only inspected.
    let error = Bus::open(&name).err().map(|error| error.code());
    assert_eq!(error == Some("name"), !good, "{name:?}: {error:?}");
}

struct Sizes {
    capacity: u64,
    block_size: u64,
    seats: u64,
    claims: u64,
    /// Keys of retained events.
    retained: u64,
    /// Large blocks, and their bytes.
    large: Option<(u64, u64)>,
    mode: u32,
}

impl Sizes {
    fn draw(input: &mut Input<'_>) -> Sizes {
        Sizes {
            capacity: size(input, 8),
            block_size: size(input, 64),
            seats: size(input, 1),
            claims: size(input, 1),
            retained: size(input, 1),
            large: input.one_in(2).then(|| (size(input, 2), size(input, 64))),
            mode: if input.one_in(4) { u32::from(input.u16()) } else { 0o600 | u32::from(input.byte() & 0o77) },
        }
    }

    fn options(&self, input: &mut Input<'_>) -> SegmentOptions {
        let options = SegmentOptions::new()
            .capacity(self.capacity)
            .block_size(self.block_size)
            .seats(self.seats)
            .claims(self.claims)
            .retained(self.retained)
            .mode(self.mode)
            .creation_timeout(Duration::from_millis(u64::from(input.byte())));
        let options = match self.large {
            Some((blocks, bytes)) => options.large(blocks, bytes),
            None => options,
        };
        if input.one_in(2) { options.unlink_on_drop(true) } else { options }
    }

    fn buckets(&self) -> u128 {
        u128::from(self.claims).div_ceil(4).next_power_of_two()
    }

    fn are_possible(&self) -> bool {
        self.capacity.is_power_of_two()
            && (8..=1 << 19).contains(&self.capacity)
            && (64..=1 << 20).contains(&self.block_size)
            && (1..=1 << 16).contains(&self.seats)
            && (1..=1 << 20).contains(&self.claims)
            && self.retained <= 1 << 18
            && self.large.is_none_or(|(blocks, bytes)| {
                blocks.is_power_of_two() && (2..=1 << 19).contains(&blocks) && (64..=1 << 26).contains(&bytes)
            })
            && self.mode & !0o777 == 0
            && self.mode & 0o600 == 0o600
            && u128::from(self.seats) + self.buckets() <= 1 << 20
    }

    /// At least as many as the segment will have.
    fn bytes(&self) -> u128 {
        let blocks = u128::from(self.capacity) + u128::from(self.seats);
        let buckets = self.buckets() + u128::from(self.seats);
        // Up to 64 keys have a slot each; more have at most four each, with an index of a bucket for 64 slots.
        let slots = u128::from(self.retained) * if self.retained > 64 { 4 } else { 1 };
        let slot_blocks = if slots == 0 { 0 } else { slots + u128::from(self.seats) };
        let indexes = slots.div_ceil(64);
        let (large, large_bytes) = self.large.unwrap_or_default();
        let large_blocks = if large == 0 { 0 } else { u128::from(large) + u128::from(self.seats) };
        // The header, what a relay keeps of itself and of 256 hosts, and what alignment takes. Each seat has a word for
        // what it announces, and one that says if it must read.
        4096 + 8192
            + u128::from(self.seats) * (640 + 16)
            + u128::from(large) * 8
            + large_blocks * (u128::from(large_bytes) + 32 + 128)
            + u128::from(self.capacity) * 8
            + blocks * (u128::from(self.block_size) + 32 + 128)
            + self.buckets() * 8
            + (buckets + indexes) * 2048
            + slots * 8
            + slot_blocks * (u128::from(self.block_size) + 64 + 128)
            + indexes * 8
    }
}

/// A size: valid more often than not.
fn size(input: &mut Input<'_>, least: u64) -> u64 {
    match input.below(8) {
        0 => input.u64(),
        1 => (1 << input.below(64)) - input.below(2),
        2 => u64::from(input.u16()),
        3 => least.wrapping_sub(1),
        _ => least << input.below(6),
    }
}

fn worker(bus: &Bus, input: &mut Input<'_>) {
    let (interval, wait_interval, wait_max, timeout) = (time(input), time(input), time(input), time(input));
    let label = input.text(70);
    let fits = !wait_interval.is_zero() && wait_interval <= wait_max && !timeout.is_zero();
    let options = WorkerOptions::new()
        .interval(interval)
        .wait_interval(wait_interval)
        .wait_max(wait_max)
        .timeout(timeout)
        .label(&label)
        .announce(false)
        .on_report(|_| {});
    let joined = bus.join_with(&options);
    assert_eq!(joined.as_ref().err().map(Error::code), (!fits).then_some("option"));
    let worker = match joined {
        Ok(worker) => worker,
        Err(_) => bus.join_with(&WorkerOptions::new().announce(false)).expect("the refused call took no seat"),
    };
    let shown = &bus.stats().expect("a sound segment").workers[0].label;
    assert!(!fits || label.starts_with(shown.as_str()) && shown.len() <= 48 || label.contains('\0'));

    let seen = Arc::new(Mutex::new(None));
    let put = Arc::clone(&seen);
    let scope = Scope::events(input.text(3), [input.text(3), input.text(3)]);
    let _ = worker.on(scope, |_: &Event<'_>| {});
    let keep = move |event: &Event<'_>| {
        *put.lock().expect("no handler panics") =
            Some((event.source().to_owned(), event.event().to_owned(), event.bytes().to_vec()));
    };
    worker.on(Scope::All, keep).expect("all is a good scope");

    let source = input.text(6).repeat(1 + input.below(60) as usize);
    let event = input.text(6).repeat(1 + input.below(60) as usize);
    let named = [&source, &event].iter().all(|name| (1..=255).contains(&name.len()));
    let key = input.bytes(3);
    let (unique, ttl) = (input.one_in(3), time(input));
    let head = if unique { 48 } else { 16 };
    let before = (head + source.len() + event.len()).next_multiple_of(16);
    let largest = bus.largest_event();
    let len = match input.below(3) {
        0 => usize::from(input.byte()),
        1 => (largest + 2).saturating_sub(before + input.below(5) as usize),
        _ => input.below(2 * largest as u64) as usize,
    };
    let payload: Vec<u8> = (0..len).map(|at| at as u8 ^ (at >> 8) as u8).collect();
    let posted = if unique {
        worker.event((&source, &event)).unique(&key).ttl(ttl).post(&payload)
    } else {
        worker.post((&source, &event), &payload)
    };
    let expected = if !named {
        Some("topic")
    } else if unique && (key.is_empty() || ttl.is_zero()) {
        Some("option")
    } else if before + len > largest_with(bus, before) {
        Some("payload_too_large")
    } else {
        None
    };
    assert_eq!(posted.as_ref().err().map(Error::code), expected, "{source:?} {event:?} {len} of {largest}");
    let _ = worker.poll().expect("a sound segment");
    let seen = seen.lock().expect("no handler panics").take();
    match expected {
        None => assert!(seen == Some((source, event, payload)), "the event differs from the post"),
        Some(_) => assert!(seen.is_none(), "an event came of a refused post"),
    }
    let claimed = worker.claim(&key, ttl).map(drop).map_err(|error| error.code());
    assert_eq!(claimed.err(), (key.is_empty() || ttl.is_zero()).then_some("option"));
}

/// Returns the bytes of the largest event with `before` bytes before its payload.
fn largest_with(bus: &Bus, before: usize) -> usize {
    let sizes = bus.stats().expect("a sound segment").sizes;
    let (block, large) = (sizes.block_size as usize, sizes.large_size as usize);
    let fragments = block.max(sizes.capacity as usize / 4 * (block - 32));
    let in_large = if large > 0 && before + 16 <= block { before + large } else { 0 };
    fragments.max(in_large)
}

fn time(input: &mut Input<'_>) -> Duration {
    match input.below(6) {
        0 => Duration::ZERO,
        1 => Duration::MAX,
        2 => Duration::new(input.u64(), 0),
        3 => Duration::from_nanos(input.u64()),
        _ => Duration::from_millis(1 + u64::from(input.byte())),
    }
}

/// Dropping this removes the name.
struct Cleared<'a>(&'a str);

impl Drop for Cleared<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(path_of(self.0));
    }
}
