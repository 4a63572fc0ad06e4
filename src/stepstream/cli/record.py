"""`stepstream record`: a stream saved to a file, with its timing."""

import os
import stat
import sys

from stepstream.cli.exits import USAGE
from stepstream.cli.output import counted, write_error, write_line
from stepstream.cli.request_options import RequestOptions
from stepstream.cli.source import named
from stepstream.live.processor import Processor
from stepstream.sources import recording


async def record(source: str, output: str, *, chunk_size: int, speed: float, request: RequestOptions) -> int | None:
    """Save `source` to `output`, and write how many events were saved, however the stream ends.

    Raises:
        UsageError: `request` cannot be sent.
        StepStreamError: as `Processor.run` and `recording.record` do; what was saved before stays.
    """
    if output == "-":
        write_error("expected the name of a file after -o, got -: /dev/stdout is the name of standard output")
        return USAGE
    if _is_same_file(source, output):
        write_error(f"{output} would be written while it is read: record to another file")
        return USAGE
    stream = named(source, chunk_size=chunk_size, speed=speed, request=request.options(source))
    async with Processor(strict=True) as processor, recording.record(stream, output) as saved:
        try:
            await processor.run(saved)
        finally:
            if saved.events:
                write_line(f"saved {counted(saved.events, 'event')} to {output}")
    return None


def _is_same_file(source: str, output: str) -> bool:
    """Return whether recording would overwrite what is read."""
    try:
        read = os.fstat(sys.stdin.fileno()) if source == "-" and sys.stdin is not None else os.stat(source)
        written = os.stat(output)
    except (OSError, ValueError):  # one is not there: nothing is destroyed
        return False
    return stat.S_ISREG(written.st_mode) and os.path.samestat(read, written)
