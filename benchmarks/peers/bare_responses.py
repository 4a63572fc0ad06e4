"""A floor for Responses: msgspec decodes the payloads of the deltas to a struct with all that they hold; nothing else.

The payloads are split before the clock starts, and no result is kept.
"""

from typing import Any, Final

import msgspec

from benchmarks.responses import text_of
from benchmarks.writer import CALL_DELTA, TEXT_DELTA, Workload

PACKAGES: Final = ("msgspec",)


class Delta(msgspec.Struct):
    """A delta as the server sends it."""

    type: str
    sequence_number: int
    item_id: str
    output_index: int
    delta: str
    obfuscation: str
    content_index: int | None = None
    logprobs: list[Any] | None = None


_decode: Final = msgspec.json.Decoder(Delta).decode


def prepare(load: Workload) -> list[bytes]:
    return [*load.payloads(TEXT_DELTA), *load.payloads(CALL_DELTA)]


async def run(payloads: list[bytes]) -> list[bytes]:
    decode = _decode
    for payload in payloads:
        decode(payload)
    return payloads


def check(load: Workload, payloads: list[bytes]) -> int:
    assert len(payloads) == load.deltas
    return load.deltas


async def verify(load: Workload) -> None:
    """Decode once more: the timed loop keeps nothing, as keeping would raise the floor."""
    text = "".join(_decode(payload).delta for payload in prepare(load))
    assert [text] == [text_of(one) for one in load.output]
