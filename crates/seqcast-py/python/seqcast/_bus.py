"""A process's handle on a bus."""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import Any, Literal, Optional, Union

from . import _fork, _seqcast
from ._errors import Error, LeftError, make

logger = logging.getLogger("seqcast")

How = Literal["open_or_create", "open", "create"]
Start = Union[
    Literal["now", "oldest", "retained"],
    tuple[Literal["at", "after"], int],
    tuple[Literal["resume"], str],
]


def closed(what: str) -> Error:
    """Return the error for an object that is used after it was closed."""
    return make("left", 41, f"this {what} was closed before: make another one", None)


class Bus:
    """A bus: a segment of shared memory through which the processes of one host post events to each other.

    It is opened when it is first used, so a module can create it at import. ``how`` is ``"open_or_create"``,
    ``"open"`` or ``"create"``. A forked child uses the same bus.

    ``capacity`` is the number of events that the ring holds, ``block_size`` the bytes of the largest event in one
    piece, ``claims`` the number of unique keys that can be held at the same time, ``retained`` the number of keys that
    can have a retained event (64; 0 for none), ``retained_size`` the bytes of the largest retained event with its names
    and key, ``large`` the number of large blocks and their bytes, for payloads that do not fit in a block (none), and
    ``seats`` the largest number of workers. ``most_patience`` is the longest time in seconds for which a worker may
    have posts wait for it (1; 0 for none), and ``relay_hosts`` the number of hosts of which a relay can remember what
    has come from them (256; 0 for none). They apply when the segment is created. An existing segment keeps its own
    values: :attr:`differences` lists them, and with ``strict`` opening fails. ``mode`` and ``owner`` are the
    permissions. ``creation_timeout`` is the number of seconds to wait for another process that is creating the segment.
    With ``dump``, core dumps contain the segment. With ``unlink``, the last process that leaves removes the name.

    >>> import os, seqcast
    >>> with seqcast.Bus(f"doc-bus-{os.getpid()}", capacity=1024, unlink=True) as bus:
    ...     with seqcast.Worker(bus) as worker:
    ...         _ = worker.post("cache", "stale", "user:42")
    ...     bus.capacity
    1024
    """

    def __init__(
        self,
        name: str,
        *,
        how: How = "open_or_create",
        capacity: Optional[int] = None,
        block_size: Optional[int] = None,
        claims: Optional[int] = None,
        retained: Optional[int] = None,
        retained_size: Optional[int] = None,
        large: Optional[tuple[int, int]] = None,
        seats: Optional[int] = None,
        most_patience: Optional[float] = None,
        relay_hosts: Optional[int] = None,
        mode: Optional[int] = None,
        owner: Optional[tuple[int, int]] = None,
        strict: bool = False,
        dump: bool = False,
        creation_timeout: Optional[float] = None,
        unlink: bool = False,
    ) -> None:
        if not isinstance(name, str):
            raise TypeError(f"the name of a bus must be str, not {type(name).__name__}")
        if how not in ("open_or_create", "open", "create"):
            raise ValueError(f'how is {how!r}: it must be "open_or_create", "open" or "create"')
        arguments: dict[str, Any] = {
            "capacity": capacity,
            "block_size": block_size,
            "claims": claims,
            "retained": retained,
            "retained_size": retained_size,
            "large": large,
            "seats": seats,
            "most_patience": most_patience,
            "relay_hosts": relay_hosts,
            "mode": mode,
            "owner": owner,
            "strict": strict,
            "dump": dump,
            "creation_timeout": creation_timeout,
        }
        self._set_up(name, how, arguments, unlink)

    def _set_up(self, name: str, how: str, arguments: dict[str, Any], unlink: bool) -> None:
        self._name = name
        self._how = how
        self._arguments = arguments
        self._options = _seqcast.BusOptions(**arguments)
        self._unlink = unlink
        self._native: Optional[_seqcast.Bus] = None
        self._closed = False
        self._lock = threading.Lock()
        self._position_at_fork: Optional[str] = None
        # The package's own seats on this bus: one for its caches, and one to claim jobs.
        self._reader: Any = None
        self._publisher: Any = None
        _fork.register(self)

    @classmethod
    def anonymous(
        cls,
        *,
        capacity: Optional[int] = None,
        block_size: Optional[int] = None,
        claims: Optional[int] = None,
        retained: Optional[int] = None,
        retained_size: Optional[int] = None,
        large: Optional[tuple[int, int]] = None,
        seats: Optional[int] = None,
        most_patience: Optional[float] = None,
        relay_hosts: Optional[int] = None,
        dump: bool = False,
    ) -> Bus:
        """Create a bus without a name now, for this process and the processes that it forks.

        >>> import seqcast
        >>> with seqcast.Bus.anonymous(capacity=64) as bus:
        ...     bus.next_id
        0
        """
        bus = cls.__new__(cls)
        arguments: dict[str, Any] = {
            "capacity": capacity,
            "block_size": block_size,
            "claims": claims,
            "retained": retained,
            "retained_size": retained_size,
            "large": large,
            "seats": seats,
            "most_patience": most_patience,
            "relay_hosts": relay_hosts,
            "dump": dump,
        }
        bus._set_up("", "anonymous", arguments, False)
        bus.open()
        return bus

    def open(self) -> Bus:
        """Open the bus now, if it is not open yet. Return it."""
        self._opened()
        return self

    def _opened(self) -> _seqcast.Bus:
        native = self._native
        if native is not None:
            return native
        with self._lock:
            if self._closed:
                raise closed("bus")
            if self._native is None:
                native = _seqcast.open(self._how, self._name, self._options)
                self._native = native
                _fork.leave_at_exit()
                if native.differences:
                    differences = ", ".join(native.differences)
                    logger.warning("the bus %s exists with other options: %s", native.name, differences)
            return self._native

    def close(self) -> None:
        """Close the handle. Workers and publishers that have joined stay joined."""
        with self._lock:
            self._closed = True
            native, self._native = self._native, None
        if native is not None:
            native.close(self._unlink)

    def __del__(self) -> None:
        # `unlink` also applies to a bus that is dropped.
        if getattr(self, "_native", None) is not None:
            self._at_exit()

    def __enter__(self) -> Bus:
        return self.open()

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    @property
    def name(self) -> str:
        """The name, with its slash, as under ``/dev/shm``. No process can open the name of an anonymous bus."""
        return self._opened().name

    @property
    def id(self) -> str:
        """The identity: 32 hexadecimal digits. Each segment that is created has a different one."""
        return self._opened().id

    @property
    def origin(self) -> str:
        """The name of the segment among the hosts of a cluster: 16 hexadecimal digits, as :attr:`Event.origin` has it.

        >>> import seqcast
        >>> with seqcast.Bus.anonymous() as bus:
        ...     bus.id.startswith(bus.origin)
        True
        """
        return self._opened().origin

    @property
    def next_id(self) -> int:
        """The id of the next event that is posted."""
        return self._opened().next_id

    @property
    def capacity(self) -> int:
        """The number of events that the ring holds."""
        return self._opened().capacity

    @property
    def largest_event(self) -> int:
        """The bytes of the largest event, with its names and up to 63 bytes more."""
        return self._opened().largest_event

    @property
    def was_created(self) -> bool:
        """``True`` if this object has created the segment."""
        return self._opened().was_created

    @property
    def differences(self) -> list[str]:
        """The options that the existing segment does not have, such as ``capacity is 1024, not 4096``."""
        return self._opened().differences

    def key_hash(self, key: Union[bytes, str]) -> str:
        """Return the hash of a key of a claim: 32 hexadecimal digits. :class:`Died` names keys by it.

        >>> import seqcast
        >>> with seqcast.Bus.anonymous() as bus:
        ...     bus.key_hash("nightly-mail") == bus.key_hash("hourly-mail")
        False
        """
        return self._opened().key_hash(key)

    def is_current(self) -> bool:
        """Return ``True`` if the name still leads to this segment."""
        return self._opened().is_current()

    def stats(self) -> dict[str, Any]:
        """Return all figures of the bus by name, and under ``workers`` the figures of each seat.

        >>> import seqcast
        >>> with seqcast.Bus.anonymous() as bus, seqcast.Worker(bus, label="web") as worker:
        ...     [figures["label"] for figures in bus.stats()["workers"]]
        ['web']
        """
        return self._opened().stats()

    def unlink(self) -> None:
        """Remove the name. Processes that have the bus open keep using it. No other process can open it any more."""
        self._opened().unlink()

    def __reduce__(self) -> tuple[Any, ...]:
        if self._how == "anonymous":
            raise TypeError("an anonymous bus cannot be sent to another process: give the bus a name, or fork")
        return (_restored, (self._name, self._how, self._arguments, self._unlink))

    def __repr__(self) -> str:
        return f"<Bus {self._name!r}>" if self._how != "anonymous" else "<anonymous Bus>"

    # Forks and exit

    def _before_fork(self) -> None:
        native = self._native
        if native is not None:
            try:
                self._position_at_fork = f"{native.id}:{native.next_id}"
            except LeftError:
                self._position_at_fork = None

    def _after_fork_in_parent(self) -> None:
        self._position_at_fork = None

    def _after_fork_in_child(self) -> None:
        # Another thread of the parent may have held it.
        self._lock = threading.Lock()

    def _at_exit(self) -> None:
        # The name cannot be removed, or the kernel gives no proof. No caller is left to get the error.
        try:
            self.close()
        except Error as error:
            logger.warning("the bus %s was not closed in order: %s", self._name, error)


def _restored(name: str, how: str, arguments: dict[str, Any], unlink: bool) -> Bus:
    bus = Bus.__new__(Bus)
    # Another process has created it.
    bus._set_up(name, "open_or_create" if how == "create" else how, arguments, unlink)
    return bus
