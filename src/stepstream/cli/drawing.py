"""Streams drawn live on the terminal, and their summary below it: what `watch` and `demo` share."""

import math
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from stepstream.cli.output import counted, summary
from stepstream.cli.view.ability import theme_of
from stepstream.cli.view.driver import FRAME, Ending, die_of, shown, write_lines
from stepstream.cli.view.lookout import Lookout
from stepstream.cli.view.paint import Painter
from stepstream.cli.view.summary import summary as table
from stepstream.errors import StepStreamError
from stepstream.fold.anomalies import Anomaly
from stepstream.fold.outcome import Outcome
from stepstream.live.processor import Processor
from stepstream.live.source import Source

T = TypeVar("T")

RUNS_TOLD: Final = 20

COARSE: Final = 0.5
"""Seconds of a recording between two looks: from there on they do not tell how long something took."""


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
    """Return the exit status where a signal ended the drawing. Of one that kills, the program dies here."""
    return None if ending.signal is None else die_of(ending.signal)


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
    state = processor.state
    lookout = Lookout(state, theme, source, is_coarse=speed * FRAME > COARSE)
    processor.add((Anomaly,), lookout.note)
    clock = _clock(speed)
    told = ""
    try:
        ending = await shown(body, state, lookout, clock)
        if ending.result is not None:
            told = verdict(ending.result)
        elif ending.signal in (None, signal.SIGINT):
            told = f"quit after {counted(processor.statistics().events, 'event')}"
    except StepStreamError as error:
        told = _verdict(error.outcome) if error.outcome is not None else ""
        raise
    finally:
        if told and processor.statistics().events:
            _write_summary(lookout, told, clock())
    return ending


def _write_summary(lookout: Lookout, told: str, now: float) -> None:
    width = min(_columns(), 120)
    picture = lookout.look(now, runs=RUNS_TOLD)
    write_lines(Painter(lookout.theme), table(picture, lookout.anomalies, told, width, now))


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except OSError:
        return 80


def _clock(speed: float) -> Callable[[], float]:
    """Return a clock that goes as fast as what is replayed."""
    factor = 1.0 if math.isinf(speed) else speed
    start, begun = time.time(), time.monotonic()
    return lambda: start + (time.monotonic() - begun) * factor
