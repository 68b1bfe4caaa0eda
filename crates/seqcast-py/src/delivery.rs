//! Deliveries to a seat.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyString};
use seqcast::{Claim, Delivery, Undecided};

use crate::argument::Names;

/// An event: its source, name and payload, the process that posted it, and its position in the order of all events.
#[pyclass(frozen, subclass, weakref, module = "seqcast")]
pub(crate) struct Event {
    source: Py<PyString>,
    event: Py<PyString>,
    data: Py<PyBytes>,
    id: Option<u64>,
    pid: u32,
    seat: u32,
    type_tag: u64,
    own: bool,
    claim: Option<Claim>,
}

/// The functions of the package that decode payloads.
static DECODE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static JSON: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static TEXT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

fn codec_item<'py>(py: Python<'py>, place: &PyOnceLock<Py<PyAny>>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    let item = place.get_or_try_init(py, || PyResult::Ok(py.import("seqcast._codec")?.getattr(name)?.unbind()))?;
    Ok(item.bind(py).clone())
}

#[pymethods]
impl Event {
    /// Creates an event that is not posted, for values of this process.
    #[new]
    #[pyo3(signature = (source, event, data=None))]
    fn new(py: Python<'_>, source: Py<PyString>, event: Py<PyString>, data: Option<Py<PyBytes>>) -> Event {
        let data = data.unwrap_or_else(|| PyBytes::new(py, b"").unbind());
        let (pid, own) = (std::process::id(), true);
        Event { source, event, data, id: None, pid, seat: 0, type_tag: 0, own, claim: None }
    }

    /// The source: what the event is about.
    #[getter]
    fn source(&self, py: Python<'_>) -> Py<PyString> {
        self.source.clone_ref(py)
    }

    /// The name: what happened.
    #[getter]
    fn event(&self, py: Python<'_>) -> Py<PyString> {
        self.event.clone_ref(py)
    }

    /// Source and event.
    #[getter]
    fn topic(&self, py: Python<'_>) -> (Py<PyString>, Py<PyString>) {
        (self.source.clone_ref(py), self.event.clone_ref(py))
    }

    /// The payload as bytes.
    #[getter]
    fn data(&self, py: Python<'_>) -> Py<PyBytes> {
        self.data.clone_ref(py)
    }

    /// The event's position in the order that all processes share; `None` for a local event.
    #[getter]
    fn id(&self) -> Option<u64> {
        self.id
    }

    /// The process id of the sender, in its own pid namespace.
    #[getter]
    fn pid(&self) -> u32 {
        self.pid
    }

    /// The number of the sender's seat.
    #[getter]
    fn seat(&self) -> u32 {
        self.seat
    }

    /// The type of the payload, as set by the sender; 0 for bytes.
    #[getter]
    fn type_tag(&self) -> u64 {
        self.type_tag
    }

    /// `True` if this process posted the event.
    #[getter]
    fn is_own(&self) -> bool {
        self.own
    }

    /// `True` if the event was posted by `post_local`.
    #[getter]
    fn is_local(&self) -> bool {
        self.id.is_none()
    }

    /// The claim of a unique event, which only this process runs: for `Worker.release`.
    #[getter]
    fn claim<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.claim.map(|claim| PyBytes::new(py, &claim.to_bytes()))
    }

    /// Returns the payload as text. Raises `DecodeError` if it is not UTF-8.
    fn text<'py>(slf: &Bound<'py, Event>) -> PyResult<Bound<'py, PyAny>> {
        Self::decode(slf, &codec_item(slf.py(), &TEXT, "TEXT")?)
    }

    /// Returns the value of a JSON payload. Raises `DecodeError` if it is not JSON.
    fn json<'py>(slf: &Bound<'py, Event>) -> PyResult<Bound<'py, PyAny>> {
        Self::decode(slf, &codec_item(slf.py(), &JSON, "JSON")?)
    }

    /// Returns the value that `codec` decodes from the payload. Raises `DecodeError` if it cannot.
    fn decode<'py>(slf: &Bound<'py, Event>, codec: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        codec_item(slf.py(), &DECODE, "decode")?.call1((codec, slf))
    }

    // Without the payload.
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let (source, event) = (self.source.bind(py).repr()?, self.event.bind(py).repr()?);
        let len = self.data.bind(py).as_bytes().len();
        Ok(match self.id {
            Some(id) => format!("<Event {id} {source} {event} of {len} bytes by process {}>", self.pid),
            None => format!("<local Event {source} {event}>"),
        })
    }
}

/// The result of a step of reading.
pub(crate) enum Found {
    Event(Event),
    Notice(Notice),
    /// The next id is reserved, and its payload is not there yet.
    Reserved,
    Nothing,
}

/// A notice, which is delivered in the place of events.
pub(crate) enum Notice {
    Lagged { first: u64, missed: u64 },
    Undecided { id: u64, reason: &'static str },
    Unreadable { id: u64 },
}

/// The classes of notices.
static NOTICES: PyOnceLock<Py<PyModule>> = PyOnceLock::new();

impl Notice {
    /// Returns the notice as an object of the package.
    #[cold]
    pub(crate) fn object(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        let classes = NOTICES.get_or_try_init(py, || PyResult::Ok(py.import("seqcast._events")?.unbind()))?.bind(py);
        match self {
            Notice::Lagged { first, missed } => classes.getattr("Lagged")?.call1((first, missed)),
            Notice::Undecided { id, reason } => classes.getattr("Undecided")?.call1((id, reason)),
            Notice::Unreadable { id } => classes.getattr("Unreadable")?.call1((id,)),
        }
    }
}

impl Found {
    /// Runs no Python code.
    #[inline]
    pub(crate) fn of(py: Python<'_>, delivery: Option<Delivery<'_>>, names: &mut Names) -> Found {
        match delivery {
            None => Found::Nothing,
            Some(Delivery::Event(event)) => Found::Event(Event::of(py, &event, names)),
            Some(Delivery::Reserved { .. }) => Found::Reserved,
            Some(Delivery::Lagged { first, missed, .. }) => Found::Notice(Notice::Lagged { first, missed }),
            Some(Delivery::Undecided { id, reason, .. }) => {
                let reason = match reason {
                    Undecided::ClaimsFull => "claims_full",
                    Undecided::Late => "late",
                    _ => "other",
                };
                Found::Notice(Notice::Undecided { id, reason })
            }
            Some(other) => Found::Notice(Notice::Unreadable { id: other.id() }),
        }
    }
}

impl Event {
    #[inline]
    pub(crate) fn of(py: Python<'_>, event: &seqcast::Event<'_>, names: &mut Names) -> Event {
        let (source, name) = names.strings(py, event.source(), event.event());
        Event {
            source,
            event: name,
            data: PyBytes::new(py, event.bytes()).unbind(),
            id: event.id(),
            pid: event.pid().unwrap_or(0),
            seat: event.seat().unwrap_or(0),
            type_tag: event.type_tag(),
            own: event.is_own(),
            claim: event.claim(),
        }
    }

    /// Returns the names of any event, also of a subclass.
    pub(crate) fn names<'a, 'py>(&'a self, py: Python<'py>) -> (&'a Bound<'py, PyString>, &'a Bound<'py, PyString>) {
        (self.source.bind(py), self.event.bind(py))
    }
}
