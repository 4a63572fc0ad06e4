"""The check of `sequence_number`: it goes up by one from event to event.

A number that is skipped means a lost event, one that came before a repeated event, which is not looked at again. A
server may also number its events in a way that means nothing: then a number comes again, with another event, before
any has risen twice.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from zlib import crc32

from stepstream.conformance.deviation import Finding

TRUSTED: Final = 2
"""How often numbers must have risen before a lower one is taken for a repetition."""

MAX_SKIPPED: Final = 64
"""How many numbers that were skipped are remembered: those may yet come."""


class Numbered(NamedTuple):
    """What the number of an event says."""

    findings: list[Finding]
    is_repeated: bool = False
    """Whether the event came before."""
    is_loss: bool = False
    """Whether an event before it is missing."""


FINE: Final = Numbered([])


class Numbers:
    """The numbers of the events of one response."""

    def __init__(self) -> None:
        self.first: int | None = None
        """The first number; None where none came."""
        self._highest = -1
        self._rises = 0
        self._is_trusted = True
        self._skipped: set[int] = set()
        self._newest = -1  # the checksum of the event before

    def check(self, raw: Mapping[str, Any], data: bytes) -> Numbered:
        """Return what the number of the next event says. `data` is what `raw` was decoded from."""
        if not self._is_trusted:
            return FINE
        number, before, self._newest = raw.get("sequence_number"), self._newest, crc32(data)
        if number is None:
            return self._give_up("missing_sequence_number", "sequence_number", "nothing")
        if type(number) is not int:
            return self._give_up("wrong_type", "sequence_number as an integer", "another value")
        if self.first is None:
            self.first = self._highest = number
            return FINE
        if number > self._highest:
            return self._rise(number)
        if number in self._skipped:
            self._skipped.discard(number)
            return FINE
        if self._rises >= TRUSTED or self._newest == before:
            found = Finding("replayed_event", f"sequence_number {self._highest + 1}", f"{number}, which came before")
            return Numbered([found], is_repeated=True)
        return self._give_up("sequence_mismatch", f"sequence_number {self._highest + 1}", str(number))

    def _rise(self, number: int) -> Numbered:
        expected, self._highest = self._highest + 1, number
        self._rises += 1
        if number == expected:
            return FINE
        self._skipped.update(range(expected, min(number, expected + MAX_SKIPPED - len(self._skipped))))
        found = Finding("sequence_gap", f"sequence_number {expected}", str(number))
        return Numbered([found], is_loss=True)

    def _give_up(self, code: str, expected: str, got: str) -> Numbered:
        self._is_trusted = False
        return Numbered([Finding(code, expected, got)])
