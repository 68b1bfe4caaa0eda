"""A WSGI application that handles events before each request, for Django, Flask and others.

Without new events this takes less than a microsecond per request. Events that were posted before a request arrived
are handled before the request.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Callable

from ._worker import Worker

__all__ = ["Polling"]

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Polling:
    """A WSGI application that polls a worker, and then calls another application.

    >>> import seqcast, seqcast.wsgi
    >>> def hello(environ, start_response):
    ...     start_response("200 OK", [])
    ...     return [b"hello"]
    >>> with seqcast.Bus.anonymous() as bus, seqcast.Worker(bus) as worker:
    ...     _ = worker.on("cache", "stale")(lambda event: print("forget", event.text()))
    ...     application = seqcast.wsgi.Polling(hello, worker)
    ...     _ = worker.post("cache", "stale", "user:42")
    ...     application({}, lambda status, headers: None)
    forget user:42
    [b'hello']
    """

    def __init__(self, app: App, worker: Worker) -> None:
        self._app = app
        self._worker = worker

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self._worker.poll()
        return self._app(environ, start_response)
