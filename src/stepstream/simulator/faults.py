"""Faults by name: what a server, or a proxy before it, can do to a stream. A table, and how a fault is asked for.

What each does is in `request_faults` (instead of an answer), `event_faults` and `responses.item_faults` (whole events),
`writes` (bytes) and `sending` (compression, and breaking connections).
"""

from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

import msgspec


class Fault(msgspec.Struct, frozen=True):
    """One kind of trouble. `default` is the number N it takes where none is given; None: it takes none."""

    summary: str
    default: int | None = None
    least: int = 0
    most: int = 2**31


FAULTS: Final[Mapping[str, Fault]] = {
    "cut-event": Fault("the response ends, in order, after N events", 5),
    "cut-bytes": Fault("the response ends, in order, after N bytes", 2_000),
    "reset-event": Fault("the connection is reset after N events", 5),
    "reset-bytes": Fault("the connection is reset after N bytes", 2_000),
    "break-event": Fault("the connection closes inside the chunk that follows N events", 5),
    "break-bytes": Fault("the connection closes inside a chunk, after N bytes", 2_000),
    "stall": Fault("after N events nothing more comes", 5),
    "drip": Fault("N bytes a write, a hundredth of a second between them", 64, 1),
    "one-byte": Fault("every byte is a write of its own"),
    "duplicate": Fault("every event comes N times", 2, 2, 100),
    "shuffle": Fault("the events of different steps and messages overtake each other"),
    "drop-done": Fault("the stream ends without done"),
    "error-flat": Fault("after N events an error event ends the stream: its fields at the top", 5),
    "error-nested": Fault("after N events an error event ends the stream: its fields under error", 5),
    "garbage": Fault("after N events comes one that is no JSON", 5),
    "giant": Fault("after 5 events comes one of N megabytes", 17, 1, 256),
    "unknown": Fault("after every N events comes one that nobody knows", 3, 1),
    "no-added": Fault("Responses: no item and no part is announced"),
    "no-done": Fault("Responses: no item, part or text says that it is done"),
    "no-output": Fault("Responses: the end of the response lists no items"),
    "no-terminal": Fault("Responses: the stream lacks the end of the response"),
    "ids-rotate": Fault("Responses: the ids of items and response are others with every event"),
    "replay": Fault("Responses: after N events all that came comes again", 5, 1),
    "error-failed": Fault("Responses: after N events an error, then the response's failure", 5, 1),
    "unnamed": Fault("Responses: events have no name beside the type in their data"),
    "done-mark": Fault("Responses: [DONE] ends the stream"),
    "html": Fault("a page of HTML with status 200, as proxies send it"),
    "gzip": Fault("the response is compressed, asked for or not"),
    "redirect": Fault("status 307, to the same path without faults"),
    "rate-limit": Fault("status 429 with Retry-After, until N seconds have passed", 1, 0, 3_600),
    "server-error": Fault("N times status 500, then the answer", 1, 1),
}
"""What `stepstream simulate --fault` and the query parameter `fault` name. Those of Responses do nothing elsewhere."""

NONE: Final = "none"
"""Asks for no fault, whatever the application was started with."""

Faults: TypeAlias = Mapping[str, int]
"""The faults asked for, with their numbers."""


def faults_of(texts: Iterable[str]) -> Faults:
    """Return the faults that `texts` name, each `NAME` or `NAME=N`, several in one text with commas between.

    Raises:
        ValueError: a name is unknown, or a number is missing, not allowed or out of range.
    """
    found: dict[str, int] = {}
    for text in (one.strip() for several in texts for one in several.split(",")):
        if text and text != NONE:
            name, _, number = text.partition("=")
            found[name] = _number(name, number)
    return found


def _number(name: str, number: str) -> int:
    fault = FAULTS.get(name)
    if fault is None:
        raise ValueError(f"expected a fault out of {', '.join(FAULTS)}; got {name!r:.80}")
    if fault.default is None:
        if number:
            raise ValueError(f"expected no number for the fault {name}, got {number!r:.80}")
        return 0
    value = (
        int(number)
        if number.isascii() and number.isdecimal() and len(number) < 12
        else fault.default
        if not number
        else -1
    )
    if not fault.least <= value <= fault.most:
        raise ValueError(
            f"expected for the fault {name} a number from {fault.least} to {fault.most}, got {number!r:.80}"
        )
    return value
