"""What is remembered of the objects of a stream: what the rules between events need, and no text."""

from collections.abc import Iterator
from typing import Any, Final

MAX_TRACKED: Final = 10_000
"""How many objects are followed. Beyond that the oldest is forgotten, and what needs a first sight is not checked."""

MAX_KEPT: Final = 256
"""How many characters of an id or another fixed value are kept."""


class Track:
    """One run, step or message."""

    __slots__ = (
        "counts",
        "fixed",
        "has_created",
        "has_ended",
        "id",
        "is_doubtful",
        "is_seen",
        "kind",
        "status",
        "times",
    )

    def __init__(self, kind: str, identifier: str) -> None:
        self.kind = kind
        self.id = identifier
        self.is_seen = False
        """Whether an object of it came, not only deltas."""
        self.has_created = False
        """Whether its created event came."""
        self.has_ended = False
        """Whether it ended, by the name of an event or by its status."""
        self.is_doubtful = False
        """Whether an event about it was lost or rejected. What follows from that is not reported."""
        self.status: str | None = None
        """The status last seen, where it can be relied on."""
        self.fixed: dict[str, Any] = {}
        """The values that may not change, as first seen."""
        self.times: dict[str, int | float] = {}
        """The times of its beginning and end, as last seen."""
        self.counts: dict[tuple[int, ...], int] = {}
        """How many entries each of its lists has, by the place of the list; each index is at most 1023."""

    def doubt(self) -> None:
        """Note that an event about it was lost."""
        self.is_doubtful, self.status = True, None

    def named(self, field: str) -> str | None:
        """Return one of its fixed ids."""
        found = self.fixed.get(field)
        return found if isinstance(found, str) else None


class Tracks:
    """The objects of a stream, bounded: the oldest is forgotten first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tracks: dict[tuple[str, str], Track] = {}
        self._doubted: set[str] = set()
        self._has_forgotten = False

    def __len__(self) -> int:
        return len(self._tracks)

    def get(self, kind: str, identifier: str) -> Track | None:
        """Return what is known of an object, or None."""
        return self._tracks.get((kind, kept(identifier)))

    def follow(self, kind: str, identifier: str) -> Track:
        """Return what is known of an object, which is new where nothing is."""
        key = kind, kept(identifier)
        found = self._tracks.get(key)
        if found is None:
            found = self._tracks[key] = Track(*key)
            if len(self._tracks) > self._limit:
                del self._tracks[next(iter(self._tracks))]
                self._has_forgotten = True
        return found

    def doubt(self, kind: str) -> None:
        """Note that an event about some object of a kind could not be read: it may have been about any of them."""
        self._doubted.add(kind)
        for track in self._tracks.values():
            if track.kind == kind:
                track.doubt()

    def is_complete(self, kind: str) -> bool:
        """Return whether every object of a kind that the stream has named is known."""
        return not self._has_forgotten and kind not in self._doubted

    def of_run(self, run_id: str) -> Iterator[Track]:
        """Yield the open steps and messages of a run."""
        for track in self._tracks.values():
            if track.kind != "run" and not track.has_ended and track.named("run_id") == run_id:
                yield track

    def open_runs(self) -> Iterator[Track]:
        """Yield the runs that have not ended and do not wait for action, by all that could be read."""
        for track in self._tracks.values():
            if track.kind == "run" and not (track.has_ended or track.is_doubtful or track.status == "requires_action"):
                yield track


def kept(value: Any) -> Any:
    """Return a value as it is kept: a long string by its beginning and length."""
    return f"{value[:MAX_KEPT]}… {len(value)}" if isinstance(value, str) and len(value) > MAX_KEPT else value
