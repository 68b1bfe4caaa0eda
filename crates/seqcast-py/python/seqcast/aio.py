"""Workers for asyncio and uvloop. They need no thread: the loop watches the bell's descriptor.

>>> import asyncio, seqcast.aio
>>> async def main() -> None:
...     with seqcast.Bus.anonymous() as bus:
...         async with seqcast.aio.Worker(bus) as worker:
...             @worker.on("cache", "stale")
...             async def forget(event: seqcast.Event) -> None:
...                 await asyncio.sleep(0)
...                 print("forget", event.text())
...             worker.post("cache", "stale", "user:42")
...             await worker.wait()
...             await worker.poll()
>>> asyncio.run(main())
forget user:42
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Optional, TypeVar, Union

from ._bus import Bus
from ._codec import Codec
from ._errors import ForkedError, FullError, LeftError
from ._events import Notice
from ._publisher import Key, Publisher, Reservation
from ._reader import Reader
from ._seqcast import Event, Seat, unraisable

__all__ = ["Worker"]

W = TypeVar("W", bound="Worker")

# Between two attempts to post where there is no room, in seconds.
_SHORTEST_NAP = 0.0001
_LONGEST_NAP = 0.01


class Worker(Reader):
    """A :class:`seqcast.Worker` for an event loop. Its methods that wait are coroutines, and its handlers may be.

    Handlers run one after the other, and events in their order: the next handler begins when a coroutine is done. Posts
    and claims never wait, and are called without ``await``. If a worker that must read has no room, ``post``,
    ``post_unique``, ``reserve`` and ``clear`` raise :class:`seqcast.FullError`; :meth:`post_when_room` waits. Joining
    opens the bus if it is not open, which waits for another process that is creating it. To avoid this wait, open the
    bus before the loop runs.
    """

    def _set_up(self, bus: Union[Bus, str], codec: Optional[Codec], **options: Any) -> None:
        self._waiters: set[asyncio.Future[None]] = set()
        self._watching: Optional[tuple[asyncio.AbstractEventLoop, int]] = None
        self._is_polling = False
        super()._set_up(bus, codec, **options)

    # Waiting

    async def wait(self, timeout: Optional[float] = None) -> bool:
        """Sleep until there may be events to poll, for at most ``timeout`` seconds. Return ``False`` if there are none.

        >>> import asyncio, seqcast.aio
        >>> async def main() -> None:
        ...     with seqcast.Bus.anonymous() as bus:
        ...         async with seqcast.aio.Worker(bus) as worker:
        ...             await worker.poll()
        ...             print(await worker.wait(0.001))
        >>> asyncio.run(main())
        False
        """
        loop = asyncio.get_running_loop()
        end = None if timeout is None else loop.time() + timeout
        while True:
            seat = self._seated()
            try:
                if self._local or seat.has_news():
                    return True
                if timeout is not None and timeout <= 0:
                    return False
                seat, fd = self._belled()
                if seat.arm(self._local):
                    return True
            except ForkedError:
                self._forget(seat)
                continue
            if not await self._readable(loop, fd, end):
                return bool(self._local) or self._seated().has_news()

    async def _readable(self, loop: asyncio.AbstractEventLoop, fd: int, end: Optional[float]) -> bool:
        """Sleep until the descriptor is readable. Return ``False`` after a timeout."""
        if self._watching is None:
            # Only while there is a waiter: the descriptor stays readable until the next `arm`.
            loop.add_reader(fd, self._wake)
            self._watching = (loop, fd)
        future: asyncio.Future[None] = loop.create_future()
        self._waiters.add(future)
        try:
            left = None if end is None else max(0.0, end - loop.time())
            done, _ = await asyncio.wait({future}, timeout=left)
            return bool(done)
        finally:
            self._waiters.discard(future)
            future.cancel()
            if not self._waiters:
                self._unwatch()

    def _wake(self) -> None:
        self._unwatch()
        for future in self._waiters:
            if not future.done():
                future.set_result(None)

    def _unwatch(self) -> None:
        watching, self._watching = self._watching, None
        if watching is not None:
            loop, fd = watching
            if not loop.is_closed():
                loop.remove_reader(fd)

    # Posting

    # A post that waits would stop the loop.
    _post_waits = False

    def reserve(self) -> Reservation:
        """Take the next event id, as :meth:`seqcast.Publisher.try_reserve` does."""
        return self.try_reserve()

    def clear(
        self, source: str, event: str, *, key: Optional[Key] = None, cluster: bool = False
    ) -> Optional[int]:
        """Clear what is retained, as :meth:`seqcast.Publisher.try_clear` does."""
        return self.try_clear(source, event, key=key, cluster=cluster)

    async def post_when_room(
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
        """Post an event when workers that must read have room for it. Other tasks run meanwhile. Return its id.

        A worker that does not read for all of its patience, because it is stopped for example, is cut off, by a thread
        that waits for it once more, with a seat of its own. If this worker itself must read and has no room, it raises
        :class:`seqcast.FullError`.

        >>> import asyncio, seqcast.aio
        >>> async def main() -> None:
        ...     with seqcast.Bus.anonymous() as bus:
        ...         async with seqcast.aio.Worker(bus, announce=False) as worker:
        ...             print(await worker.post_when_room("cache", "stale", "user:42"))
        >>> asyncio.run(main())
        0
        """
        loop = asyncio.get_running_loop()
        arguments = (source, event, data, key, ttl, codec, type_tag, retain, cluster)
        began, nap = loop.time(), _SHORTEST_NAP
        while True:
            try:
                return self._post(*arguments, False)
            except FullError as full:
                if full.is_own:
                    raise
                if loop.time() - began > full.patience:
                    break
            await asyncio.sleep(nap)
            nap = min(2 * nap, _LONGEST_NAP)

        # Only a post that waits cuts off a worker. It has a seat of its own, because the loop needs this one.
        def post_and_wait() -> int:
            publisher = Publisher(self.bus, codec=self.codec)
            publisher._options = self._options
            with publisher:
                return publisher._post(*arguments, True)

        return await loop.run_in_executor(None, post_and_wait)

    # Handlers

    async def poll(self, limit: Optional[int] = None) -> int:
        """Run the handlers of all new events, or of at most ``limit`` events. Return the number of events.

        It awaits the coroutines of handlers, and does not wait for anything else. While another task polls, it returns
        0. After a poll is cancelled, the next one continues after the cancelled handler.
        """
        if self._is_polling:
            return 0
        self._is_polling = True
        try:
            return await self._poll(limit)
        finally:
            self._is_polling = False

    async def _poll(self, limit: Optional[int]) -> int:
        count = 0
        while True:
            seat = self._seated()
            handlers = self._handlers
            try:
                if handlers.is_changed:
                    self._prepare_poll(seat)
                left = None if limit is None else limit - count
                polled, awaitable = seat.poll_until_awaitable(handlers, self._local, left)
            except ForkedError:
                # A handler has forked and returned in the child, where the rest is not run.
                self._forget(seat)
                self._seated()
                return count
            count += polled
            if awaitable is None:
                return count
            coroutine, handler = awaitable
            try:
                await coroutine
            except Exception as error:
                unraisable(error, handler)

    async def run(self, *, batch: int = 100) -> None:
        """Wait and poll until the worker leaves or the task is cancelled. Other tasks run after ``batch`` events.

        >>> import asyncio, seqcast.aio
        >>> async def main() -> None:
        ...     with seqcast.Bus.anonymous() as bus:
        ...         worker = seqcast.aio.Worker(bus)
        ...         worker.on("job", "done")(lambda event: worker.leave())
        ...         worker.post("job", "done")
        ...         await worker.run()
        >>> asyncio.run(main())
        """
        while True:
            try:
                await self.wait()
                await self.poll(batch)
            except LeftError:
                return
            await asyncio.sleep(0)

    # Reading without handlers

    async def next(self, timeout: Optional[float] = 0) -> Union[Event, Notice, None]:
        """Return the next delivery, or ``None`` if there is none for ``timeout`` seconds. ``None`` sets no limit."""
        if self._handlers:
            raise TypeError("this worker has handlers, which poll() runs: make another worker to read without")
        loop = asyncio.get_running_loop()
        end = None if timeout is None else loop.time() + timeout
        while True:
            found = self._take_next()
            if found is not None:
                return found
            left = None if end is None else max(0.0, end - loop.time())
            if not await self.wait(left):
                return None

    async def events(self, timeout: Optional[float] = None) -> AsyncIterator[Event]:
        """Iterate over events, until none comes for ``timeout`` seconds, or without a limit.

        >>> import asyncio, seqcast.aio
        >>> async def main() -> None:
        ...     with seqcast.Bus.anonymous() as bus:
        ...         async with seqcast.aio.Worker(bus, announce=False) as worker:
        ...             worker.post("cache", "stale", "user:42")
        ...             async for event in worker.events(timeout=0):
        ...                 print(event.topic)
        >>> asyncio.run(main())
        ('cache', 'stale')
        """
        while True:
            try:
                found = await self.next(timeout)
            except LeftError:
                return
            if found is None:
                return
            if isinstance(found, Event):
                yield found
                # Other tasks also run if there are always more events.
                await asyncio.sleep(0)
            else:
                self._handlers.notice(found)

    def __aiter__(self) -> AsyncIterator[Event]:
        return self.events()

    async def __aenter__(self: W) -> W:
        return self.join()

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.leave()

    # Leaving and forks

    def _leave_seat(self, seat: Seat) -> None:
        # The loop must not watch a closed descriptor. Waiting tasks notice this.
        self._wake()
        super()._leave_seat(seat)

    def _after_fork_in_child(self) -> None:
        super()._after_fork_in_child()
        # The loop is the parent's.
        self._waiters = set()
        self._watching = None
        self._is_polling = False
