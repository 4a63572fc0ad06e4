"""Connects to a hostile server, in a process of its own, and prints how that ended and what memory it took.

`python -m tests.support.memory_probe BACKEND URL`, where the backend is an event loop's, or `fast` for the transport.
"""

import json
import re
import resource
import sys
from pathlib import Path
from typing import Any

import anyio

from stepstream import Processor, StepStreamError, connect

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


async def main(url: str, fast: bool) -> dict[str, Any]:
    before = peak()
    try:
        async with Processor() as processor:
            await processor.run(connect(url, attempts=1, fast=fast))
        error, text = "none", ""
    except StepStreamError as exc:
        error, text = type(exc).__name__, str(exc)
    return {"error": error, "text": text, "before": round(before, 1), "peak": round(peak(), 1)}


if __name__ == "__main__":
    backend, url = sys.argv[1:]
    fast = backend == "fast"
    print(json.dumps(anyio.run(main, url, fast, backend="asyncio" if fast else backend)))  # noqa: T201
