//! Compares the public API of seqcast with `api.txt`, which is committed so that a review shows what changes in it.
//!
//! ```sh
//! cargo run -p api-listing                # fails with a diff if the two differ
//! cargo run -p api-listing -- --update    # writes api.txt
//! ```
//!
//! The API is read from rustdoc's JSON, whose format changes with toolchains. Rust 1.95 and 1.97 give the same listing.
//! If a newer toolchain writes a format that the crate `public-api` cannot read, use `cargo +1.95 run -p api-listing`
//! until it can, then `cargo update -p public-api`.

use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use similar::TextDiff;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let file = root.join("api.txt");
    let api = public_api(&root)?;
    match env::args().nth(1).as_deref() {
        Some("--update") => {
            fs::write(&file, api)?;
            Ok(ExitCode::SUCCESS)
        }
        Some(other) => Err(format!("{other}: the only argument is --update").into()),
        None => Ok(compare(&fs::read_to_string(&file)?, &api)),
    }
}

/// Lists the public API, an item a line.
fn public_api(root: &Path) -> Result<String> {
    // A folder of its own: the variable below would have everything built again that is in the usual one.
    let target = root.join("target/api-listing");
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(root)
        // JSON is not stable yet. This lets a stable toolchain write it.
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("RUSTDOCFLAGS")
        .args(["rustdoc", "--quiet", "--package=seqcast", "--lib", "--all-features", "--target-dir"])
        .arg(&target)
        .args(["--", "-Zunstable-options", "--output-format=json", "--cap-lints=allow"])
        .status()?;
    if !status.success() {
        return Err(format!("cargo rustdoc: {status}").into());
    }
    let api = public_api::Builder::from_rustdoc_json(target.join("doc/seqcast.json"))
        // These follow from the types, and differ between versions of the standard library.
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .build()
        .map_err(|error| {
            format!("rustdoc's JSON cannot be read: {error}. Update the crate public-api, or use another toolchain")
        })?;
    Ok(api.to_string())
}

fn compare(committed: &str, now: &str) -> ExitCode {
    if committed == now {
        return ExitCode::SUCCESS;
    }
    let diff = TextDiff::from_lines(committed, now);
    eprintln!("{}", diff.unified_diff().header("api.txt", "the public API"));
    eprintln!("The public API has changed. If that is meant, run: cargo run -p api-listing -- --update");
    ExitCode::FAILURE
}
