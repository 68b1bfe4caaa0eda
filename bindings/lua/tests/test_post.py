"""post, post_local, poll: what reaches whom, when, in which order."""

import json
from http.client import HTTPException

import pytest

from nginx import LuaError, wait_for

SECRET = "s3cret-payload"


def test_post_reaches_all_workers_and_the_sender(nginx):
    a, b, c = nginx(workers=3).workers()
    assert a.run("return ev.post('s', 'e', 'data')") is True
    for worker in (a, b, c):
        assert worker.poll() == "done"
        event, = [event for event in worker.seen_all() if event[0] == "s"]
        assert event == ["s", "e", "data", a.pid, 4]


def test_post_runs_no_handler(nginx):
    worker, = nginx().workers()
    assert worker.run("tap.take() ev.post('s', 'e') ev.post_local('s', 'e') return #tap.take()") == 0


@pytest.mark.parametrize("data", [
    None, True, False, 0, -1, 1.5, 1e15, "", "text", "\u00e4\u20ac\U0001f600", "nul \0 and \x7f", [1, 2, 3],
    {"a": {"b": [None, 1]}}, {}, "x" * 100_000, {"ip": "10.0.0.1", "port": 80, "hostname": "a.example"},
], ids=lambda data: json.dumps(data)[:20])
def test_data_arrives_as_it_was(nginx, data):
    worker, = nginx().workers()
    worker.run("local data = args[1] if data == cjson.null then data = nil end return ev.post('s', 'e', data)", data)
    assert worker.polled() == [("s", "e", data)]


def test_nil_and_null_are_two_things(nginx):
    worker, = nginx().workers()
    assert worker.run("""
        local seen = {}
        ev.register(function(data) seen[#seen + 1] = data == nil and 'nil' or data == cjson.null and 'null' end, 's')
        ev.post('s', 'e') ev.post('s', 'e', cjson.null)
        ev.poll()
        return seen""") == ["nil", "null"]


def test_bytes_that_are_not_text_arrive_as_they_were(nginx):
    worker, = nginx().workers()
    assert worker.run("""
        local all = {}
        for i = 0, 255 do all[#all + 1] = string.char(i) end
        local sent, got = table.concat(all)
        ev.register(function(data) got = data end, 'bytes')
        ev.post('bytes', 'e', sent)
        ev.poll() tap.take()
        return got == sent""") is True


def test_handlers_get_one_and_the_same_table(nginx):
    worker, = nginx().workers()
    assert worker.run("""
        local first, second
        ev.register(function(data) first = data end, 's')
        ev.register(function(data) second = data end, 's', 'e')
        ev.post('s', 'e', {})
        ev.poll()
        return type(first), rawequal(first, second)""") == ("table", True)


@pytest.mark.parametrize("call", ["post", "post_local"])
@pytest.mark.parametrize("arguments, error", [
    ("", "source is required"),
    ("nil, 'e'", "source is required"),
    ("'', 'e'", "source is required"),
    ("12, 'e'", "source is required"),
    ("{}, 'e'", "source is required"),
    ("'s'", "event is required"),
    ("'s', nil", "event is required"),
    ("'s', ''", "event is required"),
    ("'s', 12", "event is required"),
    ("'s', false", "event is required"),
])
def test_source_and_event_are_required(nginx, call, arguments, error):
    worker, = nginx().workers()
    assert worker.run(f"return ev.{call}({arguments})") == (None, error)
    assert worker.polled() == []


@pytest.mark.parametrize("data, reason", [
    ("function() end", "type not supported"),
    ("{ { f = print } }", "type not supported"),
    ("coroutine.create(function() end)", "type not supported"),
    ("0/0", "must not be NaN or Inf"),
    ("1/0", "must not be NaN or Inf"),
    ("{ [1] = 1, [1000000] = 2 }", "excessively sparse array"),
    ("(function() local t = {} for i = 1, 1001 do t = { t } end return t end)()", "excessive"),
    ("(function() local t = {} t.t = t return t end)()", "excessive"),
])
def test_data_that_json_cannot_hold_is_refused(nginx, data, reason):
    ng = nginx(allowed=["failed posting event"])
    worker, = ng.workers()
    none, error = worker.run(f"return ev.post('s', 'e', {data})")
    assert none is None
    assert error.startswith('failed posting event "e" by "s"; Cannot serialise') and reason in error
    assert worker.polled() == []
    line, = ng.log_lines("[error]", "failed posting event")
    assert reason in line


def test_a_failed_post_leaves_nothing_behind(nginx):
    a, b = nginx(workers=2, allowed=["failed posting event"]).workers()
    a.run("ev.post('s', 'before') ev.post('s', 'bad', print) ev.post('s', 'after')")
    for worker in (a, b):
        assert worker.polled() == [("s", "before", None), ("s", "after", None)]


def test_local_events_stay_in_the_worker(nginx):
    a, b = nginx(workers=2).workers()
    assert a.run("return ev.post_local('s', 'e', 'data')") is True
    assert b.polled() == []
    assert a.poll() == "done"
    event, = [event for event in a.seen_all() if event[0] == "s"]
    assert event == ["s", "e", "data", None, 4]


def test_local_data_is_passed_as_it_is(nginx):
    worker, = nginx(init_worker="").workers()
    assert worker.run("""
        assert(ev.configure { shm = next(ngx.shared), interval = 0 })
        local sent, got = { f = print, [{}] = 1 }
        sent.sent = sent
        ev.register(function(data) got = data end, 's')
        ev.post_local('s', 'e', sent)
        ev.poll()
        return rawequal(got, sent)""") is True


def test_a_local_event_without_data(nginx):
    worker, = nginx().workers()
    worker.run("ev.post_local('s', 'e')")
    assert worker.polled() == [("s", "e", None)]


def test_local_events_come_first(nginx):
    worker, = nginx().workers()
    worker.run("ev.post('s', '2') ev.post_local('s', '1') ev.post('s', '3')")
    assert worker.polled() == [("s", "1", None), ("s", "2", None), ("s", "3", None)]


def test_what_a_handler_posts_comes_in_the_same_poll_after_what_is_there_local_first(nginx):
    worker, = nginx().workers()
    worker.run("""
        ev.register(function()
            ev.post('s', 'posted')
            ev.post_local('s', 'local')
        end, 's', 'first')
        ev.post('s', 'first') ev.post('s', 'second') ev.post('s', 'third')""")
    assert [event[1] for event in worker.polled()] == ["first", "second", "third", "local", "posted"]


def test_what_handlers_of_local_events_post(nginx):
    worker, = nginx().workers()
    worker.run("""
        ev.register(function() ev.post('s', 'posted') ev.post_local('s', 'local') end, 's', 'first')
        ev.post_local('s', 'first') ev.post_local('s', 'second') ev.post('s', 'there')""")
    assert [event[1] for event in worker.polled()] == ["first", "second", "local", "there", "posted"]


def test_chains_of_posts_end_in_one_poll(nginx):
    worker, = nginx().workers()
    worker.run("""
        ev.register(function(n)
            if n < 100 then (n % 2 == 0 and ev.post or ev.post_local)('s', 'e', n + 1) end
        end, 's', 'e')
        ev.post('s', 'e', 1)""")
    assert [event[2] for event in worker.polled()] == list(range(1, 101))


def test_all_workers_see_one_order(nginx):
    workers = nginx(workers=3).workers()
    for worker in workers:
        worker.start("""
            for i = 1, 200 do
                ev.post("s", "e" .. i, ngx.worker.pid())
                ev.poll()
                if i % 20 == 0 then ngx.sleep(0.001) end
            end""")
    for worker in workers:
        worker.finish()
    orders = [worker.polled() for worker in workers]
    assert len(orders[0]) == 600
    assert orders[0] == orders[1] == orders[2]
    for worker in workers:
        own = [name for _, name, pid in orders[0] if pid == worker.pid]
        assert own == [f"e{i}" for i in range(1, 201)]


def test_poll_with_nothing_new(nginx):
    worker, = nginx().workers()
    assert worker.run("return ev.poll(), ev.poll()") == ("done", "done")


def test_poll_in_a_handler_is_recursive(nginx):
    worker, = nginx().workers()
    assert worker.run("""
        local answers = {}
        local function handler() answers[#answers + 1] = ev.poll() end
        ev.register(handler, 's')
        ev.post_local('s', 'local') ev.post('s', 'e')
        local answer = ev.poll()
        return answer, answers[1], answers[2], #answers""") == ("done", "recursive", "recursive", 2)


def test_a_second_poller_while_a_handler_yields_is_recursive(nginx):
    ng = nginx()
    worker = ng.connect()
    other = ng.connect()
    worker.run("""
        ev.register(function()
            tap.entered = true
            while not tap.go do ngx.sleep(0.005) end
            tap.left = true
        end, 's', 'slow')""")
    worker.start("ev.post('s', 'slow') return ev.poll()")
    wait_for(lambda: other.run("return tap.entered or false"), "the handler")
    assert other.run("ev.post('s', 'behind') return ev.poll(), tap.left or false") == ("recursive", False)
    other.run("tap.go = true")
    assert worker.finish() == "done"
    assert [name for source, name, _ in worker.seen() if source == "s"] == ["slow", "behind"]


def test_a_failing_handler_harms_no_other_and_is_logged(nginx):
    ng = nginx(allowed=["event callback failed"])
    worker, = ng.workers()
    assert worker.run("""
        local ran = 0
        local function fails() error("it went wrong") end
        ev.register(function() fails() end, 's')
        ev.register(function() ran = ran + 1 end, 's')
        ev.post('s', 'e', 1) ev.post('s', 'e', 2)
        local answer = ev.poll()
        return answer, ran""") == ("done", 2)
    lines = ng.log_lines("[error]", "event callback failed")
    assert len(lines) == 2
    for part in ("source=s,", "event=e,", f"pid={worker.pid}", "it went wrong"):
        assert part in lines[0]
    assert "in function 'fails'" in ng.log() and "stack traceback" in ng.log()


@pytest.mark.parametrize("value", [
    "nil", "{}", "false", pytest.param("setmetatable({}, { __tostring = error })", marks=pytest.mark.fault)])
def test_a_handler_may_raise_any_value(nginx, value):
    ng = nginx(allowed=["event callback failed"])
    worker, = ng.workers()
    assert worker.run(f"""
        local ran = 0
        ev.register(function() error({value}) end, 's')
        ev.register(function() ran = ran + 1 end, 's')
        ev.post_local('s', 'e')
        return ev.poll(), ran""")[0] == "done"
    assert len(ng.log_lines("event callback failed")) == 1


@pytest.mark.fault
@pytest.mark.parametrize("interval", [0, 0.01])
def test_a_handler_that_aborts_its_request_makes_no_worker_deaf(nginx, interval):
    """ngx.exit never returns, and so the poll does not. It is forgotten with the next garbage."""
    ng = nginx(options=f"{{ interval = {interval} }}")
    worker = ng.connect()
    worker.run("ngx.sleep(0.05) ev.register(function() ngx.exit(444) end, 'abort')")
    if interval:
        worker.run("ev.post('abort', 'e') ngx.sleep(0.1)")
    else:
        with pytest.raises((OSError, HTTPException)):
            worker.run("ev.post('abort', 'e') ev.poll()")
    worker = ng.connect()
    worker.run("for i = 1, 4 do collectgarbage() end tap.take() ev.post('s', 'after') return ev.poll()")
    assert ("s", "after", None) in worker.seen()
    worker.run("ev.post('s', 'later')")
    if interval:
        wait_for(lambda: ("s", "later", None) in worker.seen(), "the background poll")
    else:
        assert worker.polled() == [("s", "later", None)]


@pytest.mark.fault
@pytest.mark.parametrize("call", ["post", "post_local"])
def test_no_payload_in_the_log(nginx, call):
    ng = nginx(allowed=["event callback failed"])
    worker, = ng.workers()
    worker.run(f"""
        ev.register(function() error('it went wrong') end)
        ev.{call}('s', 'e', {{ key = "{SECRET}" }}) ev.{call}('s', 'e', "{SECRET}")
        return ev.poll()""")
    assert len(ng.log_lines("event callback failed")) == 2
    assert SECRET not in ng.log()


def test_debug_lines(nginx):
    ng = nginx(log="debug")
    worker, = ng.workers()
    worker.run("ev.post('s', 'e', 'data') ev.post_local('s', 'l') ev.poll()")
    assert ng.log_lines("[debug]", f"handling event; source=s, event=e, pid={worker.pid}")
    assert ng.log_lines("[debug]", "handling event; source=s, event=l, pid=nil")


def test_no_debug_lines_without_debug(nginx):
    ng = nginx(log="info")
    worker, = ng.workers()
    worker.run("ev.post('s', 'e', 'data') ev.post_local('s', 'l') ev.poll()")
    assert ng.log_lines() == []


def test_calls_in_many_phases(nginx):
    """post, post_local and poll in phases that cannot yield, too."""
    ng = nginx(server="""
        location = /phases {
            set_by_lua_block $x { local ev = require "resty.worker.events" ev.post("p", "set") ev.poll() return 1 }
            rewrite_by_lua_block { local ev = require "resty.worker.events" ev.post("p", "rewrite") ev.poll() }
            access_by_lua_block { local ev = require "resty.worker.events" ev.post_local("p", "access") ev.poll() }
            content_by_lua_block { require("resty.worker.events").poll() ngx.say("ok") }
            header_filter_by_lua_block { local ev = require "resty.worker.events" ev.post("p", "header") ev.poll() }
            body_filter_by_lua_block { local ev = require "resty.worker.events" ev.poll() }
            log_by_lua_block { local ev = require "resty.worker.events" ev.post("p", "log") ev.poll() }
        }
        location = /sub { content_by_lua_block { ngx.print(ngx.location.capture("/phases").body) } }
    """)
    worker, = ng.workers()
    worker._connection.request("GET", "/phases")
    assert worker._connection.getresponse().read() == b"ok\n"
    names = [name for source, name, _ in worker.seen() if source == "p"]
    assert names == ["set", "rewrite", "access", "header", "log"]


def test_before_configure_nothing_works_and_nothing_crashes(nginx, is_original):
    worker, = nginx(init_worker="", allowed=["not configured"]).workers()
    assert worker.run("return ev.configured()") is False
    if is_original:
        for call in ("ev.post('s', 'e')", "ev.poll()"):
            with pytest.raises(LuaError):
                worker.run(f"return {call}")
        return
    none, error = worker.run("return ev.post('s', 'e')")
    assert none is None and "configure" in error
    assert worker.run("return ev.poll()")[0] is None
