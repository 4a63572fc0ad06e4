"""Deltas → the object that they add up to, for one that is asked for, or ends, before all of them were sent."""

from collections.abc import Iterable
from typing import Any, Final

from stepstream.simulator.objects import JSON

_APPENDED: Final = frozenset({"input", "logs", "arguments", "value"})


class _Text(list[str]):
    """The pieces of a text."""


class _Entries(dict[int, Any]):
    """The entries of a list, by index."""


def merge_deltas(deltas: Iterable[JSON]) -> JSON:
    """Return what deltas of this simulator add up to: texts appended, entries merged by index, all else set."""
    whole: JSON = {}
    for delta in deltas:
        _add(whole, delta)
    joined: JSON = _joined(whole)
    return joined


def _add(whole: JSON, delta: JSON) -> None:
    for key, value in delta.items():
        if key in _APPENDED:
            whole.setdefault(key, _Text()).append(value)
        elif isinstance(value, dict):
            _add(whole.setdefault(key, {}), value)
        elif isinstance(value, list) and all("index" in entry for entry in value):
            entries = whole.setdefault(key, _Entries())
            for entry in value:
                _add(entries.setdefault(entry["index"], {}), entry)
        elif key != "index":
            whole[key] = value


def _joined(value: Any) -> Any:
    if isinstance(value, _Text):
        return "".join(value)
    if isinstance(value, _Entries):
        return [_joined(value[index]) for index in sorted(value)]
    if isinstance(value, dict):
        return {key: _joined(one) for key, one in value.items()}
    return value
