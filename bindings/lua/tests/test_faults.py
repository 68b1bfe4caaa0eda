"""Faults of lua-resty-worker-events. Each test here fails there."""

import re

import pytest

pytestmark = pytest.mark.fault

COUNT_SLEEPS = 'require("tap").count_sleeps()'


@pytest.fixture
def counted(nginx):
    def start(options="{ interval = 0 }", **settings):
        init_worker = f"""
            {COUNT_SLEEPS}
            local ev = require "resty.worker.events"
            ev.register(require("tap").record)
            local options = {options}
            options.shm = next(ngx.shared)
            assert(ev.configure(options))"""
        return nginx(init_worker=init_worker, **settings)
    return start


def missed(ng):
    """Returns the reported numbers of missed events."""
    return [int(re.search(r"missed (\d+) event", line)[1]) for line in ng.log_lines("missed")]


def test_an_event_larger_than_the_zone_makes_nobody_deaf(nginx):
    ng = nginx(workers=2, allowed=["failed posting event"])
    a, b = ng.workers()
    a.run("for i = 1, 10 do ev.post('s', 'before', i) end")
    for worker in (a, b):
        assert len(worker.polled()) == 10
    none, error = a.run("return ev.post('s', 'huge', ('x'):rep(3 * 2^20))")
    size, largest = (int(number) for number in re.findall(r"\d{5,}", error))
    assert none is None and size > 3 * 2**20 > largest >= 2**20
    a.run("for i = 1, 10 do assert(ev.post('s', 'after', i)) end")
    for worker in (a, b):
        assert worker.polled() == [("s", "after", i) for i in range(1, 11)]


def test_a_failed_post_holds_up_nothing(counted):
    """In the original a failed post leaves an id without a payload, and every worker waits for it."""
    ng = counted("{ interval = 0, shm_retries = 0 }", workers=2, allowed=["failed posting event"])
    a, b = ng.workers()
    a.run("for i = 1, 100 do ev.post('s', 'before', i) end")
    assert a.run("return ev.post('s', 'huge', ('x'):rep(3 * 2^20))")[0] is None
    a.run("ev.post('s', 'after')")
    for worker in (a, b):
        assert worker.polled()[-1:] == [("s", "after", None)]
        assert worker.run("return tap.sleeps") == 0
    assert ng.log_lines("dropping event") == []


def test_no_id_exists_before_its_payload(counted):
    """A poll in between would sleep."""
    ng = counted(workers=2, allowed=["missed"])
    a, b = ng.workers()
    a.start("for i = 1, 100000 do assert(ev.post('s', 'e')) end ev.post('s', 'last')")
    b.run("""
        local last
        ev.register(function() last = true end, 's', 'last')
        while not last do ev.poll() tap.take() end""")
    a.finish()
    assert b.run("return tap.sleeps") == 0


def test_a_burst_is_not_lost(nginx):
    ng = nginx(workers=2)
    a, b = ng.workers()
    for worker in (a, b):
        worker.polled()
    posted = 20_000
    a.run("for i = 1, args[1] do assert(ev.post('s', 'e', i)) end", posted)
    for worker in (a, b):
        assert worker.run("""
            ev.poll()
            local in_order = true
            local events = tap.take()
            for i, event in ipairs(events) do in_order = in_order and event[3] == i end
            return #events, in_order""") == (posted, True)
    assert ng.log_lines() == []


def test_an_idle_poll_takes_no_lock_that_workers_share(nginx):
    """Each operation on a shared dictionary takes the mutex of its zone, so pollers would wait for each other."""
    worker, = nginx().workers()
    worker.polled()
    assert worker.run("""
        local methods, kept, count = getmetatable(ngx.shared[next(ngx.shared)]).__index, {}, 0
        for name, method in pairs(methods) do
            if type(method) == "function" then
                kept[name] = method
                methods[name] = function(...)
                    count = count + 1
                    return method(...)
                end
            end
        end
        for _ = 1, 100 do ev.poll() end
        for name, method in pairs(kept) do methods[name] = method end
        return count""") == 0


def test_who_was_overrun_is_told_once_how_many_it_missed(nginx):
    ng = nginx(workers=2, allowed=["missed"])
    a, b = ng.workers()
    b.poll()
    b.seen()
    posted = 60_000
    a.run("for i = 1, args[1] do assert(ev.post('s', 'e', i)) end", posted)
    assert b.poll() == "done"
    seen = b.run("""
        local all = {}
        for _, event in ipairs(tap.take()) do if event[1] == 's' then all[#all + 1] = event[3] end end
        return all""")
    assert 0 < len(seen) < posted
    assert missed(ng) == [posted - len(seen)]
    assert seen == list(range(posted - len(seen) + 1, posted + 1))
    assert len(ng.log()) < 10_000


def test_who_was_overrun_gets_an_event_that_says_so(nginx):
    ng = nginx(workers=2, allowed=["missed"])
    a, b = ng.workers()
    b.run("""
        ev.poll()
        ev.register(function(data, event, source, pid)
            tap.missed = { data.missed, data.first, pid == nil }
        end, ev.events._source, ev.events.missed)""")
    a.run("for i = 1, 60000 do ev.post('s', 'e', i) end")
    b.poll()
    count, first, is_local = b.run("return unpack(tap.missed)")
    assert count == missed(ng)[0] and first >= 0 and is_local is True


def test_a_worker_that_polls_late_runs_no_unique_event_again(nginx):
    workers = nginx(workers=4, options="{ interval = 0, timeout = 0.02 }").workers()
    workers[0].run("for i = 1, 100 do ev.post('s', 'e', i, 'key' .. i) end")
    ran = []
    for worker in workers:
        ran += [event[2] for event in worker.polled()]
        worker.run("ngx.sleep(0.05)")
    assert ran == list(range(1, 101))


def test_a_burst_ends_no_claim(nginx):
    workers = nginx(workers=2, options="{ interval = 0, timeout = 3600 }", allowed=["missed"]).workers()
    workers[0].run("ev.post('s', 'first', nil, 'key')")
    assert [event[1] for worker in workers for event in worker.polled()] == ["first"]
    workers[0].run("for i = 1, 60000 do ev.post('burst', 'e', i) end ev.post('s', 'second', nil, 'key')")
    assert [event[1] for worker in workers for event in worker.polled() if event[0] == "s"] == []


@pytest.mark.parametrize("number", [
    "2^53", "2^53 - 1", "-2^53", "123456789012345", "0.1 + 0.2", "1/3", "math.pi", "1.7976931348623157e308"])
@pytest.mark.parametrize("shape", ["{}", "{{ n = {}, text = 'x' }}", "{{ a = {{ {{ b = {} }} }} }}"])
def test_numbers_keep_their_digits(nginx, number, shape):
    worker, = nginx().workers()
    data = shape.format(number)
    assert worker.run(f"""
        local function same(a, b)
            if type(a) ~= "table" then return a == b end
            for k, v in pairs(a) do if not same(v, b[k]) then return false end end
            for k in pairs(b) do if a[k] == nil then return false end end
            return true
        end
        local sent, got = {data}
        ev.register(function(data) got = data end, 's')
        assert(ev.post('s', 'e', sent))
        ev.poll() tap.take()
        return same(sent, got)""") is True


def test_configure_can_be_called_twice(nginx):
    worker, = nginx().workers()
    assert worker.run("return ev.configure { timeout = 3 }") is True


def test_register_returns_true_as_its_documentation_says(nginx):
    worker, = nginx().workers()
    assert worker.run("return ev.register(print), ev.register_weak(print)") == (True, True)

