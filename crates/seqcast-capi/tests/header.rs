//! Checks that the headers in the repository are what cbindgen generates from the source, and that they are complete.
//!
//! `SEQCAST_WRITE_HEADERS=1 cargo test -p seqcast-capi --test header` writes them.

use std::fs;
use std::path::Path;

use cbindgen::{Builder, Config};
use seqcast::ErrorKind;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn config() -> Config {
    Config::from_file(root().join("cbindgen.toml")).unwrap()
}

fn generate(config: Config) -> String {
    // Only this crate's files: the library crate is not part of the interface.
    let builder = Builder::new().with_config(config).with_src(root().join("src/lib.rs"));
    let mut text = Vec::new();
    builder.generate().unwrap().write(&mut text);
    String::from_utf8(text).unwrap()
}

/// The crate's files.
fn sources() -> Vec<String> {
    let files = |folder: &str| fs::read_dir(root().join(folder)).unwrap();
    let paths = ["src", "src/inspect", "src/seat"].into_iter().flat_map(files).map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_file()).map(|path| fs::read_to_string(path).unwrap()).collect()
}

/// The header for C and C++.
fn header() -> String {
    generate(Config { header: Some(include_str!("../include/overview.txt").to_owned()), ..config() })
}

/// The declarations without preprocessor directives, for LuaJIT's `ffi.cdef` and Python's cffi.
fn declarations() -> String {
    let mut config = Config { cpp_compat: false, include_guard: None, documentation: false, ..config() };
    config.sys_includes.clear();
    generate(config)
}

fn check(file: &str, made: &str) {
    let path = root().join("include").join(file);
    if std::env::var_os("SEQCAST_WRITE_HEADERS").is_some() {
        fs::write(&path, made).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == made,
        "include/{file} does not match the source: run `just header`, or cargo test -p seqcast-capi --test header with \
         SEQCAST_WRITE_HEADERS=1"
    );
}

#[test]
fn the_header_is_that_of_the_source() {
    check("seqcast.h", &header());
}

#[test]
fn the_declarations_are_those_of_the_source_and_need_no_preprocessor() {
    let made = declarations();
    assert!(!made.lines().any(|line| line.trim_start().starts_with('#')), "{made}");
    check("seqcast_cdef.h", &made);
}

/// Functions whose arguments cannot be wrong, and that cannot panic.
const TAKES_NOTHING: [&str; 3] = ["seqcast_abi", "seqcast_error_message", "seqcast_error_errno"];

/// The functions that the library exports.
fn functions() -> Vec<String> {
    let mut names = Vec::new();
    for source in sources() {
        for (at, _) in source.match_indices("#[unsafe(no_mangle)]") {
            names.push(source[at..].split_once("fn ").unwrap().1.split_once('(').unwrap().0.to_owned());
        }
    }
    assert!(names.len() > 50, "{names:?}");
    names
}

#[test]
fn every_function_is_called_with_what_is_no_handle_and_with_null() {
    let misuse = fs::read_to_string(root().join("tests/c/misuse.c")).unwrap();
    let missing: Vec<String> = functions()
        .into_iter()
        .filter(|name| !TAKES_NOTHING.contains(&&**name) && !misuse.contains(&format!("{name}(")))
        .collect();
    assert!(missing.is_empty(), "not in tests/c/misuse.c: {missing:?}");
}

#[test]
fn no_panic_leaves_a_function() {
    let sources = sources().concat();
    for name in functions().iter().filter(|name| !TAKES_NOTHING.contains(&&***name)) {
        let (_, body) = sources.split_once(&format!("fn {name}(")).unwrap();
        let (body, _) = body.split_once("\n}\n").unwrap();
        assert!(body.contains("call(|| ") || body.contains("{ make_named("), "{name} does not catch panics: {body}");
    }
}

#[test]
fn every_function_is_in_the_header_and_explained_in_it() {
    let header = header();
    for name in functions() {
        let declares =
            |line: &str| !line.starts_with(['/', ' ']) && line.split([' ', '*', '(']).any(|word| word == name);
        let above = header.lines().zip(header.lines().skip(1)).find(|(_, line)| declares(line));
        let (above, _) = above.unwrap_or_else(|| panic!("{name} is not in the header"));
        assert!(above.starts_with("// "), "{name} is not explained: {above}");
    }
}

#[test]
fn every_field_and_number_is_frozen() {
    let frozen = fs::read_to_string(root().join("tests/c/abi.c")).unwrap();
    let mut structure = None;
    for line in declarations().lines() {
        let words: Vec<&str> = line.trim_end_matches([',', ';']).split([' ', '*', '[']).collect();
        match (words[..].first(), structure) {
            (Some(&"typedef"), _) if line.ends_with('{') => structure = Some((words[1], words[2])),
            (Some(&"}"), _) => structure = None,
            (_, Some(("enum", _))) => {
                let expected = format!("IS({}, {});", words[2], words[4]);
                assert!(frozen.contains(&expected), "{expected} is not in tests/c/abi.c");
            }
            (_, Some((_, of))) => {
                let field = words.iter().rfind(|word| word.starts_with(|c: char| c.is_ascii_alphabetic())).unwrap();
                let expected = format!("AT({of}, {field}, ");
                assert!(frozen.contains(&expected), "{expected}..) is not in tests/c/abi.c");
            }
            _ => {}
        }
    }
}

#[test]
fn errors_have_the_numbers_and_names_of_the_crate() {
    let header = header();
    for kind in ErrorKind::ALL {
        let constant = format!("  SEQCAST_E_{} = -{},\n", kind.code().to_uppercase(), kind.number());
        assert!(header.contains(&constant), "{constant}");
        assert!(kind.number() < 1000, "{kind:?}: the numbers from 1000 on are this crate's");
    }
    let of_the_crate = header.matches("  SEQCAST_E_").count() - header.matches(" = -100").count();
    assert_eq!(of_the_crate, ErrorKind::ALL.len(), "the header has errors that the crate does not have");
}
