"""The default bus of a program."""

from __future__ import annotations

import os
import threading
from typing import Any, Optional

from ._bus import Bus
from ._publisher import Publisher

_bus: Optional[Bus] = None
_lock = threading.Lock()


def configure(name: str, **options: Any) -> Bus:
    """Choose the default bus of this program. ``options`` are those of :class:`Bus`.

    Call it once, before the bus is used. Without this call, the name is the environment variable ``SEQCAST_BUS``, or
    ``python-UID`` if that is not set: one bus for all programs of a user.

    >>> import seqcast
    >>> seqcast.configure("doc-configure", capacity=1024)
    <Bus 'doc-configure'>
    >>> seqcast.default_bus()
    <Bus 'doc-configure'>
    """
    global _bus
    bus = Bus(name, **options)
    with _lock:
        if _bus is not None and _bus._native is not None:
            raise RuntimeError(f"{_bus!r} is in use already: configure before the first use")
        _bus = bus
    return bus


def default_bus() -> Bus:
    """Return the bus of this program: see :func:`configure`."""
    global _bus
    with _lock:
        if _bus is None:
            _bus = Bus(os.environ.get("SEQCAST_BUS") or f"python-{os.getuid()}")
        return _bus


def publisher_of(bus: Optional[Bus]) -> Publisher:
    """Return the publisher of this package on a bus."""
    bus = default_bus() if bus is None else bus
    publisher = bus._publisher
    if publisher is None:
        # If two threads create one at the same time, one of the two is dropped.
        publisher = bus._publisher = Publisher(bus, label="python")
    assert isinstance(publisher, Publisher)
    return publisher


def _in_child() -> None:
    # Another thread of the parent may have held it.
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_in_child)
