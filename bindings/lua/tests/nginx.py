"""A real nginx in a temporary folder, on Unix sockets. It ends with the test, and is ended by pid only."""

import http.client
import itertools
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

# Debian's nginx, or another one with the Lua module, built in or as a dynamic module.
BINARY = os.environ.get("NGINX_BINARY", "/usr/sbin/nginx")
MODULES = [pathlib.Path(os.environ.get("NGINX_MODULES", "/usr/lib/nginx/modules"), name)
           for name in ("ndk_http_module.so", "ngx_http_lua_module.so")]
LUA_PATH = os.environ.get("NGINX_LUA_PATH", "")
HERE = pathlib.Path(__file__).resolve().parent
# Long, because only a failure waits to its end.
TIMEOUT = 300

CONFIG = """
{modules}
daemon {daemon};
master_process {master};
worker_processes {workers};
worker_shutdown_timeout 600s;
{user}
pid nginx.pid;
error_log error.log {log};
{main}
events {{ worker_connections 128; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    client_body_buffer_size 4m;
    client_max_body_size 8m;
    keepalive_timeout 1h;
    keepalive_requests 1000000;
    lua_package_path "{tests}/lua/?.lua;{package_path};;";
    lua_shared_dict {zone} {zone_size};
    {http}
    {init}
    {init_worker}
    server {{
        listen unix:{folder}/nginx.sock;
        location = /run {{ content_by_lua_block {{ require("tap").run() }} }}
        location = /park {{ content_by_lua_block {{ require("tap").park() }} }}
        {server}
    }}
}}
"""

CONFIGURE = """
    local ev = require "resty.worker.events"
    ev.register(require("tap").record)
    local options = {options}
    options.shm = options.shm or "{zone}"
    assert(ev.configure(options))
"""

_numbers = itertools.count()


class LuaError(Exception):
    """The error that the code given to `run` raised."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Worker:
    """A connection that stays open, and therefore leads to one worker process."""

    def __init__(self, path):
        self._connection = _Connection(path)
        self.pid = None

    def start(self, code, *args):
        self._connection.request("POST", "/run", json.dumps({"code": code, "args": args}))

    def finish(self):
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise LuaError(f"status {answer.status}: {body.decode(errors='replace')}")
        result = json.loads(body.decode(errors="surrogateescape"))
        self.pid = result["pid"]
        if "error" in result:
            raise LuaError(result["error"])
        values = (result["values"] or [])[: result["n"]]
        values += [None] * (result["n"] - len(values))
        return values[0] if len(values) == 1 else tuple(values) or None

    def run(self, code, *args):
        """Runs Lua code in this worker and returns its results. The code can use `ev`, `tap` and `args`."""
        self.start(code, *args)
        return self.finish()

    def poll(self):
        return self.run("return ev.poll()")

    def seen(self):
        """Returns the events since the last call, as (source, event, data)."""
        return [tuple(event[:3]) for event in self.run("return tap.take()") or []]

    def seen_all(self):
        """Returns the events since the last call, with pid and number of arguments."""
        return self.run("return tap.take()") or []

    def polled(self):
        """Polls by hand and returns the new events, without the libraries' own events."""
        assert self.poll() == "done"
        return [event for event in self.seen() if event[0] not in ("resty-worker-events", "seqcast")]

    def park(self, fifo):
        self._connection.request("POST", "/park", str(fifo))

    def unpark(self):
        answer = self._connection.getresponse()
        self.pid = int(answer.read())

    def close(self):
        self._connection.close()


class Nginx:
    def __init__(self, folder, *, lib, options="{ interval = 0 }", **settings):
        self.folder = pathlib.Path(folder)
        self.zone = settings.pop("zone", f"t{os.getpid()}x{next(_numbers)}")
        self.user = settings.pop("user", None)
        self.daemon = settings.pop("daemon", True)
        self.master = settings.pop("master", True)
        self.worker_processes = settings.pop("workers", 1)
        self.allowed = settings.pop("allowed", ())
        self.configure = CONFIGURE.format(options=options, zone=self.zone)
        self.binary = settings.pop("binary", BINARY)
        self._settings = {
            "zone_size": "1m", "init": None, "init_worker": self.configure, "server": "", "http": "", "main": "",
            "log": "info", "package_path": f"{lib}/?.lua;{LUA_PATH}",
        }
        unknown = settings.keys() - self._settings.keys()
        assert not unknown, unknown
        self._settings.update(settings)
        self._process = None
        self._found = []
        self._started = set()
        self.write_config()

    def write_config(self, **changes):
        self._settings.update(changes)
        settings = dict(self._settings)
        for phase in ("init", "init_worker"):
            code = settings[phase]
            settings[phase] = f"{phase}_by_lua_block {{ {code} }}" if code else ""
        config = CONFIG.format(
            modules="\n".join(f"load_module {path};" for path in MODULES if path.exists()),
            daemon="on" if self.daemon else "off", master="on" if self.master else "off",
            workers=self.worker_processes, user=f"user {self.user};" if self.user else "",
            tests=HERE, folder=self.folder, zone=self.zone, **settings)
        (self.folder / "nginx.conf").write_text(config)

    # Life

    def start(self):
        command = [self.binary, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"),
                   "-e", str(self.folder / "error.log")]
        out = open(self.folder / "out.log", "ab")
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        if self.daemon and self.master:
            assert self._process.wait(TIMEOUT) == 0, self.log() + (self.folder / "out.log").read_text()
        wait_for(lambda: self._pid_in_file() and self.accepts() and self._has_workers(), "nginx to start", self.log)
        self.note_processes()
        return self

    def _has_workers(self):
        # A signal that comes before the master has its workers is lost.
        return not self.master or len(self.children()) >= self.worker_processes

    def accepts(self):
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.folder / "nginx.sock")) == 0

    def _pid_in_file(self, name="nginx.pid"):
        try:
            return int((self.folder / name).read_text())
        except (FileNotFoundError, ValueError):
            return None

    @property
    def pid(self):
        return self._pid_in_file()

    def children(self, of=None):
        of = of or self.pid
        try:
            text = pathlib.Path(f"/proc/{of}/task/{of}/children").read_text()
        except FileNotFoundError:
            return []
        return [int(pid) for pid in text.split()]

    def note_processes(self):
        """Remembers the processes to end: this nginx's own, by pid and start time."""
        for root in (self.pid, self._pid_in_file("nginx.pid.oldbin")):
            if root:
                for pid in (root, *self.children(root)):
                    self._started.add((pid, start_time(pid)))

    def send(self, number, pid=None):
        self.note_processes()
        os.kill(pid or self.pid, number)

    def reload(self):
        """Sends HUP, and waits until only new workers accept. Old ones may still run. Returns their pids."""
        old = set(self.children())
        self.send(signal.SIGHUP)
        wait_for(lambda: len(set(self.children()) - old) >= self.worker_processes, "new workers", self.log)
        wait_for(lambda: all(f"{pid}: gracefully shutting down" in self.log() for pid in old), "the end of the old",
                 self.log)
        self.forget_workers()
        return old

    def stop(self, number=signal.SIGQUIT, timeout=TIMEOUT):
        """Stops nginx in order, and checks that it has ended."""
        self.note_processes()
        self.forget_workers()
        pid = self.pid
        if pid and alive(pid, dict(self._started).get(pid)):
            os.kill(pid, number)
        wait_for(lambda: not self.running(), "nginx to end", self.log, timeout)
        if self._process:
            self._process.wait(TIMEOUT)

    def running(self):
        if self._process:
            self._process.poll()
        return [pid for pid, started in self._started if started is not None and alive(pid, started)]

    def kill(self):
        """Ends all processes that are left."""
        self.note_processes()
        self.forget_workers()
        masters = {self.pid, self._pid_in_file("nginx.pid.oldbin")}
        # Masters first: a living master replaces each worker that dies.
        for pid, started in sorted(self._started, key=lambda process: process[0] not in masters):
            if started is not None and alive(pid, started):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        if self._process:
            self._process.wait(TIMEOUT)
        wait_for(lambda: not self.running(), "killed processes to be gone", self.log)

    # Workers

    def forget_workers(self):
        for worker in self._found:
            worker.close()
        self._found = []

    def connect(self):
        """Returns a connection to the worker that accepts first."""
        worker = Worker(str(self.folder / "nginx.sock"))
        self._found.append(worker)
        worker.run("return 0")
        return worker

    def get(self, path):
        """Returns the answer of the worker that accepts first."""
        connection = _Connection(str(self.folder / "nginx.sock"))
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def workers(self, count=None):
        """Returns one connection to each worker. Blocks the workers found so far, so that another accepts next."""
        count = count or self.worker_processes
        found, fifos = [], []
        try:
            while len(found) < count:
                worker = Worker(str(self.folder / "nginx.sock"))
                fifo = self.folder / f"park{next(_numbers)}"
                os.mkfifo(fifo, 0o666)
                os.chmod(fifo, 0o666)
                worker.park(fifo)
                # The open returns when the worker reads the pipe. From then on the worker is blocked.
                fifos.append((fifo, open(fifo, "w")))
                found.append(worker)
        finally:
            for fifo, pipe in fifos:
                pipe.close()
                fifo.unlink()
        for worker in found:
            worker.unpark()
        assert len({worker.pid for worker in found}) == count
        self._found += found
        found.sort(key=lambda worker: worker.pid)
        return found

    # Logs and names

    def log(self):
        try:
            return (self.folder / "error.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def log_lines(self, *words):
        """Returns the log's lines of the library that contain all `words`."""
        lines = [line for line in self.log().splitlines() if "worker-events: " in line]
        return [line for line in lines if all(word in line for word in words)]

    def errors(self):
        """Returns the log's crashes and unexpected errors. No test may have any."""
        levels = ("[alert]", "[emerg]", "[crit]", "[error]", "[warn]")
        lines = [line for line in self.log().splitlines() if any(level in line for level in levels)]
        return [line for line in lines if not any(word in line for word in self.allowed)]

    def segments(self):
        """Returns the names in shared memory that contain this nginx's zone."""
        return sorted(name for name in os.listdir("/dev/shm") if self.zone in name)


def start_time(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return None


def alive(pid, started=None):
    """Returns True if the process runs: it is not gone, not a zombie, and its pid was not reused."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return fields[0] not in "ZX" and (started is None or fields[19] == started)


def wait_for(condition, what, log=lambda: "", timeout=TIMEOUT):
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {timeout} s for {what}\n{log()[-3000:]}"
        time.sleep(0.005)
