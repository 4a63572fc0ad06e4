"""The data of a delta in a dialect as a struct: what may differ in the next one has a type, all else its one value."""

from typing import Any, Final, Literal, NamedTuple

import msgspec

from stepstream.dialects.translator import FastKeys

_NOTHING: Final = tuple[()]
"""The type of an empty list, which makes no object."""

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class DeltaStruct(NamedTuple):
    """What the deltas of one text have in common."""

    struct: type[Any]
    """It has the fields `piece` and, where they are numbered, `number`. It refuses every key that the first delta did
    not have, and every other value."""
    is_numbered: bool


def struct_of(data: bytes, keys: FastKeys) -> DeltaStruct | None:
    """Return the struct for data like this; None where it has no piece, or holds objects, lists or fractions."""
    try:
        values = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if not isinstance(values.get(keys.piece), str):
        return None
    fields: list[Any] = []
    rename = {}
    for place, (key, value) in enumerate(values.items()):
        name = {keys.piece: "piece", keys.number: "number"}.get(key, f"other_{place}")
        kind = _type_of(key, value, keys)
        if kind is None:
            return None
        rename[name] = key
        fields.append((name, kind))
    struct = msgspec.defstruct("Delta", fields, rename=rename, forbid_unknown_fields=True, gc=False)
    return DeltaStruct(struct, keys.number in values)


def _type_of(key: str, value: Any, keys: FastKeys) -> Any:
    """Return the type of a field; None where there is none for such a value."""
    if key == keys.piece or (key in keys.padding and isinstance(value, str)):
        return str
    if key == keys.number and type(value) is int:
        return int
    if value == []:
        return _NOTHING
    if value is None:
        return type(None)
    return Literal[value] if type(value) in (str, int) and abs(value if type(value) is int else 0) < 2**62 else None
