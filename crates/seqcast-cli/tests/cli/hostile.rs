//! G10 for inspectors: whatever a segment contains, even while it changes, the command gives a diagnosis and never
//! crashes.
//!
//! The segments are those of the fuzz targets, from fixed seeds and from the inputs that the fuzzer has collected
//! (`fuzz/seeds`, `fuzz/corpus`).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use seqcast::inspect::is_printable;
use seqcast::{Event, Scope, WorkerOptions};

use crate::pty::Pty;
use crate::support::{Name, Stop, command, seqcast, small};
use seqcast_testkit::hostile::attack::strike;
use seqcast_testkit::hostile::draw::{Draw, Input, Random};
use seqcast_testkit::hostile::look::look;
use seqcast_testkit::hostile::scene::{Scene, fresh_image, fresh_name, path_of, used_image, write_file};

/// The damage that these bytes describe, as at the beginning of `attack::run`.
fn damaged(bytes: &[u8], strikes: u64) -> Scene {
    let mut input = Input::new(bytes);
    let scene = Scene::of_bytes(if input.one_in(4) { fresh_image() } else { used_image() });
    for _ in 0..input.below(strikes) {
        strike(&mut input, &scene.tap, &scene.map, true);
    }
    scene
}

/// Runs every read-only command once. Returns their exit codes.
#[track_caller]
fn look_by_command(name: &str) -> Vec<i32> {
    let mut codes = Vec::new();
    for arguments in [
        &["inspect", name, "--sample", "1ms"][..],
        &["inspect", name, "--layout"],
        &["tail", name, "--from", "oldest", "--no-follow", "--payload", "utf8"],
        &["tail", name, "--from", "oldest", "--no-follow", "--format", "json"],
        &["claims", name, "--all"],
        &["claims", name, "--format", "json"],
        &["doctor", name],
        &["top", name, "--once", "--interval", "1ms"],
        &["metrics", name],
        &["ls"],
    ] {
        let run = seqcast(arguments);
        // A panic is code 101, a signal a negative number.
        let diagnosed = match run.code {
            0 => true,
            1 => arguments[0] == "doctor",
            3 => !run.stderr.is_empty() || arguments[0] == "doctor",
            _ => false,
        };
        assert!(diagnosed && !run.stderr.contains("panicked"), "{arguments:?}: {run:?}");
        assert!(!run.stdout.contains('\x1b'), "{arguments:?}: an escape came through: {run:?}");
        codes.push(run.code);
    }
    codes
}

#[test]
fn g10_damaged_segments_are_diagnosed() {
    let mut random = Random::new(5);
    let mut seen = [0; 4];
    for _ in 0..40 {
        let scene = damaged(&random.bytes(600), 12);
        for code in look_by_command(&scene.name) {
            seen[code as usize] += 1;
        }
    }
    // Without both, this test would show nothing.
    assert!(seen[0] > 0 && seen[1] > 0 && seen[3] > 0, "{seen:?}");
}

#[test]
fn g10_what_the_fuzzer_has_gathered_is_diagnosed() {
    // The seeds are a part of the collected inputs; the rest exists only where the fuzzer has run.
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let mut inputs: Vec<Vec<u8>> = vec![vec![], vec![0; 64], vec![0xff; 256], (0..=255).collect()];
    for gathered in ["seeds/segment", "seeds/segment_meanwhile", "corpus/segment", "corpus/segment_meanwhile"] {
        let Ok(files) = std::fs::read_dir(fuzz.join(gathered)) else { continue };
        inputs.extend(files.flatten().filter_map(|file| std::fs::read(file.path()).ok()));
    }
    assert!(inputs.len() > 50, "the seeds are gone");
    for (i, bytes) in inputs.iter().enumerate() {
        let scene = damaged(bytes, 64);
        look(&scene.name);
        // All of them run in this process; through the command, as many as there is time for.
        if i < 4 || i.is_multiple_of(inputs.len().div_ceil(20)) {
            look_by_command(&scene.name);
        }
    }
}

#[test]
fn g10_a_thousand_damaged_segments_harm_no_inspector() {
    let mut random = Random::new(6);
    for _ in 0..1000 {
        look(&damaged(&random.bytes(600), 24).name);
    }
}

#[test]
fn g10_a_segment_that_changes_under_an_inspector_does_no_harm() {
    let mut random = Random::new(7);
    for _ in 0..20 {
        let scene = damaged(&random.bytes(600), 4);
        let stop = Stop::default();
        let seed = random.u64();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut random = Random::new(seed);
                let tap = Arc::clone(&scene.tap);
                while !stop.is_said() {
                    strike(&mut random, &tap, &scene.map, false);
                }
            });
            let _guard = stop.guard();
            for _ in 0..20 {
                look(&scene.name);
            }
            look_by_command(&scene.name);
        });
    }
}

#[test]
fn g10_files_that_are_no_segments_are_diagnosed() {
    let image = used_image();
    let mut random = Random::new(8);
    let mut contents: Vec<Vec<u8>> = vec![vec![], vec![0], vec![0xa5; 4096], vec![0; 1 << 20], random.bytes(3000)];
    // Truncated everywhere, and with every header word wrong by a little and by much.
    contents.extend([8, 16, 1000, 1024, 4096, image.len() - 1].map(|len| image[..len].to_vec()));
    for word in 0..16 {
        for change in [1, 0x0100_0000, 1 << 63, u64::MAX] {
            let mut bytes = image.to_vec();
            let at = word * 8;
            let value = u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap()) ^ change;
            bytes[at..at + 8].copy_from_slice(&value.to_ne_bytes());
            contents.push(bytes);
        }
    }
    for (i, bytes) in contents.iter().enumerate() {
        let name = fresh_name();
        let _cleared = Cleared(path_of(&name));
        drop(write_file(&name, bytes));
        look(&name);
        if i < 11 || i.is_multiple_of(8) {
            look_by_command(&name);
        }
    }
}

struct Cleared(String);

impl Drop for Cleared {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn things_of_other_kinds_are_told_by_kind() {
    let name = Name::new("kind");
    std::fs::create_dir(name.path()).unwrap();
    let directory = seqcast(&["inspect", &name]);
    std::fs::remove_dir(name.path()).unwrap();
    std::os::unix::fs::symlink("/dev/zero", name.path()).unwrap();
    let link = seqcast(&["inspect", &name]);
    for run in [directory, link] {
        assert!(run.code == 3 && run.stderr.contains("not a seqcast segment"), "{run:?}");
    }
}

#[test]
fn a_segment_cut_off_under_an_inspector_gives_a_reason() {
    let (name, bus) = Name::segment("cut");
    drop(bus);
    let mut child = command(&["tail", &name])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Once the command has the file open, it maps it, and reads it from then on.
    let mapped =
        || std::fs::read_to_string(format!("/proc/{}/maps", child.id())).is_ok_and(|maps| maps.contains(&*name));
    crate::support::eventually("it is mapped", mapped);
    std::fs::OpenOptions::new().write(true).open(name.path()).unwrap().set_len(0).unwrap();
    let mut why = String::new();
    std::io::Read::read_to_string(child.stderr.as_mut().unwrap(), &mut why).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3), "{why}");
    assert!(why.contains("a process truncated the segment's file"), "{why}");
}

/// A label, a source and an event that clear the screen, forge a line, reorder and hide text; as long as a label may
/// be.
const HOSTILE: &str = "a\n\x1b[2J\u{9b}\u{7f}\u{202e}\u{61c}\u{ad}\u{feff}b";
const ESCAPED: &str = r"a\n\u{1b}[2J\u{9b}\u{7f}\u{202e}\u{61c}\u{ad}\u{feff}b";

#[test]
fn g10_labels_and_names_of_others_reach_no_terminal_as_they_are() {
    let name = Name::new("steer");
    let bus = small().seats(2).create(&name).unwrap();
    let worker = bus.join_with(&WorkerOptions::new().label(HOSTILE)).unwrap();
    let _second = bus.join_with(&WorkerOptions::new().label(HOSTILE)).unwrap();
    worker.event((HOSTILE, HOSTILE)).unique("key").ttl(Duration::from_secs(600)).post(HOSTILE).unwrap();
    worker.on(Scope::All, |_: &Event<'_>| {}).unwrap();
    worker.poll().unwrap();
    let _claim = worker.claim("key", Duration::from_secs(600)).unwrap();
    for (arguments, quotes) in [
        (&["ls"][..], false),
        (&["inspect", &name, "--sample", "1ms"], false),
        (&["top", &name, "--once", "--interval", "1ms"], true),
        (&["tail", &name, "--from", "oldest", "--no-follow", "--payload", "utf8"], true),
        (&["claims", &name], true),
        (&["doctor", &name], false),
        (&["rm", &name], true),
        (&["metrics", &name], true),
        // Every seat is held, and the error names the holder.
        (&["post", &name, "a", "b"], true),
        // The key is held, and the refusal names the holder.
        (&["post", &name, "a", "b", "--unique", "key"], true),
    ] {
        for format in ["text", "json"] {
            let run = seqcast(&[arguments, &["--format", format]].concat());
            let printed = format!("{}{}", run.stdout, run.stderr);
            let raw = printed.chars().find(|&c| c != '\n' && !is_printable(c));
            assert_eq!(raw, None, "{arguments:?} as {format}: {run:?}");
            if quotes && format == "text" {
                // The text format of metrics doubles backslashes.
                assert!(printed.replace(r"\\", r"\").contains(ESCAPED), "{arguments:?}: {run:?}");
            }
        }
    }
    // Programs get the original text.
    let json = |arguments: &[&str]| seqcast(&[arguments, &["--format", "json"]].concat()).json();
    assert_eq!(json(&["top", &name, "--once", "--interval", "1ms"])["workers"][0]["label"], HOSTILE);
    assert_eq!(json(&["claims", &name])["claims"][0]["label"], HOSTILE);
    let mut top = Pty::run(command(&["top", &name, "--interval", "50ms"]), 24, 200);
    top.shows("the label, escaped, as far as there is room", |screen| screen.contains(&ESCAPED[..20]));
    top.type_in("q");
    assert!(top.ends().success());
    let raw = top.raw().chars().find(|&c| !c.is_ascii() && !is_printable(c));
    assert_eq!(raw, None, "{:?}", top.raw());
}
