"""The segment: its name, sharing it with other programs, sizes, permissions, and its removal by the last process."""

import os
import pathlib
import pwd
import signal
import subprocess

import pytest

from nginx import HERE, alive, wait_for
from other import Other
from test_lifecycle import both_ways, needs_root

pytestmark = pytest.mark.differs


@pytest.fixture
def name():
    name = f"lua-test-{os.getpid()}"
    yield name
    path = pathlib.Path("/dev/shm", name)
    assert not path.exists(), path.unlink()


def exists(name):
    return os.path.exists("/dev/shm/" + name)


def shared(name, **more):
    settings = ", ".join(f"{key} = {value}" for key, value in more.items())
    return f'{{ interval = 0, segment = "{name}", {settings} }}'


def test_two_nginx_share_a_bus(name, nginx):
    one, two = (nginx(options=shared(name)) for _ in range(2))
    both_ways(*one.workers(), *two.workers())
    assert one.segments() == two.segments() == []
    one.stop()
    worker, = two.workers()
    worker.run("ev.post('s', 'alone')")
    assert worker.polled() == [("s", "alone", None)]
    assert exists(name)
    two.stop()
    assert not exists(name)


def test_a_segment_without_a_zone(name, nginx):
    ng = nginx(workers=2, init_worker=f"""
        local ev = require "resty.worker.events"
        ev.register(require("tap").record)
        assert(ev.configure {{ segment = "{name}", interval = 0 }})""")
    both_ways(*ng.workers())
    assert ng.workers()[0].run(f"return ev.configure {{ segment = '{name}' }}") == (
        None, "Already started, cannot change shm")


def test_old_and_new_binary_have_one_order(name, nginx):
    ng = nginx(options=shared(name))
    old_master = ng.pid
    old, = ng.workers()
    ng.send(signal.SIGUSR2)
    wait_for(lambda: ng._pid_in_file("nginx.pid.oldbin") == old_master and ng.pid and ng.pid != old_master
             and ng.children(), "the new master", ng.log)
    ng.note_processes()
    new = wait_for(lambda: another(ng, old.pid), "a worker of the new binary", ng.log)
    both_ways(old, new)
    ng.forget_workers()
    ng.send(signal.SIGQUIT, old_master)
    wait_for(lambda: not alive(old_master), "the old master to go", ng.log)
    worker, = ng.workers()
    worker.run("ev.post('s', 'e')")
    assert worker.polled() == [("s", "e", None)]


def another(ng, pid):
    worker = ng.connect()
    return worker if worker.pid != pid else None


def test_the_name_stays_as_long_as_another_process_has_it(name, nginx):
    ng = nginx(options=shared(name))
    worker, = ng.workers()
    them = Other(name)
    try:
        worker.run("ev.post('s', 'e', 1)")
        ng.stop()
        assert exists(name)
        assert ["s", "e", "1", worker.pid] in them("take")
    finally:
        them.kill()
    os.unlink("/dev/shm/" + name)


def test_the_name_stays_if_that_is_wanted(name, nginx):
    ng = nginx(options=shared(name, unlink="false"))
    ng.workers()
    ng.stop()
    assert exists(name)
    os.unlink("/dev/shm/" + name)


def test_the_name_of_a_zone_is_its_masters(nginx):
    ng = nginx(workers=2)
    ng.workers()
    found, = ng.segments()
    assert found.startswith(f"nginx.{ng.zone}.{ng.pid}.")


@pytest.mark.parametrize("zone", ["a-b_c", "a.b", "a:b/c", "x" * 150, "\u00e4"])
def test_names_of_zones(nginx, zone):
    ng = nginx(zone=zone)
    worker, = ng.workers()
    worker.run("ev.post('s', 'e')")
    assert worker.polled() == [("s", "e", None)]
    own = [name for name in os.listdir("/dev/shm") if f".{ng.pid}." in name]
    assert len(own) == 1
    ng.stop()
    assert own[0] not in os.listdir("/dev/shm")


def test_zones_are_apart(nginx):
    """Two VMs of one worker share a bus only if they have the same zone."""
    one, two = nginx(), nginx()
    a, b = one.workers()[0], two.workers()[0]
    a.run("ev.post('s', 'e')")
    assert (a.polled(), b.polled()) == ([("s", "e", None)], [])


@pytest.mark.parametrize("options, error", [
    ('segment = ""', "name"), ('segment = "a/b"', "name"), ('segment = ("x"):rep(300)', "name"),
    ("segment = 1", "segment"), ("capacity = 3", "power of two"), ("capacity = '8'", "capacity"),
    ("capacity = -1", "capacity"), ("capacity = 0.5", "capacity"), ("capacity = 0/0", "capacity"),
    ("block_size = 1", "block_size"), ("claims = 2^40", "claims"), ("seats = 100000", "seats"), ("mode = 0", ""),
    ("mode = 7", "mode"), ("owner = 1", "owner"), ("owner = { uid = 1 }", "owner"), ("unlink = 1", "unlink"),
])
def test_bad_options_of_the_segment(nginx, options, error):
    ng = nginx(init_worker="")
    worker, = ng.workers()
    result = worker.run(f"return ev.configure {{ shm = next(ngx.shared), {options} }}")
    if options == "mode = 0":
        assert result is True
        return
    assert result[0] is None and error in result[1]
    assert worker.run("return ev.configured(), ev.configure { shm = next(ngx.shared), interval = 0 }") == (False, True)
    assert len(ng.segments()) == 1


def test_sizes(nginx):
    ng = nginx(options="{ interval = 0, capacity = 64, block_size = 96, claims = 16, seats = 8 }", allowed=["missed"])
    worker, = ng.workers()
    stats = worker.run("""
        local seqcast = require "resty.seqcast"
        for _, name in ipairs(seqcast.names()) do
            if name:find(next(ngx.shared), 1, true) then return seqcast.inspect(name):stats() end
        end""")
    assert (stats["capacity"], stats["seats"]) == (64, 8)
    assert [it["label"] for it in stats["workers"]] == ["nginx worker 0"]
    worker.run("for i = 1, 1000 do ev.post('s', 'e', i) end")
    events = worker.polled()
    assert 0 < len(events) < 64 and events[-1][2] == 1000


def test_seats_run_out(nginx):
    ng = nginx(workers=2, init_worker="", allowed=[])
    a, b = ng.workers()
    code = "return ev.configure { shm = next(ngx.shared), seats = 1, interval = 0 }"
    assert a.run(code) is True
    none, error = b.run(code)
    assert none is None and "seat" in error
    assert b.run("return ev.configured()") is False


@pytest.mark.parametrize("before, after", [("1m", "4m"), ("4m", "1m")])
def test_a_zone_of_another_size_after_a_reload(nginx, before, after):
    """The segment stays while one worker has it open."""
    ng = nginx(zone_size=before)
    old, = ng.workers()
    go = ng.folder / "go"
    old.start("while not io.open(args[1]) do ngx.sleep(0.01) end return ev.poll()", str(go))
    ng._found.remove(old)
    ng.write_config(zone_size=after)
    ng.reload()
    new, = ng.workers()
    new.run("ev.post('s', 'e')")
    assert new.polled() == [("s", "e", None)]
    assert ng.log_lines("[notice]", "exists already", "capacity is")
    go.touch()
    assert old.finish() in ("done", "recursive")
    old.close()


def test_the_name_is_taken_away(nginx):
    """As by `rm`, or by a session manager. Workers that have it open and later ones meet again."""
    ng = nginx(workers=2, options="{ interval = 0.01 }", allowed=["was removed", "exited on signal 9"])
    a, b = ng.workers()
    os.unlink("/dev/shm/" + ng.segments()[0])
    os.kill(a.pid, signal.SIGKILL)
    wait_for(lambda: not alive(a.pid) and len(ng.children()) == 2, "the respawn", ng.log)
    wait_for(lambda: ng.log_lines("was removed", f"{b.pid}#"), "the old one to notice", ng.log)
    ng.forget_workers()
    new, old = sorted(ng.workers(), key=lambda worker: worker.pid == b.pid)
    assert old.pid == b.pid
    new.run("ev.post('s', 'e', 1)")
    old.run("ev.post('s', 'e', 2)")
    seen = {new: [], old: []}
    for worker in (new, old):
        wait_for(lambda: seen[worker].extend(worker.seen()) or ("s", "e", 2) in seen[worker], "both events", ng.log)
        assert ("s", "e", 1) in seen[worker]


@needs_root
def test_workers_of_two_users(name, nginx):
    """A root process gives the segment to the workers' user, and also uses it."""
    entry = pwd.getpwnam("www-data")
    owner = f"{{ uid = {entry.pw_uid}, gid = {entry.pw_gid} }}"
    root = nginx(master=False, daemon=False, options=shared(name, owner=owner))
    others = nginx(user="www-data", options=shared(name))
    both_ways(*root.workers(), *others.workers())
    root.stop()
    assert exists(name)


@needs_root
def test_another_users_segment_is_refused(name, nginx):
    root = nginx(master=False, daemon=False, options=shared(name))
    root.workers()
    others = nginx(user="www-data", init_worker="")
    worker, = others.workers()
    none, error = worker.run(f"return ev.configure {{ segment = '{name}' }}")
    assert none is None and name in error
    assert worker.run("return ev.configured()") is False


def can_mount():
    """Not every container allows this."""
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", "/dev/shm"]
    return subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="this user may not mount")
def test_little_shared_memory(nginx, tmp_path):
    """As in Docker: a smaller segment is created instead of none."""
    wrapper = tmp_path / "nginx-with-little-shm"
    wrapper.write_text(f"""#!/bin/sh
mount -t tmpfs -o size=8m tmpfs /dev/shm || exit 1
exec "${{NGINX_BINARY:-/usr/sbin/nginx}}" "$@"
""")
    wrapper.chmod(0o755)
    again = tmp_path / "in-a-namespace"
    again.write_text(f'#!/bin/sh\nexec unshare --mount {wrapper} "$@"\n')
    again.chmod(0o755)
    ng = nginx(workers=2, binary=str(again), zone_size="8m", allowed=["trying with half the capacity"])
    both_ways(*ng.workers())
    assert ng.log_lines("[warn]", "trying with half the capacity")


def test_the_c_declarations_are_those_of_the_library():
    header = HERE.parents[2] / "crates" / "seqcast-capi" / "include" / "seqcast_cdef.h"
    module = HERE.parent / "lib" / "resty" / "seqcast" / "cdef.lua"
    assert header.read_text() in module.read_text(), "make cdef"
