//! `seqcast completions` and `seqcast man`.
//!
//! Both are made by the binary itself, from the very command line that it parses: so they fit it wherever it came from,
//! `cargo install` has no place to put such files anyway, and the library needs no build script for them.

use std::path::Path;

use clap::CommandFactory;
use clap_mangen::Man;

use crate::args::{Args, CompletionsArgs, ManArgs};
use crate::exit::{Exit, Failure};
use crate::output::Output;

pub fn completions(args: &CompletionsArgs, output: &mut Output) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "seqcast", &mut script);
    output.raw(&script)?;
    Ok(Exit::Fine)
}

pub fn man(args: &ManArgs, output: &mut Output) -> Result<Exit, Failure> {
    let mut seqcast = Args::command();
    // Gives the subcommands their full names and the options that all of them have.
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
            .ok_or_else(|| Failure::Usage(format!("there is no command {name}: seqcast --help lists them")))?,
    };
    output.raw(&page(command)?)?;
    Ok(Exit::Fine)
}

/// The name of a command's page: `seqcast-top`.
fn page_name(command: &clap::Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
}

fn page(command: &clap::Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page).map_err(Failure::io("making the man page"))?;
    Ok(page)
}

fn write_page(dir: &Path, command: &clap::Command) -> Result<(), Failure> {
    let path = dir.join(format!("{}.1", page_name(command)));
    std::fs::write(&path, page(command)?).map_err(Failure::io(path.display().to_string()))
}
