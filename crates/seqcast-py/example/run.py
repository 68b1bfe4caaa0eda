#!/usr/bin/env python3
"""Runs app.py under gunicorn with four workers and sends it requests over HTTP, on a Unix socket.

It renames a user several times and asks all workers for the name. It starts jobs in all workers at once. In between it
kills a worker, which gunicorn replaces. The last line shows the results.
"""

import concurrent.futures
import http.client
import os
import pathlib
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
WORKERS = 4
RENAMES = 24
JOBS = 8
PATIENCE = 300


class Client:
    """Sends requests, several at a time, each over its own connection."""

    def __init__(self, path):
        self._path = str(path)
        self._pool = concurrent.futures.ThreadPoolExecutor(2 * WORKERS)
        self.count = 0

    def get(self, url):
        """Returns the pid of the worker that answered, and its answer."""
        connection = http.client.HTTPConnection("localhost", timeout=PATIENCE)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(PATIENCE)
        try:
            connection.sock.connect(self._path)
            connection.request("GET", url, headers={"Connection": "close"})
            answer = connection.getresponse()
            body = answer.read().decode()
        finally:
            connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{url}: {answer.status} {body}")
        pid, _, text = body.strip().partition(" ")
        return int(pid), text

    def get_many(self, url, count):
        self.count += count
        return list(self._pool.map(self.get, [url] * count))

    def get_from_all(self, url):
        """Asks until each of the workers has answered. Returns all answers."""
        answers = []
        end = time.monotonic() + PATIENCE
        while len({pid for pid, _ in answers}) < WORKERS:
            if time.monotonic() > end:
                raise RuntimeError(f"{url}: not all workers answer")
            answers += self.get_many(url, 2 * WORKERS)
        return answers


def start(folder):
    environment = {
        **os.environ,
        "EXAMPLE_BUS": f"example-gunicorn-{os.getpid()}",
        "EXAMPLE_DATABASE": str(folder / "users.sqlite"),
        "PYTHONPATH": str(HERE),
        "PYTHONDONTWRITEBYTECODE": "1",
        # gunicorn puts a control socket there.
        "HOME": str(folder),
    }
    path = folder / "gunicorn.sock"
    command = [sys.executable, "-m", "gunicorn", "--workers", str(WORKERS), "--bind", f"unix:{path}", "app:application"]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    client = Client(path)
    end = time.monotonic() + PATIENCE
    while True:
        try:
            client.get("/ready")
            return process, client
        except (OSError, http.client.HTTPException):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("gunicorn does not start:\n" + (folder / "log").read_text()) from None
            time.sleep(0.05)


def kill_one(client):
    victim = min(pid for pid, _ in client.get_from_all("/ready"))
    print(f"kill -9 {victim}")
    os.kill(victim, signal.SIGKILL)
    end = time.monotonic() + PATIENCE
    while victim in {pid for pid, _ in client.get_from_all("/ready")}:
        if time.monotonic() > end:
            raise RuntimeError("the killed worker answers")


def drive(client, folder):
    stale = 0
    killed = 0
    for number in range(RENAMES):
        name = f"name-{number}"
        client.get_many(f"/rename/42?name={name}", 1)
        answers = client.get_from_all("/user/42")
        stale += sum(answer != name for _, answer in answers)
        if number == RENAMES // 2:
            kill_one(client)
            killed += 1
    for job in range(JOBS):
        client.get_from_all(f"/job/{job}")
    with sqlite3.connect(folder / "users.sqlite") as connection:
        runs = connection.execute("SELECT job, COUNT(*) FROM runs GROUP BY job").fetchall()
    once = sum(count == 1 for _, count in runs)
    print(f"gunicorn: workers={WORKERS} requests={client.count} stale={stale} once={once}/{JOBS} killed={killed}")
    return stale == 0 and once == JOBS == len(runs)


def main():
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        process, client = start(folder)
        try:
            print(f"gunicorn {process.pid} has {WORKERS} workers")
            is_well = drive(client, folder)
        finally:
            process.terminate()
            process.wait(PATIENCE)
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
