"""Every way in which nginx starts, reloads, loses workers, is upgraded and ends."""

import os
import pathlib
import pwd
import signal
import time

import pytest

from nginx import LuaError, alive, start_time, wait_for

IS_ROOT = os.getuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can start workers of another user")


def both_ways(a, b):
    a.run("tap.take() ev.post('s', 'from a')")
    b.run("ev.post('s', 'from b')")
    for worker in (a, b):
        assert worker.polled() == [("s", "from a", None), ("s", "from b", None)]


@pytest.mark.parametrize("daemon", [True, False])
@pytest.mark.parametrize("end", [signal.SIGQUIT, signal.SIGTERM, signal.SIGINT])
def test_start_and_end(nginx, daemon, end):
    ng = nginx(workers=2, daemon=daemon)
    both_ways(*ng.workers())
    ng.stop(end)
    assert ng.segments() == []


def test_one_process_without_a_master(nginx):
    ng = nginx(master=False, daemon=False)
    worker, = ng.workers()
    assert worker.pid == ng.pid
    worker.run("ev.post('s', 'e')")
    assert worker.polled() == [("s", "e", None)]
    ng.stop()
    assert ng.segments() == []


def test_one_daemon_without_a_master(nginx):
    ng = nginx(master=False, daemon=True)
    worker, = ng.workers()
    assert worker.pid == ng.pid
    worker.run("ev.post('s', 'e')")
    assert worker.polled() == [("s", "e", None)]


@needs_root
def test_unprivileged_workers(nginx):
    ng = nginx(workers=2, user="www-data")
    a, b = ng.workers()
    uid = pwd.getpwnam("www-data").pw_uid
    for worker in (a, b):
        assert os.stat(f"/proc/{worker.pid}").st_uid == uid
    both_ways(a, b)
    ng.reload()
    both_ways(*ng.workers())
    ng.stop()
    assert ng.segments() == []


def test_stopping_is_posted_at_the_end(nginx):
    ng = nginx(workers=2, options="{ interval = 0.01 }", init_worker="""
        local ev = require "resty.worker.events"
        ev.register(function(_, event, source, pid)
            ngx.log(ngx.NOTICE, "own event ", event, " of ", pid, " in ", ngx.worker.pid())
        end, ev.events._source)
        assert(ev.configure { shm = next(ngx.shared), interval = 0.01 })
    """)
    pids = sorted(worker.pid for worker in ng.workers())
    ng.stop()
    for pid in pids:
        assert f"own event started of {pid} in {pid}" in ng.log()
        assert f"own event stopping of {pid} in {pid}" in ng.log()


def test_reload(nginx):
    """Old workers end and new ones start. No event is replayed, and new events arrive."""
    ng = nginx(workers=2, options="{ interval = 0.01 }")
    worker = ng.workers()[0]
    worker.run("for i = 1, 10 do ev.post('s', 'old', i) end")
    for _ in range(3):
        old = ng.reload()
        wait_for(lambda: not old & set(ng.children()), "the old workers to go", ng.log)
        a, b = ng.workers()
        a.run("ev.post('s', 'new')")
        for worker in (a, b):
            wait_for(lambda: ("s", "new", None) in worker.seen(), "the new event", ng.log)
    assert "exited on signal" not in ng.log()


def test_old_and_new_workers_of_a_reload_have_one_order(nginx):
    """An old worker with a long request posts, polls and receives events after its own `stopping`."""
    ng = nginx(workers=1, options="{ interval = 0.01 }")
    old = ng.connect()
    old.start("""
        local saw_stopping
        ev.register(function() saw_stopping = true end, ev.events._source, "stopping")
        while not (ngx.worker.exiting() and saw_stopping) do ngx.sleep(0.01) end
        ev.post("s", "from old")
        local seen = {}
        ev.register(function(_, event) seen[event] = true end, "s")
        for i = 1, 30000 do
            ev.poll()
            if seen["from new"] then return true end
            ngx.sleep(0.01)
        end
        return false""")
    keep = ng._found.pop()
    ng.reload()
    new = ng.connect()
    assert new.run("return ngx.worker.exiting()") is False
    wait_for(lambda: ("s", "from old", None) in new.seen(), "the old worker's event", ng.log)
    new.run("ev.post('s', 'from new')")
    assert keep.finish() is True
    assert keep.pid != new.pid
    keep.close()


def test_many_reloads_with_workers_that_stay(nginx):
    """Old workers keep their seats until their requests end."""
    ng = nginx(workers=2, options="{ interval = 0.05 }")
    held = []
    for _ in range(12):
        for worker in ng.workers():
            worker.start("""
                local deadline, dict = ngx.now() + 300, ngx.shared[next(ngx.shared)]
                while ngx.now() < deadline and not dict:get("go") do ngx.sleep(0.05) end
                return ev.poll()""")
            held.append(worker)
        ng._found = []
        ng.reload()
    a, b = ng.workers()
    a.run("ev.post('s', 'e')")
    for worker in (a, b):
        wait_for(lambda: ("s", "e", None) in worker.seen(), "the event", ng.log)
    a.run("ngx.shared[next(ngx.shared)]:set('go', 1)")
    for worker in held:
        assert worker.finish() in ("done", "recursive")
        worker.close()


def test_respawn_after_sigkill(nginx):
    ng = nginx(workers=2, allowed=["exited on signal 9"])
    for _ in range(5):
        a, b = ng.workers()
        victim, survivor = a, b
        survivor.run("tap.take() ev.post('s', 'before')")
        ng.send(signal.SIGKILL, victim.pid)
        wait_for(lambda: not alive(victim.pid) and len(ng.children()) == 2, "the respawn", ng.log)
        assert survivor.polled() == [("s", "before", None)]
        ng.forget_workers()
        both_ways(*ng.workers())


def test_killed_in_a_handler(nginx):
    """The other workers continue, and the event that killed one is not replayed."""
    ng = nginx(workers=2, allowed=["exited on signal 9"])
    a, b = ng.workers()
    a.run("ev.register(function() os.execute('kill -9 ' .. ngx.worker.pid()) end, 'poison')")
    b.run("ev.post('poison', 'e')")
    with pytest.raises(Exception):
        a.poll()
    wait_for(lambda: not alive(a.pid) and len(ng.children()) == 2, "the respawn", ng.log)
    assert b.polled() == [("poison", "e", None)]
    ng.forget_workers()
    both_ways(*ng.workers())


def test_stopped_worker_harms_nobody(nginx):
    ng = nginx(workers=2)
    a, b = ng.workers()
    b.run("ev.poll()")
    ng.send(signal.SIGSTOP, a.pid)
    try:
        b.run("tap.take() for i = 1, 2000 do assert(ev.post('s', 'e', i)) if i % 100 == 0 then ev.poll() end end")
        assert [event[2] for event in b.seen()] == list(range(1, 2001))
    finally:
        ng.send(signal.SIGCONT, a.pid)
    assert [event[2] for event in a.polled()] == list(range(1, 2001))


def test_binary_upgrade(nginx):
    """USR2: the new master's workers have their own bus, as they have their own shared dictionary. The old workers
    continue until they are told to quit."""
    ng = nginx(workers=1, options="{ interval = 0.01 }")
    old_master = ng.pid
    old, = ng.workers()
    ng.send(signal.SIGUSR2)
    wait_for(lambda: ng._pid_in_file("nginx.pid.oldbin") == old_master and ng.pid and ng.pid != old_master
             and ng.children(), "the new master", ng.log)
    ng.note_processes()
    old.run("tap.take() ev.post('s', 'old')")
    wait_for(lambda: ("s", "old", None) in old.seen(), "the old one's event", ng.log)
    ng.forget_workers()
    ng.send(signal.SIGWINCH, old_master)
    wait_for(lambda: not alive(old.pid), "the old worker to go", ng.log)
    new, = ng.workers()
    assert new.pid in ng.children()
    new.run("ev.post('s', 'new')")
    wait_for(lambda: ("s", "new", None) in new.seen(), "the new one's event", ng.log)
    ng.send(signal.SIGQUIT, old_master)
    wait_for(lambda: not alive(old_master), "the old master to go", ng.log)
    new.run("ev.post('s', 'after')")
    wait_for(lambda: ("s", "after", None) in new.seen(), "the new one's event", ng.log)


def test_binary_upgrade_and_back(nginx):
    ng = nginx(workers=1)
    old_master = ng.pid
    ng.send(signal.SIGUSR2)
    wait_for(lambda: ng._pid_in_file("nginx.pid.oldbin") and ng.pid and ng.pid != old_master and ng.children(),
             "the new master", ng.log)
    new_master = ng.pid
    ng.note_processes()
    ng.send(signal.SIGQUIT, new_master)
    wait_for(lambda: not alive(new_master) and ng.pid == old_master, "the new master to go", ng.log)
    worker, = ng.workers()
    worker.run("ev.post('s', 'e')")
    assert worker.polled() == [("s", "e", None)]


@pytest.mark.fault
@pytest.mark.parametrize("daemon", [True, False])
@pytest.mark.parametrize("user", [None, pytest.param("www-data", marks=needs_root)])
def test_configure_in_init_by_lua(nginx, daemon, user):
    """Each worker joins when it first uses the module."""
    ng = nginx(workers=2, daemon=daemon, user=user, init_worker=None, init="""
        local ev = require "resty.worker.events"
        ev.register(require("tap").record)
        assert(ev.configure { shm = next(ngx.shared), interval = 0.01 })
        assert(ev.configured())
    """)
    a, b = ng.workers()
    assert (a.run("return ev.configured()"), b.run("return ev.configured(), ev.poll()")) == (True, (True, "done"))
    a.run("ev.post('s', 'e', 1)")
    for worker in (a, b):
        wait_for(lambda: ("s", "e", 1) in worker.seen(), "the background poll", ng.log)
    ng.reload()
    a, b = ng.workers()
    b.poll()
    a.run("ev.post('s', 'e', 2)")
    for worker in (a, b):
        wait_for(lambda: ("s", "e", 2) in worker.seen(), "the background poll", ng.log)


@pytest.mark.fault
def test_configure_in_init_by_lua_and_in_init_worker(nginx):
    ng = nginx(workers=2, init="""
        local ev = require "resty.worker.events"
        assert(ev.configure { shm = next(ngx.shared), interval = 0 })
    """)
    both_ways(*ng.workers())


@pytest.mark.fault
def test_required_in_init_by_lua(nginx):
    """The usual setup: `require` in the master, handlers and configure in each worker. The original forgets the
    handlers."""
    ng = nginx(workers=2, init='require "resty.worker.events"')
    both_ways(*ng.workers())
    ng.reload()
    both_ways(*ng.workers())


@pytest.mark.fault
def test_handlers_registered_in_init_by_lua_stay(nginx):
    ng = nginx(workers=2, init="""
        local ev = require "resty.worker.events"
        ev.register(require("tap").recorder("of init"), "s")
    """)
    a, b = ng.workers()
    a.run("ev.post('s', 'e')")
    for worker in (a, b):
        worker.poll()
        labels = [event[5] for event in worker.seen_all() if len(event) > 5]
        assert labels == ["of init"]


def test_code_cache_off(nginx):
    """Each request has its own Lua VM."""
    ng = nginx(http="lua_code_cache off;", init_worker="", allowed=["lua_code_cache is off"])
    for _ in range(20):
        worker = ng.connect()
        assert worker.run("""
            ev.register(tap.record)
            assert(ev.configure { shm = next(ngx.shared), interval = 0 })
            ev.post('s', 'e')
            ev.poll()
            return ev.configured(), tap.take()[2][2]""") == (True, "e")


@pytest.mark.differs
def test_segments_of_killed_masters_are_swept(nginx):
    """If all processes are killed at once, none is left to remove the name. The next start removes it."""
    first = nginx(workers=2, zone="sweep_%d" % os.getpid())
    first.workers()
    left = first.segments()
    assert len(left) == 1
    first.kill()
    assert first.segments() == left
    second = nginx(workers=2, zone=first.zone)
    second.workers()
    assert len(second.segments()) == 1 and second.segments() != left


@pytest.mark.differs
def test_orphaned_workers_are_not_swept(nginx):
    """Workers keep their bus after their master is killed."""
    first = nginx(workers=2, zone="orphans_%d" % os.getpid())
    a, b = first.workers()
    first.note_processes()
    os.kill(first.pid, signal.SIGKILL)
    second = nginx(workers=1, zone=first.zone)
    second.workers()
    assert len(second.segments()) == 2
    both_ways(a, b)
    first.forget_workers()
    for pid in (a.pid, b.pid):
        os.kill(pid, signal.SIGTERM)
    wait_for(lambda: len(second.segments()) == 1, "the orphans' segment to go")
