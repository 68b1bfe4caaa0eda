//! A file of arbitrary bytes in the place of a segment.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use seqcast::{Bus, Error, Start};
use seqcast_testkit::hostile::draw::{Draw, Input};
use seqcast_testkit::hostile::map::Map;
use seqcast_testkit::hostile::scene::{fresh_image, fresh_name, options, path_of, worker_options, write_file};

/// No file is larger than this, whatever the header says.
const MOST_BYTES: u64 = 4 << 20;

/// Creates a file of arbitrary bytes, then opens, joins, polls, inspects, finishes and unlinks it. Its header may be
/// partly valid: magic, fingerprint and boot id that this build accepts, sizes that are possible but differ from the
/// file's.
pub fn open(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let right = input.byte();
    let mode = if input.one_in(16) { 0o666 } else { 0o600 };
    let len = match input.below(4) {
        0 => None,
        1 => Some(input.below(MOST_BYTES)),
        _ => Some(input.u16().into()),
    };
    let name = fresh_name();
    let _cleared = Cleared(&name);
    let file = write_file(&name, &content(right, &mut input));
    file.set_permissions(Permissions::from_mode(mode)).expect("our own file");
    if let Some(len) = len {
        file.set_len(len).expect("room in /dev/shm");
    }
    drop(file);

    let _ = options().inspect(&name).and_then(|inspector| inspector.stats()).map_err(show);
    if let Ok(bus) = options().open(&name).map_err(show) {
        visit(&bus);
    }
    let _ = options().create(&name).map_err(show);
    if let Ok(bus) = options().open_or_create(&name).map_err(show) {
        visit(&bus);
        let _ = bus.unlink().map_err(show);
    } else {
        let _ = seqcast::unlink(&name).map_err(show);
    }
}

/// A header of valid and invalid parts, followed by arbitrary bytes.
fn content(right: u8, input: &mut Input<'_>) -> Vec<u8> {
    let image = fresh_image();
    let mut bytes = Vec::new();
    let mut keep = |bit: u8, fields: &[&str], input: &mut Input<'_>| {
        for field in fields {
            let at = Map::header(field) * 8;
            let mut word: [u8; 8] = image[at..at + 8].try_into().expect("a word has 8 bytes");
            if right & 1 << bit == 0 {
                let was = u64::from_ne_bytes(word);
                word = match input.below(6) {
                    0 => was.wrapping_mul(2),
                    1 => was.wrapping_add(1),
                    2 => was / 2,
                    3 => 1 << input.below(64),
                    4 => was,
                    _ => input.u64(),
                }
                .to_ne_bytes();
            }
            if bytes.len() < at + 8 {
                bytes.resize(at + 8, 0);
            }
            bytes[at..at + 8].copy_from_slice(&word);
        }
    };
    keep(0, &["magic"], input);
    keep(1, &["fingerprint"], input);
    keep(2, &["boot_id"], input);
    keep(3, &["size"], input);
    keep(4, &["capacity", "block_stride"], input);
    keep(5, &["seats"], input);
    keep(6, &["buckets", "bucket_stride"], input);
    if right & 1 << 2 != 0 {
        // The second word of the boot id.
        let at = Map::header("boot_id") * 8 + 8;
        bytes[at..at + 8].copy_from_slice(&image[at..at + 8]);
    }
    if right & 1 << 7 != 0 {
        let sound = image.get(bytes.len()..).unwrap_or_default();
        bytes.extend_from_slice(sound);
    }
    let rest = input.rest();
    let from = bytes.len().saturating_sub(if right & 1 == 0 { bytes.len() } else { rest.len() });
    bytes.truncate(from.max(8));
    bytes.extend_from_slice(rest);
    bytes
}

fn visit(bus: &Bus) {
    let _ = bus.stats().map_err(show);
    let options = worker_options().start(Start::Oldest);
    let Ok(worker) = bus.join_with(&options).map_err(show) else { return };
    let _ = worker
        .on(seqcast::Scope::All, |event: &seqcast::Event<'_>| seqcast_testkit::hostile::events::touch(event.bytes()));
    let _ = worker.post(("a", "b"), [1; 8]).map_err(show);
    let _ = worker.claim("key", std::time::Duration::from_secs(1)).map_err(show);
    let _ = worker.poll().map_err(show);
}

fn show(error: Error) {
    std::hint::black_box((error.to_string(), format!("{error:?}"), error.code()));
}

/// Dropping this removes the name.
struct Cleared<'a>(&'a str);

impl Drop for Cleared<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(path_of(self.0));
    }
}
