//! C and C++ programs that use the library as installed, shared and static.
//!
//! They need a C compiler, which every machine with Rust has, because rustc links with it. Tests that need more are
//! ignored; `tests/run` installs what they need and runs them.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use seqcast_testkit::Name;
use support::{Linking, Program, built, library, run, temporary};

fn runs(source: &str, linking: Linking) {
    let program = Program::c(source, linking);
    run(program.command().arg(&*Name::new()));
}

macro_rules! programs {
    ($($name:ident)+) => {
        mod shared {
            $(#[test] fn $name() { super::runs(concat!(stringify!($name), ".c"), super::Linking::Shared); })+
        }
        mod statically {
            $(#[test] fn $name() { super::runs(concat!(stringify!($name), ".c"), super::Linking::Static); })+
        }
        mod valgrind {
            $(
                #[test]
                #[ignore = "needs valgrind: crates/seqcast-capi/tests/run"]
                fn $name() { super::runs_under_valgrind(concat!(stringify!($name), ".c")); }
            )+
        }
    };
}

programs!(abi bells claims events figures forks forwards misuse must_read names reservations retained threads unique);

fn runs_under_valgrind(source: &str) {
    let program = Program::c(source, Linking::Shared);
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["-q", "--error-exitcode=99", "--leak-check=full", "--errors-for-leak-kinds=definite,possible"]);
    run(valgrind.arg(program.path()).arg(&*Name::new()));
}

#[test]
fn a_library_that_is_closed_stays_mapped() {
    let program = Program::c("unload.c", Linking::None);
    run(program.command().arg(library().join("libseqcast.so")));
}

/// What the dynamic linker and other programs see of the library.
#[test]
#[ignore = "needs readelf and nm: crates/seqcast-capi/tests/run"]
fn the_library_has_a_soname_and_exports_its_functions_only() {
    let library = library().join("libseqcast.so");
    let dynamic = run(Command::new("readelf").arg("-dW").arg(&library));
    assert!(dynamic.contains("Library soname: [libseqcast.so.0]"), "{dynamic}");
    assert!(dynamic.lines().any(|line| line.contains("FLAGS_1") && line.contains("NODELETE")), "{dynamic}");
    let symbols = run(Command::new("nm").args(["-D", "--defined-only", "-f", "posix"]).arg(&library));
    let names: Vec<&str> = symbols.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains(&"seqcast_seat_post"), "{names:?}");
    let others: Vec<_> = names.iter().filter(|name| !name.starts_with("seqcast_")).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn the_header_is_c11() {
    parses("cc", &["-std=c11", "-xc"]);
}

#[test]
#[ignore = "needs g++: crates/seqcast-capi/tests/run"]
fn the_header_is_cpp11() {
    parses("g++", &["-std=c++11", "-xc++"]);
}

#[test]
#[ignore = "needs clang: crates/seqcast-capi/tests/run"]
fn clang_takes_the_header_as_c11_and_cpp11() {
    parses("clang", &["-std=c11", "-xc", "-Weverything", "-Wno-padded"]);
    let more = ["-Weverything", "-Wno-padded", "-Wno-c++98-compat", "-Wno-c++98-compat-pedantic"];
    parses("clang++", &[&["-std=c++11", "-xc++"][..], &more].concat());
}

/// Compiles only the header, with every warning an error.
fn parses(compiler: &str, language: &[&str]) {
    let file = temporary().join(format!("header-{compiler}.txt"));
    std::fs::write(&file, "#include \"seqcast.h\"\nint main(void) { return SEQCAST_ABI; }\n").unwrap();
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    let warnings = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only"];
    run(Command::new(compiler).args(language).args(warnings).arg("-I").arg(include).arg(file));
}

#[test]
#[ignore = "needs g++: crates/seqcast-capi/tests/run"]
fn a_cpp_program_runs_shared_and_static() {
    for linking in [Linking::Shared, Linking::Static] {
        let program = Program::cpp("plus.cpp", linking);
        run(program.command().arg(&*Name::new()));
    }
}

#[test]
#[ignore = "needs g++ and valgrind: crates/seqcast-capi/tests/run"]
fn a_cpp_program_runs_under_valgrind() {
    let program = Program::cpp("plus.cpp", Linking::Shared);
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["-q", "--error-exitcode=99", "--leak-check=full"]);
    run(valgrind.arg(program.path()).arg(&*Name::new()));
}

#[test]
#[ignore = "needs luajit: crates/seqcast-capi/tests/run"]
fn luajit_takes_the_declarations_and_calls_the_library() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut luajit = Command::new("luajit");
    luajit.arg(root.join("tests/luajit.lua")).arg(root.join("include/seqcast_cdef.h"));
    run(luajit.arg(library().join("libseqcast.so")).arg(&*Name::new()));
}

#[test]
#[ignore = "needs libuv: crates/seqcast-capi/tests/run"]
fn a_loop_of_libuv_waits_for_a_bell() {
    let program = Program::c_with("libuv.c", Linking::Shared, &["-luv"]);
    run(&mut program.command());
}

#[test]
#[ignore = "needs make and pkg-config: crates/seqcast-capi/tests/run"]
fn what_is_installed_is_found_by_pkg_config_and_uninstalled() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let installed = temporary().join(format!("installed-{}", std::process::id()));
    let make = |what: &str| {
        let mut make = Command::new("make");
        make.arg("-C").arg(root).arg(what).arg("PREFIX=/opt/seqcast").arg("LIBDIR=/opt/seqcast/lib64");
        make.arg(format!("DESTDIR={}", installed.display())).arg(format!("built={}", built().display()));
        run(&mut make)
    };
    library();
    make("install");
    let lib = installed.join("opt/seqcast/lib64");
    assert_eq!(std::fs::read_link(lib.join("libseqcast.so")).unwrap(), Path::new("libseqcast.so.0"));
    assert!(lib.join("libseqcast.so.0").exists());
    let flags = |more: &[&str]| {
        let mut pkg_config = Command::new("pkg-config");
        pkg_config.args(["--cflags", "--libs"]).args(more).arg("seqcast");
        pkg_config.env("PKG_CONFIG_PATH", lib.join("pkgconfig")).env("PKG_CONFIG_SYSROOT_DIR", &installed);
        run(&mut pkg_config)
    };
    for more in [&[][..], &["--static"]] {
        let program = installed.join("events");
        let mut compiler = Command::new("cc");
        compiler.args(["-std=c11", "-D_GNU_SOURCE"]).arg(root.join("tests/c/events.c")).arg("-o").arg(&program);
        if more.is_empty() {
            run(compiler.args(flags(more).split_whitespace()));
        } else {
            let flags = flags(more).replace("-lseqcast", "-l:libseqcast.a");
            run(compiler.args(flags.split_whitespace()));
        }
        run(Command::new(&program).arg(&*Name::new()).env("LD_LIBRARY_PATH", &lib));
    }
    make("uninstall");
    std::fs::remove_file(installed.join("events")).unwrap();
    let left = run(Command::new("find").arg(&installed).args(["!", "-type", "d"]));
    std::fs::remove_dir_all(&installed).unwrap();
    assert_eq!(left, "");
}

/// The example with `--serve` on a named segment, ended by a signal.
#[test]
fn the_example_serves_until_a_signal_ends_it() {
    let (program, name) = (Program::example("echo.c", Linking::Static), Name::new());
    let mut server = program.command().args(["--serve", "0", &name]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port: u16 = line.trim().rsplit(':').next().unwrap().parse().unwrap_or_else(|_| panic!("{line}"));
    let connect = || BufReader::new(TcpStream::connect(("127.0.0.1", port)).unwrap());
    let (mut one, mut other) = (connect(), connect());
    let ask = |client: &mut BufReader<TcpStream>, text: &str| {
        client.get_mut().write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        client.read_line(&mut answer).unwrap();
        answer
    };
    assert_eq!(ask(&mut one, "hello\n"), "hello\n");
    assert_eq!(ask(&mut other, "two\nlines\n"), "two\n");
    assert_eq!(ask(&mut other, ""), "lines\n");
    assert_eq!(ask(&mut one, "say something\n"), "said something\n");
    assert_eq!(ask(&mut other, ""), "said something\n");
    assert!(name.path().exists());
    let pid = rustix::process::Pid::from_child(&server);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(server.wait().unwrap().success());
    assert!(!name.path().exists(), "the name is left behind");
}

/// The example checks its own results, and its last line reports them.
#[test]
fn the_example_runs() {
    let program = Program::example("echo.c", Linking::Shared);
    let output = run(&mut program.command());
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines.len(), 3, "{output}");
    assert!(lines[2].starts_with("seqcast-echo: workers=3 ") && lines[2].ends_with(" replaced=1 ok"), "{output}");
}
