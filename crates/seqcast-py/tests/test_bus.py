"""Buses: names, options, sizes, errors."""

import os
import pickle

import pytest

import seqcast
from processes import in_child, run_python


def test_a_bus_is_opened_when_it_is_first_used(name):
    bus = seqcast.Bus(name)
    assert "/" + name not in seqcast.names()
    assert bus.next_id == 0
    assert "/" + name in seqcast.names()
    assert bus.was_created and not seqcast.Bus(name).was_created
    bus.close()


def test_how_a_bus_is_opened(name):
    with pytest.raises(seqcast.NotFoundError) as caught:
        seqcast.Bus(name, how="open").open()
    assert (caught.value.code, caught.value.number) == ("not_found", 6)
    with seqcast.Bus(name, how="create") as bus:
        assert bus.name == "/" + name
        with pytest.raises(seqcast.ExistsError):
            seqcast.Bus(name, how="create").open()
        with seqcast.Bus(name, how="open") as same:
            assert same.id == bus.id
            assert len(bus.id) == 32


def test_options_are_checked(name):
    for options in ({"capacity": "8"}, {"capacity": -1}, {"owner": 7}, {"mode": 1 << 40}):
        with pytest.raises((TypeError, OverflowError)):
            seqcast.Bus(name, **options)
    with pytest.raises(ValueError):
        seqcast.Bus(name, how="somehow")
    with pytest.raises(TypeError):
        seqcast.Bus(7)
    with pytest.raises(ValueError):
        seqcast.Bus(name, creation_timeout=-1)
    with pytest.raises(ValueError):
        seqcast.Bus(name, creation_timeout=float("nan"))
    with pytest.raises(seqcast.OptionError) as caught:
        seqcast.Bus(name, capacity=1000).open()
    assert isinstance(caught.value, ValueError) and "1000" in str(caught.value)
    for bad in ("", "a/b", "x" * 300, "a b"):
        with pytest.raises(seqcast.OptionError):
            seqcast.Bus(bad).open()


def test_a_bus_that_differs_is_told_or_refused(name, caplog):
    with seqcast.Bus(name, capacity=64):
        with seqcast.Bus(name, capacity=128) as bus:
            assert bus.differences == ["capacity is 64, not 128"]
            assert bus.capacity == 64
        assert "capacity is 64, not 128" in caplog.text
        with pytest.raises(seqcast.Error) as caught:
            seqcast.Bus(name, capacity=128, strict=True).open()
        assert caught.value.code == "options_differ"


def test_the_last_process_removes_the_name(name):
    with seqcast.Bus(name, unlink=True) as bus, seqcast.Worker(bus):
        run_python("import sys, seqcast; seqcast.Worker(seqcast.Bus(sys.argv[1], unlink=True)).post('s', 'e')", name)
        assert bus.is_current()
    assert "/" + name not in seqcast.names()


def test_the_name_goes_also_with_an_interpreter(name):
    run_python("import sys, seqcast; seqcast.Worker(seqcast.Bus(sys.argv[1], unlink=True)).post('s', 'e')", name)
    assert "/" + name not in seqcast.names()


def test_unlink(name):
    with seqcast.Bus(name) as bus:
        assert bus.is_current()
        assert not seqcast.unlink_unheld(name)
        bus.unlink()
        assert not bus.is_current()
    with pytest.raises(seqcast.NotFoundError):
        seqcast.unlink(name)


def test_a_closed_bus_says_so():
    bus = seqcast.Bus.anonymous()
    worker = seqcast.Worker(bus, announce=False).join()
    bus.close()
    bus.close()
    with pytest.raises(seqcast.LeftError):
        bus.next_id  # noqa: B018
    with pytest.raises(seqcast.LeftError):
        seqcast.Worker(bus).join()
    assert worker.post("s", "e") == 0, "who has joined stays joined"
    worker.leave()


def test_a_bus_is_pickled_by_its_name(name):
    with seqcast.Bus(name, how="create", capacity=64, unlink=True) as bus:
        with pickle.loads(pickle.dumps(bus)) as same:
            assert same.id == bus.id and not same.differences
        with pytest.raises(TypeError, match="make a Worker there"):
            pickle.dumps(seqcast.Worker(bus))
        with seqcast.Bus.anonymous() as anonymous, pytest.raises(TypeError, match="give the bus a name"):
            pickle.dumps(anonymous)


def test_figures(name):
    with seqcast.Bus(name) as bus, seqcast.Worker(bus, label="web") as worker:
        worker.post("cache", "stale")
        stats = bus.stats()
        assert (stats["next_id"], stats["capacity"], stats["creator_pid"]) == (2, 8192, os.getpid())
        (figures,) = stats["workers"]
        assert (figures["label"], figures["pid"], figures["posted"], figures["alive"]) == ("web", os.getpid(), 2, True)
        inspector = seqcast.Inspector(name)
        assert inspector.stats()["next_id"] == 2 and inspector.is_current() and inspector.id == bus.id
        kinds = [(seen["kind"], seen["source"], seen["data"]) for seen in inspector.tail()]
        assert kinds == [("event", "seqcast", None), ("event", "cache", None)]


def test_too_few_seats_are_told_with_their_holders():
    with seqcast.Bus.anonymous(seats=1) as bus, seqcast.Worker(bus, label="the one"):
        with pytest.raises(seqcast.NoSeatError, match="the one"):
            seqcast.Worker(bus).join()


def test_python_dash_m_says_how_to_get_the_command():
    run = run_python("import runpy; runpy.run_module('seqcast', run_name='__main__')", check=False)
    assert run.returncode == 2
    assert "cargo install" in run.stderr and run.stdout == ""


def test_all_errors_of_the_library_have_a_class():
    for code, number in seqcast._seqcast.ALL_ERRORS:
        error = seqcast._errors.make(code, number, "text", None)
        assert isinstance(error, seqcast.Error) and (error.code, error.number) == (code, number)
    codes = {code for code, _ in seqcast._seqcast.ALL_ERRORS}
    assert set(seqcast._errors._CLASSES) <= codes


def test_the_default_bus(name):
    def default():
        return seqcast.default_bus()._name

    assert in_child(default) == f"python-{os.getuid()}"
    code = "import seqcast; print(seqcast.default_bus()._name)"
    assert run_python(code, env={**os.environ, "SEQCAST_BUS": name}).stdout.strip() == name
    code = "import sys, seqcast; seqcast.configure(sys.argv[1], capacity=64); print(seqcast.default_bus()._name)"
    assert run_python(code, name).stdout.strip() == name
