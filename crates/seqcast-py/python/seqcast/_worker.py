"""Workers that threads poll."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Iterator
from typing import Callable, Optional, Union

from ._errors import ForkedError, LeftError
from ._events import Notice
from ._reader import Reader
from ._seqcast import Event


class Worker(Reader):
    """A seat on the bus: it posts events, and runs handlers for events in the order that all processes share.

    It joins when it is first used, separately in each process: an object of a module works before and after a fork. In
    a forked child it reads from the position of the bus at the fork. Threads may use it at the same time, and one of
    them polls.

    ``bus`` is a :class:`Bus`, or the name of one. ``label`` is a name for ``seqcast top``. ``start`` is where it
    begins to read: ``"now"``, ``"oldest"``, ``"retained"``, ``("at", id)``, ``("after", id)`` or
    ``("resume", position)``. ``codec`` encodes posted values, and decodes those of :meth:`get`. Without ``announce``,
    the events ``seqcast/started``, ``seqcast/stopping`` and ``seqcast/died`` are not posted. ``timeout`` is the number
    of seconds that a unique key is held if a post sets no ttl (2). ``wait_interval`` is the time between two checks of
    a reserved id (0.01), and ``wait_max`` the longest wait for it (0.5). ``bell_interval`` is the longest sleep of a
    wait and of an event loop (1).

    With ``start="retained"``, the first poll delivers the last retained event of each key, then the local event
    ``seqcast/up-to-date``, then new events: register handlers before it. This also holds in a forked child, which gets
    other events from its first use on. With ``resync``, a worker that has missed events gets the retained ones among
    them and the clears, and then ``seqcast/up-to-date``. If the bus does not know the clears any more, it first gets
    ``seqcast/reset``, which says that all that it knows of retained events is void, and then all of them.

    With ``must_read``, posts of others wait for this worker, each for at most so many seconds, so that it misses no
    event. After a post has waited for that long, the worker gets :class:`Lagged` with ``cut_off``, and posts wait for
    it again when it reads on. It must be longer than ``wait_max`` and at most ``most_patience`` of the bus. A process
    that has ended delays no post. Posts of this worker itself never wait: without room they raise :class:`FullError`,
    and it has to poll first.

    >>> import seqcast
    >>> with seqcast.Bus.anonymous() as bus, seqcast.Worker(bus) as worker:
    ...     @worker.on("cache", "stale")
    ...     def forget(event: seqcast.Event) -> None:
    ...         print("forget", event.text())
    ...     _ = worker.post("cache", "stale", "user:42")
    ...     _ = worker.poll()
    forget user:42
    """

    def _check_handler(self, handler: Callable[..., object]) -> None:
        if inspect.iscoroutinefunction(handler):
            raise TypeError("a handler that is a coroutine function needs an event loop: use seqcast.aio.Worker")

    def poll(self, limit: Optional[int] = None) -> int:
        """Run the handlers of all new events, or of at most ``limit`` events. Return the number of events.

        It never sleeps. Without new events it takes less than a microsecond, so a server can poll on every request.
        Events that handlers post are delivered in the same poll. A poll inside a poll, or while another thread polls,
        returns 0.
        """
        seat = self._seat
        if seat is None:
            seat = self._take_seat()
        handlers = self._handlers
        try:
            if handlers.is_changed:
                self._prepare_poll(seat)
            return seat.poll(handlers, self._local, limit)
        except ForkedError:
            # A handler has forked and returned in the child, where the rest is not run.
            self._forget(seat)
            self._seated()
            return 0

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Sleep until there may be events to poll, for at most ``timeout`` seconds.

        Return ``False`` if there are none. Other threads run meanwhile. A signal whose handler raises, such as Ctrl-C,
        ends the wait at once.

        >>> import seqcast
        >>> with seqcast.Bus.anonymous() as bus, seqcast.Worker(bus) as worker:
        ...     _ = worker.poll()
        ...     worker.wait(0.001)
        False
        """
        seat = self._seated()
        while True:
            try:
                if self._local or seat.has_news():
                    return True
                if not self._has_bell:
                    seat, _ = self._belled()
                return seat.wait(self._local, timeout)
            except ForkedError:
                seat = self._taken_after(seat)

    def run(self) -> None:
        """Wait and poll until another thread, or a handler, calls :meth:`leave`."""
        while True:
            try:
                self.wait()
                self.poll()
            except LeftError:
                return

    def start_thread(self) -> threading.Thread:
        """Start a thread that waits and polls, for servers without such a loop. It ends with :meth:`leave`.

        Handlers run in that thread. Start it in the process that serves, after the last fork.

        >>> import seqcast, threading
        >>> done = threading.Event()
        >>> with seqcast.Bus.anonymous() as bus, seqcast.Worker(bus) as worker:
        ...     _ = worker.on("job", "done")(lambda event: done.set())
        ...     thread = worker.start_thread()
        ...     _ = worker.post("job", "done")
        ...     done.wait(60)
        True
        >>> thread.join()
        """
        self.join()
        thread = threading.Thread(target=self.run, name="seqcast", daemon=True)
        thread.start()
        return thread

    # Reading without handlers

    def next(self, timeout: Optional[float] = 0) -> Union[Event, Notice, None]:
        """Return the next delivery, or ``None`` if there is none for ``timeout`` seconds. ``None`` sets no limit.

        It is for workers without handlers. It also returns deliveries other than events.

        >>> import seqcast
        >>> with seqcast.Bus.anonymous() as bus, seqcast.Worker(bus, announce=False) as worker:
        ...     _ = worker.post("cache", "stale", "user:42")
        ...     worker.next().text(), worker.next()
        ('user:42', None)
        """
        if self._handlers:
            raise TypeError("this worker has handlers, which poll() runs: make another worker to read without")
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            found = self._take_next()
            if found is not None:
                return found
            left = None if end is None else max(0.0, end - time.monotonic())
            if left == 0 or not self.wait(left):
                return None

    def events(self, timeout: Optional[float] = None) -> Iterator[Event]:
        """Iterate over events, until none comes for ``timeout`` seconds, or without a limit.

        Other deliveries go to :meth:`on_notice`. The iteration ends when the worker leaves.

        >>> import seqcast
        >>> with seqcast.Bus.anonymous() as bus, seqcast.Worker(bus, announce=False) as worker:
        ...     _ = worker.post("cache", "stale", "user:42")
        ...     for event in worker.events(timeout=0):
        ...         print(event.topic, event.data)
        ('cache', 'stale') b'user:42'
        """
        while True:
            try:
                found = self.next(timeout)
            except LeftError:
                return
            if found is None:
                return
            if isinstance(found, Event):
                yield found
            else:
                self._handlers.notice(found)

    def __iter__(self) -> Iterator[Event]:
        return self.events()

