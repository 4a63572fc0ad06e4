"""What a value of a field may be, and what one that is not plainly means. Each field of a struct leads to its `Kind`.

    annotation                kind                 fits               is plainly meant
    Maybe[str]                a string             "a"
    Maybe[Integer]            an integer           3                  3.0: 3
    Maybe[Seconds]            Unix seconds         1734162162, 0.5    "2024-12-14T07:42:42Z", 1734162162000: 1734162162
    Maybe[dict[str, Any]]     an object            {}
    Maybe[tuple[Tool, ...]]   a list, of objects   [], [{}]

Everything else is for the caller to leave out: no number is guessed from a text, no list from an object.
"""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import NoneType, UnionType
from typing import Any, Final, Literal, NamedTuple, Union, get_args, get_origin

from msgspec import UNSET, UnsetType

from stepstream.wire.base import MAX_SECONDS, Integer, Number, Seconds, WireObject
from stepstream.wire.deltas import Index

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
_MILLISECONDS: Final = 1_000


class Kind(NamedTuple):
    """What belongs under a field. Every kind of value in the structs has one."""

    words: str
    """The kind in a few words."""
    types: frozenset[type]
    """The types of decoded JSON of which a value may fit."""
    read: Callable[[Any], Any] | None = None
    """Returns a value of these types as it is where it fits, what it means where that is plain, else UNSET. Without
    this, each fits."""
    struct: type[WireObject] | None = None
    """What an object is built to."""
    entry: "Kind | None" = None
    """What belongs in a list."""
    is_nullable: bool = False
    plain: frozenset[type] = frozenset()
    """The types of which every value fits, and is kept as it is."""

    def fitted(self, value: Any) -> Any:
        """Return a value as it is where it fits, what it means where that is plain, else UNSET."""
        if type(value) not in self.types:
            return UNSET
        return self.read(value) if self.read else value


def kind_of(annotation: Any) -> Kind:
    """Return the kind of value that an annotation of the structs stands for."""
    options = set(get_args(annotation)) if get_origin(annotation) in (Union, UnionType) else {annotation}
    is_nullable = NoneType in options
    options -= {NoneType, UnsetType}
    kind = _LEAVES.get(frozenset(options)) or _structured(*options)
    plain = frozenset() if kind.read or kind.struct or kind.entry else kind.types
    return kind._replace(is_nullable=is_nullable, plain=plain)


def _structured(option: Any) -> Kind:
    if get_origin(option) is tuple:
        return Kind("a list", frozenset({list}), entry=kind_of(get_args(option)[0]))
    if get_origin(option) is Literal:
        return _TEXT
    return Kind("an object", frozenset({dict}), struct=option)


def described(value: object) -> str:
    """Return in words what decoded JSON is. Nothing in it is quoted."""
    return _IN_WORDS[type(value)]


_IN_WORDS: Final[Mapping[type, str]] = {
    NoneType: "null",
    bool: "a boolean",
    int: "an integer",
    float: "a float",
    str: "a string",
    list: "a list",
    dict: "an object",
}


def _integer(value: Number) -> Any:
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    return whole if isinstance(whole, int) and -(2**63) <= whole < 2**63 else UNSET


def _time(value: Number | str) -> Any:
    if isinstance(value, str):
        seconds = _seconds_of(value)
    elif MAX_SECONDS < value <= MAX_SECONDS * _MILLISECONDS:
        seconds = value / _MILLISECONDS if value % _MILLISECONDS else value // _MILLISECONDS
    else:
        seconds = value
    return seconds if seconds <= MAX_SECONDS else UNSET


def _seconds_of(text: str) -> Number:
    """Return the time that an ISO text says, in UTC where it names no offset; for any other text none that fits.

    A date alone is no time.
    """
    text = text.upper()
    try:
        time = datetime.fromisoformat(text) if "T" in text or " " in text else None
    except ValueError:
        time = None
    if time is None:
        return math.inf
    since = (time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH
    return since.total_seconds() if since % _SECOND else since // _SECOND


_TEXT: Final = Kind("a string", frozenset({str}))

_LEAVES: Final[Mapping[frozenset[Any], Kind]] = {
    frozenset({str}): _TEXT,
    frozenset({bool}): Kind("a boolean", frozenset({bool})),
    frozenset({dict[str, Any]}): Kind("an object", frozenset({dict})),
    frozenset({str, dict[str, Any]}): Kind("a string or an object", frozenset({str, dict})),
    frozenset({Index}): Kind("an integer", frozenset({int})),
    frozenset({Integer}): Kind("an integer of at most 64 bits", frozenset({int, float}), _integer),
    frozenset(get_args(Number)): Kind("a number", frozenset({int, float})),
    frozenset(get_args(Seconds)): Kind("Unix seconds", frozenset({int, float, str}), _time),
}
