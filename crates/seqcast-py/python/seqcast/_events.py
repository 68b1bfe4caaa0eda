"""Deliveries other than posted events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Union

from ._seqcast import Event, parse_died


class LocalEvent(Event):
    """An event only for this process, posted by ``post_local``. It carries an object by reference.

    >>> import seqcast
    >>> with seqcast.Bus.anonymous() as bus, seqcast.Worker(bus) as worker:
    ...     payload = object()
    ...     worker.post_local("job", "done", payload)
    ...     event = worker.next()
    ...     event.is_local, event.value is payload, event.json() is payload
    (True, True, True)
    """

    __slots__ = ("value",)

    value: Any
    """The object that was posted. ``text``, ``json`` and ``decode`` also return it."""

    def __new__(cls, source: str, event: str, value: Any = None) -> LocalEvent:
        self = super().__new__(cls, source, event)
        self.value = value
        return self


@dataclass(frozen=True)
class Lagged:
    """Events were overwritten before this worker read them. State that is built from events must be rebuilt."""

    first: int
    """The first missed id."""
    missed: int
    """The number of missed events."""
    cut_off: bool = False
    """``True`` if this worker must read, and a post had waited for it for all of its patience."""


@dataclass(frozen=True)
class Missed:
    """Events were lost between hosts, as this host's relay reports. State that is built from events must be rebuilt."""

    id: int
    """The id of the report."""
    count: Optional[int]
    """The number of lost events at most. ``None`` if it is not known."""
    reason: str
    """Why they were lost, for example ``"engine_lost"``."""
    origin: Optional[str] = None
    """The host whose events were lost, as :attr:`Bus.origin` is there. ``None`` if they are not those of one host."""


@dataclass(frozen=True)
class Undecided:
    """A unique event that this worker did not run, because it is unknown if another process has run it."""

    id: int
    """The event's id."""
    reason: str
    """``"claims_full"``: create the bus with more ``claims``. ``"late"``: poll more often, or raise the ttl."""


@dataclass(frozen=True)
class Unreadable:
    """The content at an id was not written by seqcast, and was skipped."""

    id: int
    """The id."""


@dataclass(frozen=True)
class Cleared:
    """No event is retained under a key any more. A worker without handlers gets this; others have ``on_cleared``.

    >>> import seqcast
    >>> with seqcast.Bus.anonymous() as bus, seqcast.Worker(bus, announce=False) as worker:
    ...     _ = worker.post("upstream", "state", "down", key="17", retain=True)
    ...     _ = worker.clear("upstream", "state", key="17")
    ...     [event.data for event in (worker.next(), worker.next().event)]
    [b'down', b'']
    """

    event: Event
    """The event, with its ``retained_key`` and without a payload."""


@dataclass(frozen=True)
class Reset:
    """All that this worker knows of retained events is void. All of them follow, and then :class:`UpToDate`."""

    id: int
    """The id at which live events continue."""


@dataclass(frozen=True)
class UpToDate:
    """This worker has received every retained event that it lacked."""

    id: int
    """The id at which live events continue."""


Notice = Union[Lagged, Missed, Undecided, Unreadable, Cleared, Reset, UpToDate]


@dataclass(frozen=True)
class Died:
    """The payload of the event ``seqcast/died``: a seat was taken over from a process that has died.

    The process that takes the seat posts it, unless its ``announce`` is off.

    >>> import seqcast
    >>> event = seqcast.Event("seqcast", "died", b"seat 3\\npid 4711\\nclaims 0\\nlabel web-1")
    >>> seqcast.Died.of(event)
    Died(seat=3, pid=4711, label='web-1', reserved=None, claims=0, keys=())
    >>> seqcast.Died.of(seqcast.Event("cache", "stale")) is None
    True
    """

    seat: int
    """The number of the seat."""
    pid: int
    """The process id of its holder, in its own pid namespace."""
    label: str
    """The label of its holder."""
    reserved: Optional[int]
    """The id that it had reserved and that was given up."""
    claims: int
    """The number of keys that it had claimed without an event, and held."""
    keys: tuple[str, ...]
    """The hashes of these keys, or of the first 64 of them: see :meth:`Bus.key_hash`."""

    @classmethod
    def of(cls, event: Event) -> Optional[Died]:
        """Return the payload of an event, or ``None`` if the event is not ``seqcast/died``."""
        if event.topic != ("seqcast", "died"):
            return None
        found = parse_died(event.data)
        return None if found is None else cls(**found)
