//! Output to standard output and standard error.

use std::fmt::{self, Write as _};
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use serde_json::{Value, json};

use seqcast::inspect::is_printable;
pub use seqcast::inspect::printable;

use crate::args::Format;
use crate::exit::{Exit, Failure};

pub struct Output {
    format: Format,
    colours: bool,
    stdout: BufWriter<Stdout>,
}

/// The meaning of a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Heading,
    Good,
    Warning,
    Bad,
    Faint,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Tone::Plain => "",
            Tone::Heading => "1",
            Tone::Good => "32",
            Tone::Warning => "33",
            Tone::Bad => "31",
            Tone::Faint => "2",
        }
    }
}

/// Returns `true` if NO_COLOR (no-color.org) or the terminal forbids colours.
pub fn colours_forbidden() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    set("NO_COLOR") || std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

impl Output {
    pub fn new(format: Format) -> Output {
        let colours = io::stdout().is_terminal() && !colours_forbidden();
        Output { format, colours, stdout: BufWriter::new(io::stdout()) }
    }

    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// `text` in the colour of `tone`, if colours are enabled.
    pub fn toned(&self, tone: Tone, text: impl fmt::Display) -> String {
        match (self.colours, tone.code()) {
            (true, code) if !code.is_empty() => format!("\x1b[{code}m{text}\x1b[0m"),
            _ => text.to_string(),
        }
    }

    pub fn line(&mut self, line: impl fmt::Display) -> Result<(), Failure> {
        writeln!(self.stdout, "{line}").map_err(Failure::output)
    }

    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stdout.write_all(bytes).map_err(Failure::output)
    }

    /// Prints one object on one line.
    pub fn json(&mut self, value: &Value) -> Result<(), Failure> {
        self.line(json_text(value))
    }

    pub fn table(&mut self, table: &Table) -> Result<(), Failure> {
        let text = table.render(|tone, text| self.toned(tone, text));
        self.raw(text.as_bytes())
    }

    pub fn flush(&mut self) -> Result<(), Failure> {
        self.stdout.flush().map_err(Failure::output)
    }

    /// Prints a note that is not part of the answer, made safe to print.
    pub fn note(&self, text: impl fmt::Display) {
        // If standard error is closed, nothing can be printed.
        let _ = writeln!(io::stderr(), "seqcast: {}", printable(&text.to_string()));
    }

    /// Prints a note in JSON.
    pub fn note_json(&self, value: &Value) {
        let _ = writeln!(io::stderr(), "{}", json_text(value));
    }

    /// Prints why the command failed.
    pub fn fail(&mut self, failure: &Failure) -> Exit {
        let exit = failure.exit();
        // Earlier output comes first.
        let _ = self.stdout.flush();
        match failure {
            Failure::Unread => {}
            _ if self.is_json() => {
                let error =
                    json!({ "error": { "code": failure.code(), "message": failure.to_string() }, "exit": exit.code() });
                self.note_json(&error);
            }
            _ => self.note(failure),
        }
        exit
    }
}

/// A table of left- and right-aligned columns.
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<(Tone, String)>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

impl Table {
    pub fn new(columns: &[(&'static str, Align)]) -> Table {
        Table { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row. Makes its cells safe to print.
    pub fn row(&mut self, cells: impl IntoIterator<Item = (Tone, String)>) {
        let safe = |(tone, cell): (Tone, String)| (tone, printable(&cell).to_string());
        self.rows.push(cells.into_iter().map(safe).collect());
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn render(&self, toned: impl Fn(Tone, &str) -> String) -> String {
        let width = |text: &str| text.chars().count();
        let mut widths: Vec<usize> = self.columns.iter().map(|(name, _)| width(name)).collect();
        for row in &self.rows {
            for (most, (_, cell)) in widths.iter_mut().zip(row) {
                *most = width(cell).max(*most);
            }
        }
        let heading: Vec<_> = self.columns.iter().map(|(name, _)| (Tone::Heading, (*name).to_owned())).collect();
        let mut text = String::new();
        for row in std::iter::once(&heading).chain(&self.rows) {
            for (i, (((tone, cell), &most), &(_, align))) in row.iter().zip(&widths).zip(&self.columns).enumerate() {
                if i > 0 {
                    text.push_str("  ");
                }
                let blanks = " ".repeat(most - width(cell));
                let is_last = i + 1 == row.len();
                let _ = match (align, is_last) {
                    (Align::Right, _) => write!(text, "{blanks}{}", toned(*tone, cell)),
                    (Align::Left, true) => write!(text, "{}", toned(*tone, cell)),
                    (Align::Left, false) => write!(text, "{}{blanks}", toned(*tone, cell)),
                };
            }
            text.push('\n');
        }
        text
    }
}

/// `value` as JSON on one line. Characters that are not safe to print are written as `\uXXXX`: a program reads the same
/// text, and a terminal is not affected.
pub fn json_text(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().all(is_printable) {
        return text;
    }
    // Such characters occur only inside strings: everything outside them is ASCII.
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_printable(c) {
            safe.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(safe, "\\u{unit:04x}");
        }
    }
    safe
}

pub fn plain(text: impl fmt::Display) -> (Tone, String) {
    (Tone::Plain, text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g10_a_cell_cannot_steer_a_terminal() {
        let mut table = Table::new(&[("LABEL", Align::Left)]);
        table.row([plain("a\x1b[2Jb\u{202e}c\r\nü")]);
        let escaped = "a\\u{1b}[2Jb\\u{202e}c\\r\\nü";
        assert_eq!(table.render(|_, text| text.to_owned()), format!("LABEL\n{escaped}\n"));
    }

    #[test]
    fn g10_json_means_the_same_and_holds_nothing_that_steers() {
        let hostile = "a\u{7f}\u{9b}2J\u{202e}\u{61c}\u{ad}\u{2028}\u{e0041}\u{feff}\u{34f}ü\"\\\n🦀";
        let value = json!({ "label": hostile, hostile: [1, null] });
        let text = json_text(&value);
        assert!(text.chars().all(is_printable), "{text}");
        assert!(text.contains(r"a\u007f\u009b2J\u202e\u061c\u00ad\u2028\udb40\udc41\ufeff\u034fü"), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&[("NAME", Align::Left), ("SIZE", Align::Right)]);
        table.row([plain("a"), plain("12345")]);
        table.row([plain("abcdef"), plain("1")]);
        assert_eq!(table.render(|_, text| text.to_owned()), "NAME     SIZE\na       12345\nabcdef      1\n");
    }
}
