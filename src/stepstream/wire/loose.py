"""The second look: JSON that a typed decoder refused, built part by part so that unknown kinds are kept.

The decoders know closed sets of kinds, which makes them fast; a kind that a server adds makes one refuse the whole
event. Here an object with a `type` that its struct does not know becomes an `Unknown`, which keeps all of it, and every
part of a known kind is still checked against its struct. This is slow, and only done after a `ValidationError`.
"""

import re
from typing import Any, Final

import msgspec

from stepstream.wire.base import Unknown, WireObject
from stepstream.wire.deltas import MAX_INDEX
from stepstream.wire.schema import LISTS, PARTS, is_known

_REFUSAL: Final = re.compile(
    r"(?:Expected (`[^`]+`), got (`[^`]+`)|Object missing required field (`[^`]+`))(?: - at (`[^`]+`))?"
)
"""What a typed decoder says, in those of its messages that are known to name only types and keys of the protocol."""


class BadIndex(ValueError):
    """The `index` of a delta's entry is no integer from 0 to 1023. `expected` and `got` say so in words."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}, got {got}")
        self.expected = expected
        self.got = got


def build(struct: type[WireObject], raw: object) -> Any:
    """Return `raw`, decoded JSON, as a `struct`, or as an `Unknown` where its type is not one that `struct` is for.

    Raises:
        BadIndex: an entry that needs an `index` has none, or a wrong one.
        msgspec.ValidationError: `raw` does not fit.
    """
    if not isinstance(raw, dict):
        return msgspec.convert(raw, struct)
    if "index" in struct.__struct_fields__:
        _check_index(raw.get("index"))
    if not is_known(struct, raw):
        _check_fields(struct, raw)
        return Unknown(raw)
    parts = {field: _part(part, raw[field]) for field, part in PARTS.get(struct, {}).items() if _fits(field, raw)}
    return msgspec.structs.replace(msgspec.convert({**raw, **dict.fromkeys(parts)}, struct), **parts)


def _check_fields(struct: type[WireObject], raw: dict[str, Any]) -> None:
    """Check the fields that an unknown object shares with `struct`: its id, or all, where its type may come later."""
    shared = set(struct.__struct_fields__) - {"type"} if raw.get("type") is None else {"id", "index"}
    msgspec.convert({key: value for key, value in raw.items() if key in shared}, struct)


def _fits(field: str, raw: dict[str, Any]) -> bool:
    """Return whether `raw[field]` can be built part by part. Any other shape is left for `struct` to refuse."""
    return isinstance(raw.get(field), list if field in LISTS else dict)


def _part(struct: type[WireObject], raw: Any) -> object:
    return tuple(build(struct, entry) for entry in raw) if isinstance(raw, list) else build(struct, raw)


def _check_index(index: object) -> None:
    if type(index) is not int or not 0 <= index <= MAX_INDEX:
        raise BadIndex(*index_words(index))


def index_words(index: object) -> tuple[str, str]:
    """Return what was expected of a wrong index, and what came."""
    kind = "nothing" if index is None else type(index).__name__
    got = ("a negative one" if index < 0 else "a higher one") if type(index) is int else kind
    return f"index as an int from 0 to {MAX_INDEX}", got


def refusal_words(*refusals: msgspec.ValidationError) -> tuple[str, str]:
    """Return what was expected and what came, by the first of `refusals` that says so and quotes no payload.

    An unknown enum value is quoted by msgspec. So only messages of a known form are used.
    """
    found = next(filter(None, (_REFUSAL.fullmatch(str(refusal)) for refusal in refusals)), None)
    if found is None:
        return "the fields of its type", "another type"
    expected, got, missing, place = found.groups()
    at = f" at {place}" if place else ""
    return (f"the field {missing}{at}", "nothing") if missing else (f"{expected}{at}", got)
