//! Inspection of a segment, without a seat.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use seqcast::inspect::{Seen, SeenEvent};

use crate::argument::{Names, duration};
use crate::bus::stats_dict;
use crate::claim;
use crate::delivery::Retained;
use crate::error::OrRaise;
use crate::options::start;

/// Returns the names of all segments that this user may read.
#[pyfunction]
pub(crate) fn names(py: Python<'_>) -> PyResult<Vec<String>> {
    py.detach(seqcast::inspect::names).or_raise(py)
}

/// A segment, mapped for reading only.
#[pyclass(frozen, module = "seqcast._seqcast")]
pub(crate) struct Inspector(seqcast::inspect::Inspector);

#[pymethods]
impl Inspector {
    #[new]
    fn new(py: Python<'_>, name: &str) -> PyResult<Inspector> {
        py.detach(|| seqcast::inspect::Inspector::open(name)).or_raise(py).map(Inspector)
    }

    #[getter]
    fn name(&self) -> &str {
        self.0.name()
    }

    #[getter]
    fn id(&self) -> String {
        self.0.id().to_string()
    }

    #[getter]
    fn next_id(&self) -> u64 {
        self.0.next_id()
    }

    fn is_current(&self, py: Python<'_>) -> PyResult<bool> {
        self.0.is_current().or_raise(py)
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        stats_dict(py, &py.detach(|| self.0.stats()).or_raise(py)?)
    }

    fn retained(&self, py: Python<'_>) -> PyResult<Vec<Py<Retained>>> {
        let found = py.detach(|| self.0.retained()).or_raise(py)?;
        let mut names = Names::default();
        found.iter().map(|found| Retained::object(py, found, &mut names)).collect()
    }

    /// Returns the arguments of a `HeldClaim` for each key that is held or was decided last.
    fn claims<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let found = py.detach(|| self.0.claims()).or_raise(py)?;
        found.iter().map(|entry| claim::entry_dict(py, entry)).collect()
    }

    #[pyo3(signature = (start_at, payloads, patience))]
    fn tail(
        &self,
        py: Python<'_>,
        start_at: &Bound<'_, PyAny>,
        payloads: bool,
        patience: Option<f64>,
    ) -> PyResult<Tail> {
        let patience: Option<Duration> = patience.map(|seconds| duration(seconds, "patience")).transpose()?;
        let mut tail = self.0.tail(start(start_at)?).or_raise(py)?.payloads(payloads);
        if let Some(patience) = patience {
            tail = tail.patience(patience);
        }
        Ok(Tail(Mutex::new(tail)))
    }
}

/// A reader of all events that takes no seat.
#[pyclass(frozen, module = "seqcast._seqcast")]
pub(crate) struct Tail(Mutex<seqcast::inspect::Tail>);

impl Tail {
    fn lock(&self) -> PyResult<MutexGuard<'_, seqcast::inspect::Tail>> {
        self.0.try_lock().map_err(|_| PyRuntimeError::new_err("another thread uses this tail"))
    }
}

#[pymethods]
impl Tail {
    /// Returns the next item as a dict with a `kind`, or `None` if there is nothing new.
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let seen = self.lock()?.try_next().or_raise(py)?;
        seen.map(|seen| seen_dict(py, &seen)).transpose()
    }
}

fn seen_dict<'py>(py: Python<'py>, seen: &Seen) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    let (kind, id) = match seen {
        Seen::Event(event) => {
            set_event(&dict, event)?;
            ("event", event.id)
        }
        Seen::Gap { from, missed, .. } => {
            dict.set_item("missed", missed)?;
            ("gap", *from)
        }
        Seen::Missed(missed) => {
            dict.set_item("missed", missed.count)?;
            dict.set_item("reason", missed.reason.name())?;
            dict.set_item("origin", missed.origin.map(|origin| origin.to_string()))?;
            ("missed", missed.first_id)
        }
        Seen::Void { id, .. } => ("void", *id),
        Seen::PassedOver { id, .. } => ("passed_over", *id),
        Seen::Headless { id, .. } => ("headless", *id),
        Seen::Unreadable { id, .. } => ("unreadable", *id),
        _ => ("other", 0),
    };
    dict.set_item("kind", kind)?;
    dict.set_item("id", id)?;
    Ok(dict)
}

fn set_event(dict: &Bound<'_, PyDict>, event: &SeenEvent) -> PyResult<()> {
    dict.set_item("source", &event.source)?;
    dict.set_item("event", &event.event)?;
    dict.set_item("len", event.len)?;
    dict.set_item("pid", event.pid)?;
    dict.set_item("seat", event.seat)?;
    dict.set_item("is_unique", event.unique.is_some())?;
    let key = event.retained.as_ref().map(|retained| PyBytes::new(dict.py(), &retained.key));
    dict.set_item("retained_key", key)?;
    let kept = event.retained.as_ref().and_then(|retained| retained.ttl);
    let ttl = event.unique.as_ref().map(|unique| unique.ttl).or(kept);
    dict.set_item("ttl", ttl.map(|ttl| ttl.as_secs_f64()))?;
    dict.set_item("is_large", event.large)?;
    dict.set_item("is_request", event.request)?;
    dict.set_item("origin", event.relayed.map(|relayed| relayed.origin.to_string()))?;
    dict.set_item("origin_id", event.relayed.map(|relayed| relayed.id))?;
    dict.set_item("cluster_id", event.relayed.map(|relayed| (relayed.place.timeline, relayed.place.n)))?;
    dict.set_item("is_cleared", event.retained.as_ref().is_some_and(|retained| retained.clears))?;
    let payload = event.payload.as_ref().map(|payload| PyBytes::new(dict.py(), payload));
    dict.set_item("data", payload)
}
