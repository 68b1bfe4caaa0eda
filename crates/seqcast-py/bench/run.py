#!/usr/bin/env python3
"""Compares the Python package with what Python programs use now, alternately in one run.

    bench/run.py [--rounds N] [--scale F]

Peers that are not installed are skipped: redis (and a redis-server), posix_ipc, filelock, iceoryx2. bench/run installs
them. Every peer carries 64 bytes, and each of the receiving processes gets every message.
"""

import argparse
import contextlib
import ctypes
import multiprocessing
import os
import pathlib
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import seqcast

FORK = multiprocessing.get_context("fork")
PAYLOAD = b"x" * 64
LAST = b"last" + b"x" * 60
RECEIVERS = 4


def optional(name):
    with contextlib.suppress(ImportError):
        return __import__(name)
    return None


redis, posix_ipc, filelock, iceoryx2 = (optional(name) for name in ("redis", "posix_ipc", "filelock", "iceoryx2"))


def per_call(function, count):
    """Returns the nanoseconds of processor time of a call."""
    start = time.process_time_ns()
    for _ in range(count):
        function()
    return (time.process_time_ns() - start) / count


@contextlib.contextmanager
def forked(*functions):
    """Runs functions in children, and waits for them."""
    processes = [FORK.Process(target=function) for function in functions]
    for process in processes:
        process.start()
    try:
        yield
        for process in processes:
            process.join(120)
            if process.exitcode != 0:
                raise RuntimeError(f"a receiver ended with {process.exitcode}")
    finally:
        for process in processes:
            if process.is_alive():
                process.kill()


class Redis:
    """A server on a Unix socket, without files."""

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory()
        self._path = os.path.join(self._folder.name, "redis.sock")
        self._process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", self._path, "--save", "", "--appendonly", "no"],
            stdout=subprocess.DEVNULL,
        )
        while True:
            with contextlib.suppress(redis.ConnectionError):
                self.client().ping()
                return self
            time.sleep(0.01)

    def client(self):
        return redis.Redis(unix_socket_path=self._path)

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait()
        self._folder.cleanup()


# Costs of single calls


def calls(scale):
    count = int(20_000 * scale)
    found = {}
    with seqcast.Bus.anonymous(capacity=65_536) as bus, seqcast.Worker(bus, announce=False) as worker:
        handled = []
        worker.on("cache", "stale")(handled.append)
        worker.poll()
        found["idle poll"] = per_call(worker.poll, count)
        found["post of 64 bytes"] = per_call(lambda: worker.post("cache", "stale", PAYLOAD), count)
        start = time.process_time_ns()
        polled = worker.poll()
        found["an event, by a handler"] = (time.process_time_ns() - start) / polled
        with seqcast.Worker(bus, announce=False, start="oldest") as reader:
            reader.next()
            start = time.process_time_ns()
            read = sum(1 for _ in reader.events(timeout=0))
            found["an event, by iteration"] = (time.process_time_ns() - start) / read

        def post_and_poll():
            worker.post("cache", "stale", PAYLOAD)
            worker.poll()

        found["post and poll"] = per_call(post_and_poll, count)
        cache = seqcast.shared_cache("bench", bus=bus)
        cache["key"] = 1
        found["shared_cache, a hit"] = per_call(lambda: cache["key"], count)
    return found


def once_seqcast(count):
    with seqcast.Bus.anonymous() as bus, seqcast.Publisher(bus) as publisher:
        return per_call(lambda: publisher.claim("job", 60).release(), count)


def once_redis(count):
    # What celery-once and django-celery locks do: SET NX EX, and DEL.
    with Redis() as server:
        client = server.client()

        def claim():
            client.set("job", "1", nx=True, ex=60)
            client.delete("job")

        start = time.perf_counter_ns()
        for _ in range(count):
            claim()
        return (time.perf_counter_ns() - start) / count


def once_file(count):
    with tempfile.TemporaryDirectory() as folder:
        lock = filelock.FileLock(os.path.join(folder, "lock"))

        def claim():
            lock.acquire(blocking=False)
            lock.release()

        return per_call(claim, count)


def once_manager(count):
    with FORK.Manager() as manager:
        lock = manager.Lock()

        def claim():
            lock.acquire(False)
            lock.release()

        start = time.perf_counter_ns()
        for _ in range(count):
            claim()
        return (time.perf_counter_ns() - start) / count


# One sender, four receivers: messages per second until all have all


def fan_seqcast(count):
    with seqcast.Bus.anonymous(capacity=1 << max(13, (count * 2).bit_length())) as bus:
        ready = FORK.Semaphore(0)

        def receive():
            with seqcast.Worker(bus, announce=False) as worker:
                done = []

                @worker.on("cache", "stale")
                def handle(event):
                    if event.data == LAST:
                        done.append(1)

                worker.poll()
                ready.release()
                while not done:
                    worker.wait(60)
                    worker.poll()

        with seqcast.Publisher(bus) as publisher, forked(*[receive] * RECEIVERS):
            for _ in range(RECEIVERS):
                ready.acquire()
            start = time.perf_counter()
            for _ in range(count):
                publisher.post("cache", "stale", PAYLOAD)
            publisher.post("cache", "stale", LAST)
        return count / (time.perf_counter() - start)


def fan_queues(queues, count):
    def receive(queue):
        while queue.get() != LAST:
            pass

    with forked(*[lambda queue=queue: receive(queue) for queue in queues]):
        start = time.perf_counter()
        for message in [PAYLOAD] * count + [LAST]:
            for queue in queues:
                queue.put(message)
    return count / (time.perf_counter() - start)


def fan_queue(count):
    return fan_queues([FORK.Queue() for _ in range(RECEIVERS)], count)


def fan_manager(count):
    with FORK.Manager() as manager:
        return fan_queues([manager.Queue() for _ in range(RECEIVERS)], count)


def fan_redis(count):
    with Redis() as server:
        ready = FORK.Semaphore(0)

        def receive():
            subscription = server.client().pubsub()
            subscription.subscribe("cache")
            subscription.get_message(timeout=10)
            ready.release()
            for message in subscription.listen():
                if message["data"] == LAST:
                    return

        with forked(*[receive] * RECEIVERS):
            for _ in range(RECEIVERS):
                ready.acquire()
            client = server.client()
            start = time.perf_counter()
            for _ in range(count):
                client.publish("cache", PAYLOAD)
            client.publish("cache", LAST)
        return count / (time.perf_counter() - start)


# Round trips between two processes that sleep in between, in microseconds


def trips(send, receive, count):
    times = []
    for number in range(count + count // 10):
        start = time.perf_counter_ns()
        send()
        receive()
        if number >= count // 10:
            times.append((time.perf_counter_ns() - start) / 1000)
    return statistics.median(times)


def trip_seqcast(count):
    with seqcast.Bus.anonymous() as bus:
        ready = FORK.Semaphore(0)

        def echo():
            with seqcast.Worker(bus, announce=False) as worker:
                worker.only("ping")
                worker.next()
                ready.release()
                while worker.next(None).data != LAST:
                    worker.post("pong", "e", PAYLOAD)

        with forked(echo), seqcast.Worker(bus, announce=False) as worker:
            worker.only("pong")
            worker.next()
            ready.acquire()
            median = trips(lambda: worker.post("ping", "e", PAYLOAD), lambda: worker.next(None), count)
            worker.post("ping", "e", LAST)
    return median


def trip_pair(make, count):
    there, back = make(), make()

    def echo():
        while there.get() != LAST:
            back.put(PAYLOAD)

    with forked(echo):
        median = trips(lambda: there.put(PAYLOAD), back.get, count)
        there.put(LAST)
    return median


def trip_queue(count):
    return trip_pair(FORK.Queue, count)


def trip_simple_queue(count):
    return trip_pair(FORK.SimpleQueue, count)


def trip_manager(count):
    with FORK.Manager() as manager:
        return trip_pair(manager.Queue, count)


class PosixQueue:
    def __init__(self):
        self._queue = posix_ipc.MessageQueue(None, posix_ipc.O_CREX, max_messages=8, max_message_size=64)
        self._queue.unlink()
        self.put = self._queue.send

    def get(self):
        return self._queue.receive()[0]


def trip_posix_ipc(count):
    return trip_pair(PosixQueue, count)


def trip_redis(count):
    with Redis() as server:
        ready = FORK.Semaphore(0)

        def subscribed(name):
            subscription = server.client().pubsub(ignore_subscribe_messages=True)
            subscription.subscribe(name)
            subscription.get_message(timeout=10)
            return subscription

        def echo():
            subscription = subscribed("ping")
            client = server.client()
            ready.release()
            for message in subscription.listen():
                if message["data"] == LAST:
                    return
                client.publish("pong", PAYLOAD)

        with forked(echo):
            ready.acquire()
            subscription = subscribed("pong")
            answers = subscription.listen()
            client = server.client()
            median = trips(lambda: client.publish("ping", PAYLOAD), lambda: next(answers), count)
            client.publish("ping", LAST)
        return median


def trip_iceoryx2_and_remove(count):
    # Its nodes leave files behind.
    with removed_after_use("/dev/shm", "iox2_*"):
        return trip_iceoryx2(count)


@contextlib.contextmanager
def removed_after_use(folder, pattern):
    """Remove files that match and were not there before."""
    before = set(pathlib.Path(folder).glob(pattern))
    try:
        yield
    finally:
        for path in set(pathlib.Path(folder).glob(pattern)) - before:
            path.unlink(missing_ok=True)


def trip_iceoryx2(count):
    """Its Python package cannot wait for a message without a listener: both sides wait at one, like seqcast's bell."""
    name = f"bench-{os.getpid()}-{random.randrange(1 << 30)}"

    class Payload(ctypes.Structure):
        _fields_ = [("data", ctypes.c_ubyte * 64)]

    def ends(mine, theirs):
        node = iceoryx2.NodeBuilder.new().create(iceoryx2.ServiceType.Ipc)

        def service(part):
            return iceoryx2.ServiceName.new(f"{name}/{part}")

        def messages(part):
            return node.service_builder(service(part)).publish_subscribe(Payload).open_or_create()

        def events(part):
            return node.service_builder(service(part)).event().open_or_create()

        publisher = messages(theirs).publisher_builder().create()
        subscriber = messages(mine).subscriber_builder().create()
        notifier = events(theirs).notifier_builder().create()
        listener = events(mine).listener_builder().create()
        payload = Payload()

        def send():
            sample = publisher.loan_uninit()
            sample.write_payload(payload).send()
            notifier.notify()

        def receive():
            while True:
                sample = subscriber.receive()
                if sample is not None:
                    bytes(sample.payload().contents.data)
                    return
                listener.timed_wait(iceoryx2.Duration.from_secs(10))

        return node, send, receive

    ready = FORK.Semaphore(0)

    def echo():
        _node, send, receive = ends("there", "back")
        ready.release()
        for _ in range(count + count // 10):
            receive()
            send()

    with forked(echo):
        ready.acquire()
        _node, send, receive = ends("back", "there")
        median = trips(send, receive, count)
    return median


# The cost of a process that only waits: processor milliseconds per second


def idle(wait, seconds=2.0):
    def child():
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        wait()

    process = FORK.Process(target=child)
    process.start()
    time.sleep(0.3)
    before = cpu_of(process.pid)
    time.sleep(seconds)
    used = cpu_of(process.pid) - before
    process.terminate()
    process.join()
    return used / seconds * 1000


def cpu_of(pid):
    """Returns the processor time in seconds, to the nanosecond."""
    return int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def idle_seqcast():
    with seqcast.Bus.anonymous() as bus:
        return idle(lambda: seqcast.Worker(bus).run())


def idle_aio():
    import asyncio

    import seqcast.aio

    with seqcast.Bus.anonymous() as bus:
        return idle(lambda: asyncio.run(seqcast.aio.Worker(bus).run()))


def idle_queue():
    queue = FORK.Queue()
    return idle(queue.get)


def idle_redis():
    with Redis() as server:

        def wait():
            subscription = server.client().pubsub()
            subscription.subscribe("cache")
            for _ in subscription.listen():
                pass

        return idle(wait)


def measure(scale):
    """Returns measurements as (name, function), in random order."""
    with_redis = redis is not None and shutil.which("redis-server") is not None
    small, large = max(100, int(1000 * scale)), max(200, int(10_000 * scale))
    tasks = {
        "calls": lambda: calls(scale),
        "claim and release: seqcast": lambda: once_seqcast(large),
        "claim and release: multiprocessing.Manager().Lock": lambda: once_manager(small),
        "to four processes: seqcast": lambda: fan_seqcast(int(100_000 * scale)),
        "to four processes: multiprocessing.Queue, one each": lambda: fan_queue(large),
        "to four processes: multiprocessing.Manager().Queue, one each": lambda: fan_manager(small),
        "round trip: seqcast": lambda: trip_seqcast(small),
        "round trip: multiprocessing.Queue": lambda: trip_queue(small),
        "round trip: multiprocessing.SimpleQueue (a pipe)": lambda: trip_simple_queue(small),
        "round trip: multiprocessing.Manager().Queue": lambda: trip_manager(small),
        "idle: seqcast.Worker.run": idle_seqcast,
        "idle: seqcast.aio": idle_aio,
        "idle: multiprocessing.Queue": idle_queue,
    }
    if with_redis:
        tasks["claim and release: Redis SET NX, as celery-once"] = lambda: once_redis(small)
        tasks["to four processes: Redis pub/sub"] = lambda: fan_redis(large)
        tasks["round trip: Redis pub/sub"] = lambda: trip_redis(small)
        tasks["idle: Redis pub/sub"] = idle_redis
    if filelock is not None:
        tasks["claim and release: filelock"] = lambda: once_file(small)
    if posix_ipc is not None:
        tasks["round trip: posix_ipc.MessageQueue"] = lambda: trip_posix_ipc(small)
    if iceoryx2 is not None:
        tasks["round trip: iceoryx2"] = lambda: trip_iceoryx2_and_remove(small)
    order = list(tasks.items())
    random.shuffle(order)
    return order


UNITS = {
    "claim": "{:.0f} ns",
    "to four": "{:,.0f} /s",
    "round": "{:.1f} us",
    "idle": "{:.2f} ms of processor time a second",
}


def shown(name, value):
    unit = next((unit for start, unit in UNITS.items() if name.startswith(start) and ":" in name), "{:.0f} ns")
    return unit.format(value)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of messages")
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    found = {}
    for number in range(arguments.rounds):
        for name, function in measure(arguments.scale):
            print(f"round {number + 1}: {name}", file=sys.stderr)
            result = function()
            for key, value in (result if isinstance(result, dict) else {name: result}).items():
                found.setdefault(key, []).append(value)
    print(f"Python {sys.version.split()[0]}, medians of {arguments.rounds} rounds\n\n| | |\n|---|---:|")
    for name in sorted(found, key=lambda name: (":" in name, name.split(":")[0], statistics.median(found[name]))):
        print(f"| {name} | {shown(name, statistics.median(found[name]))} |")


if __name__ == "__main__":
    main()
