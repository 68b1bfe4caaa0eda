//! `seqcast inspect --layout`: every region and field, as in this build.

use serde_json::{Value, json};

use seqcast::inspect::Field;
use seqcast::inspect::{Inspector, Region, fields};

use crate::exit::{Exit, Failure};
use crate::output::{Output, Tone};

pub fn run(inspector: &Inspector, output: &mut Output) -> Result<Exit, Failure> {
    let (regions, fields) = (inspector.regions(), fields());
    let size = inspector.sizes().size;
    if output.is_json() {
        let regions: Vec<Value> = regions.iter().map(region_json).collect();
        let fields: Vec<Value> = fields.iter().map(field_json).collect();
        output.json(&json!({ "name": inspector.name(), "size_bytes": size, "regions": regions, "fields": fields }))?;
        return Ok(Exit::Fine);
    }
    for region in &regions {
        let heading = format!("{} x {} B", region.count, region.stride);
        output.line(format_args!(
            "{} +{}",
            output.toned(Tone::Faint, format_args!("{:#010x}", region.offset)),
            "-".repeat(67)
        ))?;
        output.line(format_args!(
            "{:>10} | {} {heading}",
            region.offset,
            output.toned(Tone::Heading, format_args!("{:<8}", region.name)),
        ))?;
        for part in region.parts {
            for field in fields.iter().filter(|field| field.region == *part) {
                let within = match *part {
                    "bucket" | "entry" | "index" | "slot" => format!("{part} "),
                    _ => String::new(),
                };
                output.line(format_args!(
                    "{:>10} |   +{:<5} {:>4} B  {:<24} {}",
                    "",
                    field.offset,
                    field.len,
                    format!("{within}{}", field.name),
                    output.toned(Tone::Faint, field.writer)
                ))?;
            }
        }
    }
    output.line(format_args!("{} +{}", output.toned(Tone::Faint, format_args!("{size:#010x}")), "-".repeat(67)))?;
    Ok(Exit::Fine)
}

fn region_json(region: &Region) -> Value {
    json!({
        "name": region.name,
        "offset": region.offset,
        "len": region.bytes(),
        "count": region.count,
        "stride": region.stride,
    })
}

fn field_json(field: &Field) -> Value {
    json!({
        "region": field.region,
        "name": field.name,
        "offset": field.offset,
        "len": field.len,
        "writer": field.writer,
    })
}
