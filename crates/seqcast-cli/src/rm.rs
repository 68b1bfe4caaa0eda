//! `seqcast rm`

use serde_json::{Value, json};

use seqcast::inspect::{Inspector, unlink_unheld};
use seqcast::{ErrorKind, WorkerStats};

use crate::args::RmArgs;
use crate::exit::{Exit, Failure};
use crate::output::{Output, printable};
use crate::units::count_of;

/// A reason not to remove a segment.
enum Obstacle {
    Workers(Vec<WorkerStats>),
    /// A process has it open that is a bus without a seat, or that may be a worker.
    Open,
}

pub fn run(args: &RmArgs, output: &mut Output) -> Result<Exit, Failure> {
    let Some(obstacle) = remove_if_unused(&args.name)? else {
        report(output, &args.name, true, &[], "removed")?;
        return Ok(Exit::Fine);
    };
    let workers = match &obstacle {
        Obstacle::Workers(workers) => workers.as_slice(),
        Obstacle::Open => &[],
    };
    let who = match workers.len() {
        0 => "a process that is not a worker (yet) has it open".to_owned(),
        1 => "1 worker lives".to_owned(),
        live => format!("{} live", count_of(live, "worker")),
    };
    if !args.force {
        let why = format!("not removed: {who}; stop what uses it, or see --force in seqcast rm --help");
        report(output, &args.name, false, workers, &why)?;
        return Ok(Exit::Trouble);
    }
    let what = format!(
        "removing it while {who}: they continue with each other in the old segment until they end; processes that open \
         the name from now on get a new, empty segment; the two exchange no events, and claims in the old one do not \
         hold in the new one"
    );
    report(output, &args.name, true, workers, &what)?;
    output.flush()?;
    seqcast::unlink(&args.name)?;
    Ok(Exit::Fine)
}

fn remove_if_unused(name: &str) -> Result<Option<Obstacle>, Failure> {
    match Inspector::open_any(name) {
        Ok(inspector) => {
            let mut workers = inspector.stats().map(|stats| stats.workers).unwrap_or_default();
            workers.retain(|worker| worker.alive);
            if !workers.is_empty() {
                return Ok(Some(Obstacle::Workers(workers)));
            }
        }
        // This command does not touch such a file.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::Foreign | ErrorKind::Name | ErrorKind::Denied
            ) =>
        {
            return Err(error.into());
        }
        // The proof below does not depend on the segment's content.
        Err(_) => {}
    }
    match unlink_unheld(name) {
        Ok(true) => Ok(None),
        Ok(false) => Ok(Some(Obstacle::Open)),
        Err(error) => Err(error.into()),
    }
}

fn report(output: &mut Output, name: &str, removed: bool, workers: &[WorkerStats], what: &str) -> Result<(), Failure> {
    if output.is_json() {
        let workers: Vec<Value> = workers
            .iter()
            .map(|worker| json!({ "seat": worker.seat, "pid": worker.pid, "label": worker.label }))
            .collect();
        return output.json(&json!({ "name": name, "removed": removed, "live_workers": workers, "what": what }));
    }
    output.line(format_args!("{name}: {what}"))?;
    for worker in workers {
        output.line(format_args!("  seat {}: pid {} {}", worker.seat, worker.pid, printable(&worker.label)))?;
    }
    Ok(())
}
