//! Makes text of other processes safe to print.

use std::fmt::{self, Write};

/// Returns `text` in a form that is safe to print on a terminal and in a log: it stays on its line and shows what it
/// contains.
///
/// Labels, sources and event names come from processes that may write anything into a segment. Printed raw, they can
/// clear a screen, forge a log line, or reorder the text around them. Every character that is not plainly visible is
/// written as its escape: control characters (C0, DEL, C1), line and paragraph separators, format characters (among
/// them bidi controls, zero-width characters and the soft hyphen), blanks other than the space, private and unassigned
/// characters, and letters and marks that no font draws. Text without these characters is unchanged, and so is text
/// that is already escaped.
///
/// `Display` writes the escaped text. `Debug` writes it in double quotes, with quotes and backslashes escaped.
///
/// ```
/// use seqcast::inspect::printable;
///
/// let label = "web\n\u{1b}[2Jroot\u{202e}";
/// assert_eq!(printable(label).to_string(), r"web\n\u{1b}[2Jroot\u{202e}");
/// assert_eq!(format!("{:?}", printable("a \"b\"")), r#""a \"b\"""#);
/// ```
pub fn printable(text: &str) -> Printable<'_> {
    Printable(text)
}

/// Text that is safe to print; see [`printable`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Printable<'a>(&'a str);

/// Returns `true` if [`printable`] leaves `c` unchanged.
///
/// ```
/// use seqcast::inspect::is_printable;
///
/// assert!(is_printable('ü') && is_printable('"') && !is_printable('\u{202e}'));
/// ```
pub fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return matches!(c, ' '..='~');
    }
    // The standard library has the tables: after another character it escapes exactly what is not printable.
    let mut bytes = [b'a'; 5];
    let len = c.encode_utf8(&mut bytes[1..]).len();
    // It is UTF-8 by construction. Otherwise nothing would be printed raw.
    let is_seen = str::from_utf8(&bytes[..=len]).is_ok_and(|text| text.escape_debug().nth(1) == Some(c));
    is_seen && !is_drawn_as_nothing(c)
}

/// Letters and marks that Unicode calls ignorable: fonts draw nothing for them, so different texts can look alike.
fn is_drawn_as_nothing(c: char) -> bool {
    matches!(
        c,
        '\u{34f}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{ffa0}'
            | '\u{e0100}'..='\u{e01ef}'
    )
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(f, self.0, |_| false)
    }
}

impl fmt::Debug for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        write_escaped(f, self.0, |c| matches!(c, '"' | '\\'))?;
        f.write_char('"')
    }
}

fn write_escaped(f: &mut fmt::Formatter<'_>, text: &str, is_special: impl Fn(char) -> bool) -> fmt::Result {
    let mut written = 0;
    for (at, c) in text.char_indices() {
        if is_printable(c) && !is_special(c) {
            continue;
        }
        f.write_str(&text[written..at])?;
        written = at + c.len_utf8();
        match c {
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '"' | '\\' => write!(f, "\\{c}")?,
            c => write!(f, "\\u{{{:x}}}", u32::from(c))?,
        }
    }
    f.write_str(&text[written..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        printable(text).to_string()
    }

    #[test]
    fn g10_no_character_that_steers_hides_or_reorders_is_printed() {
        let ranges: [std::ops::RangeInclusive<u32>; 34] = [
            // Control characters, and line endings.
            0x00..=0x1f,
            0x7f..=0x9f,
            0x2028..=0x2029,
            // Characters that reorder: bidi marks, embeddings, overrides and isolates.
            0x061c..=0x061c,
            0x200e..=0x200f,
            0x202a..=0x202e,
            0x2066..=0x2069,
            // Format characters that hide, join or are never drawn.
            0x00ad..=0x00ad,
            0x0600..=0x0605,
            0x06dd..=0x06dd,
            0x070f..=0x070f,
            0x180e..=0x180e,
            0x200b..=0x200d,
            0x2060..=0x2064,
            0x206a..=0x206f,
            0xfeff..=0xfeff,
            0xfff9..=0xfffb,
            0x110bd..=0x110bd,
            0x1bca0..=0x1bca3,
            0x1d173..=0x1d17a,
            0xe0001..=0xe0001,
            0xe0020..=0xe007f,
            // Letters and marks that are not drawn.
            0x034f..=0x034f,
            0x115f..=0x1160,
            0x3164..=0x3164,
            0xfe00..=0xfe0f,
            0xffa0..=0xffa0,
            0xe0100..=0xe01ef,
            // Blanks that look like a space or like nothing.
            0x00a0..=0x00a0,
            0x2000..=0x200a,
            0x3000..=0x3000,
            // Private, unassigned and non-characters.
            0xe000..=0xe001,
            0xfffe..=0xffff,
            0x10_fffd..=0x10_ffff,
        ];
        for c in ranges.into_iter().flatten().map(|c| char::from_u32(c).unwrap()) {
            // First, after a letter and before one: the position of a character makes no difference.
            let text = shown(&format!("{c}a{c}b"));
            assert!(!text.contains(c), "{:#x}: {text:?}", u32::from(c));
            assert!(text.starts_with('\\') && text.ends_with('b'), "{:#x}: {text:?}", u32::from(c));
            assert!(!format!("{:?}", printable(&format!("a{c}"))).contains(c), "{:#x}", u32::from(c));
        }
    }

    #[test]
    fn what_people_write_stays_as_it_is() {
        let all_of_ascii: String = (' '..='~').collect();
        for text in ["", &all_of_ascii, "Grüße, Žluťoučký кůň", "日本語", "עברית", "हिन्दी", "e\u{301}", "€ ∑ → 🦀"]
        {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn what_was_escaped_is_not_escaped_again() {
        let once = shown("a\x1b[2J\r\nb\u{9b}\u{202e}\"\\");
        assert_eq!(once, "a\\u{1b}[2J\\r\\nb\\u{9b}\\u{202e}\"\\");
        assert_eq!(shown(&once), once);
    }

    #[test]
    fn quoted_text_cannot_leave_its_quotes() {
        assert_eq!(format!("{:?}", printable("a\" 3: pid 1 \"\\\n")), r#""a\" 3: pid 1 \"\\\n""#);
    }
}
