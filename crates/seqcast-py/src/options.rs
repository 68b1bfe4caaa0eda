//! Options, checked for their types when they are given and for their values when they are used.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use seqcast::{BellOptions, SegmentOptions, Start, WorkerOptions};

use crate::argument::duration;
use crate::error::OrRaise;

/// Options of a bus. `None` stands for the default.
#[pyclass(frozen, module = "seqcast._seqcast")]
pub(crate) struct BusOptions(pub(crate) SegmentOptions);

#[pymethods]
impl BusOptions {
    #[new]
    #[pyo3(signature = (
        *, capacity=None, block_size=None, claims=None, retained=None, retained_size=None, large=None, seats=None,
        most_patience=None, relay_hosts=None, mode=None, owner=None, strict=false, dump=false, creation_timeout=None
    ))]
    #[allow(clippy::too_many_arguments, reason = "Python names them")]
    fn new(
        capacity: Option<u64>,
        block_size: Option<u64>,
        claims: Option<u64>,
        retained: Option<u64>,
        retained_size: Option<u64>,
        large: Option<(u64, u64)>,
        seats: Option<u64>,
        most_patience: Option<f64>,
        relay_hosts: Option<u64>,
        mode: Option<u32>,
        owner: Option<(u32, u32)>,
        strict: bool,
        dump: bool,
        creation_timeout: Option<f64>,
    ) -> PyResult<BusOptions> {
        let creation_timeout = creation_timeout.map(|seconds| duration(seconds, "creation_timeout")).transpose()?;
        let most_patience = most_patience.map(|seconds| duration(seconds, "most_patience")).transpose()?;
        let mut options = SegmentOptions::new().strict(strict).dump(dump);
        options = set(options, capacity, SegmentOptions::capacity);
        options = set(options, block_size, SegmentOptions::block_size);
        options = set(options, claims, SegmentOptions::claims);
        options = set(options, retained, SegmentOptions::retained);
        options = set(options, retained_size, SegmentOptions::retained_size);
        options = set(options, large, |options, (blocks, bytes)| options.large(blocks, bytes));
        options = set(options, seats, SegmentOptions::seats);
        options = set(options, most_patience, SegmentOptions::most_patience);
        options = set(options, relay_hosts, SegmentOptions::relay_hosts);
        options = set(options, mode, SegmentOptions::mode);
        options = set(options, owner, |options, (uid, gid)| options.owner(uid, gid));
        options = set(options, creation_timeout, SegmentOptions::creation_timeout);
        Ok(BusOptions(options))
    }
}

/// Options of a seat. `None` stands for the default.
#[pyclass(frozen, module = "seqcast._seqcast")]
pub(crate) struct SeatOptions {
    pub(crate) worker: WorkerOptions,
    pub(crate) bell: BellOptions,
}

#[pymethods]
impl SeatOptions {
    #[new]
    #[pyo3(signature = (
        *, label="", announce=true, resync=false, must_read=None, wait_interval=None, wait_max=None, timeout=None,
        bell_interval=None
    ))]
    #[allow(clippy::too_many_arguments, reason = "Python names them")]
    fn new(
        label: &str,
        announce: bool,
        resync: bool,
        must_read: Option<f64>,
        wait_interval: Option<f64>,
        wait_max: Option<f64>,
        timeout: Option<f64>,
        bell_interval: Option<f64>,
    ) -> PyResult<SeatOptions> {
        let time = |value: Option<f64>, name| value.map(|seconds| duration(seconds, name)).transpose();
        let mut worker = WorkerOptions::new().label(label).announce(announce).resync(resync);
        worker = set(worker, time(must_read, "must_read")?, WorkerOptions::must_read);
        worker = set(worker, time(wait_interval, "wait_interval")?, WorkerOptions::wait_interval);
        worker = set(worker, time(wait_max, "wait_max")?, WorkerOptions::wait_max);
        worker = set(worker, time(timeout, "timeout")?, WorkerOptions::timeout);
        let bell = set(BellOptions::new(), time(bell_interval, "bell_interval")?, BellOptions::interval);
        Ok(SeatOptions { worker, bell })
    }
}

fn set<O, V>(options: O, value: Option<V>, with: impl FnOnce(O, V) -> O) -> O {
    match value {
        Some(value) => with(options, value),
        None => options,
    }
}

/// Returns where reading begins: `"now"`, `"oldest"`, `"retained"`, `("at", id)`, `("after", id)` or
/// `("resume", position)`.
pub(crate) fn start(value: &Bound<'_, PyAny>) -> PyResult<Start> {
    if let Ok(word) = value.extract::<String>() {
        match word.as_str() {
            "now" => return Ok(Start::Now),
            "oldest" => return Ok(Start::Oldest),
            "retained" => return Ok(Start::Retained),
            _ => return Err(no_start(value)),
        }
    }
    let Ok((word, place)) = value.extract::<(String, Bound<'_, PyAny>)>() else { return Err(no_start(value)) };
    match word.as_str() {
        "at" => Ok(Start::At(place.extract()?)),
        "after" => Ok(Start::After(place.extract()?)),
        "resume" => Ok(Start::Resume(place.extract::<String>()?.parse().or_raise(value.py())?)),
        _ => Err(no_start(value)),
    }
}

fn no_start(value: &Bound<'_, PyAny>) -> PyErr {
    let shown = value.repr().map_or_else(|_| "it".to_owned(), |repr| repr.to_string());
    let rule = r#"it must be "now", "oldest", "retained", ("at", id), ("after", id) or ("resume", position)"#;
    PyValueError::new_err(format!("start is {shown}: {rule}"))
}
