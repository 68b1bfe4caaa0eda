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
use crate::output::{Align, Output, Table, Tone, plain, printable};
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
        let until = next_look.min(Instant::now() + ATTENTION);
        if event::poll(until.saturating_duration_since(Instant::now())).map_err(Failure::io("reading keys"))?
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
            plain(printable(&row.worker.label)),
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
    })
}
