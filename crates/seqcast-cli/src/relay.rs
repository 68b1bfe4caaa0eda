//! `seqcast relay`: runs `seqcast-relay`, which is a package of its own, so that this command links no client of a
//! server.

use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::args::RelayArgs;
use crate::exit::{Exit, Failure};

const PROGRAM: &str = "seqcast-relay";

/// Does not return if the program is there. First the one beside this program is taken, then the one in `PATH`.
pub fn run(args: &RelayArgs) -> Result<Exit, Failure> {
    let own = std::env::current_exe().map_err(Failure::io("finding this program"))?;
    for program in [own.with_file_name(PROGRAM), PROGRAM.into()] {
        let error = Command::new(&program).args(&args.arguments).exec();
        if error.kind() != ErrorKind::NotFound {
            return Err(Failure::Io { what: format!("running {}", program.display()), error });
        }
    }
    Err(Failure::Usage(format!("{PROGRAM} is not installed: cargo install {PROGRAM}")))
}
