//! `seqcast retained`

use serde_json::{Value, json};

use seqcast::Retained;
use seqcast::inspect::Inspector;

use crate::args::{PayloadForm, RetainedArgs};
use crate::exit::{Exit, Failure};
use crate::output::{Align, Output, Table, plain};
use crate::tail::hex;
use crate::units::{count_of, long_duration};

pub fn run(args: &RetainedArgs, output: &mut Output) -> Result<Exit, Failure> {
    let inspector = Inspector::open_any(&args.name)?;
    let stats = inspector.stats()?;
    let mut events = if stats.sizes.retained_keys == 0 { Vec::new() } else { inspector.retained()? };
    events.retain(|event| is_wanted(args, event));
    events.sort_by(|a, b| (a.source(), a.event(), a.key()).cmp(&(b.source(), b.event(), b.key())));
    // The exit code tells if an event is retained under the key.
    let exit = if args.key.is_some() && events.is_empty() { Exit::Trouble } else { Exit::Fine };
    if output.is_json() {
        let retained: Vec<Value> = events.iter().map(|event| to_json(event, args.payload)).collect();
        output.json(&json!({ "name": stats.name, "retaining": stats.retaining, "retained": retained }))?;
        return Ok(exit);
    }
    let mut columns = vec![
        ("SOURCE/EVENT", Align::Left),
        ("KEY", Align::Left),
        ("ID", Align::Right),
        ("SEAT", Align::Right),
        ("PID", Align::Right),
        ("LEN", Align::Right),
        ("LEFT", Align::Right),
    ];
    if args.payload != PayloadForm::Len {
        columns.push(("PAYLOAD", Align::Left));
    }
    let mut table = Table::new(&columns);
    for event in &events {
        let cells = [
            format!("{}/{}", event.source(), event.event()),
            text(event.key()),
            event.id().to_string(),
            event.seat().to_string(),
            event.pid().to_string(),
            event.bytes().len().to_string(),
            event.left().map_or("-".into(), long_duration),
        ];
        let payload = match args.payload {
            PayloadForm::Len => None,
            PayloadForm::Hex => Some(hex(event.bytes())),
            PayloadForm::Utf8 => Some(text(event.bytes())),
        };
        table.row(cells.into_iter().chain(payload).map(plain));
    }
    if table.is_empty() {
        output.note(format_args!("nothing of that is retained in {}", stats.name));
    } else {
        output.table(&table)?;
    }
    if stats.retaining > 0 {
        output.note(format_args!(
            "{} posting a retained event, or dead while posting one: that event may be missing here until a worker \
             joins or looks it up",
            count_of(stats.retaining as usize, "seat"),
        ));
    }
    Ok(exit)
}

fn is_wanted(args: &RetainedArgs, event: &Retained) -> bool {
    args.source.as_ref().is_none_or(|source| source == event.source())
        && args.event.as_ref().is_none_or(|name| name == event.event())
        && args.key.as_ref().is_none_or(|key| key.as_bytes() == event.key())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn to_json(event: &Retained, payload: PayloadForm) -> Value {
    let mut value = json!({
        "source": event.source(),
        "event": event.event(),
        "key": String::from_utf8_lossy(event.key()),
        "key_hex": hex(event.key()),
        "id": event.id(),
        "seat": event.seat(),
        "pid": event.pid(),
        "len_bytes": event.bytes().len(),
        "typed": event.type_tag() != 0,
        "left_seconds": event.left().map(|left| left.as_secs_f64()),
    });
    match payload {
        PayloadForm::Len => {}
        PayloadForm::Hex => value["payload_hex"] = hex(event.bytes()).into(),
        PayloadForm::Utf8 => value["payload_utf8"] = String::from_utf8_lossy(event.bytes()).into(),
    }
    value
}
