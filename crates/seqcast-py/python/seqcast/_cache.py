"""A cache per process whose deletions reach all processes."""

from __future__ import annotations

import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Awaitable, Iterator, MutableMapping
from typing import Any, Callable, Generic, Optional, TypeVar, Union, overload

from . import _seqcast
from ._bus import Bus
from ._default import default_bus
from ._errors import Error
from ._events import Notice
from ._seqcast import Event, Seat
from ._worker import Worker

V = TypeVar("V")
D = TypeVar("D")

_DELETE = "delete"
_CLEAR = "clear"


class _Reader(Worker):
    """The seat through which the caches of one bus get each other's deletions."""

    def __init__(self, bus: Bus) -> None:
        self.caches: weakref.WeakSet[SharedCache[Any]] = weakref.WeakSet()
        self.lock = threading.RLock()
        # True if the entries are from before the last fork.
        self._is_as_forked = False
        super().__init__(bus, label="cache", announce=False)
        self.on_notice(self._on_notice)

    def _on_notice(self, notice: Notice) -> None:
        # The deleted keys are not known.
        self.forget_all()

    def forget_all(self) -> None:
        """Forget all entries of this process."""
        for cache in list(self.caches):
            cache._forget_all()

    def _take(self, bus: _seqcast.Bus) -> Seat:
        if not (self._is_as_forked and self.bus._position_at_fork is not None):
            # This process may have missed deletions.
            self.forget_all()
        self._is_as_forked = False
        return super()._take(bus)

    def _before_fork(self) -> None:
        super()._before_fork()
        self._is_as_forked = False
        seat = self._seat
        if seat is not None:
            try:
                self.poll()
                self._is_as_forked = True
            except Error:
                # The child begins with empty caches.
                pass

    def _after_fork_in_child(self) -> None:
        super()._after_fork_in_child()
        self.lock = threading.RLock()
        for cache in list(self.caches):
            cache._loads.clear()


def _reader_of(bus: Bus) -> _Reader:
    with bus._lock:
        reader = bus._reader
        if reader is None:
            reader = bus._reader = _Reader(bus)
        assert isinstance(reader, _Reader)
        return reader


class _Load:
    """A value that is being loaded."""

    __slots__ = ("is_stale",)

    def __init__(self) -> None:
        self.is_stale = False


class SharedCache(MutableMapping[str, V], Generic[V]):
    """A dict of this process whose deletions reach the caches of the same name in all processes of the bus.

    Storing a value is local. ``del``, :meth:`pop`, :meth:`invalidate` and :meth:`clear` reach all processes: a read
    that begins after they have returned finds no older value, in any process. If a process was too slow and has missed
    deletions, it starts again with an empty cache.

    The cache keeps the ``maxsize`` entries that were used last, each for ``ttl`` seconds. Values are kept by
    reference. Any number of threads may use the cache.

    If another process may change a value, read it with :meth:`get_or_load`, which does not keep a value that was
    deleted while it was being loaded.

    >>> import seqcast
    >>> with seqcast.Bus.anonymous() as bus:
    ...     here, there = seqcast.SharedCache("users", bus=bus), seqcast.SharedCache("users", bus=bus)
    ...     here["42"], there["42"] = "Ann", "Ann"
    ...     del here["42"]
    ...     there.get("42", "nothing"), there.get_or_load("42", lambda: "Anne"), len(there)
    ('nothing', 'Anne', 1)
    """

    def __init__(
        self,
        name: str,
        *,
        bus: Union[Bus, str, None] = None,
        maxsize: Optional[int] = None,
        ttl: Optional[float] = None,
    ) -> None:
        if maxsize is not None and maxsize < 1:
            raise ValueError(f"maxsize is {maxsize}: it must be at least 1")
        if ttl is not None and not ttl > 0:
            raise ValueError(f"ttl is {ttl}: it must be longer than nothing")
        self.name = name
        """The name."""
        self._source = f"cache/{name}"
        self._maxsize = maxsize
        self._ttl = ttl
        # The value, and the time at which it ends.
        self._entries: OrderedDict[str, tuple[V, float]] = OrderedDict()
        self._loads: dict[str, list[_Load]] = {}
        self._reader = _reader_of(default_bus() if bus is None else Bus(bus) if isinstance(bus, str) else bus)
        self._reader.caches.add(self)
        self._reader.on(self._source, _DELETE, weak=True)(self._on_delete)
        self._reader.on(self._source, _CLEAR, weak=True)(self._on_clear)

    # Deletions by other caches

    def _on_delete(self, event: Event) -> None:
        self._forget(event.text())

    def _on_clear(self, event: Event) -> None:
        self._forget_all()

    def _forget(self, key: str) -> None:
        self._entries.pop(key, None)
        for load in self._loads.get(key, ()):
            load.is_stale = True

    def _forget_all(self) -> None:
        self._entries.clear()
        for loads in self._loads.values():
            for load in loads:
                load.is_stale = True

    # Reading

    def _found(self, key: str) -> Optional[tuple[V, float]]:
        self._reader.poll()
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._ttl is not None and entry[1] <= time.monotonic():
            del self._entries[key]
            return None
        if self._maxsize is not None:
            self._entries.move_to_end(key)
        return entry

    def __getitem__(self, key: str) -> V:
        with self._reader.lock:
            entry = self._found(key)
        if entry is None:
            raise KeyError(key)
        return entry[0]

    @overload
    def get(self, key: str, /) -> Optional[V]: ...

    @overload
    def get(self, key: str, default: Union[V, D], /) -> Union[V, D]: ...

    def get(self, key: str, default: Any = None, /) -> Any:
        """Return the value, or ``default`` if there is none."""
        with self._reader.lock:
            entry = self._found(key)
        return default if entry is None else entry[0]

    def __contains__(self, key: object) -> bool:
        with self._reader.lock:
            return isinstance(key, str) and self._found(key) is not None

    def get_or_load(self, key: str, load: Callable[[], V], /) -> V:
        """Return the value, or load it and keep it.

        If any process deletes the key while ``load`` runs, the loaded value is returned but not kept.
        """
        with self._reader.lock:
            entry = self._found(key)
            if entry is not None:
                return entry[0]
            loading = self._begin(key)
        try:
            value = load()
        except BaseException:
            self._end(key, loading)
            raise
        return self._keep(key, loading, value)

    async def get_or_load_async(self, key: str, load: Callable[[], Awaitable[V]], /) -> V:
        """Like :meth:`get_or_load`, with a coroutine function.

        >>> import asyncio, seqcast
        >>> async def main() -> None:
        ...     with seqcast.Bus.anonymous() as bus:
        ...         cache = seqcast.SharedCache("users", bus=bus)
        ...         async def load() -> str:
        ...             return "Ann"
        ...         print(await cache.get_or_load_async("42", load))
        >>> asyncio.run(main())
        Ann
        """
        with self._reader.lock:
            entry = self._found(key)
            if entry is not None:
                return entry[0]
            loading = self._begin(key)
        try:
            value = await load()
        except BaseException:
            self._end(key, loading)
            raise
        return self._keep(key, loading, value)

    def _begin(self, key: str) -> _Load:
        loading = _Load()
        self._loads.setdefault(key, []).append(loading)
        return loading

    def _end(self, key: str, loading: _Load) -> bool:
        """Return ``False`` if a fork has discarded the load."""
        loads = self._loads.get(key)
        if loads is None or loading not in loads:
            return False
        loads.remove(loading)
        if not loads:
            del self._loads[key]
        return True

    def _keep(self, key: str, loading: _Load, value: V) -> V:
        with self._reader.lock:
            self._reader.poll()
            if self._end(key, loading) and not loading.is_stale:
                self._store(key, value)
        return value

    # Storing

    def _store(self, key: str, value: V) -> None:
        end = 0.0 if self._ttl is None else time.monotonic() + self._ttl
        self._entries[key] = (value, end)
        if self._maxsize is not None:
            self._entries.move_to_end(key)
            while len(self._entries) > self._maxsize:
                self._entries.popitem(last=False)

    def __setitem__(self, key: str, value: V) -> None:
        if not isinstance(key, str):
            raise TypeError(f"keys are str, not {type(key).__name__}")
        with self._reader.lock:
            # First handle earlier deletions, so that they do not delete this value.
            self._reader.poll()
            self._store(key, value)

    # Deleting

    def invalidate(self, key: str) -> None:
        """Delete a value in all processes. The key need not exist."""
        with self._reader.lock:
            self._reader.post(self._source, _DELETE, key)
            self._forget(key)

    def __delitem__(self, key: str) -> None:
        self.invalidate(key)

    @overload
    def pop(self, key: str, /) -> V: ...

    @overload
    def pop(self, key: str, default: Union[V, D], /) -> Union[V, D]: ...

    def pop(self, key: str, /, *default: Any) -> Any:
        """Return the value, and delete the key in all processes, even if this one does not have it."""
        with self._reader.lock:
            entry = self._found(key)
            self.invalidate(key)
        if entry is not None:
            return entry[0]
        if default:
            return default[0]
        raise KeyError(key)

    def clear(self) -> None:
        """Delete all values in all processes."""
        with self._reader.lock:
            self._reader.post(self._source, _CLEAR)
            self._forget_all()

    # As a mapping

    def __iter__(self) -> Iterator[str]:
        with self._reader.lock:
            self._reader.poll()
            return iter(list(self._entries))

    def __len__(self) -> int:
        with self._reader.lock:
            self._reader.poll()
            return len(self._entries)

    def __repr__(self) -> str:
        return f"<SharedCache {self.name!r} of {len(self._entries)} entries>"

    # Compared by identity, so that a cache can be held weakly.
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


def shared_cache(
    name: str,
    *,
    bus: Union[Bus, str, None] = None,
    maxsize: Optional[int] = None,
    ttl: Optional[float] = None,
) -> SharedCache[Any]:
    """Create a cache of this process whose deletions reach all processes: see :class:`SharedCache`.

    >>> import seqcast
    >>> with seqcast.Bus.anonymous() as bus:
    ...     users = seqcast.shared_cache("users", bus=bus, maxsize=1000, ttl=600)
    ...     users.get_or_load("42", lambda: "Ann")
    'Ann'
    """
    return SharedCache(name, bus=bus, maxsize=maxsize, ttl=ttl)
