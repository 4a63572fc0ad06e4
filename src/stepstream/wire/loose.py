"""The second look: JSON that a typed decoder refused, read field by field.

The decoders know closed sets of kinds and exact types, which makes them fast; one field that does not fit makes one
refuse the whole event. Here

* an object with a `type` that its struct does not know becomes an `Unknown`, which keeps all of it;
* of an object, what does not fit is left out, or read where it is plain what is meant (`values`): the smallest part,
  so that all around it stays. Each is reported, by its path:

      {"id": "run_1", "usage": {"total_tokens": 3.0}, "tools": ["x", {}]}
      Run(id="run_1", usage=Usage(total_tokens=3), tools=({},))       usage.total_tokens, tools[0]

* a delta that does not fit is refused as a whole: text that is appended cannot be taken back.

Only an object without a usable `id` is refused too. This is slow, and only done after a `ValidationError`; the time is
linear in the size of the JSON, whatever it holds, and of what did not fit only the first `MAX_REPORTED` are described.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from msgspec import UNSET

from stepstream.wire.base import Unknown, WireObject
from stepstream.wire.deltas import MAX_INDEX
from stepstream.wire.schema import is_known
from stepstream.wire.values import Kind, described, kind_of

MAX_REPORTED: Final = 10
"""Of one object, so many fields that do not fit are described; the others are counted."""

Path: TypeAlias = "tuple[Path, str | int] | None"
"""The way to a value, the last part first: names of fields and places in lists. None is the whole object."""


class BadField(NamedTuple):
    """A field of an object that did not fit its type."""

    path: str
    """The way to it, such as `step_details.tool_calls[2].function.arguments`; empty where it stands for several."""
    expected: str
    """The path and what belongs there, in a few words."""
    got: str
    """What came instead, and what became of it: kinds, never content."""


class Misfit(ValueError):
    """The data cannot be read. `expected` and `got` say why in words, without content."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}, got {got}")
        self.expected = expected
        self.got = got


class BadIndex(Misfit):
    """The `index` of a delta's entry is no integer from 0 to 1023."""


def build(struct: type[WireObject], raw: object) -> Any:
    """Return `raw`, decoded JSON, as a `struct`, or as an `Unknown` where its type is not one that `struct` is for.

    Raises:
        BadIndex: an entry that needs an `index` has none, or a wrong one.
        Misfit: `raw` does not fit.
    """
    return _SecondLook(is_exact=True).whole(struct, raw)


def read_object(struct: type[WireObject], raw: object) -> tuple[Any, tuple[BadField, ...]]:
    """Return `raw`, decoded JSON, as a `struct` without what does not fit, and the fields that did not.

    Raises:
        Misfit: it is no object, or has no usable id.
    """
    look = _SecondLook(is_exact=False)
    return look.whole(struct, raw), look.reported()


def unwrapped(raw: object) -> object:
    """Return the JSON inside `raw`, where `raw` is a JSON string that holds some; else `raw` itself."""
    try:
        return msgspec.json.decode(raw) if isinstance(raw, str) else raw
    except (msgspec.DecodeError, UnicodeDecodeError):
        return raw


class _Shape(NamedTuple):
    """What belongs in a struct."""

    kinds: Mapping[str, Kind]
    required: tuple[str, ...]


@cache
def _shape(struct: type[WireObject]) -> _Shape:
    fields = msgspec.structs.fields(struct)
    kinds = {field.name: kind_of(field.type) for field in fields}
    return _Shape(kinds, tuple(field.name for field in fields if field.required))


class _SecondLook:
    """Reads one object. `is_exact`: the first value that does not fit is an error, else it is noted."""

    def __init__(self, *, is_exact: bool) -> None:
        self._is_exact = is_exact
        self._bad: list[BadField] = []
        self._count = 0

    def whole(self, struct: type[WireObject], raw: object) -> Any:
        """Return the object."""
        if not isinstance(raw, dict):
            raise Misfit("an object", described(raw))
        return self._object(struct, raw, None)

    def reported(self) -> tuple[BadField, ...]:
        """Return what did not fit: the first as they are, the others as one."""
        more = self._count - len(self._bad)
        rest = [BadField("", "fields that fit their types", f"{more:,} more that do not")] if more else []
        return (*self._bad, *rest)

    def _object(self, struct: type[WireObject], raw: dict[str, Any], path: Path) -> Any:
        kinds, required = _shape(struct)
        if "index" in kinds:
            _check_index(raw.get("index"))
        if not is_known(struct, raw):
            return self._unknown(kinds, raw, path)
        found = {}
        for name, sent in raw.items():
            kind = kinds.get(name)
            if kind is None:
                continue
            value = sent if type(sent) in kind.plain else self._value(kind, sent, path, name)
            if value is not UNSET:
                found[name] = value
        for name in required:
            if name not in found:
                raise Misfit(_named(kinds[name], (path, name)), described(raw[name]) if name in raw else "nothing")
        return struct(**found)

    def _unknown(self, kinds: Mapping[str, Kind], raw: dict[str, Any], path: Path) -> Unknown:
        """Return an object of another kind as it came, but for what does not fit in those fields that it shares.

        These are its id; or all, where its type may come later.
        """
        kept = dict(raw)
        shared = kinds.keys() - {"type"} if raw.get("type") is None else kinds.keys() & {"id"}
        for name in raw:
            if name in shared:
                before = self._count
                value = self._value(kinds[name], raw[name], path, name)
                if value is UNSET:
                    del kept[name]
                elif self._count != before:
                    kept[name] = msgspec.to_builtins(value)
        return Unknown(kept)

    def _value(self, kind: Kind, raw: Any, path: Path, name: str | int) -> Any:
        """Return a value as what it is to be; UNSET where it does not fit."""
        if raw is None and kind.is_nullable:
            return None
        value: Any = kind.fitted(raw)
        if value is not raw:
            self._note(kind, raw, (path, name), "left out" if value is UNSET else f"read as {kind.words}")
        elif kind.entry:
            return tuple(self._entries(kind.entry, raw, (path, name)))
        elif kind.struct:
            return self._object(kind.struct, raw, (path, name))
        return value

    def _entries(self, kind: Kind, raw: list[Any], path: Path) -> Iterator[Any]:
        """Yield those entries of a list that fit. There may be millions that do not."""
        for position, entry in enumerate(raw):
            if type(entry) not in kind.types and len(self._bad) == MAX_REPORTED:
                self._count += 1
            elif (value := self._value(kind, entry, path, position)) is not UNSET:
                yield value

    def _note(self, kind: Kind, raw: object, path: Path, done: str) -> None:
        """Note a value that does not fit, and what is done about it."""
        if self._is_exact:
            raise Misfit(_named(kind, path), described(raw))
        self._count += 1
        if len(self._bad) < MAX_REPORTED:
            self._bad.append(BadField(_dotted(path), _named(kind, path), f"{described(raw)}, {done}"))


def _named(kind: Kind, path: Path) -> str:
    return f"{_dotted(path)} as {kind.words}"


def _dotted(path: Path) -> str:
    """Return a path as people write it."""
    parts: list[str] = []
    while path is not None:
        path, name = path
        parts.append(f"[{name}]" if isinstance(name, int) else f".{name}")
    return "".join(reversed(parts)).removeprefix(".")


def _check_index(index: object) -> None:
    if type(index) is not int or not 0 <= index <= MAX_INDEX:
        raise BadIndex(*index_words(index))


def index_words(index: object) -> tuple[str, str]:
    """Return what was expected of a wrong index, and what came."""
    kind = "nothing" if index is None else type(index).__name__
    got = ("a negative one" if index < 0 else "a higher one") if type(index) is int else kind
    return f"index as an int from 0 to {MAX_INDEX}", got
