"""`stepstream check`: every deviation of a stream from the protocol, a line each."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Final

import anyio

from stepstream.cli.output import counted, write_line
from stepstream.cli.request_options import RequestOptions
from stepstream.cli.source import named
from stepstream.conformance.deviation import Deviation
from stepstream.conformance.stream import StreamChecker
from stepstream.errors import FrameTooLarge, StepStreamError, StreamFailed, StreamTruncated
from stepstream.live.source import END, ItemDecoder, next_item, open_source
from stepstream.wire.error_body import foreign_text
from stepstream.wire.sse import Frame

DEVIATING: Final = 7
"""The exit status where there was any deviation."""

TRAILING_TIME: Final = 1.0
"""Seconds in all that are spent on waiting for what a server may send after `done`."""


async def check(source: str, *, chunk_size: int, speed: float, request: RequestOptions) -> int:
    """Write each deviation in `source` as a line, a summary after them, and return the exit status.

    Reading goes on after `done`, for nothing may follow it: to the end, but waiting at most `TRAILING_TIME`.

    Raises:
        StreamTruncated: it is no event stream: the text says what it is.
        StreamFailed: the stream carried an `error` event, and deviates in nothing.
        UsageError: `request` cannot be sent.
        StepStreamError: it could not be opened, or broke; what was found is written before, and a summary.
    """
    report = _Report()
    try:
        stream = named(source, chunk_size=chunk_size, speed=speed, request=request.options(source))
        async with open_source(stream) as chunks:
            await _read(chunks, report)
    except StepStreamError:
        if report.checker.sequence:
            report.write_summary()
        raise
    report.write_summary()
    if report.tally:
        return DEVIATING
    if report.failure is not None:
        raise report.failure
    return 0


async def _read(chunks: AsyncIterator[Any], report: "_Report") -> None:
    """Read a stream to its end, and what follows `done` as far as it comes soon."""
    decoder = ItemDecoder()
    try:
        while not report.checker.is_done and (chunk := await next_item(chunks)) is not END:
            report.take(decoder.feed(chunk))
        async for chunk in _soon(chunks):
            report.take(decoder.feed(chunk))
    except FrameTooLarge as excess:
        report.take(excess.frames)
        report.write(report.checker.reject(excess))
    else:
        foreign = foreign_text(decoder.opening) if decoder.is_empty else ""
        if foreign:
            raise StreamTruncated(f"the stream ended without a single event: {foreign}")
        report.finish(decoder.pending())


async def _soon(chunks: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Yield what comes of a stream before the waiting for it has taken `TRAILING_TIME`."""
    left = TRAILING_TIME
    while left > 0:
        began, chunk = anyio.current_time(), END
        with anyio.move_on_after(left):
            chunk = await next_item(chunks)
        if chunk is END:
            return
        left -= anyio.current_time() - began
        yield chunk


class _Report:
    """The deviations of one stream, written as they come."""

    def __init__(self) -> None:
        self.checker = StreamChecker()
        self.tally: Counter[str] = Counter()

    @property
    def failure(self) -> StreamFailed | None:
        """What the first `error` event said, where that is how the stream ended."""
        data = self.checker.failure
        return None if data is None else StreamFailed(data.code, data.message, data.type, data.param)

    def take(self, frames: Sequence[Frame]) -> None:
        """Check frames."""
        for frame in frames:
            self.write(self.checker.feed(frame))

    def finish(self, pending: Frame | None) -> None:
        """Check the end of the stream, and the block that it left unfinished."""
        self.write(self.checker.finish(pending))

    def write(self, deviations: Iterable[Deviation]) -> None:
        """Write each deviation as a line."""
        for one in deviations:
            self.tally[one.code] += 1
            about = f"  ({one.id})" if one.id is not None else ""
            head = "  ".join(filter(None, (f"event {one.sequence}", one.event, one.code)))
            write_line(f"{head}{about}: expected {one.expected}, got {one.got}")

    def write_summary(self) -> None:
        """Write how many events and deviations there were."""
        found = counted(self.tally.total(), "deviation") if self.tally else "no deviations"
        codes = ", ".join(f"{code} {count:,}" for code, count in self.tally.most_common())
        write_line(f"{counted(self.checker.sequence, 'event')}, {found}{codes and ': '}{codes}")
