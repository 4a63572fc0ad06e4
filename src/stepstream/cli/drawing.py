"""Streams drawn live on the terminal, and their summary below it: what `watch` and `demo` share."""

import math
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from stepstream.cli.output import counted, summary
from stepstream.cli.screen.capabilities import theme_of
from stepstream.cli.screen.driver import FRAME, Ending, draw_during
from stepstream.cli.screen.paint import Painter
from stepstream.cli.screen.summary import summary as table
from stepstream.errors import StepStreamError
from stepstream.fold.anomalies import Anomaly
from stepstream.fold.outcome import Outcome
from stepstream.live.processor import Processor
from stepstream.live.source import Source
from stepstream.views.builder import ViewBuilder

T = TypeVar("T")

SUMMARY_RUNS: Final = 20

COARSE: Final = 0.5
"""Seconds of a recording between two frames: from there on, frames are too far apart to measure durations."""


async def drawn(stream: Source, source: str, *, speed: float = 1, redact: bool = False) -> int | None:
    """Draw one stream until it ends or the user quits. Return the exit status where a signal ended it.

    Raises:
        StepStreamError: as `Processor.run` does; the summary of what came, if anything, is written before.
    """
    async with Processor(strict=True) as processor:
        ending = await watched(
            processor, lambda: processor.run(stream), _verdict, source=source, speed=speed, redact=redact
        )
    return status_after(ending)


def status_after(ending: Ending) -> int | None:
    """Return the exit status where a signal ended the drawing. Where that was not Ctrl-C, the program ends here.

    It ends by the signal itself, as if it had never received it: then its parent process sees what ended it.
    """
    if ending.signal is None:
        return None
    if ending.signal != signal.SIGINT:
        signal.signal(ending.signal, signal.SIG_DFL)
        os.kill(os.getpid(), ending.signal)
    return 128 + ending.signal


def _verdict(outcome: Outcome) -> str:
    return f"{outcome.reason or 'broken'}: {summary(outcome)}"


async def watched(
    processor: Processor,
    body: Callable[[], Awaitable[T]],
    verdict: Callable[[T], str],
    *,
    source: str,
    speed: float = 1,
    redact: bool = False,
) -> Ending:
    """Draw what `processor` knows while `body` runs, then write the summary, whose last line is the verdict."""
    theme = theme_of(os.environ, sys.stdout.encoding, redact=redact)
    builder = ViewBuilder(processor.state, theme, source, is_coarse=speed * FRAME > COARSE)

    async def count_anomaly(anomaly: Anomaly) -> None:
        builder.count_anomaly(anomaly)

    processor.add((Anomaly,), count_anomaly)
    clock = _clock(speed)
    last_line = ""
    try:
        ending = await draw_during(body, processor.state, builder, clock)
        if ending.result is not None:
            last_line = verdict(ending.result)
        elif ending.signal in (None, signal.SIGINT):
            last_line = f"quit after {counted(processor.statistics().events, 'event')}"
    except StepStreamError as error:
        last_line = _verdict(error.outcome) if error.outcome is not None else ""
        raise
    finally:
        if last_line and processor.statistics().events:
            _write_summary(builder, last_line, clock())
    return ending


def _write_summary(builder: ViewBuilder, last_line: str, now: float) -> None:
    width = min(_columns(), 120)
    view = builder.build(now, runs=SUMMARY_RUNS)
    _write_lines(Painter(builder.theme), table(view, builder.anomalies, last_line, width, now))


def _write_lines(painter: Painter, lines: list[Any]) -> None:
    text = "".join(painter.painted(line) + "\n" for line in lines)
    sys.stdout.buffer.write(text.encode(sys.stdout.encoding, "backslashreplace"))
    sys.stdout.buffer.flush()


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except OSError:
        return 80


def _clock(speed: float) -> Callable[[], float]:
    """Return a clock that goes as fast as the recording: with `max`, which has no factor, as fast as our own."""
    factor = 1.0 if math.isinf(speed) else speed
    start, begun = time.time(), time.monotonic()
    return lambda: start + (time.monotonic() - begun) * factor
