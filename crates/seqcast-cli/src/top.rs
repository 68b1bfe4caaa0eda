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
use self::screen::View;
use self::terminal::Terminal;
pub use self::terminal::restore_terminal_in_signal;
use crate::args::TopArgs;
use crate::exit::{Exit, Failure};
use crate::output::{Align, Output, Table, Tone, plain};
use crate::processes::State;
use crate::units::{short_duration, short_rate};

/// The longest time for which keys, signals and new sizes of the terminal go unnoticed.
const ATTENTION: Duration = Duration::from_millis(100);

pub fn run(args: &TopArgs, output: &mut Output) -> Result<Exit, Failure> {
    let inspector = Inspector::open_any(&args.name)?;
    let mut model = Model::new(args.sort);
    if args.once || output.is_json() {
        model.measure(&inspector)?;
        loop {
            std::thread::sleep(args.interval);
            model.measure(&inspector)?;
            match output.is_json() {
                true => output.json(&to_json(&model))?,
                false => print_table(&model, output)?,
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
    watch(args, inspector, model)
}

/// The live screen.
fn watch(args: &TopArgs, mut inspector: Inspector, mut model: Model) -> Result<Exit, Failure> {
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&ended)).map_err(Failure::io("registering a signal handler"))?;
    }
    model.measure(&inspector)?;
    let mut view = View::new();
    // Given back when it is dropped, however this ends.
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
                // Removed; or created anew, and then that one is the one to watch.
                model.gone = true;
                if let Ok(new) = Inspector::open_any(&args.name) {
                    inspector = new;
                    model = Model::new(model.sort);
                }
            }
            model.measure(&inspector)?;
        }
    }
}

/// `false` to end.
fn press(key: KeyEvent, view: &mut View, model: &mut Model) -> bool {
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => return false,
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return false,
        KeyCode::Char('s') | KeyCode::Right => model.sort_by_next(1),
        KeyCode::Char('S') | KeyCode::Left => model.sort_by_next(-1),
        KeyCode::Char('r') => model.reverse(),
        KeyCode::Down | KeyCode::Char('j') => view.scroll(1),
        KeyCode::Up | KeyCode::Char('k') => view.scroll(-1),
        KeyCode::PageDown => view.scroll(10),
        KeyCode::PageUp => view.scroll(-10),
        KeyCode::Home => view.scroll(i32::MIN),
        KeyCode::End => view.scroll(i32::MAX),
        _ => {}
    }
    true
}

pub fn tone_of(state: State) -> Tone {
    match state {
        State::Ok => Tone::Good,
        State::Slow => Tone::Warning,
        State::Stopped | State::Dead => Tone::Bad,
    }
}

fn print_table(model: &Model, output: &mut Output) -> Result<(), Failure> {
    let mut table = Table::new(&[
        ("REC", Align::Right),
        ("PID", Align::Right),
        ("LABEL", Align::Left),
        ("AGE", Align::Right),
        ("CURSOR", Align::Right),
        ("LAG", Align::Right),
        ("HIGH", Align::Right),
        ("MISSED", Align::Right),
        ("POLL", Align::Right),
        ("STATE", Align::Left),
        ("EV/S", Align::Right),
    ]);
    for row in model.rows() {
        let reads = row.worker.cursor.is_some();
        let if_reads = |text: String| plain(if reads { text } else { "-".into() });
        table.row([
            plain(row.worker.record.to_string()),
            plain(row.worker.pid.to_string()),
            plain(&row.worker.label),
            plain(short_duration(row.age())),
            plain(row.worker.cursor.map_or("-".into(), |cursor| cursor.to_string())),
            if_reads(row.worker.lag.to_string()),
            if_reads(row.high_lag.to_string()),
            if_reads(row.worker.missed.to_string()),
            plain(row.worker.last_poll.map_or("-".into(), short_duration)),
            (tone_of(row.state), row.state.name().to_owned()),
            plain(short_rate(row.rate)),
        ]);
    }
    match table.is_empty() {
        true => output.line("no worker"),
        false => output.table(&table),
    }
}

fn to_json(model: &Model) -> Value {
    let workers: Vec<Value> = model.rows().map(row_json).collect();
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
        "record": worker.record,
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

    /// A screen that nobody sees.
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

        /// The style of where `text` begins in a line.
        fn style(&mut self, line: usize, text: &str) -> (Color, Modifier) {
            let at = self.lines()[line].find(text).unwrap_or_else(|| panic!("no {text} in {:?}", self.lines()));
            let cell = &self.terminal.backend().buffer()[(at as u16, line as u16)];
            (cell.fg, cell.modifier)
        }

        /// Presses a key, and returns whether it goes on.
        fn press(&mut self, code: KeyCode) -> bool {
            press(KeyEvent::new(code, KeyModifiers::NONE), &mut self.view, &mut self.model)
        }
    }

    fn measured(inspector: &Inspector) -> Model {
        let mut model = Model::new(Sort::Record);
        model.measure(inspector).unwrap();
        model
    }

    #[test]
    fn keys_scroll_the_workers() {
        let bus = fixture::bus("scroll");
        let workers: Vec<_> = (0..20).map(|i| fixture::worker(&bus, &format!("w{i}"))).collect();
        // Head, summary, heading and foot leave room for five.
        let mut screen = Screen::new(80, 9, measured(&fixture::inspector(&bus)));
        let first = |screen: &mut Screen| -> usize {
            let lines = screen.lines();
            let shown: Vec<usize> = lines[3..8]
                .iter()
                .map(|line| line.split_whitespace().nth(1).unwrap().strip_prefix('w').unwrap().parse().unwrap())
                .collect();
            assert!(shown.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{lines:#?}");
            shown[0]
        };
        assert_eq!(first(&mut screen), 0);
        for (key, at) in [
            (KeyCode::Up, 0),
            (KeyCode::Down, 1),
            (KeyCode::Char('j'), 2),
            (KeyCode::Up, 1),
            (KeyCode::PageDown, 11),
            (KeyCode::Char('k'), 10),
            (KeyCode::PageUp, 0),
            (KeyCode::End, 15),
            (KeyCode::Down, 15),
            (KeyCode::Up, 14),
            (KeyCode::PageDown, 15),
            (KeyCode::PageUp, 5),
            (KeyCode::Home, 0),
            (KeyCode::Char('x'), 0),
        ] {
            assert!(screen.press(key), "{key:?} ended it");
            assert_eq!(first(&mut screen), at, "after {key:?}");
        }
        drop(workers);
    }

    #[test]
    fn keys_sort_and_end() {
        let bus = fixture::bus("keys");
        let mut screen = Screen::new(80, 9, measured(&fixture::inspector(&bus)));
        let foot = |screen: &mut Screen| screen.lines().pop().unwrap();
        for (key, sort) in [
            (KeyCode::Char('s'), "sort: pid   r"),
            (KeyCode::Right, "sort: label   r"),
            (KeyCode::Char('r'), "sort: label reversed   r"),
            (KeyCode::Left, "sort: pid reversed   r"),
            (KeyCode::Char('S'), "sort: record reversed   r"),
            (KeyCode::Char('r'), "sort: record   r"),
            (KeyCode::Char('c'), "sort: record   r"),
        ] {
            assert!(screen.press(key), "{key:?} ended it");
            assert!(foot(&mut screen).contains(sort), "{key:?}: {}", foot(&mut screen));
        }
        assert!(!screen.press(KeyCode::Char('q')) && !screen.press(KeyCode::Esc));
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert!(!press(interrupt, &mut screen.view, &mut screen.model));
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
        // A name that is too long is cut, and nothing else.
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
        let counts = "1 of 32 records: 1 ok 0 slow 0 stopped 0 dead  claims 1";
        assert_eq!(screen.lines()[1], counts);
        // States that nobody is in are faint, the others have their colour.
        assert_eq!(screen.style(1, " 1 ok"), (Color::Green, Modifier::empty()));
        assert_eq!(screen.style(1, " 0 dead"), (Color::Reset, Modifier::DIM));
        screen.model.measure(&inspector).unwrap();
        worker.post(("a", "b"), "").unwrap();
        screen.model.measure(&inspector).unwrap();
        assert!(
            ["▁█", "_#"].iter().any(|bars| screen.lines()[1] == format!("{counts}  {bars}")),
            "{:?}",
            screen.lines()
        );
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
        let heading = "PID LABEL AGE CURSOR LAG HIGH MISSED POLL STATE EV/S HISTORY";
        assert_eq!(columns(&lines[2]).join(" "), heading);
        let pid = std::process::id().to_string();
        let web = columns(&lines[3]);
        assert_eq!([&web[..2], &web[3..10]].concat(), [&pid, "web", "0", "20", "20", "0", "-", "slow", "0"]);
        assert!(web[10] == "▁" || web[10] == "_", "{web:?}");
        // Figures stand below the end of their heading, and text below its beginning.
        assert_eq!(lines[2].find("LAG").unwrap() + "LAG".len(), lines[3].find(" 20 ").unwrap() + " 20".len());
        assert_eq!(lines[2].find("STATE"), lines[3].find("slow"));
        // Who only posts has no place in the ring.
        let posts = columns(&lines[4]);
        assert_eq!(posts[2..8], ["-", "-", "-", "-", "-", "ok"], "{posts:?}");
        assert_eq!(screen.style(3, "slow"), (Color::Yellow, Modifier::empty()));
        assert_eq!(screen.style(3, "web"), (Color::Reset, Modifier::empty()));
        worker.poll().unwrap();
        screen.model.measure(&inspector).unwrap();
        let rate = short_rate(screen.model.rows().next().unwrap().rate);
        let web = columns(&screen.lines()[3]);
        assert_eq!(web[3..7], ["20", "0", "20", "0"], "{web:?}");
        assert!(web[7].ends_with('s') && web[9] == rate, "{web:?}");
        drop(poster);
    }

    #[test]
    fn the_column_that_is_sorted_by_stands_out() {
        let bus = fixture::bus("sorted");
        let mut screen = Screen::new(80, 9, measured(&fixture::inspector(&bus)));
        let (plain, reversed) = (Modifier::BOLD, Modifier::BOLD | Modifier::REVERSED);
        assert_eq!((screen.style(2, "CURSOR").1, screen.style(2, "EV/S").1), (reversed, plain));
        screen.press(KeyCode::Left);
        assert_eq!((screen.style(2, "CURSOR").1, screen.style(2, "EV/S").1), (plain, reversed));
        // The history is of the same column and is not sorted by.
        assert_eq!(screen.style(2, "HISTORY").1, plain);
        assert_eq!(screen.style(8, "q quit").1, Modifier::DIM);
        assert_eq!(screen.style(0, "/seqcast").1, Modifier::BOLD);
    }

    #[test]
    fn states_have_the_tone_of_their_trouble() {
        let tones = [State::Ok, State::Slow, State::Stopped, State::Dead].map(tone_of);
        assert_eq!(tones, [Tone::Good, Tone::Warning, Tone::Bad, Tone::Bad]);
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
        assert_eq!((&row["record"], &row["label"], &row["state"]), (&json!(0), &json!("web"), &json!("ok")));
        assert_eq!((&row["posted"], &row["lag"], &row["lag_high"]), (&json!(1), &json!(1), &json!(1)));
        assert_eq!((&row["last_poll_seconds"], &row["reserved"]), (&Value::Null, &Value::Null));
    }
}
