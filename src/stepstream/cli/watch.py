"""`stepstream watch`: runs drawn live, or a line for each transition as it comes."""

from collections import Counter
from datetime import datetime
from typing import TypeAlias

from stepstream.cli.output import summary, write_anomalies, write_line
from stepstream.cli.request_options import RequestOptions
from stepstream.cli.screen.capabilities import check_rich, is_drawable, is_typed
from stepstream.cli.source import is_url, named
from stepstream.errors import StepStreamError
from stepstream.fold.changes import MessageTransition, RunTransition, StepTransition, ToolCallStarted
from stepstream.live.processor import Processor
from stepstream.live.source import Source

Shown: TypeAlias = RunTransition | StepTransition | MessageTransition | ToolCallStarted


async def watch(
    source: str, *, chunk_size: int, speed: float, request: RequestOptions, plain: bool = False, redact: bool = False
) -> int | None:
    """Draw `source` live on a terminal; else, or with `plain`, write a line for each transition. Then a summary.

    Raises:
        StepStreamError: as `Processor.run` does; the summary of what came, if anything, is written before.
        ImportError: a terminal is to be drawn on, and what draws is not installed.
        UsageError: `request` cannot be sent.
    """
    is_drawn = not (plain or not is_drawable() or (source == "-" and is_typed()))
    options = request.options(source)
    stream = named(source, chunk_size=chunk_size, speed=speed, request=options, is_drawn=is_drawn)
    if not is_drawn:
        await _written(stream)
        return None
    check_rich()
    from stepstream.cli.drawing import drawn

    has_pace = source != "-" and not is_url(source)  # as only a recording may
    return await drawn(stream, source.partition("?")[0], speed=speed if has_pace else 1, redact=redact)


async def _written(stream: Source) -> None:
    """Write a line for each transition of `stream`, and a summary at the end."""
    async with Processor(strict=True) as processor:
        processor.add((RunTransition, StepTransition, MessageTransition), write_change)
        try:
            outcome = await processor.run(stream)
        except StepStreamError as error:
            if error.outcome is not None and error.outcome.events:
                write_line(f"broken: {summary(error.outcome)}")
            raise
        write_line(f"{outcome.reason}: {summary(outcome)}")
        write_anomalies(outcome)


async def write_change(change: Shown) -> None:
    """Write a change as one line: the time, what changed, from which status to which."""
    now = datetime.now().astimezone().strftime("%H:%M:%S.%f")[:-3]
    write_line(f"{now}  {described(change)}")


def described(change: Shown) -> str:
    """Return a change in words."""
    match change:
        case RunTransition():
            return f"run      {change.run_id}  {_move(change)}"
        case MessageTransition():
            return f"message  {change.message_id}  {_move(change)}"
        case StepTransition():
            return f"step     {change.step_id}  {_what(change)}  {_move(change)}"
        case ToolCallStarted():
            return f"call     {change.id}  {' '.join(filter(None, (change.type, change.name)))}"


def _move(change: RunTransition | StepTransition | MessageTransition) -> str:
    return f"{change.previous or '·'} → {change.status}"


def _what(change: StepTransition) -> str:
    tools = Counter(call.tool_name or call.type or "?" for call in change.step.tool_calls)
    names = [name if count == 1 else f"{name} x{count}" for name, count in tools.items()]
    return ", ".join(names) or str(change.type or "?")
