"""resty.seqcast: seats that posts wait for, posts that do not wait, other hosts, and claims."""

import os

import pytest

from nginx import LuaError

pytestmark = pytest.mark.differs

OPEN = """
    local seqcast = require "resty.seqcast"
    local function ring(options)
        options = options or {}
        options.capacity, options.block_size, options.claims, options.seats = 8, 96, 64, 8
        return assert(seqcast.anonymous(options))
    end
    local bus = ring()
    local function must_read(bus, seconds)
        return assert(bus:subscribe { silent = true, label = "state", wait_interval = 0.001, wait_max = 0.002,
                                      must_read = seconds })
    end
    local poster = assert(bus:publisher())
    local function fill() while poster:try_post("s", "e", "p") do end end
"""


@pytest.fixture
def lua(nginx):
    """Returns a function that runs code with a bus of 8 events and a seat that posts."""
    worker, = nginx(init_worker="").workers()

    def run(code, *args):
        return worker.run(OPEN + code, *args)

    run.worker = worker
    return run


def test_g17_a_post_that_does_not_wait_says_which_seat_has_no_room(lua):
    ids, none, why, who, before, retained, reserved, after, read, posted = lua("""
        local slow = must_read(bus, 0.5)
        local results = {}
        for i = 1, 8 do results[i] = poster:try_post("s", "e", "p", { type_tag = i }) end
        local none, why, who = poster:try_post("s", "e", "p")
        return results, none, why, who, bus:next_id(), (poster:try_post("s", "e", "p", { retain = true })),
            (poster:try_reserve()), bus:next_id(), slow:next().id, poster:try_post("s", "e")""")
    assert ids == list(range(8)) and (none, why) == (None, "full")
    assert who == {"seat": 1, "pid": lua.worker.pid, "label": "state", "lag": 8, "patience": 0.5, "own": False}
    assert (before, retained, reserved, after) == (8, None, None, 8)
    assert (read, posted) == (0, 8)


def test_g17_a_clear_that_does_not_wait(lua):
    assert lua("""
        local slow = must_read(bus, 0.5)
        assert(poster:post("s", "e", "1", { retain = "k" }))
        fill()
        local none, why, who = poster:try_clear("s", "e", "k")
        while slow:next() do end
        return none, why, who.lag, poster:get("s", "e", "k").payload, poster:try_clear("s", "e", "k"),
            poster:try_clear("s", "e", "k")""") == (None, "full", 8, "1", 8, False)


def test_g18_a_seat_that_must_read_never_waits(lua):
    none, text, code, other, own, posted = lua("""
        local seat = must_read(bus, 0.5)
        fill()
        local none, text, code = seat:post("s", "e")
        local _, other, who = seat:try_post("s", "e")
        seat:next()
        return none, text, code, other, who.own, seat:post("s", "e")""")
    assert (none, code, other, own, posted) == (None, "full", "full", True, 8)
    assert "poll before it posts more" in text


def test_g16_a_seat_that_was_cut_off_is_told_so(lua):
    assert lua("""
        local slow, lax = must_read(bus, 0.003), assert(bus:subscribe { silent = true })
        for _ = 1, 20 do assert(poster:post("s", "e", "p")) end
        local first, second = slow:next(), lax:next()
        while slow:next() do end
        local posted = 0
        while poster:try_post("s", "e") do posted = posted + 1 end
        return first.kind, first.missed >= 12, first.cut_off, second.kind, second.cut_off, posted""") == (
            "lagged", True, True, "lagged", None, 8)


def test_a_segment_says_how_long_posts_may_wait(lua):
    assert lua("""
        local codes = {}
        local function code(result, _, code) codes[#codes + 1] = result and "ok" or code end
        local function try(bus, seconds)
            code(bus:subscribe { silent = true, wait_interval = 0.001, wait_max = 0.002, must_read = seconds })
        end
        local none, some = ring { most_patience = 0 }, ring { most_patience = 0.005 }
        try(none, 0.005) try(none, 0) try(some, 0.005) try(some, 0.006) try(some, 0.001) try(bus, 1)
        return codes, none:stats().most_patience_ns, some:stats().most_patience_ns, bus:stats().most_patience_ns""") == (
            ["option", "ok", "ok", "option", "option", "ok"], 0, 5_000_000, 1_000_000_000)


def test_posts_for_all_hosts_need_a_relay(lua):
    assert lua("""
        local codes = {}
        local function code(result, _, code) codes[#codes + 1] = result or code end
        code(poster:post("s", "e", "p", { cluster = true }))
        code(poster:try_post("s", "e", "p", { cluster = true, key = "k" }))
        code(poster:clear_cluster("s", "e", "k"))
        code(poster:post("s", "e", "p", { cluster = false }))
        local reader = assert(bus:subscribe { silent = true, start = "oldest" })
        local delivery = reader:next()
        return codes, delivery.origin, delivery.cluster_n, #bus:origin(), bus:id():sub(1, 16) == bus:origin()""") == (
            ["no_relay", "no_relay", "no_relay", 0], None, None, 16, True)


def test_origins_are_texts(lua):
    assert lua("""
        local origin_text = require("resty.seqcast.delivery").origin_text
        return origin_text(0ULL), origin_text(0xfedcba9876543210ULL), origin_text(0xffffffffULL)""") == (
            "0" * 16, "fedcba9876543210", "00000000ffffffff")


def test_held_keys_and_the_list_of_claims(lua):
    name = f"lua-claims-{os.getpid()}"
    free, held, same, left, entry, kinds, released, count = lua("""
        local made = assert(seqcast.create(args[1], { capacity = 64, claims = 64, unlink_on_free = true }))
        local seat = assert(made:subscribe { silent = true, label = "web" })
        local inspector = assert(seqcast.inspect(args[1]))
        local empty = #inspector:claims()
        local claim = assert(seat:claim_for_life("mail", 3600))
        seat:post("s", "e", "", { key = "mail", ttl = 60 })
        seat:next()
        local free, held = made:held("other"), made:held("mail")
        local kinds, entry = {}
        for _, it in ipairs(inspector:claims()) do
            kinds[it.kind] = (kinds[it.kind] or 0) + 1
            if it.key_hash == made:key_hash("mail") then entry = it end
        end
        local claim, left = entry.claim, entry.left
        entry.claim, entry.left, entry.since = nil, nil, nil
        held.left, held.since = nil, nil
        local released = seat:release(claim)
        local results = { free == nil, held, made:key_hash("mail") == made:key_hash("other"), left, entry, kinds, released,
                          empty }
        inspector:free() seat:free() made:free()
        return unpack(results)""", name)
    common = {"seat": 0, "pid": lua.worker.pid, "label": "web", "winner": "alive", "ends_with_holder": True}
    assert free is True and held == common and not same and 3500 < left <= 3600
    assert len(entry.pop("key_hash")) == 32 and entry == {**common, "kind": "alone"}
    assert kinds == {"alone": 1, "event": 1} and released is True and count == 0


def test_a_tail_names_the_key_of_a_retained_event(lua):
    name = f"lua-tail-{os.getpid()}"
    assert lua("""
        local made = assert(seqcast.create(args[1], { unlink_on_free = true }))
        local seat, inspector = assert(made:publisher()), assert(seqcast.inspect(args[1]))
        local tail = assert(inspector:tail { start = "oldest" })
        seat:post("s", "e", "p", { retain = "k", ttl = 60 })
        seat:post("s", "e", "p", { key = "unique", ttl = 30 })
        seat:clear("s", "e", "k")
        seat:post("s", "e", "p")
        local all = {}
        for i = 1, 4 do
            local it = tail:next()
            all[i] = { it.retained_key or "none", tostring(it.clears), it.ttl or 0, it.unique, it.request or false }
        end
        inspector:free() seat:free() made:free()
        return all""", name) == [
            ["k", "false", 60, False, False], ["none", "nil", 30, True, False], ["k", "true", 0, False, False],
            ["none", "nil", 0, False, False]]


@pytest.mark.parametrize("code, message", [
    ("bus:subscribe { must_read = -1 }", "option 'must_read' must be a number of seconds, and not negative"),
    ("bus:subscribe { must_read = '1' }", "option 'must_read' must be a number of seconds"),
    ("seqcast.anonymous { most_patience = 0/0 }", "option 'most_patience' must be a number of seconds"),
    ("seqcast.anonymous { relay_hosts = -1 }", "option 'relay_hosts' must be a whole number"),
    ("poster:post('s', 'e', '', { cluster = 1 })", "option 'cluster' must be a boolean"),
    ("poster:try_post('s')", "bad argument #2 to 'try_post' (string expected, got no value)"),
    ("poster:try_post('s', 'e', '', 1)", "bad argument #4 to 'try_post' (table of options expected, got number)"),
    ("poster.try_post()", "bad argument #1 to 'try_post' (use it as a method: object:try_post())"),
    ("poster:try_clear('s', 'e', 1)", "bad argument #3 to 'try_clear' (string expected, got number)"),
    ("poster:clear_cluster()", "bad argument #1 to 'clear_cluster' (string expected, got no value)"),
    ("poster.try_reserve(bus)", "bad argument #1 to 'try_reserve' (use it as a method: object:try_reserve())"),
    ("bus:held()", "bad argument #1 to 'held' (string expected, got no value)"),
    ("bus:key_hash(1)", "bad argument #1 to 'key_hash' (string expected, got number)"),
    ("bus.origin(poster)", "bad argument #1 to 'origin' (use it as a method: object:origin())"),
])
def test_arguments_of_a_wrong_type_are_lua_errors(lua, code, message):
    with pytest.raises(LuaError) as caught:
        # Not a tail call, because the error would lose its line.
        lua(f"local result = {code} return result")
    assert message in str(caught.value)
    assert str(caught.value).startswith("test:"), "the error is at the line of the call"


@pytest.mark.parametrize("code, error", [
    ("seqcast.anonymous { relay_hosts = 65537 }", "option"), ("seqcast.anonymous { most_patience = 3601 }", "option"),
    ("bus:key_hash('')", "option"), ("bus:held('')", "option"), ("poster:try_post('', 'e')", "topic"),
    ("poster:commit(assert(poster:reserve()), 's', 'e', '', { cluster = true })", "option"),
])
def test_what_the_library_refuses(lua, code, error):
    none, message, found = lua(f"return {code}")
    assert none is None and len(message) > 10
    assert found == error


def test_after_free_each_call_is_an_error(lua):
    assert lua("""
        local codes = {}
        local function code(result, _, code) codes[#codes + 1] = tostring(result) .. " " .. tostring(code) end
        poster:free()
        code(poster:try_post("s", "e")) code(poster:try_clear("s", "e")) code(poster:try_reserve())
        code(poster:clear_cluster("s", "e"))
        bus:free()
        code(bus:origin()) code(bus:held("k")) code(bus:key_hash("k"))
        return codes""") == ["nil handle"] * 7
