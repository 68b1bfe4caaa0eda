//! The command line.

/// What `--help` prints.
pub const HELP: &str = "\
A prefork HTTP server whose workers hear each other.

usage: prefork [options]

  --serve          stay up until Ctrl-C, to be tried with curl, instead of a demonstration of some seconds
  --port N         listen on 127.0.0.1:N (default: any free port; 8080 with --serve)
  --workers N      workers to fork, 1 to 64 (default 4)
  --seconds N      how long the demonstration lasts, 1 to 3600 (default 6)
  --rate N         requests per second that it sends, about, 1 to 1000000 (default 4000)
  --name NAME      name the segment, to be looked at meanwhile with seqcast top NAME
  --fault KIND     let worker 0 report wrongly, to see that the master notices: lose, swap, twice or never
  --help           this text
";

/// What the command line asks for.
#[derive(Debug)]
pub struct Args {
    pub serve: bool,
    pub port: u16,
    pub workers: usize,
    pub seconds: u64,
    pub rate: u64,
    pub name: Option<String>,
    pub fault: Option<Fault>,
}

/// What worker 0 does wrong when it is asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It leaves one event out.
    Lose,
    /// It takes two events in the wrong order.
    Swap,
    /// It runs a unique event twice.
    Twice,
    /// It takes a unique event and does not run it.
    Never,
}

/// Why there are no arguments to go by.
#[derive(Debug)]
pub enum Refused {
    Help,
    Wrong(String),
}

/// Reads the arguments.
pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, Refused> {
    let mut args = Args { serve: false, port: 0, workers: 4, seconds: 6, rate: 4000, name: None, fault: None };
    let mut port = None;
    while let Some(word) = words.next() {
        let mut number = |least: u64, most: u64| {
            let value = words.next().unwrap_or_default();
            let number = value.parse().ok().filter(|number| (least..=most).contains(number));
            number.ok_or_else(|| Refused::Wrong(format!("{word} takes a number from {least} to {most}, not {value:?}")))
        };
        match word.as_str() {
            "--serve" => args.serve = true,
            "--port" => port = Some(number(0, u64::from(u16::MAX))? as u16),
            "--workers" => args.workers = number(1, 64)? as usize,
            "--seconds" => args.seconds = number(1, 3600)?,
            "--rate" => args.rate = number(1, 1_000_000)?,
            "--name" => args.name = Some(words.next().ok_or_else(|| Refused::Wrong("--name takes a name".to_owned()))?),
            "--fault" => args.fault = Some(fault(&words.next().unwrap_or_default())?),
            "--help" | "-h" => return Err(Refused::Help),
            _ => return Err(Refused::Wrong(format!("unknown argument {word:?}"))),
        }
    }
    args.port = port.unwrap_or(if args.serve { 8080 } else { 0 });
    Ok(args)
}

fn fault(word: &str) -> Result<Fault, Refused> {
    match word {
        "lose" => Ok(Fault::Lose),
        "swap" => Ok(Fault::Swap),
        "twice" => Ok(Fault::Twice),
        "never" => Ok(Fault::Never),
        _ => Err(Refused::Wrong(format!("--fault takes lose, swap, twice or never, not {word:?}"))),
    }
}
