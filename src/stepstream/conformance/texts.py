"""The check of a final object against what its deltas added up to."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeGuard

from stepstream.conformance.deviation import Finding, Path, described, dotted
from stepstream.fold.tree import APPENDED, APPENDED_IN

TEXTS: Final = APPENDED.union(*APPENDED_IN.values())
"""The names of the texts that deltas append to."""

HOLDERS: Final = frozenset({"step_details", "text", "function", "operation"})
"""The objects that lead to such texts, beside the one under the key that an object's own type names."""

LISTS: Final = frozenset({"tool_calls", "outputs", "content", "summary", "commands"})
"""The lists that lead to such texts."""


def check_texts(folded: Mapping[str, Any], final: Mapping[str, Any], path: Path = ()) -> Iterator[Finding]:
    """Yield where `final` contradicts `folded`, both as JSON, lists maybe as tuples.

    What `final` leaves null or out contradicts nothing.
    """
    for key, had in folded.items():
        got, here = final.get(key), (*path, key)
        if isinstance(had, str) and isinstance(got, str):
            if key in TEXTS and had and had != got:
                yield Finding(
                    "text_mismatch", f"{dotted(here)} as its deltas gave it, {described(had)}", _unlike(had, got)
                )
        elif isinstance(had, dict) and isinstance(got, dict):
            if key in HOLDERS or key == folded.get("type"):
                yield from check_texts(had, got, here)
        elif key in LISTS and _are_objects(had) and _are_objects(got):
            yield from _check_entries(had, got, here)


def _are_objects(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, list | tuple) and all(isinstance(entry, dict) for entry in value)


def _unlike(had: str, got: str) -> str:
    same = next((place for place, (one, other) in enumerate(zip(had, got, strict=False)) if one != other), None)
    where = min(len(had), len(got)) if same is None else same
    return f"{described(got)}, another from character {where:,} on"


def _check_entries(folded: Sequence[Any], final: Sequence[Any], path: Path) -> Iterator[Finding]:
    """Yield what is wrong with the entries of a list, found by id, or by position where they have none."""
    by_id = {entry["id"]: entry for entry in final if isinstance(entry, dict) and isinstance(entry.get("id"), str)}
    for position, entry in enumerate(folded):
        identifier = entry.get("id")
        if isinstance(identifier, str):
            same = by_id.get(identifier)
        else:
            same = final[position] if position < len(final) else None
        if same is None:
            yield Finding("entry_missing", f"{dotted((*path, position))}, which deltas delivered", "no such entry")
        else:
            yield from check_texts(entry, same, (*path, position))
