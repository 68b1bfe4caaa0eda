//! Which sources travel.

use std::fmt;
use std::str::FromStr;

/// A source, or all sources with one beginning: `cache`, `upstream*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    is_prefix: bool,
}

impl Pattern {
    /// Returns `true` if events of `source` travel.
    pub fn matches(&self, source: &str) -> bool {
        if self.is_prefix { source.starts_with(&self.text) } else { source == self.text }
    }
}

/// A pattern that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError(String);

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PatternError {}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Pattern, PatternError> {
        let (start, is_prefix) = text.strip_suffix('*').map_or((text, false), |start| (start, true));
        if start.contains('*') {
            return Err(PatternError("a * is permitted at the end only".into()));
        }
        if start.is_empty() && !is_prefix || start.len() > 255 {
            return Err(PatternError("a source has 1 to 255 bytes".into()));
        }
        if !is_prefix && start == "seqcast" {
            return Err(PatternError("the library's own source, seqcast, never travels".into()));
        }
        Ok(Pattern { text: start.to_owned(), is_prefix })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_exact_and_a_star_is_a_beginning() {
        let pattern = |text: &str| text.parse::<Pattern>().unwrap();
        assert!(pattern("cache").matches("cache") && !pattern("cache").matches("cache2"));
        assert!(pattern("up*").matches("up") && pattern("up*").matches("upstream") && !pattern("up*").matches("u"));
        assert!(pattern("*").matches("anything"));
        for bad in ["", "a*b", "**", "seqcast", &"x".repeat(256)] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad}");
        }
    }
}
