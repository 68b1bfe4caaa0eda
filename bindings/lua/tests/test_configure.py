"""configure, configured, and every option."""

import time

import pytest

from nginx import LuaError, wait_for


@pytest.fixture
def bare(nginx):
    """Returns a worker in which nothing is configured."""
    return nginx(init_worker="").workers()[0]


def configure(worker, options):
    return worker.run(f"""
        local options = {options}
        if options.shm == nil then options.shm = next(ngx.shared) end
        return ev.configure(options)""")


def test_configure_and_configured(bare):
    assert bare.run("return ev.configured()") is False
    assert configure(bare, "{}") is True
    assert bare.run("return ev.configured()") is True


@pytest.mark.parametrize("argument, kind", [("", "nil"), ("nil", "nil"), ("1", "number"), ("'shm'", "string")])
def test_options_are_a_table(bare, argument, kind):
    with pytest.raises(LuaError) as caught:
        bare.run(f"return ev.configure({argument})")
    assert f"Expected a table, got {kind}" in str(caught.value)


def test_shm_is_required(bare):
    assert bare.run("return ev.configure {}") == (None, '"shm" option required to start')
    assert bare.run("return ev.configure { shm = false }") == (None, '"shm" option required to start')
    assert bare.run("return ev.configured()") is False


@pytest.mark.parametrize("shm, text", [("'missing'", "missing"), ("''", ""), ("12", "12")])
def test_shm_must_exist(bare, shm, text):
    assert bare.run(f"return ev.configure {{ shm = {shm} }}") == (None, f'shm "{text}" not found')
    assert bare.run("return ev.configured()") is False


NOT_NUMBERS = ["'1'", "{}", "true", "print"]


@pytest.mark.parametrize("option, value, error", [
    *((option, value, f'optional "{option}" option must be a number')
      for option in ("timeout", "interval", "wait_interval", "wait_max", "shm_retries") for value in NOT_NUMBERS),
    ("timeout", "0", '"timeout" must be greater than 0'),
    ("timeout", "-1", '"timeout" must be greater than 0'),
    ("interval", "-0.1", '"interval" must be greater than or equal to 0'),
    ("wait_interval", "-0.1", '"wait_interval" must be greater than or equal to 0'),
    ("wait_max", "-0.1", '"wait_max" must be greater than or equal to 0'),
    ("shm_retries", "-1", '"shm_retries" must be 0 or greater'),
])
def test_bad_values(bare, option, value, error):
    assert configure(bare, f"{{ {option} = {value} }}") == (None, error)
    assert bare.run("return ev.configured()") is False
    assert configure(bare, "{ interval = 0 }") is True


@pytest.mark.differs
@pytest.mark.parametrize("option", ["timeout", "interval", "wait_interval", "wait_max", "shm_retries"])
def test_nan_is_no_number(bare, option):
    none, error = configure(bare, f"{{ {option} = 0/0 }}")
    assert none is None and option in error and "nan" in error


@pytest.mark.parametrize("option", ["timeout", "interval", "wait_interval", "wait_max", "shm_retries"])
@pytest.mark.parametrize("value", ["math.huge", "1e300", "false", "nil"])
def test_values_without_end_and_defaults(bare, option, value):
    assert configure(bare, f"{{ {option} = {value} }}") is True
    bare.run("ev.register(tap.record) ev.post('s', 'e', 1, 'key')")
    assert bare.polled() == [("s", "e", 1)]


def test_unknown_options_are_ignored(bare):
    assert configure(bare, "{ interval = 0, anything = {} }") is True


def test_shm_cannot_be_changed(nginx):
    worker, = nginx(http="lua_shared_dict other 1m;").workers()
    for shm in ("other", "missing", "events"):
        assert worker.run(f"return ev.configure {{ shm = '{shm}' }}") == (None, "Already started, cannot change shm")
    worker.run("ev.post('s', 'e')")
    assert worker.polled() == [("s", "e", None)]


def test_started_is_posted_once(bare):
    """The first configure posts it, to all workers."""
    bare.run("ev.register(tap.record)")
    configure(bare, "{ interval = 0 }")
    bare.poll()
    assert bare.seen_all() == [["resty-worker-events", "started", None, bare.pid, 4]]


def test_started_reaches_the_others(nginx):
    ng = nginx(workers=2, init_worker="")
    a, b = ng.workers()
    a.run("ev.register(tap.record)")
    configure(a, "{ interval = 0 }")
    configure(b, "{ interval = 0 }")
    a.poll()
    assert [(event[1], event[3]) for event in a.seen_all()] == [("started", a.pid), ("started", b.pid)]


def test_a_new_worker_starts_at_what_comes(nginx):
    ng = nginx(workers=2, init_worker="")
    a, b = ng.workers()
    configure(a, "{ interval = 0 }")
    a.run("ev.register(tap.record) ev.post('s', 'before')")
    b.run("ev.register(tap.record)")
    configure(b, "{ interval = 0 }")
    a.run("ev.post('s', 'after')")
    assert b.polled() == [("s", "after", None)]
    assert a.polled() == [("s", "before", None), ("s", "after", None)]


def test_interval_polls_in_the_background(nginx):
    ng = nginx(workers=2, options="{ interval = 0.01 }")
    a, b = ng.workers()
    a.run("ev.post('s', 'e')")
    for worker in (a, b):
        wait_for(lambda: ("s", "e", None) in worker.seen(), "the background poll")


def test_interval_zero_polls_by_hand_only(nginx):
    worker, = nginx(options="{ interval = 0 }").workers()
    worker.run("ngx.sleep(0.05) tap.take() ev.post('s', 'e') ngx.sleep(0.7)")
    assert worker.seen() == []
    assert worker.polled() == [("s", "e", None)]


@pytest.mark.fault
@pytest.mark.parametrize("first, second", [("0", "0.01"), ("3600", "0.01")])
def test_interval_is_changed_at_run_time(nginx, first, second):
    worker, = nginx(options=f"{{ interval = {first} }}").workers()
    worker.run("ngx.sleep(0.05) tap.take()")
    assert worker.run(f"return ev.configure {{ interval = {second} }}") is True
    worker.run("ev.post('s', 'e')")
    wait_for(lambda: ("s", "e", None) in worker.seen(), "the background poll")


@pytest.mark.fault
def test_interval_zero_ends_the_background_poll(nginx):
    worker, = nginx(options="{ interval = 0.01 }").workers()
    assert worker.run("return ev.configure { interval = 0 }") is True
    worker.run("ngx.sleep(0.1) tap.take() ev.post('s', 'e') ngx.sleep(0.1)")
    assert worker.seen() == []


@pytest.mark.fault
def test_there_is_one_background_poll_however_often_configured(nginx):
    worker, = nginx(options="{ interval = 0.01 }").workers()
    assert worker.run("""
        local function timers() return ngx.timer.running_count() + ngx.timer.pending_count() end
        local before = timers()
        for i = 1, 10 do assert(ev.configure { interval = i % 2 == 0 and 0.01 or 0 }) end
        ngx.sleep(0.1)
        return timers() - before""") == 0


@pytest.mark.fault
def test_timeout_is_changed_at_run_time(nginx):
    worker, = nginx(options="{ interval = 0, timeout = 0.01 }").workers()
    assert worker.run("return ev.configure { timeout = 3600 }") is True
    worker.run("ev.post('s', 'first', nil, 'key')")
    assert worker.polled() == [("s", "first", None)]
    time.sleep(0.05)
    worker.run("ev.post('s', 'second', nil, 'key')")
    assert worker.polled() == []


@pytest.mark.fault
def test_what_is_not_given_again_stays(nginx):
    worker, = nginx(options="{ interval = 0, timeout = 3600 }").workers()
    assert worker.run("return ev.configure {}") is True
    worker.run("ev.post('s', 'first', nil, 'key') ev.poll() tap.take()")
    worker.run("ngx.sleep(2.1) ev.post('s', 'second', nil, 'key')")
    assert worker.polled() == []


@pytest.mark.fault
def test_a_refused_change_changes_nothing(nginx):
    worker, = nginx(options="{ interval = 0, timeout = 3600 }").workers()
    assert worker.run("return ev.configure { timeout = 0.01, wait_max = -1 }") == (
        None, '"wait_max" must be greater than or equal to 0')
    worker.run("ev.post('s', 'first', nil, 'key') ev.poll() tap.take()")
    worker.run("ngx.sleep(0.05) ev.post('s', 'second', nil, 'key')")
    assert worker.polled() == []
    assert worker.run("return ev.configure {}") is True


def test_no_timer_can_be_made(nginx):
    ng = nginx(init_worker="assert(ngx.timer.at(3600, function() end))", http="lua_max_pending_timers 1;",
               allowed=["failed to create timer"])
    worker, = ng.workers()
    error = "failed to create timer: too many pending timers"
    assert configure(worker, "{}") == (None, error)
    assert len(ng.log_lines("[error]", error)) == 1


def test_configure_in_a_worker_that_exits(nginx):
    """The other workers get both `started` and `stopping`."""
    # nginx logs these for each timer that is created so late.
    ng = nginx(init_worker="", allowed=["open socket #-2 left", "aborting"])
    old = ng.connect()
    old.start("""
        local dict = ngx.shared[next(ngx.shared)]
        while not dict:get("go") do ngx.sleep(0.01) end
        return ngx.worker.exiting(), ev.configure { shm = next(ngx.shared), interval = 1 }""")
    ng._found.remove(old)
    ng.reload()
    new = ng.connect()
    configure(new, "{ interval = 0 }")
    new.run("ev.poll() ev.register(tap.record, ev.events._source) ngx.shared[next(ngx.shared)]:set('go', 1)")
    assert old.finish() == (True, True)
    old.close()
    seen = []
    wait_for(lambda: new.poll() and seen.extend(new.seen_all()) or len(seen) == 2, "the end", ng.log)
    assert [(event[1], event[3]) for event in seen] == [("started", old.pid), ("stopping", old.pid)]


def test_debug_shows_the_callbacks(bare):
    assert bare.run("return ev._callbacks") is None
    assert configure(bare, "{ interval = 0, debug = true }") is True
    assert bare.run("return type(ev._callbacks)") == "table"
