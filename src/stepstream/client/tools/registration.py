"""What a toolbox is made of: the methods that register tools and hooks, and give the definitions for a model."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeAlias, TypeVar, overload

from stepstream.client.tools.custom import CustomSignature, custom_of
from stepstream.client.tools.hooks import After, Before, Hooks
from stepstream.client.tools.signature import Api, Signature, signature_of
from stepstream.live.callbacks import checked_callback
from stepstream.wire.tool_calls import ToolCall

F = TypeVar("F", bound=Callable[..., Any])
B = TypeVar("B", bound=Before)
E = TypeVar("E", bound=After)
Approve: TypeAlias = Callable[[ToolCall], bool | Awaitable[bool]]
A = TypeVar("A", bound=Approve)


class RegistrationMethods:
    """The methods by which a toolbox gets its tools and hooks. With `strict`, schemas are strict unless one says no."""

    def __init__(self, hooks: Hooks, *, strict: bool) -> None:
        self._hooks = hooks
        self._is_strict = strict
        self._tools: dict[str, Signature | CustomSignature] = {}
        self._approve: Approve | None = None

    @overload
    def function(self, function: F) -> F: ...
    @overload
    def function(
        self, *, name: str | None = None, description: str | None = None, strict: bool | None = None
    ) -> Callable[[F], F]: ...
    def function(
        self,
        function: F | None = None,
        *,
        name: str | None = None,
        description: str | None = None,
        strict: bool | None = None,
    ) -> F | Callable[[F], F]:
        """Register a function, as `@tools.function` or `@tools.function(name=…)`.

        An async function is awaited, a sync one runs in a thread. The annotations of the parameters say which arguments
        are valid; the description is the docstring, unless one is given. They may be of msgspec, pydantic, dataclasses
        and plain types, with what stands in `Annotated`: `Meta`, `Field`, `Doc`, annotated-types, a string. A parameter
        annotated with `ToolContext` gets it, and no model sees it. `strict` is that of the toolbox, unless given.

        Raises:
            TypeError: it is no function, a parameter is `*args` or `**kwargs`, or an annotation has no JSON form, or no
                strict one.
            ValueError: a tool of that name is registered, or the API does not accept the name.
        """
        if function is None:
            return partial(self._with_function, name=name, description=description, strict=strict)
        return self._with_function(function, name=name, description=description, strict=strict)

    def _with_function(self, function: F, *, name: str | None, description: str | None, strict: bool | None) -> F:
        is_strict = self._is_strict if strict is None else strict
        self._register(signature_of(function, name=name, description=description, is_strict=is_strict))
        return function

    def custom(
        self,
        *,
        name: str | None = None,
        description: str | None = None,
        format: Mapping[str, Any] | None = None,  # noqa: A002 - the API's own word
    ) -> Callable[[F], F]:
        """Register a function that takes any text, as `@tools.custom()`: a custom tool, which only Responses has.

        `format` is the grammar of the text, as the API has it.

        Raises:
            TypeError: it is no function, or has not one parameter for the text, and maybe one for the `ToolContext`.
            ValueError: a tool of that name is registered, or the API does not accept the name.
        """

        def register(function: F) -> F:
            self._register(custom_of(function, name=name, description=description, form=format))
            return function

        return register

    def _register(self, tool: Signature | CustomSignature) -> None:
        if tool.name in self._tools:
            raise ValueError(f"expected another name: a function {tool.name!r} is registered")
        self._tools[tool.name] = tool

    def before(self, hook: B) -> B:
        """Register an async function that is called before each call, with its `ToolContext`, as `@tools.before`.

        What it raises is the call's failure: the function is not called then.
        """
        self._hooks.before.append(checked_callback(hook))
        return hook

    def after(self, hook: E) -> E:
        """Register an async function that is called after each call, with its `ToolResult`, as `@tools.after`."""
        self._hooks.after.append(checked_callback(hook))
        return hook

    def on_failure(self, hook: E) -> E:
        """Register an async function that is called after each call that failed, before those of `after`."""
        self._hooks.on_failure.append(checked_callback(hook))
        return hook

    def approve(self, function: A) -> A:
        """Register the function that approves MCP calls, as `@tools.approve`: it gets a call and returns a bool.

        Only True approves. A call is refused without such a function, and where it returns anything else, raises or
        exceeds the timeout.

        Raises:
            TypeError: it cannot be called.
            ValueError: another function is registered.
        """
        if not callable(function):
            raise TypeError(f"expected a function, got {type(function).__name__}")
        if self._approve is not None:
            raise ValueError("expected one function that approves: another is registered")
        self._approve = function
        return function

    def definitions(self, api: Api = "assistants") -> list[dict[str, Any]]:
        """Return the tools as the `tools` of an API, with JSON schemas of their parameters.

        Custom tools are left out where the API has none.
        """
        if api not in ("assistants", "responses"):
            raise ValueError(f"expected an api 'assistants' or 'responses', got {api!r}")
        found = [tool.definition(api) for tool in self._tools.values()]
        return [one for one in found if one is not None]
