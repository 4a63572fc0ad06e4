"""A floor: msgspec decodes the payloads of the deltas to stepstream's own types, and nothing else happens.

The payloads are split before the clock starts and no result is kept, so framing, folding and delivery cost nothing.
"""

from typing import Final

import msgspec

from benchmarks.expected import Fields, add_pieces, grown, joined
from benchmarks.writer import MESSAGE_DELTA, STEP_DELTA, Workload
from stepstream.wire.deltas import MessageDelta, RunStepDelta

PACKAGES: Final = ("msgspec",)

Payloads = tuple[list[bytes], list[bytes]]
"""Of the deltas of steps, and of those of messages."""


def prepare(load: Workload) -> Payloads:
    return load.payloads(STEP_DELTA), load.payloads(MESSAGE_DELTA)


async def run(payloads: Payloads) -> Payloads:
    steps, messages = payloads
    decode = msgspec.json.Decoder(RunStepDelta).decode
    for payload in steps:
        decode(payload)
    decode_message = msgspec.json.Decoder(MessageDelta).decode
    for payload in messages:
        decode_message(payload)
    return payloads


def check(load: Workload, payloads: Payloads) -> int:
    assert (len(payloads[0]) + len(payloads[1])) == load.deltas
    return load.deltas


async def verify(load: Workload) -> None:
    """Decode once more: the timed loop keeps nothing, as keeping would raise the floor."""
    added: dict[str, Fields] = {}
    for payloads, kind in zip(prepare(load), (RunStepDelta, MessageDelta), strict=True):
        decode = msgspec.json.Decoder(kind).decode
        for payload in payloads:
            add_pieces(added, msgspec.to_builtins(decode(payload)))
    assert joined(added) == grown(load)
