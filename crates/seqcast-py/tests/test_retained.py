"""Retained events: look-ups, workers that join late or were lapped, clears, refusals (G13 to G15)."""

import asyncio
import os
import pickle
import signal

import pytest

import seqcast
import seqcast.aio
from processes import LONG, Child, eventually, in_child


def state(event):
    """What a state of a worker's events says of one event."""
    if event.is_local:
        return event.event
    key = event.retained_key.decode()
    return ("cleared", key) if event.is_cleared else (key, event.text(), event.is_retained)


def told_to(worker):
    told = []
    worker.on("upstream")(lambda event: told.append(state(event)))
    worker.on("seqcast")(lambda event: told.append(state(event)))
    worker.on_cleared("upstream")(lambda event: told.append(state(event)))
    return told


def retain(poster, key, value, **options):
    return poster.post("upstream", "state", value, key=key, retain=True, **options)


def lap(worker):
    for _ in range(20):
        worker.post("s", "filler")


def test_g13_a_lookup_finds_the_last_event_of_each_key(worker, other):
    assert worker.get("upstream", "state") is None
    assert worker.get("upstream", "state", b"unknown") == b"unknown"
    retain(worker, "17", "down")
    retain(worker, b"18", "up")
    retain(other, "17", "up")
    worker.post("upstream", "state", "of no key", retain=True)
    assert other.get("upstream", "state", key="17") == other.get("upstream", "state", key=b"17") == b"up"
    assert other.get("upstream", "state", key="18") == b"up"
    assert other.get("upstream", "state") == other.get("upstream", "state", key="") == b"of no key"
    assert other.get("upstream", "state", key="19") is None and other.get("upstream", "other", key="17") is None
    # Without retain, nothing is kept.
    worker.post("upstream", "state", "not kept")
    assert other.get("upstream", "state") == b"of no key"


def test_values_go_through_the_codec(bus):
    with seqcast.Publisher(bus, codec=seqcast.JSON) as publisher, seqcast.Worker(bus) as plain:
        publisher.post("config", "changed", {"workers": 4}, retain=True)
        publisher.post("config", "none", None, retain=True)
        assert publisher.get("config", "changed") == {"workers": 4}
        assert publisher.get("config", "none", "default") is None
        assert publisher.get("config", "changed", codec=seqcast.TEXT) == '{"workers":4}'
        assert plain.get("config", "changed") == b'{"workers":4}'
        assert plain.get("config", "changed", codec=seqcast.JSON) == {"workers": 4}
        plain.post("config", "changed", b"{secret", retain=True)
        with pytest.raises(seqcast.DecodeError) as caught:
            publisher.get("config", "changed")
        assert "secret" not in str(caught.value)


def test_the_list_of_what_is_retained(bus, worker, name):
    assert worker.retained() == []
    retain(worker, "17", "down", type_tag=7)
    last = retain(worker, "18", "up", ttl=LONG)
    worker.post("config", "changed", b"4", retain=True)
    seventeenth = retain(worker, "17", "up")
    listed = worker.retained()
    assert [(event.topic, event.retained_key, event.data) for event in listed] == [
        (("upstream", "state"), b"18", b"up"),
        (("config", "changed"), b"", b"4"),
        (("upstream", "state"), b"17", b"up"),
    ]
    first = listed[0]
    assert isinstance(first, seqcast.Retained) and isinstance(first, seqcast.Event)
    assert (first.id, first.pid, first.seat, first.type_tag) == (last, os.getpid(), worker.seat, 0)
    assert 0 < first.left <= LONG and listed[1].left is None and listed[2].id == seventeenth
    assert first.is_retained and not first.is_cleared and not first.is_local and first.text() == "up"
    assert "up" not in repr(first).replace("upstream", "")


def test_an_inspector_lists_and_tails_them(name):
    with seqcast.Bus(name) as bus, seqcast.Publisher(bus) as publisher:
        retain(publisher, "17", "down")
        inspector = seqcast.Inspector(name)
        assert [(event.retained_key, event.data) for event in inspector.retained()] == [(b"17", b"down")]
        publisher.clear("upstream", "state", key="17")
        publisher.post("s", "e")
        assert inspector.retained() == []
        seen = [(seen["retained_key"], seen["is_cleared"]) for seen in inspector.tail()]
        assert seen == [(b"17", False), (b"17", True), (None, False)]


def test_the_end_of_a_ttl(worker):
    retain(worker, "17", "down", ttl=0.001)
    retain(worker, "18", "down", ttl=LONG)
    eventually(lambda: worker.get("upstream", "state", key="17") is None, "the end of the ttl")
    assert worker.get("upstream", "state", key="18") == b"down"
    assert [event.retained_key for event in worker.retained()] == [b"18"]


def test_g14_a_late_worker_gets_the_present_values_first(bus, worker):
    retain(worker, "17", "down")
    retain(worker, "18", "up")
    retain(worker, "19", "up")
    worker.clear("upstream", "state", key="19")
    worker.post("upstream", "state", "not retained")
    retain(worker, "17", "up")
    with seqcast.Worker(bus, start="retained", announce=False) as late:
        told = told_to(late)
        late.join()
        # What was replaced meanwhile comes in its own place.
        retain(worker, "18", "down")
        assert late.poll() == 3
        assert told == [("17", "up", True), "up-to-date", ("18", "down", False)]
        worker.clear("upstream", "state", key="17")
        assert late.poll() == 1 and told[3:] == [("cleared", "17")]
        assert late.poll() == 0
    # Other workers get what is posted after they have joined.
    with seqcast.Worker(bus, announce=False) as plain:
        told = told_to(plain)
        assert plain.poll() == 0 and told == []


def test_g14_without_handlers_it_gets_them_as_deliveries(bus, worker):
    first = retain(worker, "17", "down")
    with seqcast.Worker(bus, start="retained", announce=False) as late:
        found = [late.next()]
        cleared_at = worker.clear("upstream", "state", key="17")
        found += [late.next(), late.next()]
        assert late.next() is None
        assert found[0].id == first and found[0].is_retained
        assert found[1] == seqcast.UpToDate(cleared_at)
        assert isinstance(found[2], seqcast.Cleared) and not isinstance(found[2], seqcast.Event)
        cleared = found[2].event
        assert (cleared.id, cleared.topic, cleared.retained_key) == (cleared_at, ("upstream", "state"), b"17")
        assert cleared.data == b"" and cleared.is_cleared and "cleared" in repr(cleared)


def test_an_iteration_gives_clears_to_notices_in_their_place(worker, other, caplog):
    told = []
    retain(worker, "17", "down")
    worker.clear("upstream", "state", key="17")
    retain(worker, "17", "up")
    assert [event.data for event in other.events(timeout=0)] == [b"down", b"up"]
    assert caplog.text == ""
    worker.on_notice(told.append)
    for event in worker.events(timeout=0):
        told.append(event)
    assert [type(item).__name__ for item in told] == ["Event", "Cleared", "Event"]


def test_g15_a_clear_reaches_its_handlers_and_no_others(worker, other):
    events, cleared, order = [], [], []
    other.on()(events.append)
    other.on_cleared("upstream", "state")(lambda event: (cleared.append(event), order.append("event")))
    other.on_cleared("upstream")(lambda event: order.append("source"))
    other.on_cleared()(lambda event: order.append("all"))
    other.on_cleared("elsewhere")(lambda event: order.append("elsewhere"))
    retain(worker, "17", "down")
    at = worker.clear("upstream", "state", key="17")
    assert at == 1 and worker.get("upstream", "state", key="17") is None
    assert other.poll() == 2
    assert [event.id for event in events] == [0] and order == ["all", "source", "event"]
    assert [(event.id, event.retained_key, event.data) for event in cleared] == [(at, b"17", b"")]
    assert cleared[0].is_cleared and not events[0].is_cleared
    # A worker without a handler for clears is told nothing, and counts nothing.
    worker.on("upstream")(lambda event: order.append(event.data))
    assert worker.poll() == 1


def test_handlers_of_clears_are_unregistered_and_weak(bus, worker):
    class Table:
        def __init__(self):
            self.keys = []

        def gone(self, event):
            self.keys.append(event.retained_key)

    def clear():
        retain(worker, "17", "down")
        worker.clear("upstream", "state", key="17")
        return worker.poll()

    table = Table()
    worker.on_cleared("upstream", weak=True)(table.gone)
    assert clear() == 2 and table.keys == [b"17"]
    del table
    assert clear() == 0 and not worker._handlers
    handler = worker.on_cleared("upstream")(lambda event: None)
    assert worker.unregister(handler) and not worker.unregister(handler)
    for bad in (7, None):
        with pytest.raises(TypeError):
            worker.on_cleared("upstream")(bad)
    with pytest.raises(TypeError, match="on_cleared"):
        worker.on_cleared(7)
    with pytest.raises(TypeError):
        worker.on_cleared(None, "state")
    worker.on_cleared("upstream")(lambda event: None)
    with pytest.raises(TypeError, match="handlers"):
        worker.next()


def test_an_exception_of_a_handler_of_clears_goes_to_the_hook(worker, monkeypatch):
    failed, ran = [], []
    monkeypatch.setattr("sys.unraisablehook", lambda args: failed.append(args.exc_type))

    @worker.on_cleared("upstream")
    def fail(event):
        raise ValueError("no")

    worker.on_cleared("upstream")(ran.append)
    retain(worker, "17", "down")
    worker.clear("upstream", "state", key="17")
    assert worker.poll() == 2
    assert failed == [ValueError] and len(ran) == 1


def test_an_interrupt_at_a_clear_loses_no_handler(worker):
    ran = []

    @worker.on_cleared("upstream")
    def interrupt(event):
        raise KeyboardInterrupt

    worker.on_cleared("upstream")(ran.append)
    retain(worker, "17", "down")
    worker.clear("upstream", "state", key="17")
    with pytest.raises(KeyboardInterrupt):
        worker.poll()
    assert ran == []
    worker.poll()
    assert [event.retained_key for event in ran] == [b"17"]


def test_a_clear_of_what_is_not_retained_posts_nothing(bus, worker):
    retain(worker, "17", "down")
    next_id = bus.next_id
    assert worker.clear("upstream", "state", key="18") is None
    assert worker.clear("upstream", "state") is None
    assert worker.clear("upstream", "other", key="17") is None
    assert bus.next_id == next_id and worker.get("upstream", "state", key="17") == b"down"
    assert worker.clear("upstream", "state", key=b"17") == next_id
    assert worker.clear("upstream", "state", key=b"17") is None


def test_g14_a_lapped_worker_is_brought_up_to_date():
    with seqcast.Bus.anonymous(capacity=8) as bus, seqcast.Publisher(bus) as poster:
        for resync in (True, False):
            with seqcast.Worker(bus, resync=resync, announce=False) as worker:
                told, lagged = told_to(worker), []
                worker.on_notice(lagged.append)
                retain(poster, "17", "down")
                retain(poster, "18", "up")
                worker.poll()
                del told[:]
                retain(poster, "17", "up")
                poster.clear("upstream", "state", key="18")
                lap(poster)
                worker.poll()
                assert len(lagged) == 1 and lagged[0].missed > 0
                wanted = [("17", "up", True), ("cleared", "18"), "up-to-date"]
                assert sorted(map(str, told)) == sorted(map(str, wanted if resync else []))
                assert not told or told[-1] == "up-to-date"


def test_g14_a_worker_that_cannot_know_the_clears_starts_from_nothing():
    with seqcast.Bus.anonymous(capacity=8, retained=1) as bus, seqcast.Publisher(bus) as poster:
        with seqcast.Worker(bus, resync=True, announce=False) as worker, seqcast.Worker(
            bus, resync=True, announce=False
        ) as reader:
            told = told_to(worker)
            worker.on_notice(lambda notice: None)
            retain(poster, "17", "down")
            worker.poll()
            reader.next()
            del told[:]
            # The next key takes the place of the clear.
            poster.clear("upstream", "state", key="17")
            retain(poster, "18", "up")
            lap(poster)
            worker.poll()
            assert told == ["reset", ("18", "up", True), "up-to-date"]
            assert all(type(reader.next()) is wanted for wanted in (seqcast.Lagged, seqcast.Reset, seqcast.Event))
            assert isinstance(reader.next(), seqcast.UpToDate)


def test_g5_a_bus_that_retains_nothing_refuses(name):
    with seqcast.Bus(name, retained=0) as bus, seqcast.Worker(bus, announce=False) as worker:
        for call in (
            lambda: worker.post("s", "e", "x", retain=True),
            lambda: worker.get("s", "e"),
            lambda: worker.clear("s", "e"),
            lambda: worker.retained(),
            lambda: seqcast.Inspector(name).retained(),
            lambda: seqcast.Worker(bus, start="retained").join(),
        ):
            with pytest.raises(seqcast.OptionError, match="retain"):
                call()
        assert bus.next_id == 0 and worker.post("s", "e") == 0


@pytest.mark.parametrize("options", [{"retained": 1 << 40}, {"retained_size": 1}, {"retained_size": 1 << 40}])
def test_options_that_are_out_of_range(options):
    with pytest.raises(seqcast.OptionError, match="retained"):
        seqcast.Bus.anonymous(**options)


def test_options_of_wrong_types():
    for options in ({"retained": "8"}, {"retained_size": 1.5}, {"retained": -1}):
        with pytest.raises((TypeError, OverflowError)):
            seqcast.Bus.anonymous(**options)


def test_g5_a_full_table_refuses_another_key():
    with seqcast.Bus.anonymous(retained=2) as bus, seqcast.Worker(bus, announce=False) as worker:
        retain(worker, "1", "a")
        retain(worker, "2", "b")
        with pytest.raises(seqcast.RetainedFullError) as caught:
            retain(worker, "3", "c")
        assert (caught.value.code, caught.value.number) == ("retained_full", 50) and "2 keys" in str(caught.value)
        assert bus.next_id == 2 and worker.get("upstream", "state", key="3") is None
        # A key that has a place gets a new value, and a cleared one gives its place away.
        retain(worker, "1", "a again")
        worker.clear("upstream", "state", key="2")
        retain(worker, "3", "c")
        assert [event.data for event in worker.retained()] == [b"a again", b"c"]


def test_g5_a_value_that_is_too_large_is_refused():
    with seqcast.Bus.anonymous(retained_size=256) as bus, seqcast.Worker(bus, announce=False) as worker:
        retain(worker, "17", "down")
        with pytest.raises(seqcast.TooLargeError, match="retained_size"):
            retain(worker, "17", b"x" * 10_000)
        assert bus.next_id == 1 and worker.get("upstream", "state", key="17") == b"down"
    large = bytes(range(256)) * 100
    with seqcast.Bus.anonymous(retained_size=len(large) + 300) as bus, seqcast.Worker(bus) as worker:
        retain(worker, "17", large)
        assert worker.get("upstream", "state", key="17") == large


def test_g5_bad_input_posts_nothing(bus, worker):
    retain(worker, "17", "down")
    for refused, bad in (
        (TypeError, lambda: retain(worker, 17, "x")),
        (TypeError, lambda: retain(worker, "17", {"x": 1})),
        (TypeError, lambda: retain(worker, "17", "x", ttl="long")),
        (TypeError, lambda: worker.post("s", "e", retain="yes")),
        (TypeError, lambda: worker.post("s", "e", ttl=1)),
        (TypeError, lambda: worker.get("upstream", 7)),
        (TypeError, lambda: worker.get("upstream", "state", key=17)),
        (TypeError, lambda: worker.clear("upstream", "state", key=17)),
        (TypeError, lambda: worker.clear(None, "state")),
        (ValueError, lambda: retain(worker, "17", "x", ttl=-1)),
        (ValueError, lambda: retain(worker, "17", "x", ttl=float("nan"))),
        (seqcast.OptionError, lambda: retain(worker, "17", "x", ttl=0)),
        (seqcast.OptionError, lambda: retain(worker, "k" * 256, "x")),
        (seqcast.OptionError, lambda: worker.get("upstream", "state", key="k" * 256)),
        (seqcast.OptionError, lambda: worker.clear("upstream", "state", key="k" * 256)),
        (seqcast.OptionError, lambda: worker.post("", "e", retain=True)),
        (seqcast.OptionError, lambda: worker.get("s", "e" * 1000)),
        (seqcast.OptionError, lambda: worker.clear("seqcast", "")),
        (seqcast.OptionError, lambda: worker.post("seqcast", "state", retain=True)),
        (TypeError, lambda: worker.reserve().commit("s", "e", retain=True)),
    ):
        next_id = bus.next_id
        with pytest.raises(refused):
            bad()
        # Only the reservation has taken an id.
        assert bus.next_id - next_id in (0, 1)
    assert [(event.retained_key, event.data) for event in worker.retained()] == [(b"17", b"down")]


def test_the_longest_key(worker):
    retain(worker, b"\xff" * 255, "down")
    assert worker.get("upstream", "state", key=b"\xff" * 255) == b"down"
    assert worker.retained()[0].retained_key == b"\xff" * 255


def test_a_worker_that_has_left_looks_nothing_up(bus):
    worker = seqcast.Worker(bus)
    worker.join()
    worker.leave()
    for call in (lambda: worker.get("s", "e"), lambda: worker.clear("s", "e"), worker.retained):
        with pytest.raises(seqcast.LeftError):
            call()


def test_other_events_are_not_retained(worker, other):
    seen = []
    other.on()(seen.append)
    worker.post("s", "e")
    worker.post_unique("s", "e", key="k")
    other.post_local("s", "e")
    other.poll()
    assert [(event.retained_key, event.is_retained, event.is_cleared) for event in seen] == [(None, False, False)] * 3


def test_g12_a_forked_child_looks_up_clears_and_retains(bus, worker):
    retain(worker, "17", "down")
    retain(worker, "18", "up")

    def child():
        found = worker.get("upstream", "state", key="17"), [event.retained_key for event in worker.retained()]
        cleared = worker.clear("upstream", "state", key="18")
        retain(worker, "19", "new")
        return found, cleared

    found, cleared = in_child(child)
    assert found == (b"down", [b"17", b"18"]) and cleared is not None
    assert worker.get("upstream", "state", key="18") is None
    assert worker.get("upstream", "state", key="19") == b"new"


def test_g14_a_forked_child_is_told_the_present_values(bus, worker):
    retain(worker, "17", "down")
    with seqcast.Worker(bus, start="retained", announce=False) as late:
        told = told_to(late)
        # Also if the parent has read some of them.
        late.poll()
        read, write = os.pipe()

        def child():
            os.read(read, 1)
            del told[:]
            late.poll()
            return told

        child = Child(child)
        retain(worker, "18", "up")
        os.write(write, b"x")
        assert child.result() == [("17", "down", True), ("18", "up", True), "up-to-date"]
        os.close(read)
        os.close(write)
        late.poll()
        assert told == [("17", "down", True), "up-to-date", ("18", "up", False)]


def test_g13_it_outlives_its_poster(bus, worker):
    def child():
        retain(worker, "17", "down")
        os.kill(os.getpid(), signal.SIGKILL)

    assert Child(child).wait() == signal.SIGKILL
    assert worker.get("upstream", "state", key="17") == b"down"
    with seqcast.Worker(bus, start="retained", announce=False) as late:
        told = told_to(late)
        late.poll()
        assert told == [("17", "down", True), "up-to-date"]


def test_aio(bus, worker):
    async def main():
        retain(worker, "17", "down")
        told = []
        async with seqcast.aio.Worker(bus, start="retained", codec=seqcast.TEXT, announce=False) as late:

            @late.on("upstream", "state")
            async def changed(event):
                await asyncio.sleep(0)
                told.append(state(event))

            @late.on_cleared("upstream", "state")
            async def gone(event):
                await asyncio.sleep(0)
                told.append(state(event))

            @late.on("seqcast", "up-to-date")
            async def ready(event):
                await asyncio.sleep(0)
                told.append(state(event))

            assert late.get("upstream", "state", key="17") == "down"
            await late.poll()
            retain(late, "18", "up")
            assert late.clear("upstream", "state", key="17") is not None
            assert [event.retained_key for event in late.retained()] == [b"18"]
            assert await late.wait(LONG)
            await late.poll()
        assert told == [("17", "down", True), "up-to-date", ("18", "up", False), ("cleared", "17")]
        async with seqcast.aio.Worker(bus, start="retained", announce=False) as reader:
            found = [await reader.next(), await reader.next(), await reader.next()]
        assert found[0].text() == "up" and isinstance(found[1], seqcast.UpToDate) and found[2] is None

    asyncio.run(main())


def test_options_go_with_a_bus_to_other_processes(name):
    bus = seqcast.Bus(name, retained=3, retained_size=1000)
    with pickle.loads(pickle.dumps(bus)) as other, seqcast.Publisher(other) as publisher:
        for key in "123":
            retain(publisher, key, b"x" * 900)
        with pytest.raises(seqcast.RetainedFullError):
            retain(publisher, "4", "x")
        with seqcast.Bus(name, retained=5) as differs:
            assert differs.differences == ["retained is 3, not 5"]


def test_g7_a_death_is_told_with_what_was_held(bus, worker):
    told = []
    worker.on("seqcast", "died")(lambda event: told.append(seqcast.Died.of(event)))
    worker.join()

    def child():
        victim = seqcast.Worker(bus, label="victim", announce=False)
        claim = victim.claim("nightly-mail", ttl=LONG)
        assert claim
        os.kill(os.getpid(), signal.SIGKILL)

    child = Child(child)
    assert child.wait() == signal.SIGKILL
    # The one that joins next takes the seat over.
    with seqcast.Worker(bus) as successor:
        successor.join()
        worker.poll()
        assert told == [
            seqcast.Died(
                seat=successor.seat,
                pid=child.pid,
                label="victim",
                reserved=None,
                claims=1,
                keys=(bus.key_hash("nightly-mail"),),
            )
        ]


def test_what_is_not_of_a_death(bus):
    assert seqcast.Died.of(seqcast.Event("other", "died", b"seat 3\npid 4\nlabel x")) is None
    for bad in (b"", b"\xff", b"seat x\npid 4\nlabel x", b"seat 3\nlabel x"):
        assert seqcast.Died.of(seqcast.Event("seqcast", "died", bad)) is None
    died = seqcast.Died.of(seqcast.Event("seqcast", "died", b"seat 3\npid 4\nreserved 9\nlabel a\nb"))
    assert (died.label, died.reserved, died.keys) == ("a\nb", 9, ())
    assert len(bus.key_hash(b"k")) == 32 and bus.key_hash(b"k") == bus.key_hash("k")
    with pytest.raises(seqcast.OptionError):
        bus.key_hash("")
    with pytest.raises(TypeError):
        bus.key_hash(7)
