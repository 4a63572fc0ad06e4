"""The check of one object against its table of fields. It needs no other event."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from stepstream.conformance.deviation import Finding, Path, described, dotted, shown
from stepstream.conformance.shapes import ERROR_DATA, Field, Kind, Shape

IS: Final[Mapping[str, Callable[[object], bool]]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: type(value) is int,
    "time": lambda value: type(value) is int or (isinstance(value, float) and value.is_integer()),
    "number": lambda value: type(value) in (int, float),
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "list": lambda value: isinstance(value, list),
}
"""What each type of the tables is in decoded JSON. A boolean is no integer; a time may be written 1734162162.0."""

_IN_WORDS: Final[Mapping[str, str]] = {
    "string": "a string",
    "integer": "an integer",
    "time": "an integer of Unix seconds",
    "number": "a number",
    "boolean": "a boolean",
    "object": "an object",
    "list": "a list",
}


def check_fields(kind: Kind, raw: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what is wrong with the fields of an object."""
    yield from _object(kind.shape, raw, ())
    constant = raw.get("object")
    if isinstance(constant, str) and constant != kind.constant:
        yield Finding("wrong_object", f"object {kind.constant!r}", repr(shown(constant)))


def check_shape(shape: Shape, raw: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what is wrong with the fields of an object, by its table."""
    return _object(shape, raw, ())


def check_error(raw: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what is wrong with the data of `error`, in either of its shapes."""
    inner = raw.get("error")
    yield from _object(ERROR_DATA, inner, ("error",)) if isinstance(inner, dict) else _object(ERROR_DATA, raw, ())


def _object(shape: Shape, raw: Mapping[str, Any], path: Path) -> Iterator[Finding]:
    kind = raw.get("type")
    own = shape.kinds.get(kind, {}) if isinstance(kind, str) else {}
    for name, field in (*shape.fields.items(), *own.items()):
        if name in raw:
            yield from _value(field, raw[name], (*path, name))
        elif field.required:
            yield Finding("missing_field", dotted((*path, name)), "nothing")


def _value(field: Field, value: object, path: Path) -> Iterator[Finding]:
    expected = f"{dotted(path)} as {' or '.join(_IN_WORDS[one] for one in field.types)}"
    if value is None:
        if not field.nullable:
            yield Finding("null_field", expected, "null")
    elif field.types == ("time",) and isinstance(value, float) and not value.is_integer():
        yield Finding("fractional_timestamp", expected, "a fraction")
    elif not any(IS[one](value) for one in field.types):
        yield Finding("wrong_type", expected, described(value), path)
    elif isinstance(value, dict) and field.shape:
        yield from _object(field.shape, value, path)
    elif isinstance(value, list) and field.shape:
        for position, entry in enumerate(value):
            yield from _entry(field.shape, entry, (*path, position))


def _entry(shape: Shape, entry: object, path: Path) -> Iterator[Finding]:
    if isinstance(entry, dict):
        yield from _object(shape, entry, path)
    else:
        yield Finding("wrong_type", f"{dotted(path)} as an object", described(entry), path)


def repair(raw: dict[str, Any], findings: Iterable[Finding]) -> bool:
    """Take the values of a wrong type out of `raw`, so that the rest of it can be folded. Return whether any was."""
    paths = [finding.path for finding in findings if finding.path]
    for path in paths:
        *way, last = path
        holder: Any = raw
        for part in way:
            holder = holder[part]
        if isinstance(last, int):
            holder[last] = {}
        else:
            del holder[last]
    return bool(paths)
