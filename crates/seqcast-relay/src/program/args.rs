//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use seqcast_relay::http::Listen;
use seqcast_relay::select::Pattern;

/// Carries the events of a segment to the segments of other hosts, over one stream of Redis or Valkey.
///
/// Exit codes: 0 stopped, 2 wrong usage, 3 the segment or its seat for a relay is not available, 4 another process has
/// registered for the same segment, 5 the server refuses this user or is too old.
#[derive(Debug, Parser)]
#[command(name = "seqcast-relay", version, max_term_width = 100)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Line {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub run: RunArgs,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show how the relay of a segment does. It reads the segment, so a relay that hangs does not matter.
    Status(StatusArgs),
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// The segment's name.
    #[arg(required = true)]
    pub name: Option<String>,
    /// A source whose events travel, or a beginning and a `*`. Can be given several times. Without any, only events of
    /// post_cluster travel.
    #[arg(long = "source", value_name = "PATTERN")]
    pub sources: Vec<Pattern>,
    #[command(flatten)]
    pub server: ServerArgs,
    /// Wait if another process is the relay of this segment, and take over when it ends.
    #[arg(long)]
    pub standby: bool,
    /// What the other hosts call this one.
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    /// A file with a secret that all relays of the stream share. Keys of unique events are hashed under it.
    #[arg(long, value_name = "FILE")]
    pub cluster_secret_file: Option<PathBuf>,
    /// The largest event that travels. A larger one is reported as missed.
    #[arg(long, value_name = "SIZE", default_value = "64k", value_parser = parse_size)]
    pub largest: usize,
    /// The most memory for events that the server has not acknowledged.
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = parse_size)]
    pub spool: usize,
    /// A backlog of more events is reported as missed, and not replayed. Default: half the ring.
    #[arg(long, value_name = "EVENTS")]
    pub catch_up: Option<u64>,
    /// The most memory of the stream in the server.
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = parse_size)]
    pub stream_bytes: usize,
    /// The most entries of the stream.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub stream_entries: u64,
    /// The most keys for which the stream retains a value. A value of a further key is reported as missed.
    #[arg(long, value_name = "N", default_value_t = seqcast_relay::engine::redis::RETAINED_KEYS)]
    pub retained_keys: u64,
    /// The shortest time between two reads. Default: 0 up to 50 hosts, then one more millisecond for each 50 hosts.
    #[arg(long, value_name = "MS", value_parser = parse_millis)]
    pub read_interval: Option<Duration>,
    /// What becomes of a unique event of post_cluster_unique while the server cannot be reached.
    #[arg(long, value_enum, default_value_t = Offline::Fail)]
    pub unique_offline: Offline,
    /// How long a unique event waits for the server before `--unique-offline local` takes effect.
    #[arg(long, value_name = "MS", default_value = "2000", value_parser = parse_millis)]
    pub unique_patience: Duration,
    /// A unique event runs only if so many replicas of the server have its claim within 100 ms. If they have not, it is
    /// reported as missed on its host, and no host runs it.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub claim_replicas: u32,
    /// Serve metrics for Prometheus at /metrics of this address, which must belong to this host only.
    #[arg(long, value_name = "ADDR")]
    pub metrics: Option<Listen>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Offline {
    /// It waits for its ttl, and is then reported as missed.
    Fail,
    /// Each host decides alone: one of its workers runs it, so it may run once on each host.
    Local,
}

#[derive(Debug, Args)]
pub struct ServerArgs {
    /// A file with the server's URL: redis://, rediss:// (TLS), redis+unix://, redis+sentinel://HOST,HOST/MASTER. Else
    /// the variable SEQCAST_REDIS_URL, or the file seqcast-redis-url of systemd's credentials.
    #[arg(long, value_name = "FILE")]
    pub redis_file: Option<PathBuf>,
    /// The server's URL, if it has no password.
    #[arg(long, value_name = "URL", conflicts_with = "redis_file", value_parser = parse_open_url)]
    pub redis: Option<String>,
    /// A file with the password, in place of one in the URL.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// The certificates of the authorities to trust (PEM), in place of the system's.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// The certificate that this host shows (PEM).
    #[arg(long, value_name = "FILE", requires = "key_file")]
    pub cert_file: Option<PathBuf>,
    /// Its key (PEM).
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    pub key_file: Option<PathBuf>,
    /// The name of the stream. Default: the segment's name.
    #[arg(long, value_name = "NAME", value_parser = parse_stream)]
    pub stream: Option<String>,
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The segment's name.
    pub name: String,
    #[command(flatten)]
    pub server: ServerArgs,
}

/// The command line is public on its host. The URL is not repeated in the message.
fn parse_open_url(url: &str) -> Result<String, String> {
    if seqcast_relay::engine::redis::Address::has_password(url) {
        return Err("it has a password, and every user of this host can read the command line: use --redis-file".into());
    }
    Ok(url.to_owned())
}

fn parse_stream(name: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    if name.is_empty() || name.len() > 200 || !name.chars().all(good) {
        return Err("it must have 1 to 200 of the characters A-Z a-z 0-9 . _ - /".into());
    }
    Ok(name.to_owned())
}

fn parse_size(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1 << 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    let size = digits.parse::<usize>().ok().filter(|_| all_digits).and_then(|size| size.checked_mul(unit));
    size.filter(|size| *size > 0).ok_or_else(|| "it must be a number of bytes, such as 65536, 64k or 64M".into())
}

fn parse_millis(text: &str) -> Result<Duration, String> {
    let text = text.strip_suffix("ms").unwrap_or(text);
    text.parse().map(Duration::from_millis).map_err(|_| "it must be a number of milliseconds, such as 5".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Line::command().debug_assert();
        let line = Line::try_parse_from(["seqcast-relay", "shop", "--source", "cache", "--source", "up*"]).unwrap();
        assert_eq!((line.run.sources.len(), line.run.largest, line.run.spool), (2, 65536, 64 << 20));
        let line = Line::try_parse_from(["seqcast-relay", "status", "shop"]).unwrap();
        assert!(matches!(line.command, Some(Command::Status(StatusArgs { name, .. })) if name == "shop"));
        assert!(Line::try_parse_from(["seqcast-relay"]).is_err());
        assert!(Line::try_parse_from(["seqcast-relay", "shop", "--source", "seqcast"]).is_err());
    }

    #[test]
    fn sizes_have_units() {
        for (text, size) in [("1", 1), ("64k", 65536), ("64M", 64 << 20), ("1G", 1 << 30)] {
            assert_eq!(parse_size(text), Ok(size));
        }
        for bad in ["", "k", "-1", "+1", "0", "1.5k", "64 k", "99999999999999999999k"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
