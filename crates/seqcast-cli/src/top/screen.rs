//! The screen of `top`. It fits 80 columns; additional width goes to the labels and the histories.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row as TableRow, Table};

use seqcast::inspect::{Health, RelayPresence, RelayState};

use super::model::{Model, Row, WorkerId};
use super::tone_of;
use crate::args::Sort;
use crate::output::{Tone, colours_forbidden, printable};
use crate::processes::State;
use crate::units::{grouped, long_duration, rfc3339, short_count, short_duration, short_rate};

/// A column: its name, its sort order, its smallest width, and the order in which columns are omitted on a narrow
/// terminal, from 1 on; 0 for columns that are always shown.
struct Column {
    name: &'static str,
    sort: Sort,
    width: u16,
    dispensable: u8,
    cell: fn(&Row, u16) -> String,
}

/// In the order of the screen. A terminal of 80 columns has room for all but the first four that are omitted.
const COLUMNS: [Column; 16] = [
    column("SEAT", Sort::Seat, 4, 3, |row, _| row.worker.seat.to_string()),
    column("PID", Sort::Pid, 7, 0, |row, _| row.worker.pid.to_string()),
    column(LABEL, Sort::Label, 12, 0, |row, width| {
        printable(&row.worker.label).to_string().chars().take(usize::from(width)).collect()
    }),
    column("AGE", Sort::Age, 4, 7, |row, _| short_duration(row.age())),
    column("CURSOR", Sort::Seat, 8, 5, |row, width| {
        row.worker.cursor.map_or("-".to_owned(), |cursor| tail_of(cursor, width))
    }),
    column("LAG", Sort::Lag, 5, 0, |row, _| if_reads(row, short_count(row.worker.lag))),
    column("HIGH", Sort::High, 5, 6, |row, _| if_reads(row, short_count(row.high_lag))),
    column("MISSED", Sort::Missed, 6, 10, |row, _| if_reads(row, short_count(row.worker.missed))),
    column("FAILED", Sort::Failed, 6, 12, |row, _| short_count(row.worker.failed)),
    column("POLL", Sort::Poll, 4, 8, |row, _| row.worker.last_poll.map_or("-".to_owned(), short_duration)),
    column("STATE", Sort::State, 7, 0, |row, _| row.state.name().to_owned()),
    column("RESERVED", Sort::Seat, 8, 1, |row, width| {
        row.worker.reserved.map_or("-".to_owned(), |id| tail_of(id, width))
    }),
    column("CLAIMS", Sort::Seat, 6, 2, |row, _| short_count(row.worker.claims_won)),
    column("READ/S", Sort::Rate, 6, 11, |row, _| if_reads(row, short_rate(row.rate))),
    column("POST/S", Sort::Posts, 6, 9, |row, _| short_rate(row.post_rate)),
    // Drawn by the view, which has the bars.
    column(HISTORY, Sort::Rate, 15, 4, |_, _| String::new()),
];
const LABEL: &str = "LABEL";
const HISTORY: &str = "HISTORY";
/// The largest width of the label column.
const MOST_LABEL: u16 = 48;
/// The columns of a worker's details.
const DETAIL_WIDTH: u16 = 38;

const fn column(name: &'static str, sort: Sort, width: u16, dispensable: u8, cell: fn(&Row, u16) -> String) -> Column {
    Column { name, sort, width, dispensable, cell }
}

/// How the relay does, in one word.
fn relay_word(relay: &RelayState, capacity: u64) -> (&'static str, Tone) {
    const SILENT: Duration = Duration::from_secs(5);
    let is_silent = |beat: Option<Duration>| beat.is_some_and(|age| age > SILENT);
    match (relay.presence, relay.health) {
        (RelayPresence::Here, _) if is_silent(relay.reader_beat) || is_silent(relay.poster_beat) => {
            ("silent", Tone::Bad)
        }
        (RelayPresence::Here, Health::Down) => ("down", Tone::Bad),
        (RelayPresence::Here, _) if relay.backlog.is_some_and(|backlog| backlog > capacity / 2) => {
            ("behind", Tone::Bad)
        }
        (RelayPresence::Here, Health::Up) => ("up", Tone::Plain),
        (RelayPresence::Here, health) => (health.name(), Tone::Warning),
        (RelayPresence::Dead, _) => ("dead", Tone::Bad),
        (presence, _) => (presence.name(), Tone::Warning),
    }
}

fn if_reads(row: &Row, text: String) -> String {
    if row.worker.cursor.is_some() { text } else { "-".to_owned() }
}

/// The keys.
pub const KEYS: &str = "\
up, down, k, j        select a worker; page up, page down, home, end
enter                 details of the selected worker, and back
/                     filter workers by a text in pid, label or state
esc                   leave the filter or the details; otherwise quit
s, S, right, left     sort by another column
r                     reverse the order
?                     this help
q, ctrl-c             quit";

const WORDS: &str = "\
LAG, HIGH    ids behind: now, and the most since this top was started
MISSED       ids overwritten before the worker read them
FAILED       handlers that returned an error or panicked
POLL         time since the worker's last read
READ/S       ids read per second, also in HISTORY (or posts, if the worker only posts)
CLAIMS       claims won    RESERVED   the id that the worker has reserved
ring holds   how long an event stays in the ring at the current rate";

/// The content of the screen below the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Table,
    /// The table, while a filter is typed.
    Filter,
    /// One worker.
    Details,
    Help,
}

pub struct View {
    colours: bool,
    utf8: bool,
    pub mode: Mode,
    /// The number of rows scrolled past.
    offset: usize,
    /// The number of rows that fitted when the screen was last drawn.
    page: usize,
    /// The position of the selected row. Once a worker is chosen, the selection follows it when the order changes.
    selected: usize,
    chosen: Option<WorkerId>,
}

impl View {
    pub fn new() -> View {
        let utf8 = ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
            // Without any of these the locale is C. But terminals that cannot show these characters are rare, and such
            // environments are not.
            .is_none_or(|locale| locale.to_ascii_uppercase().replace('-', "").contains("UTF8"));
        View { colours: !colours_forbidden(), utf8, mode: Mode::Table, offset: 0, page: 1, selected: 0, chosen: None }
    }

    /// With colours and arrows, regardless of the environment.
    #[cfg(test)]
    pub fn coloured() -> View {
        View { colours: true, utf8: true, ..View::new() }
    }

    /// Moves the selection. It is limited to the list when the list is drawn.
    pub fn select(&mut self, rows: isize) {
        self.selected = match rows {
            isize::MIN => 0,
            isize::MAX => usize::MAX,
            rows => self.selected.saturating_add_signed(rows),
        };
        self.chosen = None;
    }

    /// Chooses the selected worker, so that it stays selected.
    fn choose<'a>(&mut self, rows: &[&'a Row]) -> Option<&'a Row> {
        let followed = self.chosen.and_then(|chosen| rows.iter().position(|row| row.id() == chosen));
        if self.chosen.is_some() && followed.is_none() && self.mode == Mode::Details {
            // The worker has left. The user did not ask for the next one's details.
            self.mode = Mode::Table;
        }
        self.selected = followed.unwrap_or(self.selected).min(rows.len().saturating_sub(1));
        let row = rows.get(self.selected).copied();
        // The worst worker appears in the first row: there the selection follows the row, not the worker.
        if self.selected > 0 || self.mode == Mode::Details {
            self.chosen = row.map(Row::id);
        }
        row
    }

    pub fn draw(&mut self, frame: &mut Frame<'_>, model: &Model) {
        let [head, workers, table, foot] =
            Layout::vertical([Constraint::Length(1), Constraint::Length(1), Constraint::Min(1), Constraint::Length(1)])
                .areas(frame.area());
        let rows = model.rows();
        let selected = self.choose(&rows);
        self.page = usize::from(table.height.saturating_sub(1)).max(1);
        let first = (self.selected + 1).saturating_sub(self.page);
        self.offset = self.offset.clamp(first, self.selected).min(rows.len().saturating_sub(self.page));
        frame.render_widget(self.head(model, head.width), head);
        frame.render_widget(self.summary(model, workers.width), workers);
        match (self.mode, selected) {
            (Mode::Help, _) => frame.render_widget(Paragraph::new(format!("{KEYS}\n\n{WORDS}")), table),
            (Mode::Details, Some(row)) => frame.render_widget(self.details(row, table.width), table),
            _ => self.draw_table(frame, model, &rows, table),
        }
        frame.render_widget(self.foot(model, rows.len(), foot.width), foot);
    }

    fn head(&self, model: &Model, width: u16) -> Paragraph<'static> {
        let holds = match model.rate() {
            0.0 => "idle".to_owned(),
            rate => {
                let seconds = Duration::try_from_secs_f64(model.capacity() as f64 / rate);
                format!("ring holds {}", seconds.map_or_else(|_| "indefinitely".to_owned(), long_duration))
            }
        };
        let figures = format!("next {}  {}/s  {holds}", model.next_id(), short_rate(model.rate()));
        let gone = if model.gone { "  REMOVED" } else { "" };
        // A long name is cut.
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
        let mut spans = vec![Span::raw(format!("{} of {} seats:", model.workers(), model.seats()))];
        for state in State::ALL {
            let count = model.count(state);
            if state == State::Unlocked && count == 0 {
                // These states are so rare that the room is worth more.
                continue;
            }
            let tone = if count == 0 { Tone::Faint } else { tone_of(state) };
            spans.push(Span::styled(format!(" {count} {}", state.name()), self.style(tone)));
        }
        spans.push(Span::raw(format!("  claims {}", short_count(model.claims_held()))));
        if model.failed() > 0 {
            let failed = format!("  failed {}", short_count(model.failed()));
            spans.push(Span::styled(failed, self.style(Tone::Bad)));
        }
        if let Some(relay) = model.relay() {
            let (word, tone) = relay_word(relay, model.capacity());
            spans.push(Span::styled(format!("  relay {word}"), self.style(tone)));
        }
        spans.push(Span::styled("  events/s ", self.style(Tone::Faint)));
        let used: usize = spans.iter().map(Span::width).sum();
        let room = usize::from(width).saturating_sub(used);
        spans.push(Span::raw(self.line(model.history().iter().copied(), room)));
        Paragraph::new(Line::from(spans))
    }

    fn draw_table(&self, frame: &mut Frame<'_>, model: &Model, rows: &[&Row], area: Rect) {
        let columns = columns_for(area.width);
        let heading = TableRow::new(columns.iter().map(|&(column, width)| {
            // Show only the first of the columns that say the same.
            let sorted = COLUMNS.iter().find(|other| other.sort == model.sort);
            let style = if sorted.is_some_and(|sorted| sorted.name == column.name) {
                self.style(Tone::Heading).add_modifier(Modifier::REVERSED)
            } else {
                self.style(Tone::Heading)
            };
            let name = if column.name == HISTORY { "READ/S HISTORY" } else { column.name };
            Cell::from(aligned(column, name, width)).style(style)
        }));
        let shown = rows.iter().enumerate().skip(self.offset).take(self.page).map(|(i, row)| {
            let row = self.row(row, &columns);
            if i == self.selected { row.style(Style::new().add_modifier(Modifier::REVERSED)) } else { row }
        });
        let widths = columns.iter().map(|&(_, width)| width);
        frame.render_widget(Table::new(shown, widths).header(heading).column_spacing(1), area);
    }

    fn row(&self, row: &Row, columns: &[(&Column, u16)]) -> TableRow<'static> {
        TableRow::new(columns.iter().map(|&(column, width)| {
            let tone = match column.name {
                "STATE" => tone_of(row.state),
                "FAILED" if row.worker.failed > 0 => Tone::Bad,
                "MISSED" if row.worker.missed > 0 => Tone::Warning,
                _ => Tone::Plain,
            };
            let text = match column.name {
                HISTORY => self.line(row.history.iter().copied(), usize::from(width)),
                _ => (column.cell)(row, width),
            };
            Cell::from(aligned(column, &text, width)).style(self.style(tone))
        }))
    }

    /// All details of a worker.
    fn details(&self, row: &Row, width: u16) -> Paragraph<'static> {
        let worker = &row.worker;
        let count = |count: u64| (grouped(count), Tone::Plain);
        let bad = |count: u64| (grouped(count), if count > 0 { Tone::Bad } else { Tone::Plain });
        let plain = |text: String| (text, Tone::Plain);
        let of_reader = |text: String| plain(if_reads(row, text));
        let or_none = |id: Option<u64>| plain(id.map_or("-".to_owned(), grouped));
        let must_read = match worker.must_read {
            None => plain("no".to_owned()),
            Some(_) if worker.is_cut_off => ("cut off".to_owned(), Tone::Bad),
            Some(patience) => plain(format!("posts wait {}", long_duration(patience))),
        };
        let facts: [(&str, (String, Tone)); 39] = [
            ("seat", plain(worker.seat.to_string())),
            ("taken", plain(format!("{} times, {} from dead workers", worker.incarnation, worker.adopted))),
            ("pid", plain(worker.pid.to_string())),
            ("state", (row.state.name().to_owned(), tone_of(row.state))),
            ("joined", plain(rfc3339(worker.joined_at))),
            ("age", plain(long_duration(row.age()))),
            ("cursor", or_none(worker.cursor)),
            ("last poll", plain(worker.last_poll.map_or("-".to_owned(), |ago| format!("{} ago", long_duration(ago))))),
            ("lag", of_reader(grouped(worker.lag))),
            ("greatest lag seen", of_reader(grouped(row.high_lag))),
            ("lapped", bad(worker.lagged)),
            ("ids missed", bad(worker.missed)),
            ("read/s", of_reader(short_rate(row.rate))),
            ("posted/s", plain(short_rate(row.post_rate))),
            ("delivered", count(worker.delivered)),
            ("posted", count(worker.posted)),
            ("skipped", count(worker.skipped)),
            ("fragments posted", count(worker.fragments)),
            ("in large blocks", count(worker.large)),
            ("handlers failed", bad(worker.failed)),
            ("malformed events met", bad(worker.corrupt)),
            ("reserved id", or_none(worker.reserved)),
            ("ids reserved", count(worker.reservations)),
            ("ids committed", count(worker.committed)),
            ("ids given up for all", count(worker.voided)),
            ("ids waited for", count(worker.waited)),
            ("posts that woke", count(worker.wakes)),
            ("woken", count(worker.wakeups)),
            ("must read", must_read),
            ("unread", plain(worker.must_read.map_or("-".to_owned(), |_| grouped(worker.unread)))),
            ("cut off", bad(worker.cut_off)),
            ("posts that waited", count(worker.room_waits)),
            ("they waited", plain(long_duration(worker.room_waited))),
            ("posts without room", bad(worker.room_refused)),
            ("claims won", count(worker.claims_won)),
            ("claims lost", count(worker.claims_lost)),
            ("claims released", count(worker.claims_released)),
            ("claims without room", bad(worker.claims_full)),
            ("claims too late", bad(worker.claims_late)),
        ];
        let columns = usize::from(width / DETAIL_WIDTH).max(1);
        let label = Line::styled(format!("worker {}", printable(&worker.label)), self.style(Tone::Heading));
        let mut lines = vec![label];
        for facts in facts.chunks(columns) {
            let spans = facts.iter().flat_map(|(name, (text, tone))| {
                let text = format!("{text:<width$}", width = usize::from(DETAIL_WIDTH) - 23);
                [Span::styled(format!("{name:<22} "), self.style(Tone::Faint)), Span::styled(text, self.style(*tone))]
            });
            lines.push(Line::from_iter(spans));
        }
        for (name, history) in [("read/s", &row.history), ("posted/s", &row.post_history)] {
            let name = format!("{name:<10}");
            let room = usize::from(width).saturating_sub(name.len());
            lines.push(Line::from(vec![
                Span::styled(name, self.style(Tone::Faint)),
                Span::raw(self.line(history.iter().copied(), room)),
            ]));
        }
        Paragraph::new(lines)
    }

    fn foot(&self, model: &Model, rows: usize, width: u16) -> Paragraph<'static> {
        let column =
            clap::ValueEnum::to_possible_value(&model.sort).map_or(String::new(), |of| of.get_name().to_owned());
        let reversed = if model.is_reversed() { " reversed" } else { "" };
        let of_filter = format!("{} of {}", rows, model.workers());
        let text = match self.mode {
            Mode::Help => "any key: back".to_owned(),
            Mode::Details => "enter back   up/down other worker   q quit".to_owned(),
            Mode::Filter => format!("filter: {}_  {of_filter}   enter keep   esc end", model.filter),
            Mode::Table if !model.filter.is_empty() => {
                format!("filter: {}  {of_filter}   / change   esc end   ? help", model.filter)
            }
            Mode::Table => format!("q quit  ? help  / filter  enter details  s/S r sort: {column}{reversed}"),
        };
        // The number of workers outside the screen is more important than the keys.
        let (above, below) = (self.offset, rows.saturating_sub(self.offset + self.page));
        let (up, down) = if self.utf8 { ("↑", "↓") } else { ("^", "v") };
        let more = match (self.mode, above, below) {
            (Mode::Help | Mode::Details, ..) | (_, 0, 0) => String::new(),
            (_, 0, below) => format!("{down}{below} more"),
            (_, above, 0) => format!("{up}{above} more"),
            (_, above, below) => format!("{up}{above} {down}{below} more"),
        };
        let room = usize::from(width).saturating_sub(more.chars().count() + usize::from(!more.is_empty()));
        let text: String = text.chars().take(room).collect();
        let gap = " ".repeat(usize::from(width).saturating_sub(text.chars().count() + more.chars().count()));
        let more = Span::styled(more, self.style(Tone::Heading));
        Paragraph::new(Line::from(vec![Span::styled(text, self.style(Tone::Faint)), Span::raw(gap), more]))
    }

    /// The last `width` values. The greatest is the highest bar.
    fn line(&self, values: impl DoubleEndedIterator<Item = f64>, width: usize) -> String {
        let bars = if self.utf8 {
            ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']
        } else {
            ['_', '.', ':', '-', '=', '+', '*', '#']
        };
        let mut last: Vec<f64> = values.rev().take(width).collect();
        last.reverse();
        let most = last.iter().copied().fold(0.0, f64::max);
        last.iter()
            .map(|&value| if most > 0.0 { bars[((value / most * 7.0).round() as usize).min(7)] } else { bars[0] })
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
fn columns_for(width: u16) -> Vec<(&'static Column, u16)> {
    let mut columns: Vec<(&Column, u16)> = COLUMNS.iter().map(|column| (column, column.width)).collect();
    let used = |columns: &[(&Column, u16)]| columns.iter().map(|(_, width)| width + 1).sum::<u16>() - 1;
    while used(&columns) > width {
        let next = columns.iter().map(|(column, _)| column.dispensable).filter(|&rank| rank > 0).min();
        let Some(next) = next else { break };
        columns.retain(|(column, _)| column.dispensable != next);
    }
    let over = width.saturating_sub(used(&columns));
    let has_history = columns.iter().any(|(column, _)| column.name == HISTORY);
    let more_label = if has_history { over / 2 } else { over };
    for (column, width) in &mut columns {
        match column.name {
            LABEL => *width += more_label.min(MOST_LABEL - column.width),
            HISTORY => *width += over - more_label.min(MOST_LABEL - 12),
            _ => {}
        }
    }
    columns
}

/// Text to the left, numbers to the right.
fn aligned(column: &Column, text: &str, width: u16) -> String {
    let width = usize::from(width);
    match column.name {
        LABEL | "STATE" | HISTORY => text.to_owned(),
        _ => format!("{text:>width$}"),
    }
}

/// The last digits of an id, which change most.
fn tail_of(id: u64, width: u16) -> String {
    let (text, width) = (id.to_string(), usize::from(width));
    if text.len() > width { format!("+{}", &text[text.len() - (width - 1)..]) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn the_relay_has_a_word_for_each_of_its_states() {
        let bus = fixture::bus("top-relay");
        let inspector = fixture::inspector(&bus);
        let (reader, poster) = bus.relay(&seqcast::relay::RelayOptions::new()).unwrap().split();
        reader.beat();
        poster.beat();
        let word = |relay: &RelayState| relay_word(relay, 64).0;
        for (health, expected) in
            [(Health::Starting, "starting"), (Health::Up, "up"), (Health::Degraded, "degraded"), (Health::Down, "down")]
        {
            poster.set_health(health);
            assert_eq!(word(&inspector.relay().unwrap()), expected);
        }
        poster.set_health(Health::Up);
        let mut relay = inspector.relay().unwrap();
        relay.backlog = Some(33);
        assert_eq!(word(&relay), "behind");
        relay.reader_beat = Some(Duration::from_secs(6));
        assert_eq!(word(&relay), "silent");
        relay.presence = RelayPresence::Dead;
        assert_eq!(word(&relay), "dead");
        drop((reader, poster));
        assert_eq!(word(&inspector.relay().unwrap()), "left");
        let mut model = Model::new(Sort::Seat, None);
        model.measure(&inspector).unwrap();
        let mut terminal = ratatui::Terminal::new(ratatui::backend::TestBackend::new(80, 5)).unwrap();
        terminal.draw(|frame| View::new().draw(frame, &model)).unwrap();
        assert!(terminal.backend().to_string().contains("relay left"), "{}", terminal.backend());
    }

    #[test]
    fn the_columns_fill_wide_terminals_and_narrow_ones_go_without_some() {
        let names = |width: u16| columns_for(width).iter().map(|(column, _)| column.name).collect::<Vec<_>>();
        let at_80 = ["PID", LABEL, "AGE", "LAG", "HIGH", "MISSED", "FAILED", "POLL", "STATE", "READ/S", "POST/S"];
        assert_eq!(names(80), at_80);
        assert_eq!(names(130).len(), COLUMNS.len());
        for width in 38..300 {
            let columns = columns_for(width);
            let used = columns.iter().map(|(_, width)| width + 1).sum::<u16>() - 1;
            let fills = used == width || width < 120;
            assert!(used <= width && fills, "{used} of {width}: {:?}", names(width));
            assert!(["PID", LABEL, "LAG", "STATE"].iter().all(|name| names(width).contains(name)), "{width}");
        }
        // A wider terminal has every column that a narrower one has.
        for width in 38..200 {
            assert!(names(width).iter().all(|name| names(width + 1).contains(name)), "{width}");
        }
    }

    #[test]
    fn a_history_shows_its_last_values_to_scale() {
        let view = View { utf8: false, ..View::new() };
        assert_eq!(view.line([9.0, 0.0, 1.0, 3.5, 7.0].into_iter(), 4), "_.=#");
        assert_eq!(view.line([0.0, 0.0].into_iter(), 4), "__");
    }

    #[test]
    fn a_long_id_keeps_its_moving_end() {
        assert_eq!(tail_of(12_345_678, 8), "12345678");
        assert_eq!(tail_of(123_456_789, 8), "+3456789");
    }
}
