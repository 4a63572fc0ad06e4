"""What stands beside a type in `Annotated`, said so that msgspec checks and describes it.

msgspec reads `Meta` only. Others write the same with what these libraries have, none of which is imported:

    Annotated[int, Ge(0)]                 annotated-types: a constraint has the names that Meta has
    Annotated[str, Doc("a harbour")]      typing_extensions
    Annotated[str, "a harbour"]           a plain string describes too

Marks of pydantic are left alone: pydantic reads these itself (`pydantic_types`). Marks that nobody here knows are not
for tools, and are passed over, as the language wants it.
"""

import types
from collections.abc import Iterable, Iterator
from datetime import datetime, time
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec

CONSTRAINTS: Final = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length")
"""The constraints that `Meta` has, by names that annotated-types has too."""

TIMES: Final = {datetime: "date-time", time: "time"}
"""The formats that msgspec does not name, as it takes times without a zone too. A model should know them."""

UNIONS: Final = (Union, types.UnionType)


class Field(NamedTuple):
    """A field of a class that msgspec decodes."""

    name: str
    hint: Any


def alias_value(hint: Any) -> Any:
    """Return what a type alias, `type Place = …`, stands for; any other annotation as it is."""
    while type(hint).__name__ == "TypeAliasType":  # of typing, or typing_extensions
        hint = hint.__value__
    return hint


def marked(hint: Any, mark: Any) -> Any:
    """Return an annotation with one mark more."""
    form: Any = Annotated
    return form[hint, mark]


def union_of(parts: tuple[Any, ...]) -> Any:
    """Return an annotation for values of any of `parts`."""
    form: Any = Union
    return form[parts]


def readable(hint: Any) -> Any:
    """Return an annotation so that msgspec reads all of it.

    Raises:
        TypeError: a constraint is none that msgspec checks.
    """
    hint = alias_value(hint)
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _annotated(readable(parts[0]), hint.__metadata__)
    if origin is None and hint in TIMES:
        return marked(hint, msgspec.Meta(extra_json_schema={"format": TIMES[hint]}))
    if origin is None or origin is Literal or not parts:
        return hint
    read = tuple([*map(readable, one)] if isinstance(one, list) else readable(one) for one in parts)
    if read == parts:
        return hint
    return union_of(read) if origin in UNIONS else origin[read]


def _annotated(hint: Any, marks: Iterable[Any]) -> Any:
    limits: dict[str, Any] = {}
    metas: list[Any] = []
    description: str | None = None
    for mark in marks:
        if isinstance(mark, msgspec.Meta):
            metas.append(mark)
        description = _description(mark) or description
        limits |= _constraints(mark)
    if limits:
        hint = _limited(hint, msgspec.Meta(**limits))
    if description:
        metas.append(msgspec.Meta(description=description))
    for meta in metas:
        hint = marked(hint, meta)
    return hint


def _limited(hint: Any, meta: msgspec.Meta) -> Any:
    """Return an annotation whose values must keep to `meta`. None, beside them, need not."""
    if get_origin(hint) not in UNIONS:
        return marked(hint, meta)
    return union_of(tuple(one if one is type(None) else marked(one, meta) for one in get_args(hint)))


def _description(mark: Any) -> str | None:
    if isinstance(mark, str):
        return mark
    text = getattr(mark, "documentation", None) if type(mark).__name__ == "Doc" else None
    return text if isinstance(text, str) else None


def _constraints(mark: Any) -> dict[str, Any]:
    """Return the constraints of a mark of annotated-types by the names that `Meta` has.

    Raises:
        TypeError: it is a constraint that has no such name.
    """
    if type(mark).__module__ != "annotated_types":
        return {}
    found = {name: value for name in CONSTRAINTS if (value := getattr(mark, name, None)) is not None}
    if not found and type(mark).__name__ != "Unit":
        raise TypeError(f"{type(mark).__name__} is not checked by msgspec: check it in the function")
    return found


def fields_of(kind: Any) -> list[Field]:
    """Return the fields of a class that msgspec decodes as an object; none where it is no such class."""
    kind = get_origin(kind) or kind
    marks = ("__struct_fields__", "__dataclass_fields__", "__required_keys__", "_fields")  # of a struct, …, a tuple
    is_object = isinstance(kind, type) and any(hasattr(kind, mark) for mark in marks)
    if not is_object:
        return []
    try:
        return [Field(*one) for one in get_type_hints(kind, include_extras=True).items()]
    except NameError:  # msgspec or pydantic says it better
        return []


def classes_in(hint: Any) -> Iterator[Any]:
    """Yield the classes with fields that an annotation names, and those that their fields name, each once."""
    seen: set[int] = set()
    waiting = [hint]
    while waiting:
        one = alias_value(waiting.pop())
        if id(one) in seen or get_origin(one) is Literal:
            continue
        seen.add(id(one))
        fields = fields_of(one)
        if fields:
            yield one
        waiting += [part for part in get_args(one) if not isinstance(part, list)]
        waiting += [field.hint for field in fields]


def descriptions_of(kind: Any) -> dict[str, str]:
    """Return how the fields of a class are described in ways that msgspec does not read.

    Raises:
        TypeError: a field has a constraint that msgspec would not check.
    """
    found: dict[str, str] = {}
    for field in fields_of(kind):
        for mark in getattr(field.hint, "__metadata__", ()):
            if _constraints(mark):
                raise TypeError(f"{kind.__name__}.{field.name}: write its constraint as msgspec.Meta")
            if text := _description(mark):
                found[field.name] = text
    return found
