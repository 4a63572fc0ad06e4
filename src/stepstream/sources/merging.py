r"""HTTP chunks that came together, merged into one before h11 parses them.

Servers write each event as an HTTP chunk of its own, and h11 takes a while over each chunk, however short it is. So
the chunks that the socket gave in one read are merged:

    8\r\ndata: a\n\r\n8\r\ndata: b\n\r\n   →   10\r\ndata: a\ndata: b\n\r\n

The invariant: h11 gives the same body and the same end, or the same error, at the same read as it would without. Chunk
borders mean nothing in HTTP (RFC 9112, section 7.1), so that only this has to be kept:

* No byte of a body waits for a later read. A chunk of which a part has come goes out as a chunk of that part. Only the
  start of a line between two chunks is kept, and that is no body.
* All else passes as it came: heads, interim responses, bodies of another framing, the last chunk, trailers, and all
  bytes from the first on that cannot be read as chunks. h11 decides about those.
* A chunk whose end is wrong must not look right for having been merged. Its body is out by then, so the rest follows
  a byte that no size begins with, and h11 raises.

What would break it: reading a size more laxly than h11 does, which would hide an error from it. Reading it more
strictly only costs the merging. The tests compare what h11 makes of both, for any bytes at any cut.
"""

import re
from typing import Final

_HEAD_END: Final = b"\r\n\r\n"
_OTHER_HEAD_END: Final = re.compile(rb"\n\r?\n")
_LONGEST_HEAD: Final = 128 * 2**10
_IS_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n", re.IGNORECASE)
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[^\r\n]*)?[ \t]*\r\n")
_LONGEST_SIZE: Final = 4_096
"""A line between two chunks is kept no longer than this: the rest passes, for h11 to judge."""
_NO_CHUNK: Final = b"!"
"""Begins no size of a chunk: h11 raises at it."""


class Merger:
    """Merges the chunks in what one connection receives. All other bytes, and wrong chunks, it returns as they are."""

    def __init__(self) -> None:
        self.expect()

    def expect(self) -> None:
        """Expect the head of a response: a request is sent."""
        self._head: bytes | None = b""  # as far as it has come; None after it
        self._is_chunked = False
        self._left = 0  # bytes of the chunk that has begun, its line end included
        self._held = b""  # the start of a line between two chunks

    def feed(self, data: bytes) -> bytes:
        """Take the bytes of one read, and return those that h11 is to parse, which may be none yet."""
        if self._head is not None:
            begun = self._body_of(data)
            return data[:begun] + (self._merged(data[begun:]) if self._is_chunked else data[begun:])
        return self._merged(data) if self._is_chunked else data

    def _body_of(self, data: bytes) -> int:
        """Read the head, and return where in `data` the body begins; the end of `data` where it has not begun."""
        seen = (self._head or b"") + data
        start = 0
        while (end := seen.find(_HEAD_END, start)) >= 0:
            if _OTHER_HEAD_END.search(seen, start, end):  # h11 ends the head there: what follows may be its body
                self._head = None
                return len(data)
            head, start = seen[start : end + 2], end + len(_HEAD_END)
            if head[9:10] != b"1":  # else a status 1xx: an interim response, after which another head comes
                self._head, self._is_chunked = None, _IS_CHUNKED.search(head) is not None
                return len(data) - len(seen) + start
        self._head = seen[start:] if len(seen) - start <= _LONGEST_HEAD else None
        return len(data)

    def _merged(self, data: bytes) -> bytes:
        """Return the chunks in `data` as one, with what follows the last of them."""
        data, at, parts = self._held + data, 0, []
        self._held, rest = b"", b""
        while at < len(data):
            if self._left > 2:  # inside of a chunk
                part = data[at : at + self._left - 2]
                parts.append(part)
                at += len(part)
                self._left -= len(part)
            elif self._left:  # inside of its line end
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
