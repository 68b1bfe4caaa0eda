"""Jobs that one of many processes runs."""

import asyncio
import multiprocessing
import os
import signal
import time

import pytest

import seqcast
from processes import LONG, Child, eventually, in_child


def test_one_of_all_processes_runs_it(bus):
    @seqcast.run_once("job", ttl=3600, bus=bus, default="elsewhere")
    def job():
        """Its doc."""
        return os.getpid()

    children = [Child(job) for _ in range(6)]
    results = [child.result() for child in children]
    assert sorted(result in [child.pid for child in children] for result in results) == [False] * 5 + [True]
    assert job() == "elsewhere", "it is done, and the process that ran it has ended"
    assert job.__name__ == "job" and job.__doc__ == "Its doc."


def spawned(name, queue):
    job = seqcast.run_once("job", ttl=3600, bus=name)(os.getpid)
    queue.put(job())


def test_spawned_processes(name):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=spawned, args=(name, queue)) for _ in range(4)]
    for process in processes:
        process.start()
    results = [queue.get(timeout=LONG) for _ in processes]
    for process in processes:
        process.join()
    assert [result for result in results if result is not None] == [
        process.pid for process in processes if process.pid in results
    ]
    assert len([result for result in results if result is not None]) == 1


def test_the_ttl_counts_from_the_beginning(bus):
    runs = []
    job = seqcast.run_once("job", ttl=0.3, bus=bus)(lambda: runs.append(1) or "ran")
    began = time.monotonic()
    assert job() == "ran"
    assert job() is None or time.monotonic() - began >= 0.3, "it ran twice in its time"
    eventually(job)
    slow = seqcast.run_once("slow", ttl=0.01, bus=bus)(lambda: time.sleep(0.05) or "ran")
    assert slow() == "ran" and slow() == "ran", "the next period has begun"


def test_a_claim_is_renewed_while_its_job_runs(bus):
    read, write = os.pipe()

    @seqcast.run_once("job", ttl=3600, lease=15, bus=bus)
    def job():
        os.write(write, b"x")
        left = bus._publisher.held("job").left
        # It grows by nothing but a renewal.
        while (now := bus._publisher.held("job").left) <= left:
            left = now
            time.sleep(0.05)
        return "ran"

    child = Child(job)
    os.read(read, 1)
    assert job() is None
    assert child.result() == "ran" and job() is None
    os.close(read)
    os.close(write)


def test_g7_the_next_call_takes_over_when_the_runner_dies(bus):
    read, write = os.pipe()

    @seqcast.run_once("job", ttl=3600, bus=bus)
    def job(dies):
        if dies:
            os.write(write, b"x")
            signal.pause()
        return os.getpid()

    child = Child(job, True)
    os.read(read, 1)
    assert job(False) is None, "it runs"
    child.kill()
    child.wait()
    assert job(False) == os.getpid()
    assert job(False) is None, "it is done"
    os.close(read)
    os.close(write)


def test_g7_a_process_that_stands_by_takes_over_when_the_runner_dies(bus):
    read, write = os.pipe()

    def work(dies):
        os.write(write, b"x")
        if dies:
            signal.pause()
        return os.getpid()

    job = seqcast.run_once("job", ttl=3600, bus=bus, standby=True, default="done elsewhere")(work)
    runner = Child(job, True)
    os.read(read, 1)
    standing_by = [Child(job, False) for _ in range(3)]
    runner.kill()
    runner.wait()
    results = [child.result() for child in standing_by]
    assert results.count("done elsewhere") == 2
    os.close(read)
    os.close(write)


def test_a_job_that_raises_is_run_again(bus):
    runs = []

    @seqcast.run_once("job", ttl=3600, bus=bus)
    def job():
        runs.append(1)
        if len(runs) == 1:
            raise ZeroDivisionError
        return "ran"

    with pytest.raises(ZeroDivisionError):
        job()
    assert job() == "ran" and job() is None


def test_a_coroutine_function(bus):
    @seqcast.run_once("job", ttl=3600, bus=bus)
    async def job():
        await asyncio.sleep(0)
        return "ran"

    @seqcast.run_once("bad", ttl=3600, bus=bus)
    async def bad():
        raise ZeroDivisionError

    async def main():
        assert sorted(await asyncio.gather(job(), job(), job()), key=str) == [None, None, "ran"]
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                await bad()

    asyncio.run(main())


def test_a_job_that_lost_its_claim_is_told(bus, caplog):
    @seqcast.run_once("other", ttl=3600, lease=30, bus=bus)
    def releases():
        # As if the process had been stopped for longer than the lease.
        bus._publisher.release(claims[-1])
        return "ran"

    claims = []
    claim = seqcast.Publisher.claim

    def kept(self, *args, **options):
        claims.append(claim(self, *args, **options))
        return claims[-1]

    seqcast.Publisher.claim = kept
    try:
        assert releases() == "ran"
    finally:
        seqcast.Publisher.claim = claim
    assert "may have run twice" in caplog.text


def test_bad_arguments():
    for arguments in ((print, 1), ("", 1), (7, 1)):
        with pytest.raises(TypeError):
            seqcast.run_once(*arguments)
    for options in ({"ttl": 0}, {"ttl": -1}, {"ttl": float("nan")}, {"ttl": 1, "lease": 0}):
        with pytest.raises(ValueError):
            seqcast.run_once("job", **options)


def test_apscheduler(name):
    pytest.importorskip("apscheduler")
    with seqcast.Bus(name) as bus, seqcast.Worker(bus, announce=False) as worker:
        worker.join()

        def schedule():
            from apscheduler.schedulers.background import BackgroundScheduler

            @seqcast.run_once("nightly", ttl=3600, bus=bus)
            def nightly():
                worker.post("job", "ran")

            called = []
            scheduler = BackgroundScheduler(timezone="UTC")
            scheduler.add_job(nightly)
            scheduler.add_job(lambda: called.append(1))
            scheduler.start()
            eventually(lambda: called)
            scheduler.shutdown()

        for child in [Child(schedule) for _ in range(4)]:
            child.result()
        assert [event.event for event in worker.events(timeout=0) if event.source == "job"] == ["ran"]


def test_the_default_bus_is_shared_by_programs_of_a_user():
    seqcast.configure(f"test-python-default-{os.getpid()}")
    try:
        job = seqcast.run_once("job", ttl=60)(os.getpid)
        assert in_child(job) is not None
        assert job() is None
        with pytest.raises(RuntimeError):
            seqcast.configure("another")
    finally:
        seqcast.default_bus().unlink()
        seqcast._default._bus = None
