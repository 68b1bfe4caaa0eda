"""An application for gunicorn. Its objects are created when the module is imported: in the master, with --preload."""

import os

import seqcast
import seqcast.wsgi

bus = seqcast.Bus(os.environ["TEST_BUS"])
worker = seqcast.Worker(bus, label="web")
cache = seqcast.shared_cache("values", bus=bus)
seen = []

if os.environ.get("TEST_JOIN_AT_IMPORT"):
    worker.join()
    cache["at import"] = str(os.getpid())


@worker.on("test")
def handle(event):
    seen.append(event.text())


@seqcast.run_once("once", ttl=3600, bus=bus)
def once():
    worker.post("job", "ran")
    return True


def answer(path):
    _, command, *rest = path.split("/")
    if command == "post":
        return str(worker.post("test", "event", rest[0]))
    if command == "seen":
        return ",".join(seen)
    if command == "get":
        return cache.get_or_load(rest[0], lambda: open(os.environ["TEST_VALUE"]).read())
    if command == "delete":
        del cache[rest[0]]
        return "deleted"
    if command == "cached":
        return str(cache.get("at import"))
    if command == "once":
        return str(once())
    if command == "exit":
        os._exit(9)
    return "ready"


def hello(environ, start_response):
    text = f"{os.getpid()} {answer(environ['PATH_INFO'])}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
    return [text]


application = seqcast.wsgi.Polling(hello, worker)
