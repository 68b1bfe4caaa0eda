"""Another process on the bus of an nginx. It calls the C interface of libseqcast.

It reads commands from its standard input, one a line, as JSON: a name and arguments. It answers each with one line.
"""

import ctypes
import json
import os
import pathlib
import subprocess
import sys

LIBRARY = pathlib.Path(__file__).resolve().parent.parent / "lib" / "libseqcast.so"
EVENT = 1


class BusOptions(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("capacity", ctypes.c_uint64), ("block_size", ctypes.c_uint64),
                ("claims", ctypes.c_uint64), ("seats", ctypes.c_uint64), ("creation_timeout_ns", ctypes.c_uint64),
                ("mode", ctypes.c_uint32), ("set_owner", ctypes.c_int32), ("owner_uid", ctypes.c_uint32),
                ("owner_gid", ctypes.c_uint32), ("strict", ctypes.c_int32), ("unlink_on_free", ctypes.c_int32),
                ("dump", ctypes.c_int32), ("reserved", ctypes.c_int32)]


class PostOptions(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("type_tag", ctypes.c_uint64), ("key", ctypes.c_char_p),
                ("key_len", ctypes.c_size_t), ("ttl_ns", ctypes.c_uint64)]


class Delivery(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_int32), ("own", ctypes.c_int32), ("pid", ctypes.c_uint32), ("seat", ctypes.c_uint32),
                ("id", ctypes.c_uint64), ("missed", ctypes.c_uint64), ("type_tag", ctypes.c_uint64),
                ("source", ctypes.c_void_p), ("source_len", ctypes.c_size_t), ("event", ctypes.c_void_p),
                ("event_len", ctypes.c_size_t), ("payload", ctypes.c_void_p), ("payload_len", ctypes.c_size_t),
                ("unique", ctypes.c_int32), ("reason", ctypes.c_int32)]


class Seat:
    """The commands of the other process."""

    def __init__(self, name):
        self._library = ctypes.CDLL(str(LIBRARY))
        self._library.seqcast_error_message.restype = ctypes.c_char_p
        options = BusOptions(size=ctypes.sizeof(BusOptions), mode=0o777)
        found = os.stat("/dev/shm/" + name)
        options.set_owner, options.owner_uid, options.owner_gid = 1, found.st_uid, found.st_gid
        self._bus, self._seat = ctypes.c_void_p(), ctypes.c_void_p()
        length = ctypes.c_size_t(len(name))
        self._check("bus_open", name.encode(), length, ctypes.byref(options), ctypes.byref(self._bus))
        self._check("bus_subscribe", self._bus, None, ctypes.byref(self._seat))

    def _check(self, call, *arguments):
        result = getattr(self._library, "seqcast_" + call)(*arguments)
        if result < 0:
            raise OSError(self._library.seqcast_error_message().decode())
        return result

    @staticmethod
    def _texts(*texts):
        for text in texts:
            data = text.encode("utf-8", "surrogateescape")
            yield from (data, ctypes.c_size_t(len(data)))

    @staticmethod
    def _options(key, ttl, type_tag=0):
        if key is None and not type_tag:
            return None
        data = key.encode() if key is not None else None
        options = PostOptions(size=ctypes.sizeof(PostOptions), key=data, key_len=len(data or b""), type_tag=type_tag,
                              ttl_ns=int(ttl * 1e9))
        return ctypes.byref(options)

    def post(self, source, event, payload="", key=None, ttl=2, type_tag=0):
        number = ctypes.c_uint64()
        options = self._options(key, ttl, type_tag)
        self._check("seat_post", self._seat, *self._texts(source, event, payload), options, ctypes.byref(number))
        return number.value

    def reserve(self):
        number = ctypes.c_uint64()
        self._check("seat_reserve", self._seat, ctypes.byref(number))
        return number.value

    def commit(self, number, source, event, payload="", key=None, ttl=2):
        self._check("seat_commit", self._seat, ctypes.c_uint64(number), *self._texts(source, event, payload),
                    self._options(key, ttl))

    def take(self):
        """Returns all new events, as [source, event, payload, pid]."""
        place, events = ctypes.POINTER(Delivery)(), []
        while self._check("seat_next", self._seat, ctypes.c_uint64(0), ctypes.byref(place)):
            it = place.contents
            if it.kind == EVENT:
                texts = [ctypes.string_at(getattr(it, name), getattr(it, name + "_len")).decode(errors="replace")
                         for name in ("source", "event", "payload")]
                events.append([*texts, it.pid])
        return events


def main():
    seat = Seat(sys.argv[1])
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        try:
            answer = {"ok": getattr(seat, command)(*arguments)}
        except OSError as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


class Other:
    """The test's side of the other process."""

    def __init__(self, name):
        command = [sys.executable, "-B", __file__, name]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid
        self("take")

    def __call__(self, *command):
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline() or '{"error": "the other process has ended"}')
        if "error" in answer:
            raise OSError(answer["error"])
        return answer["ok"]

    def send(self, number):
        self._process.send_signal(number)

    def end(self):
        self._process.stdin.close()
        self._process.wait(30)

    def kill(self):
        self._process.kill()
        self._process.wait(30)


if __name__ == "__main__":
    main()
