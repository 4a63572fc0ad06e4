"""The terminal: its alternate screen, its keys one by one, its size. Whatever happens, it is given back as it was.

It is opened a second time, by its name. Only that descriptor is made non-blocking, so that a terminal which takes
nothing (Ctrl-S, a dead connection) holds up neither the streams nor the end. To set the flag on standard output would
set it for every process that shares it, the shell included.
"""

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import anyio

ENTER: Final = b"\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[0m\x1b[2J"
"""The alternate screen, no cursor, no wrapping."""

LEAVE: Final = b"\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"

LAST_WRITE_LIMIT: Final = 1.0
"""Seconds for which a terminal that takes nothing holds up the end, at most."""


class Terminal:
    """An open terminal."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._before = termios.tcgetattr(descriptor)
        self._writing = anyio.Lock()
        self._screen = 0
        """Counts how often the terminal was taken over: what is being written for an earlier time is given up."""
        self.is_entered = False

    @property
    def size(self) -> tuple[int, int]:
        """Its columns and lines."""
        try:
            columns, lines = os.get_terminal_size(self._descriptor)
        except OSError:
            return 80, 24
        return columns or 80, lines or 24

    async def write(self, data: bytes) -> None:
        """Write all of `data`, but give up as soon as the terminal is left. Other tasks run meanwhile."""
        async with self._writing:
            view, screen = memoryview(data), self._screen
            while view and self.is_entered and self._screen == screen:
                try:
                    view = view[os.write(self._descriptor, view) :]
                except BlockingIOError:
                    await anyio.wait_writable(self._descriptor)

    async def keys(self) -> bytes:
        """Return what was typed; nothing once the terminal is gone."""
        await anyio.wait_readable(self._descriptor)
        try:
            return os.read(self._descriptor, 1_024)
        except BlockingIOError:
            return b"\0"  # there was no key after all; nothing at all would be the end
        except OSError:
            return b""

    def enter(self) -> None:
        """Switch to the alternate screen, with keys one by one and without echo."""
        self.is_entered = True
        self._screen += 1
        tty.setcbreak(self._descriptor, termios.TCSANOW)
        self._write_now(ENTER)

    def leave(self) -> None:
        """Give it back as it was. It never waits for long, and never fails."""
        if not self.is_entered:
            return
        self.is_entered = False
        with suppress(OSError):  # it may be gone
            self._write_now(LEAVE)
        self.restore()

    def restore(self) -> None:
        """Give it back the modes it had at first, whatever has changed them: a pager that was killed, too."""
        with suppress(termios.error):
            termios.tcflush(self._descriptor, termios.TCIFLUSH)  # else the shell would read keys meant for us
            termios.tcsetattr(self._descriptor, termios.TCSANOW, self._before)

    def _write_now(self, data: bytes) -> None:
        until = time.monotonic() + LAST_WRITE_LIMIT
        while data and time.monotonic() < until:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [], LAST_WRITE_LIMIT / 10)


@contextmanager
def open_terminal() -> Iterator[Terminal]:
    """Open the terminal of standard output. What is changed in the block is undone at its end."""
    name = os.ttyname(sys.stdout.fileno())
    descriptor = os.open(name, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        terminal = Terminal(descriptor)
        try:
            yield terminal
        finally:
            terminal.leave()
            terminal.restore()
    finally:
        os.close(descriptor)
