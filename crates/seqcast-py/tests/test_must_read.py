"""Workers that posts wait for, posts that do not wait, other hosts, and the list of claims (G16 to G18)."""

import asyncio
import threading

import pytest

import seqcast
import seqcast.aio
from processes import LONG, Child, eventually, run_python

# A worker that is cut off soon.
SOON = {"must_read": 0.005, "wait_max": 0.002, "wait_interval": 0.001}


@pytest.fixture
def ring():
    """Returns a bus of 8 events."""
    with seqcast.Bus.anonymous(capacity=8, most_patience=LONG) as bus:
        yield bus


@pytest.fixture
def poster(ring):
    with seqcast.Publisher(ring, label="poster") as poster:
        yield poster


def must_read(bus, **options):
    return seqcast.Worker(bus, label="state", announce=False, **{"must_read": LONG, **options}).join()


def fill(poster):
    posted = 0
    try:
        while True:
            poster.try_post("s", "e", str(posted))
            posted += 1
    except seqcast.FullError:
        return posted


def figure(bus, label, name):
    return next(it[name] for it in bus.stats()["workers"] if it["label"] == label)


def read(worker):
    return [event.text() for event in worker.events(timeout=0)]


def test_g17_a_post_that_does_not_wait_says_which_worker_has_no_room(ring, poster):
    with must_read(ring) as slow:
        assert fill(poster) == 8
        with pytest.raises(seqcast.FullError, match="state") as caught:
            poster.try_post("s", "e", "more", key="k", retain=True)
        error = caught.value
        assert (error.seat, error.label, error.is_own) == (slow.seat, "state", False)
        assert (error.lag, error.patience) == (8, LONG)
        assert error.code == "full" and error.number == 51 and error.pid > 1
        with pytest.raises(seqcast.FullError):
            poster.try_reserve()
        assert ring.next_id == 8 and poster.get("s", "e", key="k") is None
        assert read(slow) == [str(number) for number in range(8)]
        assert poster.try_post("s", "e", "more", key="k", retain=True) == 8
        with poster.try_reserve() as reservation:
            assert reservation.id == 9
        assert poster.try_clear("s", "e", key="k") == 10 and poster.try_clear("s", "e", key="k") is None
        poster.post("s", "e", "kept", key="k", retain=True)
        fill(poster)
        with pytest.raises(seqcast.FullError):
            poster.try_clear("s", "e", key="k")
        assert poster.get("s", "e", key="k") == b"kept"


def test_g18_a_worker_that_must_read_never_waits(ring, poster):
    with must_read(ring) as worker:
        fill(poster)
        for post in (worker.post, worker.try_post, worker.post_unique):
            with pytest.raises(seqcast.FullError) as caught:
                post("s", "e", **({"key": "k"} if post == worker.post_unique else {}))
            assert caught.value.is_own
        read(worker)
        worker.post("s", "e")


def test_g16_a_worker_that_was_cut_off_is_told_so(ring, poster, caplog):
    with must_read(ring, **SOON) as slow, seqcast.Worker(ring, announce=False) as lax:
        for _ in range(20):
            poster.post("s", "e")
        lagged = slow.next()
        assert isinstance(lagged, seqcast.Lagged) and lagged.cut_off and lagged.first == 0
        assert not lax.next().cut_off
        assert figure(ring, "poster", "room_waits") == 1
        # The next report comes after 30 more posts, of which one waits again.
        read(slow)
        for _ in range(30):
            poster.post("s", "e")
        slow.on("s")(lambda event: None)
        slow.poll()
        assert "although posts waited for this worker" in caplog.text


def test_g16_other_threads_read_while_a_post_waits(ring, poster):
    """If the waiting thread held the interpreter, the reader would be cut off."""
    numbers = []
    with must_read(ring) as slow:
        thread = threading.Thread(target=lambda: [poster.post("s", "e", str(number)) for number in range(1000)])
        thread.start()
        while len(numbers) < 1000:
            delivery = slow.next(LONG)
            numbers.append(int(delivery.text()))
        thread.join(LONG)
    assert numbers == list(range(1000))


def waiting_post(ring, poster, post):
    """Start a thread that waits in a post. Return it, and the list for its result."""
    before, result = figure(ring, "poster", "room_refused"), []
    thread = threading.Thread(target=lambda: result.append(post()), daemon=True)
    thread.start()
    eventually(lambda: figure(ring, "poster", "room_refused") > before)
    return thread, result


def test_calls_of_other_threads_wait_for_a_post_that_waits(ring, poster):
    with must_read(ring) as slow:
        fill(poster)
        thread, posted = waiting_post(ring, poster, lambda: poster.post("s", "e"))
        found = []
        second = threading.Thread(target=lambda: found.append(bool(poster.claim("key", ttl=60))))
        second.start()
        assert posted == []
        read(slow)
        for it in (thread, second):
            it.join(LONG)
        assert posted == [8] and found == [True]


@pytest.mark.parametrize("call", ["reserve", "clear"])
def test_what_else_waits_for_room(ring, poster, call):
    with must_read(ring) as slow:
        poster.post("s", "e", key="k", retain=True)
        fill(poster)
        calls = {"reserve": lambda: poster.reserve().id, "clear": lambda: poster.clear("s", "e", key="k")}
        thread, result = waiting_post(ring, poster, calls[call])
        slow.next()
        thread.join(LONG)
        assert result == [8]


def test_g12_a_fork_while_a_thread_waits_in_a_post(ring, poster):
    with must_read(ring) as slow:
        reservation = poster.reserve()
        reservation.commit("s", "e")
        fill(poster)
        thread, posted = waiting_post(ring, poster, lambda: poster.post("s", "e"))

        def child():
            try:
                reservation.abandon()
            except seqcast.ForkedError as error:
                code = error.code
            try:
                poster.try_post("s", "child")
            except seqcast.FullError as error:
                return code, error.label

        assert Child(child).result() == ("forked", "state")
        assert posted == [] and thread.is_alive()
        read(slow)
        thread.join(LONG)
        assert posted == [8]


def test_an_exit_while_a_thread_waits_in_a_post():
    run = run_python("""
import threading, seqcast
bus = seqcast.Bus.anonymous(capacity=8)
worker = seqcast.Worker(bus, must_read=0.1, wait_max=0.05, announce=False).join()
poster = seqcast.Publisher(bus, label="poster").join()
for _ in range(8):
    poster.try_post("s", "e")
threading.Thread(target=lambda: [poster.post("s", "e") for _ in range(1000)], daemon=True).start()
while not [it for it in bus.stats()["workers"] if it["label"] == "poster" and it["room_refused"]]:
    pass
print("ends")
""")
    assert run.stdout == "ends\n" and run.stderr == ""


def test_a_bus_says_how_long_posts_may_wait():
    with seqcast.Bus.anonymous(capacity=8, most_patience=0) as none, seqcast.Bus.anonymous(most_patience=1.5) as some:
        for bus, patience in ((none, 0.6), (some, 1.6), (some, 0.1)):
            with pytest.raises(seqcast.OptionError, match="must_read"):
                must_read(bus, must_read=patience)
        must_read(some, must_read=1.5).leave()
        must_read(none, must_read=0).leave()
        assert (none.stats()["most_patience_ns"], some.stats()["most_patience_ns"]) == (0, 1_500_000_000)
    with pytest.raises(ValueError, match="must_read is -1"):
        seqcast.Worker("name", must_read=-1)
    with pytest.raises(ValueError, match="most_patience is -1"):
        seqcast.Bus("name", most_patience=-1)
    with seqcast.Bus.anonymous() as bus:
        assert bus.stats()["most_patience_ns"] == 1_000_000_000


def test_events_for_all_hosts_need_a_relay(worker, bus):
    for call in (
        lambda: worker.post("s", "e", cluster=True),
        lambda: worker.try_post("s", "e", key="k", retain=True, cluster=True),
        lambda: worker.post_unique("s", "e", key="k", cluster=True),
        lambda: worker.clear("s", "e", cluster=True),
        lambda: worker.try_clear("s", "e", cluster=True),
    ):
        with pytest.raises(seqcast.NoRelayError, match="no relay") as caught:
            call()
        assert caught.value.code == "no_relay"
    with pytest.raises(seqcast.OptionError):
        seqcast.Bus.anonymous(relay_hosts=65537)
    worker.post("s", "e")
    event = worker.next()
    assert (event.origin, event.cluster_id, event.is_bridged) == (None, None, False)
    assert len(bus.origin) == 16 and bus.id.startswith(bus.origin)


def test_the_list_of_claims(name):
    with seqcast.Bus(name, unlink=True) as bus, seqcast.Worker(bus, label="web", announce=False) as worker:
        inspector = seqcast.Inspector(name)
        assert inspector.claims() == []
        claim = worker.claim("mail", ttl=60, ends_with_holder=True)
        worker.post_unique("s", "e", key="mail", ttl=30)
        worker.next()
        entries = {entry.kind: entry for entry in inspector.claims()}
        alone, event = entries["alone"], entries["event"]
        assert (alone.key_hash, alone.token, alone.label) == (bus.key_hash("mail"), claim.token, "web")
        assert (alone.winner, alone.seat, alone.ends_with_holder, alone.decided) == ("alive", worker.seat, True, None)
        assert 0 < alone.left <= 60 and 0 <= alone.since < LONG
        assert event.decided == (0, 0) and 0 < event.left <= 30 and not event.ends_with_holder
        assert worker.release(alone.token) and not claim.release()


def test_a_tail_says_how_an_event_is_kept(name):
    with seqcast.Bus(name, unlink=True) as bus, seqcast.Publisher(bus) as publisher:
        publisher.post("s", "e", key="k", retain=True, ttl=60)
        publisher.post_unique("s", "e", key="k", ttl=30)
        publisher.clear("s", "e", key="k")
        publisher.post("s", "e")
        seen = [(it["retained_key"], it["ttl"], it["is_cleared"]) for it in seqcast.Inspector(name).tail()]
        assert seen == [(b"k", 60, False), (None, 30, False), (b"k", None, True), (None, None, False)]
        assert {(it["origin"], it["cluster_id"], it["is_request"], it["is_large"])
                for it in seqcast.Inspector(name).tail()} == {(None, None, False, False)}


def aio_worker(bus, **options):
    return seqcast.aio.Worker(bus, announce=False, **options)


def test_on_a_loop_a_post_never_waits(ring):
    async def main():
        async with aio_worker(ring) as poster:
            with must_read(ring):
                fill(poster)
                for call in (
                    lambda: poster.post("s", "e"),
                    lambda: poster.post_unique("s", "e", key="k"),
                    lambda: poster.reserve(),
                ):
                    with pytest.raises(seqcast.FullError):
                        call()
            poster.post("s", "e", key="k", retain=True)
            with must_read(ring) as slow:
                fill(poster)
                with pytest.raises(seqcast.FullError):
                    poster.clear("s", "e", key="k")
                read(slow)
                assert poster.clear("s", "e", key="k") is not None

    asyncio.run(main())


def test_g16_other_tasks_read_while_a_task_waits_for_room(ring):
    async def main():
        async with aio_worker(ring, must_read=LONG) as reader, aio_worker(ring) as poster:
            async def post():
                return [await poster.post_when_room("s", "e", str(number)) for number in range(100)]

            task = asyncio.ensure_future(post())
            numbers = []
            while len(numbers) < 100:
                numbers.append(int((await reader.next(LONG)).text()))
            assert numbers == list(range(100)) and await task == list(range(100))
            fill(poster)
            with pytest.raises(seqcast.FullError) as caught:
                await reader.post_when_room("s", "e")
            assert caught.value.is_own

    asyncio.run(asyncio.wait_for(main(), LONG))


def test_g17_on_a_loop_a_worker_that_does_not_read_is_cut_off(ring):
    async def main():
        with must_read(ring, **SOON) as slow:
            async with aio_worker(ring) as poster:
                for _ in range(20):
                    await poster.post_when_room("s", "e")
                assert slow.next().cut_off
                # The seat of the thread that waited is free again.
                assert len(ring.stats()["workers"]) == 2

    asyncio.run(asyncio.wait_for(main(), LONG))
