//! A separate workspace in which the protocol may be changed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use crate::list::Mutant;

pub(crate) struct Plant {
    original: PathBuf,
    tree: PathBuf,
    /// Exists while a run is active: two runs would spoil each other's sources.
    sign: PathBuf,
    /// Held while the tree is changed.
    spoiled: Mutex<()>,
}

/// Suites that spend their time in this package and not in loom.
const SUITES_OPTIMISED: [&str; 4] = ["claim_rule", "retained_rule", "room_rule", "interrupted"];

/// A mutant's models are built often and run briefly, so they are not optimised, unlike loom itself.
const WORKSPACE: &str = r#"[workspace]
members = ["loom-tests"]
resolver = "3"

[profile.release]
incremental = true

[profile.release.package.loom-tests]
opt-level = 0
"#;

impl Plant {
    /// Copies the sources of the models to a directory beside cargo's other output.
    pub(crate) fn new() -> io::Result<Plant> {
        let models = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = models.parent().expect("the package lies in the workspace");
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let tree = std::path::absolute(target.join("mutants"))?;
        fs::create_dir_all(&tree)?;
        let sign = tree.join("at-work");
        fs::File::create_new(&sign).map_err(|error| {
            let text = format!("{}: another run is at work there, or was killed: remove it", sign.display());
            io::Error::new(error.kind(), text)
        })?;
        let plant = Plant { original: root.join("src/protocol"), tree, sign, spoiled: Mutex::new(()) };
        copy(&plant.original, &plant.protocol())?;
        for part in ["Cargo.toml", "src/lib.rs", "tests"] {
            copy(&models.join(part), &plant.tree.join("loom-tests").join(part))?;
        }
        if root.join("Cargo.lock").exists() {
            copy(&root.join("Cargo.lock"), &plant.tree.join("Cargo.lock"))?;
        }
        write(&plant.tree.join("Cargo.toml"), WORKSPACE)?;
        Ok(plant)
    }

    fn protocol(&self) -> PathBuf {
        self.tree.join("src/protocol")
    }

    /// Builds the tests of `suite` over a changed protocol, for worker number `job`. Returns the path of the program.
    pub(crate) fn build(&self, mutant: &Mutant, suite: &str, job: usize) -> Result<PathBuf, String> {
        // One at a time: it takes about a second, and cargo would make others wait in any case.
        let _spoiled = self.spoiled.lock().unwrap();
        let built = self.spoil(mutant).and_then(|()| self.cargo(suite));
        copy(&self.original.join(mutant.file), &self.protocol().join(mutant.file))
            .map_err(|error| error.to_string())?;
        let program = self.tree.join(format!("program-{job}"));
        // The next build overwrites cargo's output.
        fs::copy(built?, &program).map_err(|error| error.to_string())?;
        Ok(program)
    }

    /// Returns `Err` with the edit whose text is missing, or occurs more than once.
    fn spoil(&self, mutant: &Mutant) -> Result<(), String> {
        let mut source = fs::read_to_string(self.original.join(mutant.file)).map_err(|error| error.to_string())?;
        for (find, replace) in mutant.edits {
            match source.matches(find).count() {
                1 => source = source.replacen(find, replace, 1),
                found => return Err(format!("{found} places in {} for {find:?}", mutant.file)),
            }
        }
        write(&self.protocol().join(mutant.file), &source).map_err(|error| error.to_string())
    }

    fn cargo(&self, suite: &str) -> Result<PathBuf, String> {
        let output = Command::new(env!("CARGO"))
            .current_dir(&self.tree)
            .env("CARGO_TARGET_DIR", self.tree.join("target"))
            .env("RUSTFLAGS", "--allow warnings")
            .args(
                SUITES_OPTIMISED.contains(&suite).then_some("--config=profile.release.package.loom-tests.opt-level=2"),
            )
            .args(["test", "--release", "--quiet", "-p", "loom-tests", "--no-run", "--message-format=json", "--test"])
            .arg(suite)
            .output()
            .map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            return Err(format!("does not build: {}", output_of_rustc(&said)));
        }
        // Cargo prints one line for each artifact.
        let tests = said.lines().filter(|line| line.contains("\"kind\":[\"test\"]"));
        let program = tests.flat_map(|line| line.split("\"executable\":\"").nth(1)).next();
        let program = program.and_then(|rest| rest.split('"').next());
        program.map(PathBuf::from).filter(|path| path.exists()).ok_or_else(|| "cargo names no program".to_owned())
    }
}

impl Drop for Plant {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.sign);
    }
}

/// The first error in cargo's messages.
fn output_of_rustc(messages: &str) -> &str {
    let text = messages.split("\"rendered\":\"error").nth(1).unwrap_or(messages);
    &text[..text.len().min(500)]
}

/// Writes a file only if it differs, so that cargo builds only what changed.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if fs::read_to_string(path).is_ok_and(|before| before == text) {
        return Ok(());
    }
    fs::create_dir_all(path.parent().expect("a file in a directory"))?;
    fs::write(path, text)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        return write(to, &fs::read_to_string(from)?);
    }
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        copy(&from.join(&name), &to.join(&name))?;
    }
    Ok(())
}
