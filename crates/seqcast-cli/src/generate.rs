//! `seqcast completions` and `seqcast man`.
//!
//! The binary generates both from the command line that it parses, so they always match it. `cargo install` has no
//! place for such files anyway, and the library needs no build script.

use std::io::{self, Write};
use std::path::Path;

use clap_complete::env::{CompleteEnv, Shells};
use clap_mangen::Man;

use crate::args::{CompletionsArgs, ManArgs};
use crate::exit::{Exit, Failure};
use crate::manual;
use crate::output::Output;

/// The variable through which the script asks.
const COMPLETE: &str = "SEQCAST_COMPLETE";

/// Prints a script that calls this program to complete. It knows the names of segments at the time of the request.
pub fn completions(args: &CompletionsArgs, output: &mut Output) -> Result<Exit, Failure> {
    let shell = args.shell.to_string();
    let shells = Shells::builtins();
    let completer = shells.completer(&shell).ok_or_else(|| Failure::Usage(format!("{shell} is not supported")))?;
    let mut script = Vec::new();
    completer
        .write_registration(COMPLETE, "seqcast", "seqcast", "seqcast", &mut script)
        .map_err(Failure::io("generating the completions"))?;
    output.raw(&script)?;
    Ok(Exit::Fine)
}

/// Answers a shell's request for completions, as made by the script above, and then exits.
pub fn complete() {
    CompleteEnv::with_factory(manual::command).var(COMPLETE).complete();
}

pub fn man(args: &ManArgs, output: &mut Output) -> Result<Exit, Failure> {
    let mut seqcast = manual::command();
    // Gives the subcommands their full names and the common options.
    seqcast.build();
    if let Some(dir) = &args.dir {
        write_page(dir, &seqcast)?;
        for subcommand in seqcast.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
            write_page(dir, subcommand)?;
        }
        return Ok(Exit::Fine);
    }
    let command = match &args.command {
        None => &seqcast,
        Some(name) => seqcast
            .find_subcommand(name)
            .ok_or_else(|| Failure::Usage(format!("no command {name}: seqcast --help lists all commands")))?,
    };
    output.raw(&page(command)?)?;
    Ok(Exit::Fine)
}

/// The name of a command's page: `seqcast-top`.
fn page_name(command: &clap::Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
}

fn page(command: &clap::Command) -> Result<Vec<u8>, Failure> {
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    let mut render = || -> io::Result<()> {
        man.render_title(&mut page)?;
        man.render_name_section(&mut page)?;
        man.render_synopsis_section(&mut page)?;
        man.render_description_section(&mut page)?;
        man.render_options_section(&mut page)?;
        if command.has_subcommands() {
            man.render_subcommands_section(&mut page)?;
        }
        page.write_all(manual::roff(manual::sections(command.get_name())).as_bytes())?;
        man.render_version_section(&mut page)
    };
    render().map_err(Failure::io("generating the man page"))?;
    Ok(page)
}

fn write_page(dir: &Path, command: &clap::Command) -> Result<(), Failure> {
    let path = dir.join(format!("{}.1", page_name(command)));
    std::fs::write(&path, page(command)?).map_err(Failure::io(path.display().to_string()))
}
