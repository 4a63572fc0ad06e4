"""A function as a custom tool, which takes any text, and no JSON: a query, a patch, a program."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from stepstream.client.tools.context import ToolContext
from stepstream.client.tools.signature import Api, annotated, description_of, is_async, is_context, name_of, unwrapped


class CustomSignature(NamedTuple):
    """A function that a model may call with text."""

    name: str
    description: str
    function: Callable[..., Any]
    input_name: str
    context_name: str | None
    """The parameter that gets the `ToolContext`."""
    format: Mapping[str, Any] | None
    """The grammar of the text, as the API has it; None for any text."""
    is_async: bool

    def call(self, text: str, context: ToolContext) -> Callable[[], Any]:
        """Return the call of the function that a model asks for."""
        return partial(
            self.function, **{self.input_name: text}, **({self.context_name: context} if self.context_name else {})
        )

    def definition(self, api: Api) -> dict[str, Any] | None:
        """Return the tool as one of the API's `tools`; None where the API has no such tools."""
        if api == "assistants":
            return None
        form = {} if self.format is None else {"format": dict(self.format)}
        return {"type": "custom", "name": self.name, "description": self.description, **form}


def custom_of(
    function: Callable[..., Any], *, name: str | None, description: str | None, form: Mapping[str, Any] | None
) -> CustomSignature:
    """Return a function as a custom tool.

    Raises:
        TypeError: it cannot be called or has no name, or has not exactly one parameter for the text.
        ValueError: the API would refuse the name.
    """
    known = name_of(function, name)
    found = list(annotated(known, function, *unwrapped(function)))
    contexts = [parameter.name for parameter, hint in found if is_context(hint)]
    inputs = [parameter.name for parameter, _ in found if parameter.name not in contexts]
    if len(inputs) != 1 or len(contexts) > 1 or any(one.kind is one.POSITIONAL_ONLY for one, _ in found):
        raise TypeError(
            f"expected one parameter of {known} for the text of the model, got {', '.join(inputs) or 'none'}"
        )
    context_name = contexts[0] if contexts else None
    return CustomSignature(
        known, description_of(function, description), function, inputs[0], context_name, form, is_async(function)
    )
