"""A worker that lives as long as an ASGI application, for FastAPI, Starlette, Django and others, under any server.

Each process of the server joins when its application starts, handles events while it serves, and leaves when it stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Callable, Optional

from .aio import Worker

__all__ = ["Lifespan", "lifespan"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


@asynccontextmanager
async def _running(worker: Worker) -> AsyncIterator[None]:
    async with worker:
        task = asyncio.create_task(worker.run(), name="seqcast")
        try:
            yield
        finally:
            worker.leave()
            await task


def lifespan(
    worker: Worker, inner: Optional[Callable[[Any], AbstractAsyncContextManager[Any]]] = None
) -> Callable[[Any], AbstractAsyncContextManager[Any]]:
    """Return the argument ``lifespan`` of FastAPI and Starlette. ``inner`` is your own lifespan, which runs inside.

    >>> import asyncio, seqcast.aio, seqcast.asgi
    >>> async def main() -> None:
    ...     bus = seqcast.Bus.anonymous()
    ...     worker = seqcast.aio.Worker(bus)
    ...     done = asyncio.Event()
    ...     worker.on("job", "done")(lambda event: done.set())
    ...     async with seqcast.asgi.lifespan(worker)("the application"):
    ...         worker.post("job", "done")
    ...         await done.wait()
    >>> asyncio.run(main())
    """

    @asynccontextmanager
    async def run(app: Any) -> AsyncIterator[Any]:
        async with _running(worker):
            if inner is None:
                yield None
            else:
                async with inner(app) as state:
                    yield state

    return run


class Lifespan:
    """An ASGI application around another one without lifespan support, such as Django's.

    ``application = seqcast.asgi.Lifespan(get_asgi_application(), worker)``
    """

    def __init__(self, app: App, worker: Worker) -> None:
        self._app = app
        self._worker = worker

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        await receive()
        try:
            async with _running(self._worker):
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except Exception as error:
            # Also for errors at shutdown: servers accept this message then, and log its text.
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.shutdown.complete"})
