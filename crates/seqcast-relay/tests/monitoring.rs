//! The dashboard and the alert rules ask for figures that the relay has.

use std::collections::BTreeSet;
use std::fs;

use seqcast::relay::Health;
use seqcast_relay::context::{Context, Options};
use seqcast_relay::log::Log;

/// The names of figures in a text.
fn names(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_part(c)).filter(|word| word.starts_with("seqcast_relay_"));
    words.map(str::to_owned).collect()
}

#[test]
fn every_figure_that_is_asked_for_exists() {
    let context = Context::new(Options::default(), Log::silent());
    let page = context.metrics.page();
    let mut known = names(&page);
    // A counter or histogram is described by its family's name, and asked for with a suffix.
    for name in known.clone() {
        known.extend(["total", "bucket"].map(|suffix| format!("{name}_{suffix}")));
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/monitoring");
    for file in ["alerts.yml", "dashboard.json"] {
        let asked = names(&fs::read_to_string(format!("{folder}/{file}")).unwrap());
        let missing: Vec<_> = asked.difference(&known).collect();
        assert!(missing.is_empty() && asked.len() > 5, "{file} asks for {missing:?}\n{page}");
    }
    assert_eq!(context.health(), Health::Starting);
}
