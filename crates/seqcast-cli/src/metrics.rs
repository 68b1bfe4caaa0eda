//! `seqcast metrics`

mod http;
mod text;

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
    match output.is_json() {
        true => output.json(&json!({ "name": inspector.name(), "metrics": text::to_json(&families) }))?,
        false => output.raw(text::render(&families).as_bytes())?,
    }
    Ok(Exit::Fine)
}
