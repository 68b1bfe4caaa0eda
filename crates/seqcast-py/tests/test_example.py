"""The example succeeds."""

import pathlib
import re
import subprocess
import sys

import pytest

pytest.importorskip("gunicorn")

EXAMPLE = pathlib.Path(__file__).resolve().parents[1] / "example" / "run.py"


def test_the_example():
    before = set(pathlib.Path("/dev/shm").iterdir())
    run = subprocess.run([sys.executable, str(EXAMPLE)], capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, run.stdout + run.stderr
    last = run.stdout.splitlines()[-1]
    match = re.fullmatch(r"gunicorn: workers=4 requests=(\d+) stale=0 once=8/8 killed=1", last)
    assert match and int(match[1]) > 200, last
    assert not set(pathlib.Path("/dev/shm").iterdir()) - before
