"""Structured logs with structlog: one JSON object a line, for one's own hooks and tools and for stepstream's loggers.

stepstream logs through the standard library: constant texts, and the ids as `extra`, which `ExtraAdder` takes over.
Callbacks see the context variables of the `run` or `drive` whose changes they get: what is bound there stands in every
line of that run. A hook of the toolbox gives each call of a tool its line, with its duration.
"""

import logging
import os
import sys

import anyio
import structlog
from structlog.contextvars import bound_contextvars, merge_contextvars

from stepstream import Processor, RunsClient, StepTransition, Toolbox, ToolResult

SHARED = [merge_contextvars, structlog.stdlib.add_logger_name, structlog.processors.add_log_level]

log = structlog.get_logger("bot")
tools = Toolbox(on_error="output")


def configure() -> None:
    """Send everything to standard output, as JSON."""
    structlog.configure(
        processors=[*SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*SHARED, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.dict_tracebacks,
                structlog.processors.JSONRenderer(sort_keys=True),
            ],
        )
    )
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)


@tools.function
async def get_depth(place: str, tide: str = "low") -> float:
    """The depth of water, in metres."""
    if place == "channel":
        raise LookupError("no gauge there")
    return 7.2 if tide == "high" else 4.1


@tools.after
async def note(result: ToolResult) -> None:
    failed = type(result.exception).__name__ if result.exception else None
    called, seconds = result.context, round(result.duration, 3)
    log.info("tool called", tool=called.name, step=called.step_id, failed=failed, seconds=seconds)


async def main() -> None:
    configure()
    async with Processor() as processor, RunsClient(f"{os.environ['STEPSTREAM_URL']}/v1") as runs:

        @processor.on(StepTransition, terminal=True)
        async def tell(change: StepTransition) -> None:
            log.info("step ended", step=change.step_id, type=change.type, status=change.status)

        with bound_contextvars(channel="#harbour"):
            await runs.drive(processor, "thread_1", tools, assistant_id="asst_1", tools=tools.definitions())


if __name__ == "__main__":
    anyio.run(main)
