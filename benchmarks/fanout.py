"""A run sent to many viewers over HTTP: a server in one process, the relay or a raw application, viewers in another.

The raw application has what the relay has to make: every frame, ready. It writes them to each viewer as they come, and
does nothing else: no ids, no joining, no limits. Both are served by uvicorn.

    python -m benchmarks.fanout relay|raw VIEWERS DELTAS RATE [STUCK]

A rate of 0 is as fast as possible. The last `STUCK` viewers never read.
"""

import json
import resource
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.lowlevel
import uvicorn

from stepstream import Frame, MemoryJournal, Relay, encode_frame
from stepstream.live.journal import MAX_FRAMES, packs_of

RUN: Final = "run_1"
PATH: Final = f"/{RUN}/events"
END: Final = b"event: done\n"
_TOP: Final = Path(__file__).parents[1]


def frame(name: str, data: Any) -> Frame:
    return Frame(name, json.dumps(data).encode())


def opening() -> list[Frame]:
    run = {"id": RUN, "object": "thread.run", "status": "in_progress", "thread_id": "thread_1"}
    message = {"id": "msg_1", "object": "thread.message", "run_id": RUN, "thread_id": "thread_1", "content": []}
    return [frame("thread.run.in_progress", run), frame("thread.message.created", {**message, "status": "in_progress"})]


def delta(text: str) -> Frame:
    content = [{"index": 0, "type": "text", "text": {"value": text}}]
    return frame(
        "thread.message.delta", {"id": "msg_1", "object": "thread.message.delta", "delta": {"content": content}}
    )


def closing() -> Frame:
    run = {"id": RUN, "object": "thread.run", "status": "completed", "thread_id": "thread_1"}
    return frame("thread.run.completed", run)


class RelayServer:
    """The relay, and a run that it publishes."""

    def __init__(self) -> None:
        self.journal = MemoryJournal()
        self.relay = Relay(self.journal, coalesce=0, max_per_client=20_000, max_viewers=20_000)
        self.opened: Any = None
        self.position = 0

    async def publish(self, frames: list[Frame], *, is_last: bool = False) -> None:
        if self.opened is None:
            self.opened = await self.journal.open(RUN, writer="bench")
        blocks = [encode_frame(one) for one in frames]
        held = packs_of(self.opened.fence, self.position + 1, blocks)
        self.position += len(frames)
        await self.journal.append(self.opened, held, status="ended" if is_last else "open")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.relay(scope, receive, send)


class RawServer:
    """An application that writes frames to all who are there."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.more = anyio.Event()
        self.position = 0

    async def publish(self, frames: list[Frame], *, is_last: bool = False) -> None:
        for one in frames:
            self.position += 1
            self.pieces.append(encode_frame(Frame(one.event, one.data, f"1795981086831.{self.position}")))
        if is_last:
            self.pieces += [encode_frame(Frame("done", b"[DONE]")), b""]
        more, self.more = self.more, anyio.Event()
        more.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        at = 0
        piece = b"."
        while piece:
            while at == len(self.pieces):
                await self.more.wait()
            piece = self.pieces[at]
            at += 1
            await send({"type": "http.response.body", "body": piece, "more_body": bool(piece)})


async def serve(kind: str, viewers: int, deltas: int, rate: float) -> None:
    application: Any = RelayServer() if kind == "relay" else RawServer()
    await application.publish(opening())
    config = uvicorn.Config(application, log_config=None, lifespan="off", backlog=4096, loop="asyncio", http="h11")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listener])
            print(listener.getsockname()[1], flush=True)
            await command("connected")
            print(resident(), flush=True)
            await command("go")
            print(time.monotonic(), flush=True)
            await published(application, deltas, rate)
            await command("end")
            tasks.cancel_scope.cancel()


async def published(application: Any, deltas: int, rate: float) -> None:
    if rate:
        for _ in range(deltas):
            await application.publish([delta(f"{time.monotonic():.6f} " + "x" * 20)])
            await anyio.sleep(1 / rate)
    else:
        frames = [delta("a few words, ") for _ in range(deltas)]
        for start in range(0, deltas, MAX_FRAMES):
            await application.publish(frames[start : start + MAX_FRAMES])
            await anyio.lowlevel.checkpoint()
    await application.publish([closing()], is_last=True)


async def command(expected: str) -> None:
    line = await anyio.to_thread.run_sync(sys.stdin.readline)
    if line.strip() != expected:
        sys.exit(1)


def resident() -> int:
    """Return the bytes that this process has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


class Viewers:
    """Sockets that read a stream each, and note when what came."""

    def __init__(self, port: int, count: int, stuck: int) -> None:
        self.selector = selectors.DefaultSelector()
        self.reading = count - stuck
        self.bytes = 0
        self.late: list[float] = []
        self.sockets = [self._open(port, is_stuck=at >= count - stuck) for at in range(count)]

    def _open(self, port: int, *, is_stuck: bool) -> socket.socket:
        found = socket.socket()
        if is_stuck:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        found.connect(("127.0.0.1", port))
        found.sendall(f"GET {PATH} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        if not is_stuck:
            found.setblocking(False)
            self.selector.register(found, selectors.EVENT_READ)
        return found

    def read_until(self, is_enough: Callable[[], bool]) -> None:
        while not is_enough():
            for key, _ in self.selector.select(1):
                self._read(key.fileobj)

    def _read(self, found: Any) -> None:
        chunk = found.recv(262_144)
        now = time.monotonic()
        self.bytes += len(chunk)
        at = chunk.find(b'"value": "')
        if at >= 0 and chunk[at + 10 : at + 11].isdigit():
            self.late.append(now - float(chunk[at + 10 : chunk.index(b" ", at + 10)]))
        if END in chunk or not chunk:
            self.selector.unregister(found)
            self.reading -= 1


def measured(kind: str, viewers: int, deltas: int, rate: float, stuck: int = 0) -> dict[str, float]:
    """Return what came of it: bytes a second, latencies in seconds, and bytes of memory a viewer who waits."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(20_000, most), most))
    order = [sys.executable, "-m", "benchmarks.fanout", kind, str(viewers), str(deltas), str(rate)]
    with subprocess.Popen(order, cwd=_TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None

        def ask(text: str) -> float:
            print(text, file=server.stdin, flush=True)
            return float(server.stdout.readline())  # type: ignore[union-attr]

        try:
            port = int(server.stdout.readline())
            empty = resident_of(server.pid)
            group = Viewers(port, viewers, stuck)
            seen = [0]

            def settled() -> bool:
                before, seen[0] = seen[0], group.bytes
                return before == group.bytes and group.bytes > 100 * group.reading

            group.read_until(settled)
            waiting = ask("connected")
            group.bytes, began = 0, ask("go")
            group.read_until(lambda: group.reading == 0)
            took = time.monotonic() - began
            late = sorted(group.late)
            return {
                "MB/s": group.bytes / took / 1e6,
                "p50 ms": 1000 * late[len(late) // 2] if late else 0.0,
                "p99 ms": 1000 * late[len(late) * 99 // 100] if late else 0.0,
                "KiB/viewer": (waiting - empty) / viewers / 1024,
            }
        finally:
            server.kill()


def resident_of(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * 4096


if __name__ == "__main__":
    anyio.run(serve, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
