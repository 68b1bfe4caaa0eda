"""resty.seqcast: the bus and its seats. No argument may end a worker."""

import os
import pwd

import pytest

from nginx import LuaError, alive

pytestmark = pytest.mark.differs

OPEN = """
    local seqcast = require "resty.seqcast"
    local bus = assert(seqcast.anonymous { capacity = 64, block_size = 96, claims = 16, seats = 8 })
    local function subscribe(options) return assert(bus:subscribe(options or { silent = true })) end
    local seat = subscribe()
"""


@pytest.fixture
def lua(nginx):
    """Returns a function that runs code with a bus and a seat."""
    ng = nginx(init_worker="")
    worker, = ng.workers()

    def run(code, *args):
        return worker.run(OPEN + code, *args)

    run.worker = worker
    run.ng = ng
    return run


def test_post_and_next(lua):
    assert lua("""
        local other = subscribe()
        local id = assert(seat:post("s", "e", "payload"))
        assert(seat:post("s", "nothing"))
        local first, second, third = other:next(), other:next(), other:next()
        return first, second.payload, third, id""") == (
            {"kind": "event", "id": 0, "source": "s", "event": "e", "payload": "payload", "pid": lua.worker.pid,
             "seat": 0, "own": True}, "", None, 0)


def test_bytes(lua):
    assert lua("""
        local bytes = {}
        for i = 0, 255 do bytes[#bytes + 1] = string.char(i) end
        local payload = table.concat(bytes)
        seat:post("s", "e", payload)
        local large = payload:rep(3)
        seat:post("s", "e", large)
        return seat:next().payload == payload, seat:next().payload == large""") == (True, True)


def test_type_tags(lua):
    assert lua("""
        seat:post("s", "e", "", { type_tag = 7 })
        seat:post("s", "e", "", { type_tag = 0xfedcba9876543210ULL })
        return tostring(seat:next().type_tag), tostring(seat:next().type_tag)""") == ("7ULL", "18364758544493064720ULL")


def test_unique_events(lua):
    assert lua("""
        local other = subscribe()
        seat:post("s", "one", "", { key = "k", ttl = 60 })
        seat:post("s", "two", "", { key = "k", ttl = 60 })
        local delivery = seat:next()
        local won, none, others = delivery.event, seat:next(), other:next()
        local released, again = seat:release(delivery.claim), seat:release(delivery.claim)
        seat:post("s", "three", "", { key = "k", ttl = 60 })
        return won, none, others, released, again, other:next().event""") == ("one", None, None, True, False, "three")


def test_claims_that_end_with_their_seat(lua):
    assert lua("""
        local bus = assert(seqcast.anonymous { capacity = 64, block_size = 96, claims = 16, seats = 8 })
        local seat, other = assert(bus:publisher()), assert(bus:publisher())
        local claim = assert(seat:claim_for_life("key", 60))
        local _, held = other:claim_for_life("key", 60)
        local renewed, left = seat:renew(claim, 600), other:claim_left(claim)
        seat:free()
        local _, _, lost = other:renew(claim, 60)
        local taken = assert(other:claim_for_life("key", 60))
        local done = other:complete(taken, 600)
        other:free()
        local third = assert(bus:publisher())
        local _, kept = third:claim_for_life("key", 60)
        return held, renewed, left > 500, third:claim_left(claim), lost, done, kept
    """) == ("held", True, True, 0, "claim_lost", True, "held")


def test_claims(lua):
    won, held, left, released, again, full = lua("""
        local other = subscribe()
        local claim = assert(seat:claim("key", 60))
        local _, held, left = other:claim("key", 60)
        local released = other:release(claim)
        local again = other:claim("key", 60) ~= nil
        local full
        for i = 1, 1000 do
            local _, why = seat:claim("key" .. i, 60)
            if why then full = why break end
        end
        return type(claim), held, left, released, again, full""")
    assert (won, held, released, again, full) == ("cdata", "held", True, True, "full")
    assert 50 < left <= 60


def test_lag(lua):
    assert lua("""
        for i = 1, 1000 do seat:post("s", "e", tostring(i)) end
        local first = seat:next()
        local second = seat:next()
        return first.kind, first.id, first.missed == tonumber(second.payload) - 1, second.id == first.missed""") == (
            "lagged", 0, True, True)


def test_reservations(lua):
    assert lua("""
        local other = subscribe { silent = true, wait_max = 3600 }
        local id = assert(seat:reserve())
        seat:post("s", "after")
        local waiting = other:next()
        local refused, _, code = seat:commit(id + 1, "s", "e")
        assert(seat:commit(id, "s", "reserved", "p", { type_tag = 1 }))
        local first, second = other:next(), other:next()
        local third = seat:reserve()
        return waiting.kind, waiting.id, waiting.own == nil, refused, code, first.event, second.event,
            seat:abandon(third), seat:abandon(third), other:next()""") == (
                "reserved", 0, True, None, "too_late", "reserved", "after", True, False, None)


def test_wait_and_timeouts(lua):
    assert lua("""
        local none, before = seat:wait(0.001), seat:next(0.001)
        seat:post("s", "e")
        return none, before, seat:wait(3600), seat:next(3600).event, seat:set_wait_max(1)""") == (
            False, None, True, "e", True)


def test_filters(lua):
    assert lua("""
        local all = {}
        local function take()
            local seen = ""
            while true do
                local delivery = seat:next()
                if not delivery then return seen end
                seen = seen .. delivery.source .. delivery.event .. " "
            end
        end
        local function post()
            for _, source in ipairs { "a", "b" } do
                for _, event in ipairs { "1", "2" } do seat:post(source, event) end
            end
        end
        assert(seat:only_sources { "a" }) post() all[1] = take()
        assert(seat:only { { "a", "2" }, { "b", "1" } }) post() all[2] = take()
        assert(seat:only {}) post() all[3] = take()
        assert(seat:only { { "a" }, { "b", "1" } }) post() all[4] = take()
        assert(seat:only { {} }) post() all[5] = take()
        return all""") == ["a1 a2 ", "a2 b1 ", "", "a1 a2 b1 ", "a1 a2 b1 b2 "]


def test_where_to_start(lua):
    assert lua("""
        for i = 1, 5 do seat:post("s", tostring(i)) end
        local position = seat:position()
        local all = {}
        for i, start in ipairs { "now", "oldest", { at = 3 }, { after = 3 }, { resume = position } } do
            local delivery = subscribe { silent = true, start = start }:next()
            all[i] = delivery and delivery.event or "none"
        end
        local none, _, code = bus:subscribe { start = { at = 100 } }
        all[6] = code
        return all, seat:cursor(), position:match("^%x+") == bus:id()""") == (
            ["none", "1", "4", "5", "1", "not_yet"], 0, True)


def test_leaving(lua):
    assert lua("""
        local other = subscribe { label = "other" }
        local started = seat:next()
        assert(other:leave())
        local stopping, none, _, code = seat:next(), other:post("s", "e")
        return started.source, started.event, started.payload, stopping.event, none, code, other:free()""") == (
            "seqcast", "started", "other", "stopping", None, "left", True)


def test_after_free_each_call_is_an_error(lua):
    assert lua("""
        local codes = {}
        local function code(result, _, code) codes[#codes + 1] = tostring(result) .. " " .. tostring(code) end
        seat:free()
        code(seat:post("s", "e")) code(seat:next()) code(seat:claim("k", 1)) code(seat:reserve()) code(seat:free())
        bus:free()
        code(bus:free()) code(bus:name()) code(bus:subscribe()) code(bus:stats()) code(bus:next_id())
        return codes""") == ["nil handle"] * 10


def test_a_publisher_only_posts(lua):
    assert lua("""
        local poster = assert(bus:publisher { label = "poster" })
        poster:post("s", "e")
        local none, _, code = poster:next()
        return none, code, seat:next().event, poster:number()""") == (None, "not_a_reader", "e", 1)


def test_bus(lua):
    found = lua("""
        return bus:name(), #bus:id(), bus:differences(), bus:was_created(), bus:is_current(), bus:next_id(),
            bus:capacity(), bus:largest_event() > 64""")
    assert found[1:] == (32, "", True, True, 0, 64, True)


def test_named_segments(lua):
    name = f"lua-seqcast-{os.getpid()}"
    assert lua("""
        local name = args[1]
        local codes = {}
        local function code(_, _, code) codes[#codes + 1] = code end
        code(seqcast.open(name))
        local made = assert(seqcast.create(name, { capacity = 64 }))
        code(seqcast.create(name))
        local again = assert(seqcast.open_or_create(name, { capacity = 128 }))
        local differences = again:differences()
        code(seqcast.open_or_create(name, { capacity = 128, strict = true }))
        code(seqcast.open("a/b"))
        local listed
        for _, each in ipairs(seqcast.names()) do listed = listed or each == "/" .. name end
        local held = seqcast.unlink_unheld(name)
        assert(made:unlink())
        local current = made:is_current()
        made:free() again:free()
        code(seqcast.unlink(name))
        local one = assert(seqcast.create(name))
        one:free()
        return codes, differences, listed, held, current, seqcast.unlink_unheld(name)""", name) == (
            ["not_found", "exists", "options_differ", "name", "not_found"], "capacity is 64, not 128", True, False,
            False, True)


def test_the_last_handle_removes_the_name(lua):
    name = f"lua-last-{os.getpid()}"
    assert lua("""
        local name = args[1]
        local first, second = assert(seqcast.create(name)), assert(seqcast.open(name))
        local seat = first:subscribe { silent = true }
        local kept = { first:unlink_if_last(), second:unlink_if_last() }
        assert(seat:post("s", "e"))
        seat:free()
        local removed = seqcast.open(name):unlink_if_last()
        local _, _, freed = second:unlink_if_last()
        local _, _, gone = seqcast.open(name)
        return kept, removed, freed, gone, bus:unlink_if_last()""", name) == (
            [False, False], True, "handle", "not_found", False)


def test_figures(lua):
    stats = lua("""
        subscribe { label = "the other", silent = true }
        seat:post("s", "e") seat:next()
        return bus:stats()""")
    assert (stats["next_id"], stats["capacity"], stats["seats"]) == (1, 64, 8)
    workers = [(it["label"], it["posted"], it["delivered"]) for it in stats["workers"]]
    assert workers == [("", 1, 1), ("the other", 0, 0)]


def test_inspector_and_tail(lua):
    name = f"lua-inspect-{os.getpid()}"
    assert lua("""
        local made = assert(seqcast.create(args[1], { unlink_on_free = true }))
        local seat = made:subscribe { silent = true }
        seat:post("s", "e", "payload", { key = "k" })
        local inspector = assert(seqcast.inspect(args[1]))
        local stats, current = inspector:stats(), inspector:is_current()
        local tail = assert(inspector:tail { start = "oldest", payloads = true })
        local seen, none = tail:next(), tail:next()
        tail:free() inspector:free() seat:free() made:free()
        local texts = seen.source .. seen.event .. seen.payload
        return stats.next_id, current, seen.kind, texts, seen.unique, none""", name) == (
            1, True, "event", "sepayload", True, None)


def test_garbage_frees(lua):
    """Dropped seats, buses and tails are freed."""
    assert lua("""
        seat:free()
        for i = 1, 100 do
            local it = bus:subscribe { silent = true }
            if not it then collectgarbage() collectgarbage() it = bus:subscribe { silent = true } end
            if not it then return i end
        end
        return 0""") == 0


@pytest.mark.parametrize("code, message", [
    ("seqcast.open()", "bad argument #1 to 'open' (string expected, got no value)"),
    ("seqcast.create(12)", "bad argument #1 to 'create' (string expected, got number)"),
    ("seqcast.open_or_create('x', 1)", "bad argument #2 to 'open_or_create' (table of options expected, got number)"),
    ("seqcast.create('x', { capacty = 1 })", "bad argument #2 to 'create' (option 'capacty' is not known)"),
    ("seqcast.create('x', { capacity = 'x' })",
     "bad argument #2 to 'create' (option 'capacity' must be a whole number)"),
    ("seqcast.anonymous { owner = 1 }",
     "bad argument #1 to 'anonymous' (option 'owner' must be a table with the numbers uid and gid)"),
    ("bus.subscribe()", "bad argument #1 to 'subscribe' (use it as a method: object:subscribe())"),
    ("bus.name(seat)", "bad argument #1 to 'name' (use it as a method: object:name())"),
    ("bus:subscribe { start = 1 }", "option 'start' must be"),
    ("bus:subscribe { start = { at = -1 } }", "option 'start' must be"),
    ("bus:subscribe { wait_max = -1 }", "option 'wait_max' must be a number of seconds, and not negative"),
    ("bus:subscribe { label = 1 }", "option 'label' must be a string"),
    ("bus:subscribe { silent = 1 }", "option 'silent' must be a boolean"),
    ("seat:post()", "bad argument #1 to 'post' (string expected, got no value)"),
    ("seat:post('s', {})", "bad argument #2 to 'post' (string expected, got table)"),
    ("seat:post('s', 'e', 1)", "bad argument #3 to 'post' (string expected, got number)"),
    ("seat:post('s', 'e', '', { key = 1 })", "bad argument #4 to 'post' (option 'key' must be a string)"),
    ("seat:post('s', 'e', '', { ttl = 0/0 })", "option 'ttl' must be a number of seconds"),
    ("seat:next('x')", "bad argument #1 to 'next' (number expected, got string)"),
    ("seat:next(-1)", "bad argument #1 to 'next' (a number of seconds that is not negative expected)"),
    ("seat:wait()", "bad argument #1 to 'wait' (number expected, got no value)"),
    ("seat:claim('k')", "bad argument #2 to 'claim' (number expected, got no value)"),
    ("seat:claim('k', 0)", "bad argument #2 to 'claim' (a number of seconds greater than zero expected)"),
    ("seat:claim_for_life('k', 0)", "bad argument #2 to 'claim_for_life' (a number of seconds greater than zero expected)"),
    ("seat:renew(1, 1)", "bad argument #1 to 'renew' (a claim expected)"),
    ("seat:complete(1, 1)", "bad argument #1 to 'complete' (a claim expected)"),
    ("seat:claim_left(1)", "bad argument #1 to 'claim_left' (a claim expected)"),
    ("seat:release(1)", "bad argument #1 to 'release' (a claim expected)"),
    ("seat:commit(-1, 's', 'e')", "bad argument #1 to 'commit' (an id expected)"),
    ("seat:abandon(0.5)", "bad argument #1 to 'abandon' (an id expected)"),
    ("seat:only { 's' }", "bad argument #1 to 'only' (an array of { source, event } expected)"),
    ("seat:only_sources { 1 }", "bad argument #1 to 'only_sources' (an array of strings expected)"),
    ("seqcast.inspect()", "bad argument #1 to 'inspect' (string expected, got no value)"),
])
def test_arguments_of_a_wrong_type_are_lua_errors(lua, code, message):
    with pytest.raises(LuaError) as caught:
        # Not a tail call, because the error would lose its line.
        lua(f"local result = {code} return result")
    assert message in str(caught.value)
    assert str(caught.value).startswith("test:"), "the error is at the line of the call"


@pytest.mark.parametrize("code, error", [
    ("seqcast.open('')", "name"), ("seqcast.create(('x'):rep(300))", "name"),
    ("seqcast.create('x', { capacity = 7 })", "option"), ("seat:post('', 'e')", "topic"),
    ("seat:post('s', ('x'):rep(256))", "topic"), ("seat:post('seqcast', 'e')", "library_source"),
    ("seat:post('s', 'e', ('x'):rep(100000))", "payload_too_large"), ("seat:post('\\255', 'e')", None),
    ("seat:post('s', 'e', '', { key = '' })", "option"), ("bus:subscribe { start = { resume = 'nonsense' } }", None),
    ("seqcast.inspect('no-such-segment')", "not_found"), ("seqcast.unlink('no-such-segment')", "not_found"),
])
def test_what_the_library_refuses(lua, code, error):
    none, message, found = lua(f"return {code}")
    assert none is None and len(message) > 10
    assert error is None or found == error


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a segment away")
def test_used_in_the_master_and_in_a_worker(nginx):
    """A bus may be opened in init_by_lua. A seat that was taken there returns an error in the worker."""
    entry = pwd.getpwnam("nobody")
    ng = nginx(workers=2, user="nobody nogroup", init=f"""
        local seqcast = require "resty.seqcast"
        local owner = {{ uid = {entry.pw_uid}, gid = {entry.pw_gid} }}
        shared_bus = assert(seqcast.anonymous {{ capacity = 64, owner = owner }})
        masters_seat = assert(shared_bus:subscribe {{ silent = true }})
    """, init_worker="seat = assert(shared_bus:subscribe { silent = true })")
    a, b = ng.workers()
    none, _, code = a.run("return masters_seat:post('s', 'e')")
    assert (none, code) == (None, "forked")
    assert a.run("return seat:post('s', 'e', 'x')") == 0
    for worker in (a, b):
        assert worker.run("return seat:next().payload") == "x"
    ng.reload()
    a, b = ng.workers()
    a.run("return seat:post('s', 'e', 'y')")
    assert b.run("return seat:next().payload") == "y"


JUNK = """
    math.randomseed(args[1])
    local ffi = require "ffi"
    local seqcast = require "resty.seqcast"
    local names = { "s", "e", "key", "", ("x"):rep(300), "\\255", "\\0", "seqcast" }
    local options = {
        "capacity", "seats", "mode", "label", "key", "ttl", "start", "shm", "interval", "timeout", "wait_max",
        "wait_interval", "segment", "owner", "silent", "type_tag", "payloads", "at", "resume",
    }
    local function any(depth)
        local kind = math.random(16)
        if kind == 1 then return nil
        elseif kind == 2 then return true
        elseif kind == 3 then return false
        elseif kind == 4 then return math.random(-3, 3)
        elseif kind == 5 then return ({ 0/0, 1/0, -1/0, 2^53, 2^63, 2^64, -2^63, 0.5, 1e308 })[math.random(9)]
        elseif kind == 6 then return function() end
        elseif kind == 7 then return ffi.new("uint64_t", -1)
        elseif kind == 8 then return ffi.cast("void *", 0)
        elseif kind == 9 then return ffi.new("seqcast_claim")
        elseif kind == 10 then return coroutine.create(function() end)
        elseif kind == 11 then return cjson.null
        elseif kind < 14 and depth < 3 then
            local t = {}
            for _ = 1, math.random(0, 3) do
                local key = any(depth + 1)
                if key ~= nil and key == key then t[key] = any(depth + 1) end
            end
            for _ = 1, math.random(0, 2) do
                t[options[math.random(#options)]] = any(depth + 1)
            end
            return t
        else return names[math.random(#names)] end
    end
    local results = {}
    local function try(f, ...)
        local ok, first, second = pcall(f, ...)
        if not ok then results.errors = (results.errors or 0) + 1
        elseif first == nil and second ~= nil then results.refused = (results.refused or 0) + 1
        else results.fine = (results.fine or 0) + 1 end
    end
"""


def test_junk_for_resty_seqcast(lua):
    """Calls every method with arguments of all kinds. Each call returns a result or an error, or raises a Lua error.
    The worker never ends."""
    pid = lua.worker.pid
    for seed in range(8):
        results = lua(JUNK.replace("args[1]", str(seed)) + """
            local objects = { bus, seat, bus:publisher() }
            local skipped = {}
            for _, name in ipairs { "wait", "next", "unlink", "unlink_if_last", "free", "leave" } do
                skipped[name] = true
            end
            for _ = 1, 3000 do
                local object = objects[math.random(3)]
                local class = getmetatable(object)
                local methods = {}
                for name, method in pairs(class) do
                    if type(method) == "function" and not skipped[name] then
                        methods[#methods + 1] = method
                    end
                end
                local self = math.random(10) == 1 and any(0) or object
                try(methods[math.random(#methods)], self, any(0), any(0), any(0), any(0), any(0))
            end
            for _ = 1, 300 do
                try(seqcast.open, any(0), any(0))
                try(seqcast.inspect, any(0))
                try(seqcast.anonymous, { capacity = any(0) })
            end
            return results""")
        assert results["errors"] > 100 and results["refused"] > 10 and results["fine"] > 10
    assert alive(pid) and lua.worker.pid == pid


def test_junk_for_resty_worker_events(nginx):
    ng = nginx(options="{ interval = 0 }", allowed=["worker-events: "])
    worker, = ng.workers()
    for seed in range(8):
        worker.run(JUNK.replace("args[1]", str(seed)) + """
            local calls = { ev.post, ev.post, ev.post_local, ev.register, ev.register_weak, ev.unregister,
                            ev.event_list, ev.configure }
            for i = 1, 2000 do
                try(calls[math.random(#calls)], any(0), any(0), any(0), any(0), any(0))
                if i % 50 == 0 then try(ev.poll) tap.take() end
            end
            ev.configure { interval = 0, wait_max = 0.5, timeout = 2 }
            return results""")
    worker.run("tap.take() ev.poll() tap.take() ev.post('s', 'good', 1)")
    assert ("s", "good", 1) in worker.polled()
    ng.stop()
    assert "exited on signal" not in ng.log()
