"""Connects to a hostile server, in a process of its own, and notes how that ended and what memory it took."""

import re
import resource
import sys
from contextlib import suppress
from pathlib import Path

from stepstream import Processor, StepStreamError, TransportError, connect
from tests.support.process_host import Log

STATUS = Path("/proc/self/status")


def peak() -> float:
    """Return the most memory that this process has taken, in MiB.

    On Linux `ru_maxrss` begins with what the parent had taken when it forked, which is no fault of ours.
    """
    if STATUS.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())
        if found:
            return int(found[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


async def probe(log: Log, url: str, fast: bool) -> None:
    with suppress(TransportError):  # the pages of code that a process shares count as its own once it has used them
        async with connect("http://127.0.0.1:9", attempts=1):
            pass
    before = peak()
    try:
        async with Processor() as processor:
            await processor.run(connect(url, attempts=1, fast=fast))
        error, text = "none", ""
    except StepStreamError as exc:
        error, text = type(exc).__name__, str(exc)
    log.note("ended", error=error, text=text, before=round(before, 1), peak=round(peak(), 1))
