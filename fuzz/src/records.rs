//! Events and fragments of arbitrary bytes, published as a writer of this crate would.

use seqcast::{Event, Scope, Start};
use seqcast_testkit::hostile::draw::{Draw, Input};
use seqcast_testkit::hostile::events::{handle_typed, touch};
use seqcast_testkit::hostile::map::{HEAD_WORDS, META, Map, cell_word};
use seqcast_testkit::hostile::scene::{Scene, fresh_image, used_image, worker_options};

const UNIQUE: u64 = 1;

/// Writes events, fragments and garbage into the blocks of a valid segment, publishes them, and lets a worker with
/// handlers of every kind read them.
pub fn records(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let scene = Scene::of_bytes(fresh_image());
    let map = scene.map;
    let tags = Tags::new(&map);
    let count = 1 + input.below(map.capacity);
    for id in 0..count {
        let block = map.block(id);
        let words = block.start + HEAD_WORDS..block.end;
        let (kind, len) = match input.below(8) {
            0..3 => (1, write_event(&mut input, &scene, words, &tags)),
            3..7 => (2, write_fragment(&mut input, &scene, words)),
            _ => {
                let taken = input.bytes(words.len() as u64 * 8);
                store(&scene, words.start, &taken);
                (input.below(4), taken.len() as u64 + input.below(3))
            }
        };
        scene.set(block.start + META, kind << 32 | len);
        scene.set(map.cell(id), cell_word(1, 0, id));
    }
    scene.set(Map::header("tail"), count);

    let bus = scene.open().expect("the header is sound");
    scene.unname();
    let worker = bus.join_with(&worker_options().start(Start::Oldest)).expect("the events are sound");
    let largest = bus.largest_event();
    let all = move |event: &Event<'_>| {
        assert!(!event.source().is_empty() && !event.event().is_empty() && event.bytes().len() <= largest);
        touch(&(event.source(), event.event(), event.bytes(), event.pid(), event.seat()));
        touch(&format!("{event:?}"));
    };
    if input.one_in(4) {
        worker.on(Scope::source("s"), all).expect("a good scope");
    } else {
        worker.on(Scope::All, all).expect("a good scope");
    }
    handle_typed(&worker).expect("good scopes");
    let polled = worker.poll().expect("no word that the core looks at is wrong");
    touch(&format!("{polled:?}"));
    let cursor = worker.cursor();
    assert!(cursor > count, "the worker stopped at {cursor} of {count}");
}

/// The type tags of the typed events, read from a segment that contains some.
struct Tags(Vec<u64>);

impl Tags {
    /// From the used image, which has the sizes of the fresh one.
    fn new(map: &Map) -> Tags {
        let image = used_image();
        let word = |at: usize| u64::from_ne_bytes(image[at * 8..][..8].try_into().expect("a word has 8 bytes"));
        let blocks = (0..map.capacity + map.seats).map(|block| word(map.block(block).start + HEAD_WORDS + 1));
        Tags(blocks.filter(|&tag| tag > 1 << 40).collect())
    }
}

/// Writes an event with a head that may be invalid. Returns its length.
fn write_event(input: &mut Input<'_>, scene: &Scene, words: std::ops::Range<usize>, tags: &Tags) -> u64 {
    let source = ["s", "typed", "job", "é"][input.below(4) as usize];
    let event = ["e", "plain", "rich", "chain"][input.below(4) as usize];
    let flags = if input.one_in(4) { UNIQUE } else { 0 };
    let mut first = u64::from(input.u16()) << 40 | (event.len() as u64) << 16 | (source.len() as u64) << 8 | flags;
    if input.one_in(6) {
        first ^= 1 << input.below(64);
    }
    let tag = match input.below(3) {
        0 => 0,
        1 => input.u64(),
        _ => tags.0.get(input.below(8) as usize).copied().unwrap_or(0),
    };
    let mut bytes = [first.to_ne_bytes(), tag.to_ne_bytes()].concat();
    if flags == UNIQUE {
        for word in [input.below(3), 0, input.u64(), 0] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
    }
    bytes.extend_from_slice(source.as_bytes());
    bytes.extend_from_slice(event.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(16), input.byte());
    let room = words.len() * 8 - bytes.len();
    bytes.extend_from_slice(&input.bytes(room as u64));
    store(scene, words.start, &bytes);
    match input.below(8) {
        0 => input.below(words.len() as u64 * 8 + 9),
        _ => bytes.len() as u64,
    }
}

/// Writes a fragment that may continue an earlier one. Returns its length.
fn write_fragment(input: &mut Input<'_>, scene: &Scene, words: std::ops::Range<usize>) -> u64 {
    let chunk = words.len() as u64 * 8 - 32;
    let seat = if input.one_in(8) { u64::from(input.u16()) } else { input.below(2) };
    let number = if input.one_in(8) { input.u64() >> 16 } else { input.below(4) };
    let which = if input.one_in(8) { input.u64() } else { input.below(2) };
    let total = match input.below(8) {
        0 => input.u64(),
        1 => u64::from(input.u16()),
        most => chunk * (most / 2) + input.below(chunk),
    };
    for (word, value) in [seat << 48 | number, which, total, input.below(4)].into_iter().enumerate() {
        scene.set(words.start + word, value);
    }
    let mut payload = input.bytes(chunk);
    if number == 0 && !input.one_in(4) {
        // The head of the event that the fragments make.
        let first = 1_u64 << 16 | 1 << 8 | input.below(2);
        payload.splice(..payload.len().min(8), first.to_ne_bytes());
    }
    let left = total.saturating_sub(number.saturating_mul(chunk)).min(chunk);
    if !input.one_in(8) {
        payload.resize(left as usize, 0x73);
    }
    payload.truncate(chunk as usize);
    store(scene, words.start + 4, &payload);
    32 + payload.len() as u64
}

fn store(scene: &Scene, at: usize, bytes: &[u8]) {
    for (word, chunk) in bytes.chunks(8).enumerate() {
        let mut value = [0; 8];
        value[..chunk.len()].copy_from_slice(chunk);
        scene.set(at + word, u64::from_ne_bytes(value));
    }
}
