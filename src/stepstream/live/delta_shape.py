"""The data of a delta in a dialect as a regular expression: its bytes, but for what differs in the next one."""

import re
from typing import Final, NamedTuple

import msgspec

from stepstream.dialects.translation import FastKeys

_TEXT: Final = rb'("[^"\\\x00-\x1f]*+(?:\\.[^"\\\x00-\x1f]*+)*+")'
_PADDING: Final = rb'"[^"\\\x00-\x1f]*+"'
_NUMBER: Final = rb"(0|[1-9][0-9]{0,17})"

_decode_raw: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class DeltaShape(NamedTuple):
    """The data of a delta as a pattern: its expression, and the groups of the piece and of the number (0: none)."""

    data: bytes
    piece: int
    number: int


def shape_of(data: bytes, keys: FastKeys) -> DeltaShape | None:
    """Return the data of a delta as a pattern, None where its keys are not written plainly, or it has no piece."""
    try:
        values = _decode_raw(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    written, place, groups = b"", 0, list[str]()
    for key, raw in values.items():
        value = bytes(raw)
        named = re.compile(rb'"%b"\s*:\s*' % re.escape(key.encode())).search(data, place)
        if named is None or not data.startswith(value, named.end()):
            return None
        written += re.escape(data[place : named.end()])
        place = named.end() + len(value)
        if key in keys.padding:
            written += _PADDING if value.startswith(b'"') else re.escape(value)
        elif key == keys.piece or (key == keys.number and value.isdigit()):
            groups.append(key)
            written += _TEXT if key == keys.piece else _NUMBER
        else:
            written += re.escape(value)
    piece, number = (groups.index(key) + 1 if key in groups else 0 for key in (keys.piece, keys.number))
    return DeltaShape(written + re.escape(data[place:]), piece, number) if piece else None
