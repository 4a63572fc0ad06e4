"""Where a stream can be resumed: the id of its last event and its reconnection time, read from its bytes."""

import re
from typing import Final

_LONGEST_LINE: Final = 4_096
_BOM: Final = b"\xef\xbb\xbf"
_I, _R = b"ir"
_UNSENDABLE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Resumption:
    """Reads id and reconnection time from the bytes of one connection, as `FrameDecoder` does, but keeps no data.

    Of a line, at most 4 KiB are kept; a longer one is no id.
    """

    def __init__(self, last_event_id: str = "") -> None:
        self.last_event_id = last_event_id
        """The id as of the last complete block: what a reconnection sends."""
        self.retry: int | None = None
        """The reconnection time in milliseconds that the server asked for, or None."""
        self._id = last_event_id
        self._line = b""
        self._is_long = False
        self._skip_lf = False
        self._has_begun = False

    def resumed(self) -> "Resumption":
        """Return the object for the next connection, which begins with the id and the time of this one."""
        resumed = Resumption(self.last_event_id)
        resumed.retry = self.retry
        return resumed

    def feed(self, chunk: bytes) -> None:
        """Take the next chunk."""
        if self._skip_lf and chunk:
            self._skip_lf = False
            chunk = chunk.removeprefix(b"\n")
        if not chunk:
            return
        self._skip_lf = chunk.endswith(b"\r")
        lines = (self._line + chunk).splitlines()
        is_whole = chunk.endswith((b"\n", b"\r"))
        unfinished = b"" if is_whole else lines.pop()
        if lines and not self._has_begun:
            self._has_begun = True
            lines[0] = lines[0].removeprefix(_BOM)
        if lines and self._is_long:
            lines[0] = b":"  # the end of a line that is too long, which is ignored: replaced by an empty comment
        for line in lines:
            if not line:
                self.last_event_id = self._id
            elif line[0] in (_I, _R) and len(line) <= _LONGEST_LINE:
                self._read(line)
        self._is_long = len(unfinished) > _LONGEST_LINE or (self._is_long and not lines and not is_whole)
        self._line = unfinished[:_LONGEST_LINE]

    def _read(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value.lstrip(b"0")) <= 18:
            self.retry = int(value)


def last_event_id_header(last_event_id: str) -> bytes | None:
    """Return the id as the value of a header, in UTF-8 and without spaces around it (RFC 9110, section 5.5).

    None where it is empty or has control characters: it cannot be sent then.
    """
    value = last_event_id.strip(" \t")
    return value.encode() if value and not _UNSENDABLE.search(value) else None
