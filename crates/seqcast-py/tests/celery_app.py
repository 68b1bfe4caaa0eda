"""A celery worker with two children. It gets ten tasks and then ends."""

import os
import threading
import time

import celery

import seqcast

app = celery.Celery("app", broker="memory://")
app.conf.worker_hijack_root_logger = False
# One object for the parent and its children.
worker = seqcast.Worker(os.environ["TEST_BUS"], label="task")


@app.task
def greet(number):
    worker.post("task", "greeted", str(number))
    time.sleep(0.05)
    once()


@seqcast.run_once("once", ttl=3600, bus=worker.bus)
def once():
    worker.post("task", "once", "ran")


def main():
    worker.poll()
    for number in range(10):
        greet.delay(number)
    seen = []
    with seqcast.Worker(worker.bus, start="oldest", announce=False) as watcher:
        watcher.only(("task", "greeted"))
        command = app.Worker(
            concurrency=2,
            pool="prefork",
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            loglevel="WARNING",
        )
        thread = threading.Thread(target=watch, args=(watcher, seen, command))
        thread.start()
        command.start()
        thread.join()


def watch(watcher, seen, command):
    end = time.monotonic() + 300
    while len(seen) < 10 and time.monotonic() < end:
        seen += watcher.events(timeout=1)
    command.stop()


if __name__ == "__main__":
    main()
