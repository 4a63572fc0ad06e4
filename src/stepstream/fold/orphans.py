"""Deltas that came before their object, kept until it comes, bounded in number and bytes."""

from typing import Any, Final

import msgspec

from stepstream.wire.events import Event

MAX_WAITING_DELTAS: Final = 10_000
MAX_WAITING_BYTES: Final = 2**20


class EventRef(msgspec.Struct, frozen=True, gc=False):
    """The event that changes come from, its ordinal in the stream, and when it came."""

    event: Event
    sequence: int
    received_at: float | None

    def cause(self, context: object) -> tuple[str, int, Any, str, float | None]:
        """Return what every change of the event begins with."""
        return self.event.name, self.sequence, context, self.event.id, self.received_at


class OrphanDeltas:
    """The deltas of one stream that wait, by the kind and id of their object."""

    __slots__ = ("_by_object", "_bytes", "_count")

    def __init__(self) -> None:
        self._by_object: dict[tuple[str, str], list[EventRef]] = {}
        self._count = 0
        self._bytes = 0

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self._by_object

    def add(self, key: tuple[str, str], ref: EventRef) -> bool:
        """Keep a delta until its object comes. Return False where there is no room for it."""
        size = len(ref.event.payload)
        if self._count >= MAX_WAITING_DELTAS or self._bytes + size > MAX_WAITING_BYTES:
            return False
        self._count += 1
        self._bytes += size
        self._by_object.setdefault(key, []).append(ref)
        return True

    def take(self, key: tuple[str, str]) -> list[EventRef]:
        """Return what waits for an object, in order; it waits no longer."""
        taken = self._by_object.pop(key, None)
        if taken is None:
            return []
        self._count -= len(taken)
        self._bytes -= sum(len(ref.event.payload) for ref in taken)
        return taken

    def everything(self) -> list[EventRef]:
        """Return all that waits, in the order it came."""
        return sorted((ref for some in self._by_object.values() for ref in some), key=lambda ref: ref.sequence)
