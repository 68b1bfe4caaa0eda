"""A WSGI application whose process handles events before each request: for Django, Flask and all others.

With nothing new this costs a request less than a microsecond. What another process has posted before the request came
is handled before the request is.
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
