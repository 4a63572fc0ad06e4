"""The signature of a function as a tool: its arguments in JSON, and its definition for a model."""

import inspect
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple, Union, get_type_hints

import msgspec

NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""What the API accepts as the name of a function."""


class Signature(NamedTuple):
    """A function that a model may call, and the struct its arguments are decoded to."""

    name: str
    description: str
    function: Callable[..., Any]
    arguments: type[msgspec.Struct]
    is_async: bool

    def decode(self, text: str) -> dict[str, Any]:
        """Return arguments in JSON as keyword arguments of the function. One that is left out keeps its default.

        Raises:
            msgspec.ValidationError, msgspec.DecodeError: the arguments do not fit.
        """
        decoded = msgspec.json.decode(text, type=self.arguments)
        return {
            name: value
            for name in self.arguments.__struct_fields__
            if (value := getattr(decoded, name)) is not msgspec.UNSET
        }

    def definition(self) -> dict[str, Any]:
        """Return the function as one of the API's `tools`."""
        schema = msgspec.json.schema(self.arguments)  # a reference to one of its definitions; the API wants it in place
        parts = schema["$defs"]
        parameters = parts.pop(schema["$ref"].rpartition("/")[2])
        parameters.pop("title", None)
        if parts:
            parameters["$defs"] = parts
        function = {"name": self.name, "description": self.description, "parameters": parameters}
        return {"type": "function", "function": function}


def is_async(function: Callable[..., Any]) -> bool:
    """Return whether a call of `function` is to be awaited. Otherwise it runs in a thread."""
    written, _ = _unwrapped(function)
    return inspect.iscoroutinefunction(written) or inspect.iscoroutinefunction(type(written).__call__)


def signature_of(function: Callable[..., Any], *, name: str | None, description: str | None) -> Signature:
    """Return a function as a tool.

    A keyword argument of `functools.partial` is bound: the model neither sees the parameter nor replaces its value.

    Raises:
        TypeError: the function cannot be called or has no name, a parameter cannot be given by name, or an annotation
            has no JSON form.
        ValueError: the API would refuse the name.
    """
    if not callable(function):
        raise TypeError(f"expected a function, got {type(function).__name__}")
    written, bound = _unwrapped(function)
    known = name or getattr(written, "__name__", None)
    if known is None:
        raise TypeError(f"expected a name=, as a {type(function).__name__} has none of its own")
    if not NAME.fullmatch(known):
        raise ValueError(f"expected a name of up to 64 letters, digits, underscores and hyphens, got {known!r:.80}")
    fields = [_field(known, parameter, hint) for parameter, hint in _parameters(known, function, written, bound)]
    arguments = msgspec.defstruct("Arguments", fields, kw_only=True, forbid_unknown_fields=True)
    text = description if description is not None else inspect.cleandoc(written.__doc__ or "")
    signature = Signature(known, text, function, arguments, is_async(function))
    try:
        signature.definition()
        msgspec.json.Decoder(arguments)
    except TypeError as exc:
        raise TypeError(f"expected parameters of {known} that have a JSON form: {exc}") from exc
    return signature


def _unwrapped(function: Callable[..., Any]) -> tuple[Any, frozenset[str]]:
    """Return the function inside of `functools.partial`, and the names of the parameters that are bound."""
    bound: frozenset[str] = frozenset()
    while isinstance(function, partial):
        bound |= function.keywords.keys()
        function = function.func
    return function, bound


def _parameters(
    known: str, function: Callable[..., Any], written: Any, bound: frozenset[str]
) -> list[tuple[inspect.Parameter, Any]]:
    """Return the parameters that the model is to give, each with its annotation."""
    called = "__init__" if inspect.isclass(written) else "__call__"
    annotated = written if inspect.isroutine(written) else getattr(written, called)
    try:
        hints: Mapping[str, Any] = get_type_hints(annotated, include_extras=True)
        found = inspect.signature(function).parameters.values()
    except (NameError, ValueError) as exc:
        raise TypeError(f"expected annotations of {known} that can be read: {exc}") from exc
    return [(one, hints.get(one.name, Any)) for one in found if one.name not in bound]


def _field(known: str, parameter: inspect.Parameter, annotation: Any) -> Any:
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
        raise TypeError(f"expected parameters of {known} that can be given by name, got {parameter}")
    if parameter.default is parameter.empty:
        return (parameter.name, annotation)
    optional: Any = Union.__getitem__((annotation, msgspec.UnsetType))
    return (parameter.name, optional, msgspec.UNSET)  # left to the function: a default need not have a JSON form
