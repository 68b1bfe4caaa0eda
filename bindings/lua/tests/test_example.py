"""The example succeeds."""

import subprocess

import pytest

from nginx import HERE

pytestmark = pytest.mark.differs


def test_the_example():
    run = subprocess.run([HERE.parent / "example" / "run.sh"], capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "example: workers=4 changes=4 stale=0\n" in run.stdout
    # The workers after the reload also post it, and find the key held.
    assert run.stdout.count("the nightly job runs in") == 1
