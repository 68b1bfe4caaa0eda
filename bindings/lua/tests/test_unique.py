"""The fourth argument of post: one worker runs it."""

import pytest


def run_by(workers):
    ran = []
    for worker in workers:
        for event in worker.polled():
            ran.append((worker.pid, event[1]))
    return ran


def test_one_worker_runs_it(nginx):
    ng = nginx(workers=3)
    workers = ng.workers()
    workers[0].run("ev.post('s', 'e', 'data', 'key')")
    (pid, name), = run_by(workers)
    assert (pid, name) == (workers[0].pid, "e")


def test_while_the_key_is_held_others_are_skipped(nginx):
    workers = nginx(workers=2, options="{ interval = 0, timeout = 3600 }").workers()
    workers[0].run("ev.post('s', 'first', nil, 'key') ev.post('s', 'second', nil, 'key')")
    workers[0].run("ev.post('s', 'other', nil, 'other')")
    assert [name for _, name in run_by(workers)] == ["first", "other"]
    workers[1].run("ev.post('s', 'third', nil, 'key')")
    assert run_by(workers) == []


def test_after_the_timeout_the_key_is_free(nginx):
    workers = nginx(workers=2, options="{ interval = 0, timeout = 0.05 }").workers()
    workers[0].run("ev.post('s', 'first', nil, 'key')")
    assert [name for _, name in run_by(workers)] == ["first"]
    workers[0].run("ngx.sleep(0.1) ev.post('s', 'second', nil, 'key')")
    assert [name for _, name in run_by(workers)] == ["second"]


@pytest.mark.parametrize("first, second, same", [
    ("'a'", "'a'", True), ("'a'", "'b'", False), ("''", "''", True), ("true", "true", True), ("true", "'true'", True),
    ("1", "'1'", True), ("1", "1.0", True), ("1.5", "'1.5'", True), ("1", "2", False),
    ("('x'):rep(1000)", "('x'):rep(1000)", True),
    ("'a\\0b'", "'a\\0c'", False), ("1e100", "'1e+100'", True), ("0.1 + 0.2", "0.3", True),
])
def test_what_is_one_key(nginx, first, second, same):
    workers = nginx(options="{ interval = 0, timeout = 3600 }").workers()
    workers[0].run(f"assert(ev.post('s', 'first', nil, {first})) assert(ev.post('s', 'second', nil, {second}))")
    assert [name for _, name in run_by(workers)] == ["first"] + ["second"] * (not same)


@pytest.mark.parametrize("unique", ["nil", "false"])
def test_no_key(nginx, unique):
    workers = nginx(workers=2).workers()
    workers[0].run(f"for i = 1, 2 do ev.post('s', 'e', i, {unique}) end")
    for worker in workers:
        assert worker.polled() == [("s", "e", 1), ("s", "e", 2)]


@pytest.mark.parametrize("unique", ["print", "{ print }", "0/0"])
def test_a_key_that_json_cannot_hold_is_refused(nginx, unique):
    worker, = nginx(allowed=["failed posting event"]).workers()
    none, error = worker.run(f"return ev.post('s', 'e', nil, {unique})")
    assert none is None and error.startswith('failed posting event "e" by "s"; ')
    assert worker.polled() == []


@pytest.mark.differs
def test_a_key_that_is_a_table_is_refused(nginx):
    """In the original each worker makes a different key of it, and each runs the event."""
    worker, = nginx(allowed=["failed posting event"]).workers()
    none, error = worker.run("return ev.post('s', 'e', nil, { 'key' })")
    assert none is None and "unique" in error and "table" in error
    assert worker.polled() == []


def test_a_handler_of_a_unique_event_gets_the_senders_pid(nginx):
    a, b = nginx(workers=2).workers()
    a.run("ev.post('s', 'e', nil, 'key')")
    b.poll()
    event, = [event for event in b.seen_all() if event[0] == "s"]
    assert event[3] == a.pid


@pytest.mark.differs
def test_keys_that_have_no_room_are_reported_and_not_run(nginx):
    ng = nginx(options="{ interval = 0, claims = 16, timeout = 3600 }", allowed=["cannot determine"])
    worker, = ng.workers()
    worker.polled()
    worker.run("for i = 1, 500 do ev.post('s', 'e', i, 'key' .. i) end")
    ran = len(worker.polled())
    assert 0 < ran < 500
    lines = ng.log_lines("[error]", "cannot determine who handles event", "too many unique keys")
    assert len(lines) == 500 - ran


@pytest.mark.differs
def test_an_event_of_which_the_bus_has_forgotten_the_decision_is_reported_and_not_run_again(nginx):
    ng = nginx(workers=2, options="{ interval = 0, claims = 16, timeout = 0.001 }", allowed=["cannot determine"])
    a, b = ng.workers()
    for worker in (a, b):
        worker.polled()
    for number in range(20):
        a.run("""
            for i = args[1] * 20 + 1, args[1] * 20 + 20 do ev.post('s', 'e', i, 'key' .. i) end
            ngx.sleep(0.002)
            ev.poll()""", number)
    ran = {event[2] for event in a.polled()}
    again = {event[2] for event in b.polled()}
    assert ran and not ran & again
    assert ng.log_lines("[error]", "cannot determine who handles event", f"{b.pid}#", "polled too late")
