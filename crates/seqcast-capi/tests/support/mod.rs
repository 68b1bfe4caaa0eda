//! Builds the library and programs that use it, and runs them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

/// A program that runs longer than this hangs. No result of a test depends on it otherwise.
const HANGS: Duration = Duration::from_secs(300);

/// How a program gets the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linking {
    Shared,
    Static,
    /// It loads the library itself.
    None,
}

/// A program that was compiled for a test.
pub struct Program(PathBuf);

impl Program {
    pub fn c(source: &str, linking: Linking) -> Program {
        Program::c_with(source, linking, &[])
    }

    /// With more arguments for the compiler.
    pub fn c_with(source: &str, linking: Linking, more: &[&str]) -> Program {
        Program::compiled("cc", "-std=c11", &format!("tests/c/{source}"), linking, more)
    }

    pub fn example(source: &str, linking: Linking) -> Program {
        Program::compiled("cc", "-std=c11", &format!("examples/{source}"), linking, &[])
    }

    pub fn cpp(source: &str, linking: Linking) -> Program {
        Program::compiled("g++", "-std=c++11", &format!("tests/c/{source}"), linking, &[])
    }

    fn compiled(compiler: &str, standard: &str, source: &str, linking: Linking, more: &[&str]) -> Program {
        let (root, library) = (Path::new(env!("CARGO_MANIFEST_DIR")), library());
        // Tests compile the same source at the same time.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let program = temporary().join(format!("{}-{}-{number}", source.replace('/', "-"), std::process::id()));
        let mut command = Command::new(compiler);
        command.args([standard, "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-pedantic", "-g", "-O1", "-pthread"]);
        command.arg("-I").arg(root.join("include")).arg(root.join(source)).arg("-o").arg(&program);
        match linking {
            Linking::Shared => {
                let mut path = std::ffi::OsString::from("-Wl,-rpath,");
                path.push(library);
                command.arg("-L").arg(library).args(["-lseqcast"]).arg(path);
            }
            Linking::Static => {
                command.arg(library.join("libseqcast.a")).args(["-lgcc_s", "-lutil", "-lrt", "-lm", "-ldl"]);
            }
            Linking::None => {
                command.arg("-ldl");
            }
        }
        run(command.args(more));
        Program(program)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn command(&self) -> Command {
        Command::new(&self.0)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Returns the folder for files that tests make.
pub fn temporary() -> &'static Path {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(folder).unwrap();
    folder
}

/// Returns the folder in which cargo builds the library.
pub fn built() -> PathBuf {
    // target/PROFILE/deps/TEST
    env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned()
}

/// Builds the library, and returns a folder that has it as installed. Cargo does not build it for these tests, because
/// Rust code cannot depend on it.
pub fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let profile = built();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "seqcast-capi"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        build.arg("--target-dir").arg(profile.parent().unwrap());
        if profile.ends_with("release") {
            build.arg("--release");
        }
        run(&mut build);
        let folder = temporary().join("lib");
        fs::create_dir_all(&folder).unwrap();
        for (from, to) in
            [("libseqcast.so", "libseqcast.so.0"), ("libseqcast.so", "libseqcast.so"), ("libseqcast.a", "libseqcast.a")]
        {
            // Renamed into place, because another test binary may be running a program with the existing file.
            let copy = folder.join(format!("{to}-{}", std::process::id()));
            fs::copy(profile.join(from), &copy).unwrap();
            fs::rename(copy, folder.join(to)).unwrap();
        }
        folder
    })
}

/// Runs a command, which must succeed. Returns its output.
pub fn run(command: &mut Command) -> String {
    let shown = format!("{command:?}");
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.unwrap_or_else(|error| panic!("{shown}: {error}"));
    let pid = child.id();
    let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let reader = |mut from: Box<dyn std::io::Read + Send>| {
        thread::spawn(move || {
            let mut text = Vec::new();
            from.read_to_end(&mut text).unwrap();
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let (stdout, stderr) = (reader(Box::new(stdout)), reader(Box::new(stderr)));
    let started = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if started.elapsed() > HANGS => {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("{shown} (pid {pid}) hangs");
            }
            None => thread::sleep(Duration::from_millis(2)),
        }
    };
    let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
    assert!(status.success(), "{shown}: {status}\n{stdout}{stderr}");
    stdout
}
