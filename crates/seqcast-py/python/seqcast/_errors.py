"""The exceptions."""

from __future__ import annotations

from typing import Any, Optional


class Error(Exception):
    """An error of seqcast. Its text says what happened, with the values, and what to do.

    >>> import seqcast
    >>> try:
    ...     seqcast.unlink("no-such-bus")
    ... except seqcast.Error as error:
    ...     print(error.code, error.number, error)
    not_found 6 no segment /no-such-bus: create it first, or use open_or_create
    """

    code: str = "other"
    """A short name that never changes, for logs and metrics."""

    number: int = 0
    """The number of the code, which never changes: that of the Rust crate and, negative, of the C interface."""

    errno: Optional[int] = None
    """The number of the system's error, if a system call failed."""


class ForkedError(Error):
    """The seat was taken before this process was forked, and cannot be used in it.

    In a forked child, objects of this package join again on their own. Only code that holds a :class:`Claim` or a
    :class:`Reservation` over a fork gets this error.
    """


class LeftError(Error):
    """The worker has left the bus, or the bus was closed."""


class NotFoundError(Error):
    """No segment has this name."""


class ExistsError(Error):
    """A segment of this name exists already."""


class NoSeatError(Error):
    """Every seat is taken. The text lists the processes that hold them."""


class OptionError(Error, ValueError):
    """A name, an option or an argument is not allowed."""


class TooLargeError(Error, ValueError):
    """A payload does not fit. The text says its size and the largest possible size."""


class RetainedFullError(Error):
    """There is no place for another key of retained events. Nothing was posted.

    Clear what is not needed, give it a ttl, or create the bus with more ``retained``.

    >>> import seqcast
    >>> with seqcast.Bus.anonymous(retained=1) as bus, seqcast.Publisher(bus) as publisher:
    ...     _ = publisher.post("upstream", "state", "down", key="17", retain=True)
    ...     try:
    ...         publisher.post("upstream", "state", "up", key="18", retain=True)
    ...     except seqcast.RetainedFullError as error:
    ...         print(error.code)
    retained_full
    """


class FullError(Error):
    """A worker that must read has no room for an event, which was not posted: post again later.

    :meth:`Publisher.try_post <seqcast.Publisher.try_post>` and the like raise it instead of a wait. A worker that must
    read itself never waits: its posts raise it, too, and it has to read first.

    >>> import seqcast
    >>> with seqcast.Bus.anonymous(capacity=8) as bus:
    ...     state = seqcast.Worker(bus, label="state", must_read=1, announce=False)
    ...     with state, seqcast.Publisher(bus) as publisher:
    ...         for number in range(8):
    ...             _ = publisher.try_post("load", "is", str(number))
    ...         try:
    ...             publisher.try_post("load", "is", "8")
    ...         except seqcast.FullError as error:
    ...             print(error.label, error.lag, error.patience, error.is_own)
    state 8 1.0 False
    """

    seat: int = 0
    """The number of the seat that is furthest behind."""

    pid: int = 0
    """The process id of its holder, in its own pid namespace."""

    label: str = ""
    """The label of its holder."""

    lag: int = 0
    """The number of events that it is behind."""

    patience: float = 0.0
    """The number of seconds that posts wait for it."""

    is_own: bool = False
    """``True`` if it is the worker that wanted to post."""


class NoRelayError(Error):
    """An event is for all hosts, but no relay has been started on this host, or the last one has left."""


class TooLateError(Error):
    """A reserved id was given up before it was committed."""


class ClaimLostError(Error):
    """A claim has ended before it was renewed or completed. The text says which process holds the key now."""


class OtherBusError(Error):
    """The position belongs to another bus: the segment with this name has been created again since."""


class DecodeError(Error, ValueError):
    """A codec cannot decode the payload. The text does not contain the payload.

    >>> import seqcast
    >>> with seqcast.Bus.anonymous() as bus, seqcast.Worker(bus) as worker:
    ...     _ = worker.post("job", "done", b"{")
    ...     event = worker.next()
    ...     try:
    ...         event.json()
    ...     except seqcast.DecodeError as error:
    ...         print(error.code)
    decode
    """

    code = "decode"


_CLASSES: dict[str, type[Error]] = {
    "forked": ForkedError,
    "left": LeftError,
    "not_found": NotFoundError,
    "exists": ExistsError,
    "no_seat": NoSeatError,
    "name": OptionError,
    "option": OptionError,
    "topic": OptionError,
    "library_source": OptionError,
    "not_yet": OptionError,
    "payload_too_large": TooLargeError,
    "retained_full": RetainedFullError,
    "full": FullError,
    "no_relay": NoRelayError,
    "too_late": TooLateError,
    "other_bus": OtherBusError,
    "claim_lost": ClaimLostError,
}


def make(
    code: str, number: int, message: str, errno: Optional[int], details: Optional[dict[str, Any]] = None
) -> Error:
    """Return the exception for an error of the library. ``details`` are attributes of its class."""
    error = _CLASSES.get(code, Error)(message)
    error.code = code
    error.number = number
    error.errno = errno
    for name, value in (details or {}).items():
        setattr(error, name, value)
    return error
