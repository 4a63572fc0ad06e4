"""Processes that a test may kill and pause, made quickly: a host has imported what they need, and forks.

    with host("tests.support.journal_programs") as one:
        process = one.start("publish", log="…", url="…")     # that module's `publish`, on an event loop of its own
        process.kill()

A process notes what it does in a log, a line each, which is in the file when `note` returns.
"""

import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import anyio

from tests.support.places import ROOT


class Log:
    """What one process after another notes in a file."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(self, what: str, **more: Any) -> None:
        os.write(self._file, json.dumps({"what": what, **more, "at": time.monotonic()}).encode() + b"\n")


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Return what is in a log. A line that its process could not finish is none."""
    whole = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in whole]


class Process:
    """One that was started, by its number."""

    def __init__(self, host: "Host", pid: int, log: Path) -> None:
        self.pid, self.log = pid, log
        self._host = host

    def kill(self) -> None:
        """End it as a crash does."""
        if not self.has_ended():
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """Ask it to end, if it goes on."""
        if not self.has_ended():
            os.kill(self.pid, signal.SIGTERM)

    def wait(self, limit: float = 30) -> None:
        """Return when it has ended."""
        end = time.monotonic() + limit
        while not self.has_ended():
            assert time.monotonic() < end, f"{self.log.name} goes on: {lines_of(self.log)[-3:]}"
            time.sleep(0.01)

    def has_ended(self) -> bool:
        return self._host.ask(ended=self.pid)["has_ended"]


class Host:
    """Starts processes."""

    def __init__(self, served: "subprocess.Popen[str]") -> None:
        self._served = served
        self._lock = Lock()

    def start(self, program: str, *, log: Path, backend: str = "asyncio", **arguments: Any) -> Process:
        """Run a program of the module in a process of its own."""
        told = self.ask(start=program, log=str(log), backend=backend, arguments=arguments)
        return Process(self, told["pid"], log)

    def ask(self, **what: Any) -> Any:
        assert self._served.stdin is not None
        assert self._served.stdout is not None
        with self._lock:
            print(json.dumps(what), file=self._served.stdin, flush=True)
            return json.loads(self._served.stdout.readline())


@contextmanager
def host(module: str) -> Iterator[Host]:
    """Give what starts programs of a module. Those that go on are killed at the end."""
    order = [sys.executable, "-m", "tests.support.process_host", module]
    with subprocess.Popen(order, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as served:
        try:
            yield Host(served)
        finally:
            assert served.stdin is not None
            served.stdin.close()  # which ends it


def serve(module: Any) -> None:
    """Do what comes on standard input, and kill all that goes on when that ends."""
    gc.collect()
    gc.freeze()  # so that those who are forked share it
    running: set[int] = set()
    for line in sys.stdin:
        asked = json.loads(line)
        if "start" in asked:
            pid = os.fork()
            if not pid:
                _go(module, asked)
            running.add(pid)
            sys.stdout.write(json.dumps({"pid": pid}) + "\n")
            sys.stdout.flush()
            continue
        pid = asked["ended"]
        if pid in running and os.waitpid(pid, os.WNOHANG)[0]:
            running.discard(pid)
        sys.stdout.write(json.dumps({"has_ended": pid not in running}) + "\n")
        sys.stdout.flush()
    for pid in running:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _go(module: Any, asked: Any) -> None:
    """Be the process that was asked for. It never returns."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    log = Log(asked["log"])
    program: Callable[..., Any] = getattr(module, asked["start"])
    try:
        anyio.run(lambda: program(log, **asked["arguments"]), backend=asked["backend"])
    finally:
        if sys.exc_info()[0] is not None:
            log.note("failed", why=traceback.format_exc())
        os._exit(0)


if __name__ == "__main__":
    serve(importlib.import_module(sys.argv[1]))
