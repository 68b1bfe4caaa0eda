"""Workers: posts, handlers, their order and their failures, codecs, bad input."""

import gc
import sys
import threading
import weakref

import pytest

import seqcast
from processes import run_python


@pytest.fixture
def unraisable(monkeypatch):
    """Returns the exceptions that sys.unraisablehook got."""
    found = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: found.append((type(args.exc_value), args.object)))
    return found


def seen_by(worker, *scope):
    seen = []
    worker.on(*scope)(seen.append)
    return seen


def test_g1_all_workers_get_all_events_in_one_order(worker, other):
    seen, also = seen_by(worker), seen_by(other)
    ids = [post("s", f"e{number}", str(number)) for number in range(10) for post in (worker.post, other.post)]
    assert ids == list(range(20))
    assert (worker.poll(), other.poll()) == (20, 20)
    assert [event.id for event in seen] == [event.id for event in also] == ids
    first = seen[0]
    assert (first.source, first.event, first.data, first.topic) == ("s", "e0", b"0", ("s", "e0"))
    assert first.is_own and not first.is_local and first.type_tag == 0 and first.claim is None
    assert first.seat == worker.seat


def test_payloads(worker):
    seen = seen_by(worker)
    for data in (b"\0\xff", "é", bytearray(b"abc"), memoryview(b"abcd")[::2], b""):
        worker.post("s", "e", data)
    worker.post("s", "e")
    worker.post("s", "e", {"id": 1, "name": "é"}, codec=seqcast.JSON)
    worker.post("s", "e", b"\x18", type_tag=2**64 - 1)
    large = bytes(range(256)) * 2000
    worker.post("s", "e", large)
    worker.poll()
    assert [event.data for event in seen[:6]] == [b"\0\xff", "é".encode(), b"abc", b"ac", b"", b""]
    assert seen[6].json() == {"id": 1, "name": "é"} and b" " not in seen[6].data
    assert seen[7].type_tag == 2**64 - 1
    assert seen[8].data == large


def test_codecs(bus):
    class Upper:
        def encode(self, value):
            return value.upper()

        def decode(self, data):
            return data.decode().lower()

    with seqcast.Worker(bus, codec=seqcast.JSON, announce=False) as worker:
        seen = seen_by(worker)
        worker.post("s", "e", "text")
        worker.post("s", "e", "text", codec=Upper())
        worker.post_unique("s", "e", [1, None], key="k")
        worker.poll()
        assert [event.data for event in seen] == [b'"text"', b"TEXT", b"[1,null]"]
        assert seen[0].json() == "text" and seen[1].decode(Upper()) == "text" and seen[1].text() == "TEXT"
        next_id = bus.next_id
        for bad in (float("nan"), {1, 2}, object()):
            with pytest.raises((TypeError, ValueError)):
                worker.post("s", "e", bad)
        with pytest.raises(TypeError):
            worker.post("s", "e", 7, codec=seqcast.TEXT)
        assert bus.next_id == next_id


def test_g10_a_payload_that_is_no_value_is_an_error_without_the_payload(worker):
    seen = seen_by(worker)
    worker.post("s", "e", b"secret\xff{")
    worker.poll()
    for decode in (seen[0].json, seen[0].text):
        with pytest.raises(seqcast.DecodeError) as caught:
            decode()
        assert "secret" not in repr(caught.value) and "event 0 (s/e)" in str(caught.value)
        assert caught.value.__cause__ is None and caught.value.__suppress_context__
    assert "secret" not in repr(seen[0])


def test_g5_bad_input_posts_nothing(worker, bus):
    for arguments, kind in [
        (("", "e"), seqcast.OptionError),
        (("s", "x" * 256), seqcast.OptionError),
        (("seqcast", "e"), seqcast.OptionError),
        (("s", "\udc80"), UnicodeEncodeError),
        ((7, "e"), TypeError),
        (("s", None), TypeError),
        (("s", "e", 7), TypeError),
        (("s", "e", {"a": 1}), TypeError),
        (("s", "e", "\udc80"), UnicodeEncodeError),
        (("s", "e", bytes(10_000_000)), seqcast.TooLargeError),
    ]:
        with pytest.raises(kind):
            worker.post(*arguments)
    for options, kind in [
        ({"key": ""}, ValueError),
        ({"key": 7}, TypeError),
        ({"ttl": 1}, TypeError),
        ({"key": "k", "ttl": 0}, ValueError),
        ({"key": "k", "ttl": -1}, ValueError),
        ({"key": "k", "ttl": float("nan")}, ValueError),
        ({"key": "k", "ttl": float("inf")}, ValueError),
        ({"key": "k", "ttl": "1"}, TypeError),
        ({"type_tag": -1}, OverflowError),
        ({"type_tag": 2**64}, OverflowError),
    ]:
        with pytest.raises(kind):
            worker.post("s", "e", **options)
    assert bus.next_id == 0
    with pytest.raises(TypeError, match="pass a codec such as seqcast.JSON"):
        worker.post("s", "e", {"a": 1})


def test_handlers_run_by_their_scope_and_then_in_order(worker):
    ran = []
    scopes = {"event": ("s", "e"), "source": ("s",), "all": (), "two": ("s", "e", "f"), "other": ("t",)}
    for name, scope in scopes.items():
        worker.on(*scope)(lambda event, name=name: ran.append(name))
    worker.post("s", "e")
    worker.post("s", "g")
    worker.poll()
    assert ran == ["all", "source", "event", "two", "all", "source"]


def test_handlers_can_be_changed_while_they_run(worker):
    ran = []

    def last(event):
        ran.append("last")

    @worker.on("s", "e")
    def first(event):
        ran.append("first")
        worker.unregister(last)
        worker.on("s", "e")(lambda event: ran.append("new"))

    worker.on("s", "e")(last)
    worker.post("s", "e")
    worker.poll()
    assert ran == ["first"], "what was unregistered does not run"
    assert worker.unregister(first) and not worker.unregister(first)
    worker.post("s", "e")
    worker.poll()
    assert ran == ["first", "new"]


def test_bad_handlers(worker):
    with pytest.raises(TypeError, match=r"@worker.on\(\)"):

        @worker.on
        def handler(event):
            pass

    with pytest.raises(TypeError):
        worker.on("s")(7)
    with pytest.raises(TypeError):
        worker.on(None, "e")
    with pytest.raises(TypeError, match="seqcast.aio"):

        @worker.on("s")
        async def coroutine(event):
            pass

    worker.on("")(print)
    with pytest.raises(seqcast.OptionError):
        worker.poll()


def test_what_handlers_post_comes_in_the_same_poll(worker):
    seen = seen_by(worker)
    worker.on("s", "first")(lambda event: worker.post("s", "second"))
    worker.post("s", "first")
    assert worker.poll() == 2
    assert [event.event for event in seen] == ["first", "second"]
    worker.post("s", "e")
    worker.post("s", "e")
    assert (worker.poll(1), worker.poll(0), worker.poll(5)) == (1, 0, 1)


def test_a_poll_inside_of_a_poll_does_nothing(worker):
    inner = []
    worker.on()(lambda event: inner.append(worker.poll()))
    worker.post("s", "e")
    worker.post("s", "e")
    assert worker.poll() == 2 and inner == [0, 0]


def test_an_exception_goes_to_the_hook_and_the_others_run(worker, unraisable):
    ran = []

    @worker.on("s")
    def bad(event):
        raise ValueError("bad")

    worker.on("s", "e")(ran.append)
    worker.post("s", "e")
    worker.post("s", "e")
    assert worker.poll() == 2
    assert len(ran) == 2 and unraisable == [(ValueError, bad)] * 2


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interrupt_ends_a_poll_at_its_event_and_loses_nothing(worker, kind):
    ran = []
    worker.on()(lambda event: ran.append(("before", event.id)))

    @worker.on("s")
    def interrupt(event):
        ran.append(("interrupt", event.id))
        if event.id == 1:
            raise kind

    worker.on("s", "e")(lambda event: ran.append(("after", event.id)))
    for _ in range(3):
        worker.post("s", "e")
    with pytest.raises(kind):
        worker.poll()
    assert ran == [(name, 0) for name in ("before", "interrupt", "after")] + [("before", 1), ("interrupt", 1)]
    del ran[:]
    assert worker.poll() == 1
    assert ran == [("after", 1)] + [(name, 2) for name in ("before", "interrupt", "after")]


def test_ctrl_c_ends_a_poll_that_does_not_end_by_itself():
    run = run_python(
        """
import os, signal, threading, seqcast
signal.signal(signal.SIGINT, signal.default_int_handler)
bus = seqcast.Bus.anonymous()
worker = seqcast.Worker(bus)
count = 0
@worker.on("s")
def again(event):
    global count
    count += 1
    worker.post("s", "e")
    if count == 1000:
        threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT)).start()
worker.post("s", "e")
try:
    worker.poll()
except KeyboardInterrupt:
    print("interrupted")
""",
    )
    assert run.stdout == "interrupted\n"


def test_weak_handlers_go_with_their_objects(worker):
    class Cache:
        def __init__(self):
            self.seen = 0

        def forget(self, event):
            self.seen += 1

    cache = Cache()
    worker.on("cache", "stale", weak=True)(cache.forget)

    def function(event):
        function.seen = True

    worker.on("cache", weak=True)(function)
    worker.post("cache", "stale")
    assert worker.poll() == 1 and cache.seen == 1 and function.seen
    del cache, function
    gc.collect()
    worker.post("cache", "stale")
    assert worker.poll() == 0, "no handler wants it"
    assert not worker._handlers


def test_no_cycle_leads_through_rust(bus):
    class Server:
        def __init__(self):
            self.worker = seqcast.Worker(bus, announce=False)
            self.worker.on("s")(self.handle)
            self.worker.on_notice(self.handle)
            self.worker.post_local("s", "e", self)
            self.events = []

        def handle(self, event):
            self.events.append(event)
            if len(self.events) == 2:
                raise KeyboardInterrupt

    for _ in range(200):  # more than there are seats
        server = Server()
        server.worker.on("s")(lambda event, server=server: None)
        server.worker.poll()
        server.worker.post("s", "e")
        with pytest.raises(KeyboardInterrupt):
            server.worker.poll()
        server.worker.fileno()
        gone = weakref.ref(server)
        del server
        gc.collect()
        assert gone() is None
    assert bus.stats()["workers"] == []


def test_local_events_carry_objects(worker, other):
    seen, elsewhere = seen_by(worker), seen_by(other)
    value = object()
    worker.post("s", "e")
    worker.post_local("s", "local", value)
    worker.post_local("s", "nothing")
    assert worker.poll() == 3
    assert [event.event for event in seen] == ["local", "nothing", "e"], "local events come first"
    assert seen[0].value is value and seen[0].json() is value and seen[0].is_local and seen[0].id is None
    assert isinstance(seen[0], seqcast.LocalEvent) and isinstance(seen[0], seqcast.Event) and seen[1].value is None
    assert other.poll() == 1 and len(elsewhere) == 1


def test_g9_a_unique_event_runs_in_one_worker(worker, other):
    seen = seen_by(worker, "s", "e") + seen_by(other, "s", "e")
    ran = []
    worker.on("s", "e")(ran.append)
    other.on("s", "e")(ran.append)
    worker.post_unique("s", "e", key="key", ttl=60)
    worker.post_unique("s", "e", key="key", ttl=60)
    worker.post("s", "e", key=b"other", ttl=60)
    assert other.poll() + worker.poll() == 2
    assert len(ran) == 2 and not seen
    assert worker.release(ran[0].claim) and not worker.release(ran[0].claim)


def test_g9_unique_events_that_no_handler_wants_are_left_to_others(worker, other):
    ran = []
    worker.on("mine")(ran.append)
    worker.on("s", "mine")(ran.append)
    other.on("s", "e")(ran.append)
    worker.post_unique("s", "e", key="key", ttl=60)
    assert worker.poll() == 0
    assert other.poll() == 1


def test_g4_a_lagging_worker_is_told_how_many_it_missed(caplog):
    with seqcast.Bus.anonymous(capacity=8) as bus, seqcast.Worker(bus, announce=False) as worker:
        seen = seen_by(worker)
        for number in range(20):
            worker.post("s", "e", str(number))
        polled = worker.poll()
        assert [event.id for event in seen] == list(range(20 - polled, 20))
        assert f"missed {20 - polled} events from id 0 on" in caplog.text
        caplog.clear()
        notices = []

        @worker.on_notice
        def notice(notice):
            notices.append(notice)

        for number in range(20):
            worker.post("s", "e", str(number))
        polled = worker.poll()
        assert notices == [seqcast.Lagged(20, 20 - polled)] and caplog.text == ""


def test_reading_without_handlers(worker, other):
    assert worker.next() is None and worker.next(0.001) is None
    ids = [other.post("s", f"e{number}") for number in range(3)]
    worker.post_local("s", "local")
    assert [event.id for event in worker.events(timeout=0)] == [None, *ids]
    worker.only("t", ("s", "e1"))
    for topic in [("s", "e0"), ("s", "e1"), ("t", "any")]:
        other.post(*topic)
    assert [event.topic for event in worker.events(timeout=0.001)] == [("s", "e1"), ("t", "any")]
    worker.on("s")(print)
    with pytest.raises(TypeError, match="handlers"):
        worker.next()


def test_where_to_start(bus):
    with seqcast.Worker(bus, announce=False) as first:
        ids = [first.post("s", "e", str(number)) for number in range(4)]
        position = first.position

        def read(start):
            with seqcast.Worker(bus, announce=False, start=start) as worker:
                return [event.id for event in worker.events(timeout=0)]

        assert read("now") == [] and read("oldest") == ids
        assert read(("at", 2)) == ids[2:] and read(("after", 2)) == ids[3:]
        assert read(("resume", position)) == ids and first.cursor == 0
        for bad in ("then", 7, ("at",), ("then", 7), None):
            with pytest.raises(ValueError, match='"now"'):
                read(bad)
        with pytest.raises(TypeError):
            read(("at", "x"))
        with pytest.raises(seqcast.OptionError):
            read(("resume", "x"))
        with pytest.raises(seqcast.OptionError):
            read(("at", 100))
        with seqcast.Bus.anonymous() as elsewhere, pytest.raises(seqcast.OtherBusError):
            seqcast.Worker(elsewhere, start=("resume", position)).join()


def test_reservations(worker, other):
    worker.set_wait_max(60)
    other.set_wait_max(60)
    with other.reserve() as reservation:
        after = other.post("s", "after")
        assert worker.next() is None, "the reserved id comes first"
        with pytest.raises(seqcast.TooLargeError):
            reservation.commit("s", "reserved", bytes(1 << 20))
        reservation.commit("s", "reserved", {"a": 1}, codec=seqcast.JSON)
    assert [event.id for event in worker.events(timeout=0)] == [reservation.id, after]
    with pytest.raises(seqcast.TooLateError):
        reservation.commit("s", "again")
    with pytest.raises(ZeroDivisionError), other.reserve() as given_up:
        raise ZeroDivisionError
    assert not given_up.abandon()
    next_id = other.post("s", "e")
    assert [event.id for event in worker.events(timeout=0)] == [next_id]


def test_a_worker_that_has_left_says_so(bus):
    worker = seqcast.Worker(bus, announce=False)
    with worker:
        seat = worker.seat
        assert isinstance(seat, int)
    worker.leave()
    for call in (worker.poll, worker.join, lambda: worker.post("s", "e"), lambda: worker.wait(0), worker.next):
        with pytest.raises(seqcast.LeftError):
            call()
    assert list(worker.events()) == []


def test_leaving_is_announced(bus, worker):
    with seqcast.Worker(bus, label="web"):
        pass
    assert [(event.topic, event.data) for event in worker.events(timeout=0)] == [
        (("seqcast", "started"), b"web"),
        (("seqcast", "stopping"), b"web"),
    ]


def test_a_publisher_only_posts(bus):
    with seqcast.Publisher(bus) as publisher:
        assert publisher.post("s", "e") == 0
        assert not hasattr(publisher, "poll")
        with pytest.raises(TypeError, match="reads nothing"):
            publisher._seated().next()
    with pytest.raises(TypeError):
        seqcast.Publisher(7)


def test_threads_post_with_one_worker(bus, worker):
    def post():
        for number in range(500):
            worker.post("s", "e", str(number))

    threads = [threading.Thread(target=post) for _ in range(8)]
    for thread in threads:
        thread.start()
    seen = []
    worker.on("s")(lambda event: seen.append(event.id))
    while any(thread.is_alive() for thread in threads):
        worker.poll()
    worker.poll()
    for thread in threads:
        thread.join()
    assert bus.next_id == 4000 and seen == list(range(seen[0], 4000))
