"""resty.worker.events: workers and programs that posts wait for, retained events, and other hosts."""

import os
import pathlib

import pytest

pytestmark = pytest.mark.differs

SEGMENT = "wait_max = 0.01, wait_interval = 0.001, capacity = 8, claims = 64, block_size = 288, seats = 16"


@pytest.fixture
def name():
    name = f"lua-readers-{os.getpid()}"
    yield name
    path = pathlib.Path("/dev/shm", name)
    assert not path.exists(), path.unlink()


def options(name, more=""):
    return f'{{ interval = 0, segment = "{name}", {SEGMENT}, {more} }}'


# A program on the bus that must read: a seat of its own, in the same worker.
READER = """
    local seqcast = require "resty.seqcast"
    tap.bus = assert(seqcast.open(args[1]))
    tap.reader = assert(tap.bus:subscribe { silent = true, label = "state", must_read = args[2], wait_max = 0.002,
                                            wait_interval = 0.001 })
"""
FREE = "tap.reader:free() tap.bus:free()"


def room_waits(worker):
    """Returns how many posts of the nginx worker have waited."""
    return worker.run("""
        for _, it in ipairs(tap.bus:stats().workers) do
            if it.label:find("nginx worker") then return it.room_waits end
        end""")


def test_g17_a_post_does_not_block_the_worker(name, nginx):
    ng = nginx(options=options(name), allowed=["there is no room"])
    worker, = ng.workers()
    worker.run("ev.poll()")
    worker.run(READER, name, 1)
    posted, err = worker.run("""
        local posted, ok, err = 0, nil, nil
        repeat
            ok, err = ev.post("s", "e", posted)
            posted = posted + (ok and 1 or 0)
        until not ok
        return posted, err""")
    assert posted == 8 and "there is no room" in err and "state" in err
    assert room_waits(worker) == 0
    # It was refused as a whole, and there is room again when the reader has read.
    assert [event[1:] for event in worker.polled()] == [("e", n) for n in range(8)]
    read = "local n = 0 while tap.reader:next() do n = n + 1 end return n, ev.post('s', 'again')"
    assert worker.run(read) == (8, True)
    assert [event[1:] for event in worker.polled()] == [("again", None)]
    worker.run(FREE)


def test_g17_a_reader_that_reads_nothing_is_cut_off_by_one_post(name, nginx):
    ng = nginx(options=options(name), allowed=["there is no room"])
    worker, = ng.workers()
    worker.run("ev.poll()")
    worker.run(READER, name, 0.005)
    refused, delivery = worker.run("""
        local refused = 0
        for _ = 1, 30 do
            while not ev.post("s", "e") do refused = refused + 1 ngx.sleep(0.002) end
            ev.poll()
        end
        return refused, tap.reader:next()""")
    assert refused >= 1 and room_waits(worker) == 1
    assert (delivery["kind"], delivery["cut_off"]) == ("lagged", True)
    worker.run(FREE)


def test_g17_no_post_waits_for_a_reader_with_much_patience(name, nginx):
    ng = nginx(options=options(name, "most_patience = 2"), allowed=["there is no room"])
    worker, = ng.workers()
    worker.run("ev.poll()")
    worker.run(READER, name, 1.1)
    # Longer than its patience. Whatever the time is, no post may wait.
    assert worker.run("while ev.post('s', 'e') do end ngx.sleep(1.2) return (ev.post('s', 'e'))") is None
    assert room_waits(worker) == 0
    worker.run("tap.reader:next()")
    assert worker.run("return ev.post('s', 'e')") is True
    worker.run(FREE)


def test_g16_posts_of_other_programs_wait_for_a_worker_that_must_read(name, nginx):
    ng = nginx(options=options(name, "must_read = 1"), allowed=["there is no room"])
    worker, = ng.workers()
    assert worker.run("""
        local seqcast = require "resty.seqcast"
        local bus = assert(seqcast.open(args[1]))
        local poster = assert(bus:publisher())
        ev.poll()
        local n = 0
        while poster:try_post("s", "e", tostring(n)) do n = n + 1 end
        local _, why, who = poster:try_post("s", "e")
        local own, err = ev.post("s", "own")
        ev.poll()
        local after = poster:try_post("s", "e", "8")
        ev.poll()
        poster:free() bus:free()
        return n, why, who.label, who.pid, own, err:find("must read", 1, true) ~= nil, after ~= nil""", name) == (
            8, "full", "nginx worker 0", worker.pid, None, True, True)
    assert [data for source, _, data in worker.seen() if source == "s"] == list(range(9))


def test_a_worker_starts_also_if_there_is_no_room_for_its_event(name, nginx):
    ng = nginx(init_worker="", allowed=["there is no room"])
    worker, = ng.workers()
    assert worker.run(f"""
        local seqcast = require "resty.seqcast"
        local bus = assert(seqcast.create(args[1], {{ capacity = 8, claims = 64, seats = 16 }}))
        local reader = assert(bus:subscribe {{ silent = true, must_read = 1 }})
        for _ = 1, 8 do assert(reader:post("s", "e")) end
        local ok, err = ev.configure {{ segment = args[1], interval = 0 }}
        reader:free()
        local posted = ev.post("s", "later")
        bus:free()
        return ok, err, posted""", name) == (True, None, True)
    assert len(ng.log_lines("[notice]", "started is left out")) == 1


@pytest.mark.parametrize("given, error", [
    ("must_read = 'x'", 'optional "must_read" option must be a number'),
    ("must_read = -1", '"must_read" must be greater than or equal to 0'),
    ("resync = 1", 'optional "resync" option must be a boolean'),
    ("start = 'oldest'", 'optional "start" option must be "now" or "retained"'),
])
def test_bad_options(name, nginx, given, error):
    worker, = nginx(init_worker="").workers()
    assert worker.run(f"return ev.configure {{ segment = args[1], interval = 0, {given} }}", name) == (None, error)


def test_what_a_worker_cannot_change(name, nginx):
    worker, = nginx(options=options(name)).workers()
    for given in ("must_read = 0.5", "resync = true", "start = 'retained'"):
        option = given.split()[0]
        assert worker.run(f"return ev.configure {{ {given} }}") == (None, f"Already started, cannot change {option}")
    assert worker.run("return ev.configure { must_read = 0, resync = false, start = 'now', timeout = 3 }") is True


def test_a_patience_that_the_segment_does_not_allow(name, nginx):
    worker, = nginx(init_worker="").workers()
    none, err = worker.run("""
        return ev.configure { segment = args[1], interval = 0, most_patience = 0.6, must_read = 0.7 }""", name)
    assert none is None and "must_read" in err


def test_retained_events(name, nginx):
    ng = nginx(options=options(name, "retained = 4"))
    worker, = ng.workers()
    assert worker.run("""
        local none = ev.get("s", "e", "k")
        assert(ev.post("s", "e", { n = 1 }, nil, { retain = "k" }))
        assert(ev.post("s", "e", { n = 2 }, nil, { retain = "k", ttl = 60 }))
        assert(ev.post("s", "e", "topic", false, { retain = true }))
        assert(ev.post("s", "e", nil, nil, { retain = "empty" }))
        local found, topic, empty = ev.get("s", "e", "k"), ev.get("s", "e"), ev.get("s", "e", "empty")
        return none, found.data.n, found.left > 50, found.pid, topic.data, topic.left, empty.data, empty.id > 0""") == (
            None, 2, True, worker.pid, "topic", None, None, True)
    # Handlers get the key as a further argument, and those of other events get none.
    worker.run("ev.poll() tap.take() ev.post('s', 'plain') ev.post('s', 'e', 3, nil, { retain = 'k' }) ev.poll()")
    assert [event[4] for event in worker.seen_all()] == [4, 5]
    assert worker.run("""
        local keys = {}
        local function handler(_, _, _, _, key) keys[#keys + 1] = key or "none" end
        ev.register(handler, "s")
        ev.post("s", "e", 4, nil, { retain = "k" }) ev.post("s", "e", 5, nil, { retain = true }) ev.post("s", "e")
        ev.poll()
        ev.unregister(handler, "s")
        return keys""") == ["k", "", "none"]


def test_a_clear_is_an_event_of_the_library(name, nginx):
    ng = nginx(options=options(name), workers=2)
    one, two = ng.workers()
    one.run("ev.poll() tap.take()"), two.run("ev.poll() tap.take()")
    assert one.run("""
        assert(ev.post("s", "e", 1, nil, { retain = "k" }))
        return ev.clear("s", "e", "k"), ev.clear("s", "e", "k"), ev.clear("s", "e"), ev.get("s", "e", "k")""") == (
            True, False, False, None)
    for worker in (one, two):
        assert worker.poll() == "done"
        assert [event[:4] for event in worker.seen_all()] == [
            ["s", "e", 1, one.pid],
            ["resty-worker-events", "cleared", {"source": "s", "event": "e", "key": "k"}, one.pid]]


def test_a_worker_that_starts_later_gets_what_is_retained_first(name, nginx):
    early = nginx(options=options(name))
    worker, = early.workers()
    worker.run("ev.post('s', 'e', 1, nil, { retain = 'k' }) ev.post('s', 'e', 2, nil, { retain = 'k' })")
    late, = nginx(options=options(name, "start = 'retained'")).workers()
    late.poll()
    seen = [event[:2] for event in late.seen() if event[1] != "started"]
    assert seen == [("s", "e"), ("resty-worker-events", "up_to_date")]
    assert late.run("return ev.get('s', 'e', 'k').data") == 2


def test_a_worker_that_was_lapped_is_brought_up_to_date(name, nginx):
    ng = nginx(options=options(name, "resync = true"), allowed=["missed"])
    worker, = ng.workers()
    worker.run("ev.poll() tap.take() ev.post('s', 'e', 1, nil, { retain = 'k' })")
    worker.run("for _ = 1, 30 do ev.post('s', 'filler') end ev.poll()")
    events = [event[:3] for event in worker.seen()]
    assert [event[1] for event in events[:3]] == ["missed", "e", "up_to_date"]
    assert events[1] == ("s", "e", 1) and "cut_off" not in events[0][2]


def test_events_for_all_hosts_need_a_relay(name, nginx):
    ng = nginx(options=options(name), allowed=["no relay"])
    worker, = ng.workers()
    none, err = worker.run("return ev.post('s', 'e', 1, nil, { cluster = true })")
    assert none is None and "no relay" in err
    assert worker.run("return ev.post('s', 'e', 1, nil, { cluster = false })") is True


@pytest.mark.parametrize("given, error", [
    ("1", "options must be a table, got a number"), ("{ retained = true }", 'option "retained" is not known'),
    ("{ retain = 1 }", 'option "retain" must be a boolean or a key, which is a string'),
    ("{ ttl = 0 }", 'option "ttl" must be a number of seconds greater than 0'),
    ("{ cluster = 1 }", 'option "cluster" must be a boolean'), ("{ ttl = 1 }", "only a unique or retained event"),
])
def test_bad_options_of_a_post(name, nginx, given, error):
    worker, = nginx(options=options(name), allowed=["failed posting"]).workers()
    none, err = worker.run(f"return ev.post('s', 'e', 1, nil, {given})")
    assert none is None and error in err
    worker.run("ev.poll() tap.take()")
    assert worker.polled() == []


def test_bad_names_of_a_retained_event(name, nginx):
    worker, = nginx(options=options(name)).workers()
    for call in ("get(1, 'e')", "get('s', 'e', 1)", "clear('s')", "clear('s', 'e', {})"):
        assert worker.run(f"return ev.{call}") == (None, "source, event and key must be strings")


def test_a_unique_event_with_a_ttl_of_its_own(name, nginx):
    worker, = nginx(options=options(name, "timeout = 3600")).workers()
    assert worker.run("""
        for i = 1, 2 do ev.post("s", "e", i, "k", { ttl = 1e-9 }) ev.poll() end
        for i = 3, 4 do ev.post("s", "e", i, "k") ev.poll() end
        local seen = {}
        for _, it in ipairs(tap.take()) do if it[1] == "s" then seen[#seen + 1] = it[3] end end
        return seen""") == [1, 2, 3]


def test_lost_between_hosts(name, nginx):
    """The program of a relay reports it. Here, a delivery of the kind is given to the code that handles it."""
    ng = nginx(options=options(name), allowed=["did not reach this host"])
    worker, = ng.workers()
    worker.run("tap.take()")
    worker.run("""
        local ffi = require "ffi"
        local notice = require "resty.seqcast.notices"
        local it = ffi.new("seqcast_delivery")
        it.kind, it.id, it.missed, it.has_origin, it.origin = 10, 7, 4, 1, 0xfeedULL
        it.missed_reason = 2
        local registry = { run = function(_, ...) tap.record(...) end }
        notice(it, registry, ev.events)
        it.missed, it.has_origin, it.missed_reason = 0, 0, 5
        notice(it, registry, ev.events)""")
    assert worker.seen() == [
        ("resty-worker-events", "missed", {"first": 7, "missed": 4, "reason": "trimmed", "origin": "0" * 12 + "feed"}),
        ("resty-worker-events", "missed", {"first": 7, "reason": "engine_lost"})]
    assert len(ng.log_lines("4 events of host 000000000000feed did not reach this host: trimmed")) == 1
    assert len(ng.log_lines("an unknown number of events did not reach this host: engine_lost")) == 1
