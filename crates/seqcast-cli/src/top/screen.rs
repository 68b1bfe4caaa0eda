//! The screen of `top`. Fits 80 columns; what is wider goes to the labels and the histories.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row as TableRow, Table};

use super::model::{Model, Row};
use super::tone_of;
use crate::args::Sort;
use crate::output::{Tone, colours_forbidden, printable};
use crate::processes::State;
use crate::units::{long_duration, short_count, short_duration, short_rate};

/// Columns with their width; with the blanks between them 80, of which the last gets what is over.
const COLUMNS: [(&str, Sort, u16); 11] = [
    ("PID", Sort::Pid, 7),
    ("LABEL", Sort::Label, 12),
    ("AGE", Sort::Age, 4),
    ("CURSOR", Sort::Record, 8),
    ("LAG", Sort::Lag, 5),
    ("HIGH", Sort::High, 5),
    ("MISSED", Sort::Missed, 6),
    ("POLL", Sort::Poll, 4),
    ("STATE", Sort::State, 7),
    ("EV/S", Sort::Rate, 5),
    ("HISTORY", Sort::Rate, 7),
];
const LABEL: usize = 1;
const CURSOR: usize = 3;
const HISTORY: usize = 10;
/// The widest that the label's column gets.
const MOST_LABEL: u16 = 48;
/// What a narrower terminal goes without, the first first.
const DISPENSABLE: [usize; 7] = [HISTORY, CURSOR, 6, 5, 2, 7, 9];

pub struct View {
    colours: bool,
    bars: &'static [char],
    /// Rows scrolled over.
    offset: usize,
    /// Rows that fitted when the screen was drawn last.
    page: usize,
}

impl View {
    pub fn new() -> View {
        let utf8 = ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
            // Without any the locale is C; but terminals that cannot show these are rare, and such environments are not.
            .is_none_or(|locale| locale.to_ascii_uppercase().replace('-', "").contains("UTF8"));
        let bars: &[char] = match utf8 {
            true => &['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
            false => &['_', '.', ':', '-', '=', '+', '*', '#'],
        };
        View { colours: !colours_forbidden(), bars, offset: 0, page: 1 }
    }

    /// In colours, whatever the environment says.
    #[cfg(test)]
    pub fn coloured() -> View {
        View { colours: true, ..View::new() }
    }

    pub fn scroll(&mut self, rows: i32) {
        self.offset = match rows {
            i32::MIN => 0,
            i32::MAX => usize::MAX,
            rows => self.offset.saturating_add_signed(rows as isize),
        };
    }

    pub fn draw(&mut self, frame: &mut Frame<'_>, model: &Model) {
        let [head, workers, table, foot] =
            Layout::vertical([Constraint::Length(1), Constraint::Length(1), Constraint::Min(1), Constraint::Length(1)])
                .areas(frame.area());
        self.page = usize::from(table.height.saturating_sub(1)).max(1);
        self.offset = self.offset.min(model.rows().len().saturating_sub(self.page));
        frame.render_widget(self.head(model, head.width), head);
        frame.render_widget(self.summary(model, workers.width), workers);
        self.draw_table(frame, model, table);
        frame.render_widget(self.foot(model), foot);
    }

    fn head(&self, model: &Model, width: u16) -> Paragraph<'static> {
        let holds = match model.rate() {
            0.0 => "idle".to_owned(),
            rate => {
                let seconds = std::time::Duration::try_from_secs_f64(model.capacity() as f64 / rate);
                format!("ring holds {}", seconds.map_or_else(|_| "for ever".to_owned(), long_duration))
            }
        };
        let figures = format!("next {}  {}/s  {holds}", model.next_id(), short_rate(model.rate()));
        let gone = if model.gone { "  REMOVED" } else { "" };
        // A long name gives way.
        let room = usize::from(width).saturating_sub(figures.len() + gone.len() + "seqcast top   ".len());
        let name: String = model.name().chars().take(room).collect();
        Paragraph::new(Line::from(vec![
            Span::styled("seqcast top ", self.style(Tone::Faint)),
            Span::styled(name, self.style(Tone::Heading)),
            Span::styled(gone, self.style(Tone::Bad)),
            Span::raw(format!("  {figures}")),
        ]))
    }

    fn summary(&self, model: &Model, width: u16) -> Paragraph<'static> {
        let mut spans = vec![Span::raw(format!("{} of {} records:", model.rows().len(), model.records()))];
        for state in [State::Ok, State::Slow, State::Stopped, State::Dead] {
            let count = model.count(state);
            let tone = if count == 0 { Tone::Faint } else { tone_of(state) };
            spans.push(Span::styled(format!(" {count} {}", state.name()), self.style(tone)));
        }
        spans.push(Span::raw(format!("  claims {}  ", short_count(model.claims_held()))));
        let used: usize = spans.iter().map(Span::width).sum();
        let room = usize::from(width).saturating_sub(used);
        spans.push(Span::raw(self.line(model.history().iter().copied(), room)));
        Paragraph::new(Line::from(spans))
    }

    fn draw_table(&self, frame: &mut Frame<'_>, model: &Model, area: Rect) {
        let columns = columns_for(area.width);
        let heading = TableRow::new(columns.iter().map(|&(i, width)| {
            let (name, sort, _) = COLUMNS[i];
            let style = match sort == model.sort && i != HISTORY {
                true => self.style(Tone::Heading).add_modifier(Modifier::REVERSED),
                false => self.style(Tone::Heading),
            };
            Cell::from(aligned(i, name, width)).style(style)
        }));
        let rows = model.rows().skip(self.offset).take(self.page).map(|row| self.row(row, &columns));
        let widths = columns.iter().map(|&(_, width)| width);
        frame.render_widget(Table::new(rows, widths).header(heading).column_spacing(1), area);
    }

    fn row(&self, row: &Row, columns: &[(usize, u16)]) -> TableRow<'static> {
        TableRow::new(columns.iter().map(|&(i, width)| {
            let tone = if COLUMNS[i].0 == "STATE" { tone_of(row.state) } else { Tone::Plain };
            Cell::from(aligned(i, &self.cell(row, i, width), width)).style(self.style(tone))
        }))
    }

    fn cell(&self, row: &Row, column: usize, width: u16) -> String {
        let worker = &row.worker;
        let if_reads = |text: String| if worker.cursor.is_some() { text } else { "-".to_owned() };
        match COLUMNS[column].0 {
            "PID" => worker.pid.to_string(),
            "LABEL" => printable(&worker.label).to_string().chars().take(usize::from(width)).collect(),
            "AGE" => short_duration(row.age()),
            "CURSOR" => worker.cursor.map_or("-".to_owned(), |cursor| tail_of(cursor, width)),
            "LAG" => if_reads(short_count(worker.lag)),
            "HIGH" => if_reads(short_count(row.high_lag)),
            "MISSED" => if_reads(short_count(worker.missed)),
            "POLL" => worker.last_poll.map_or("-".to_owned(), short_duration),
            "STATE" => row.state.name().to_owned(),
            "EV/S" => short_rate(row.rate),
            _ => self.line(row.history.iter().copied(), usize::from(width)),
        }
    }

    fn foot(&self, model: &Model) -> Paragraph<'static> {
        let column =
            clap::ValueEnum::to_possible_value(&model.sort).map_or(String::new(), |of| of.get_name().to_owned());
        let reversed = if model.is_reversed() { " reversed" } else { "" };
        Paragraph::new(Span::styled(
            format!("q quit   s/S sort: {column}{reversed}   r reverse   up/down scroll"),
            self.style(Tone::Faint),
        ))
    }

    /// The last `width` values, the greatest of them as the highest bar.
    fn line(&self, values: impl DoubleEndedIterator<Item = f64>, width: usize) -> String {
        let mut last: Vec<f64> = values.rev().take(width).collect();
        last.reverse();
        let most = last.iter().copied().fold(0.0, f64::max);
        last.iter()
            .map(|&value| match most > 0.0 {
                true => self.bars[((value / most * 7.0).round() as usize).min(7)],
                false => self.bars[0],
            })
            .collect()
    }

    fn style(&self, tone: Tone) -> Style {
        let style = match tone {
            Tone::Heading => Style::new().add_modifier(Modifier::BOLD),
            Tone::Faint => Style::new().add_modifier(Modifier::DIM),
            _ => Style::new(),
        };
        match tone {
            _ if !self.colours => style,
            Tone::Good => style.fg(Color::Green),
            Tone::Warning => style.fg(Color::Yellow),
            Tone::Bad => style.fg(Color::Red),
            Tone::Plain | Tone::Heading | Tone::Faint => style,
        }
    }
}

/// The columns that fit, with their widths.
fn columns_for(width: u16) -> Vec<(usize, u16)> {
    let mut columns: Vec<(usize, u16)> = COLUMNS.iter().map(|(.., width)| *width).enumerate().collect();
    let used = |columns: &[(usize, u16)]| columns.iter().map(|(_, width)| width + 1).sum::<u16>() - 1;
    for dispensable in DISPENSABLE {
        if used(&columns) <= width {
            break;
        }
        columns.retain(|(column, _)| *column != dispensable);
    }
    let over = width.saturating_sub(used(&columns));
    let more_label = (over / 2).min(MOST_LABEL - COLUMNS[LABEL].2);
    for (column, width) in &mut columns {
        match *column {
            LABEL => *width += more_label,
            HISTORY => *width += over - more_label,
            _ => {}
        }
    }
    columns
}

/// Text to the left, figures to the right.
fn aligned(column: usize, text: &str, width: u16) -> String {
    let width = usize::from(width);
    match COLUMNS[column].0 {
        "LABEL" | "STATE" | "HISTORY" => text.to_owned(),
        _ => format!("{text:>width$}"),
    }
}

/// The last digits of an id, which are those that move.
fn tail_of(id: u64, width: u16) -> String {
    let (text, width) = (id.to_string(), usize::from(width));
    match text.len() > width {
        true => format!("+{}", &text[text.len() - (width - 1)..]),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_fill_80_and_narrower_terminals_go_without_some() {
        assert_eq!(columns_for(80).len(), COLUMNS.len());
        for width in 38..300 {
            let columns = columns_for(width);
            let used = columns.iter().map(|(_, width)| width + 1).sum::<u16>() - 1;
            assert!(used <= width && (width < 80 || used == width), "{used} of {width}: {columns:?}");
            let names: Vec<&str> = columns.iter().map(|(column, _)| COLUMNS[*column].0).collect();
            assert!(["PID", "LABEL", "LAG", "STATE"].iter().all(|name| names.contains(name)), "{names:?} at {width}");
        }
    }

    #[test]
    fn a_history_shows_its_last_values_to_scale() {
        let view = View { colours: false, bars: &['0', '1', '2', '3', '4', '5', '6', '7'], offset: 0, page: 1 };
        assert_eq!(view.line([9.0, 0.0, 1.0, 3.5, 7.0].into_iter(), 4), "0147");
        assert_eq!(view.line([0.0, 0.0].into_iter(), 4), "00");
    }

    #[test]
    fn a_long_id_keeps_its_moving_end() {
        assert_eq!(tail_of(12_345_678, 8), "12345678");
        assert_eq!(tail_of(123_456_789, 8), "+3456789");
    }
}
