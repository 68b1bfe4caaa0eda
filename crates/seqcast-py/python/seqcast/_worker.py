"""Seats on a bus."""

from __future__ import annotations

import inspect
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Callable, Optional, TypeVar, Union

from . import _fork, _seqcast
from ._bus import Bus, Start, closed
from ._claims import Claim, Held
from ._codec import Codec, decode
from ._errors import Error, ForkedError, LeftError
from ._events import LocalEvent, Notice
from ._handlers import Handler, Handlers
from ._seqcast import Event, Retained, Seat

logger = logging.getLogger("seqcast")

Data = Union[bytes, bytearray, memoryview, str]
Key = Union[bytes, str]

H = TypeVar("H", bound=Callable[..., object])
N = TypeVar("N", bound=Callable[[Notice], object])
S = TypeVar("S", bound="Publisher")
A = TypeVar("A")
R = TypeVar("R")


class Reservation:
    """An event id that is taken for a later event. Readers wait for it, at most for their ``wait_max``.

    A context manager gives up the id at the end of the block if it was not committed.

    >>> import seqcast
    >>> with seqcast.Bus.anonymous() as bus, seqcast.Worker(bus, announce=False) as worker:
    ...     with worker.reserve() as reservation:
    ...         _ = worker.post("job", "progress", "50 %")
    ...         reservation.commit("job", "began")
    ...     [event.event for event in worker.events(timeout=0)]
    ['began', 'progress']
    """

    __slots__ = ("_is_open", "_publisher", "_seat", "id")

    def __init__(self, publisher: Publisher, seat: Seat, waits: bool = True) -> None:
        self._publisher = publisher
        self._seat = seat
        self.id: int = seat.reserve(waits)
        """The id."""
        self._is_open = True

    def commit(
        self,
        source: str,
        event: str,
        data: Any = b"",
        *,
        key: Optional[Key] = None,
        ttl: Optional[float] = None,
        codec: Optional[Codec] = None,
        type_tag: int = 0,
    ) -> None:
        """Make the event visible at the reserved id. Raises :class:`TooLateError` if the id was given up before."""
        payload = self._publisher._payload(data, codec)
        _check_ttl(key, ttl)
        self._seat.commit(self.id, source, event, payload, key, ttl, type_tag)
        self._is_open = False

    def abandon(self) -> bool:
        """Give up the id. Return ``False`` if it is not reserved any more."""
        self._is_open = False
        return self._seat.abandon(self.id)

    def __enter__(self) -> Reservation:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        if not self._is_open:
            return
        try:
            self.abandon()
        except Error:
            # The worker has left, or this is a forked child, which has reserved nothing.
            if error is None:
                raise


def _check_ttl(key: Optional[Key], ttl: Optional[float]) -> None:
    if ttl is not None and key is None:
        raise TypeError("a ttl is for a key: pass key, too")


class Publisher:
    """A seat that only posts and claims.

    Each process takes its own seat when it first uses the object: an object of a module works before and after a
    fork. Threads may use it at the same time.

    ``bus`` is a :class:`Bus`, or the name of one. ``label`` is a name for ``seqcast top``. ``timeout`` is the number
    of seconds that a unique key is held if a post sets no ttl (2). ``codec`` encodes posted values. Without one,
    only bytes and text can be posted.

    >>> import seqcast
    >>> with seqcast.Bus.anonymous() as bus, seqcast.Publisher(bus, codec=seqcast.JSON) as publisher:
    ...     publisher.post("user", "changed", {"id": 42})
    0
    """

    def __init__(
        self,
        bus: Union[Bus, str],
        *,
        label: str = "",
        timeout: Optional[float] = None,
        codec: Optional[Codec] = None,
    ) -> None:
        self._set_up(bus, codec, label=label, timeout=timeout)

    def _set_up(self, bus: Union[Bus, str], codec: Optional[Codec], **options: Any) -> None:
        self._seat: Optional[Seat] = None
        self.bus: Bus = Bus(bus) if isinstance(bus, str) else bus
        """The bus."""
        if not isinstance(self.bus, Bus):
            raise TypeError(f"bus must be a Bus or the name of one, not {type(bus).__name__}")
        self.codec: Optional[Codec] = codec
        """The codec that encodes posted values."""
        self._options = _seqcast.SeatOptions(**options)
        self._has_left = False
        self._lock = threading.Lock()
        _fork.register(self)

    # Joining and leaving

    def join(self: S) -> S:
        """Take the seat now, if this process has not taken it yet."""
        self._seated()
        return self

    def _seated(self) -> Seat:
        seat = self._seat
        return self._take_seat() if seat is None else seat

    def _take_seat(self) -> Seat:
        with self._lock:
            if self._has_left:
                raise closed("worker")
            if self._seat is None:
                self._seat = self._take(self.bus._opened())
                _fork.leave_at_exit()
            return self._seat

    def _take(self, bus: _seqcast.Bus) -> Seat:
        return bus.publisher(self._options)

    def _taken_after(self, forked: Seat) -> Seat:
        """Take a seat instead of the parent's."""
        self._forget(forked)
        return self._seated()

    def _forget(self, forked: Seat) -> None:
        if self._seat is forked:
            self._seat = None

    def leave(self) -> None:
        """Leave the bus and free the seat. This object cannot be used any more."""
        with self._lock:
            self._has_left = True
            seat, self._seat = self._seat, None
        if seat is not None:
            self._leave_seat(seat)

    def _leave_seat(self, seat: Seat) -> None:
        try:
            seat.leave()
        except ForkedError:
            # It is the parent's.
            pass

    def __del__(self) -> None:
        # Before the bus: it may be dropped next, and with `unlink` it checks if it is the last handle.
        seat = getattr(self, "_seat", None)
        if seat is not None:
            self._seat = None
            seat.discard()

    def __enter__(self: S) -> S:
        return self.join()

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.leave()

    @property
    def seat(self) -> int:
        """The number of the seat."""
        return self._seated().number

    # Posting

    def _payload(self, data: Any, codec: Optional[Codec]) -> Data:
        codec = codec or self.codec
        if codec is None:
            return data  # type: ignore[no-any-return] # checked by the extension module
        return codec.encode(data)

    def post(
        self,
        source: str,
        event: str,
        data: Any = b"",
        *,
        key: Optional[Key] = None,
        ttl: Optional[float] = None,
        codec: Optional[Codec] = None,
        type_tag: int = 0,
        retain: bool = False,
        cluster: bool = False,
    ) -> int:
        """Post an event to all workers of all processes. Return its id, its position in the common order.

        ``data`` is bytes or text, or a value that ``codec`` encodes. With a ``key`` the event is unique: see
        :meth:`post_unique`. ``type_tag`` is a number for readers that know it.

        With ``retain``, the bus keeps the event as the last one of its source, name and ``key``, for ``ttl`` seconds or
        without an end, until a later one takes its place or :meth:`clear` removes it. :meth:`get` looks it up, and a
        worker with ``start="retained"`` gets it when it joins. The event is not unique then. A key has at most 255
        bytes; without one there is one event for the source and name. Raises :class:`RetainedFullError` if there is no
        place for the key, :class:`TooLargeError` if the event is larger than ``retained_size``, and
        :class:`OptionError` on a bus that retains nothing.

        With ``cluster``, the event is delivered on all hosts, in one order that all of them share, with ``key`` and
        ``retain`` as on one host. The id is that of the request to this host's relay. Raises :class:`NoRelayError`
        without a relay.

        If there are workers that must read, it waits until there is room, for at most the patience of the slowest.
        Other threads run meanwhile, but calls with this object wait, and signals are handled after it. A worker that
        must read itself never waits: its posts raise :class:`FullError`.

        >>> import seqcast
        >>> with seqcast.Bus.anonymous() as bus, seqcast.Publisher(bus) as publisher:
        ...     publisher.post("cache", "stale", "user:42"), publisher.post("user", "new", [1], codec=seqcast.JSON)
        (0, 1)
        """
        return self._post(source, event, data, key, ttl, codec, type_tag, retain, cluster, True)

    def _post(
        self,
        source: str,
        event: str,
        data: Any,
        key: Optional[Key],
        ttl: Optional[float],
        codec: Optional[Codec],
        type_tag: int,
        retain: bool,
        cluster: bool,
        waits: bool,
        /,
    ) -> int:
        if codec is None:
            codec = self.codec
        if codec is not None:
            data = codec.encode(data)
        if ttl is not None and key is None and not retain:
            raise TypeError("a ttl is for a unique or retained event: pass key or retain=True, too")
        seat = self._seat
        if seat is None:
            seat = self._take_seat()
        try:
            return seat.post(source, event, data, key, ttl, type_tag, retain, cluster, waits)
        except ForkedError:
            seat = self._taken_after(seat)
            return seat.post(source, event, data, key, ttl, type_tag, retain, cluster, waits)

    def try_post(
        self,
        source: str,
        event: str,
        data: Any = b"",
        *,
        key: Optional[Key] = None,
        ttl: Optional[float] = None,
        codec: Optional[Codec] = None,
        type_tag: int = 0,
        retain: bool = False,
        cluster: bool = False,
    ) -> int:
        """Like :meth:`post`, but raise :class:`FullError` instead of waiting for a worker that must read.

        >>> import seqcast
        >>> with seqcast.Bus.anonymous() as bus, seqcast.Publisher(bus) as publisher:
        ...     publisher.try_post("cache", "stale", "user:42")
        0
        """
        return self._post(source, event, data, key, ttl, codec, type_tag, retain, cluster, False)

    def post_unique(
        self,
        source: str,
        event: str,
        data: Any = b"",
        *,
        key: Key,
        ttl: Optional[float] = None,
        codec: Optional[Codec] = None,
        type_tag: int = 0,
        cluster: bool = False,
    ) -> int:
        """Post an event that only one of the workers with a handler for it runs, with ``cluster`` of all hosts.

        Later events with the same key are not run until ``ttl`` seconds after the first worker has reached this one.

        >>> import seqcast
        >>> with seqcast.Bus.anonymous() as bus, seqcast.Worker(bus) as one, seqcast.Worker(bus) as two:
        ...     _ = one.on("refresh", "users")(lambda event: None), two.on("refresh", "users")(lambda event: None)
        ...     _ = one.post_unique("refresh", "users", key="users", ttl=10)
        ...     one.poll() + two.poll()
        1
        """
        return self.post(source, event, data, key=key, ttl=ttl, codec=codec, type_tag=type_tag, cluster=cluster)

    def reserve(self) -> Reservation:
        """Take the next event id for an event whose payload is not known yet: see :class:`Reservation`.

        It waits for workers that must read, as :meth:`post` does.
        """
        return self._with_seat(lambda seat, waits: Reservation(self, seat, waits), True)

    def try_reserve(self) -> Reservation:
        """Like :meth:`reserve`, but raise :class:`FullError` instead of waiting for a worker that must read."""
        return self._with_seat(lambda seat, waits: Reservation(self, seat, waits), False)

    # Retained events

    def get(
        self,
        source: str,
        event: str,
        default: Any = None,
        *,
        key: Optional[Key] = None,
        codec: Optional[Codec] = None,
    ) -> Any:
        """Return the value of the last retained event of a source, name and key, or ``default`` if there is none.

        There is none if none was posted with ``retain``, if it was cleared, or if its ttl has ended. The codec decodes
        the value; without one it is bytes. The value is at least as new as everything that this worker has got. It
        runs no handler, and needs no poll. Raises :class:`OptionError` on a bus that retains nothing.

        >>> import seqcast
        >>> with seqcast.Bus.anonymous() as bus, seqcast.Publisher(bus, codec=seqcast.JSON) as publisher:
        ...     _ = publisher.post("config", "changed", {"workers": 4}, retain=True)
        ...     _ = publisher.post("upstream", "state", "down", key="17", retain=True)
        ...     print(publisher.get("config", "changed"))
        ...     print(publisher.get("upstream", "state", key="17"), publisher.get("upstream", "state", "new", key="18"))
        {'workers': 4}
        down new
        """
        found = self._with_seat(lambda seat, key: seat.get(source, event, key), key)
        if found is None:
            return default
        codec = codec or self.codec
        return found.data if codec is None else decode(codec, found)

    def clear(
        self, source: str, event: str, *, key: Optional[Key] = None, cluster: bool = False
    ) -> Optional[int]:
        """Clear what is retained of a source, name and key, and tell all workers: see :meth:`Worker.on_cleared`.

        Return the id of the event that tells them, or ``None`` if nothing was retained. Then nothing was posted. With
        ``cluster``, clear it on all hosts, whatever is retained here, and return the id of the request to the relay. It
        waits for workers that must read, as :meth:`post` does.

        >>> import seqcast
        >>> with seqcast.Bus.anonymous() as bus, seqcast.Publisher(bus) as publisher:
        ...     _ = publisher.post("upstream", "state", "down", key="17", retain=True)
        ...     publisher.clear("upstream", "state", key="17"), publisher.clear("upstream", "state", key="17")
        (1, None)
        """
        return self._with_seat(lambda seat, key: seat.clear(source, event, key, cluster, True), key)

    def try_clear(
        self, source: str, event: str, *, key: Optional[Key] = None, cluster: bool = False
    ) -> Optional[int]:
        """Like :meth:`clear`, but raise :class:`FullError` instead of waiting for a worker that must read."""
        return self._with_seat(lambda seat, key: seat.clear(source, event, key, cluster, False), key)

    def retained(self) -> list[Retained]:
        """Return the last retained event of every key, in the order of their ids.

        >>> import seqcast
        >>> with seqcast.Bus.anonymous() as bus, seqcast.Publisher(bus) as publisher:
        ...     for upstream, state in (("17", "down"), ("18", "up"), ("17", "up")):
        ...         _ = publisher.post("upstream", "state", state, key=upstream, retain=True)
        ...     [(event.retained_key, event.text(), event.left) for event in publisher.retained()]
        [(b'18', 'up', None), (b'17', 'up', None)]
        """
        return self._with_seat(lambda seat, _: seat.retained(), None)

    # Claims

    def _with_seat(self, run: Callable[[Seat, A], R], argument: A) -> R:
        """Call with the seat. A forked child takes one of its own first."""
        seat = self._seated()
        try:
            return run(seat, argument)
        except ForkedError:
            return run(self._taken_after(seat), argument)

    def claim(self, key: Key, ttl: float, *, ends_with_holder: bool = False) -> Claim:
        """Claim a key among all processes for ``ttl`` seconds: see :class:`Claim`.

        With ``ends_with_holder``, the claim ends as soon as this process ends in any way or leaves the bus.

        >>> import seqcast
        >>> with seqcast.Bus.anonymous() as bus, seqcast.Publisher(bus) as one, seqcast.Publisher(bus) as two:
        ...     bool(one.claim("nightly-mail", ttl=60)), bool(two.claim("nightly-mail", ttl=60))
        (True, False)
        """
        claimed = self._with_seat(lambda seat, key: seat.claim(key, ttl, ends_with_holder), key)
        return Claim(self, key, ttl, ends_with_holder, claimed)

    def release(self, claim: Union[Claim, bytes]) -> bool:
        """End a claim before its ttl, also the claim of a unique event. Return ``False`` if it has already ended."""
        token = claim.token if isinstance(claim, Claim) else claim
        return token is not None and self._with_seat(Seat.release, token)

    def held(self, key: Key) -> Optional[Held]:
        """Look up a key without claiming it. Return ``None`` if it is free.

        >>> import seqcast
        >>> with seqcast.Bus.anonymous() as bus, seqcast.Publisher(bus, label="web") as publisher:
        ...     before = publisher.held("nightly")
        ...     claim = publisher.claim("nightly", ttl=60)
        ...     before, publisher.held("nightly").label
        (None, 'web')
        """
        found = self._with_seat(Seat.held, key)
        return None if found is None else Held(**found)

    def __reduce__(self) -> tuple[Any, ...]:
        name = type(self).__name__
        raise TypeError(f"a {name} cannot be sent to another process: send its bus, and make a {name} there")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self.bus!r}>"

    # Forks and exit

    def _before_fork(self) -> None:
        pass

    def _after_fork_in_parent(self) -> None:
        pass

    def _after_fork_in_child(self) -> None:
        # Another thread of the parent may have held it.
        self._lock = threading.Lock()
        # This frees its memory and descriptors. The parent's seat stays.
        self._seat = None

    def _at_exit(self) -> None:
        # Other code that runs at exit can use it, and it joins again then.
        seat, self._seat = self._seat, None
        if seat is not None:
            try:
                self._leave_seat(seat)
            except Error as error:
                logger.warning("a worker on %s has not left in order: %s", self.bus, error)


class Reader(Publisher):
    """The common part of :class:`seqcast.Worker` and :class:`seqcast.aio.Worker`."""

    def __init__(
        self,
        bus: Union[Bus, str],
        *,
        label: str = "",
        start: Start = "now",
        codec: Optional[Codec] = None,
        announce: bool = True,
        resync: bool = False,
        must_read: Optional[float] = None,
        timeout: Optional[float] = None,
        wait_interval: Optional[float] = None,
        wait_max: Optional[float] = None,
        bell_interval: Optional[float] = None,
    ) -> None:
        self._handlers = Handlers()
        self._local: deque[LocalEvent] = deque()
        self._only: Optional[list[tuple[str, Optional[list[str]]]]] = None
        self._start: Start = start
        self._forks_at_start = _fork.forks
        self._has_bell = False
        # True if the seat's filter is for `next`.
        self._is_read = False
        self._set_up(
            bus,
            codec,
            label=label,
            announce=announce,
            resync=resync,
            must_read=must_read,
            timeout=timeout,
            wait_interval=wait_interval,
            wait_max=wait_max,
            bell_interval=bell_interval,
        )

    def _take(self, bus: _seqcast.Bus) -> Seat:
        start = self._start
        position = self.bus._position_at_fork
        # With "retained", the child is told the present state, and needs none of the parent's.
        if position is not None and self._forks_at_start != _fork.forks and start != "retained":
            # The state is the parent's at the fork.
            start = ("resume", position)
        seat = bus.subscribe(self._options, start)
        self._handlers.is_changed = True
        self._has_bell = False
        return seat

    # Handlers

    def on(self, source: Optional[str] = None, *events: str, weak: bool = False) -> Callable[[H], H]:
        """Register a handler for some events of a source, for a source, or, without arguments, for all events.

        For each event, handlers for all events run first, then those for its source, then those for the event, and
        within each group in the order of registration. With ``weak``, the handler is held weakly: a method is called
        while its object exists.

        An exception that a handler raises goes to ``sys.unraisablehook``, and the other handlers run. ``SystemExit``,
        ``KeyboardInterrupt`` and similar exceptions end the poll. The next poll continues after the handler.

        >>> import seqcast
        >>> with seqcast.Bus.anonymous() as bus, seqcast.Worker(bus) as worker:
        ...     @worker.on("cache", "stale", "full")
        ...     def handle(event: seqcast.Event) -> None:
        ...         print(event.event, event.text())
        ...     _ = worker.post("cache", "stale", "user:42")
        ...     worker.poll()
        stale user:42
        1
        """
        return self._register("on", source, events, weak)

    def on_cleared(self, source: Optional[str] = None, *events: str, weak: bool = False) -> Callable[[H], H]:
        """Register a handler for clears of retained events, with a scope as in :meth:`on`.

        It gets an event that :attr:`is_cleared <Event.is_cleared>`, with its ``retained_key`` and without a payload.
        Other handlers do not get it. A worker is told of a :meth:`clear` in its place in the order. That a ttl has
        ended is told only to a worker that is brought up to date.

        Register a handler of the same scope by :meth:`on`, too: this worker also takes part in the unique events of
        the scope.

        >>> import seqcast
        >>> states = {}
        >>> with seqcast.Bus.anonymous() as bus, seqcast.Worker(bus, start="retained") as worker:
        ...     @worker.on("upstream", "state")
        ...     def changed(event: seqcast.Event) -> None:
        ...         states[event.retained_key] = event.text()
        ...     @worker.on_cleared("upstream", "state")
        ...     def gone(event: seqcast.Event) -> None:
        ...         states.pop(event.retained_key, None)
        ...     for upstream in ("17", "18"):
        ...         _ = worker.post("upstream", "state", "down", key=upstream, retain=True)
        ...     _ = worker.clear("upstream", "state", key="17")
        ...     _ = worker.poll()
        >>> states
        {b'18': 'down'}
        """
        return self._register("on_cleared", source, events, weak)

    def _register(self, name: str, source: Optional[str], events: tuple[str, ...], weak: bool) -> Callable[[H], H]:
        for given in (source, *events):
            if given is not None and not isinstance(given, str):
                raise TypeError(f"names are str, not {type(given).__name__}: write @worker.{name}() for all events")
        if source is None and events:
            raise TypeError("events are of a source: pass it, too")

        def register(handler: H) -> H:
            if not callable(handler):
                raise TypeError(f"a handler must be callable, not {type(handler).__name__}")
            self._check_handler(handler)
            self._handlers.add(handler, source, events, weak, name == "on_cleared")
            return handler

        return register

    def _check_handler(self, handler: Callable[..., object]) -> None:
        pass

    def unregister(self, handler: Handler) -> bool:
        """Remove a handler. Return ``False`` if it was not registered.

        >>> import seqcast
        >>> worker = seqcast.Worker("never-joined")
        >>> handler = worker.on("cache")(print)
        >>> worker.unregister(handler), worker.unregister(handler)
        (True, False)
        """
        return self._handlers.remove(handler)

    def on_notice(self, handler: N) -> N:
        """Register a function that gets deliveries other than events.

        It gets a :class:`Lagged`, :class:`Missed`, :class:`Undecided` or :class:`Unreadable`. Without such a function,
        the logger ``seqcast`` logs them as warnings. During an iteration it also gets each :class:`Cleared`,
        :class:`Reset` and :class:`UpToDate`.

        >>> import seqcast
        >>> with seqcast.Bus.anonymous(capacity=8) as bus, seqcast.Worker(bus, announce=False) as worker:
        ...     _ = worker.on_notice(print)
        ...     for number in range(10):
        ...         _ = worker.post("job", "done", str(number))
        ...     _ = worker.poll()
        Lagged(first=0, missed=3, cut_off=False)
        """
        handlers = self._handlers
        handlers.notices = (*handlers.notices, handler)
        return handler

    def only(self, *scopes: Union[str, tuple[str, str]]) -> None:
        """From now on, read only these sources and pairs of a source and an event. For :meth:`next` and iteration.

        >>> import seqcast
        >>> with seqcast.Bus.anonymous() as bus, seqcast.Worker(bus) as worker:
        ...     worker.only("health", ("cache", "stale"))
        ...     _ = worker.post("cache", "full"), worker.post("cache", "stale"), worker.post("health", "down")
        ...     [event.topic for event in worker.events(timeout=0)]
        [('cache', 'stale'), ('health', 'down')]
        """
        self._only = [(scope, None) if isinstance(scope, str) else (scope[0], [scope[1]]) for scope in scopes]
        self._handlers.is_changed = True

    def _prepare_poll(self, seat: Seat) -> None:
        handlers = self._handlers
        # Before the scopes are read, because another thread may register a handler meanwhile.
        handlers.is_changed = False
        self._is_read = False
        try:
            # Unique events without a handler here are left to other workers.
            seat.only(handlers.scopes())
        except BaseException:
            handlers.is_changed = True
            raise

    def _prepare_next(self, seat: Seat) -> None:
        seat.only(self._only)
        self._handlers.is_changed = False
        self._is_read = True

    def _take_next(self) -> Union[Event, Notice, None]:
        """Return the next delivery, or ``None`` if there is none now."""
        while True:
            seat = self._seated()
            try:
                if self._handlers.is_changed or not self._is_read:
                    self._prepare_next(seat)
                if self._local:
                    return self._local.popleft()
                found, _ = seat.next()
                return found
            except ForkedError:
                self._forget(seat)

    # Local events

    def post_local(self, source: str, event: str, value: Any = None) -> None:
        """Post an event only to this process. Handlers get ``value`` itself, as :attr:`LocalEvent.value`.

        >>> import seqcast
        >>> with seqcast.Bus.anonymous() as bus, seqcast.Worker(bus) as worker:
        ...     _ = worker.on("config", "loaded")(lambda event: print(event.value))
        ...     worker.post_local("config", "loaded", {"workers": 4})
        ...     worker.poll()
        {'workers': 4}
        1
        """
        self._local.append(LocalEvent(source, event, value))
        seat = self._seat
        if seat is not None and self._has_bell:
            try:
                seat.ring()
            except ForkedError:
                self._forget(seat)

    # The bell

    def _belled(self) -> tuple[Seat, int]:
        seat = self._seated()
        try:
            fd, unheard = seat.open_bell()
        except ForkedError:
            seat = self._taken_after(seat)
            fd, unheard = seat.open_bell()
        self._has_bell = True
        if unheard is not None:
            logger.warning("the bell of %s looks for events 100 times a second: %s", self, unheard)
        return seat, fd

    def fileno(self) -> int:
        """Return a descriptor for event loops. It is readable while there may be events to poll.

        When it is readable, poll and call :meth:`arm`, which returns ``True`` if there is more to poll. It belongs to
        this process: a forked child must get its own.

        >>> import select, seqcast
        >>> with seqcast.Bus.anonymous() as bus, seqcast.Worker(bus) as worker:
        ...     while worker.arm():
        ...         _ = worker.poll()
        ...     before = select.select([worker], [], [], 0)[0] == [worker]
        ...     _ = worker.post("cache", "stale")
        ...     before, select.select([worker], [], [], 60)[0] == [worker]
        (False, True)
        """
        return self._belled()[1]

    def arm(self) -> bool:
        """Prepare to wait for the descriptor. Return ``True`` if there are events to poll already."""
        seat, _ = self._belled()
        return seat.arm(self._local)

    # Position

    @property
    def cursor(self) -> int:
        """The id of the next event to read."""
        return self._seated().cursor

    @property
    def position(self) -> str:
        """The position of this worker. A worker in any process continues there with ``start=("resume", position)``."""
        return self._seated().position

    def set_wait_max(self, seconds: float) -> None:
        """Change how long this worker waits for a reserved id before it gives up the id for all workers."""
        self._seated().set_wait_max(seconds)

    # Leaving, forks and exit

    def _leave_seat(self, seat: Seat) -> None:
        self._has_bell = False
        try:
            # A waiting thread notices this.
            seat.ring()
            claimed = seat.leave()
        except ForkedError:
            return
        # Unique events that this seat has already claimed: no other worker runs them.
        for event in claimed:
            self._handlers.run(event)

    def _after_fork_in_child(self) -> None:
        super()._after_fork_in_child()
        self._has_bell = False
        # These are for the parent.
        self._local.clear()
        self._handlers.progress.clear()


class Worker(Reader):
    """A seat on the bus: it posts events, and runs handlers for events in the order that all processes share.

    It joins when it is first used, separately in each process: an object of a module works before and after a fork. In
    a forked child it reads from the position of the bus at the fork. Threads may use it at the same time, and one of
    them polls.

    ``bus`` is a :class:`Bus`, or the name of one. ``label`` is a name for ``seqcast top``. ``start`` is where it
    begins to read: ``"now"``, ``"oldest"``, ``"retained"``, ``("at", id)``, ``("after", id)`` or
    ``("resume", position)``. ``codec`` encodes posted values, and decodes those of :meth:`get`. Without ``announce``,
    the events ``seqcast/started``, ``seqcast/stopping`` and ``seqcast/died`` are not posted. ``timeout`` is the number
    of seconds that a unique key is held if a post sets no ttl (2). ``wait_interval`` is the time between two checks of
    a reserved id (0.01), and ``wait_max`` the longest wait for it (0.5). ``bell_interval`` is the longest sleep of a
    wait and of an event loop (1).

    With ``start="retained"``, the first poll delivers the last retained event of each key, then the local event
    ``seqcast/up-to-date``, then new events: register handlers before it. This also holds in a forked child, which gets
    other events from its first use on. With ``resync``, a worker that has missed events gets the retained ones among
    them and the clears, and then ``seqcast/up-to-date``. If the bus does not know the clears any more, it first gets
    ``seqcast/reset``, which says that all that it knows of retained events is void, and then all of them.

    With ``must_read``, posts of others wait for this worker, each for at most so many seconds, so that it misses no
    event. After a post has waited for that long, the worker gets :class:`Lagged` with ``cut_off``, and posts wait for
    it again when it reads on. It must be longer than ``wait_max`` and at most ``most_patience`` of the bus. A process
    that has ended delays no post. Posts of this worker itself never wait: without room they raise :class:`FullError`,
    and it has to poll first.

    >>> import seqcast
    >>> with seqcast.Bus.anonymous() as bus, seqcast.Worker(bus) as worker:
    ...     @worker.on("cache", "stale")
    ...     def forget(event: seqcast.Event) -> None:
    ...         print("forget", event.text())
    ...     _ = worker.post("cache", "stale", "user:42")
    ...     _ = worker.poll()
    forget user:42
    """

    def _check_handler(self, handler: Callable[..., object]) -> None:
        if inspect.iscoroutinefunction(handler):
            raise TypeError("a handler that is a coroutine function needs an event loop: use seqcast.aio.Worker")

    def poll(self, limit: Optional[int] = None) -> int:
        """Run the handlers of all new events, or of at most ``limit`` events. Return the number of events.

        It never waits. Without new events it takes less than a microsecond, so a server can poll on every request.
        Events that handlers post are delivered in the same poll. A poll inside a poll, or while another thread polls,
        returns 0.
        """
        seat = self._seat
        if seat is None:
            seat = self._take_seat()
        handlers = self._handlers
        try:
            if handlers.is_changed:
                self._prepare_poll(seat)
            return seat.poll(handlers, self._local, limit)
        except ForkedError:
            # A handler has forked and returned in the child, where the rest is not run.
            self._forget(seat)
            self._seated()
            return 0

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Sleep until there may be events to poll, for at most ``timeout`` seconds.

        Return ``False`` if there are none. Other threads run meanwhile. A signal whose handler raises, such as Ctrl-C,
        ends the wait at once.

        >>> import seqcast
        >>> with seqcast.Bus.anonymous() as bus, seqcast.Worker(bus) as worker:
        ...     _ = worker.poll()
        ...     worker.wait(0.001)
        False
        """
        seat = self._seated()
        while True:
            try:
                if self._local or seat.has_news():
                    return True
                if not self._has_bell:
                    seat, _ = self._belled()
                return seat.wait(self._local, timeout)
            except ForkedError:
                seat = self._taken_after(seat)

    def run(self) -> None:
        """Wait and poll until another thread, or a handler, calls :meth:`leave`."""
        while True:
            try:
                self.wait()
                self.poll()
            except LeftError:
                return

    def start_thread(self) -> threading.Thread:
        """Start a thread that waits and polls, for servers without such a loop. It ends with :meth:`leave`.

        Handlers run in that thread. Start it in the process that serves, after the last fork.

        >>> import seqcast, threading
        >>> done = threading.Event()
        >>> with seqcast.Bus.anonymous() as bus, seqcast.Worker(bus) as worker:
        ...     _ = worker.on("job", "done")(lambda event: done.set())
        ...     thread = worker.start_thread()
        ...     _ = worker.post("job", "done")
        ...     done.wait(60)
        True
        >>> thread.join()
        """
        self.join()
        thread = threading.Thread(target=self.run, name="seqcast", daemon=True)
        thread.start()
        return thread

    # Reading without handlers

    def next(self, timeout: Optional[float] = 0) -> Union[Event, Notice, None]:
        """Return the next delivery, or ``None`` if there is none for ``timeout`` seconds. ``None`` sets no limit.

        It is for workers without handlers. It also returns deliveries other than events.

        >>> import seqcast
        >>> with seqcast.Bus.anonymous() as bus, seqcast.Worker(bus, announce=False) as worker:
        ...     _ = worker.post("cache", "stale", "user:42")
        ...     worker.next().text(), worker.next()
        ('user:42', None)
        """
        if self._handlers:
            raise TypeError("this worker has handlers, which poll() runs: make another worker to read without")
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            found = self._take_next()
            if found is not None:
                return found
            left = None if end is None else max(0.0, end - time.monotonic())
            if left == 0 or not self.wait(left):
                return None

    def events(self, timeout: Optional[float] = None) -> Iterator[Event]:
        """Iterate over events, until none comes for ``timeout`` seconds, or without a limit.

        Other deliveries go to :meth:`on_notice`. The iteration ends when the worker leaves.

        >>> import seqcast
        >>> with seqcast.Bus.anonymous() as bus, seqcast.Worker(bus, announce=False) as worker:
        ...     _ = worker.post("cache", "stale", "user:42")
        ...     for event in worker.events(timeout=0):
        ...         print(event.topic, event.data)
        ('cache', 'stale') b'user:42'
        """
        while True:
            try:
                found = self.next(timeout)
            except LeftError:
                return
            if found is None:
                return
            if isinstance(found, Event):
                yield found
            else:
                self._handlers.notice(found)

    def __iter__(self) -> Iterator[Event]:
        return self.events()

