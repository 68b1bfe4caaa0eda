"""Seats that post, look up and claim."""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import Any, Callable, Optional, TypeVar, Union

from . import _fork, _seqcast
from ._bus import Bus, closed
from ._claims import Claim, Held
from ._codec import Codec, decode
from ._errors import Error, ForkedError
from ._seqcast import Retained, Seat

logger = logging.getLogger("seqcast")

Data = Union[bytes, bytearray, memoryview, str]
Key = Union[bytes, str]

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

    # True if `post` and `post_unique` wait for workers that must read.
    _post_waits = True

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
        return self._post(source, event, data, key, ttl, codec, type_tag, retain, cluster, self._post_waits)

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
