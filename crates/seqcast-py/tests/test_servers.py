"""Real gunicorn and uvicorn."""

import os
import signal

import pytest

import seqcast
from processes import eventually
from servers import Server


@pytest.fixture
def value(tmp_path):
    path = tmp_path / "value"
    path.write_text("1")
    return path


@pytest.fixture
def gunicorn(tmp_path, name, value):
    pytest.importorskip("gunicorn")

    def start(*arguments, workers=3, **environment):
        # A busy host may take longer than gunicorn's own times, after which it kills a worker.
        patient = ["--timeout", 300, "--graceful-timeout", 300]
        arguments = ["gunicorn", "--bind", "unix:{socket}", "--workers", workers, *patient, *arguments]
        arguments += ["wsgi_app:application"]
        return Server(tmp_path, arguments, TEST_BUS=name, TEST_VALUE=str(value), **environment)

    return start


def dead_seats(name):
    return [figures for figures in seqcast.Inspector(name).stats()["workers"] if not figures["alive"]]


@pytest.mark.parametrize(
    "arguments, environment",
    [
        ([], {}),
        (["--preload"], {}),
        (["--preload"], {"TEST_JOIN_AT_IMPORT": "1"}),
        (["--threads", "4"], {}),
    ],
    ids=["sync", "preload", "joined-in-the-master", "threads"],
)
def test_gunicorn(gunicorn, name, value, arguments, environment):
    with gunicorn(*arguments, **environment) as server:
        pids = server.workers(3)
        if environment:
            assert set(server.workers(3, "/cached").values()) == {str(server.process.pid)}
        assert set(server.workers(3, "/get/a").values()) == {"1"}
        value.write_text("2")
        server.get("/delete/a")
        assert set(server.workers(3, "/get/a").values()) == {"2"}
        server.get("/post/first")
        assert set(server.workers(3, "/seen").values()) == {"first"}

        victim = min(pids)
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: victim not in server.workers(3), "a new worker")
        server.get("/post/second")
        assert {answer.split(",")[-1] for answer in server.workers(3, "/seen").values()} == {"second"}

        old = set(server.workers(3))
        server.reload()
        eventually(lambda: not old & set(server.workers(3)), "the new workers")
        answers = [server.get("/once").split()[1] for _ in range(20)]
        assert sorted(set(answers)) == ["None", "True"] and answers.count("True") == 1
        value.write_text("3")
        server.get("/delete/a")
        assert set(server.workers(3, "/get/a").values()) == {"3"}
    assert server.process.returncode == 0, server.log.read_text()
    assert "Traceback" not in server.log.read_text() and "Error" not in server.log.read_text()
    # The workers that were asked to end have left in order. The killed worker's seat was taken over, or is still there.
    assert len(dead_seats(name)) <= 2


def uvicorn_arguments(*arguments):
    return ["uvicorn", "--uds", "{socket}", *arguments, "--lifespan", "on", "asgi_app:app"]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("workers", [1, 3])
def test_uvicorn(tmp_path, name, loop, workers):
    pytest.importorskip("uvicorn")
    pytest.importorskip(loop)
    with Server(tmp_path, uvicorn_arguments("--workers", workers, "--loop", loop), TEST_BUS=name) as server:
        server.workers(workers)
        assert server.get("/loop").split()[1].startswith(loop.rstrip("12"))
        server.get("/post/first")
        assert set(server.workers(workers, "/seen/first").values()) == {"first"}
        with seqcast.Bus(name) as bus, seqcast.Publisher(bus) as publisher:
            publisher.post("test", "event", "second")
        assert set(server.workers(workers, "/seen/second").values()) == {"first,second"}
    assert "Traceback" not in server.log.read_text(), server.log.read_text()
    assert seqcast.Inspector(name).stats()["workers"] == [], "each has left in order"
