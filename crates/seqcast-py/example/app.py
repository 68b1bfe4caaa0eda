"""A web application under gunicorn: users in a database, a cache in each worker, and jobs that one worker runs.

    gunicorn --workers 4 app:application
"""

import os
import pathlib
import sqlite3
import urllib.parse

import seqcast

# Created when the module is imported. Each worker joins when it first uses them.
bus = seqcast.Bus(os.environ.get("EXAMPLE_BUS", "example-gunicorn"), unlink=True)
users = seqcast.shared_cache("users", bus=bus, maxsize=10_000)

DATABASE = pathlib.Path(os.environ.get("EXAMPLE_DATABASE", "users.sqlite"))


def database() -> sqlite3.Connection:
    connection = sqlite3.connect(DATABASE, timeout=30, isolation_level=None)
    connection.execute("CREATE TABLE IF NOT EXISTS users (id TEXT PRIMARY KEY, name TEXT)")
    connection.execute("CREATE TABLE IF NOT EXISTS runs (job TEXT, pid INTEGER)")
    return connection


def load(user: str) -> str:
    with database() as connection:
        row = connection.execute("SELECT name FROM users WHERE id = ?", (user,)).fetchone()
    return row[0] if row else "nobody"


def rename(user: str, name: str) -> str:
    with database() as connection:
        connection.execute("INSERT OR REPLACE INTO users VALUES (?, ?)", (user, name))
    # From here on, no worker answers with the old name.
    del users[user]
    return name


def run_job(job: str) -> str:
    """Run a job that a scheduler in every worker starts at the same time, such as a nightly mail."""

    @seqcast.run_once(f"job {job}", ttl=3600, bus=bus, default="elsewhere")
    def send() -> str:
        with database() as connection:
            connection.execute("INSERT INTO runs VALUES (?, ?)", (job, os.getpid()))
        return "sent"

    return send()


def answer(path: str, query: dict) -> str:
    what, _, which = path.strip("/").partition("/")
    if what == "user":
        return users.get_or_load(which, lambda: load(which))
    if what == "rename":
        return rename(which, query["name"][0])
    if what == "job":
        return run_job(which)
    return "ready"


def application(environ, start_response):
    query = urllib.parse.parse_qs(environ["QUERY_STRING"])
    body = f"{os.getpid()} {answer(environ['PATH_INFO'], query)}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
