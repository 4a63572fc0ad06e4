"""Real terminals for tests: a pseudo-terminal whose every byte is kept, and a screen in tmux that is looked at."""

import fcntl
import json
import os
import pty
import select
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

WITHIN = 60
"""Seconds that anything may take. It takes far less; this bounds a failure."""

RUN = (
    "thread.run.created",
    {"id": "run_1", "model": "sim-large", "status": "in_progress", "created_at": 1_800_000_000},
)
STEP = {"id": "step_1", "run_id": "run_1", "type": "tool_calls", "status": "in_progress"}

TAKE_IT = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Makes standard input the terminal that the program is controlled by."""


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    base = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "PYTHONUNBUFFERED": "", "PAGER": "cat"}
    for name in ("NO_COLOR", "COLUMNS", "LINES", "FORCE_COLOR"):
        base.pop(name, None)
    return {**base, **(changes or {})}


class Terminal:
    """A pseudo-terminal with a program on it, and everything that was written to it."""

    def __init__(
        self, *arguments: object, size: tuple[int, int] = (80, 24), environ: Mapping[str, str] | None = None,
        cwd: Path | None = None, program: tuple[str, ...] = ("-m", "stepstream"),
    ) -> None:  # fmt: skip
        self.written = b""
        self._ours, theirs = pty.openpty()
        self.resize(*size)
        self.before = termios.tcgetattr(theirs)
        command = [sys.executable, "-c", TAKE_IT, sys.executable, *program, *map(str, arguments)]
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(environ), cwd=cwd
        )
        self._theirs = theirs

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(WITHIN)
        self.hang_up()

    def hang_up(self) -> None:
        """Close the terminal, whoever is still on it."""
        os.close(self._theirs)
        os.close(self._ours)

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def read(self, within: float = 0.1) -> bool:
        """Take what is written next. Return whether there was anything, within so many seconds."""
        ready, _, _ = select.select([self._ours], [], [], within)
        if ready:
            self.written += os.read(self._ours, 65_536)
        return bool(ready)

    def until(self, text: str, *, after: int = 0) -> int:
        """Read until `text` was written, behind `after`. Return where it ends."""
        deadline = time.monotonic() + WITHIN
        while (at := self.written.find(text.encode(), after)) < 0:
            assert time.monotonic() < deadline, f"expected {text!r} in {self.written[after:]!r}"
            self.read()
        return at + len(text.encode())

    def wait(self) -> int:
        """Return the exit status, everything read."""
        deadline = time.monotonic() + WITHIN
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"expected the end after {self.written[-2_000:]!r}"
            self.read()
        while self.read():
            pass
        return self.process.returncode

    @property
    def modes(self) -> list[Any]:
        """Its modes, as they are now."""
        return termios.tcgetattr(self._theirs)


class Pipe:
    """A named pipe that events are written to, one at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._end: int | None = os.open(path, os.O_RDWR)  # else its reader would find it ended at once

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, *events: tuple[str, Any]) -> None:
        for name, data in events:
            text = data if isinstance(data, str) else json.dumps(data)
            self.write(f"event: {name}\ndata: {text}\n\n".encode())

    def write(self, data: bytes) -> None:
        assert self._end is not None
        while data:
            data = data[os.write(self._end, data) :]

    def close(self) -> None:
        """End the stream."""
        if self._end is not None:
            os.close(self._end)
            self._end = None


def opened(tool: str = "code_interpreter", identifier: str = "step_1") -> tuple[str, Any]:
    """Return the event that opens a step with one call."""
    call = {"index": 0, "id": f"call_{identifier}", "type": tool, tool: {"input": "", "outputs": []}}
    details = {"type": "tool_calls", "tool_calls": [{key: call[key] for key in call if key != "index"}]}
    return "thread.run.step.created", {**STEP, "id": identifier, "step_details": details}


def grown(text: str, identifier: str = "step_1") -> tuple[str, Any]:
    """Return the event by which its code grows."""
    call = {"index": 0, "type": "code_interpreter", "code_interpreter": {"input": text}}
    details = {"type": "tool_calls", "tool_calls": [call]}
    return "thread.run.step.delta", {"id": identifier, "delta": {"step_details": details}}


SCRIPT = """\
cd {cwd}
trap : INT
stty -g > before
sh -c 'echo $$ > pid; exec "$@"' sh {command}
echo status $?
stty -g > after
tmux wait-for -S over
exec cat
"""


class Screen:
    """A shell in tmux that runs the command line, and what is to be seen of it."""

    def __init__(
        self, tmux: Callable[..., str], cwd: Path, *arguments: object, size: tuple[int, int] = (80, 24), **environ: str
    ) -> None:
        self.tmux = tmux
        self._cwd = cwd
        variables = {key: value for key, value in environment(environ).items() if key in ("PAGER", *environ)}
        given = [f"{key}={value}" for key, value in variables.items()]
        command = shlex.join(["env", *given, sys.executable, "-m", "stepstream", *map(str, arguments)])
        script = cwd / "script"
        script.write_text(SCRIPT.format(cwd=shlex.quote(str(cwd)), command=command))
        tmux("new-session", "-d", "-x", str(size[0]), "-y", str(size[1]), f"sh {shlex.quote(str(script))}")

    def shot(self, *options: str) -> str:
        """Return what is on the screen."""
        return self.tmux("capture-pane", "-p", *options)

    def until(self, is_so: Callable[[str], object]) -> str:
        """Look until it is so, and return the screen."""
        deadline = time.monotonic() + WITHIN
        while not is_so(shot := self.shot()):
            assert time.monotonic() < deadline, f"never came, but:\n{shot}"
        return shot

    def type(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)

    def resize(self, columns: int, lines: int) -> None:
        self.tmux("resize-window", "-x", str(columns), "-y", str(lines))

    def signal(self, number: signal.Signals) -> None:
        os.kill(int((self._cwd / "pid").read_text()), number)

    def over(self) -> str:
        """Return the screen once the program has ended."""
        self.tmux("wait-for", "over")
        return self.until(lambda shot: "status " in shot)

    @property
    def is_restored(self) -> bool:
        """Whether the terminal is as it was: its modes, its screen, its cursor, its wrapping."""
        flags = self.tmux("display-message", "-p", "#{alternate_on} #{cursor_flag} #{wrap_flag}").split()
        before, after = ((self._cwd / name).read_text() for name in ("before", "after"))
        return before == after and flags == ["0", "1", "1"]
