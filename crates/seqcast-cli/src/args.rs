//! The command line. The completions and the man pages are generated from it; `manual.rs` has their additional text.

use std::ffi::OsStr;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};

use crate::units::parse_duration;

/// Inspects seqcast segments, and posts and claims by hand.
///
/// Commands that only read map the segment read-only and take no seat: they change nothing, and no worker waits for
/// them.
#[derive(Debug, Parser)]
#[command(name = "seqcast", version, max_term_width = 100, propagate_version = true)]
pub struct Args {
    /// Output format: text for people, or JSON for programs (one object, or one object per line).
    #[arg(long, global = true, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub format: Format,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the segments of this host.
    Ls,
    /// Show a segment's header, sizes, ring, claims, retained events and faults.
    Inspect(InspectArgs),
    /// Watch the workers of a segment.
    Top(TopArgs),
    /// Print events as they arrive.
    Tail(TailArgs),
    /// Post an event.
    Post(PostArgs),
    /// Run a command in one process at a time, like flock.
    Claim(ClaimArgs),
    /// List held unique keys.
    Claims(ClaimsArgs),
    /// End the claim of a holder that has died or left.
    Release(ReleaseArgs),
    /// List retained events: the last one of each key.
    Retained(RetainedArgs),
    /// Look for problems, with a remedy for each.
    Doctor(DoctorArgs),
    /// Remove a segment that no worker uses.
    Rm(RmArgs),
    /// Print a segment's metrics for Prometheus, or serve them.
    Metrics(MetricsArgs),
    /// Carry events to other hosts: run seqcast-relay, a package of its own, with these arguments.
    Relay(RelayArgs),
    /// Print a completion script for a shell.
    Completions(CompletionsArgs),
    /// Print a man page, or write all of them.
    Man(ManArgs),
}

#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    /// The segment's name.
    #[arg(add = ArgValueCompleter::new(segment_names))]
    pub name: String,
    /// Show every region and field with its offset.
    #[arg(long)]
    pub layout: bool,
    /// Time over which to measure the rate of events.
    #[arg(long, value_parser = parse_duration, default_value = "500ms", value_name = "TIME")]
    pub sample: Duration,
}

#[derive(Debug, clap::Args)]
pub struct TopArgs {
    /// The segment's name. It may be omitted with --pid.
    #[arg(required_unless_present = "pid", add = ArgValueCompleter::new(segment_names))]
    pub name: Option<String>,
    /// Show the workers of this process only. Without NAME, use the segment that the process has mapped.
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
    /// Print one measurement, taken over one interval, and exit.
    #[arg(long)]
    pub once: bool,
    /// Time between measurements.
    #[arg(long, value_parser = parse_duration, default_value = "1s", value_name = "TIME")]
    pub interval: Duration,
    /// The column to sort by.
    #[arg(long, value_enum, default_value_t = Sort::Seat, value_name = "COLUMN")]
    pub sort: Sort,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    Seat,
    Pid,
    Label,
    Age,
    Lag,
    High,
    Missed,
    Poll,
    State,
    /// Ids read per second.
    Rate,
    /// Events posted per second.
    Posts,
    Failed,
}

#[derive(Debug, clap::Args)]
pub struct TailArgs {
    /// The segment's name.
    #[arg(add = ArgValueCompleter::new(segment_names))]
    pub name: String,
    /// Show only events of this source.
    #[arg(long)]
    pub source: Option<String>,
    /// Show only events with this name.
    #[arg(long)]
    pub event: Option<String>,
    /// Where to begin: at the next event, at the oldest event in the ring, at an id, or at a worker's saved position.
    #[arg(long, value_name = "now|oldest|ID|POSITION", default_value = "now", value_parser = parse_start)]
    pub from: seqcast::Start,
    /// How to show payloads.
    #[arg(long, value_enum, default_value_t = PayloadForm::Len, value_name = "WHAT")]
    pub payload: PayloadForm,
    /// Exit after this many events.
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Exit at the end of the ring.
    #[arg(long)]
    pub no_follow: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PayloadForm {
    /// Hexadecimal digits.
    Hex,
    /// Text, with unprintable characters escaped.
    Utf8,
    /// The length only.
    Len,
}

#[derive(Debug, clap::Args)]
pub struct Joining {
    /// Open the segment even if it belongs to another user.
    #[arg(long)]
    pub trust_owner: bool,
}

#[derive(Debug, clap::Args)]
pub struct PostArgs {
    /// The segment's name.
    #[arg(add = ArgValueCompleter::new(segment_names))]
    pub name: String,
    /// The event's source.
    pub source: String,
    /// The event's name.
    pub event: String,
    /// The payload: text, `-` for standard input, or `@` and a file name.
    #[arg(long, value_name = "TEXT|-|@FILE", allow_hyphen_values = true)]
    pub data: Option<String>,
    /// Post a unique event: one worker runs it, unless KEY is still held for an earlier event.
    #[arg(long, value_name = "KEY")]
    pub unique: Option<String>,
    /// How long KEY is held after a worker has reached the event.
    #[arg(long, value_parser = parse_duration, requires = "unique", default_value = "2s", value_name = "TIME")]
    pub ttl: Duration,
    #[command(flatten)]
    pub joining: Joining,
}

#[derive(Debug, clap::Args)]
pub struct ClaimArgs {
    /// The segment's name.
    #[arg(add = ArgValueCompleter::new(segment_names))]
    pub name: String,
    /// The key to claim.
    pub key: String,
    /// The longest duration of the claim; must exceed the run time of COMMAND.
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    pub ttl: Duration,
    /// Keep the claim until the ttl ends, even if COMMAND ends earlier: it then runs once per TIME.
    #[arg(long)]
    pub keep: bool,
    /// If the key is held elsewhere, wait this long for it.
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    pub wait: Option<Duration>,
    /// The exit code if the key is held elsewhere.
    #[arg(short = 'E', long, value_name = "CODE", default_value_t = 1)]
    pub conflict_exit_code: u8,
    #[command(flatten)]
    pub joining: Joining,
    /// The command to run.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<std::ffi::OsString>,
}

#[derive(Debug, clap::Args)]
pub struct ClaimsArgs {
    /// The segment's name.
    #[arg(add = ArgValueCompleter::new(segment_names))]
    pub name: String,
    /// Show only this key, as a claim and as the key of a unique event. The exit code is 1 if it is not held.
    pub key: Option<String>,
    /// Include keys of which only the decision is remembered.
    #[arg(long, conflicts_with = "key")]
    pub all: bool,
}

#[derive(Debug, clap::Args)]
pub struct ReleaseArgs {
    /// The segment's name.
    #[arg(add = ArgValueCompleter::new(segment_names))]
    pub name: String,
    /// The key that was claimed without an event.
    pub key: String,
    /// Release it even if its holder lives. Another process may then start the work that the holder is doing.
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub joining: Joining,
}

#[derive(Debug, clap::Args)]
pub struct RetainedArgs {
    /// The segment's name.
    #[arg(add = ArgValueCompleter::new(segment_names))]
    pub name: String,
    /// Show only events of this source.
    #[arg(long)]
    pub source: Option<String>,
    /// Show only events with this name.
    #[arg(long)]
    pub event: Option<String>,
    /// Show only events with this key. An empty key selects events without a key. If there is none, the exit code is 1.
    #[arg(long)]
    pub key: Option<String>,
    /// How to show payloads.
    #[arg(long, value_enum, default_value_t = PayloadForm::Len, value_name = "WHAT")]
    pub payload: PayloadForm,
}

#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// The segment's name. If omitted, all segments of this host.
    #[arg(add = ArgValueCompleter::new(segment_names))]
    pub name: Option<String>,
    /// Repair what is proven safe: free the seats of dead holders, remove segments that no process has open.
    #[arg(long)]
    pub fix: bool,
    #[command(flatten)]
    pub joining: Joining,
    #[command(flatten)]
    pub expected: Expected,
}

/// The options that the processes of a segment create it with.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options that the segment should have")]
pub struct Expected {
    /// Events in the ring.
    #[arg(long, value_name = "N", requires = "name")]
    pub capacity: Option<u64>,
    /// Bytes of a block.
    #[arg(long, value_name = "N", requires = "name")]
    pub block_size: Option<u64>,
    /// Unique keys at once.
    #[arg(long, value_name = "N", requires = "name")]
    pub claims: Option<u64>,
    /// Keys with a retained event.
    #[arg(long, value_name = "N", requires = "name")]
    pub retained: Option<u64>,
    /// Bytes of a retained event.
    #[arg(long, value_name = "N", requires = "name")]
    pub retained_size: Option<u64>,
    /// Large blocks.
    #[arg(long, value_name = "N", requires = "name", requires = "large_size")]
    pub large: Option<u64>,
    /// Bytes of a large block.
    #[arg(long, value_name = "N", requires = "name", requires = "large")]
    pub large_size: Option<u64>,
    /// Participants at once.
    #[arg(long, value_name = "N", requires = "name")]
    pub seats: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub struct RmArgs {
    /// The segment's name.
    #[arg(add = ArgValueCompleter::new(segment_names))]
    pub name: String,
    /// Remove it even if workers use it. They stay connected to each other in the old segment, and processes that open
    /// the name later get a new, empty segment.
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, clap::Args)]
pub struct MetricsArgs {
    /// The segment's name.
    #[arg(add = ArgValueCompleter::new(segment_names))]
    pub name: String,
    /// Serve the metrics over HTTP at `/metrics` of this address, which must belong to this host only: 127.0.0.1:9464,
    /// [::1]:9464, localhost:9464. Requests for another host name are refused.
    #[arg(long, value_name = "ADDR", value_parser = parse_listen)]
    pub listen: Option<Listen>,
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// A loopback address.
    pub address: SocketAddr,
    /// The host name, if the address was given by name.
    pub host: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub struct RelayArgs {
    /// The arguments of seqcast-relay: `seqcast relay --help` lists them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    pub arguments: Vec<std::ffi::OsString>,
}

#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// The command whose page to print. If omitted, the page of `seqcast`.
    pub command: Option<String>,
    /// Write all pages into this directory instead.
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub dir: Option<PathBuf>,
}

/// The names of segments that begin with the typed text, with a slash if one was typed.
fn segment_names(typed: &OsStr) -> Vec<CompletionCandidate> {
    let Some(typed) = typed.to_str() else { return Vec::new() };
    let names = crate::segments::names().into_iter();
    let as_typed =
        names.map(|name| if typed.starts_with('/') { name } else { name.trim_start_matches('/').to_owned() });
    as_typed.filter(|name| name.starts_with(typed)).map(CompletionCandidate::new).collect()
}

fn parse_start(text: &str) -> Result<seqcast::Start, String> {
    match text {
        "now" => Ok(seqcast::Start::Now),
        "oldest" => Ok(seqcast::Start::Oldest),
        position if position.contains(':') => match position.parse() {
            Ok(position) => Ok(seqcast::Start::Resume(position)),
            Err(error) => Err(error.to_string()),
        },
        id => id
            .parse()
            .map(seqcast::Start::At)
            .map_err(|_| "it must be now, oldest, an event id, or a worker's position".to_owned()),
    }
}

fn parse_listen(text: &str) -> Result<Listen, String> {
    let mut addresses =
        text.to_socket_addrs().map_err(|_| "it must be an address and a port, such as 127.0.0.1:9464".to_owned())?;
    let address = addresses.next().ok_or_else(|| "it resolves to no address".to_owned())?;
    if let Some(other) = std::iter::once(address).chain(addresses).find(|address| !address.ip().is_loopback()) {
        return Err(format!("{} can be reached from other hosts: use 127.0.0.1 or [::1]", other.ip()));
    }
    let is_name = text.parse::<SocketAddr>().is_err();
    let host = text.rsplit_once(':').filter(|_| is_name).map(|(host, _)| host.to_owned());
    Ok(Listen { address, host })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_host_can_be_listened_at() {
        let at = |address: &str, host: Option<&str>| Listen {
            address: address.parse().unwrap(),
            host: host.map(str::to_owned),
        };
        assert_eq!(parse_listen("127.0.0.1:9464"), Ok(at("127.0.0.1:9464", None)));
        assert_eq!(parse_listen("127.9.9.9:0"), Ok(at("127.9.9.9:0", None)));
        assert_eq!(parse_listen("[::1]:9464"), Ok(at("[::1]:9464", None)));
        let named = parse_listen("localhost:9464").unwrap();
        assert!(named.address.ip().is_loopback() && named.host.as_deref() == Some("localhost"), "{named:?}");
        for bad in ["0.0.0.0:9464", "[::]:9464", "10.0.0.1:1", "[::ffff:10.0.0.1]:1", "127.0.0.1", "9464", "", ":1"] {
            assert!(parse_listen(bad).is_err(), "{bad:?}");
        }
    }
}
