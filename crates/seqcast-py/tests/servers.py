"""Real servers on Unix sockets, and clients for them."""

import http.client
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

LONG = 300
HERE = pathlib.Path(__file__).resolve().parent


class Connection(http.client.HTTPConnection):
    """A connection to a Unix socket."""

    def __init__(self, path, timeout=LONG):
        super().__init__("localhost", timeout=timeout)
        self._path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Server:
    """A server's master process."""

    def __init__(self, folder, arguments, **environment):
        self.socket = pathlib.Path(folder) / "server.sock"
        self.log = pathlib.Path(folder) / "server.log"
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
            "PYTHONDONTWRITEBYTECODE": "1",
            # gunicorn puts a socket there.
            "HOME": str(folder),
            **environment,
        }
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *(str(one).replace("{socket}", str(self.socket)) for one in arguments)],
                stdout=log,
                stderr=log,
                cwd=folder,
                env=environment,
            )

    def __enter__(self):
        try:
            self.ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(LONG)
        finally:
            self.process.kill()
            self.process.wait()

    def ready(self):
        end = time.monotonic() + LONG
        while True:
            try:
                return self.get("/ready")
            except OSError:
                assert self.process.poll() is None and time.monotonic() < end, self.log.read_text()
                time.sleep(0.02)

    def get(self, path):
        """Return the text of an answer."""
        connection = Connection(self.socket)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            answer = connection.getresponse()
            text = answer.read().decode()
            assert answer.status == 200, (answer.status, text, self.log.read_text())
            return text
        finally:
            connection.close()

    def workers(self, count, path="/ready"):
        """Return the answer for `path` of each worker, by the worker's pid, which comes first in every answer."""
        found = {}
        end = time.monotonic() + LONG
        while len(found) < count:
            assert time.monotonic() < end, (found, self.log.read_text())
            pid, _, answer = self.get(path).partition(" ")
            found[int(pid)] = answer
        return found

    def signal(self, number):
        self.process.send_signal(number)

    def reload(self):
        self.signal(signal.SIGHUP)
