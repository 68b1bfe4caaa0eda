//! Runs fuzz targets without a fuzzer: on files, or on pseudo-random bytes for some seconds. Works with any toolchain.
//!
//! ```text
//! replay TARGET FILE...             each file or directory of files once
//! replay TARGET --seconds N [SEED]  random inputs
//! ```

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use seqcast_fuzz::{TARGETS, Target};
use seqcast_testkit::hostile::draw::{Draw, Random};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let target = args.first().and_then(|name| TARGETS.iter().find(|(target, _)| target == name));
    let (Some((name, target)), false) = (target, args.len() < 2) else {
        let names = TARGETS.map(|(name, _)| name).join(" ");
        eprintln!("usage: replay TARGET FILE...\n       replay TARGET --seconds N [SEED]\ntargets: {names}");
        return ExitCode::from(2);
    };
    let number = |at: usize| args.get(at).and_then(|text| text.parse().ok());
    if args[1] == "--seconds" {
        random(name, *target, Duration::from_secs(number(2).unwrap_or(10)), number(3).unwrap_or(1));
    } else {
        let files: Vec<PathBuf> = args[1..].iter().flat_map(|path| files_of(Path::new(path))).collect();
        for file in &files {
            println!("{}", file.display());
            target(&std::fs::read(file).expect("a readable file"));
        }
        println!("replay: target={name} inputs={} ok", files.len());
    }
    ExitCode::SUCCESS
}

fn files_of(path: &Path) -> Vec<PathBuf> {
    match std::fs::read_dir(path) {
        Ok(entries) => {
            let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
            files.sort();
            files
        }
        Err(_) => vec![path.to_owned()],
    }
}

/// SplitMix64 makes an input of each number of a sequence, so that a number identifies a failing input.
fn random(name: &str, target: Target, time: Duration, seed: u64) {
    let start = Instant::now();
    let (mut inputs, mut slowest) = (0_u64, (Duration::ZERO, 0));
    while start.elapsed() < time {
        let number = seed << 32 | inputs;
        let bytes = input_of(number);
        let hint = Hint { name, number };
        let began = Instant::now();
        target(&bytes);
        slowest = slowest.max((began.elapsed(), number));
        std::mem::forget(hint);
        inputs += 1;
    }
    println!("replay: target={name} seed={seed} inputs={inputs} slowest={:?} ok", slowest.0);
}

fn input_of(number: u64) -> Vec<u8> {
    Random::new(number).bytes(1023)
}

/// Writes the input to a file if the target panics.
struct Hint<'a> {
    name: &'a str,
    number: u64,
}

impl Drop for Hint<'_> {
    fn drop(&mut self) {
        let path = format!("crash-{}-{:x}", self.name, self.number);
        let written = std::fs::write(&path, input_of(self.number));
        eprintln!("replay: {} fails; input written to {path}: {written:?}", self.name);
    }
}
