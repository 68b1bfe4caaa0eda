"""Claims: a process claims a key, and others cannot until the claim ends."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Optional, Union

from ._errors import Error, make

if TYPE_CHECKING:
    from ._publisher import Publisher


class Claim:
    """The outcome of a claim. It is true if the claim was won.

    A context manager releases the claim at the end of the block, so that another process can win the key. Otherwise
    the key is held until the ttl ends, or until :meth:`release`.

    >>> import seqcast
    >>> with seqcast.Bus.anonymous() as bus, seqcast.Worker(bus) as worker, seqcast.Worker(bus) as other:
    ...     with worker.claim("nightly", ttl=60) as claim:
    ...         bool(claim), bool(other.claim("nightly", ttl=60))
    ...     bool(other.claim("nightly", ttl=60))
    (True, False)
    True
    """

    __slots__ = ("_publisher", "ends_with_holder", "key", "left_to_others", "seat", "token", "ttl")

    def __init__(
        self,
        publisher: Publisher,
        key: Union[bytes, str],
        ttl: float,
        ends_with_holder: bool,
        claimed: dict[str, Any],
    ) -> None:
        self._publisher = publisher
        self.key = key
        """The key."""
        self.ttl = ttl
        """For how many seconds the key was claimed."""
        self.ends_with_holder = ends_with_holder
        """``True`` if the claim ends when this process does."""
        self.token: Optional[bytes] = claimed.get("token")
        """The claim as plain data, for :meth:`Publisher.release` in any process; ``None`` if it was not won."""
        self.seat: Optional[int] = claimed.get("seat")
        """The seat that holds the key, if this one does not."""
        self.left_to_others: Optional[float] = claimed.get("left")
        """In how many seconds the key was free when it was claimed, if another seat held it."""

    @property
    def won(self) -> bool:
        """``True`` if the claim was won."""
        return self.token is not None

    @property
    def is_full(self) -> bool:
        """``True`` if there is no room for the key: create the bus with more ``claims``."""
        return self.token is None and self.seat is None

    def __bool__(self) -> bool:
        return self.token is not None

    @property
    def left(self) -> float:
        """The seconds for which this claim still holds the key; 0 if the claim has ended or was not won."""
        if self.token is None:
            return 0.0
        return self._publisher._with_seat(lambda seat, token: seat.left(token), self.token)

    def renew(self, ttl: Optional[float] = None) -> None:
        """Hold the key for ``ttl`` seconds from now on. The default is the ttl of the claim.

        Raises :class:`ClaimLostError` if the claim has ended: stop the work. Its text says which process holds the key.

        >>> import seqcast
        >>> with seqcast.Bus.anonymous() as bus, seqcast.Publisher(bus) as publisher:
        ...     claim = publisher.claim("nightly", ttl=60)
        ...     claim.renew(3600)
        ...     claim.left > 3000
        True
        """
        token = self._won_token()
        self._publisher._with_seat(lambda seat, token: seat.renew(token, self.ttl if ttl is None else ttl), token)

    def complete(self, ttl: float) -> None:
        """Complete the claim when the work is done: the key is held for ``ttl`` seconds, even if this process ends.

        Raises :class:`ClaimLostError` if the claim has ended.

        >>> import seqcast
        >>> with seqcast.Bus.anonymous() as bus:
        ...     with seqcast.Publisher(bus) as publisher:
        ...         publisher.claim("nightly", ttl=60, ends_with_holder=True).complete(3600)
        ...     with seqcast.Publisher(bus) as publisher:
        ...         bool(publisher.claim("nightly", ttl=60))
        False
        """
        self._publisher._with_seat(lambda seat, token: seat.complete(token, ttl), self._won_token())

    def _won_token(self) -> bytes:
        if self.token is None:
            raise make("claim_lost", 49, f"the claim of {self.key!r} was not won: look at it before", None)
        return self.token

    def release(self) -> bool:
        """End the claim. Return ``False`` if it was not won or has already ended."""
        return self.token is not None and self._publisher.release(self.token)

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        try:
            self.release()
        except Error:
            # The worker has left, or this is a forked child: the block's own error says more.
            if error is None:
                raise

    # Without the key, which may be secret.
    def __repr__(self) -> str:
        if self.won:
            return "<Claim, won>"
        return "<Claim, no room>" if self.is_full else f"<Claim, held by seat {self.seat}>"


@dataclass(frozen=True)
class Held:
    """A key that is held, as returned by :meth:`Publisher.held`."""

    seat: int
    """The seat that won it."""
    winner: str
    """The state of that seat: ``"alive"``, ``"dead"`` or ``"gone"``."""
    pid: Optional[int]
    """The process id of its holder, in its own pid namespace."""
    label: str
    """The label of the seat."""
    since: float
    """How many seconds ago it was won."""
    left: float
    """For how many seconds it is still held."""
    ends_with_holder: bool
    """``True`` if the claim ends with its holder, and maybe earlier."""


@dataclass(frozen=True)
class HeldClaim:
    """A key that is held, or whose last decision the segment remembers, as :meth:`Inspector.claims` lists it."""

    key_hash: str
    """The hash of the key: see :meth:`Bus.key_hash`."""
    kind: str
    """``"alone"``, or ``"event"`` for the key of unique events. Each kind has keys of its own."""
    seat: int
    """The seat that won it."""
    winner: str
    """The state of that seat: ``"alive"``, ``"dead"`` or ``"gone"``."""
    pid: Optional[int]
    """The process id of its holder, in its own pid namespace. ``None`` if the winner is gone."""
    label: str
    """The label of the seat. Empty if the winner is gone."""
    since: float
    """How many seconds ago it was won."""
    left: Optional[float]
    """For how many seconds it is still held. ``None`` if it is free already."""
    ends_with_holder: bool
    """``True`` if the claim ends with its holder, and maybe earlier."""
    decided: Optional[tuple[int, int]]
    """The first and the last id of the key's events that are decided. ``None`` for a claim without an event."""
    token: bytes
    """The claim, for :meth:`Publisher.release`, if its holder has died."""
