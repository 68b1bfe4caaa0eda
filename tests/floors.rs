//! Checks that imports go downward only (see ARCHITECTURE.md, "Floors"), and the width of lines, also where rustfmt
//! does not look: in comments, strings, tables and macros.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// From the lowest to the highest. The files of a floor may use their own floor and the floors below.
const FLOORS: [&[&str]; 9] = [
    &["os"],
    &["protocol", "sync"],
    &["error", "identity"],
    &["segment"],
    &["claim", "event"],
    &["seat"],
    &["worker"],
    &["bus", "inspect", "process", "relay", "tokio"],
    &["docs", "lib"],
];

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|modules| modules.contains(&module))
}

/// Columns of the longest line, as in rustfmt.toml.
const MOST_COLUMNS: usize = 120;

/// Adds the Rust files in `folder`, but none that are built or hidden.
fn source_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            source_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Returns the code of a file without its unit tests and comments.
fn code_of(source: &str) -> String {
    let code = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn imports_go_downward_only() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    source_files(&src, &mut files);
    let (mut upward, mut seen) = (Vec::new(), BTreeSet::new());
    for file in &files {
        let inside = file.strip_prefix(&src).unwrap().to_string_lossy().replace('\\', "/");
        if inside.contains("tests") {
            continue;
        }
        let module = inside.split('/').next().unwrap().trim_end_matches(".rs");
        let floor = floor_of(module).unwrap_or_else(|| panic!("{inside} is on no floor: add it to FLOORS"));
        seen.insert(module.to_owned());
        for used in code_of(&fs::read_to_string(file).unwrap()).replace("$crate::", "").split("crate::").skip(1) {
            let used: String = used.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            match floor_of(&used) {
                Some(other) if other > floor => upward.push(format!("{inside} uses crate::{used}")),
                // A macro or an item of the root.
                None if floor + 1 < FLOORS.len() && !used.is_empty() && used != "event_list" => {
                    upward.push(format!("{inside} uses crate::{used}, which is on no floor"));
                }
                _ => {}
            }
        }
    }
    let expected: BTreeSet<String> = FLOORS.concat().into_iter().map(str::to_owned).collect();
    assert_eq!(seen, expected, "the floors and the files differ");
    assert!(upward.is_empty(), "imports that go upward:\n{}", upward.join("\n"));
}

#[test]
fn no_line_is_longer_than_rustfmt_allows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut files, mut long) = (Vec::new(), Vec::new());
    source_files(root, &mut files);
    for file in &files {
        for (number, line) in (1..).zip(fs::read_to_string(file).unwrap().lines()) {
            let columns = line.chars().count();
            if columns > MOST_COLUMNS {
                let inside = file.strip_prefix(root).unwrap().display();
                long.push(format!("{inside}:{number}: {columns} columns"));
            }
        }
    }
    assert!(files.len() > 200, "only {} files were read", files.len());
    assert!(long.is_empty(), "lines of more than {MOST_COLUMNS} columns:\n{}", long.join("\n"));
}
