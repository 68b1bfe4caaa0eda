//! Builds examples of the package under test, to run them as a user does.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds example `name` if it is not up to date, in the profile of the calling test, and returns its executable.
pub fn example(name: &str, features: &[&str]) -> PathBuf {
    let test = env::current_exe().expect("a test knows its executable");
    // TARGET[/TRIPLE]/PROFILE/deps/TEST-HASH
    let is_marked = |dir: &Path| dir.join("CACHEDIR.TAG").exists();
    let profile_dir = test.parent().and_then(Path::parent).expect("a test is in PROFILE/deps");
    // The outermost that is marked: some versions of cargo mark the directory of a target triple too.
    let marked = profile_dir.ancestors().skip_while(|dir| !is_marked(dir)).take_while(|dir| is_marked(dir));
    let target_dir = marked.last().expect("cargo marks its target directory");
    let between: Vec<_> = profile_dir.strip_prefix(target_dir).expect("it is in there").iter().collect();

    // Cargo sets both for the tests that it runs.
    let variable = |name| env::var_os(name).unwrap_or_else(|| panic!("{name} is not set: run the tests by cargo"));
    let mut cargo = Command::new(variable("CARGO"));
    cargo.current_dir(variable("CARGO_MANIFEST_DIR")).args(["build", "--quiet", "--example", name]);
    cargo.arg("--target-dir").arg(target_dir);
    match between.last().and_then(|profile| profile.to_str()) {
        Some("debug") => {}
        Some(profile) => {
            cargo.args(["--profile", profile]);
        }
        None => panic!("no profile in {}", profile_dir.display()),
    }
    if let [triple, _] = between[..] {
        cargo.arg("--target").arg(triple);
    }
    if !features.is_empty() {
        cargo.arg("--features").arg(features.join(","));
    }
    let built = cargo.status().expect("cargo runs");
    assert!(built.success(), "{cargo:?}: {built}");
    profile_dir.join("examples").join(name)
}
