//! A process's handle on a segment.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use seqcast::{Cause, Error, ErrorKind, SegmentOptions, Stats};

use crate::argument::{bytes, duration};
use crate::error::OrRaise;
use crate::options::{BusOptions, SeatOptions, start};
use crate::seat::{Role, Seat};

/// The longest time between two checks for signals.
const STEP: Duration = Duration::from_millis(100);

/// A handle on a segment. A forked child may also use it.
#[pyclass(frozen, module = "seqcast._seqcast")]
pub(crate) struct Bus(Mutex<Option<seqcast::Bus>>);

/// Opens a bus: `how` is "open", "create", "open_or_create" or "anonymous".
#[pyfunction]
#[pyo3(signature = (how, name, options))]
pub(crate) fn open(py: Python<'_>, how: &str, name: &str, options: &BusOptions) -> PyResult<Bus> {
    let open: fn(&SegmentOptions, &str) -> seqcast::Result<seqcast::Bus> = match how {
        "open" => SegmentOptions::open,
        "create" => SegmentOptions::create,
        "open_or_create" => SegmentOptions::open_or_create,
        "anonymous" => |options, _| options.anonymous(),
        _ => return Err(PyValueError::new_err(format!("a bus cannot be opened by {how:?}"))),
    };
    let timeout = options.0.get_creation_timeout();
    let deadline = Instant::now().checked_add(timeout);
    let mut left = timeout;
    loop {
        let step = options.0.clone().creation_timeout(left.min(STEP));
        let opened = py.detach(|| open(&step, name));
        left = deadline.map_or(timeout, |deadline| deadline.saturating_duration_since(Instant::now()));
        match opened {
            // If a signal's handler raises, the wait for another process's creation ends.
            Err(error) if is_transient(&error) && !left.is_zero() => py.check_signals()?,
            Err(error) if error.kind() == ErrorKind::Busy => {
                let waited = timeout.saturating_sub(left);
                return Err(Error::from(Cause::Busy { name: name.to_owned(), waited })).or_raise(py);
            }
            opened => return opened.or_raise(py).map(|bus| Bus(Mutex::new(Some(bus)))),
        }
    }
}

fn is_transient(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Busy | ErrorKind::Interrupted)
}

/// Removes the name of a segment.
#[pyfunction]
pub(crate) fn unlink(py: Python<'_>, name: &str) -> PyResult<()> {
    seqcast::unlink(name).or_raise(py)
}

/// Removes a segment that no process has open for writing. Returns `False` if one has.
#[pyfunction]
pub(crate) fn unlink_unheld(py: Python<'_>, name: &str) -> PyResult<bool> {
    py.detach(|| seqcast::inspect::unlink_unheld(name)).or_raise(py)
}

impl Bus {
    /// Calls `run` with the bus. `run` must not wait.
    fn with<T>(&self, py: Python<'_>, run: impl FnOnce(&seqcast::Bus) -> seqcast::Result<T>) -> PyResult<T> {
        let bus = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*bus {
            Some(bus) => run(bus).or_raise(py),
            None => Err(Error::from(Cause::Left)).or_raise(py),
        }
    }

    /// Calls `run` with a clone of the bus. Other threads run meanwhile.
    fn detached<T: Send>(
        &self,
        py: Python<'_>,
        run: impl FnOnce(seqcast::Bus) -> seqcast::Result<T> + Send,
    ) -> PyResult<T> {
        let bus = self.with(py, |bus| Ok(bus.clone()))?;
        py.detach(|| run(bus)).or_raise(py)
    }
}

#[pymethods]
impl Bus {
    /// Takes a seat that reads and posts.
    fn subscribe(&self, py: Python<'_>, options: &SeatOptions, start_at: &Bound<'_, PyAny>) -> PyResult<Seat> {
        let worker = options.worker.clone().start(start(start_at)?);
        let subscriber = self.detached(py, |bus| bus.subscribe_with(&worker))?;
        Ok(Seat::new(Role::Subscriber(Box::new(subscriber)), options.bell.clone()))
    }

    /// Takes a seat that only posts and claims.
    fn publisher(&self, py: Python<'_>, options: &SeatOptions) -> PyResult<Seat> {
        let publisher = self.detached(py, |bus| bus.publisher_with(&options.worker))?;
        Ok(Seat::new(Role::Publisher(Box::new(publisher)), options.bell.clone()))
    }

    #[getter]
    fn name(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, |bus| Ok(bus.name().to_owned()))
    }

    #[getter]
    fn id(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, |bus| Ok(bus.id().to_string()))
    }

    #[getter]
    fn origin(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, |bus| Ok(bus.origin().to_string()))
    }

    #[getter]
    fn next_id(&self, py: Python<'_>) -> PyResult<u64> {
        self.with(py, |bus| Ok(bus.next_id()))
    }

    #[getter]
    fn capacity(&self, py: Python<'_>) -> PyResult<u64> {
        self.with(py, |bus| Ok(bus.capacity()))
    }

    #[getter]
    fn largest_event(&self, py: Python<'_>) -> PyResult<usize> {
        self.with(py, |bus| Ok(bus.largest_event()))
    }

    #[getter]
    fn was_created(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, |bus| Ok(bus.was_created()))
    }

    #[getter]
    fn differences(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.with(py, |bus| Ok(bus.differences().iter().map(ToString::to_string).collect()))
    }

    fn key_hash(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<String> {
        let key = bytes(key, "key")?;
        self.with(py, |bus| Ok(bus.key_hash(&key)?.to_string()))
    }

    fn is_current(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, |bus| bus.is_current())
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        stats_dict(py, &self.detached(py, |bus| bus.stats())?)
    }

    fn unlink(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |bus| bus.unlink())
    }

    /// Closes the handle. With `unlink`, removes the name if no handle of any process is left, and returns `True` if it
    /// has removed the name.
    #[pyo3(signature = (unlink=false))]
    fn close(&self, py: Python<'_>, unlink: bool) -> PyResult<bool> {
        let bus = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        match bus {
            Some(bus) if unlink => py.detach(|| bus.unlink_if_last()).or_raise(py),
            _ => Ok(false),
        }
    }
}

/// Returns the figures of a bus and of its seats, by name.
pub(crate) fn stats_dict<'py>(py: Python<'py>, stats: &Stats) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("name", &stats.name)?;
    for (name, value) in stats.figures() {
        dict.set_item(name, value)?;
    }
    let workers = PyList::empty(py);
    for worker in &stats.workers {
        let figures = PyDict::new(py);
        figures.set_item("label", &worker.label)?;
        for (name, value) in worker.figures() {
            figures.set_item(name, value)?;
        }
        for (name, value) in [("alive", worker.alive), ("unlocked", worker.unlocked)] {
            figures.set_item(name, value)?;
        }
        workers.append(figures)?;
    }
    dict.set_item("workers", workers)?;
    Ok(dict)
}

/// Returns a time limit. `None` means no limit.
pub(crate) fn limit(timeout: Option<f64>) -> PyResult<Option<Duration>> {
    timeout.map(|seconds| duration(seconds, "timeout")).transpose()
}
