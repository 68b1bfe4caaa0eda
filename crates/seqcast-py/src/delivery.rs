//! Deliveries to a seat.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyString};
use seqcast::{Claim, ClusterId, Delivery, Origin, Topic, Undecided, library};

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
    kept: Option<Kept>,
    relayed: Option<(Origin, ClusterId)>,
    bridged: bool,
}

/// How an event is retained.
struct Kept {
    key: Py<PyBytes>,
    is_cleared: bool,
    is_retained: bool,
}

impl Kept {
    #[cold]
    fn of(py: Python<'_>, event: &seqcast::Event<'_>, key: &[u8]) -> Kept {
        let key = PyBytes::new(py, key).unbind();
        Kept { key, is_cleared: event.is_cleared(), is_retained: event.is_retained() }
    }
}

/// The last event of a key, as a look-up finds it. `is_own` is not known, and `False`.
#[pyclass(frozen, extends = Event, module = "seqcast")]
pub(crate) struct Retained {
    left: Option<f64>,
}

#[pymethods]
impl Retained {
    /// The number of seconds for which it is still retained; `None` if it has no ttl.
    #[getter]
    fn left(&self) -> Option<f64> {
        self.left
    }
}

impl Retained {
    /// Returns the event of a look-up.
    pub(crate) fn object(py: Python<'_>, found: &seqcast::Retained, names: &mut Names) -> PyResult<Py<Retained>> {
        let (source, event) = names.strings(py, found.source(), found.event());
        let key = PyBytes::new(py, found.key()).unbind();
        let event = Event {
            source,
            event,
            data: PyBytes::new(py, found.bytes()).unbind(),
            id: Some(found.id()),
            pid: found.pid(),
            seat: found.seat(),
            type_tag: found.type_tag(),
            own: false,
            claim: None,
            kept: Some(Kept { key, is_cleared: false, is_retained: true }),
            relayed: None,
            bridged: false,
        };
        let left = found.left().map(|left| left.as_secs_f64());
        Py::new(py, PyClassInitializer::from(event).add_subclass(Retained { left }))
    }
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
        Event::local(source, event, data)
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

    /// `True` if the event is only of this process: posted by `post_local`, or `seqcast/reset` or `seqcast/up-to-date`.
    #[getter]
    fn is_local(&self) -> bool {
        self.id.is_none()
    }

    /// The claim of a unique event, which only this process runs: for `Worker.release`.
    #[getter]
    fn claim<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.claim.map(|claim| PyBytes::new(py, &claim.to_bytes()))
    }

    /// The key of a retained event, as bytes: empty if it was posted without a key; `None` if it is not retained.
    #[getter]
    fn retained_key(&self, py: Python<'_>) -> Option<Py<PyBytes>> {
        self.kept.as_ref().map(|kept| kept.key.clone_ref(py))
    }

    /// `True` if the event was not delivered when it was posted, but is the last of its key for a worker that has
    /// joined or missed events.
    #[getter]
    fn is_retained(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.is_retained)
    }

    /// `True` if no event is retained under this event's key any more. The event has no payload.
    #[getter]
    fn is_cleared(&self) -> bool {
        self.clears()
    }

    /// The host that posted the event, as 16 hexadecimal digits, if it came through a relay; else `None`. See
    /// `Bus.origin`.
    #[getter]
    fn origin(&self) -> Option<String> {
        self.relayed.map(|(origin, _)| origin.to_string())
    }

    /// The event's place in the order that all hosts share, if it came through a relay: the timeline and the number in
    /// it. Of two unique events with one key, the later one has the greater place, unless the engine between the hosts
    /// has lost data.
    #[getter]
    fn cluster_id(&self) -> Option<(u64, u64)> {
        self.relayed.map(|(_, place)| (place.timeline, place.n))
    }

    /// `True` if a bridge has carried the event from another segment of this host.
    #[getter]
    fn is_bridged(&self) -> bool {
        self.bridged
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
            Some(id) if self.clears() => format!("<cleared Event {id} {source} {event} by process {}>", self.pid),
            Some(id) => format!("<Event {id} {source} {event} of {len} bytes by process {}>", self.pid),
            None => format!("<local Event {source} {event}>"),
        })
    }
}

/// The result of a step of reading.
pub(crate) enum Found {
    /// An event, or the clear of a retained one.
    Event(Event),
    Notice(Notice),
    /// The next id is reserved, and its payload is not there yet.
    Reserved,
    Nothing,
}

/// A notice, which is delivered in the place of events.
pub(crate) enum Notice {
    Lagged { first: u64, missed: u64, cut_off: bool },
    Missed { id: u64, count: Option<u64>, reason: &'static str, origin: Option<Origin> },
    Undecided { id: u64, reason: &'static str },
    Unreadable { id: u64 },
    Reset { id: u64 },
    UpToDate { id: u64 },
}

/// The classes of notices.
static NOTICES: PyOnceLock<Py<PyModule>> = PyOnceLock::new();

fn classes(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    let classes = NOTICES.get_or_try_init(py, || PyResult::Ok(py.import("seqcast._events")?.unbind()))?;
    Ok(classes.bind(py))
}

impl Notice {
    /// Returns the notice as an object of the package.
    #[cold]
    pub(crate) fn object(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        let classes = classes(py)?;
        match self {
            Notice::Lagged { first, missed, cut_off } => classes.getattr("Lagged")?.call1((first, missed, cut_off)),
            Notice::Missed { id, count, reason, origin } => {
                let origin = origin.map(|origin| origin.to_string());
                classes.getattr("Missed")?.call1((id, count, reason, origin))
            }
            Notice::Undecided { id, reason } => classes.getattr("Undecided")?.call1((id, reason)),
            Notice::Unreadable { id } => classes.getattr("Unreadable")?.call1((id,)),
            Notice::Reset { id } => classes.getattr("Reset")?.call1((id,)),
            Notice::UpToDate { id } => classes.getattr("UpToDate")?.call1((id,)),
        }
    }

    /// Returns the topic of the library's event that handlers get instead of this notice.
    #[cold]
    pub(crate) fn topic(&self) -> Option<Topic<'static>> {
        match self {
            Notice::Reset { .. } => Some(library::RESET),
            Notice::UpToDate { .. } => Some(library::UP_TO_DATE),
            _ => None,
        }
    }
}

impl Found {
    /// Runs no Python code.
    #[inline]
    pub(crate) fn of(py: Python<'_>, delivery: Option<Delivery<'_>>, names: &mut Names) -> Found {
        match delivery {
            None => Found::Nothing,
            Some(Delivery::Event(event) | Delivery::Cleared(event)) => Found::Event(Event::of(py, &event, names)),
            Some(Delivery::Reserved { .. }) => Found::Reserved,
            Some(Delivery::Lagged { first, missed, cut_off, .. }) => {
                Found::Notice(Notice::Lagged { first, missed, cut_off })
            }
            Some(Delivery::Missed(missed)) => Found::Notice(Notice::Missed {
                id: missed.first_id,
                count: missed.count,
                reason: missed.reason.name(),
                origin: missed.origin,
            }),
            Some(Delivery::Undecided { id, reason, .. }) => {
                let reason = match reason {
                    Undecided::ClaimsFull => "claims_full",
                    Undecided::Late => "late",
                    _ => "other",
                };
                Found::Notice(Notice::Undecided { id, reason })
            }
            Some(Delivery::Reset { id, .. }) => Found::Notice(Notice::Reset { id }),
            Some(Delivery::UpToDate { id, .. }) => Found::Notice(Notice::UpToDate { id }),
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
            kept: event.retained_key().map(|key| Kept::of(py, event, key)),
            relayed: event.origin().zip(event.cluster_id()),
            bridged: event.is_bridged(),
        }
    }

    fn local(source: Py<PyString>, event: Py<PyString>, data: Py<PyBytes>) -> Event {
        let pid = std::process::id();
        Event {
            source,
            event,
            data,
            id: None,
            pid,
            seat: 0,
            type_tag: 0,
            own: true,
            claim: None,
            kept: None,
            relayed: None,
            bridged: false,
        }
    }

    /// Returns a local event of the library's own.
    #[cold]
    pub(crate) fn of_library(py: Python<'_>, topic: Topic<'_>) -> Event {
        let text = |name: &str| PyString::new(py, name).unbind();
        Event::local(text(topic.source()), text(topic.event()), PyBytes::new(py, b"").unbind())
    }

    /// Returns `true` if the event only ends what was retained.
    #[inline]
    pub(crate) fn clears(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.is_cleared)
    }

    /// Returns the event as an object for readers without handlers.
    pub(crate) fn object(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let clears = self.clears();
        let event = Py::new(py, self)?.into_any();
        if clears { Ok(classes(py)?.getattr("Cleared")?.call1((event,))?.unbind()) } else { Ok(event) }
    }

    /// Returns the names of any event, also of a subclass.
    pub(crate) fn names<'a, 'py>(&'a self, py: Python<'py>) -> (&'a Bound<'py, PyString>, &'a Bound<'py, PyString>) {
        (self.source.bind(py), self.event.bind(py))
    }
}
