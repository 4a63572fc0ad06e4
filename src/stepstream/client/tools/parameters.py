"""The parameters of a function that a model gives: how each is read from JSON, and its schema."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from stepstream.client.tools import pydantic_types
from stepstream.client.tools.annotations import classes_in, descriptions_of, marked, readable, union_of

REF_TEMPLATE: Final = "#/$defs/{name}"
NULL: Final = msgspec.Raw(b"null")


class Parameter(NamedTuple):
    """One parameter that a model gives."""

    name: str
    hint: Any
    """As it is annotated, for the library that reads it."""
    adapter: Any
    """What reads it, where that is pydantic, else None."""
    default: Any
    """`inspect.Parameter.empty` where it has none."""
    make_default: Callable[[], Any] | None
    """Returns the value where it is left out, where the function itself would not have it."""
    is_positional: bool
    """Whether it can only be given by its position."""

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.default is inspect.Parameter.empty

    @property
    def field(self) -> Any:
        """The field of the struct that arguments are decoded to. Null for one with a default means: its default."""
        raw = msgspec.Raw  # not decoded: null is null in it
        if self.is_required:
            return (self.name, self.hint if self.adapter is None else raw)
        kind = union_of((self.hint, None, msgspec.UnsetType)) if self.adapter is None else raw
        return (self.name, kind, msgspec.UNSET)

    def value(self, decoded: Any, *, takes_null: bool) -> Any:
        """Return the value from what msgspec decoded; UNSET where the parameter keeps its default.

        Raises:
            msgspec.ValidationError: it does not fit.
        """
        is_null = decoded is None or (self.adapter is not None and decoded == NULL)
        if decoded is not msgspec.UNSET and (not is_null or self.is_required or takes_null):
            return decoded if self.adapter is None else pydantic_types.read(self.adapter, self.name, decoded)
        return msgspec.UNSET if self.make_default is None else self.make_default()


def parameter_of(parameter: inspect.Parameter, annotation: Any) -> Parameter:
    """Return a parameter of a function.

    Raises:
        TypeError: its annotation is none that can be read.
    """
    default, make_default = parameter.default, None
    if pydantic_types.is_field(default):
        annotation, field = marked(annotation, default), default
        default = inspect.Parameter.empty
        if not field.is_required():
            make_default = lambda: field.get_default(call_default_factory=True)  # noqa: E731 - a new one for each call
            default = field.default
    try:
        adapter = pydantic_types.adapter_of(annotation) if pydantic_types.is_pydantic(annotation) else None
        hint = annotation if adapter is not None else readable(annotation)
        msgspec.json.schema_components([] if adapter is not None else [hint])
    except TypeError as exc:
        raise TypeError(f"{parameter.name}: {str(exc).splitlines()[-1]}") from exc  # msgspec begins with other advice
    is_positional = parameter.kind is parameter.POSITIONAL_ONLY
    if is_positional and make_default is None and default is not parameter.empty:
        make_default = lambda: default  # noqa: E731 - one after it may be given
    return Parameter(parameter.name, hint, adapter, default, make_default, is_positional)


def schema_of(parameters: Sequence[Parameter]) -> dict[str, Any]:
    """Return the JSON schema of an object with these parameters.

    Raises:
        TypeError: one has no JSON form.
    """
    own = [one for one in parameters if one.adapter is None]
    described = [kind for kind in _classes(own) if descriptions_of(kind)]
    schemas, definitions = msgspec.json.schema_components(
        [*(one.hint for one in own), *described], ref_template=REF_TEMPLATE
    )
    for kind, schema in zip(described, schemas[len(own) :], strict=True):
        _describe(definitions[schema["$ref"].rpartition("/")[2]], descriptions_of(kind))
    adapters = {one.name: one.adapter for one in parameters if one.adapter is not None}
    others, more = pydantic_types.schemas_of(adapters)
    renames = {name: _free_name(name, definitions.keys() | more.keys()) for name in definitions.keys() & more.keys()}
    found = {one.name: schema for one, schema in zip(own, schemas[: len(own)], strict=True)} | _renamed(others, renames)
    properties = {one.name: typed(found[one.name]) for one in parameters}
    for one in parameters:
        if not one.is_required:
            _add_default(properties[one.name], one.default)
    schema = {
        "type": "object",
        "properties": properties,
        "required": [one.name for one in parameters if one.is_required],
        "additionalProperties": False,
    }
    definitions |= {renames.get(name, name): one for name, one in _renamed(more, renames).items()}
    return schema | ({"$defs": typed(definitions)} if definitions else {})


def takes_null(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> bool:
    """Return whether null is among the values that a schema describes."""
    if "$ref" in schema:
        return takes_null(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema or "oneOf" in schema:
        return any(takes_null(one, definitions) for one in schema.get("anyOf", schema.get("oneOf", ())))
    kinds = schema.get("type")
    return kinds is None or "null" in ([kinds] if isinstance(kinds, str) else kinds)


def _classes(parameters: Sequence[Parameter]) -> list[Any]:
    """Return the classes with fields that the parameters name, each once."""
    return list({id(kind): kind for one in parameters for kind in classes_in(one.hint)}.values())


def _describe(definition: dict[str, Any], descriptions: Mapping[str, str]) -> None:
    for name, text in descriptions.items():
        definition.get("properties", {}).get(name, {}).setdefault("description", text)


def _free_name(name: str, taken: set[str]) -> str:
    return next(free for number in range(2, len(taken) + 3) if (free := f"{name}_{number}") not in taken)


def _renamed(schema: Any, names: Mapping[str, str]) -> Any:
    """Return a schema whose references to definitions follow them to their new names."""
    if not names:
        return schema
    if isinstance(schema, list):
        return [_renamed(one, names) for one in schema]
    if not isinstance(schema, dict):
        return schema
    copy = {key: _renamed(value, names) for key, value in schema.items()}
    if isinstance(reference := copy.get("$ref"), str):
        place, _, name = reference.rpartition("/")
        copy["$ref"] = f"{place}/{names.get(name, name)}"
    return copy


JSON_TYPES: Final = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}


def typed(schema: Any) -> Any:
    """Return a schema that says what some servers demand: the type of what is enumerated, the items of an array."""
    if isinstance(schema, list):
        return [typed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    copy = {key: typed(value) for key, value in schema.items()}
    values = copy.get("enum")
    if isinstance(values, list) and "type" not in copy:
        kinds = list(dict.fromkeys(JSON_TYPES[type(value)] for value in values if type(value) in JSON_TYPES))
        copy["type"] = kinds[0] if len(kinds) == 1 else kinds
    if copy.get("type") == "array" and "prefixItems" not in copy:
        copy.setdefault("items", {})
    return copy


def _add_default(schema: dict[str, Any], default: Any) -> None:
    """Say what a parameter is when it is left out, where that has a JSON form."""
    try:
        schema.setdefault("default", msgspec.to_builtins(default, enc_hook=pydantic_types.plain))
    except (TypeError, ValueError, RecursionError):
        return
