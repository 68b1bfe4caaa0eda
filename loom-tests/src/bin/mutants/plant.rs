//! A workspace of one's own in which the protocol may be spoiled.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::list::Mutant;

pub(crate) struct Plant {
    protocol: PathBuf,
    original: PathBuf,
    tree: PathBuf,
    builds: PathBuf,
}

/// Models of a mutant are built often and run little: not optimised, unlike loom itself.
const WORKSPACE: &str = r#"[workspace]
members = ["loom-tests"]
resolver = "3"

[profile.release]
incremental = true

[profile.release.package.loom-tests]
opt-level = 0
"#;

impl Plant {
    /// A copy of what the models are built from, for worker number `job`, beside the other things that cargo builds.
    pub(crate) fn new(job: usize) -> io::Result<Plant> {
        let models = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = models.parent().expect("the package lies in the workspace");
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        // Builds share a directory, so that loom is built once; each tree has its own build of what is spoiled.
        let builds = target.join("mutants").join("builds");
        let tree = target.join("mutants").join(format!("tree-{job}"));
        let original = root.join("src/protocol");
        let protocol = tree.join("src/protocol");
        copy(&original, &protocol)?;
        for part in ["Cargo.toml", "src", "tests"] {
            copy(&models.join(part), &tree.join("loom-tests").join(part))?;
        }
        if root.join("Cargo.lock").exists() {
            copy(&root.join("Cargo.lock"), &tree.join("Cargo.lock"))?;
        }
        write(&tree.join("Cargo.toml"), WORKSPACE)?;
        Ok(Plant { protocol, original, tree, builds })
    }

    pub(crate) fn tree(&self) -> &Path {
        &self.tree
    }

    pub(crate) fn builds(&self) -> &Path {
        &self.builds
    }

    /// Spoils the copy. `Err` says which edit has no place, or more than one.
    pub(crate) fn spoil(&self, mutant: &Mutant) -> Result<(), String> {
        let source = fs::read_to_string(self.original.join(mutant.file)).map_err(|error| error.to_string())?;
        let mut spoiled = source;
        for (find, replace) in mutant.edits {
            match spoiled.matches(find).count() {
                1 => spoiled = spoiled.replacen(find, replace, 1),
                found => return Err(format!("{found} places in {} for {find:?}", mutant.file)),
            }
        }
        write(&self.protocol.join(mutant.file), &spoiled).map_err(|error| error.to_string())
    }

    /// Undoes [`Plant::spoil`].
    pub(crate) fn mend(&self, mutant: &Mutant) -> io::Result<()> {
        copy(&self.original.join(mutant.file), &self.protocol.join(mutant.file))
    }
}

/// Writes only what differs, so that cargo builds only what differs.
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
