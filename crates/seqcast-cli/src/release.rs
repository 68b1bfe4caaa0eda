//! `seqcast release`

use serde_json::json;

use seqcast::Winner;
use seqcast::inspect::{ClaimKind, Inspector};

use crate::args::ReleaseArgs;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::post::{open, seat};
use crate::tail::holder_text;

pub fn run(args: &ReleaseArgs, output: &mut Output) -> Result<Exit, Failure> {
    let entry = Inspector::open_any(&args.name)?.claim_on(ClaimKind::Alone, args.key.as_bytes())?;
    let Some(entry) = entry else {
        tell(output, false, format_args!("{} is not held in {}", args.key, args.name))?;
        return Ok(Exit::Trouble);
    };
    if entry.winner == Winner::Alive && !args.force {
        if output.is_json() {
            output.json(&json!({ "released": false, "held": crate::claims::to_json(&entry) }))?;
        } else {
            let holder = holder_text(&entry);
            output.note(format_args!("{} is {holder}, which lives: use --force to release it", args.key));
        }
        return Ok(Exit::Trouble);
    }
    let bus = open(&args.name, &args.joining)?;
    // If another process has won the key since, this releases nothing.
    let released = seat(&bus, "seqcast release")?.release(&entry.claim())?;
    if !released {
        tell(output, false, format_args!("{} has been released or claimed by another process meanwhile", args.key))?;
        return Ok(Exit::Trouble);
    }
    tell(output, true, format_args!("released {}", args.key))?;
    Ok(Exit::Fine)
}

fn tell(output: &mut Output, released: bool, text: std::fmt::Arguments<'_>) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&json!({ "released": released }));
    }
    output.note(text);
    Ok(())
}
