//! `seqcast-relay`: the relay of one segment.

#[path = "program/args.rs"]
mod args;
#[path = "program/server.rs"]
mod server;
#[path = "program/status.rs"]
mod status;

use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Parser;
use seqcast::relay::{Relay, RelayOptions};
use seqcast::{Bus, ErrorKind};
use seqcast_relay::context::{Context, End, Options, UniqueOffline};
use seqcast_relay::engine::redis::Redis;
use seqcast_relay::engine::{Engine, EngineError};
use seqcast_relay::log::Log;
use seqcast_relay::notify::Notifier;
use seqcast_relay::{cluster_key, http};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use self::args::{Command, Line, RunArgs};

/// How often a standby looks if the seat is free.
const STANDBY: Duration = Duration::from_millis(10);

/// Why the program ends with a code other than 0.
#[derive(Debug)]
enum Failure {
    Usage(String),
    Segment(seqcast::Error),
    End(End),
    Engine(EngineError),
    Io(String, std::io::Error),
    /// `status`: there is no relay, or it is not up.
    NotUp,
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Failure::NotUp | Failure::Io(..) | Failure::End(End::Panicked) => 1,
            Failure::Usage(_) => 2,
            Failure::End(End::Fenced) => 4,
            Failure::Segment(_) | Failure::End(_) => 3,
            Failure::Engine(_) => 5,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Usage(text) => f.write_str(text),
            Failure::Segment(error) => error.fmt(f),
            Failure::End(end) => end.fmt(f),
            Failure::Engine(error) => error.fmt(f),
            Failure::Io(what, error) => write!(f, "{what}: {error}"),
            Failure::NotUp => f.write_str("the relay is not up"),
        }
    }
}

fn main() -> ExitCode {
    #[cfg(feature = "tls")]
    // It is an error only if there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let line = Line::parse();
    let done = match &line.command {
        Some(Command::Status(args)) => status::run(args),
        None => run(&line.run),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("seqcast-relay: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

fn run(args: &RunArgs) -> Result<(), Failure> {
    let name = args.name.as_deref().ok_or_else(|| Failure::Usage("the segment's name is missing".into()))?;
    let stream = args.server.stream.clone().unwrap_or_else(|| name.trim_start_matches('/').to_owned());
    let redis = server::require(&args.server, &stream, args.stream_entries).map_err(Failure::Usage)?;
    let redis = redis.retained_keys(args.retained_keys);
    let secret = args.cluster_secret_file.as_deref().map(server::text).transpose().map_err(Failure::Usage)?;
    let context = Arc::new(Context::new(options(args), Log::stderr()));
    stop_on_signals(&context)?;
    let notifier = Notifier::from_env();
    let bus = Bus::open(name).map_err(Failure::Segment)?;
    check(&redis, &context)?;
    let options = RelayOptions::new().cluster_key(cluster_key(&stream, secret.as_deref()));
    let Some(relay) = take(&bus, &options, args.standby, &context, &notifier)? else { return Ok(()) };
    if let Some(listen) = args.metrics.clone() {
        let address = http::serve(listen, Arc::clone(&context));
        let address = address.map_err(|error| Failure::Io("serving metrics".into(), error))?;
        context.log.line(format_args!("metrics at http://{address}/metrics"));
    }
    context.log.line(format_args!("relay of {}, origin {}, to {redis:?}", bus.name(), bus.origin()));
    notifier.send("READY=1\n");
    let mut health = None;
    let end = seqcast_relay::run(&bus, relay, &redis, &context, || {
        let now = context.health();
        if health.replace(now) != Some(now) {
            context.log.line(format_args!("{}", now.name()));
            notifier.send(&format!("STATUS={}\n", now.name()));
        }
        if notifier.watchdog().is_some_and(|most| context.is_turning(most / 2)) {
            notifier.send("WATCHDOG=1\n");
        }
    });
    notifier.send("STOPPING=1\n");
    match end {
        End::Stopped => Ok(()),
        end => Err(Failure::End(end)),
    }
}

fn options(args: &RunArgs) -> Options {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Options {
        sources: args.sources.clone(),
        largest: args.largest,
        spool_bytes: args.spool,
        catch_up: args.catch_up,
        stream_bytes: args.stream_bytes as u64,
        read_interval: args.read_interval,
        unique_offline: match args.unique_offline {
            args::Offline::Fail => UniqueOffline::Fail,
            args::Offline::Local => UniqueOffline::Local,
        },
        unique_patience: args.unique_patience,
        claim_replicas: args.claim_replicas,
        host: args.host.clone().unwrap_or_else(|| host.trim().to_owned()),
        ..Options::default()
    }
}

/// A server that denies now denies later, too, so that is seen at the start. One that is not there may come.
fn check(redis: &Redis, context: &Context) -> Result<(), Failure> {
    match redis.down().and_then(|mut down| down.tip(false)) {
        Err(error @ EngineError::Denied(_)) => return Err(Failure::Engine(error)),
        Err(error) => {
            context.log.line(format_args!("the server cannot be asked yet: {error}"));
            return Ok(());
        }
        Ok(_) => {}
    }
    for advice in redis.advice().unwrap_or_default() {
        context.log.line(advice);
    }
    Ok(())
}

/// Takes the seat. `None`: asked to stop meanwhile.
fn take(
    bus: &Bus,
    options: &RelayOptions,
    standby: bool,
    context: &Context,
    notifier: &Notifier,
) -> Result<Option<Relay>, Failure> {
    let mut waits = false;
    loop {
        match bus.relay(options) {
            Ok(relay) => return Ok(Some(relay)),
            Err(error) if standby && error.kind() == ErrorKind::RelayTaken => {
                if !std::mem::replace(&mut waits, true) {
                    context.log.line(format_args!("standby: {error}"));
                    notifier.send("READY=1\nSTATUS=standby\n");
                }
            }
            Err(error) => return Err(Failure::Segment(error)),
        }
        if !bus.is_current().unwrap_or(true) {
            return Err(Failure::End(End::Replaced));
        }
        if context.wait(STANDBY) {
            return Ok(None);
        }
        if notifier.watchdog().is_some() {
            notifier.send("WATCHDOG=1\n");
        }
    }
}

fn stop_on_signals(context: &Arc<Context>) -> Result<(), Failure> {
    let mut signals =
        Signals::new([SIGINT, SIGTERM]).map_err(|error| Failure::Io("waiting for signals".into(), error))?;
    let context = Arc::clone(context);
    let waiting = thread::Builder::new().name("signals".into()).spawn(move || {
        for (count, _) in signals.forever().enumerate() {
            if count > 0 {
                // Asked twice: what was not sent is in the ring.
                std::process::exit(0);
            }
            context.log.line("stopping");
            context.stop();
        }
    });
    waiting.map(drop).map_err(|error| Failure::Io("starting a thread".into(), error))
}
