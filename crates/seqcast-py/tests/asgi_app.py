"""An ASGI application with a worker on the server's loop."""

import asyncio
import os

import seqcast.aio
import seqcast.asgi

bus = seqcast.Bus(os.environ["TEST_BUS"])
worker = seqcast.aio.Worker(bus, label="web")
seen = []
news = None


@worker.on("test")
async def handle(event):
    await asyncio.sleep(0)
    seen.append(event.text())
    for waiter in list(waiters):
        waiter.set()


waiters = set()


async def answer(path):
    _, command, *rest = path.split("/")
    if command == "post":
        return str(worker.post("test", "event", rest[0]))
    if command == "seen":
        # The loop polls, not this code. This ends when the event comes.
        while rest and rest[0] not in seen:
            waiter = asyncio.Event()
            waiters.add(waiter)
            await waiter.wait()
            waiters.discard(waiter)
        return ",".join(seen)
    if command == "loop":
        return type(asyncio.get_running_loop()).__module__
    return "ready"


async def hello(scope, receive, send):
    text = f"{os.getpid()} {await answer(scope['path'])}".encode()
    headers = [(b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text})


app = seqcast.asgi.Lifespan(hello, worker)
