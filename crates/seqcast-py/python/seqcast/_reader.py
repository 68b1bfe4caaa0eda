"""Seats that read: what workers with and without an event loop have in common."""

from __future__ import annotations

import logging
from collections import deque
from typing import Any, Callable, Optional, TypeVar, Union

from . import _fork, _seqcast
from ._bus import Bus, Start
from ._codec import Codec
from ._errors import ForkedError
from ._events import LocalEvent, Notice
from ._handlers import Handler, Handlers
from ._publisher import Publisher
from ._seqcast import Event, Seat

logger = logging.getLogger("seqcast")

H = TypeVar("H", bound=Callable[..., object])
N = TypeVar("N", bound=Callable[[Notice], object])


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
