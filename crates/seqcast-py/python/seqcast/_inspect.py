"""Inspection of a bus from outside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Optional

from . import _seqcast
from ._bus import Start
from ._claims import HeldClaim
from ._seqcast import Retained


class Inspector:
    """An inspector of a bus. It maps the segment for reading only, and takes no seat.

    >>> import os, seqcast
    >>> with seqcast.Bus(f"doc-inspect-{os.getpid()}", unlink=True) as bus, seqcast.Publisher(bus) as publisher:
    ...     _ = publisher.post("cache", "stale", "user:42")
    ...     inspector = seqcast.Inspector(bus.name)
    ...     [(seen["kind"], seen["event"], seen["data"]) for seen in inspector.tail(payloads=True)]
    [('event', 'stale', b'user:42')]
    """

    def __init__(self, name: str) -> None:
        self._native = _seqcast.Inspector(name)

    @property
    def name(self) -> str:
        """The name of the bus."""
        return self._native.name

    @property
    def id(self) -> str:
        """The identity of the bus."""
        return self._native.id

    @property
    def next_id(self) -> int:
        """The id of the next event that is posted."""
        return self._native.next_id

    def is_current(self) -> bool:
        """Return ``True`` if the name still leads to this segment."""
        return self._native.is_current()

    def stats(self) -> dict[str, Any]:
        """Return all figures, as :meth:`Bus.stats` does."""
        return self._native.stats()

    def retained(self) -> list[Retained]:
        """Return the last retained event of every key, as :meth:`Publisher.retained` does, but without settling.

        If the poster of an event has not brought it into the table yet, the event before it is returned.
        """
        return self._native.retained()

    def claims(self) -> list[HeldClaim]:
        """Return the keys that are held, and those whose last decision the segment remembers, in no particular order.

        >>> import os, seqcast
        >>> with seqcast.Bus(f"doc-claims-{os.getpid()}", unlink=True) as bus:
        ...     with seqcast.Publisher(bus, label="web") as publisher:
        ...         _ = publisher.claim("nightly-mail", ttl=60)
        ...         entry, = seqcast.Inspector(bus.name).claims()
        ...         entry.key_hash == bus.key_hash("nightly-mail"), entry.label, entry.winner
        (True, 'web', 'alive')
        """
        return [HeldClaim(**entry) for entry in self._native.claims()]

    def tail(
        self, *, start: Start = "oldest", payloads: bool = False, patience: Optional[float] = None
    ) -> Iterator[dict[str, Any]]:
        """Iterate over the content of the ring: dicts with a ``kind``, such as ``"event"``, ``"gap"`` or ``"void"``.

        An event has ``source``, ``event``, ``data``, ``len``, ``pid``, ``seat``, ``is_unique``, ``ttl``,
        ``retained_key``, ``is_cleared`` and ``is_large``. ``is_request`` tells of a request to the relay, and an event
        that a relay has posted has ``origin``, ``origin_id`` and ``cluster_id``.

        It ends when there is nothing new; iterate again to go on. ``patience`` is how many seconds a reserved id is
        waited for.
        """
        tail = self._native.tail(start, payloads, patience)
        return iter(tail.next, None)
