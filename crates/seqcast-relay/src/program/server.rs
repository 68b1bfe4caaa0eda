//! Finds the server's URL and the secrets for it.

use std::path::{Path, PathBuf};
use std::{env, fs};

use seqcast_relay::engine::redis::{Address, Redis, Secrets};

use super::args::ServerArgs;

const VARIABLE: &str = "SEQCAST_REDIS_URL";
/// The name of systemd's credential.
const CREDENTIAL: &str = "seqcast-redis-url";
/// No URL, password or certificate is longer.
const MOST_BYTES: u64 = 1 << 20;

/// What the arguments, the environment and files say. `None`: nothing names a server.
pub fn find(args: &ServerArgs, stream: &str, entries: u64) -> Result<Option<Redis>, String> {
    let secrets = secrets(args)?;
    let Some(url) = url(args)? else { return Ok(None) };
    let address = Address::parse(&url, secrets).map_err(|error| error.to_string())?;
    Ok(Some(Redis::new(address, args.stream.as_deref().unwrap_or(stream), entries)))
}

/// As [`find`], but it is an error if nothing names a server.
pub fn require(args: &ServerArgs, stream: &str, entries: u64) -> Result<Redis, String> {
    find(args, stream, entries)?.ok_or_else(|| {
        format!("no server is given: write its URL into a file, and give that with --redis-file, or set {VARIABLE}")
    })
}

fn url(args: &ServerArgs) -> Result<Option<String>, String> {
    if let Some(file) = &args.redis_file {
        return text(file).map(Some);
    }
    if let Some(url) = args.redis.clone().or_else(|| env::var(VARIABLE).ok()) {
        return Ok(Some(url));
    }
    let credential = env::var_os("CREDENTIALS_DIRECTORY").map(|folder| PathBuf::from(folder).join(CREDENTIAL));
    credential.filter(|file| file.exists()).map(|file| text(&file)).transpose()
}

fn secrets(args: &ServerArgs) -> Result<Secrets, String> {
    let password = args.password_file.as_deref().map(text).transpose()?;
    let authorities = args.ca_file.as_deref().map(read).transpose()?;
    let certificate = match (&args.cert_file, &args.key_file) {
        (Some(certificate), Some(key)) => Some((read(certificate)?, read(key)?)),
        _ => None,
    };
    Ok(Secrets { password, authorities, certificate })
}

/// The text of a file, without the line's end. The message names the file, and no content.
pub fn text(file: &Path) -> Result<String, String> {
    let text = String::from_utf8(read(file)?).map_err(|_| format!("{} is not UTF-8", file.display()))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() { Err(format!("{} is empty", file.display())) } else { Ok(text.to_owned()) }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let failed = |error| format!("reading {}: {error}", file.display());
    if fs::metadata(file).map_err(failed)?.len() > MOST_BYTES {
        return Err(format!("{} is longer than {MOST_BYTES} bytes", file.display()));
    }
    fs::read(file).map_err(failed)
}
