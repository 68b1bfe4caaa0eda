"""The command `seqcast` together with the workers of an nginx, as in the README."""

import json
import os
import pathlib
import subprocess

import pytest

from nginx import HERE

pytestmark = pytest.mark.differs

ROOT = HERE.parents[2]


@pytest.fixture(scope="module")
def command():
    """Builds the command and returns a function that runs it and returns its output."""
    subprocess.run(["cargo", "build", "--quiet", "--locked", "--package", "seqcast-cli"], cwd=ROOT, check=True)
    program = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"), "debug", "seqcast")
    return lambda *words: subprocess.run([program, *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def test_it_posts_to_workers(nginx, command):
    ng = nginx(workers=2)
    workers = ng.workers()
    for worker in workers:
        worker.polled()
    # The workers may run as another user.
    for words in (["cache", "stale", "--data", '"user:42"'], ["cache", "purge"],
                  ["jobs", "nightly", "--data", "[1]", "--unique", "key", "--ttl", "1m"]):
        command("post", ng.segments()[0], *words, "--trust-owner")
    everywhere = [("cache", "stale", "user:42"), ("cache", "purge", None)]
    assert workers[0].polled() == [*everywhere, ("jobs", "nightly", [1])]
    assert workers[1].polled() == everywhere


def test_it_shows_what_workers_post(nginx, command):
    ng = nginx()
    worker, = ng.workers()
    worker.run("ev.post('cache', 'stale', 'user:42') ev.post('cache', 'purge')")
    options = ["--from", "oldest", "--no-follow", "--payload", "utf8", "--format", "json"]
    seen = [json.loads(line) for line in command("tail", ng.segments()[0], *options).splitlines()]
    events = [(it["event"], it["payload_utf8"], it["pid"]) for it in seen if it.get("source") == "cache"]
    assert events == [("stale", '"user:42"', worker.pid), ("purge", "", worker.pid)]
