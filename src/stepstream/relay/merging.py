"""Deltas of one text at consecutive positions, merged over a short while.

A model writes a few words at a time, and a page draws no faster than a screen: what comes within 40 ms may as well be
drawn together. The first delta of a text goes at once, so that nothing begins late; those that follow within the pause
wait for its end, and are one. Whatever is no delta of that text goes at once, after what waited: nothing is overtaken.

    "The"   " fer"  "ry "   "leaves"      step completed
    0 ms    10      25      38            55
    "The"                     " ferry leaves" at 40      completed at 55

Two deltas are of one text where they are alike but for one string that grows: then they fold to the same together.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from stepstream.fold.changes import Change, MessageProgress, StepProgress
from stepstream.wire.events import Event, decode_event
from stepstream.wire.sse import Frame

MAX_HELD: Final = 64 * 2**10
"""Characters of a text that wait at most."""

GROWN: Final = frozenset(
    {"arguments", "command", "diff", "input", "logs", "output", "refusal", "stderr", "stdout", "text", "value"}
)
"""The keys of strings that a delta appends to."""


class Told(NamedTuple):
    """An event of a run, and what it did."""

    event: Event
    changes: Sequence[Change]
    fence: int
    """That of the event's writer."""
    position: int


class Merger:
    """Holds back the deltas of a text for at most `pause` seconds. Times are of the caller's clock."""

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._alike: object = None
        """What all deltas of the text have in common."""
        self._until = 0.0  # deltas of that text wait until then
        self._held: list[str] = []
        self._size = 0
        self._last: Told | None = None  # of what is held

    @property
    def due_at(self) -> float | None:
        """When what is held should go; None where nothing is."""
        return self._until if self._held else None

    def add(self, told: Told, now: float) -> list[Told]:
        """Take the next event, and return what goes now."""
        found = _text_of(told) if self._pause > 0 else None
        if found is None:
            gone, self._alike = self.flush(now), None
            return [*gone, told]
        alike, text = found
        if alike == self._alike and (self._held or now < self._until):
            self._held.append(text)
            self._size += len(text)
            self._last = told
            return self.flush(now) if now >= self._until or self._size > MAX_HELD else []
        gone = self.flush(now)
        self._alike, self._until = alike, now + self._pause
        return [*gone, told]

    def flush(self, now: float) -> list[Told]:
        """Return what is held."""
        last, held, self._last, self._held, self._size = self._last, self._held, None, [], 0
        if last is None:
            return []
        self._until = now + self._pause
        return [last if len(held) == 1 else _merged(last, "".join(held))]


def _text_of(told: Told) -> tuple[object, str] | None:
    """Return what a delta has in common with others of its text, and its piece; None for all else."""
    if len(told.changes) != 1 or not isinstance(told.changes[0], StepProgress | MessageProgress):
        return None
    if told.changes[0].late or not told.event.name.endswith(".delta"):
        return None
    sent = msgspec.json.decode(told.event.payload)
    texts = list(_texts(sent))
    if len(texts) != 1:
        return None
    holder, key = texts[0]
    text, holder[key] = holder[key], ""
    return (told.event.name, sent), text


def _merged(last: Told, text: str) -> Told:
    """Return deltas of one text as one, with the place of the last."""
    event = last.event
    sent = msgspec.json.decode(event.payload)
    holder, key = next(_texts(sent))
    holder[key] = text
    payload = msgspec.json.encode(sent)
    merged = decode_event(Frame(event.name, payload, event.id))
    body = getattr(merged.data, "delta", None)
    change: Any = msgspec.structs.replace(last.changes[0], _raw=payload, _offset=0, _decoded=body)
    return last._replace(event=merged, changes=[change])


def _texts(value: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield where the strings are that grow: the objects that hold them, and their keys."""
    if isinstance(value, dict):
        for key, one in value.items():
            if isinstance(one, str):
                if key in GROWN:
                    yield value, key
            else:
                yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
