"""What can go wrong, as exceptions."""

from __future__ import annotations

from typing import Optional


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
    """A seat was taken before this process was forked off, and cannot be used in it.

    Objects of this package join again by themselves in a forked child, so that this is seen only by code that holds a
    :class:`Claim` or a :class:`Reservation` over a fork.
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
    """A name, an option or an argument is outside what is possible."""


class TooLargeError(Error, ValueError):
    """A payload does not fit. The text has its size and the largest possible one."""


class TooLateError(Error):
    """A reserved id was given up before it was committed."""


class ClaimLostError(Error):
    """A claim has ended before it was renewed or completed. The text says which process holds the key now."""


class OtherBusError(Error):
    """A position is one of another bus: the segment of this name was created again since."""


class DecodeError(Error, ValueError):
    """A payload is not what a codec expects. The text does not contain the payload.

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
    "too_late": TooLateError,
    "other_bus": OtherBusError,
    "claim_lost": ClaimLostError,
}


def make(code: str, number: int, message: str, errno: Optional[int]) -> Error:
    """Make the exception for an error of the library."""
    error = _CLASSES.get(code, Error)(message)
    error.code = code
    error.number = number
    error.errno = errno
    return error
