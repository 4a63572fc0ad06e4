"""How deeply a JSON text nests, told without decoding it."""

import re
from itertools import accumulate
from typing import Final

_STRINGS: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_STEP: Final = {byte: 1 if byte in b"[{" else -1 for byte in b"[]{}"}


def is_deeper(payload: bytes, limit: int) -> bool:
    """Tell whether the arrays and objects of `payload` nest more than `limit` levels deep.

    Most events hold fewer brackets than that, which two C calls tell. Only the others are walked, in linear time.
    """
    if payload.count(b"{") + payload.count(b"[") <= limit:
        return False
    brackets = _STRINGS.sub(b"", payload).translate(None, _NOT_BRACKETS)
    return max(accumulate(map(_STEP.__getitem__, brackets)), default=0) > limit
