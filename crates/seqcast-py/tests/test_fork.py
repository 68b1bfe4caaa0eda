"""Forks, spawned processes, and the end of interpreters."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap

import pytest

import seqcast
from processes import LONG, Child, in_child, run_python


def test_g12_an_object_joins_again_in_a_forked_child(bus, worker):
    seen = []
    worker.on("s")(lambda event: seen.append((os.getpid(), event.event)))
    worker.poll()

    def child():
        before = worker._seat
        worker.post("s", "of the child")
        worker.poll()
        number = worker.seat
        worker.leave()
        return before, number, seen

    before, number, of_child = in_child(child)
    assert before is None and number != worker.seat
    assert [event for _, event in of_child] == ["of the child"]
    assert worker.poll() == 1 and [event for _, event in seen] == ["of the child"]
    assert seen[0][0] == os.getpid()


def test_g4_a_child_reads_from_where_the_bus_was_at_the_fork(bus, worker, other):
    worker.post("s", "before")
    read, write = os.pipe()

    def child():
        os.read(read, 1)
        return [event.event for event in worker.events(timeout=0)]

    child = Child(child)
    other.post("s", "after the fork, before the child has joined")
    os.write(write, b"x")
    assert child.result() == ["after the fork, before the child has joined"]
    os.close(read)
    os.close(write)
    # A worker that is created in the child begins there.
    worker.post("s", "before")
    assert in_child(lambda: [event.event for event in seqcast.Worker(bus, announce=False).events(timeout=0)]) == []


def test_what_is_the_parents_stays_the_parents(bus, worker):
    worker.set_wait_max(60)
    worker.post_local("s", "e")
    claim = worker.claim("key", ttl=60)
    reservation = worker.reserve()

    def child():
        left = worker.poll()
        with pytest.raises(seqcast.ForkedError):
            reservation.commit("s", "e")
        # Any process may release a claim.
        return left, claim.release()

    assert in_child(child) == (0, True)
    reservation.commit("s", "e")
    worker.on("s")(lambda event: None)
    assert worker.poll() == 2


def test_a_handler_that_forks_runs_the_rest_in_the_parent_only(bus, worker):
    ran = []
    results = []

    @worker.on("s")
    def fork(event):
        pid = os.fork()
        results.append(pid)

    worker.on("s", "e")(lambda event: ran.append(os.getpid()))
    worker.post("s", "e")
    parent = os.getpid()
    read, write = os.pipe()
    wait, go_on = os.pipe()
    polled = worker.poll()
    if os.getpid() != parent:
        code = 1
        try:
            # The parent's poll would deliver the event, too.
            os.read(wait, 1)
            worker.post("s", "of the child")
            os.write(write, f"{polled} {ran} {worker.poll()}".encode())
            code = 0
        finally:
            os._exit(code)
    os.write(go_on, b"1")
    assert polled == 1 and ran == [parent]
    for end in (write, wait, go_on):
        os.close(end)
    assert os.read(read, 1000).split(b" ", 2)[:2] == [b"0", b"[]"]
    os.close(read)
    assert os.waitpid(results[0], 0)[1] == 0


def test_a_fork_while_a_thread_waits(bus, worker):
    thread = worker.start_thread()

    def child():
        worker.post("s", "e")
        return worker.wait(LONG)

    assert all(in_child(child) for _ in range(5))
    worker.leave()
    thread.join()


def run_as(method, bus_name, queue):
    worker = seqcast.Worker(seqcast.Bus(bus_name))
    queue.put(worker.post("s", "e", method))


def use_bus(bus, queue):
    queue.put(seqcast.Worker(bus).post("s", "e"))


def use_worker_of_module(queue):
    MODULE_WORKER.poll()
    queue.put(MODULE_WORKER.post("s", "e", str(os.getpid())))


MODULE_WORKER = seqcast.Worker(f"test-python-module-{os.getpid()}")


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(name, method):
    context = multiprocessing.get_context(method)
    with seqcast.Bus(name) as bus, seqcast.Worker(bus, announce=False) as worker:
        worker.only("s", "seqcast")
        queue = context.Queue()
        processes = [context.Process(target=run_as, args=(method, name, queue)) for _ in range(3)]
        processes.append(context.Process(target=use_bus, args=(bus, queue)))
        for process in processes:
            process.start()
        ids = {queue.get(timeout=LONG) for _ in processes}
        for process in processes:
            process.join()
            assert process.exitcode == 0
        events = list(worker.events(timeout=0))
        assert {event.id for event in events if event.source == "s"} == ids
        assert [event.event for event in events].count("stopping") == len(processes), "each has left in order"
        assert [figures["pid"] for figures in bus.stats()["workers"]] == [os.getpid()]


def test_multiprocessing_with_a_worker_of_the_module():
    context = multiprocessing.get_context("fork")
    try:
        MODULE_WORKER.poll()
        queue = context.Queue()
        processes = [context.Process(target=use_worker_of_module, args=(queue,)) for _ in range(3)]
        for process in processes:
            process.start()
        for _ in processes:
            queue.get(timeout=LONG)
        for process in processes:
            process.join()
        seen = [event.data for event in MODULE_WORKER.events(timeout=0) if event.source == "s"]
        assert sorted(seen) == sorted(str(process.pid).encode() for process in processes)
        assert len(MODULE_WORKER.bus.stats()["workers"]) == 1
    finally:
        MODULE_WORKER.leave()
        MODULE_WORKER.bus.unlink()


def test_an_interpreter_leaves_in_order_when_it_ends(name):
    with seqcast.Bus(name) as bus, seqcast.Worker(bus, announce=False) as worker:
        worker.join()
        code = "import sys, seqcast; w = seqcast.Worker(sys.argv[1], label='it'); w.poll(); {}"
        for end in ("", "sys.exit(0)", "w.leave()", "import atexit; atexit.register(lambda: w.post('s', 'last'))"):
            run_python(code.format(end), name)
        with pytest.raises(AssertionError):
            run_python(code.format("raise ValueError"), name)
        stopping = [event for event in worker.events(timeout=0) if event.event == "stopping"]
        assert len(stopping) == 5 and all(event.data == b"it" for event in stopping)
        assert len(bus.stats()["workers"]) == 1


def test_g7_a_killed_process_keeps_nothing(name):
    code = textwrap.dedent(
        """
        import os, sys, seqcast
        worker = seqcast.Worker(sys.argv[1])
        worker.reserve()
        worker.fileno()
        print("ready", flush=True)
        worker.wait()
        worker.wait()
        sys.stdin.read()
        """
    )
    with seqcast.Bus(name, seats=2) as bus, seqcast.Worker(bus, announce=False, wait_max=0.05) as worker:
        for _ in range(5):
            process = subprocess.Popen(
                [sys.executable, "-c", code, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdin.close()
            process.stdout.close()
            posted = worker.post("s", "e")
            ids = []
            while posted not in ids:
                assert worker.wait(LONG)
                ids += [event.id for event in worker.events(timeout=0)]
