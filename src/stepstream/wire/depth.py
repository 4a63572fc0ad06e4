"""How deeply a JSON text nests, found without decoding it."""

import re
from itertools import accumulate
from typing import Final

_STRINGS: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_STEP: Final = {byte: 1 if byte in b"[{" else -1 for byte in b"[]{}"}


HIGHEST_LIMIT: Final = 128
"""A higher limit is lowered to this: the fold recurses level by level, and Python's stack is bounded."""


def is_deeper(payload: bytes, limit: int) -> bool:
    """Return whether the arrays and objects of `payload` nest more than `limit` levels deep, or than `HIGHEST_LIMIT`.

    Most events hold fewer brackets than that, which two C calls count. Only in the others is the depth followed, in
    linear time.
    """
    if limit > HIGHEST_LIMIT:
        limit = HIGHEST_LIMIT
    if payload.count(b"{") + payload.count(b"[") <= limit:
        return False
    brackets = _STRINGS.sub(b"", payload).translate(None, _NOT_BRACKETS)
    return max(accumulate(map(_STEP.__getitem__, brackets)), default=0) > limit
