"""Annotations and values of pydantic, read by pydantic itself, which is never imported here.

Who writes `Field(…)` or a model has imported it: it is among the loaded modules then. A parameter whose annotation has
anything of pydantic in it, however deep, is read and described by pydantic as a whole, and by nothing else.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, get_args, get_origin

import msgspec

from stepstream.client.tools.annotations import alias_value, fields_of

MAX_REASONS: Final = 5
"""So many reasons are given at most where a value does not fit."""

REF_TEMPLATE: Final = "#/$defs/{model}"


def is_pydantic(hint: Any) -> bool:
    """Return whether anything in an annotation is for pydantic to read."""
    return "pydantic" in sys.modules and _is_pydantic(hint, set())


def _is_pydantic(hint: Any, seen: set[int]) -> bool:
    hint = alias_value(hint)
    if id(hint) in seen or get_origin(hint) is Literal:
        return False
    seen.add(id(hint))
    if hasattr(hint, "__get_pydantic_core_schema__") or hasattr(hint, "__pydantic_core_schema__"):
        return True
    if _is_of_pydantic(hint) or any(_is_of_pydantic(type(mark)) for mark in getattr(hint, "__metadata__", ())):
        return True
    parts = [part for part in get_args(hint) if not isinstance(part, list)]
    return any(_is_pydantic(one, seen) for one in [*parts, *(field.hint for field in fields_of(hint))])


def _is_of_pydantic(kind: Any) -> bool:
    return str(getattr(kind, "__module__", "")).partition(".")[0] == "pydantic"


def is_field(default: Any) -> bool:
    """Return whether the default of a parameter is no value, but a `Field(…)` that describes it."""
    return _is_of_pydantic(type(default)) and hasattr(default, "get_default")


def adapter_of(hint: Any) -> Any:
    """Return what reads and describes values of an annotation.

    Raises:
        TypeError: pydantic does not know what to do with it.
    """
    pydantic = sys.modules["pydantic"]
    try:
        return pydantic.TypeAdapter(hint)
    except pydantic.errors.PydanticUserError as exc:
        raise TypeError(str(exc.message).partition("\n")[0]) from exc


def read(adapter: Any, name: str, raw: msgspec.Raw) -> Any:
    """Return the value of a parameter from its JSON.

    Raises:
        msgspec.ValidationError: it does not fit. The text is in the form that msgspec has for others.
    """
    try:
        return adapter.validate_json(bytes(raw))
    except ValueError as exc:  # pydantic's ValidationError is one
        errors = getattr(exc, "errors", None)
        if errors is None:
            raise
        raise msgspec.ValidationError(_reasons(name, errors(include_url=False, include_input=False))) from exc


def _reasons(name: str, errors: Sequence[Mapping[str, Any]]) -> str:
    shown = [f"{error['msg']} - at `{_path(name, error['loc'])}`" for error in errors[:MAX_REASONS]]
    if len(errors) > MAX_REASONS:
        shown.append(f"and {len(errors) - MAX_REASONS} more")
    return "; ".join(shown)


def _path(name: str, location: Sequence[str | int]) -> str:
    return "$." + name + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)


def schemas_of(adapters: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the JSON schemas of parameters by name, and the definitions that they refer to.

    Raises:
        TypeError: one has no JSON form.
    """
    if not adapters:
        return {}, {}
    pydantic = sys.modules["pydantic"]
    inputs = [(name, "validation", adapter) for name, adapter in adapters.items()]
    try:
        found, definitions = pydantic.TypeAdapter.json_schemas(inputs, ref_template=REF_TEMPLATE)
    except pydantic.errors.PydanticUserError as exc:
        raise TypeError(str(exc.message).partition("\n")[0]) from exc
    return {name: schema for (name, _), schema in found.items()}, definitions.get("$defs", {})


def plain(value: Any) -> Any:
    """Return a value that msgspec cannot encode as one that it can, where pydantic can.

    Raises:
        TypeError: it is none of pydantic's models.
    """
    if hasattr(type(value), "__pydantic_serializer__") and hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")
