"""resty.seqcast: retained events."""

import os

import pytest

from nginx import LuaError

pytestmark = pytest.mark.differs

OPEN = """
    local seqcast = require "resty.seqcast"
    local options = { capacity = 64, block_size = 96, claims = 16, seats = 8, retained = 4, retained_size = 256 }
    local bus = assert(seqcast.anonymous(options))
    local function subscribe(options)
        options = options or {}
        options.silent = true
        return assert(bus:subscribe(options))
    end
    local function kinds(seat)
        local all = {}
        while true do
            local it = seat:next()
            if not it then return table.concat(all, " ") end
            all[#all + 1] = it.kind .. (it.retained_key and "(" .. it.retained_key .. ")" or "")
                            .. (it.handed_over and "!" or "")
        end
    end
    local seat = subscribe()
"""


@pytest.fixture
def lua(nginx):
    """Returns a function that runs code with a bus and a seat."""
    worker, = nginx(init_worker="").workers()

    def run(code, *args):
        return worker.run(OPEN + code, *args)

    run.worker = worker
    return run


def test_the_last_event_of_each_key_is_found(lua):
    found, topic, *rest = lua("""
        local none = seat:get("s", "e")
        assert(seat:post("s", "e", "topic", { retain = true }))
        assert(seat:post("s", "e", "one", { retain = "k" }))
        assert(seat:post("s", "e", "two", { retain = "k", ttl = 3600, type_tag = 7 }))
        assert(seat:post("s", "e", "plain", { retain = false }))
        local found, topic = seat:get("s", "e", "k"), seat:get("s", "e")
        local tag = tostring(found.type_tag)
        found.type_tag = nil
        return found, topic, tag, none, seat:get("s", "e", "other"), seat:get("s", "other")""")
    assert 3000 < found.pop("left") <= 3600
    assert found == {"id": 2, "source": "s", "event": "e", "key": "k", "payload": "two", "pid": lua.worker.pid,
                     "seat": 0}
    assert topic == {"id": 0, "source": "s", "event": "e", "key": "", "payload": "topic", "pid": lua.worker.pid,
                     "seat": 0}
    assert rest == ["7ULL", None, None, None]


def test_an_event_is_gone_after_its_ttl(lua):
    assert lua("""
        assert(seat:post("s", "e", "p", { retain = "k", ttl = 1e-9 }))
        return seat:get("s", "e", "k"), #seat:retained()""") == (None, 0)


def test_keys_and_payloads_are_bytes(lua):
    assert lua("""
        local key, payload = "\\0\\255k", ("\\0\\1\\255"):rep(40)
        assert(seat:post("s", "e", payload, { retain = key }))
        local found, delivery = seat:get("s", "e", key), seat:next()
        return found.key == key, found.payload == payload, delivery.retained_key == key""") == (True, True, True)


def test_deliveries_name_the_key(lua):
    assert lua("""
        seat:post("s", "e", "p", { retain = "k" })
        seat:post("s", "e", "p", { retain = true })
        seat:post("s", "e", "p")
        local one, two, three = seat:next(), seat:next(), seat:next()
        return one.retained_key, two.retained_key, three.retained_key, one.handed_over""") == ("k", "", None, None)


def test_a_clear_removes_it_and_is_delivered(lua):
    cleared, *rest = lua("""
        local other = subscribe()
        assert(seat:post("s", "e", "p", { retain = "k" }))
        assert(seat:post("s", "e", "p", { retain = true }))
        local nothing = seat:clear("s", "e", "other")
        local id, again = seat:clear("s", "e", "k"), seat:clear("s", "e", "k")
        local found, kept = seat:get("s", "e", "k"), seat:get("s", "e").payload
        local topic = seat:clear("s", "e")
        other:next() other:next()
        return other:next(), id, again, nothing, found, kept, topic, kinds(other)""")
    assert cleared == {"kind": "cleared", "id": 2, "source": "s", "event": "e", "retained_key": "k", "own": True,
                       "pid": lua.worker.pid, "seat": 0}
    assert rest == [2, False, False, None, "p", 3, "cleared()"]


def test_lists(lua):
    name = f"lua-retained-{os.getpid()}"
    assert lua("""
        local function texts(events)
            local all = {}
            for i, it in ipairs(events) do all[i] = it.event .. it.key .. it.payload end
            return table.concat(all, " ")
        end
        local bus = assert(seqcast.create(args[1], { unlink_on_free = true }))
        local seat = assert(bus:publisher())
        local none = #seat:retained()
        seat:post("s", "e", "1", { retain = "a" })
        seat:post("s", "f", "2", { retain = "a" })
        seat:post("s", "e", "3", { retain = "a" })
        seat:post("s", "e", "4", { retain = true })
        seat:post("s", "e", "5")
        local inspector = assert(seqcast.inspect(args[1]))
        local both = { texts(seat:retained()), texts(inspector:retained()) }
        inspector:free() seat:free() bus:free()
        return none, both""", name) == (0, ["fa2 ea3 e4"] * 2)


def test_a_late_seat_gets_what_is_retained_first(lua):
    assert lua("""
        seat:post("s", "e", "1", { retain = "a" })
        seat:post("s", "e", "plain")
        seat:post("s", "e", "2", { retain = "b" })
        seat:post("s", "e", "3", { retain = "a" })
        local late, now = subscribe { start = "retained" }, subscribe()
        seat:post("s", "e", "live")
        return kinds(late), kinds(now)""") == ("event(b)! event(a)! up_to_date event", "event")


def test_a_lapped_seat_is_brought_up_to_date(lua):
    assert lua("""
        local resyncs, other = subscribe { resync = true }, subscribe()
        seat:post("s", "e", "1", { retain = "a" })
        seat:post("s", "e", "2", { retain = "b" })
        kinds(resyncs)
        seat:post("s", "e", "3", { retain = "a" })
        seat:clear("s", "e", "b")
        for _ = 1, 200 do seat:post("s", "e") end
        local function first(text, n) return text:match(("%S+ "):rep(n)) end
        return first(kinds(resyncs), 5), first(kinds(other), 2)""") == (
            "lagged event(a)! cleared(b)! up_to_date event ", "lagged event ")


def test_a_segment_without_room_for_retained_events(lua):
    assert lua("""
        local codes = {}
        local function code(result, _, code) codes[#codes + 1] = tostring(result) .. " " .. tostring(code) end
        local bus = assert(seqcast.anonymous { capacity = 64, retained = 0 })
        local seat = assert(bus:subscribe { silent = true })
        code(seat:post("s", "e", "p", { retain = true })) code(seat:get("s", "e")) code(seat:clear("s", "e"))
        code(seat:retained()) code(bus:subscribe { start = "retained" }) code(bus:subscribe { resync = true })
        assert(seat:post("s", "e", "plain"))
        return codes, seat:next().payload, seat:next()""") == (["nil option"] * 6, "plain", None)


def test_a_full_table_refuses_the_post(lua):
    assert lua("""
        for i = 1, 4 do assert(seat:post("s", "e", tostring(i), { retain = "key" .. i })) end
        kinds(seat)
        local none, text, code = seat:post("s", "e", "5", { retain = "key5" })
        local silent = seat:next()
        seat:clear("s", "e", "key1")
        local _, _, large = seat:post("s", "e", ("x"):rep(2000), { retain = "key2" })
        return none, #text > 10, code, silent, seat:post("s", "e", "5", { retain = "key5" }) ~= nil, large,
            seat:get("s", "e", "key2").payload""") == (
                None, True, "retained_full", None, True, "payload_too_large", "2")


@pytest.mark.parametrize("code, error", [
    ("seat:get('', 'e')", "topic"), ("seat:get('s', ('x'):rep(256))", "topic"), ("seat:get('\\255', 'e')", "text"),
    ("seat:get('s', 'e', ('k'):rep(256))", "option"), ("seat:clear('s', 'e', ('k'):rep(256))", "option"),
    ("seat:clear('seqcast', 'e')", "library_source"),
    ("seat:post('s', 'e', '', { retain = ('k'):rep(256) })", "option"),
    ("seat:post('s', 'e', '', { retain = 'k', key = 'k' })", "option"),
    ("seat:commit(assert(seat:reserve()), 's', 'e', '', { retain = 'k' })", "option"),
    ("seqcast.anonymous { retained = 262145 }", "option"), ("seqcast.anonymous { retained_size = 63 }", "option"),
])
def test_what_the_library_refuses(lua, code, error):
    none, message, found = lua(f"return {code}")
    assert none is None and len(message) > 10
    assert found == error


@pytest.mark.parametrize("code, message", [
    ("seat:get()", "bad argument #1 to 'get' (string expected, got no value)"),
    ("seat:get('s', 1)", "bad argument #2 to 'get' (string expected, got number)"),
    ("seat:get('s', 'e', 1)", "bad argument #3 to 'get' (string expected, got number)"),
    ("seat.get()", "bad argument #1 to 'get' (use it as a method: object:get())"),
    ("seat:clear('s')", "bad argument #2 to 'clear' (string expected, got no value)"),
    ("seat:clear('s', 'e', {})", "bad argument #3 to 'clear' (string expected, got table)"),
    ("seat.retained(bus)", "bad argument #1 to 'retained' (use it as a method: object:retained())"),
    ("seat:post('s', 'e', '', { retain = 1 })",
     "bad argument #4 to 'post' (option 'retain' must be a boolean or a key, which is a string)"),
    ("bus:subscribe { resync = 1 }", "option 'resync' must be a boolean"),
    ("bus:subscribe { start = 'never' }", "option 'start' must be \"now\", \"oldest\", \"retained\""),
    ("seqcast.anonymous { retained = -1 }", "option 'retained' must be a whole number"),
    ("seqcast.anonymous { retained = 0/0 }", "option 'retained' must be a whole number"),
    ("seqcast.anonymous { retained_size = 0.5 }", "option 'retained_size' must be a whole number"),
])
def test_arguments_of_a_wrong_type_are_lua_errors(lua, code, message):
    with pytest.raises(LuaError) as caught:
        # Not a tail call, because the error would lose its line.
        lua(f"local result = {code} return result")
    assert message in str(caught.value)
    assert str(caught.value).startswith("test:"), "the error is at the line of the call"


def test_after_free_each_call_is_an_error(lua):
    assert lua("""
        local codes = {}
        local function code(result, _, code) codes[#codes + 1] = tostring(result) .. " " .. tostring(code) end
        seat:free()
        code(seat:get("s", "e")) code(seat:clear("s", "e")) code(seat:retained())
        return codes""") == ["nil handle"] * 3
