"""A stream that is paced, in which each delta carries the time at which it was sent.

The clock is the system's monotonic one, which all processes of a machine share.
"""

import time
from collections.abc import Iterator
from typing import Final

from benchmarks.objects import block, call_delta, calls_details, compact, function_call
from benchmarks.writer import STEP_DELTA, Writer, argument_piece

STEP: Final = "step_bench"
CALL: Final = "call_bench"
WIDTH: Final = 20
"""Characters of a stamp."""


def stamped(size: int, rate: int) -> Iterator[bytes]:
    """Yield the events of a run with one function call, which gets `size` deltas, each a stamp, `rate` a second."""
    writer = Writer()
    writer.begin_run()
    writer.open_step(STEP)
    writer.add_delta(STEP, {"index": 0, **function_call(CALL, "")})
    yield b"".join(writer.taken())
    head, _, tail = block(STEP_DELTA, compact(call_delta(STEP, argument_piece("@")))).partition(b"@")
    begin, stamps = time.monotonic(), []
    for number in range(1, size + 1):
        if (early := begin + number / rate - time.monotonic()) > 0:
            time.sleep(early)
        stamps.append(f"{time.monotonic_ns():0{WIDTH}}")
        yield head + stamps[-1].encode() + tail
    writer.end_step(STEP, calls_details([function_call(CALL, "".join(stamps), output="saved")]))
    writer.end_run()
    yield b"".join(writer.finish().blocks)


def stamps_in(arguments: str) -> list[int]:
    return [int(arguments[start : start + WIDTH]) for start in range(0, len(arguments), WIDTH)]
