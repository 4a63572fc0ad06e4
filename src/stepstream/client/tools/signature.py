"""The signature of a function as a tool: its arguments in JSON, and its definition for a model."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias, get_args, get_origin, get_type_hints

import msgspec

from stepstream.client.tools.advice import advised
from stepstream.client.tools.annotations import UNIONS
from stepstream.client.tools.context import ToolContext
from stepstream.client.tools.parameters import Parameter, parameter_of, schema_of, takes_null
from stepstream.client.tools.strict import strict_schema

NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""What the API accepts as the name of a function."""

Api: TypeAlias = Literal["assistants", "responses"]
"""Whose definitions of tools are wanted."""


class Signature(NamedTuple):
    """A function that a model may call, and the struct its arguments are decoded to."""

    name: str
    description: str
    function: Callable[..., Any]
    parameters: tuple[Parameter, ...]
    context_name: str | None
    """The parameter that gets the `ToolContext`."""
    arguments: type[msgspec.Struct]
    schema: dict[str, Any]
    """Of the arguments; with `is_strict` a strict one."""
    nullable: frozenset[str]
    """The parameters that null is a value of. For others, null stands for the default."""
    is_strict: bool
    is_async: bool

    def decode(self, text: str) -> dict[str, Any]:
        """Return arguments in JSON by the names of parameters. One that is left out keeps its default.

        Raises:
            msgspec.ValidationError, msgspec.DecodeError: the arguments do not fit. The text is for the model.
        """
        try:
            decoded = _decoded(text, self.arguments)
        except msgspec.ValidationError as exc:
            raise advised(exc, self.schema) from exc
        values = {
            one.name: one.value(getattr(decoded, one.name), takes_null=one.name in self.nullable)
            for one in self.parameters
        }
        return {name: value for name, value in values.items() if value is not msgspec.UNSET}

    def call(self, text: str, context: ToolContext) -> Callable[[], Any]:
        """Return the call of the function that a model asks for. No text is an empty object.

        Raises:
            msgspec.ValidationError, msgspec.DecodeError: as `decode` does.
        """
        values = self.decode(text or "{}")
        if self.context_name is not None:
            values[self.context_name] = context
        positional = [values.pop(one.name) for one in self.parameters if one.is_positional]
        return partial(self.function, *positional, **values)

    def definition(self, api: Api = "assistants") -> dict[str, Any]:
        """Return the function as one of the API's `tools`."""
        function = {"name": self.name, "description": self.description, "parameters": self.schema}
        if api == "responses":
            return {"type": "function", **function, "strict": self.is_strict}  # left out, it would be true there
        return {"type": "function", "function": {**function, "strict": True} if self.is_strict else function}


def _decoded(text: str, kind: type[msgspec.Struct]) -> msgspec.Struct:
    """Return arguments as a struct. 2.0 is an integer in JSON Schema, and models write it; msgspec refuses it."""
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError as exc:
        if "got `float`" not in str(exc):
            raise
        return msgspec.json.decode(msgspec.json.encode(_WHOLE.decode(text)), type=kind)


def _number(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


_WHOLE: Final = msgspec.json.Decoder(float_hook=_number)


def is_async(function: Callable[..., Any]) -> bool:
    """Return whether a call of `function` is to be awaited. Otherwise it runs in a thread."""
    written, _ = unwrapped(function)
    return inspect.iscoroutinefunction(written) or inspect.iscoroutinefunction(type(written).__call__)


def signature_of(
    function: Callable[..., Any], *, name: str | None, description: str | None, is_strict: bool = False
) -> Signature:
    """Return a function as a tool.

    A keyword argument of `functools.partial` is bound: the model neither sees the parameter nor replaces its value.

    Raises:
        TypeError: the function cannot be called or has no name, a parameter cannot be given by a model, or an
            annotation has no JSON form, or no strict one.
        ValueError: the API would refuse the name.
    """
    known = name_of(function, name)
    written, bound = unwrapped(function)
    found = list(annotated(known, function, written, bound))
    contexts = [parameter.name for parameter, hint in found if is_context(hint)]
    if len(contexts) > 1:
        raise TypeError(f"expected one parameter of {known} that is a ToolContext, got {', '.join(contexts)}")
    try:
        parameters = tuple(parameter_of(*one) for one in found if one[0].name not in contexts)
        schema = schema_of(parameters)
        properties, definitions = schema["properties"], schema.get("$defs", {})
        nullable = frozenset(name for name, one in properties.items() if takes_null(one, definitions))
        shown = strict_schema(schema) if is_strict else schema
        fields = [parameter.field for parameter in parameters]
        arguments = msgspec.defstruct("Arguments", fields, kw_only=True, forbid_unknown_fields=True)
        msgspec.json.Decoder(arguments)
    except TypeError as exc:
        kind = "strict JSON schema" if is_strict else "JSON form"
        raise TypeError(f"expected parameters of {known} that have a {kind}: {exc}") from exc
    return Signature(
        name=known,
        description=description_of(function, description),
        function=function,
        parameters=parameters,
        context_name=contexts[0] if contexts else None,
        arguments=arguments,
        schema=shown,
        nullable=nullable,
        is_strict=is_strict,
        is_async=is_async(function),
    )


def name_of(function: Callable[..., Any], name: str | None) -> str:
    """Return the name by which a model calls a function: the one that was given, else its own.

    Raises:
        TypeError: it cannot be called, or has no name.
        ValueError: the API would refuse the name.
    """
    if not callable(function):
        raise TypeError(f"expected a function, got {type(function).__name__}")
    known = name or getattr(unwrapped(function)[0], "__name__", None)
    if known is None:
        raise TypeError(f"expected a name=, as a {type(function).__name__} has none of its own")
    if not NAME.fullmatch(known):
        raise ValueError(f"expected a name of up to 64 letters, digits, underscores and hyphens, got {known!r:.80}")
    return str(known)


def description_of(function: Callable[..., Any], description: str | None) -> str:
    """Return how a function is described: as given, else by its docstring."""
    return description if description is not None else inspect.cleandoc(unwrapped(function)[0].__doc__ or "")


def unwrapped(function: Callable[..., Any]) -> tuple[Any, frozenset[str]]:
    """Return the function inside of `functools.partial`, and the names of the parameters that are bound."""
    bound: frozenset[str] = frozenset()
    while isinstance(function, partial):
        bound |= function.keywords.keys()
        function = function.func
    return function, bound


def annotated(
    known: str, function: Callable[..., Any], written: Any, bound: frozenset[str]
) -> Iterator[tuple[inspect.Parameter, Any]]:
    """Yield the parameters that are not bound, each with its annotation."""
    called = "__init__" if inspect.isclass(written) else "__call__"
    typed = written if inspect.isroutine(written) else getattr(written, called)
    try:
        hints: Mapping[str, Any] = get_type_hints(typed, include_extras=True)
        found = inspect.signature(function).parameters.values()
    except (NameError, ValueError) as exc:
        raise TypeError(f"expected annotations of {known} that can be read: {exc}") from exc
    for one in found:
        if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD):
            instead = "give a list or a dict, or where it is a decorator's, use functools.wraps there"
            raise TypeError(f"expected parameters of {known} that can be given by name, got {one}: {instead}")
        if one.name not in bound:
            yield one, hints.get(one.name, Any)


def is_context(hint: Any) -> bool:
    """Return whether a parameter is annotated with `ToolContext`, or with it or None."""
    if get_origin(hint) is Annotated or get_origin(hint) in UNIONS:
        return any(is_context(one) for one in get_args(hint))
    return hint is ToolContext
