"""The floor: msgspec decodes the delta payloads to stepstream's own type, and nothing else happens.

The payloads are split before the clock starts and no result is kept, so framing, folding and delivery cost nothing.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from benchmarks.workloads import DELTA, Workload
from stepstream.wire.deltas import RunStepDelta

PACKAGES: Final = ("msgspec",)


def prepare(load: Workload) -> list[bytes]:
    blocks = b"".join(load.chunks).split(b"\n\n")
    head = f"event: {DELTA}\ndata: ".encode()
    return [block.removeprefix(head) for block in blocks if block.startswith(head)]


async def run(payloads: list[bytes]) -> list[bytes]:
    decode = msgspec.json.Decoder(RunStepDelta).decode
    for payload in payloads:
        decode(payload)
    return payloads


def check(load: Workload, payloads: list[bytes]) -> int:
    """Decode once more, off the clock: the timed loop keeps nothing, as keeping would raise the floor."""
    assert len(payloads) == load.events.count(DELTA)
    decode = msgspec.json.Decoder(RunStepDelta).decode
    found = "".join(piece for payload in payloads for piece in _arguments(msgspec.to_builtins(decode(payload))))
    assert [found] == [piece for step in load.steps for piece in _arguments({"delta": step})]
    return len(payloads)


def _arguments(data: dict[str, Any]) -> Iterator[str]:
    for call in data["delta"]["step_details"]["tool_calls"]:
        yield call["function"]["arguments"]
