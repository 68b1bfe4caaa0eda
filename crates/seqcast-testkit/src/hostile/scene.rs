//! A segment and a second mapping of its bytes that bypasses seqcast.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::mm::{MapFlags, ProtFlags};
use seqcast::inspect::Inspector;
use seqcast::{Bus, Reservation, SegmentOptions, Subscriber, TypedEvent, Worker, WorkerOptions};

use super::events::{Chain, Plain, Rich};
use super::map::Map;

/// The words of a file, mapped a second time.
#[derive(Debug)]
pub struct Tap {
    base: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the mapping belongs to the process, and its words are accessed only as atomics.
unsafe impl Send for Tap {}
// SAFETY: as above.
unsafe impl Sync for Tap {}

impl Tap {
    fn of(file: &File) -> Tap {
        let len = file.metadata().expect("the file is open").len() as usize;
        // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
        let base =
            unsafe { rustix::mm::mmap(null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, file, 0) }
                .expect("a second mapping");
        Tap { base: NonNull::new(base.cast()).expect("a mapping is somewhere"), words: len / 8 }
    }

    /// Returns the number of words; `set` and `get` access them one by one.
    pub fn words(&self) -> usize {
        self.words
    }

    fn word(&self, word: usize) -> &AtomicU64 {
        assert!(word < self.words, "word {word} of {}", self.words);
        // SAFETY: the word lies in the mapping, which `self` keeps; any bit pattern is a valid `AtomicU64`.
        unsafe { self.base.add(word).as_ref() }
    }

    pub fn get(&self, word: usize) -> u64 {
        self.word(word).load(Ordering::Relaxed)
    }

    pub fn set(&self, word: usize, value: u64) {
        self.word(word).store(value, Ordering::Relaxed);
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        // SAFETY: `of` mapped exactly this span, and its words are lent out for no longer than `self` lives.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.words * 8) };
    }
}

/// A named segment, or a file that poses as one. Dropping it removes the name.
#[derive(Debug)]
pub struct Scene {
    pub name: String,
    pub tap: Arc<Tap>,
    pub map: Map,
}

/// A name that no other process and no other scene of this process has.
pub fn fresh_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("seqcast-hostile-{}-{next}", std::process::id())
}

/// Returns the path of `name`.
pub fn path_of(name: &str) -> String {
    format!("/dev/shm/{name}")
}

/// Creates a file of these bytes under `name`, with an accepted mode.
pub fn write_file(name: &str, bytes: &[u8]) -> File {
    let mut file = File::options().read(true).write(true).create_new(true).open(path_of(name)).expect("a new file");
    file.set_permissions(Permissions::from_mode(0o600)).expect("our own file");
    file.write_all(bytes).expect("room in /dev/shm");
    file
}

impl Scene {
    /// Creates a segment of these bytes, which must begin with a valid header.
    pub fn of_bytes(bytes: &[u8]) -> Scene {
        let name = fresh_name();
        let file = write_file(&name, bytes);
        Scene::tapped(name, &file)
    }

    /// Creates a new segment.
    pub fn new(options: &SegmentOptions) -> (Scene, Bus) {
        let name = fresh_name();
        let bus = options.create(&name).expect("a new segment");
        let file = File::options().read(true).write(true).open(path_of(&name)).expect("the new segment's file");
        (Scene::tapped(name, &file), bus)
    }

    fn tapped(name: String, file: &File) -> Scene {
        let tap = Tap::of(file);
        let map = Map::of(&Inspector::open_any(&name).expect("a sound header"));
        Scene { name, tap: Arc::new(tap), map }
    }

    pub fn open(&self) -> seqcast::Result<Bus> {
        options().open(&self.name)
    }

    pub fn get(&self, word: usize) -> u64 {
        self.tap.get(word)
    }

    pub fn set(&self, word: usize, value: u64) {
        self.tap.set(word, value);
    }

    /// Removes the name, so that it is gone even if the process is killed later. Open handles stay open.
    pub fn unname(&self) {
        let _ = fs::remove_file(path_of(&self.name));
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.unname();
    }
}

/// How long posts wait for a worker that must read.
pub const PATIENCE: Duration = Duration::from_micros(400);

/// Small, so that all cases occur soon: laps, full buckets, no free seat, payloads in large blocks, and messages of
/// several fragments.
pub fn options() -> SegmentOptions {
    let options = SegmentOptions::new().capacity(16).block_size(64).seats(4).claims(8).retained(3).retained_size(320);
    options.large(2, 240).most_patience(PATIENCE).creation_timeout(Duration::from_millis(20))
}

/// Waits that do not delay a fuzzer, and reports that are only formatted.
pub fn worker_options() -> WorkerOptions {
    WorkerOptions::new()
        .wait_interval(Duration::from_micros(20))
        .wait_max(Duration::from_micros(200))
        .on_report(|report| _ = std::hint::black_box(report.to_string()))
}

/// Returns the bytes of an unused segment.
pub fn fresh_image() -> &'static [u8] {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let (scene, _bus) = Scene::new(&options());
        fs::read(path_of(&scene.name)).expect("the segment's file")
    })
}

/// Returns the bytes of a used segment: laps, every kind of event, held and ended claims, a reserved id of a worker
/// that is gone, and seats of workers that did not leave properly, one of which must read.
pub fn used_image() -> &'static [u8] {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let (scene, bus) = Scene::new(&options());
        // Read while both workers are still there and an id is reserved, as after a power failure.
        let _alive = live(&bus).expect("a sound segment");
        fs::read(path_of(&scene.name)).expect("the segment's file")
    })
}

fn live(bus: &Bus) -> seqcast::Result<(Reservation<Worker>, [Worker; 2], Subscriber)> {
    let first = bus.join_with(&worker_options().label("first"))?;
    let second = bus.join_with(&worker_options().label("second"))?;
    for worker in [&first, &second] {
        worker.on(seqcast::Scope::All, |_: &seqcast::Event<'_>| {})?;
    }
    for number in 0..20_u64 {
        first.post(("lap", "around"), number.to_le_bytes())?;
        let _ = second.poll()?;
    }
    let _ = first.poll()?;
    let hour = Duration::from_secs(3600);
    let _ = first.claim("held", hour)?;
    let for_life = seqcast::ClaimOptions::new(hour).ends_with_holder(true);
    let _ = second.claim_with("for life", &for_life)?;
    let _ = second.claim("ended", Duration::from_nanos(1))?;
    first.event(("job", "run")).unique("job").ttl(hour).post(b"once")?;
    let _ = second.poll()?;
    second.event(("job", "run")).unique("job").post(b"again")?;
    for number in 0..4 {
        second.post(("bytes", "large"), [number; 240])?;
    }
    second.post(("bytes", "larger"), [7; 400])?;
    first.post(Plain::TOPIC, &Plain { number: 1, bytes: [2; 12] })?;
    second.post(Rich::TOPIC, &Rich::example())?;
    first.post(Chain::TOPIC, &Chain::of_len(4))?;
    for (key, len) in [("a", 8), ("b", 200), ("a", 16), ("c", 8)] {
        first.event(("s", "state")).retain_key(key).post(vec![7; len])?;
    }
    second.event(("s", "state")).retain_key("c").clear()?;
    let _ = second.get_key(("s", "state"), "b")?;
    let _ = first.poll()?;
    // It has not read everything.
    let must_read = bus.subscribe_with(&worker_options().label("must read").must_read(PATIENCE))?;
    first.post(("lap", "around"), b"")?;
    Ok((second.reserve()?, [first, second], must_read))
}
