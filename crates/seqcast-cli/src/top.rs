//! `seqcast top`

mod model;
mod screen;
mod terminal;

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use serde_json::{Value, json};

use seqcast::inspect::Inspector;

use self::model::{Model, Row};
pub use self::screen::KEYS;
use self::screen::{Mode, View};
use self::terminal::Terminal;
pub use self::terminal::restore_terminal_in_signal;
use crate::args::TopArgs;
use crate::exit::{Exit, Failure};
use crate::output::{Align, Output, Table, Tone, plain};
use crate::processes::State;
use crate::segments;
use crate::units::{short_duration, short_rate};

/// The longest delay in the reaction to keys, signals and a new size of the terminal.
const ATTENTION: Duration = Duration::from_millis(100);

pub fn run(args: &TopArgs, output: &mut Output) -> Result<Exit, Failure> {
    let name = match (&args.name, args.pid) {
        (Some(name), _) => name.clone(),
        (None, Some(pid)) => segments::of_process(pid)?,
        (None, None) => return Err(Failure::Usage("top needs the NAME of a segment, or --pid".to_owned())),
    };
    let inspector = Inspector::open_any(&name)?;
    let mut model = Model::new(args.sort, args.pid);
    if args.once || output.is_json() {
        model.measure(&inspector)?;
        loop {
            std::thread::sleep(args.interval);
            model.measure(&inspector)?;
            if output.is_json() {
                output.json(&to_json(&model))?;
            } else {
                print_table(&model, output)?;
            }
            output.flush()?;
            if args.once {
                return Ok(Exit::Fine);
            }
        }
    }
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Failure::Usage("top needs a terminal: use --once, or --format json".to_owned()));
    }
    watch(args, &name, inspector, model)
}

/// The live screen.
fn watch(args: &TopArgs, name: &str, mut inspector: Inspector, mut model: Model) -> Result<Exit, Failure> {
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&ended)).map_err(Failure::io("registering a signal handler"))?;
    }
    model.measure(&inspector)?;
    let mut view = View::new();
    // Dropping it restores the terminal, however this ends.
    let mut terminal = Terminal::new()?;
    let mut next_look = Instant::now() + args.interval;
    loop {
        terminal.draw(|frame| view.draw(frame, &model))?;
        let wait = next_look.saturating_duration_since(Instant::now()).min(ATTENTION);
        if event::poll(wait).map_err(Failure::io("reading keys"))?
            && let Event::Key(key) = event::read().map_err(Failure::io("reading keys"))?
            && key.kind != KeyEventKind::Release
            && !press(key, &mut view, &mut model)
        {
            return Ok(Exit::Fine);
        }
        if ended.load(Ordering::Relaxed) {
            return Ok(Exit::Fine);
        }
        if Instant::now() >= next_look {
            next_look = Instant::now() + args.interval;
            if !inspector.is_current()? {
                // The segment was removed. If it was created again, watch the new one.
                model.gone = true;
                if let Ok(new) = Inspector::open_any(name) {
                    inspector = new;
                    model.restart();
                }
            }
            model.measure(&inspector)?;
        }
    }
}

/// Returns `false` to quit.
fn press(key: KeyEvent, view: &mut View, model: &mut Model) -> bool {
    if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
        return false;
    }
    match view.mode {
        Mode::Help => view.mode = Mode::Table,
        Mode::Filter => type_filter(key.code, view, model),
        Mode::Table | Mode::Details => return command(key.code, view, model),
    }
    true
}

fn type_filter(key: KeyCode, view: &mut View, model: &mut Model) {
    match key {
        KeyCode::Char(c) => model.filter.push(c),
        KeyCode::Backspace => drop(model.filter.pop()),
        KeyCode::Enter => view.mode = Mode::Table,
        KeyCode::Esc => {
            model.filter.clear();
            view.mode = Mode::Table;
        }
        _ => {}
    }
}

fn command(key: KeyCode, view: &mut View, model: &mut Model) -> bool {
    match key {
        KeyCode::Char('q') => return false,
        KeyCode::Esc | KeyCode::Backspace if view.mode == Mode::Details => view.mode = Mode::Table,
        KeyCode::Esc if !model.filter.is_empty() => model.filter.clear(),
        KeyCode::Esc => return false,
        KeyCode::Char('?') => view.mode = Mode::Help,
        KeyCode::Char('/') => view.mode = Mode::Filter,
        KeyCode::Enter if view.mode == Mode::Details => view.mode = Mode::Table,
        KeyCode::Enter => view.mode = Mode::Details,
        KeyCode::Char('s') | KeyCode::Right => model.sort_by_next(1),
        KeyCode::Char('S') | KeyCode::Left => model.sort_by_next(-1),
        KeyCode::Char('r') => model.reverse(),
        KeyCode::Down | KeyCode::Char('j') => view.select(1),
        KeyCode::Up | KeyCode::Char('k') => view.select(-1),
        KeyCode::PageDown => view.select(10),
        KeyCode::PageUp => view.select(-10),
        KeyCode::Home => view.select(isize::MIN),
        KeyCode::End => view.select(isize::MAX),
        _ => {}
    }
    true
}

pub fn tone_of(state: State) -> Tone {
    match state {
        State::Ok => Tone::Good,
        State::Slow => Tone::Warning,
        State::Stopped | State::Unlocked | State::Dead => Tone::Bad,
    }
}

fn print_table(model: &Model, output: &mut Output) -> Result<(), Failure> {
    let mut table = Table::new(&[
        ("SEAT", Align::Right),
        ("PID", Align::Right),
        ("LABEL", Align::Left),
        ("AGE", Align::Right),
        ("CURSOR", Align::Right),
        ("LAG", Align::Right),
        ("HIGH", Align::Right),
        ("MISSED", Align::Right),
        ("FAILED", Align::Right),
        ("POLL", Align::Right),
        ("STATE", Align::Left),
        ("READ/S", Align::Right),
        ("POST/S", Align::Right),
    ]);
    for row in model.rows() {
        let reads = row.worker.cursor.is_some();
        let if_reads = |text: String| plain(if reads { text } else { "-".into() });
        table.row([
            plain(row.worker.seat.to_string()),
            plain(row.worker.pid.to_string()),
            plain(&row.worker.label),
            plain(short_duration(row.age())),
            plain(row.worker.cursor.map_or("-".into(), |cursor| cursor.to_string())),
            if_reads(row.worker.lag.to_string()),
            if_reads(row.high_lag.to_string()),
            if_reads(row.worker.missed.to_string()),
            (if row.worker.failed > 0 { Tone::Bad } else { Tone::Plain }, row.worker.failed.to_string()),
            plain(row.worker.last_poll.map_or("-".into(), short_duration)),
            (tone_of(row.state), row.state.name().to_owned()),
            if_reads(short_rate(row.rate)),
            plain(short_rate(row.post_rate)),
        ]);
    }
    if table.is_empty() { output.line("no worker") } else { output.table(&table) }
}

fn to_json(model: &Model) -> Value {
    let workers: Vec<Value> = model.rows().into_iter().map(row_json).collect();
    json!({
        "name": model.name(),
        "next_id": model.next_id(),
        "events_per_second": model.rate(),
        "capacity": model.capacity(),
        "claims_held": model.claims_held(),
        "workers": workers,
    })
}

fn row_json(row: &Row) -> Value {
    let worker = &row.worker;
    json!({
        "seat": worker.seat,
        "pid": worker.pid,
        "label": worker.label,
        "age_seconds": row.age().as_secs_f64(),
        "cursor": worker.cursor,
        "lag": worker.lag,
        "lag_high": row.high_lag,
        "missed": worker.missed,
        "last_poll_seconds": worker.last_poll.map(|ago| ago.as_secs_f64()),
        "state": row.state.name(),
        "events_per_second": row.rate,
        "posted_per_second": row.post_rate,
        "reserved": worker.reserved,
        "posted": worker.posted,
        "delivered": worker.delivered,
        "skipped": worker.skipped,
        "lagged": worker.lagged,
        "voided": worker.voided,
        "corrupt": worker.corrupt,
        "failed": worker.failed,
        "claims_won": worker.claims_won,
        "claims_lost": worker.claims_lost,
        "claims_full": worker.claims_full,
        "claims_late": worker.claims_late,
        "orphaned": worker.orphaned,
    })
}

#[cfg(test)]
mod tests {
    use ratatui::backend::TestBackend;
    use ratatui::style::{Color, Modifier};

    use super::*;
    use crate::args::Sort;
    use crate::fixture;

    /// A screen in memory.
    struct Screen {
        terminal: ratatui::Terminal<TestBackend>,
        view: View,
        model: Model,
    }

    impl Screen {
        fn new(width: u16, height: u16, model: Model) -> Screen {
            let terminal = ratatui::Terminal::new(TestBackend::new(width, height)).unwrap();
            Screen { terminal, view: View::coloured(), model }
        }

        fn lines(&mut self) -> Vec<String> {
            self.terminal.draw(|frame| self.view.draw(frame, &self.model)).unwrap();
            let buffer = self.terminal.backend().buffer();
            let line = |y| (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
            (0..buffer.area.height).map(|y| line(y).trim_end().to_owned()).collect()
        }

        /// Returns the style at the place where `text` begins in a line.
        fn style(&mut self, line: usize, text: &str) -> (Color, Modifier) {
            let at = self.lines()[line].find(text).unwrap_or_else(|| panic!("no {text} in {:?}", self.lines()));
            let cell = &self.terminal.backend().buffer()[(at as u16, line as u16)];
            (cell.fg, cell.modifier)
        }

        /// Presses a key. Returns `true` if `top` continues.
        fn press(&mut self, code: KeyCode) -> bool {
            press(KeyEvent::new(code, KeyModifiers::NONE), &mut self.view, &mut self.model)
        }
    }

    fn measured(inspector: &Inspector) -> Model {
        let mut model = Model::new(Sort::Seat, None);
        model.measure(inspector).unwrap();
        model
    }

    #[test]
    fn keys_select_a_worker_and_the_screen_follows() {
        let bus = fixture::bus("scroll");
        let workers: Vec<_> = (0..20).map(|i| fixture::worker(&bus, &format!("w{i}"))).collect();
        // Head, summary, heading and foot leave five rows.
        let mut screen = Screen::new(80, 9, measured(&fixture::inspector(&bus)));
        let number = |line: &str| line.split_whitespace().nth(1).unwrap().strip_prefix('w').unwrap().parse().unwrap();
        let shown = |screen: &mut Screen| -> (usize, usize, String) {
            let lines = screen.lines();
            let shown: Vec<usize> = lines[3..8].iter().map(|line| number(line)).collect();
            assert!(shown.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{lines:#?}");
            let buffer = screen.terminal.backend().buffer();
            let selected: Vec<u16> = (3..8).filter(|&y| buffer[(0, y)].modifier.contains(Modifier::REVERSED)).collect();
            let [selected] = *selected else { panic!("selected: {selected:?}") };
            let more = lines[8].rsplit_once("  ").unwrap().1.trim().to_owned();
            (shown[usize::from(selected) - 3], shown[0], more)
        };
        assert_eq!(shown(&mut screen), (0, 0, "↓15 more".to_owned()));
        for (key, selected, first, more) in [
            (KeyCode::Up, 0, 0, "↓15 more"),
            (KeyCode::Down, 1, 0, "↓15 more"),
            (KeyCode::Char('j'), 2, 0, "↓15 more"),
            (KeyCode::PageDown, 12, 8, "↑8 ↓7 more"),
            (KeyCode::Char('k'), 11, 8, "↑8 ↓7 more"),
            (KeyCode::PageUp, 1, 1, "↑1 ↓14 more"),
            (KeyCode::End, 19, 15, "↑15 more"),
            (KeyCode::Down, 19, 15, "↑15 more"),
            (KeyCode::Up, 18, 15, "↑15 more"),
            (KeyCode::Home, 0, 0, "↓15 more"),
            (KeyCode::Char('x'), 0, 0, "↓15 more"),
        ] {
            assert!(screen.press(key), "{key:?} ended it");
            assert_eq!(shown(&mut screen), (selected, first, more.to_owned()), "after {key:?}");
        }
        drop(workers);
    }

    #[test]
    fn the_selected_worker_stays_selected_when_the_order_changes() {
        let bus = fixture::bus("follow");
        let _workers: Vec<_> = (0..20).map(|i| fixture::worker(&bus, &format!("w{i:02}"))).collect();
        let mut screen = Screen::new(80, 9, measured(&fixture::inspector(&bus)));
        let selected = |screen: &mut Screen| -> String {
            screen.lines();
            let buffer = screen.terminal.backend().buffer();
            let y = (3..8).find(|&y| buffer[(0, y)].modifier.contains(Modifier::REVERSED)).unwrap();
            screen.lines()[usize::from(y)].split_whitespace().nth(1).unwrap().to_owned()
        };
        // The first row is not tied to a worker: the worst worker appears there.
        screen.press(KeyCode::Char('r'));
        assert_eq!(selected(&mut screen), "w19");
        screen.press(KeyCode::Down);
        assert_eq!(selected(&mut screen), "w18");
        screen.press(KeyCode::Char('r'));
        assert_eq!(selected(&mut screen), "w18");
    }

    #[test]
    fn keys_sort_and_end() {
        let bus = fixture::bus("keys");
        let mut screen = Screen::new(80, 9, measured(&fixture::inspector(&bus)));
        let foot = |screen: &mut Screen| screen.lines().pop().unwrap();
        for (key, sort) in [
            (KeyCode::Char('s'), "sort: pid"),
            (KeyCode::Right, "sort: label"),
            (KeyCode::Char('r'), "sort: label reversed"),
            (KeyCode::Left, "sort: pid reversed"),
            (KeyCode::Char('S'), "sort: seat reversed"),
            (KeyCode::Char('r'), "sort: seat"),
            (KeyCode::Char('c'), "sort: seat"),
        ] {
            assert!(screen.press(key), "{key:?} ended it");
            assert!(foot(&mut screen).ends_with(sort), "{key:?}: {}", foot(&mut screen));
        }
        assert!(!screen.press(KeyCode::Char('q')) && !screen.press(KeyCode::Esc));
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        for mode in [Mode::Table, Mode::Filter, Mode::Details, Mode::Help] {
            screen.view.mode = mode;
            assert!(!press(interrupt, &mut screen.view, &mut screen.model), "{mode:?}");
        }
    }

    #[test]
    fn a_filter_leaves_out_what_does_not_contain_it() {
        let bus = fixture::bus("filter");
        let _workers = ["web-1", "web-2", "mailer"].map(|label| fixture::worker(&bus, label));
        let mut screen = Screen::new(80, 9, measured(&fixture::inspector(&bus)));
        let shown = |screen: &mut Screen| -> Vec<String> {
            let lines = screen.lines();
            lines[3..8].iter().filter_map(|line| Some(line.split_whitespace().nth(1)?.to_owned())).collect()
        };
        for key in "/wEbx".chars() {
            screen.press(KeyCode::Char(key));
        }
        assert_eq!(shown(&mut screen), [""; 0]);
        assert!(screen.lines()[8].starts_with("filter: wEbx_  0 of 3"), "{:?}", screen.lines());
        screen.press(KeyCode::Backspace);
        assert_eq!(shown(&mut screen), ["web-1", "web-2"]);
        // The filter is kept, and keys are commands again.
        screen.press(KeyCode::Enter);
        screen.press(KeyCode::Char('r'));
        assert_eq!(shown(&mut screen), ["web-2", "web-1"]);
        assert!(screen.lines()[8].starts_with("filter: wEb  2 of 3"), "{:?}", screen.lines());
        assert!(screen.lines()[1].starts_with("3 of 32 seats: 3 ok"), "{:?}", screen.lines());
        // The first ends the filter, the second `top`.
        assert!(screen.press(KeyCode::Esc));
        assert_eq!(shown(&mut screen).len(), 3);
        assert!(!screen.press(KeyCode::Esc));
        // The filter is given up while it is typed.
        for key in [KeyCode::Char('/'), KeyCode::Char('m'), KeyCode::Esc] {
            assert!(screen.press(key));
        }
        assert_eq!((shown(&mut screen).len(), screen.view.mode), (3, Mode::Table));
    }

    #[test]
    fn help_says_what_the_keys_do_and_any_key_ends_it() {
        let bus = fixture::bus("help");
        let mut screen = Screen::new(80, 24, measured(&fixture::inspector(&bus)));
        screen.press(KeyCode::Char('?'));
        let text = screen.lines().join("\n");
        for word in ["enter ", "/ ", "s, S", "q, ctrl-c", "FAILED", "READ/S", "any key: back"] {
            assert!(text.contains(word), "no {word} in\n{text}");
        }
        assert!(screen.press(KeyCode::Char('q')));
        assert_eq!(screen.view.mode, Mode::Table);
    }

    #[test]
    fn enter_shows_all_that_is_known_of_a_worker() {
        let bus = fixture::bus("details");
        let (inspector, first, second) =
            (fixture::inspector(&bus), fixture::worker(&bus, "first"), fixture::worker(&bus, "second"));
        second.on(seqcast::Scope::All, |_| Err::<(), _>("no")).unwrap();
        let mut screen = Screen::new(80, 30, measured(&inspector));
        for _ in 0..1234 {
            first.post(("a", "b"), "").unwrap();
        }
        screen.model.measure(&inspector).unwrap();
        screen.press(KeyCode::Enter);
        let text = screen.lines().join("\n");
        let fact = |text: &str, name: &str| -> Option<String> {
            let words: Vec<&str> = text.split_once(name)?.1.split_whitespace().collect();
            Some((*words.first()?).to_owned())
        };
        assert!(text.contains("worker first"), "{text}");
        for (name, value) in [
            ("\nseat ", "0"),
            ("pid ", &std::process::id().to_string()),
            ("state ", "slow"),
            (" posted ", "1,234"),
            ("delivered ", "0"),
            ("handlers failed ", "0"),
        ] {
            assert_eq!(fact(&text, name).as_deref(), Some(value), "{name} in\n{text}");
        }
        // The next worker, which has failed handlers.
        screen.press(KeyCode::Down);
        second.poll().unwrap();
        screen.model.measure(&inspector).unwrap();
        let text = screen.lines().join("\n");
        assert!(text.contains("worker second"), "{text}");
        let failed = screen.model.rows()[1].worker.failed;
        assert!(failed > 0);
        assert_eq!(fact(&text, "handlers failed "), Some(failed.to_string()), "{text}");
        screen.press(KeyCode::Enter);
        assert_eq!(screen.view.mode, Mode::Table);
        // After it has left, there is nothing to show.
        screen.press(KeyCode::Enter);
        screen.lines();
        drop(second);
        screen.model.measure(&inspector).unwrap();
        assert!(screen.lines()[2].contains("LABEL"), "{:?}", screen.lines());
        assert_eq!(screen.view.mode, Mode::Table);
        // On a narrow screen, and on one that is too small.
        for (width, height) in [(40, 40), (20, 3), (1, 1)] {
            let mut screen = Screen::new(width, height, measured(&inspector));
            screen.press(KeyCode::Enter);
            screen.lines();
        }
    }

    #[test]
    fn failed_handlers_stand_out() {
        let bus = fixture::bus("failed");
        let (inspector, worker) = (fixture::inspector(&bus), fixture::worker(&bus, "web"));
        let _quiet = fixture::worker(&bus, "quiet");
        worker.on(seqcast::Scope::All, |_| Err::<(), _>("no")).unwrap();
        let mut screen = Screen::new(80, 9, measured(&inspector));
        assert!(!screen.lines()[1].contains("failed"), "{:?}", screen.lines());
        for _ in 0..7 {
            worker.post(("a", "b"), "").unwrap();
        }
        worker.poll().unwrap();
        screen.model.measure(&inspector).unwrap();
        assert!(screen.lines()[1].contains("claims 0  failed 7  events/s"), "{:?}", screen.lines());
        assert_eq!(screen.style(1, "failed 7").0, Color::Red);
        screen.model.sort = Sort::Failed;
        let failed = |line: &str| line.split_whitespace().nth(6).unwrap().to_owned();
        assert_eq!([3, 4].map(|line| failed(&screen.lines()[line])), ["7", "0"], "{:?}", screen.lines());
    }

    #[test]
    fn the_head_says_for_how_long_the_ring_lasts() {
        let bus = fixture::bus("head");
        let (inspector, worker) = (fixture::inspector(&bus), fixture::worker(&bus, "web"));
        let mut screen = Screen::new(120, 9, measured(&inspector));
        assert_eq!(screen.lines()[0], format!("seqcast top {}  next 0  0/s  idle", bus.name()));
        worker.post(("a", "b"), "").unwrap();
        screen.model.measure(&inspector).unwrap();
        let rate = screen.model.rate();
        let holds = crate::units::long_duration(Duration::from_secs_f64(64.0 / rate));
        let figures = format!("  next 1  {}/s  ring holds {holds}", short_rate(rate));
        assert_eq!(screen.lines()[0], format!("seqcast top {}{figures}", bus.name()));
        screen.model.gone = true;
        assert_eq!(screen.lines()[0], format!("seqcast top {}  REMOVED{figures}", bus.name()));
        // Only a name that is too long is cut.
        let just = "seqcast top   REMOVED".len() + figures.len() + 4;
        let mut narrow = Screen::new(just as u16, 9, screen.model);
        assert_eq!(narrow.lines()[0], format!("seqcast top {}  REMOVED{figures}", &bus.name()[..4]));
    }

    #[test]
    fn the_summary_counts_workers_by_state() {
        let bus = fixture::bus("summary");
        let (inspector, worker) = (fixture::inspector(&bus), fixture::worker(&bus, "web"));
        let _claim = worker.claim("key", Duration::from_secs(600)).unwrap();
        let mut screen = Screen::new(80, 9, measured(&inspector));
        let counts = "1 of 32 seats: 1 ok 0 slow 0 stopped 0 dead  claims 1  events/s";
        assert_eq!(screen.lines()[1], counts);
        // States without workers are faint, the others have their colour.
        assert_eq!(screen.style(1, " 1 ok"), (Color::Green, Modifier::empty()));
        assert_eq!(screen.style(1, " 0 dead"), (Color::Reset, Modifier::DIM));
        screen.model.measure(&inspector).unwrap();
        worker.post(("a", "b"), "").unwrap();
        screen.model.measure(&inspector).unwrap();
        assert!(screen.lines()[1] == format!("{counts} ▁█"), "{:?}", screen.lines());
    }

    #[test]
    fn every_column_of_a_worker_is_shown() {
        let bus = fixture::bus("columns");
        let (inspector, worker) = (fixture::inspector(&bus), fixture::worker(&bus, "web"));
        let poster = bus.publisher().unwrap();
        let mut screen = Screen::new(80, 9, measured(&inspector));
        for _ in 0..20 {
            worker.post(("a", "b"), "").unwrap();
        }
        screen.model.measure(&inspector).unwrap();
        let lines = screen.lines();
        let columns = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let heading = "PID LABEL AGE LAG HIGH MISSED FAILED POLL STATE READ/S POST/S";
        assert_eq!(columns(&lines[2]).join(" "), heading);
        let pid = std::process::id().to_string();
        let posts = |screen: &Screen| short_rate(screen.model.rows()[0].post_rate);
        let web = columns(&lines[3]);
        let expected = [&pid, "web", "20", "20", "0", "0", "-", "slow", "0", &posts(&screen)];
        assert_eq!([&web[..2], &web[3..]].concat(), expected);
        // Numbers end below the end of their heading, and text begins below its beginning.
        assert_eq!(lines[2].find("LAG").unwrap() + "LAG".len(), lines[3].find(" 20 ").unwrap() + " 20".len());
        assert_eq!(lines[2].find("STATE"), lines[3].find("slow"));
        // A worker that only posts has no position in the ring.
        let poster_row = columns(&lines[4]);
        assert_eq!(poster_row[2..], ["-", "-", "-", "0", "-", "ok", "-", "0"], "{poster_row:?}");
        assert_eq!(screen.style(4, "ok").0, Color::Green);
        worker.poll().unwrap();
        screen.model.measure(&inspector).unwrap();
        let rate = short_rate(screen.model.rows()[0].rate);
        let web = columns(&screen.lines()[3]);
        assert_eq!(web[3..7], ["0", "20", "0", "0"], "{web:?}");
        assert!(web[7].ends_with('s') && web[9] == rate && web[10] == "0", "{web:?}");
        // A wide terminal shows more.
        let mut wide = Screen::new(160, 9, screen.model);
        let lines = wide.lines();
        let heading =
            "SEAT PID LABEL AGE CURSOR LAG HIGH MISSED FAILED POLL STATE RESERVED CLAIMS READ/S POST/S READ/S HISTORY";
        assert_eq!(columns(&lines[2]).join(" "), heading);
        let web = columns(&lines[3]);
        assert_eq!((&*web[0], &*web[4], &*web[11], &*web[12]), ("0", "20", "-", "0"), "{web:?}");
        assert_eq!(web[15], "▁█", "{web:?}");
        drop(poster);
    }

    #[test]
    fn the_column_that_is_sorted_by_stands_out() {
        let bus = fixture::bus("sorted");
        let mut screen = Screen::new(160, 9, measured(&fixture::inspector(&bus)));
        let (plain, reversed) = (Modifier::BOLD, Modifier::BOLD | Modifier::REVERSED);
        assert_eq!((screen.style(2, "SEAT").1, screen.style(2, "READ/S").1), (reversed, plain));
        screen.model.sort = Sort::Rate;
        assert_eq!((screen.style(2, "SEAT").1, screen.style(2, "READ/S").1), (plain, reversed));
        // These belong to the same column and are not sorted by.
        assert_eq!((screen.style(2, "READ/S HISTORY").1, screen.style(2, "CURSOR").1), (plain, plain));
        assert_eq!(screen.style(8, "q quit").1, Modifier::DIM);
        assert_eq!(screen.style(0, "/seqcast").1, Modifier::BOLD);
    }

    #[test]
    fn states_have_the_tone_of_their_trouble() {
        let tones = State::ALL.map(tone_of);
        assert_eq!(tones, [Tone::Good, Tone::Warning, Tone::Bad, Tone::Bad, Tone::Bad]);
    }

    #[test]
    fn a_worker_is_told_to_programs_in_full() {
        let bus = fixture::bus("json");
        let (inspector, worker) = (fixture::inspector(&bus), fixture::worker(&bus, "web"));
        worker.post(("a", "b"), "").unwrap();
        let mut model = measured(&inspector);
        model.measure(&inspector).unwrap();
        let json = to_json(&model);
        assert_eq!((&json["name"], &json["next_id"], &json["capacity"]), (&json!(bus.name()), &json!(1), &json!(64)));
        let row = &json["workers"][0];
        assert_eq!((&row["seat"], &row["label"], &row["state"]), (&json!(0), &json!("web"), &json!("ok")));
        assert_eq!((&row["posted"], &row["lag"], &row["lag_high"]), (&json!(1), &json!(1), &json!(1)));
        assert_eq!(row["posted_per_second"], model.rows()[0].post_rate);
        assert_eq!((&row["last_poll_seconds"], &row["reserved"]), (&Value::Null, &Value::Null));
    }
}
