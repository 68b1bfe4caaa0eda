//! `seqcast ls`

use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};

use seqcast::ErrorKind;
use seqcast::inspect::{self, Listed};

use crate::exit::{Exit, Failure};
use crate::output::{Align, Output, Table, Tone, plain};
use crate::units;

/// A row of the list.
struct SegmentRow<'a> {
    listed: &'a Listed,
    state: &'static str,
    tone: Tone,
    /// Live workers, all seats, and the next id; `None` if the segment cannot be read.
    figures: Option<(u64, u32, u64)>,
    why: Option<String>,
}

pub fn run(output: &mut Output) -> Result<Exit, Failure> {
    let listed = inspect::list()?;
    let rows: Vec<SegmentRow<'_>> = listed.iter().map(SegmentRow::of).collect();
    if output.is_json() {
        let segments: Vec<Value> = rows.iter().map(SegmentRow::to_json).collect();
        output.json(&json!({ "segments": segments }))?;
        return Ok(Exit::Fine);
    }
    let mut table = Table::new(&[
        ("NAME", Align::Left),
        ("SIZE", Align::Right),
        ("OWNER", Align::Left),
        ("MODE", Align::Right),
        ("WORKERS", Align::Right),
        ("HEAD", Align::Right),
        ("STATE", Align::Left),
    ]);
    for row in &rows {
        let (workers, head) = match row.figures {
            Some((live, seats, head)) => (format!("{live}/{seats}"), head.to_string()),
            None => ("-".into(), "-".into()),
        };
        let file = &row.listed.file;
        table.row([
            plain(&row.listed.name),
            plain(units::bytes(file.len())),
            plain(owner_name(file.uid())),
            plain(format!("{:04o}", file.mode() & 0o7777)),
            plain(workers),
            plain(head),
            (row.tone, row.state.to_owned()),
        ]);
    }
    if table.is_empty() {
        output.note("no segments in /dev/shm that this user may read");
    } else {
        output.table(&table)?;
    }
    Ok(Exit::Fine)
}

impl SegmentRow<'_> {
    fn of(listed: &Listed) -> SegmentRow<'_> {
        let error = match &listed.opened {
            Ok(inspector) => match inspector.stats() {
                Ok(stats) => {
                    let live = stats.workers.iter().filter(|worker| worker.alive).count() as u64;
                    let (state, tone) = if live > 0 { ("ok", Tone::Good) } else { ("stale", Tone::Warning) };
                    return SegmentRow {
                        listed,
                        state,
                        tone,
                        figures: Some((live, stats.sizes.seats, stats.next_id)),
                        why: None,
                    };
                }
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        let state = match &listed.opened {
            Err(error) if error.kind() == ErrorKind::Layout => "another layout",
            Err(error) if error.kind() == ErrorKind::Fingerprint => "another build",
            Err(error) if error.kind() == ErrorKind::OtherBoot => "another boot",
            Err(error) if error.kind() == ErrorKind::Unfinished => "unfinished",
            Err(error) if error.kind() == ErrorKind::Busy => "in creation",
            _ => "corrupt",
        };
        SegmentRow { listed, state, tone: Tone::Bad, figures: None, why: Some(error) }
    }

    fn to_json(&self) -> Value {
        let file = &self.listed.file;
        json!({
            "name": self.listed.name,
            "size_bytes": file.len(),
            "uid": file.uid(),
            "gid": file.gid(),
            "owner": user_name(file.uid()),
            "mode": format!("{:04o}", file.mode() & 0o7777),
            "live_workers": self.figures.map(|(live, ..)| live),
            "seats": self.figures.map(|(_, seats, _)| seats),
            "next_id": self.figures.map(|(.., next)| next),
            "state": self.state.replace(' ', "_"),
            "why": self.why,
        })
    }
}

fn owner_name(uid: u32) -> String {
    user_name(uid).unwrap_or_else(|| uid.to_string())
}

/// Returns the name of a user in `/etc/passwd`. Other users are shown by number, because a directory server may never
/// answer.
fn user_name(uid: u32) -> Option<String> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fixture;

    #[test]
    fn what_cannot_be_read_is_told_by_why() {
        let bus = fixture::bus("ls");
        let name = || bus.name().to_owned();
        let mut listed = Listed::named(bus.name()).unwrap();
        assert_eq!(SegmentRow::of(&listed).state, "stale");
        for (error, state) in [
            (seqcast::Error::from(seqcast::Cause::Busy { name: name(), waited: Duration::ZERO }), "in creation"),
            (seqcast::Error::from(seqcast::Cause::Unfinished { name: name() }), "unfinished"),
            (seqcast::Error::from(seqcast::Cause::Corrupt { name: name(), what: "its length" }), "corrupt"),
        ] {
            let why = error.to_string();
            listed.opened = Err(error);
            let row = SegmentRow::of(&listed);
            assert_eq!((row.state, row.tone, row.figures), (state, Tone::Bad, None));
            let json = row.to_json();
            assert_eq!((&json["why"], &json["next_id"]), (&json!(why), &Value::Null));
            assert_eq!(json["state"], state.replace(' ', "_"));
        }
    }

    #[test]
    fn users_are_told_by_name_or_else_by_number() {
        assert_eq!((user_name(0).as_deref(), owner_name(0).as_str()), (Some("root"), "root"));
        // No system assigns this uid to a user.
        assert_eq!((user_name(u32::MAX), owner_name(u32::MAX).as_str()), (None, "4294967295"));
    }
}
