"""Caches whose deletions reach all processes."""

import gc
import os
import threading

import pytest

import seqcast
from processes import Child, in_child


def test_it_is_a_dict_of_this_process(bus):
    cache = seqcast.shared_cache("users", bus=bus)
    cache["a"] = 1
    cache.update(b=2, c=3)
    assert (cache["a"], cache.get("b"), cache.get("x"), cache.get("x", 7), len(cache)) == (1, 2, None, 7, 3)
    assert "a" in cache and "x" not in cache and 7 not in cache and sorted(cache) == ["a", "b", "c"]
    assert dict(cache.items()) == {"a": 1, "b": 2, "c": 3} and cache.setdefault("d", 4) == 4
    del cache["a"]
    assert (cache.pop("b"), cache.pop("b", None), "a" in cache) == (2, None, False)
    for missing in (lambda: cache["a"], lambda: cache.pop("a")):
        with pytest.raises(KeyError):
            missing()
    with pytest.raises(TypeError):
        cache[7] = 1
    with pytest.raises(seqcast.OptionError):
        seqcast.shared_cache("x" * 300, bus=bus).clear()
    cache.clear()
    assert not cache


def test_deletions_reach_all_processes(bus):
    cache, elsewhere = seqcast.shared_cache("users", bus=bus), seqcast.shared_cache("others", bus=bus)
    parent = [os.pipe(), os.pipe()]

    def child():
        (ask, _), (_, answer) = parent
        for _ in range(4):
            os.read(ask, 1)
            found = repr(sorted(cache)).encode()
            cache.update(a=1, b=2)
            os.write(answer, found)
        return sorted(elsewhere)

    elsewhere["kept"] = 1
    cache.update(a=1, b=2)
    child = Child(child)
    (_, ask), (answer, _) = parent

    def asked():
        os.write(ask, b"x")
        return os.read(answer, 100)

    assert asked() == b"['a', 'b']", "what was there at the fork is there"
    del cache["a"]
    assert asked() == b"['b']"
    cache.invalidate("b")
    assert asked() == b"['a']"
    cache.clear()
    assert asked() == b"[]"
    assert child.result() == ["kept"]
    for pipe in parent:
        for fd in pipe:
            os.close(fd)


def test_a_child_keeps_no_entry_that_was_deleted_around_the_fork(bus):
    cache = seqcast.shared_cache("users", bus=bus)
    cache.update(a=1, b=2)
    with seqcast.Publisher(bus) as other:
        # This process has not read it before the fork.
        other.post("cache/users", "delete", "a")
        read, write = os.pipe()

        def child():
            os.read(read, 1)
            return sorted(cache)

        child = Child(child)
        other.post("cache/users", "delete", "b")
        os.write(write, b"x")
        assert child.result() == []
    os.close(read)
    os.close(write)
    assert sorted(cache) == []


def test_a_value_that_was_deleted_while_it_was_loaded_is_not_kept(bus):
    cache = seqcast.shared_cache("users", bus=bus)
    with seqcast.Publisher(bus) as other:
        for message in (("delete", "a"), ("clear", "")):

            def load(message=message):
                other.post("cache/users", *message)
                # Also if another read in this process handles the deletion meanwhile.
                assert "a" not in cache
                return "old"

            assert cache.get_or_load("a", load) == "old"
            assert "a" not in cache
        other.post("cache/users", "delete", "b")
        assert cache.get_or_load("a", lambda: "new") == "new" and cache["a"] == "new"
    with pytest.raises(ZeroDivisionError):
        cache.get_or_load("z", lambda: 1 / 0)
    assert cache._loads == {}


def test_an_own_deletion_deletes_nothing_that_is_stored_after_it(bus):
    cache = seqcast.shared_cache("users", bus=bus)
    cache["a"] = 1
    del cache["a"]
    cache["a"] = 2
    assert cache["a"] == 2


def test_g4_a_process_that_lags_begins_with_an_empty_cache():
    with seqcast.Bus.anonymous(capacity=8) as bus:
        cache = seqcast.shared_cache("users", bus=bus)
        cache.update(a=1, b=2)
        with seqcast.Publisher(bus) as other:
            for number in range(8):
                other.post("s", "e")
            assert len(cache) == 2
            other.post("cache/users", "delete", "a")
            for number in range(20):
                other.post("s", "e")
            assert len(cache) == 0


def test_sizes_and_times(bus, monkeypatch):
    cache = seqcast.shared_cache("users", bus=bus, maxsize=2, ttl=10)
    now = 0.0
    monkeypatch.setattr("seqcast._cache.time.monotonic", lambda: now)
    cache.update(a=1, b=2)
    assert cache["a"] == 1
    cache["c"] = 3
    assert sorted(cache) == ["a", "c"], "the one that was used last is kept"
    now = 9.0
    cache["c"] = 3
    now = 10.0
    assert "a" not in cache and cache["c"] == 3
    for bad in ({"maxsize": 0}, {"ttl": 0}, {"ttl": float("nan")}):
        with pytest.raises(ValueError):
            seqcast.shared_cache("users", bus=bus, **bad)


def test_caches_of_a_bus_share_a_seat_and_go(bus):
    caches = [seqcast.shared_cache(f"c{number}", bus=bus) for number in range(10)]
    for cache in caches:
        cache["a"] = 1
    assert len(bus.stats()["workers"]) == 1
    del caches, cache
    gc.collect()
    assert not bus._reader.caches and not bus._reader._handlers


def test_g1_a_read_after_a_deletion_finds_no_older_value_in_any_thread(bus):
    cache = seqcast.shared_cache("numbers", bus=bus)
    current = deleted = 0
    stale = []
    stop = threading.Event()

    def read():
        while not stop.is_set():
            at_least = deleted
            if cache.get_or_load("n", lambda: current) < at_least:
                stale.append(at_least)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    with seqcast.Publisher(bus) as other:
        for number in range(1, 300):
            current = number
            if number % 2:
                cache.invalidate("n")
            else:
                # Like another process.
                other.post("cache/numbers", "delete", "n")
            deleted = number
    stop.set()
    for thread in threads:
        thread.join()
    assert stale == []
    assert cache.get_or_load("n", lambda: current) == 299
    assert all(in_child(lambda: cache.get("n", 299)) == 299 for _ in range(3))
