"""What changed from one JSON document to the next, as a JSON Patch (RFC 6902), and with one operation more.

`append` adds to the end of a string: a text that grows costs what it grows by.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def patch(before: Any, after: Any, path: str = "") -> list[dict[str, Any]]:
    """Return the operations that make `after` of `before`, in order; none where they are equal.

    `path` is where in a larger document the two stand.
    """
    return list(_operations(path, before, after))


def grown(path: str, piece: str, *, was_empty: bool) -> dict[str, Any]:
    """Return the operation that adds a piece to the string at a path, as `patch` says it."""
    return {"op": "replace" if was_empty else "append", "path": path, "value": piece}


def _operations(path: str, before: Any, after: Any) -> Iterator[dict[str, Any]]:
    if before == after:
        return
    match before, after:
        case str(), str() if before and after.startswith(before):
            yield {"op": "append", "path": path, "value": after[len(before) :]}
        case Mapping(), Mapping():
            yield from _of_objects(path, before, after)
        case ((list() | tuple()), (list() | tuple())):
            yield from _of_lists(path, before, after)
        case _:
            yield {"op": "replace", "path": path, "value": after}


def _of_objects(path: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for key in before.keys() - after.keys():
        yield {"op": "remove", "path": f"{path}/{_escaped(key)}"}
    for key, value in after.items():
        place = f"{path}/{_escaped(key)}"
        if key in before:
            yield from _operations(place, before[key], value)
        else:
            yield {"op": "add", "path": place, "value": value}


def _of_lists(path: str, before: Sequence[Any], after: Sequence[Any]) -> Iterator[dict[str, Any]]:
    for index in reversed(range(len(after), len(before))):
        yield {"op": "remove", "path": f"{path}/{index}"}
    for index, (one, another) in enumerate(zip(before, after, strict=False)):
        yield from _operations(f"{path}/{index}", one, another)
    for value in after[len(before) :]:
        yield {"op": "add", "path": f"{path}/-", "value": value}


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
