//! A seat on the bus.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use seqcast::{
    BellOptions, Cause, Claim, ClaimOptions, Error, Publisher, Reservation, Scope, Subscriber, Tagged, Topic, Unique,
};

use crate::argument::{Names, bytes, duration};
use crate::bus::limit;
use crate::claim;
use crate::delivery::{Event, Found, Retained};
use crate::doorbell::Doorbell;
use crate::error::{Failure, OrRaise, exception};
use crate::poll;

/// The number of forks of Python that led to this process.
static FORKS: AtomicU64 = AtomicU64::new(0);

/// Notes that this process was just forked.
#[pyfunction]
pub(crate) fn forked() {
    // Relaxed: the child has one thread.
    FORKS.fetch_add(1, Ordering::Relaxed);
    set_exiting(None);
}

/// The thread in which the interpreter exits.
static EXITING: Mutex<Option<ThreadId>> = Mutex::new(None);

/// Notes that the interpreter exits, in this thread.
#[pyfunction]
pub(crate) fn exiting() {
    set_exiting(Some(thread::current().id()));
}

fn set_exiting(thread: Option<ThreadId>) {
    *EXITING.lock().unwrap_or_else(PoisonError::into_inner) = thread;
}

/// Does not return while the interpreter exits in another thread.
///
/// CPython before 3.14 ends a thread that asks for its lock then by `pthread_exit`, which unwinds the thread through
/// the frames of this module. That is a crash if the module is linked with another unwinder than that of the C library,
/// as zig does. At that time all threads that the interpreter waits for have ended.
fn stay_out_of_the_exit() {
    let me = thread::current().id();
    while EXITING.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|exiting| exiting != me) {
        thread::park();
    }
}

/// A seat, or a mark that it was left.
pub(crate) enum Role {
    Subscriber(Box<Subscriber>),
    Publisher(Box<Publisher>),
    Left,
}

/// The data that a call needs while it holds the seat.
pub(crate) struct Inner {
    role: Role,
    doorbell: Option<Arc<Doorbell>>,
    /// The names of the last event that was read, and of the last that was posted.
    read: Names,
    posted: Names,
}

/// A seat on the bus, for one process.
#[pyclass(frozen, weakref, module = "seqcast._seqcast")]
pub(crate) struct Seat {
    /// Shared only to keep it from being dropped.
    inner: Arc<Mutex<Inner>>,
    bell: BellOptions,
    forks: u64,
    /// Set while a thread polls.
    pub(crate) polled: AtomicBool,
    /// Set if a poll ended before all handlers of an event had run.
    pub(crate) is_unfinished: AtomicBool,
}

type Result<T> = std::result::Result<T, Failure>;

impl Inner {
    #[inline]
    fn publisher(&mut self) -> Result<(&mut Publisher, &mut Names)> {
        match &mut self.role {
            Role::Subscriber(subscriber) => Ok((subscriber.publisher(), &mut self.posted)),
            Role::Publisher(publisher) => Ok((publisher, &mut self.posted)),
            Role::Left => Err(Cause::Left.into()),
        }
    }

    fn subscriber(&mut self) -> Result<&mut Subscriber> {
        self.reading().map(|(subscriber, _)| subscriber)
    }

    #[inline]
    fn reading(&mut self) -> Result<(&mut Subscriber, &mut Names)> {
        match &mut self.role {
            Role::Subscriber(subscriber) => Ok((subscriber, &mut self.read)),
            Role::Publisher(_) => Err(PyTypeError::new_err("a Publisher reads nothing: use a Worker").into()),
            Role::Left => Err(Cause::Left.into()),
        }
    }
}

/// An event to be sent.
struct Outgoing<'a> {
    topic: Topic<'a>,
    payload: Tagged<'a>,
    key: Option<&'a [u8]>,
    ttl: Option<Duration>,
    retain: bool,
    cluster: bool,
}

/// Sends an event by the method `$post` of the builder that `$sender` returns for a topic: there are two types of
/// builders.
macro_rules! send {
    ($outgoing:expr, $sender:expr, $post:ident) => {{
        let Outgoing { topic, payload, key, ttl, retain, cluster } = $outgoing;
        let mut event = $sender.event(topic);
        if retain {
            event = event.retain_key(key.unwrap_or_default());
        } else if let Some(key) = key {
            event = event.unique(Unique::key(key));
        }
        if let Some(ttl) = ttl {
            event = event.ttl(ttl);
        }
        if cluster {
            event = event.cluster();
        }
        event.$post(payload)
    }};
}

/// What a post does if there is no room for its event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NoRoom {
    Wait,
    Refuse,
}

/// Returns what stands for the topic of a call that has none.
fn no_topic() -> Topic<'static> {
    Topic::from(("", ""))
}

/// Returns `true` if another worker must read, so that there may be room later.
fn is_worth_waiting(error: &Error) -> bool {
    matches!(error.cause(), Cause::Full { own: false, .. })
}

#[cold]
fn poisoned() -> Failure {
    PyRuntimeError::new_err("seqcast has panicked in a call with this seat: please report it").into()
}

/// Returns the publisher's reservation if it is of `id`. Another reservation is kept.
fn reservation(publisher: &mut Publisher, id: u64) -> seqcast::Result<Option<Reservation<&mut Publisher>>> {
    match publisher.reserved()? {
        Some(reservation) if reservation.id() == id => Ok(Some(reservation)),
        Some(other) => {
            other.keep();
            Ok(None)
        }
        None => Ok(None),
    }
}

impl Seat {
    pub(crate) fn new(role: Role, bell: BellOptions) -> Seat {
        Seat {
            inner: Arc::new(Mutex::new(Inner {
                role,
                doorbell: None,
                read: Names::default(),
                posted: Names::default(),
            })),
            bell,
            forks: FORKS.load(Ordering::Relaxed),
            polled: AtomicBool::new(false),
            is_unfinished: AtomicBool::new(false),
        }
    }

    /// Takes the seat for one call, which neither waits nor runs Python code. If a post of another thread waits for
    /// room, waits until it is done, while other threads run.
    #[inline]
    fn with<T>(&self, py: Python<'_>, run: impl FnOnce(&mut Inner) -> Result<T>) -> PyResult<T> {
        let result = match self.inner.try_lock() {
            Ok(mut inner) => run(&mut inner),
            Err(_) => self.when_free(py).and_then(|mut inner| run(&mut inner)),
        };
        result.map_err(|failure| failure.exception(py))
    }

    /// Takes the seat when no other thread uses it.
    #[cold]
    fn when_free(&self, py: Python<'_>) -> Result<MutexGuard<'_, Inner>> {
        loop {
            match self.inner.try_lock() {
                Ok(inner) => return Ok(inner),
                Err(TryLockError::Poisoned(_)) => return Err(poisoned()),
                Err(TryLockError::WouldBlock) => {
                    // In a forked child, the thread that uses it does not exist.
                    self.check_fork(py)?;
                    // Not kept: a thread that waits for the interpreter's lock must not hold the seat.
                    py.detach(|| {
                        drop(self.inner.lock());
                        stay_out_of_the_exit();
                    });
                }
            }
        }
    }

    /// Runs `attempt`, which posts with the seat's publisher and a topic, if there is one. If it finds no room and
    /// `waits` is `true`, runs it again so that it waits, while other threads run.
    fn post_with<T: Send>(
        &self,
        py: Python<'_>,
        topic: Option<(&Bound<'_, PyString>, &Bound<'_, PyString>)>,
        waits: bool,
        attempt: impl Fn(&mut Publisher, Topic<'_>, NoRoom) -> seqcast::Result<T> + Sync,
    ) -> PyResult<T> {
        let first = self.with(py, |inner| {
            let (publisher, names) = inner.publisher()?;
            let topic = match topic {
                Some((source, event)) => names.topic(source, event)?,
                None => no_topic(),
            };
            // Without the change of threads that a wait needs: there is room nearly always.
            Ok(match attempt(publisher, topic, NoRoom::Refuse) {
                Err(error) if waits && is_worth_waiting(&error) => None,
                done => Some(done?),
            })
        })?;
        match first {
            Some(posted) => Ok(posted),
            None => self.post_when_there_is_room(py, topic, attempt),
        }
    }

    #[cold]
    fn post_when_there_is_room<T: Send>(
        &self,
        py: Python<'_>,
        topic: Option<(&Bound<'_, PyString>, &Bound<'_, PyString>)>,
        attempt: impl Fn(&mut Publisher, Topic<'_>, NoRoom) -> seqcast::Result<T> + Sync,
    ) -> PyResult<T> {
        let names = match topic {
            Some((source, event)) => Some((source.to_cow()?, event.to_cow()?)),
            None => None,
        };
        let topic = names.as_ref().map_or(("", ""), |(source, event)| (&**source, &**event));
        let posted = py.detach(|| {
            let topic = Topic::from(topic);
            let posted = match self.inner.lock() {
                Ok(mut inner) => match &mut inner.role {
                    Role::Subscriber(subscriber) => Ok(attempt(subscriber.publisher(), topic, NoRoom::Wait)),
                    Role::Publisher(publisher) => Ok(attempt(publisher, topic, NoRoom::Wait)),
                    Role::Left => Ok(Err(Cause::Left.into())),
                },
                Err(_) => Err(()),
            };
            // Without the seat, which the thread that exits may wait for.
            stay_out_of_the_exit();
            posted
        });
        match posted {
            Ok(posted) => posted.or_raise(py),
            Err(()) => Err(poisoned().exception(py)),
        }
    }

    /// Raises `ForkedError` in a forked child of the process that took the seat.
    #[inline]
    pub(crate) fn check_fork(&self, py: Python<'_>) -> PyResult<()> {
        if self.forks == FORKS.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(exception(py, &Error::from(Cause::Forked)))
    }

    /// Takes the next step of reading.
    #[inline]
    pub(crate) fn step(&self, py: Python<'_>) -> PyResult<Found> {
        self.with(py, |inner| {
            let (subscriber, names) = inner.reading()?;
            let delivery = subscriber.try_next()?;
            Ok(Found::of(py, delivery, names))
        })
    }

    /// Returns the doorbell, armed for the next sleep, unless there are new events.
    fn armed(&self, py: Python<'_>) -> PyResult<Option<Arc<Doorbell>>> {
        self.with(py, |inner| {
            let doorbell = inner.doorbell.clone();
            let subscriber = inner.subscriber()?;
            let Some(doorbell) = doorbell else { return Err(PyRuntimeError::new_err("the seat has no bell").into()) };
            let has_news = doorbell.arm(subscriber)?;
            Ok((!has_news).then_some(doorbell))
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // Only in a forked child: a thread of the parent was posting. In what state it left the seat is not known.
        if matches!(self.inner.try_lock(), Err(TryLockError::WouldBlock)) {
            std::mem::forget(Arc::clone(&self.inner));
        }
    }
}

#[pymethods]
impl Seat {
    /// Posts an event. Returns its id. `key` is that of a unique event or, with `retain`, that of a retained one.
    /// Without `waits`, it does not wait for workers that must read.
    #[pyo3(signature = (
        source, event, data, key=None, ttl=None, type_tag=0, retain=false, cluster=false, waits=true, /
    ))]
    #[allow(clippy::too_many_arguments, reason = "Python's positional arguments cost least")]
    fn post(
        &self,
        py: Python<'_>,
        source: &Bound<'_, PyString>,
        event: &Bound<'_, PyString>,
        data: &Bound<'_, PyAny>,
        key: Option<&Bound<'_, PyAny>>,
        ttl: Option<f64>,
        type_tag: u64,
        retain: bool,
        cluster: bool,
        waits: bool,
    ) -> PyResult<u64> {
        let data = bytes(data, "data")?;
        let key = key.map(|key| bytes(key, "key")).transpose()?;
        let ttl = ttl.map(|ttl| duration(ttl, "ttl")).transpose()?;
        self.post_with(py, Some((source, event)), waits, |publisher, topic, no_room| {
            let payload = Tagged { type_tag, bytes: &data };
            let outgoing = Outgoing { topic, payload, key: key.as_deref(), ttl, retain, cluster };
            match no_room {
                NoRoom::Wait => send!(outgoing, publisher, post),
                NoRoom::Refuse => send!(outgoing, publisher, try_post),
            }
        })
    }

    /// Looks up the last retained event of a key.
    #[pyo3(signature = (source, event, key=None, /))]
    fn get(
        &self,
        py: Python<'_>,
        source: &Bound<'_, PyString>,
        event: &Bound<'_, PyString>,
        key: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<Py<Retained>>> {
        let key = key.map(|key| bytes(key, "key")).transpose()?.unwrap_or_default();
        let found = self.with(py, |inner| {
            let (publisher, names) = inner.publisher()?;
            Ok(publisher.get_key(names.topic(source, event)?, &key)?)
        })?;
        found.map(|found| Retained::object(py, &found, &mut Names::default())).transpose()
    }

    /// Returns the last retained event of every key.
    fn retained(&self, py: Python<'_>) -> PyResult<Vec<Py<Retained>>> {
        let found = self.with(py, |inner| Ok(inner.publisher()?.0.retained()?))?;
        let mut names = Names::default();
        found.iter().map(|found| Retained::object(py, found, &mut names)).collect()
    }

    /// Clears what is retained under a key. Returns the id of the event that says so, or nothing if nothing was
    /// retained.
    #[pyo3(signature = (source, event, key=None, cluster=false, waits=true, /))]
    fn clear(
        &self,
        py: Python<'_>,
        source: &Bound<'_, PyString>,
        event: &Bound<'_, PyString>,
        key: Option<&Bound<'_, PyAny>>,
        cluster: bool,
        waits: bool,
    ) -> PyResult<Option<u64>> {
        let key = key.map(|key| bytes(key, "key")).transpose()?.unwrap_or_default();
        self.post_with(py, Some((source, event)), waits, |publisher, topic, no_room| {
            let mut event = publisher.event(topic).retain_key(&*key);
            if cluster {
                event = event.cluster();
            }
            match no_room {
                NoRoom::Wait => event.clear(),
                NoRoom::Refuse => event.try_clear(),
            }
        })
    }

    /// Takes the next event id. Returns it.
    #[pyo3(signature = (waits=true, /))]
    fn reserve(&self, py: Python<'_>, waits: bool) -> PyResult<u64> {
        self.post_with(py, None, waits, |publisher, _, no_room| {
            Ok(match no_room {
                NoRoom::Wait => publisher.reserve()?.keep(),
                NoRoom::Refuse => publisher.try_reserve()?.keep(),
            })
        })
    }

    /// Makes an event visible at a reserved id.
    #[pyo3(signature = (id, source, event, data, key=None, ttl=None, type_tag=0, /))]
    #[allow(clippy::too_many_arguments, reason = "as for post")]
    fn commit(
        &self,
        py: Python<'_>,
        id: u64,
        source: &Bound<'_, PyString>,
        event: &Bound<'_, PyString>,
        data: &Bound<'_, PyAny>,
        key: Option<&Bound<'_, PyAny>>,
        ttl: Option<f64>,
        type_tag: u64,
    ) -> PyResult<()> {
        let data = bytes(data, "data")?;
        let key = key.map(|key| bytes(key, "key")).transpose()?;
        let ttl = ttl.map(|ttl| duration(ttl, "ttl")).transpose()?;
        self.with(py, |inner| {
            let (publisher, names) = inner.publisher()?;
            let topic = names.topic(source, event)?;
            let payload = Tagged { type_tag, bytes: &data };
            let Some(mut reservation) = reservation(publisher, id)? else { return Err(Cause::TooLate { id }.into()) };
            let outgoing = Outgoing { topic, payload, key: key.as_deref(), ttl, retain: false, cluster: false };
            let committed = send!(outgoing, reservation, post);
            // After a commit, or if it is too late, there is no reservation to keep.
            reservation.keep();
            committed?;
            Ok(())
        })
    }

    /// Gives up a reserved id. Returns `False` if it was not reserved any more.
    fn abandon(&self, py: Python<'_>, id: u64) -> PyResult<bool> {
        self.with(py, |inner| Ok(reservation(inner.publisher()?.0, id)?.is_some()))
    }

    /// Returns the next delivery and `True`, `None` and `True` at a reserved id, or `None` and `False` if there is no
    /// new event.
    fn next(&self, py: Python<'_>) -> PyResult<(Option<Py<PyAny>>, bool)> {
        Ok(match self.step(py)? {
            Found::Event(event) => (Some(event.object(py)?), true),
            Found::Notice(notice) => (Some(notice.object(py)?.unbind()), true),
            Found::Reserved => (None, true),
            Found::Nothing => (None, false),
        })
    }

    /// Runs the handlers of all new events, at most of `limit` events. Returns the number of events.
    ///
    /// `handlers` has the dict `table` by source and event, the method `find` that fills it, the method `find_cleared`
    /// for clears, the list `progress` for a poll that ends early, and the method `notice` for what is no event.
    /// `local` is a deque of local events.
    #[pyo3(signature = (handlers, local, limit=None, /))]
    fn poll(&self, handlers: &Bound<'_, PyAny>, local: &Bound<'_, PyAny>, limit: Option<u64>) -> PyResult<u64> {
        poll::poll(self, handlers, local, limit, poll::Results::Ignored).map(|polled| polled.count)
    }

    /// Like `poll`, but ends at a handler that returns an awaitable, and also returns it.
    #[pyo3(signature = (handlers, local, limit=None, /))]
    fn poll_until_awaitable(
        &self,
        handlers: &Bound<'_, PyAny>,
        local: &Bound<'_, PyAny>,
        limit: Option<u64>,
    ) -> PyResult<(u64, Option<poll::Awaited>)> {
        let polled = poll::poll(self, handlers, local, limit, poll::Results::Awaited)?;
        Ok((polled.count, polled.awaitable))
    }

    /// Makes the bell if there is none. Returns its descriptor, and the reason if posts do not ring it.
    fn open_bell(&self, py: Python<'_>) -> PyResult<(i32, Option<String>)> {
        self.check_fork(py)?;
        self.with(py, |inner| {
            if let Some(doorbell) = &inner.doorbell {
                return Ok((doorbell.fd(), None));
            }
            let doorbell = Doorbell::new(inner.subscriber()?, &self.bell)?;
            let (fd, unheard) = (doorbell.fd(), doorbell.unheard());
            inner.doorbell = Some(Arc::new(doorbell));
            Ok((fd, unheard))
        })
    }

    /// Prepares a sleep at the bell. Returns `True` if there is something to read already.
    fn arm(&self, py: Python<'_>, local: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.check_fork(py)?;
        Ok(self.armed(py)?.is_none() || !local.is_empty()?)
    }

    /// Makes the bell's descriptor readable, if there is a bell.
    fn ring(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |inner| {
            inner.doorbell.iter().for_each(|doorbell| doorbell.ring());
            Ok(())
        })
    }

    /// Sleeps until there is something to read, for at most `timeout` seconds. Needs a bell.
    #[pyo3(signature = (local, timeout=None, /))]
    fn wait(&self, py: Python<'_>, local: &Bound<'_, PyAny>, timeout: Option<f64>) -> PyResult<bool> {
        let timeout = limit(timeout)?;
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            self.check_fork(py)?;
            let Some(doorbell) = self.armed(py)? else { return Ok(true) };
            if !local.is_empty()? {
                return Ok(true);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(false);
            }
            // Without the interpreter's lock and without the seat: other threads continue, and may post with the seat.
            let slept = py.detach(|| {
                let slept = doorbell.sleep(left);
                stay_out_of_the_exit();
                slept
            });
            // If the seat was left meanwhile, its bell exists until here.
            py.detach(|| drop(doorbell));
            py.check_signals()?;
            slept.or_raise(py)?;
        }
    }

    /// Returns `True` if there is something to read, without a bell.
    fn has_news(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, |inner| Ok(inner.subscriber()?.wait(Duration::ZERO)?))
    }

    /// From now on, reads only these: `None` for all, or pairs of a source and either `None` or a list of events.
    fn only(&self, py: Python<'_>, scopes: Option<Vec<(String, Option<Vec<String>>)>>) -> PyResult<()> {
        let scope = |(source, events): (String, Option<Vec<String>>)| match events {
            Some(events) => Scope::events(source, events),
            None => Scope::source(source),
        };
        let scopes = scopes.map_or_else(|| vec![Scope::All], |scopes| scopes.into_iter().map(scope).collect());
        self.with(py, |inner| Ok(inner.subscriber()?.only_scopes(scopes)?))
    }

    /// Changes how long the seat waits for a reserved id.
    fn set_wait_max(&self, py: Python<'_>, seconds: f64) -> PyResult<()> {
        let wait_max = duration(seconds, "wait_max")?;
        self.with(py, |inner| {
            inner.subscriber()?.set_wait_max(wait_max);
            Ok(())
        })
    }

    #[getter]
    fn cursor(&self, py: Python<'_>) -> PyResult<u64> {
        self.with(py, |inner| Ok(inner.subscriber()?.cursor()))
    }

    #[getter]
    fn position(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, |inner| Ok(inner.subscriber()?.position().to_string()))
    }

    #[getter]
    fn number(&self, py: Python<'_>) -> PyResult<u32> {
        self.with(py, |inner| match &inner.role {
            Role::Subscriber(subscriber) => Ok(subscriber.seat()),
            Role::Publisher(publisher) => Ok(publisher.seat()),
            Role::Left => Err(Cause::Left.into()),
        })
    }

    /// Leaves the bus. Returns the unique events that the seat had claimed already: no other seat runs them.
    fn leave(&self, py: Python<'_>) -> PyResult<Vec<Event>> {
        let (role, doorbell) =
            self.with(py, |inner| Ok((std::mem::replace(&mut inner.role, Role::Left), inner.doorbell.take())))?;
        let mut events = Vec::new();
        let result = match role {
            Role::Subscriber(subscriber) => {
                let mut names = Names::default();
                subscriber.leave(|event| events.push(Event::of(py, &event, &mut names)))
            }
            Role::Publisher(_) | Role::Left => Ok(()),
        };
        // The kernel takes some milliseconds to end a bell's watch.
        py.detach(|| drop(doorbell));
        result.or_raise(py)?;
        Ok(events)
    }

    /// Ends the seat as a drop does: it leaves, and releases the unique events that it has claimed and not run.
    fn discard(&self, py: Python<'_>) -> PyResult<()> {
        let (role, doorbell) =
            self.with(py, |inner| Ok((std::mem::replace(&mut inner.role, Role::Left), inner.doorbell.take())))?;
        py.detach(|| drop((role, doorbell)));
        Ok(())
    }

    /// Claims a key. Returns the claim, or the seat that holds the key and the seconds left, or nothing if there is no
    /// room.
    fn claim<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        ttl: f64,
        ends_with_holder: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        let key = bytes(key, "key")?;
        let options = ClaimOptions::new(duration(ttl, "ttl")?).ends_with_holder(ends_with_holder);
        let claimed = self.with(py, |inner| Ok(inner.publisher()?.0.claim_with(&key, &options)?))?;
        claim::dict(py, claimed)
    }

    /// Holds a key for `ttl` seconds from now on.
    fn renew(&self, py: Python<'_>, token: [u8; 24], ttl: f64) -> PyResult<()> {
        let ttl = duration(ttl, "ttl")?;
        self.with(py, |inner| Ok(inner.publisher()?.0.renew(&Claim::from_bytes(token), ttl)?))
    }

    /// Completes a claim: its key stays held for `ttl` seconds.
    fn complete(&self, py: Python<'_>, token: [u8; 24], ttl: f64) -> PyResult<()> {
        let ttl = duration(ttl, "ttl")?;
        self.with(py, |inner| Ok(inner.publisher()?.0.complete(&Claim::from_bytes(token), ttl)?))
    }

    /// Returns the seconds for which a claim is still held.
    fn left(&self, py: Python<'_>, token: [u8; 24]) -> PyResult<f64> {
        let left = self.with(py, |inner| Ok(inner.publisher()?.0.left(&Claim::from_bytes(token))?))?;
        Ok(left.as_secs_f64())
    }

    /// Looks up a key.
    fn held<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let key = bytes(key, "key")?;
        let held = self.with(py, |inner| Ok(inner.publisher()?.0.held(&key)?))?;
        held.map(|held| claim::held_dict(py, &held)).transpose()
    }

    /// Ends a claim. Returns `False` if it had ended.
    fn release(&self, py: Python<'_>, token: [u8; 24]) -> PyResult<bool> {
        self.with(py, |inner| Ok(inner.publisher()?.0.release(&Claim::from_bytes(token))?))
    }
}
