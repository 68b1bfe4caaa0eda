"""What objects of this package do when the process forks, and when it ends.

A seat belongs to the process that took it. Objects that were made before a fork join again in the child when they are
first used there, and read from where the parent's bus was at the fork.
"""

from __future__ import annotations

import atexit
import os
import sys
import weakref
from typing import Any, Optional, Protocol

from . import _seqcast


class Object(Protocol):
    """An object that is notified of forks and of the exit."""

    def _before_fork(self) -> None: ...

    def _after_fork_in_parent(self) -> None: ...

    def _after_fork_in_child(self) -> None: ...

    def _at_exit(self) -> None: ...


# By their ids, in the order in which they were made. A plain dict: copying its values is one step for other threads.
_objects: dict[int, weakref.ref[Any]] = {}

forks = 0
"""The number of forks that led to this process."""

_exit_pid: Optional[int] = None


def register(obj: Object) -> None:
    """Notify ``obj`` of forks and of the exit."""
    key = id(obj)

    def forget(_: weakref.ref[Any], key: int = key) -> None:
        _objects.pop(key, None)

    _objects[key] = weakref.ref(obj, forget)


def _living() -> list[Any]:
    return [obj for obj in (ref() for ref in list(_objects.values())) if obj is not None]


def _before() -> None:
    for obj in _living():
        obj._before_fork()


def _in_parent() -> None:
    for obj in _living():
        obj._after_fork_in_parent()


def _in_child() -> None:
    global forks
    forks += 1
    _seqcast.forked()
    for obj in _living():
        obj._after_fork_in_child()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)


def leave_at_exit() -> None:
    """Have all objects leave when this process ends. Called when a seat is taken.

    Children of multiprocessing and of billiard end without ``atexit``: they run finalizers of their own. Those of
    celery run neither, and send a signal.
    """
    global _exit_pid
    pid = os.getpid()
    if _exit_pid == pid:
        return
    _exit_pid = pid
    atexit.register(_at_the_interpreters_exit, pid)
    signals = sys.modules.get("celery.signals")
    if signals is not None:
        signals.worker_process_shutdown.connect(_at_celerys_exit, weak=False, dispatch_uid="seqcast")
    for name in ("multiprocessing.util", "billiard.util"):
        util = sys.modules.get(name)
        if util is not None:
            # After everything with a priority of 0 or more, and after the children have ended.
            util.Finalize(None, _at_exit, args=(pid,), exitpriority=-1000)


def _at_celerys_exit(**_: Any) -> None:
    _at_exit(os.getpid())


def _at_the_interpreters_exit(pid: int) -> None:
    if pid == os.getpid():
        # Only daemon threads are left. One that waits in this package must not come back.
        _seqcast.exiting()
        _at_exit(pid)


def _at_exit(pid: int) -> None:
    if pid != os.getpid():
        return
    # In reverse order of creation, so that a worker leaves before its bus is closed.
    for obj in reversed(_living()):
        obj._at_exit()
