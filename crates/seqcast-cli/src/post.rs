//! `seqcast post`

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;

use serde_json::json;

use seqcast::inspect::{ClaimKind, Inspector, Listed};
use seqcast::{Bus, Cause, Publisher, SegmentOptions, WorkerOptions};

use crate::args::{Joining, PostArgs};
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::tail::holder_text;
use crate::units::long_duration;

pub fn run(args: &PostArgs, output: &mut Output) -> Result<Exit, Failure> {
    let bus = open(&args.name, &args.joining)?;
    let payload = payload(args.data.as_deref(), bus.largest_event())?;
    if let Some(key) = &args.unique {
        // Every worker would ignore such an event. The check decides nothing: the first worker that reaches the event
        // decides, and the key may have been taken since.
        let held = Inspector::open_any(&args.name)?.claim_on(ClaimKind::Event, key.as_bytes())?;
        if let Some(entry) = held {
            let left = entry.left.unwrap_or_default();
            if output.is_json() {
                output.json(&json!({ "posted": false, "held": crate::claims::to_json(&entry) }))?;
            } else {
                output.line(format_args!(
                    "not posted: the key is {} for {} more, so no worker would run the event",
                    holder_text(&entry),
                    long_duration(left)
                ))?;
            }
            return Ok(Exit::Trouble);
        }
    }
    let mut poster = seat(&bus, "seqcast post")?;
    let id = match &args.unique {
        Some(key) => poster.event((&args.source, &args.event)).unique(key).ttl(args.ttl).post(&payload)?,
        None => poster.post((&args.source, &args.event), &payload)?,
    };
    if output.is_json() {
        output.json(&json!({ "posted": true, "id": id }))?;
    } else {
        output.line(format_args!("posted as id {id}"))?;
    }
    Ok(Exit::Fine)
}

/// Options to join the segment `name`: any mode, and this user as owner unless other owners are trusted.
pub fn options(name: &str, joining: &Joining) -> Result<SegmentOptions, Failure> {
    let anything = SegmentOptions::new().mode(0o7777);
    if !joining.trust_owner {
        return Ok(anything);
    }
    let file = Listed::named(name)?.file;
    Ok(anything.owner(file.uid(), file.gid()))
}

pub fn open(name: &str, joining: &Joining) -> Result<Bus, Failure> {
    options(name, joining)?.open(name).map_err(|error| match error.cause() {
        Cause::Owner { name, found, .. } => Failure::NotOurs { name: name.clone(), owner: *found },
        _ => error.into(),
    })
}

/// A seat that does not read, so it never appears to lag.
pub fn seat(bus: &Bus, label: &str) -> Result<Publisher, Failure> {
    Ok(bus.publisher_with(&WorkerOptions::new().label(label))?)
}

fn payload(data: Option<&str>, most: usize) -> Result<Vec<u8>, Failure> {
    // One byte more than the limit is enough to be refused.
    let most = most as u64 + 1;
    let mut bytes = Vec::new();
    match data {
        None => Ok(bytes),
        Some("-") => match std::io::stdin().lock().take(most).read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(Failure::Io { what: "reading standard input".into(), error }),
        },
        Some(data) => match data.strip_prefix('@') {
            None => Ok(data.as_bytes().to_vec()),
            Some(path) => match File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)) {
                Ok(_) => Ok(bytes),
                Err(error) => Err(Failure::Usage(format!("reading {path}: {error}"))),
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_to_post_is_not_cut_to_fit() {
        let file = std::env::temp_dir().join(format!("seqcast-post-unit-{}", std::process::id()));
        std::fs::write(&file, "12345678").unwrap();
        let at = format!("@{}", file.display());
        let read = [4, 7, 8, 100].map(|most| payload(Some(&at), most).map(|bytes| bytes.len()));
        std::fs::remove_file(&file).unwrap();
        // One byte more than the limit shows that the payload is too long.
        assert_eq!(read.map(Result::unwrap), [5, 8, 8, 8]);
        assert_eq!(payload(Some("text"), 100).unwrap(), b"text");
        assert_eq!(payload(None, 100).unwrap(), b"");
    }
}
