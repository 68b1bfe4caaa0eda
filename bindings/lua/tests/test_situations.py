"""The situations that Kong's suite creates by writing into the shared dictionary, created by another process: it posts,
reserves and is stopped, or holds the key. Also everything else that other programs do on the bus."""

import mmap
import pathlib
import signal

import pytest

from nginx import wait_for
from other import Other

pytestmark = pytest.mark.differs

SHORT_WAIT = "{ interval = 0, wait_max = 0.05, wait_interval = 0.005 }"


@pytest.fixture
def other():
    """Starts other processes on the bus of an nginx."""
    started = []

    def start(ng):
        name, = ng.segments()
        process = Other(name)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()


def test_events_of_another_process(nginx, other):
    ng = nginx(log="debug")
    worker, = ng.workers()
    them = other(ng)
    worker.poll()
    worker.seen()
    for number in (1, 2, 3):
        them("post", "hello", str(number), f'"there-{number}"')
    worker.run("ev.post('content_by_lua', 'request1', '01234567890') ev.post_local('content_by_lua', 'request2', '0')")
    them("post", "hello", "4", '"there-4"')
    worker.run("ev.post('content_by_lua', 'request3', '01234567890')")
    assert worker.poll() == "done"
    events = worker.seen_all()
    assert [event[1] for event in events] == ["request2", "1", "2", "3", "request1", "4", "request3"]
    assert [event[2] for event in events if event[0] == "hello"] == ["there-1", "there-2", "there-3", "there-4"]
    assert {event[3] for event in events if event[0] == "hello"} == {them.pid}
    assert ng.log_lines("[debug]", f"handling event; source=hello, event=4, pid={them.pid}")


def test_another_process_reads_the_json_of_data(nginx, other):
    ng = nginx()
    worker, = ng.workers()
    them = other(ng)
    worker.run("""
        ev.post('s', 'nil') ev.post('s', 'null', cjson.null) ev.post('s', 'text', 'a "b"') ev.post('s', 'number', 2^53)
        ev.post('s', 'table', { a = { 1, 2 } }) ev.post('s', 'true', true)""")
    got = {event: payload for source, event, payload, pid in them("take") if source == "s" and pid == worker.pid}
    assert got == {"nil": "", "null": "null", "text": '"a \\"b\\""', "number": "9007199254740992",
                   "table": '{"a":[1,2]}', "true": "true"}


def test_one_process_reserves_and_commits(nginx, other):
    """Events after the reserved id wait for it."""
    ng = nginx(options="{ interval = 0, wait_max = 3600, wait_interval = 0.005 }")
    worker, = ng.workers()
    them = other(ng)
    worker.polled()
    number = them("reserve")
    worker.run("ev.post('s', 'after')")
    worker.start("return ev.poll()")
    second = ng.connect()
    wait_for(lambda: second.run("return ev.poll()") == "recursive", "the poll to wait", ng.log)
    assert second.seen() == []
    them("commit", number, "s", "reserved", "[1]")
    assert worker.finish() == "done"
    assert worker.seen() == [("s", "reserved", [1]), ("s", "after", None)]
    assert ng.log_lines("dropping event") == []


def test_wait_interval_is_the_time_between_two_looks(nginx, other):
    """This holds also after a change at run time."""
    ng = nginx(init_worker="""
        require("tap").count_sleeps()
        assert(require("resty.worker.events").configure {
            shm = next(ngx.shared), interval = 0, wait_max = 3600, wait_interval = 0.002 })""")
    worker, second = ng.connect(), ng.connect()
    them = other(ng)
    for interval in (0.002, 0.003):
        assert worker.run("tap.slept = {} return ev.configure { wait_interval = args[1] }", interval) is True
        number = them("reserve")
        worker.start("return ev.poll()")
        wait_for(lambda: second.run("return next(tap.slept) ~= nil"), "the poll to wait", ng.log)
        them("commit", number, "s", "reserved")
        assert worker.finish() == "done"
        assert worker.run("return tap.slept") == {str(interval): True}


def test_one_process_reserves_and_is_stopped(nginx, other):
    """After wait_max the id is given up for all workers, and later events arrive."""
    ng = nginx(workers=2, options=SHORT_WAIT, allowed=["dropping event"])
    a, b = ng.workers()
    them = other(ng)
    for worker in (a, b):
        worker.polled()
    a.run("ev.post('s', 'request1') ev.post('s', 'request2', nil, true)")
    number = them("reserve")
    them.send(signal.SIGSTOP)
    a.run("ev.post('s', 'request3')")
    assert [event[1] for event in a.polled()] == ["request1", "request2", "request3"]
    line, = ng.log_lines("[error]", "dropping event; waiting for event data timed out")
    assert line.split("id: ")[1].split(",")[0] == str(number)
    assert [event[1] for event in b.polled()] == ["request1", "request3"]
    assert len(ng.log_lines("dropping event")) == 1, "it was given up for all"
    them.send(signal.SIGCONT)
    with pytest.raises(OSError, match="given up"):
        them("commit", number, "s", "late")
    assert a.polled() == b.polled() == []


def test_one_process_reserves_and_is_killed(nginx, other):
    """No worker waits for a dead process."""
    ng = nginx(options="{ interval = 0, wait_max = 3600 }", allowed=["dropping event"])
    worker, = ng.workers()
    them = other(ng)
    worker.polled()
    them("reserve")
    worker.run("ev.post('s', 'after')")
    them.kill()
    assert worker.polled() == [("s", "after", None)]


def test_wait_max_is_changed_at_run_time(nginx, other):
    ng = nginx(options="{ interval = 0, wait_max = 3600 }", allowed=["dropping event"])
    worker, = ng.workers()
    them = other(ng)
    assert worker.run("return ev.configure { wait_max = 0.01 }") is True
    them("reserve")
    worker.run("tap.take() ev.post('s', 'after')")
    assert worker.polled() == [("s", "after", None)]


def test_a_poll_that_may_not_yield_waits_too(nginx, other):
    """`ngx.sleep` is not allowed in body_filter_by_lua and similar phases."""
    ng = nginx(options=SHORT_WAIT, allowed=["dropping event"], server="""
        location = /filter {
            content_by_lua_block { ngx.say("ok") }
            header_filter_by_lua_block { require("tap").answer = require("resty.worker.events").poll() }
        }""")
    worker, = ng.workers()
    them = other(ng)
    worker.polled()
    them("reserve")
    worker.run("ev.post('s', 'after')")
    worker._connection.request("GET", "/filter")
    assert worker._connection.getresponse().read() == b"ok\n"
    assert worker.run("return tap.answer") == "done"
    assert worker.seen() == [("s", "after", None)]


def test_one_process_holds_the_key(nginx, other):
    ng = nginx(workers=2)
    a, b = ng.workers()
    them = other(ng)
    them("post", "s", "theirs", "", "unique_value", 3600)
    assert [event[1] for event in them("take") if event[0] == "s"] == ["theirs"]
    a.run("ev.post('s', 'request1') ev.post('s', 'request2', nil, 'unique_value') ev.post('s', 'request3')")
    for worker in (a, b):
        assert [event[1] for event in worker.polled()] == ["request1", "request3"]
    assert [event[1] for event in them("take") if event[0] == "s"] == ["request1", "request3"]


@pytest.mark.parametrize("payload, reason", [
    ("not json", "invalid token"), ("{", "Expected"), ('"open', "Expected"), ('"', "Expected"), ("[1,]", "Expected"),
    ('"a" "b"', "Expected"), ("s3cret", "invalid token"),
])
def test_payloads_that_are_no_json(nginx, other, payload, reason):
    ng = nginx(allowed=["failed decoding json event data"])
    worker, = ng.workers()
    them = other(ng)
    worker.polled()
    them("post", "s", "bad", payload)
    them("post", "s", "good", "1")
    assert worker.polled() == [("s", "good", 1)]
    line, = ng.log_lines("[error]", "failed decoding json event data", "source=s, event=bad", f"pid={them.pid}")
    assert reason in line and "s3cret" not in line


def test_what_no_program_of_the_library_has_written(nginx):
    """The test overwrites the head of an event, which is before its names, in the segment."""
    ng = nginx(allowed=["dropping event"])
    worker, = ng.workers()
    worker.polled()
    worker.run("ev.post('overwritten', 'e') ev.post('s', 'after')")
    path = pathlib.Path("/dev/shm", ng.segments()[0])
    with open(path, "r+b") as segment, mmap.mmap(segment.fileno(), 0) as memory:
        at = memory.find(b"overwritten")
        memory[at - 16:at] = b"\xff" * 16
    assert worker.polled() == [("s", "after", None)]
    line, = ng.log_lines("[error]", "dropping event")
    assert "which no program of this library has written" in line


def test_a_worker_whose_place_was_taken_takes_another(nginx):
    """The test fakes the library's error: a seat is lost only if its lock is lost and a process of another pid
    namespace takes the seat."""
    ng = nginx(allowed=["failed to read events"])
    worker, = ng.workers()
    worker.polled()
    none, error = worker.run("""
        local C = require("resty.seqcast").C
        local index, name = 0, nil
        repeat
            index = index + 1
            name = debug.getupvalue(ev.poll, index)
        until name == "C"
        local displaced = { seqcast_seat_next = function() return tonumber(C.SEQCAST_E_DISPLACED) end }
        debug.setupvalue(ev.poll, index, setmetatable(displaced, { __index = C }))
        local answer, err = ev.poll()
        debug.setupvalue(ev.poll, index, C)
        return answer, err""")
    assert none is None and error.startswith("failed to read events: ")
    worker.run("ev.post('s', 'e')")
    assert worker.polled() == [("s", "e", None)]
    stats = worker.run("""
        local seqcast = require "resty.seqcast"
        return assert(seqcast.inspect(args[1])):stats()""", ng.segments()[0])
    assert [it["pid"] for it in stats["workers"]] == [worker.pid], "it has one place"


def test_payloads_that_nobody_wants_are_not_looked_at(nginx, other):
    ng = nginx(init_worker="""
        local ev = require "resty.worker.events"
        ev.register(require("tap").record, "s")
        assert(ev.configure { shm = next(ngx.shared), interval = 0 })""")
    worker, = ng.workers()
    them = other(ng)
    them("post", "other", "e", "no json")
    them("post", "s", "e", "1")
    assert worker.polled() == [("s", "e", 1)]
    assert ng.log_lines("failed decoding") == []


def test_the_librarys_own_events_are_text(nginx, other):
    """Rust's workers post `seqcast/started` with their label."""
    ng = nginx()
    worker, = ng.workers()
    other(ng).end()
    worker.poll()
    assert ("seqcast", "started", None) in worker.seen()


def test_the_librarys_source_is_not_for_others(nginx):
    worker, = nginx(allowed=["failed posting event"]).workers()
    none, error = worker.run("return ev.post('seqcast', 'started')")
    assert none is None and "seqcast" in error
    assert worker.run("return ev.post_local('seqcast', 'started')") is True


@pytest.mark.parametrize("source, event", [("s" * 256, "e"), ("s", "e" * 256), ("\udcff", "e"), ("s", "\udcff")])
def test_names_that_the_bus_does_not_take(nginx, source, event):
    worker, = nginx(allowed=["failed posting event"]).workers()
    lua = [ascii(text.encode("utf-8", "surrogateescape"))[1:].replace("\\xff", "\\255") for text in (source, event)]
    none, error = worker.run(f"return ev.post({lua[0]}, {lua[1]})")
    assert none is None and ("255" in error or "UTF-8" in error) and len(error) < 500
    assert worker.run(f"return ev.post_local({lua[0]}, {lua[1]})") is True
    assert worker.run("return ev.poll()") == "done"

