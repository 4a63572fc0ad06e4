"""Lines that a process writes."""

import select
from typing import IO

from tests.support.terminals import WITHIN


def next_line(stream: IO[bytes] | None) -> bytes:
    """Return the next line of a process, which must come now: nothing more is written to it meanwhile."""
    assert stream is not None
    line = b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([stream], [], [], WITHIN)
        assert ready, f"expected a line, got {line!r} and silence"
        byte = stream.read(1)
        assert byte, f"expected a line, got {line!r} and the end"
        line += byte
    return line
