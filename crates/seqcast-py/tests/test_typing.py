"""Types: mypy --strict, the stubs against the module."""

import re
import subprocess
import sys

import pytest

pytest.importorskip("mypy")

USE = """
import asyncio
from typing import Optional
import seqcast
import seqcast.aio
import seqcast.asgi
import seqcast.wsgi

bus = seqcast.Bus("name", capacity=64, retained=8, retained_size=1000, most_patience=2.5, owner=(1, 2))
worker = seqcast.Worker(bus, start=("resume", "x"), must_read=1, codec=seqcast.JSON)

@worker.on("cache", "stale")
def stale(event: seqcast.Event) -> None:
    reveal_type(event.data)
    reveal_type(event.id)

@worker.on_notice
def notice(notice: seqcast.Notice) -> None:
    if isinstance(notice, seqcast.Lagged):
        reveal_type(notice.missed)

reveal_type(worker.post("cache", "stale", {"a": 1}))
reveal_type(worker.post("upstream", "state", "down", key="17", retain=True, ttl=60))
reveal_type(worker.clear("upstream", "state", key="17"))
for retained in worker.retained():
    reveal_type(retained.left)
with worker.claim("key", ttl=1.5) as claim:
    reveal_type(claim)
with worker as joined:
    reveal_type(joined)

@seqcast.run_once("job", ttl=60)
def job(number: int) -> str:
    return str(number)

reveal_type(job)
cache: seqcast.SharedCache[int] = seqcast.SharedCache("numbers")
reveal_type(cache.get("a"))
reveal_type(cache.get("a", "b"))
reveal_type(cache.get_or_load("a", lambda: 7))
try:
    reveal_type(worker.try_post("cache", "stale", cluster=True))
except seqcast.FullError as error:
    reveal_type(error.lag)
for entry in seqcast.Inspector("name").claims():
    reveal_type(entry.left)

async def main() -> None:
    async with seqcast.aio.Worker(bus, start="retained", resync=True) as there:
        reveal_type(await there.wait(1))
        reveal_type(await there.post_when_room("cache", "stale"))
        async for event in there:
            reveal_type(event)

asyncio.run(main())
"""

REVEALED = [
    "bytes",
    "int | None",
    "int",
    "int",
    "int",
    "int | None",
    "float | None",
    "seqcast._claims.Claim",
    "seqcast._worker.Worker",
    "def (number: int) -> str",
    "int | None",
    "int | str",
    "int",
    "int",
    "int",
    "float | None",
    "bool",
    "int",
    "seqcast._seqcast.Event",
]

BAD = """
import seqcast.aio
worker = seqcast.Worker(7)
worker.post("s", 7)
worker.on("s")(7)
seqcast.Worker("name", start="then")
seqcast.Bus("name", capacity="8")
seqcast.aio.Worker("name", label=7)
"""


@pytest.fixture
def mypy(tmp_path):
    def run(*arguments):
        # In another folder, because mypy treats files in its own folder as the user's.
        return subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, cwd=tmp_path)

    return run


def test_the_package_is_typed(mypy):
    run = mypy("mypy", "--strict", "-p", "seqcast")
    assert run.returncode == 0, run.stdout + run.stderr


def test_users_see_the_types(tmp_path, mypy):
    use = tmp_path / "use.py"
    use.write_text(USE)
    run = mypy("mypy", "--strict", str(use))
    assert run.returncode == 0, run.stdout + run.stderr
    revealed = [line.split('"')[1].replace("builtins.", "") for line in run.stdout.splitlines() if "Revealed" in line]
    assert [re.sub(r"Union\[(\w+), None\]", r"\1 | None", kind) for kind in revealed] == REVEALED


def test_users_are_told_of_mistakes(tmp_path, mypy):
    use = tmp_path / "bad.py"
    use.write_text(BAD)
    run = mypy("mypy", "--strict", str(use))
    lines = {int(line.split(":")[1]) for line in run.stdout.splitlines() if ": error:" in line}
    assert lines == {3, 4, 5, 6, 7, 8}, run.stdout


def test_the_stubs_are_those_of_the_module(mypy):
    run = mypy("mypy.stubtest", "seqcast._seqcast")
    assert run.returncode == 0, run.stdout + run.stderr
