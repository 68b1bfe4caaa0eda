"""Waiting: what ends a wait, and what runs meanwhile."""

import os
import select
import signal
import threading
import time

import pytest

import seqcast
from processes import LONG, Child, eventually, run_python


def drain(worker):
    while worker.next() is not None:
        pass


def test_a_post_of_another_process_ends_a_wait(bus, worker):
    drain(worker)

    def post():
        with seqcast.Worker(bus, announce=False) as mine:
            # Either the parent sleeps at its bell by now, or the event comes first. Both end the wait.
            time.sleep(0.05)
            return mine.post("s", "e")

    child = Child(post)
    assert worker.wait(LONG)
    assert worker.next().id == child.result()
    assert not worker.wait(0) and not worker.wait(0.001)


def test_threads_run_and_post_while_a_thread_waits(worker):
    drain(worker)
    ticks = 0
    seen = []

    def wait():
        while worker.wait(LONG):
            event = worker.next()
            if event is not None:
                seen.append(event.event)
                return

    thread = threading.Thread(target=wait)
    thread.start()
    eventually(lambda: worker._has_bell)
    for _ in range(100_000):
        ticks += 1
    assert ticks == 100_000 and not seen
    worker.post("s", "mine")
    thread.join(LONG)
    assert seen == ["mine"]


def test_a_local_event_ends_a_wait(worker):
    drain(worker)
    found = []
    thread = threading.Thread(target=lambda: found.append(worker.wait(LONG)))
    thread.start()
    eventually(lambda: worker._has_bell)
    worker.post_local("s", "e", 7)
    thread.join(LONG)
    assert found == [True] and worker.next().value == 7


def test_ctrl_c_ends_a_wait_at_once(worker):
    drain(worker)

    class Stop(Exception):
        pass

    def stop(number, frame):
        raise Stop

    before = signal.signal(signal.SIGALRM, stop)
    try:
        for timeout in (None, LONG):
            with pytest.raises(Stop):
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                worker.wait(timeout)
        # A wait continues if the signal's handler does not raise.
        signal.signal(signal.SIGALRM, lambda number, frame: worker.post("s", "e"))
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert worker.wait(LONG) and worker.next().event == "e"
    finally:
        signal.signal(signal.SIGALRM, before)


def test_leaving_ends_the_wait_of_a_thread(bus):
    worker = seqcast.Worker(bus, announce=False)
    thread = worker.start_thread()
    eventually(lambda: worker._has_bell)
    worker.leave()
    thread.join(LONG)
    assert not thread.is_alive()


def test_a_handler_ends_run(bus):
    worker = seqcast.Worker(bus, announce=False)
    worker.on("s", "end")(lambda event: worker.leave())
    worker.post("s", "end")
    worker.run()


def test_a_thread_that_waits_does_not_keep_the_interpreter(name):
    for wait in ("worker.run()", "worker.wait()"):
        run = run_python(
            f"""
import sys, threading, time, seqcast
worker = seqcast.Worker(seqcast.Bus(sys.argv[1]))
def wait():
    worker.poll()
    {wait}
threading.Thread(target=wait, daemon=True).start()
while not worker._has_bell:
    time.sleep(0.001)
""",
            name,
        )
        assert run.stderr == ""
    with seqcast.Bus(name) as bus:
        assert bus.stats()["workers"] == [], "each has left in order"


def test_g19_the_descriptor_is_readable_when_there_is_something(worker, other):
    def readable(timeout):
        return select.select([worker], [], [], timeout)[0] == [worker]

    fd = worker.fileno()
    assert fd == worker.fileno() and not os.get_inheritable(fd)
    while worker.arm():
        drain(worker)
    assert not readable(0)
    other.post("s", "e")
    assert readable(LONG)
    assert worker.arm(), "there is something to read"
    assert worker.next().event == "e" and not worker.arm()
    worker.post_local("s", "e")
    assert readable(LONG) and worker.arm()


def test_bad_times(worker):
    drain(worker)
    for bad in (-1, float("nan")):
        with pytest.raises(ValueError):
            worker.wait(bad)
    with pytest.raises(TypeError):
        worker.wait("1")
    with pytest.raises(ValueError):
        seqcast.Worker(worker.bus, wait_max=-1)
    with pytest.raises(seqcast.OptionError):
        seqcast.Worker(worker.bus, wait_interval=2, wait_max=1).join()
    with pytest.raises(seqcast.OptionError):
        seqcast.Worker(worker.bus, bell_interval=0, announce=False).wait()
    worker.set_wait_max(0.01)
    with pytest.raises(ValueError):
        worker.set_wait_max(-1)
