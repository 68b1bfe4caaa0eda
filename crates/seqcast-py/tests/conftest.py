"""Tests of the Python package. Each leaves nothing in /dev/shm and no child processes."""

import itertools
import os
import pathlib
import signal

import pytest

import seqcast
from processes import reap

NUMBERS = itertools.count()

# Python's own handling of Ctrl-C, also if a shell has started the tests in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)


def segments():
    return {path.name for path in pathlib.Path("/dev/shm").iterdir() if str(os.getpid()) in path.name}


@pytest.fixture(autouse=True)
def nothing_is_left():
    before = segments()
    yield
    assert reap() == []
    assert segments() - before == set()


@pytest.fixture
def name():
    """Returns a name for a bus, which is removed at the end."""
    name = f"test-python-{os.getpid()}-{next(NUMBERS)}"
    yield name
    try:
        seqcast.unlink(name)
    except seqcast.NotFoundError:
        pass


@pytest.fixture
def bus():
    with seqcast.Bus.anonymous() as bus:
        yield bus


@pytest.fixture
def worker(bus):
    with seqcast.Worker(bus, announce=False) as worker:
        yield worker


@pytest.fixture
def other(bus):
    with seqcast.Worker(bus, announce=False) as other:
        yield other
