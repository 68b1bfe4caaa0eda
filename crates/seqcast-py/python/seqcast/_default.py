"""The bus of a program that names none."""

from __future__ import annotations

import os
import threading
from typing import Any, Optional

from ._bus import Bus
from ._worker import Publisher

_bus: Optional[Bus] = None
_lock = threading.Lock()


def configure(name: str, **options: Any) -> Bus:
    """Choose the bus of this program, for what is not given another one. ``options`` are those of :class:`Bus`.

    Call it once, before the bus is used. Without it, the environment variable ``SEQCAST_BUS`` is the name, and without
    that ``python-UID``: one bus for all programs of a user.

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
        # Two threads at once make two, and one of them is dropped.
        publisher = bus._publisher = Publisher(bus, label="python")
    assert isinstance(publisher, Publisher)
    return publisher


def _in_child() -> None:
    # Another thread of the parent may have held it.
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_in_child)
