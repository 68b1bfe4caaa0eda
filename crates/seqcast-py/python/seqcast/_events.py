"""Deliveries other than posted events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Union

from ._seqcast import Event


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


Notice = Union[Lagged, Undecided, Unreadable]
