"""Posts wake workers that sleep for their interval. It is an hour here, so nothing else wakes them."""

import os
import pathlib
import subprocess
import time

import pytest

from nginx import wait_for
from other import Other
from test_segment import can_mount

pytestmark = pytest.mark.differs

HOUR = "{ interval = 3600 }"


def threads(pid):
    return sorted(task.read_text().strip() for task in pathlib.Path(f"/proc/{pid}/task").glob("*/comm"))


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def is_woken(worker):
    """Returns True if a worker has its thread."""
    return "seqcast-forward" in threads(worker.pid)


def expect(worker, *events):
    """Waits for events without polling."""
    seen = []
    wait_for(lambda: seen.extend(worker.seen()) or set(events) <= set(seen), f"{events} without a poll")


@pytest.fixture
def pair(nginx):
    workers = nginx(workers=2, options=HOUR).workers()
    for worker in workers:
        wait_for(lambda: is_woken(worker), "the thread")
    return workers


def test_a_post_wakes_all_workers_and_the_sender(pair):
    a, b = pair
    for number in range(20):
        a.run("ev.post('s', 'e', args[1])", number)
        for worker in (a, b):
            expect(worker, ("s", "e", number))


def test_another_process_wakes_workers(nginx):
    ng = nginx(workers=2, options=HOUR)
    workers = ng.workers()
    them = Other(ng.segments()[0])
    try:
        for number in range(10):
            them("post", "s", "e", str(number))
            for worker in workers:
                expect(worker, ("s", "e", number))
    finally:
        them.kill()


def test_what_handlers_post_wakes(pair):
    a, b = pair
    b.run("ev.register(function(n) if n < 50 then ev.post('pong', 'e', n) end end, 'ping')")
    a.run("ev.register(function(n) ev.post('ping', 'e', n + 1) end, 'pong') ev.post('ping', 'e', 0)")
    expect(a, ("ping", "e", 50))


def test_events_while_a_handler_yields(nginx):
    ng = nginx(options=HOUR)
    worker, other = ng.connect(), ng.connect()
    worker.run("ev.register(function() ngx.sleep(0.2) end, 's', 'slow')")
    worker.start("ev.post('s', 'slow') return ev.poll()")
    other.run("ngx.sleep(0.05) ev.post('s', 'behind')")
    worker.finish()
    other.run("ngx.sleep(0.05) ev.post('s', 'after')")
    expect(worker, ("s", "slow", None), ("s", "behind", None), ("s", "after", None))


def test_the_last_event_of_a_flood_wakes_too(nginx):
    ng = nginx(workers=2, options=HOUR, allowed=["missed"], init_worker="""
        local ev = require "resty.worker.events"
        ev.register(require("tap").record, "s", "last")
        assert(ev.configure { shm = next(ngx.shared), interval = 3600 })""")
    a, b = ng.workers()
    for number in range(5):
        a.run("""
            local deadline = ngx.now() + 0.2
            repeat
                for _ = 1, 100 do ev.post('s', 'e') end
                ngx.update_time()
            until ngx.now() > deadline
            ev.post('s', 'last', args[1])""", number)
        for worker in (a, b):
            expect(worker, ("s", "last", number))


def test_not_if_it_is_not_wanted(nginx):
    ng = nginx(workers=2, options="{ interval = 3600, wake = false }")
    a, b = ng.workers()
    # After a sleep, the first poll in the background has been.
    b.run("ngx.sleep(0.1) tap.take()")
    a.run("ev.post('s', 'e')")
    b.run("ngx.sleep(0.3)")
    assert threads(b.pid) == ["nginx"]
    assert b.seen() == []
    assert b.polled() == [("s", "e", None)]


def test_not_without_a_poll_in_the_background(nginx):
    ng = nginx(options="{ interval = 0 }")
    worker, = ng.workers()
    worker.run("ngx.sleep(0.2)")
    assert threads(worker.pid) == ["nginx"]


@pytest.mark.parametrize("value", ["1", "'yes'", "{}"])
def test_wake_is_a_boolean(nginx, value):
    worker, = nginx(init_worker="").workers()
    assert worker.run(f"return ev.configure {{ shm = next(ngx.shared), wake = {value} }}") == (
        None, 'optional "wake" option must be a boolean')


def test_it_is_changed_at_run_time_and_leaks_nothing(nginx):
    ng = nginx(options=HOUR)
    worker, = ng.workers()
    wait_for(lambda: is_woken(worker), "the thread")
    worker.run("ngx.sleep(0.1)")
    before = descriptors(worker.pid), threads(worker.pid)
    for _ in range(10):
        for interval in (0, 3600):
            worker.run("assert(ev.configure { interval = args[1] }) ngx.sleep(0.02)", interval)
    worker.run("tap.take() ev.post('s', 'e')")
    expect(worker, ("s", "e", None))
    wait_for(lambda: (descriptors(worker.pid), threads(worker.pid)) == before, "what it had before")


def test_a_worker_that_follows_its_name_is_woken_again(nginx):
    ng = nginx(options="{ interval = 0.2 }", allowed=["was removed"])
    worker, = ng.workers()
    wait_for(lambda: is_woken(worker), "the thread")
    os.unlink("/dev/shm/" + ng.segments()[0])
    wait_for(lambda: ng.log_lines("was removed"), "the worker to notice", ng.log)
    worker.run("return ev.configure { interval = 3600 }")
    wait_for(lambda: worker.run("ngx.sleep(0.05) return 1") and is_woken(worker), "the thread")
    worker.run("tap.take() ev.post('s', 'e')")
    expect(worker, ("s", "e", None))
    assert threads(worker.pid).count("seqcast-forward") == 1


def test_idle_workers_sleep(nginx):
    ng = nginx(workers=2, options=HOUR)
    a, b = ng.workers()
    for worker in (a, b):
        wait_for(lambda: is_woken(worker), "the thread")
    ng.forget_workers()

    def switches():
        count = 0
        for pid in (a.pid, b.pid):
            for status in pathlib.Path(f"/proc/{pid}/task").glob("*/status"):
                line, = [line for line in status.read_text().splitlines() if line.startswith("voluntary_ctxt")]
                count += int(line.split()[1])
        return count

    def switches_in(seconds):
        before = switches()
        time.sleep(seconds)
        return switches() - before

    # What there was to do is done.
    wait_for(lambda: switches_in(0.3) <= 1, "the workers to be idle")
    began = time.monotonic()
    # By two workers with two threads each.
    assert switches_in(2) <= 2 * (time.monotonic() - began)


def test_a_worker_ends_at_once(nginx):
    """Neither the thread nor the light thread that waits for it delays the end."""
    ng = nginx(workers=2, options="{ interval = math.huge }")
    for worker in ng.workers():
        wait_for(lambda: is_woken(worker), "the thread")
    # The time of `stop` is less than worker_shutdown_timeout, after which nginx would end the worker.
    ng.stop()


@pytest.mark.skipif(not can_mount(), reason="this user has no namespaces")
def test_without_a_loopback_interface(nginx, tmp_path):
    wrapper = tmp_path / "nginx-without-network"
    wrapper.write_text('#!/bin/sh\nexec unshare --net "${NGINX_BINARY:-/usr/sbin/nginx}" "$@"\n')
    wrapper.chmod(0o755)
    ng = nginx(workers=2, binary=str(wrapper), options="{ interval = 0.05 }",
               allowed=["Network is unreachable"])
    a, b = ng.workers()
    wait_for(lambda: ng.log_lines("[notice]", "posts do not wake this worker"), "the notice", ng.log)
    a.run("ev.post('s', 'e')")
    for worker in (a, b):
        expect(worker, ("s", "e", None))


def test_without_inotify(nginx):
    """All inotify instances of the user are in use."""
    if os.getuid() != 0:
        pytest.skip("only root can take what another user may have")
    limit = int(pathlib.Path("/proc/sys/fs/inotify/max_user_instances").read_text())
    hog = subprocess.Popen(["/usr/bin/python3", "-c", f"""
import ctypes, os, sys
os.setgid(34); os.setuid(34)
libc = ctypes.CDLL(None)
while libc.inotify_init() >= 0: pass
print("all", flush=True)
sys.stdin.read()
"""], stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=lambda: _raise_limit(limit))
    try:
        assert hog.stdout.readline() == b"all\n"
        ng = nginx(workers=2, user="backup", options="{ interval = 0.05 }")
        a, b = ng.workers()
        wait_for(lambda: ng.log_lines("[notice]", "posts do not wake this worker"), "the notice", ng.log)
        a.run("ev.post('s', 'e')")
        for worker in (a, b):
            expect(worker, ("s", "e", None))
    finally:
        hog.kill()
        hog.wait()


def _raise_limit(count):
    import resource
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, count + 100)), hard))
