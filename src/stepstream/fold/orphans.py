"""Deltas that came before their object, kept until it comes, bounded in number and bytes."""

from typing import Any, Final

import msgspec

from stepstream.wire.events import Event

MAX_WAITING_DELTAS: Final = 10_000
MAX_WAITING_BYTES: Final = 2**20


class EventRef(msgspec.Struct, frozen=True):
    """The event that changes come from."""

    event: Event
    cause: tuple[str, int, Any, str, float | None]
    """What every change of it begins with: the fields of `Caused`."""

    @classmethod
    def of(cls, event: Event, sequence: int, context: object, received_at: float | None) -> "EventRef":
        """Return an event with its ordinal in the stream, the stream's context, and when it came."""
        return cls(event, (event.name, sequence, context, event.id, received_at))

    @property
    def sequence(self) -> int:
        """The ordinal of the event in its stream."""
        return self.cause[1]

    @property
    def received_at(self) -> float | None:
        """When it came."""
        return self.cause[4]


class OrphanDeltas:
    """The deltas of one stream that wait, by the kind and id of their object."""

    __slots__ = ("_by_object", "_bytes", "count")

    def __init__(self) -> None:
        self._by_object: dict[tuple[str, str], list[EventRef]] = {}
        self.count = 0
        """How many wait."""
        self._bytes = 0

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self._by_object

    def add(self, key: tuple[str, str], ref: EventRef) -> bool:
        """Keep a delta until its object comes. Return False where there is no room for it."""
        size = len(ref.event.payload)
        if self.count >= MAX_WAITING_DELTAS or self._bytes + size > MAX_WAITING_BYTES:
            return False
        self.count += 1
        self._bytes += size
        self._by_object.setdefault(key, []).append(ref)
        return True

    def take(self, key: tuple[str, str]) -> list[EventRef]:
        """Return what waits for an object, in order; it waits no longer."""
        taken = self._by_object.pop(key, None)
        if taken is None:
            return []
        self.count -= len(taken)
        self._bytes -= sum(len(ref.event.payload) for ref in taken)
        return taken

    def everything(self) -> list[EventRef]:
        """Return all that waits, in the order it came."""
        return sorted((ref for some in self._by_object.values() for ref in some), key=lambda ref: ref.sequence)
