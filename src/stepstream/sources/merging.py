"""Chunks of HTTP that came together become one before h11 sees them: it takes a while over each, whatever is in it."""

import re
from typing import Final

_HEAD_END: Final = b"\r\n\r\n"
_LONGEST_HEAD: Final = 128 * 2**10
_IS_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n", re.IGNORECASE)
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")
_LONGEST_SIZE: Final = 4_096
_NO_CHUNK: Final = b"!"
"""Where bytes cannot be read as chunks, h11 is to say so: it takes this for no size."""


class Merger:
    """Follows what a connection receives. All else than chunks, and what is wrong with them, it passes on as it is.

    Nothing of a body is held back: of what has come, only the beginning of a line between two chunks.
    """

    def __init__(self) -> None:
        self.expect()

    def expect(self) -> None:
        """Expect the head of a response: a request is sent."""
        self._head: bytes | None = b""
        self._is_chunked = False
        self._left = 0  # of the chunk that has begun
        self._held = b""  # begins a line between two chunks

    def feed(self, data: bytes) -> bytes:
        """Take what came, and return what h11 is to see of it, which may be nothing yet."""
        if self._head is not None:
            begun = self._body_of(data)
            return data[:begun] + (self._merged(data[begun:]) if self._is_chunked else data[begun:])
        return self._merged(data) if self._is_chunked else data

    def _body_of(self, data: bytes) -> int:
        """Follow the head, and return where in `data` its body begins; at the end where it does not yet."""
        seen = (self._head or b"") + data
        start = 0
        while (end := seen.find(_HEAD_END, start)) >= 0:
            head, start = seen[start : end + 2], end + len(_HEAD_END)
            if head[9:10] != b"1":  # of an interim response
                self._head, self._is_chunked = None, _IS_CHUNKED.search(head) is not None
                return len(data) - len(seen) + start
        self._head = seen[start:] if len(seen) - start <= _LONGEST_HEAD else None
        return len(data)

    def _merged(self, data: bytes) -> bytes:
        data, at, parts = self._held + data, 0, []
        self._held, rest = b"", b""
        while at < len(data):
            if self._left > 2:
                part = data[at : at + self._left - 2]
                parts.append(part)
                at += len(part)
                self._left -= len(part)
            elif self._left:
                if not data.startswith(b"\r\n"[2 - self._left :][: len(data) - at], at):
                    rest, self._is_chunked = _NO_CHUNK + data[at:], False
                    break
                ended = min(self._left, len(data) - at)
                at, self._left = at + ended, self._left - ended
            elif (size := _SIZE.match(data, at)) is None:
                if b"\n" in data[at:] or len(data) - at > _LONGEST_SIZE:
                    rest, self._is_chunked = data[at:], False
                else:
                    self._held = data[at:]
                break
            elif not (number := int(size[1], 16)):
                rest, self._is_chunked = data[at:], False  # trailers, if any
                break
            else:
                at, self._left = size.end(), number + 2
        body = b"".join(parts)
        return (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + rest
