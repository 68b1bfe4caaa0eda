//! Runs handlers.
//!
//! If an exception ends a poll, other handlers of the current event have not run yet. The poll writes them into the
//! Python list `progress`: `[event, handlers, index of the next]`. The next poll begins there.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::PyException;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use crate::delivery::{Event, Found, Notice};
use crate::seat::Seat;

/// The treatment of a handler's result.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Results {
    Ignored,
    /// A poll ends with the first awaitable, for the caller to await it.
    Awaited,
}

/// An awaitable, and the handler that returned it.
pub(crate) type Awaited = (Py<PyAny>, Py<PyAny>);

/// The result of a poll.
#[derive(Default)]
pub(crate) struct Polled {
    pub(crate) count: u64,
    pub(crate) awaitable: Option<Awaited>,
}

/// Excludes other polls of the seat.
struct Polling<'a>(&'a AtomicBool);

impl<'a> Polling<'a> {
    fn begin(flag: &'a AtomicBool) -> Option<Polling<'a>> {
        // Acquire and release, like a lock that is only tried.
        flag.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok().then(|| Polling(flag))
    }
}

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Runs the handlers of all new events. Returns at once if another poll of the seat is running.
#[inline]
pub(crate) fn poll(
    seat: &Seat,
    handlers: &Bound<'_, PyAny>,
    local: &Bound<'_, PyAny>,
    limit: Option<u64>,
    results: Results,
) -> PyResult<Polled> {
    let py = handlers.py();
    let Some(_polling) = Polling::begin(&seat.polled) else { return Ok(Polled::default()) };
    let mut polled = Polled::default();
    let limit = limit.unwrap_or(u64::MAX);
    // Relaxed: only polls change it, and they exclude each other.
    if seat.is_unfinished.load(Ordering::Relaxed) {
        polled.awaitable = Run::take_up(seat, handlers, results)?.on()?;
    }
    let mut table = None;
    while polled.count < limit && polled.awaitable.is_none() {
        // Of an event that no handler has asked for, the caller learns nothing.
        let mut is_optional = false;
        let event = if local.is_empty()? {
            match seat.step(py)? {
                Found::Event(event) => Bound::new(py, event)?,
                Found::Notice(notice) => match notice.topic() {
                    Some(topic) => {
                        is_optional = true;
                        Bound::new(py, Event::of_library(py, topic))?
                    }
                    None => {
                        give_notice(handlers, notice)?;
                        continue;
                    }
                },
                Found::Reserved | Found::Nothing => break,
            }
        } else {
            local.call_method0(intern!(py, "popleft"))?.cast_into::<Event>()?
        };
        if table.is_none() {
            table = Some(handlers.getattr(intern!(py, "table"))?.cast_into::<PyDict>()?);
        }
        let Some(table) = &table else { break };
        let found = if event.get().clears() {
            is_optional = true;
            find_cleared(handlers, &event)?
        } else {
            find(handlers, table, &event)?
        };
        polled.count += u64::from(!is_optional || !found.is_empty());
        if !found.is_empty() {
            polled.awaitable = {
                let version = if found.len() > 1 { Some(version(handlers)?) } else { None };
                Run { seat, handlers, event, found, index: 0, results, version }.on()?
            };
        }
    }
    Ok(polled)
}

/// Returns the handlers of an event. The table is a dict by source of dicts by the event's name.
#[inline]
fn find<'py>(
    handlers: &Bound<'py, PyAny>,
    table: &Bound<'py, PyDict>,
    event: &Bound<'py, Event>,
) -> PyResult<Bound<'py, PyTuple>> {
    let py = table.py();
    let (source, name) = event.get().names(py);
    if let Some(of_source) = table.get_item(source)?
        && let Some(found) = of_source.cast::<PyDict>()?.get_item(name)?
    {
        return Ok(found.cast_into()?);
    }
    Ok(handlers.call_method1(intern!(py, "find"), (source, name))?.cast_into()?)
}

/// Returns the handlers of the clear of a retained event.
#[cold]
fn find_cleared<'py>(handlers: &Bound<'py, PyAny>, event: &Bound<'py, Event>) -> PyResult<Bound<'py, PyTuple>> {
    let py = event.py();
    Ok(handlers.call_method1(intern!(py, "find_cleared"), event.get().names(py))?.cast_into()?)
}

/// The handlers of one event.
struct Run<'a, 'py> {
    seat: &'a Seat,
    handlers: &'a Bound<'py, PyAny>,
    event: Bound<'py, Event>,
    found: Bound<'py, PyTuple>,
    index: usize,
    results: Results,
    /// The generation of the handlers when they were found; `None` if that was in an earlier poll.
    version: Option<u64>,
}

impl<'a, 'py> Run<'a, 'py> {
    /// Continues with the handlers that the last poll has left.
    #[cold]
    fn take_up(seat: &'a Seat, handlers: &'a Bound<'py, PyAny>, results: Results) -> PyResult<Run<'a, 'py>> {
        let progress = progress(handlers)?;
        let event = progress.get_item(0)?.cast_into()?;
        let found = progress.get_item(1)?.cast_into()?;
        let index = progress.get_item(2)?.extract()?;
        progress.del_slice(0, progress.len())?;
        seat.is_unfinished.store(false, Ordering::Relaxed);
        Ok(Run { seat, handlers, event, found, index, results, version: None })
    }

    /// Runs the remaining handlers. Returns an awaitable that must end before the others run.
    #[inline]
    fn on(mut self) -> PyResult<Option<Awaited>> {
        let py = self.event.py();
        while self.index < self.found.len() {
            let handler = self.found.get_item(self.index)?;
            self.index += 1;
            if !self.lives(&handler)? {
                continue;
            }
            match handler.call1((&self.event,)) {
                Ok(result) if self.results == Results::Ignored || result.is_none() => {}
                Ok(result) if result.hasattr(intern!(py, "__await__"))? => {
                    self.put_down()?;
                    return Ok(Some((result.unbind(), handler.unbind())));
                }
                Ok(_) => {}
                Err(error) if error.is_instance_of::<PyException>(py) => {
                    error.write_unraisable(py, Some(&handler));
                }
                // KeyboardInterrupt, SystemExit and similar exceptions end the poll here.
                Err(error) => {
                    self.put_down()?;
                    return Err(error);
                }
            }
            // The handler may have forked and returned in the child, where the others must not run.
            self.seat.check_fork(py)?;
        }
        // Also without Python handlers, which would check for signals themselves.
        py.check_signals()?;
        Ok(None)
    }

    /// Returns `false` if a handler before it has unregistered this one.
    fn lives(&self, handler: &Bound<'py, PyAny>) -> PyResult<bool> {
        if self.version.is_some() && (self.index == 1 || self.version == Some(version(self.handlers)?)) {
            return Ok(true);
        }
        if self.found.len() == 1 {
            return Ok(true);
        }
        self.handlers.call_method1(intern!(handler.py(), "lives"), (handler,))?.is_truthy()
    }

    /// Leaves the remaining handlers to the next poll.
    #[cold]
    fn put_down(&self) -> PyResult<()> {
        if self.index == self.found.len() {
            return Ok(());
        }
        let progress = progress(self.handlers)?;
        progress.append(&self.event)?;
        progress.append(&self.found)?;
        progress.append(self.index)?;
        self.seat.is_unfinished.store(true, Ordering::Relaxed);
        Ok(())
    }
}

fn version(handlers: &Bound<'_, PyAny>) -> PyResult<u64> {
    handlers.getattr(intern!(handlers.py(), "version"))?.extract()
}

fn progress<'py>(handlers: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
    Ok(handlers.getattr(intern!(handlers.py(), "progress"))?.cast_into()?)
}

#[cold]
fn give_notice(handlers: &Bound<'_, PyAny>, notice: Notice) -> PyResult<()> {
    let py = handlers.py();
    handlers.call_method1(intern!(py, "notice"), (notice.object(py)?,)).map(drop)
}
