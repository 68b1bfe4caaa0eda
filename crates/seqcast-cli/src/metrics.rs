//! `seqcast metrics`

mod http;
mod text;

use std::io;

use serde_json::json;

use seqcast::inspect::Inspector;

use crate::args::MetricsArgs;
use crate::exit::{Exit, Failure};
use crate::output::Output;

pub fn run(args: &MetricsArgs, output: &mut Output) -> Result<Exit, Failure> {
    if let Some(listen) = &args.listen {
        return http::serve(listen, &args.name, output);
    }
    let inspector = Inspector::open_any(&args.name)?;
    let families = text::families(&inspector)?;
    if output.is_json() {
        output.json(&json!({ "name": inspector.name(), "metrics": text::to_json(&families) }))?;
    } else {
        let text = text::render(families).map_err(io::Error::other).map_err(Failure::io("writing the metrics"))?;
        output.raw(text.as_bytes())?;
    }
    Ok(Exit::Fine)
}
