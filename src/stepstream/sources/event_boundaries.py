"""Where events begin and end in a stream of bytes: enough for a timeout per event and to stop at `done`.

Nothing is decoded: the reader of the stream does that, and it would be the same work again. It suffices to look for
blank lines, and to search the last bytes of what came before once more, since a chunk may be cut anywhere.
"""

import re
from typing import Final

_BLANK_LINES: Final = (b"\n\n", b"\n\r", b"\r\r")
"""Two line ends in a row, of whatever kinds: any two bytes of them but CRLF, which is one."""

_LINE_END: Final = re.compile(rb"[\r\n]")
_DONE: Final = re.compile(rb"[\r\n]event: ?done(?:\r\n|\r|\n)data: ?\[DONE\](?:\r\n|\n|\r(?!\n))(?:\r\n|\r|\n)")
_DONE_AT_END: Final = re.compile(rb"[\r\n]event: ?done(?:\r\n|\r|\n)data: ?\[DONE\][\r\n]*\Z")
_MARK: Final = b"[DONE]"
_KEPT_BYTES: Final = 64
"""How many of the last bytes are searched again with the next chunk: what is sought may be cut. More than the longest
`done`."""


class EventBoundaryTracker:
    """Tracks the events in the bytes of one connection."""

    def __init__(self) -> None:
        self.began_at: float | None = None
        """When the event began that has not ended yet: a line after the last blank one that is no comment. Or None."""
        self._past = b"\n"  # a stream begins where a line does
        self._in_comment = False
        self._has_seen_done = False

    @property
    def is_done(self) -> bool:
        """Whether the bytes so far end with `done`, be its blank line there or not."""
        return self._has_seen_done or _DONE_AT_END.search(self._past) is not None

    def feed(self, chunk: bytes, now: float) -> int | None:
        """Take a chunk that came at the time `now`. Return the number of its bytes up to the end of `done`, or None.

        Only a `done` as OpenAI and Azure write it is found, of two lines and nothing else. The reader of the stream
        finds the others.
        """
        seen = self._past + chunk
        self._follow(chunk, seen, now)
        self._past = seen[-_KEPT_BYTES:]
        found = _DONE.search(seen) if _MARK in seen else None
        self._has_seen_done = self._has_seen_done or found is not None
        return None if found is None else max(0, found.end() - len(seen) + len(chunk))

    def _follow(self, chunk: bytes, seen: bytes, now: float) -> None:
        if seen.endswith(_BLANK_LINES):
            self.began_at, self._in_comment = None, False
            return
        ended = max(seen.rfind(blank) for blank in _BLANK_LINES) + 2
        rest = chunk
        if ended > len(seen) - len(chunk):
            rest, self.began_at, self._in_comment = seen[ended:], None, False
        first, *following = _LINE_END.split(rest)
        fresh = following if self._in_comment else [first, *following]
        if self.began_at is None and any(line and not line.startswith(b":") for line in fresh):
            self.began_at = now
        if fresh:
            self._in_comment = fresh[-1].startswith(b":")
