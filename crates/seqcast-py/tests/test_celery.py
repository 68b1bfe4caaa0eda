"""Real celery with prefork workers and an in-memory broker."""

import os
import pathlib
import subprocess
import sys

import pytest

import seqcast

pytest.importorskip("celery")

HERE = pathlib.Path(__file__).resolve().parent


def test_celery(name, tmp_path):
    with seqcast.Bus(name) as bus, seqcast.Worker(bus, announce=False) as worker:
        worker.join()
        run = subprocess.run(
            [sys.executable, str(HERE / "celery_app.py")],
            capture_output=True,
            text=True,
            timeout=600,
            cwd=tmp_path,
            env={**os.environ, "TEST_BUS": name, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        assert run.returncode == 0, run.stdout + run.stderr
        events = list(worker.events(timeout=0))
        greeted = [event for event in events if event.topic == ("task", "greeted")]
        assert sorted(event.text() for event in greeted) == [str(number) for number in range(10)]
        assert len({event.pid for event in greeted} - {os.getpid()}) >= 2, "several children"
        assert [event.text() for event in events if event.topic == ("task", "once")] == ["ran"]
        assert [figures["pid"] for figures in bus.stats()["workers"]] == [os.getpid()], "each has left in order"
