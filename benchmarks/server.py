"""A server in a process of its own, which sends one workload to whoever asks, each event in an HTTP chunk of its own.

It has to be faster than every client, so it knows no HTTP: it reads a request to its end, and writes what it has made
before it listened. A write for every event would cost it more than some clients need to read it, so many chunks share
one, unless it is asked otherwise or has to keep a pace. It is on loopback only, and ends with the process that started
it, or after ten minutes.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from benchmarks.stamped import stamped
from benchmarks.workloads import Load

LIFETIME: Final = 600.0
PATIENCE: Final = 60.0
"""Seconds that one connection may stand still."""

WRITE: Final = 65_536
"""Bytes of a write that many chunks share."""

_TOP: Final = Path(__file__).parents[1]
_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
)
_END: Final = b"0\r\n\r\n"

Writes = Callable[[], Iterator[bytes]]
"""Gives what is written, one write after another."""


@contextmanager
def serving(load: Load, size: int, *, is_written_singly: bool = False, rate: int = 0) -> Iterator[str]:
    """Serve a workload of that size and give its URL. With a `rate` it is `size` stamped events, as many a second."""
    spec = json.dumps({"load": asdict(load), "size": size, "is_written_singly": is_written_singly, "rate": rate})
    command = [sys.executable, "-m", "benchmarks.server", spec]
    with subprocess.Popen(command, cwd=_TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.stdin.close()  # which ends it


def writes_of(spec: dict[str, Any]) -> Writes:
    if spec["rate"]:
        return lambda: map(_as_chunk, stamped(spec["size"], spec["rate"]))
    fields = spec["load"] | {"options": tuple(map(tuple, spec["load"]["options"]))}
    chunks = [_as_chunk(block) for block in Load(**fields).make(spec["size"]).blocks]
    if not spec["is_written_singly"]:
        body = b"".join(chunks)
        chunks = [body[start : start + WRITE] for start in range(0, len(body), WRITE)]
    return lambda: iter(chunks)


def _as_chunk(block: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(block), block)


def serve(listener: socket.socket, writes: Writes) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_answer, args=(connection, writes), daemon=True).start()


def _answer(connection: socket.socket, writes: Writes) -> None:
    connection.settimeout(PATIENCE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, suppress(OSError):  # a client leaves when it has read `done`
        _read_request(connection)
        connection.sendall(_HEAD)
        for one in writes():
            connection.sendall(one)
        connection.sendall(_END)


def _read_request(connection: socket.socket) -> None:
    """Read a request to the end of its body."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _received(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    lengths = [line.partition(b":")[2] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    missing = int(lengths[0] if lengths else 0) - len(body)
    while missing > 0:
        missing -= len(_received(connection))


def _received(connection: socket.socket) -> bytes:
    received = connection.recv(65536)
    if not received:
        raise ConnectionAbortedError("the client closed before its request was complete")
    return received


def main() -> None:
    writes = writes_of(json.loads(sys.argv[1]))
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        threading.Thread(target=serve, args=(listener, writes), daemon=True).start()
        threading.Thread(target=_end_after, args=(LIFETIME,), daemon=True).start()
        print(listener.getsockname()[1], flush=True)
        sys.stdin.read()


def _end_after(seconds: float) -> None:
    time.sleep(seconds)
    os._exit(1)


if __name__ == "__main__":
    main()
