"""Events between the processes of one host: gunicorn, uvicorn, celery, multiprocessing, cron.

Processes post events to a bus in shared memory, and all of them get all events in one order. There is no broker, and no
process waits for another.

>>> import seqcast
>>> bus = seqcast.Bus.anonymous()           # seqcast.Bus("my-server"), for processes that are not forked
>>> worker = seqcast.Worker(bus)            # joins when it is first used, separately in each process
>>> @worker.on("cache", "stale")
... def forget(event: seqcast.Event) -> None:
...     print("forget", event.text())
>>> worker.post("cache", "stale", "user:42")            # reaches all processes, including this one
1
>>> worker.poll()                           # on every request; or worker.wait(), worker.run(), seqcast.aio
forget user:42
1
>>> worker.leave(); bus.close()
"""

from ._bus import Bus, Start
from ._cache import SharedCache, shared_cache
from ._claims import Claim, Held, HeldClaim
from ._codec import JSON, TEXT, Codec
from ._default import configure, default_bus
from ._errors import (
    ClaimLostError,
    DecodeError,
    Error,
    ExistsError,
    ForkedError,
    FullError,
    LeftError,
    NoRelayError,
    NoSeatError,
    NotFoundError,
    OptionError,
    OtherBusError,
    RetainedFullError,
    TooLargeError,
    TooLateError,
)
from ._events import Cleared, Died, Lagged, LocalEvent, Missed, Notice, Reset, Undecided, Unreadable, UpToDate
from ._inspect import Inspector
from ._once import run_once
from ._publisher import Publisher, Reservation
from ._seqcast import Event, Retained, names, unlink, unlink_unheld
from ._seqcast import version as _version
from ._worker import Worker

__version__: str = _version()

__all__ = [
    "JSON",
    "TEXT",
    "Bus",
    "Claim",
    "ClaimLostError",
    "Cleared",
    "Codec",
    "DecodeError",
    "Died",
    "Error",
    "Event",
    "ExistsError",
    "ForkedError",
    "FullError",
    "Held",
    "HeldClaim",
    "Inspector",
    "Lagged",
    "Missed",
    "LeftError",
    "LocalEvent",
    "NoRelayError",
    "NoSeatError",
    "NotFoundError",
    "Notice",
    "OptionError",
    "OtherBusError",
    "Publisher",
    "Reservation",
    "Reset",
    "Retained",
    "RetainedFullError",
    "SharedCache",
    "Start",
    "TooLargeError",
    "TooLateError",
    "Undecided",
    "Unreadable",
    "UpToDate",
    "Worker",
    "__version__",
    "configure",
    "default_bus",
    "names",
    "run_once",
    "shared_cache",
    "unlink",
    "unlink_unheld",
]
