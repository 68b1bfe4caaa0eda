//! `seqcast claim`

use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use seqcast::Claimed;
use seqcast::inspect::{ClaimKind, Inspector};

use crate::args::ClaimArgs;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::post::{open, seat};
use crate::tail::holder_text;
use crate::units::long_duration;

/// The exit codes of shells for a command that does not exist, and for one that cannot be run.
const NOT_FOUND: u8 = 127;
const NOT_RUNNABLE: u8 = 126;
/// The sleep between two tries for a held key.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

pub fn run(args: &ClaimArgs, output: &mut Output) -> Result<Exit, Failure> {
    let bus = open(&args.name, &args.joining)?;
    let mut poster = seat(&bus, "seqcast claim")?;
    let until = args.wait.and_then(|wait| Instant::now().checked_add(wait));
    let mut claimed = poster.claim(&args.key, args.ttl)?;
    while let Claimed::Held { left, .. } = &claimed {
        let patience = match (args.wait, until) {
            (None, _) => break,
            (Some(_), Some(until)) => until.saturating_duration_since(Instant::now()),
            // Longer than the clock can represent.
            (Some(wait), None) => wait,
        };
        if patience.is_zero() {
            break;
        }
        // The next try notices a key that is released early.
        std::thread::sleep(LOOK_AGAIN.min(*left).min(patience).max(Duration::from_millis(1)));
        claimed = poster.claim(&args.key, args.ttl)?;
    }
    let claim = match claimed {
        Claimed::Won(claim) => claim,
        Claimed::Held { seat, left, .. } => {
            tell_holder(args, output, seat, left)?;
            return Ok(Exit::Other(args.conflict_exit_code));
        }
        _ => {
            output.note("no room for another key: create the segment with more .claims()");
            return Ok(Exit::Trouble);
        }
    };
    let ran = run_command(&args.command);
    let is_kept = args.keep && ran.is_ok();
    let released = is_kept || poster.release(&claim)?;
    if !released {
        output.note(format_args!(
            "the claim's {} ended before the command did: another command may have run meanwhile; use a longer --ttl",
            long_duration(args.ttl)
        ));
    }
    match ran {
        Ok(status) => Ok(Exit::Other(code_of(status))),
        Err(error) => {
            output.note(format_args!("{}: {error}", args.command[0].display()));
            Ok(Exit::Other(if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_RUNNABLE }))
        }
    }
}

/// On standard error, because standard output belongs to the command.
fn tell_holder(args: &ClaimArgs, output: &Output, seat: u32, left: Duration) -> Result<(), Failure> {
    // The claim may have ended since.
    let entry = Inspector::open_any(&args.name)?.claim_on(ClaimKind::Alone, args.key.as_bytes())?;
    let entry = entry.filter(|entry| entry.seat == seat);
    if output.is_json() {
        let held = match &entry {
            Some(entry) => crate::claims::to_json(entry),
            None => json!({ "seat": seat, "left_seconds": left.as_secs_f64() }),
        };
        output.note_json(&json!({ "claimed": false, "held": held }));
    } else {
        let holder = entry.as_ref().map_or_else(|| format!("held by seat {seat}"), holder_text);
        output.note(format_args!("not run: the key is {holder} for {} more", long_duration(left)));
    }
    Ok(())
}

/// Runs the command until it ends. Signals that would end this process are forwarded to it, and the claim is released
/// after it.
fn run_command(command: &[std::ffi::OsString]) -> io::Result<ExitStatus> {
    // Registered before the command starts, so that no signal is missed.
    let mut signals = Signals::new([SIGTERM, SIGHUP, SIGINT, SIGQUIT])?;
    let handle = signals.handle();
    let on_terminal = io::stdin().is_terminal();
    let mut child = Command::new(&command[0]).args(&command[1..]).spawn()?;
    let forwarding = match descriptor_of(&child) {
        Ok(descriptor) => Some(std::thread::spawn(move || {
            for signal in &mut signals {
                let signal = match signal {
                    SIGTERM => Signal::TERM,
                    SIGHUP => Signal::HUP,
                    // A terminal sends these to the command itself.
                    _ if on_terminal => continue,
                    SIGINT => Signal::INT,
                    _ => Signal::QUIT,
                };
                // If the command has ended, there is nothing to signal.
                let _ = pidfd_send_signal(&descriptor, signal);
            }
        })),
        // Before Linux 5.3. The claim is then released only when the command ends by itself.
        Err(_) => None,
    };
    let status = child.wait();
    handle.close();
    if let Some(forwarding) = forwarding {
        // The closure cannot panic, and nothing could be done if it did.
        let _ = forwarding.join();
    }
    status
}

/// A descriptor of the process, because its pid may be reused once it has ended.
fn descriptor_of(child: &Child) -> io::Result<std::os::fd::OwnedFd> {
    let pid = Pid::from_raw(child.id() as i32).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

fn code_of(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code as u8,
        (None, Some(signal)) => 128 + signal as u8,
        (None, None) => NOT_RUNNABLE,
    }
}
