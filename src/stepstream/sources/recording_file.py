"""The file of a recording: how it is written, and where it is cut to be replayed at its pace.

A recording is a stream of server-sent events that any parser reads. Its first line is a comment that names the format.
Before each event stands a comment with its time, in seconds since the source was opened. Nothing else is stored: no
URL, no header, no key. A recording that was cut reads up to the cut.

    : stepstream recording 1
    : at 0.125041
    event: thread.run.created
    data: {"id": "run_1"}

"""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from os import PathLike
from types import TracebackType
from typing import BinaryIO, Final, Self

from stepstream.errors import RecordingFailed

TITLE: Final = b": stepstream recording 1"
LONGEST_GAP: Final = 300.0
"""Seconds that the time between two events counts at most when it is replayed. A live stream is given up by then."""

_TITLES: Final = (TITLE + b"\n", TITLE + b"\r\n")
_AT: Final = b": at "
_TIME: Final = re.compile(rb"^: at (\d{1,10}(?:\.\d{1,9})?)\r?\n", re.MULTILINE)
_LONGEST_TIME: Final = 32
"""Bytes that a line with a time has at most: as many as `_TIME` can match, and some more."""


class RecordingWriter:
    """The file of a recording, open for writing. What a file held before stays until there is something to write."""

    def __init__(self, path: str | PathLike[str]) -> None:
        self.has_begun = False
        """Whether anything was written."""
        self.blocks = 0
        """How many blocks were written."""
        self._path = path
        with self._translated_errors():
            try:
                self._file: BinaryIO = open(path, "xb")  # noqa: SIM115 - closed by __exit__
                self._is_new = True
            except FileExistsError:
                self._file = open(path, "wb", opener=_open_without_truncating)  # noqa: SIM115 - closed by __exit__
                self._is_new = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            with self._translated_errors():
                self._file.close()
        except RecordingFailed:
            if exc_type is None:  # else the exception of the stream is the one to raise
                raise
        if self._is_new and not self.has_begun:
            with suppress(OSError):
                os.unlink(self._path)

    def write(self, blocks: Sequence[bytes], seconds: float) -> None:
        """Append `blocks`, each after a time of `seconds`, and flush: what was written outlasts a killed process.

        Raises:
            RecordingFailed: the file cannot be written.
        """
        time = b"%b%.6f\n" % (_AT, seconds)
        with self._translated_errors():
            if not self.has_begun:
                if stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):  # a pipe or a device cannot be truncated
                    self._file.truncate()
                self._file.write(TITLE + b"\n")
                self.has_begun = True
            self._file.write(b"".join(time + block for block in blocks))
            self._file.flush()
        self.blocks += len(blocks)  # here, not where this is awaited: Ctrl-C does not wait for the thread

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise RecordingFailed(f"could not record to {os.fspath(self._path)}: {exc.strerror or exc}") from exc


def _open_without_truncating(path: str, flags: int) -> int:
    """Open a file as mode "wb" does, but keep what it holds: a source that cannot be opened must not cost it."""
    return os.open(path, flags & ~os.O_TRUNC)


class RecordingSplitter:
    """Splits a recording before its times, at any chunking. Of what came it keeps no more than the start of a line."""

    def __init__(self) -> None:
        self._is_recording: bool | None = None  # None: the first line is not complete yet
        self._kept = b""  # the start of a line
        self._is_line_start = True
        self._time = 0.0

    def feed(self, chunk: bytes) -> Iterator[tuple[float, bytes]]:
        """Take the next bytes and yield them in pieces, each after the seconds that pass before it."""
        data, self._kept = self._kept + chunk, b""
        if self._is_recording is None:
            if any(title.startswith(data) and title != data for title in _TITLES):
                self._kept = data
                return
            self._is_recording = data.startswith(_TITLES)
        if self._is_recording:
            yield from self._pieces(data)
        else:
            yield 0.0, data

    def rest(self) -> bytes:
        """Return the bytes that were kept, at the end."""
        return self._kept

    def _pieces(self, data: bytes) -> Iterator[tuple[float, bytes]]:
        was_line_start = self._is_line_start
        data = self._without_unfinished_time(data)
        start, gap = 0, 0.0
        for found in _TIME.finditer(data):
            if found.start() == 0 and not was_line_start:
                continue  # it looks like a time, but is the end of a line whose start has gone out already
            time, before = float(found[1]), self._time
            self._time = time
            if time > before:
                if found.start() > start:
                    yield gap, data[start : found.start()]
                    start = found.start()
                gap = min(time - before, LONGEST_GAP)
        if data:
            yield gap, data[start:]

    def _without_unfinished_time(self, data: bytes) -> bytes:
        """Return `data` up to its last line, where that may become one with a time, and keep that line; else all."""
        start = data.rfind(b"\n") + 1
        if start or self._is_line_start:
            tail = data[start:]
            self._is_line_start = not tail
            if len(tail) <= _LONGEST_TIME and (tail.startswith(_AT) or _AT.startswith(tail)):
                self._kept, self._is_line_start = tail, True
                return data[:start]
        return data
