#!/usr/bin/env python3
"""Compares resty.worker.events with lua-resty-worker-events, alternately in one run on one nginx.

    bench/run.py --original LIB [--rounds N] [--update]

LIB is the folder `lib` of a checkout of lua-resty-worker-events. Without it only this module is measured. With --update
the printed table replaces that of README.md.
"""

import argparse
import os
import pathlib
import random
import signal
import statistics
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from nginx import LUA_PATH, Nginx, wait_for  # noqa: E402

OURS = HERE.parent / "lib"
BENCH = 'local bench = require "bench" '


class Server:
    """An nginx with one of the two modules, for one measurement."""

    def __init__(self, lib, **settings):
        self._folder = tempfile.TemporaryDirectory()
        folder = pathlib.Path(self._folder.name)
        folder.chmod(0o777)
        settings = {"options": "{ interval = 0 }", "log": "error", "zone_size": "8m", **settings}
        self.nginx = Nginx(folder, lib=lib, init_worker=settings.pop("init_worker", None),
                           package_path=f"{lib}/?.lua;{HERE}/lua/?.lua;{LUA_PATH}", **settings)
        self.nginx.write_config(init_worker=f"""
            require "bench"
            local options = {settings["options"]}
            options.shm = next(ngx.shared)
            assert(require("resty.worker.events").configure(options))""")

    def __enter__(self):
        self.nginx.start()
        return self.nginx

    def __exit__(self, *_):
        try:
            self.nginx.stop()
        finally:
            self.nginx.kill()
            self._folder.cleanup()


def all_at_once(workers, code, *args):
    for worker in workers:
        worker.start(BENCH + code, *args)
    return [worker.finish() for worker in workers]


def costs(lib, count):
    """Returns the nanoseconds of an idle poll, of a post, and of reading an event, with `count` workers at once."""
    with Server(lib, workers=count) as nginx:
        workers = nginx.workers()
        all_at_once(workers, "return bench.idle(0.05)")
        idle = all_at_once(workers, "return bench.idle(0.3)")
        all_at_once(workers, "return bench.post(0.05)")
        post = all_at_once(workers, "return bench.post(0.3)")
        all_at_once(workers, "return require('resty.worker.events').poll()")
        drain = []
        for _ in range(3):
            workers[0].run(BENCH + "bench.fill(4000)")
            drain.append(statistics.mean(all_at_once(workers, "return bench.drain()")))
        return {"idle": statistics.mean(idle), "post": statistics.mean(post), "drain": statistics.median(drain)}


def local_events(lib):
    with Server(lib) as nginx:
        worker, = nginx.workers()
        worker.run(BENCH + "return bench.local_event(0.05)")
        return {"local": worker.run(BENCH + "return bench.local_event(0.3)")}


def latency_by_timer(lib, posts=400, interval=0.001):
    """Returns the microseconds from post to handler, in a worker that polls in the background."""
    with Server(lib, workers=2, options=f"{{ interval = {interval} }}") as nginx:
        a, b = nginx.workers()
        b.run(BENCH + "ngx.sleep(0.1) bench.take_latencies()")
        a.run(BENCH + """
            for i = 1, args[1] do
                ngx.sleep(args[2] * math.random(1, 4))
                -- Anywhere between two ticks of nginx's clock.
                local until_ = bench.now() + math.random() * 0.001
                repeat until bench.now() > until_
                bench.stamp()
            end""", posts, max(0.001, interval / 20))
        return b.run(BENCH + "ngx.sleep(args[1]) return bench.take_latencies()", interval + 0.1)


def latency_by_request(lib, seconds=1.0):
    """Returns the microseconds from post to handler, in a worker that polls on every request. One client sends requests
    without a pause."""
    with Server(lib, workers=2) as nginx:
        a, b = nginx.workers()
        b.run("ev.poll()")
        a.start(BENCH + """
            local deadline = bench.now() + args[1]
            while bench.now() < deadline do
                ngx.sleep(0.001 * math.random(1, 4))
                bench.stamp()
            end""", seconds)
        end = time.monotonic() + seconds + 0.1
        while time.monotonic() < end:
            b.run("ev.poll()")
        a.finish()
        return b.run(BENCH + "return bench.take_latencies()")


def burst(lib):
    """Posts 20,000 events at once to 4 workers with a zone of 1 MB. Returns the number of lost events, the time, and
    the bytes of log."""
    with Server(lib, workers=4, zone_size="1m") as nginx:
        workers = nginx.workers()
        all_at_once(workers, "require('resty.worker.events').poll()")
        start = time.monotonic()
        workers[0].run(BENCH + "bench.received = 0 bench.fill(20000)")
        all_at_once(workers, "require('resty.worker.events').poll()")
        seconds = time.monotonic() - start
        received = all_at_once(workers, "return bench.received")
        return {"lost": 20000 - min(received), "seconds": seconds, "log": len(nginx.log())}


def unique_over_slow_workers(lib):
    """Returns how many times 100 unique events run if each worker polls them later than their ttl."""
    with Server(lib, workers=4, options="{ interval = 0, timeout = 0.02 }") as nginx:
        workers = nginx.workers()
        workers[0].run("for i = 1, 100 do ev.post('upstream', 'healthy', nil, 'key' .. i) end")
        runs = 0
        for worker in workers:
            worker.run("ev.poll()")
            runs += worker.run(BENCH + "ngx.sleep(0.04) return bench.received")
        return {"runs": runs}


def large_event(lib, size=2 * 2**20):
    """Returns the milliseconds to post 2 MB, and to read it in another worker, with a zone of 8 MB."""
    with Server(lib, workers=2) as nginx:
        a, b = nginx.workers()
        b.run("ev.poll() ev.register(function(data) tap.size = #data end, 'large')")
        post, read = [], []
        for _ in range(5):
            ms = a.run(BENCH + """
                local data = ("x"):rep(args[1])
                local start = bench.now()
                assert(ev.post("large", "e", data))
                return (bench.now() - start) * 1e3""", size)
            post.append(ms)
            a.run("ev.poll()")
            read.append(b.run(BENCH + "local start = bench.now() ev.poll() return (bench.now() - start) * 1e3"))
            assert b.run("return tap.size") == size
        return {"large_post": min(post), "large_read": min(read)}


def quantile(values, q):
    return sorted(values)[min(len(values) - 1, int(len(values) * q))]


def measure(lib):
    found = {}
    for count in (1, 2, 4):
        found.update({f"{name}{count}": value for name, value in costs(lib, count).items()})
    found.update(local_events(lib))
    timer = latency_by_timer(lib)
    slow = latency_by_timer(lib, posts=30, interval=1)
    request = latency_by_request(lib)
    found.update({
        "slow_p50": quantile(slow, 0.5),
        "timer_p50": quantile(timer, 0.5), "timer_p99": quantile(timer, 0.99),
        "request_p50": quantile(request, 0.5), "request_p99": quantile(request, 0.99),
    })
    found.update({f"burst_{name}": value for name, value in burst(lib).items()})
    found.update(unique_over_slow_workers(lib))
    found.update(large_event(lib))
    return found


ROWS = [
    ("idle1", "idle poll, 1 worker", "{:.0f} ns"),
    ("idle2", "idle poll, 2 workers at once", "{:.0f} ns"),
    ("idle4", "idle poll, 4 workers at once", "{:.0f} ns"),
    ("post1", "post of `{ ip, port, hostname }`, 1 worker", "{:.0f} ns"),
    ("post2", "post, 2 workers at once", "{:.0f} ns"),
    ("post4", "post, 4 workers at once", "{:.0f} ns"),
    ("drain1", "read and handle an event, 1 worker", "{:.0f} ns"),
    ("drain2", "read, 2 workers at once", "{:.0f} ns"),
    ("drain4", "read, 4 workers at once", "{:.0f} ns"),
    ("local", "`post_local` and `poll`", "{:.0f} ns"),
    ("timer_p50", "post to handler, interval 1 ms, median", "{:.0f} us"),
    ("timer_p99", "post to handler, interval 1 ms, 99 %", "{:.0f} us"),
    ("slow_p50", "post to handler, interval 1 s, median", "{:.0f} us"),
    ("request_p50", "post to handler, a poll per request, median", "{:.0f} us"),
    ("request_p99", "post to handler, a poll per request, 99 %", "{:.0f} us"),
    ("burst_seconds", "20,000 events to 4 workers, zone of 1 MB", "{:.2f} s"),
    ("burst_lost", "of these, lost", "{:.0f}"),
    ("burst_log", "bytes of log", "{:,.0f}"),
    ("runs", "100 unique events over slow workers: runs", "{:.0f}"),
    ("large_post", "post of 2 MB", "{:.1f} ms"),
    ("large_read", "read of 2 MB", "{:.1f} ms"),
]


def update(table):
    """Replaces the README's table."""
    path = HERE.parent / "README.md"
    before, rest = path.read_text().split(HEAD, 1)
    path.write_text(before + table + rest[rest.index("\n\n"):])


HEAD = "| | seqcast | lua-resty-worker-events |\n|---|---:|---:|"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--original", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--update", action="store_true")
    arguments = parser.parse_args()
    if arguments.update and not arguments.original:
        parser.error("--update needs --original")
    # The exit also ends nginx.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    libs = {"seqcast": OURS}
    if arguments.original:
        libs["original"] = arguments.original.resolve()
    found = {name: [] for name in libs}
    for number in range(arguments.rounds):
        order = list(libs.items())
        random.shuffle(order)
        for name, lib in order:
            print(f"round {number + 1}: {name}", file=sys.stderr)
            found[name].append(measure(lib))
    lines = [HEAD]
    for key, title, form in ROWS:
        cells = [form.format(statistics.median(each[key] for each in found[name])) if name in found else ""
                 for name in ("seqcast", "original")]
        lines.append(f"| {title} | {cells[0]} | {cells[1]} |")
    table = "\n".join(lines)
    print(f"{arguments.rounds} rounds; load at the end {os.getloadavg()[1]:.1f}", file=sys.stderr)
    print(table)
    if arguments.update:
        update(table)


if __name__ == "__main__":
    main()
