"""The check of the indexes in deltas: a new entry of a list has the index right after the last."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from stepstream.conformance.deviation import Finding
from stepstream.conformance.tracks import Track
from stepstream.wire.deltas import MAX_INDEX

PLACES: Final[Mapping[str, tuple[tuple[str, str], tuple[str, str]]]] = {
    "step": (("step_details", "tool_calls"), ("code_interpreter", "outputs")),
    "message": (("", "content"), ("text", "annotations")),
}
"""Where the lists are: in the object, and in each entry of that list."""


def learn_counts(track: Track, raw: Mapping[str, Any]) -> None:
    """Note how many entries the lists of a full object have."""
    outer, inner = PLACES[track.kind]
    entries = _entries(raw, outer)
    _raise_to(track, (), len(entries))
    for index, entry in enumerate(entries[: MAX_INDEX + 1]):
        _raise_to(track, (index,), len(_entries(entry, inner)))


def check_indexes(track: Track, delta: Any) -> Iterator[Finding]:
    """Yield the gaps that a delta leaves, and note its entries. The fold has accepted the delta."""
    outer, inner = PLACES[track.kind]
    for index, entry in _indexed(delta, outer):
        yield from _next(track, (), index, outer[1])
        for part, _ in _indexed(entry, inner):
            yield from _next(track, (index,), part, inner[1])


def _next(track: Track, place: tuple[int, ...], index: int, name: str) -> Iterator[Finding]:
    count = track.counts.get(place, 0)
    if index > count:
        yield Finding("index_gap", f"index {count}{' or lower' if count else ''} in {name}", str(index))
    _raise_to(track, place, index + 1)


def _raise_to(track: Track, place: tuple[int, ...], count: int) -> None:
    if count > track.counts.get(place, 0):
        track.counts[place] = count


def _entries(holder: Any, place: tuple[str, str]) -> list[Any]:
    """Return a list of `holder`, empty where there is none."""
    key, name = place
    inside = holder.get(key) if key and isinstance(holder, dict) else holder
    found = inside.get(name) if isinstance(inside, dict) else None
    return found if isinstance(found, list) else []


def _indexed(holder: Any, place: tuple[str, str]) -> Iterator[tuple[int, Any]]:
    """Yield the entries that have an index. The fold has refused all others but those in objects of an unknown kind."""
    for entry in _entries(holder, place):
        index = entry.get("index") if isinstance(entry, dict) else None
        if type(index) is int and 0 <= index <= MAX_INDEX:
            yield index, entry
