"""Child processes of tests, and waiting for them."""

import os
import pickle
import signal
import subprocess
import sys
import time
import traceback

# Long, because only a failure waits to its end.
LONG = 300
CHILDREN = []


class Child:
    """A forked child that runs a function. `result()` returns its result or raises its exception."""

    def __init__(self, function, *args):
        read, write = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                os.close(read)
                os.write(write, pickle.dumps(function(*args)))
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        os.close(write)
        self._pipe = read
        CHILDREN.append(self)

    def kill(self, number=signal.SIGKILL):
        os.kill(self.pid, number)

    def wait(self):
        CHILDREN.remove(self)
        status = os.waitpid(self.pid, 0)[1]
        os.close(self._pipe)
        return status

    def result(self):
        data = b""
        while chunk := os.read(self._pipe, 65536):
            data += chunk
        status = self.wait()
        assert status == 0, f"the child ended with status {status:#x}"
        return pickle.loads(data)


def reap():
    """End children that a test has left. Return their pids."""
    left = list(CHILDREN)
    for child in left:
        child.kill()
        child.wait()
    return [child.pid for child in left]


def in_child(function, *args):
    """Return the result of `function` in a forked child."""
    return Child(function, *args).result()


def eventually(condition, what="it"):
    """Wait until `condition` is true. The test fails after too long a wait."""
    end = time.monotonic() + LONG
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} did not come"
        time.sleep(0.005)
    return found


def run_python(code, *args, check=True, **options):
    """Run a program in a separate interpreter."""
    run = subprocess.run(
        [sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, timeout=LONG, **options
    )
    if check:
        assert run.returncode == 0, run.stdout + run.stderr
    return run
