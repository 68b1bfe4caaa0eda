"""Workers on event loops."""

import asyncio
import os
import signal
import sys
import threading
import time

import pytest

import seqcast.aio
import seqcast.asgi
from processes import LONG, Child, in_child

try:
    import uvloop
except ImportError:
    uvloop = None

LOOPS = [asyncio.new_event_loop] + ([uvloop.new_event_loop] if uvloop else [])


@pytest.fixture(params=LOOPS, ids=lambda make: make.__module__.partition(".")[0])
def run(request):
    """Runs a coroutine function on its own loop, with a time limit and without a thread."""

    def run(function, *args):
        loop = request.param()
        asyncio.set_event_loop(loop)
        before = threading.active_count()

        async def main():
            result = await asyncio.wait_for(function(*args), LONG)
            assert threading.active_count() == before, "no thread"
            return result

        try:
            return loop.run_until_complete(main())
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    return run


def aio_worker(bus, **options):
    return seqcast.aio.Worker(bus, announce=False, **options)


def test_handlers_may_be_coroutines_and_keep_the_order(bus, run):
    async def main():
        async with aio_worker(bus) as worker:
            ran = []

            @worker.on("s")
            async def slow(event):
                await asyncio.sleep(0.01 if event.id == 0 else 0)
                ran.append(("slow", event.id))

            @worker.on("s", "e")
            def fast(event):
                ran.append(("fast", event.id))

            @worker.on("s", "e")
            async def last(event):
                ran.append(("last", event.id))

            for _ in range(2):
                worker.post("s", "e")
            assert await worker.poll() == 2
            assert ran == [(name, number) for number in range(2) for name in ("slow", "fast", "last")]
            for _ in range(5):
                worker.post("s", "e")
            assert (await worker.poll(2), await worker.poll(0), await worker.poll(10)) == (2, 0, 3)

    run(main)


def test_a_post_of_another_process_wakes_the_loop(bus, run):
    async def main():
        async with aio_worker(bus) as worker:

            def post():
                with seqcast.Worker(bus, announce=False) as mine:
                    time.sleep(0.05)
                    mine.post("s", "e")

            assert not await worker.wait(0.001) and not await worker.wait(0)
            child = Child(post)
            ticks = 0

            async def tick():
                nonlocal ticks
                while True:
                    await asyncio.sleep(0.001)
                    ticks += 1

            ticking = asyncio.ensure_future(tick())
            assert await worker.wait(LONG)
            child.result()
            assert ticks, "other tasks run meanwhile"
            ticking.cancel()
            assert (await worker.next()).event == "e"

    run(main)


def test_async_iteration(bus, run):
    async def main():
        async with aio_worker(bus) as worker, aio_worker(bus) as other:
            seen = []

            async def read():
                async for event in worker:
                    seen.append(event.event)
                    if event.event == "last":
                        return

            task = asyncio.ensure_future(read())
            await asyncio.sleep(0)
            for name in ("first", "second", "last"):
                other.post("s", name)
                await asyncio.sleep(0.005)
            await task
            assert seen == ["first", "second", "last"]
            assert [event async for event in worker.events(timeout=0.001)] == []

    run(main)


def test_several_tasks_wait(bus, run):
    async def main():
        async with aio_worker(bus) as worker, aio_worker(bus) as other:
            tasks = [asyncio.ensure_future(worker.wait()) for _ in range(3)]
            await asyncio.sleep(0.01)
            assert not any(task.done() for task in tasks)
            tasks[0].cancel()
            await asyncio.sleep(0)
            other.post("s", "e")
            assert await asyncio.gather(*tasks[1:]) == [True, True]
            assert tasks[0].cancelled()

    run(main)


def test_local_events_and_leaving_wake_the_loop(bus, run):
    async def main():
        worker = aio_worker(bus)
        values = []
        worker.on("s", "local")(lambda event: values.append(event.value))
        worker.on("s", "end")(lambda event: worker.leave())
        task = asyncio.ensure_future(worker.run())
        await asyncio.sleep(0.01)
        worker.post_local("s", "local", 1)
        thread = threading.Thread(target=worker.post_local, args=("s", "local", 2))
        thread.start()
        while len(values) < 2:
            await asyncio.sleep(0.001)
        thread.join()
        assert values == [1, 2]
        worker.post("s", "end")
        await task
        again = aio_worker(bus)
        waiting = asyncio.ensure_future(again.wait())
        await asyncio.sleep(0.01)
        again.leave()
        with pytest.raises(seqcast.LeftError):
            await waiting

    run(main)


def test_run_lets_other_tasks_run(bus, run):
    async def main():
        async with aio_worker(bus) as worker:
            worker.on("s")(lambda event: worker.post("s", "e"))
            worker.post("s", "e")
            task = asyncio.ensure_future(worker.run())
            for _ in range(10):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(main)


def test_exceptions_of_coroutines_go_to_the_hook(bus, run, monkeypatch):
    found = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: found.append((type(args.exc_value), args.object)))

    async def main():
        async with aio_worker(bus) as worker:
            ran = []

            @worker.on("s")
            async def bad(event):
                raise ValueError

            worker.on("s", "e")(ran.append)
            worker.post("s", "e")
            assert await worker.poll() == 1
            assert len(ran) == 1 and found == [(ValueError, bad)]

    run(main)


def test_a_cancelled_poll_goes_on_after_the_handler(bus, run):
    async def main():
        async with aio_worker(bus) as worker:
            ran = []

            @worker.on("s")
            async def sleep(event):
                ran.append("sleep")
                await asyncio.sleep(LONG)

            worker.on("s", "e")(lambda event: ran.append("after"))
            worker.post("s", "e")
            task = asyncio.ensure_future(worker.poll())
            while not ran:
                await asyncio.sleep(0)
            assert await worker.poll() == 0, "one task polls"
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await worker.poll() == 0 and ran == ["sleep", "after"]

    run(main)


def test_g12_a_fork_under_a_loop(bus, run):
    async def main():
        async with aio_worker(bus) as worker:
            waiting = asyncio.ensure_future(worker.wait())
            await asyncio.sleep(0.01)

            def child():
                async def in_child():
                    worker.post("s", "e")
                    await worker.wait()
                    return (await worker.next()).event

                # Each process has its own loop.
                asyncio.events._set_running_loop(None)
                loop = asyncio.new_event_loop()
                return loop.run_until_complete(asyncio.wait_for(in_child(), LONG))

            assert in_child(child) == "e"
            assert await waiting and (await worker.next()).event == "e"

    run(main)


def test_lifespan(bus, run):
    async def main():
        inside = []

        async def app(scope, receive, send):
            inside.append(scope["type"])

        worker = seqcast.aio.Worker(bus)
        done = asyncio.Event()
        worker.on("job", "done")(lambda event: done.set())
        application = seqcast.asgi.Lifespan(app, worker)
        requests, answers = asyncio.Queue(), asyncio.Queue()
        await requests.put({"type": "lifespan.startup"})
        task = asyncio.ensure_future(application({"type": "lifespan"}, requests.get, answers.put))
        assert await answers.get() == {"type": "lifespan.startup.complete"}
        await application({"type": "http"}, None, None)
        assert inside == ["http"]
        worker.post("job", "done")
        await done.wait()
        await requests.put({"type": "lifespan.shutdown"})
        assert await answers.get() == {"type": "lifespan.shutdown.complete"}
        await task
        assert bus.stats()["workers"] == []
        # A worker that cannot join says why.
        await requests.put({"type": "lifespan.startup"})
        await application({"type": "lifespan"}, requests.get, answers.put)
        assert (await answers.get())["type"] == "lifespan.startup.failed"

    run(main)


def test_ctrl_c_under_a_loop(bus):
    async def main():
        async with aio_worker(bus) as worker:
            asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGINT)
            await worker.wait()

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
