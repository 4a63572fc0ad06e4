"""The terminal: its other screen, its keys one by one, its size. Whatever happens, it is given back as it was.

It is opened once more, for ourselves: so it can be written without waiting, and that changes nothing for others.
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
"""The other screen, no cursor, no wrapping."""

LEAVE: Final = b"\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"

GIVEN_UP_AFTER: Final = 1.0
"""Seconds that a terminal which takes nothing holds up the end."""


class Terminal:
    """A terminal that is drawn on, open."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._before = termios.tcgetattr(descriptor)
        self._writing = anyio.Lock()
        self._screen = 0
        """Which screen what is being written is for: it counts how often the terminal was taken over."""
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
        """Write without holding up anybody else, unless it was left meanwhile."""
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
            return b"\0"
        except OSError:
            return b""

    def enter(self) -> None:
        """Take it over."""
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
        """Give it its modes back, whoever has changed them."""
        with suppress(termios.error):
            termios.tcflush(self._descriptor, termios.TCIFLUSH)
            termios.tcsetattr(self._descriptor, termios.TCSANOW, self._before)

    def _write_now(self, data: bytes) -> None:
        until = time.monotonic() + GIVEN_UP_AFTER
        while data and time.monotonic() < until:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [], GIVEN_UP_AFTER / 10)


@contextmanager
def opened() -> Iterator[Terminal]:
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
