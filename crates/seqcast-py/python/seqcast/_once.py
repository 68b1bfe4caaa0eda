"""Jobs that one of many processes runs."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import threading
import time
from types import TracebackType
from typing import Any, Callable, Optional, TypeVar, Union, cast

from ._bus import Bus
from ._claims import Claim
from ._default import publisher_of
from ._errors import ClaimLostError, Error, LeftError
from ._publisher import Publisher

logger = logging.getLogger("seqcast")

F = TypeVar("F", bound=Callable[..., Any])

_RENEWALS = 3
"""How often a claim is renewed while it is held."""

_LOOKS = 0.25
"""The longest time, in seconds, between two checks of a process that stands by."""


class _Renewal:
    """Renews a claim in a thread while its job runs."""

    def __init__(self, claim: Claim, lease: float, key: str) -> None:
        self._claim = claim
        self._lease = lease
        self._key = key
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="seqcast renewal", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(self._lease / _RENEWALS):
            try:
                self._claim.renew(self._lease)
            except LeftError:
                return
            except Error as error:
                logger.error("the job %r runs on without its claim: %s", self._key, error)
                return


class run_once:
    """Decorate a job that many processes start, so that only one of them runs it within ``ttl`` seconds.

    All other calls with the same ``key`` on the bus return ``default`` at once, in any process. The ttl counts from the
    start of the job. While the job runs, its claim is renewed, so a job may take longer than ``ttl``. If the process
    dies, the next call in any process runs the job. With ``standby``, a call that finds the job running waits until it
    is done, and takes it over if its process dies. If the job raises, the next call runs it again.

    ``lease`` is the number of seconds for which a hanging or stopped process keeps the job (``ttl``, at most 30).
    ``bus`` is a :class:`Bus` or the name of one; without it, it is :func:`default_bus`. The function may be a coroutine
    function.

    A claim cannot stop a job. If the process was stopped for longer than the lease, the job has lost its claim, and it
    still runs on when the process continues.

    >>> import seqcast
    >>> bus = seqcast.Bus.anonymous()
    >>> @seqcast.run_once("nightly-mail", ttl=3600, bus=bus)
    ... def send() -> str:
    ...     return "sent"
    >>> send(), send()
    ('sent', None)
    >>> bus.close()
    """

    def __init__(
        self,
        key: str,
        ttl: float,
        *,
        bus: Union[Bus, str, None] = None,
        standby: bool = False,
        lease: Optional[float] = None,
        default: Any = None,
    ) -> None:
        if not isinstance(key, str) or not key:
            raise TypeError(f"key must be a text that is not empty, not {key!r}: write @run_once(key, ttl)")
        if not ttl > 0:
            raise ValueError(f"ttl is {ttl}: it must be longer than nothing")
        if lease is not None and not lease > 0:
            raise ValueError(f"lease is {lease}: it must be longer than nothing")
        self.key = key
        self.ttl = float(ttl)
        self.lease = float(lease) if lease is not None else min(self.ttl, 30.0)
        self.standby = standby
        self.default = default
        self._bus = Bus(bus) if isinstance(bus, str) else bus

    def __call__(self, function: F) -> F:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def run_async(*args: Any, **kwargs: Any) -> Any:
                return await self._run_async(function, args, kwargs)

            return cast(F, run_async)

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            return self._run(function, args, kwargs)

        return cast(F, run)

    def _claim(self) -> Claim:
        claim = self._publisher().claim(self.key, self.lease, ends_with_holder=True)
        if claim.is_full:
            raise RuntimeError(f"the bus has no room for the key {self.key!r}: create it with more claims")
        return claim

    def _publisher(self) -> Publisher:
        return publisher_of(self._bus)

    def _is_running(self) -> bool:
        """Return ``True`` if a process is running the job, ``False`` if it is done or no process runs it."""
        held = self._publisher().held(self.key)
        return held is not None and held.ends_with_holder

    def _end(self, claim: Claim, began: float) -> None:
        """Keep the key for the rest of the ttl, so that no other process runs the job meanwhile."""
        left = self.ttl - (time.monotonic() - began)
        try:
            if left > 0:
                claim.complete(left)
            else:
                claim.release()
        except ClaimLostError as error:
            logger.error("the job %r is done, and may have run twice: %s", self.key, error)

    def _run(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        claim = self._claim()
        while not claim and self.standby and self._is_running():
            time.sleep(min(_LOOKS, self.lease / _RENEWALS))
            claim = self._claim()
        if not claim:
            return self.default
        began = time.monotonic()
        try:
            with _Renewal(claim, self.lease, self.key):
                result = function(*args, **kwargs)
        except BaseException:
            claim.release()
            raise
        self._end(claim, began)
        return result

    async def _run_async(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        claim = self._claim()
        while not claim and self.standby and self._is_running():
            await asyncio.sleep(min(_LOOKS, self.lease / _RENEWALS))
            claim = self._claim()
        if not claim:
            return self.default
        began = time.monotonic()
        try:
            # Here too, a thread renews the claim: a loop that the job blocks could not.
            with _Renewal(claim, self.lease, self.key):
                result = await function(*args, **kwargs)
        except BaseException:
            claim.release()
            raise
        self._end(claim, began)
        return result

