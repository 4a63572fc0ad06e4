"""The parameters that a run is opened with, by the names of the API."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, TypedDict

import msgspec

from stepstream.sources.options import check_json

TOKEN: Final = "stepstream_token"
"""Under which key of a run's metadata the token stands that the run was opened with."""


class RunParameters(TypedDict, total=False):
    """The parameters of a run, as the API names them. One left out has the default of the assistant or server."""

    assistant_id: str
    model: str | None
    instructions: str | None
    additional_instructions: str | None
    additional_messages: Sequence[Mapping[str, Any]] | None
    tools: Sequence[Mapping[str, Any]] | None
    tool_resources: Mapping[str, Any] | None
    tool_choice: str | Mapping[str, Any] | None
    parallel_tool_calls: bool | None
    response_format: str | Mapping[str, Any] | None
    truncation_strategy: Mapping[str, Any] | None
    temperature: float | None
    top_p: float | None
    max_prompt_tokens: int | None
    max_completion_tokens: int | None
    reasoning_effort: str | None
    metadata: Mapping[str, str] | None
    include: Sequence[str]
    """Optional fields that the server is to send: the query parameter `include[]`."""
    extra_body: Mapping[str, Any]
    """Fields of the body that are not named here."""


class ThreadAndRunParameters(RunParameters, total=False):
    """The parameters of a run on a new thread."""

    thread: Mapping[str, Any] | None
    """The thread's `messages`, `metadata` and `tool_resources`."""


class ResponseParameters(TypedDict, total=False):
    """The parameters of a response, as the API names them. One left out has the default of the server."""

    input: str | Sequence[Mapping[str, Any]] | None
    model: str | None
    instructions: str | None
    tools: Sequence[Mapping[str, Any]] | None
    tool_choice: str | Mapping[str, Any] | None
    parallel_tool_calls: bool | None
    max_tool_calls: int | None
    max_output_tokens: int | None
    previous_response_id: str | None
    conversation: str | Mapping[str, Any] | None
    background: bool | None
    store: bool | None
    include: Sequence[str] | None
    reasoning: Mapping[str, Any] | None
    text: Mapping[str, Any] | None
    temperature: float | None
    top_p: float | None
    top_logprobs: int | None
    truncation: str | None
    metadata: Mapping[str, str] | None
    prompt: Mapping[str, Any] | None
    prompt_cache_key: str | None
    prompt_cache_options: Mapping[str, Any] | None
    prompt_cache_retention: str | None
    safety_identifier: str | None
    service_tier: str | None
    stream_options: Mapping[str, Any] | None
    context_management: Sequence[Mapping[str, Any]] | None
    access_programs: Sequence[Mapping[str, Any]] | None
    background_options: Mapping[str, Any] | None
    image: Mapping[str, Any] | None
    moderation: Mapping[str, Any] | None
    user: str | None
    extra_body: Mapping[str, Any]
    """Fields of the body that are not named here."""


def body_of(parameters: Mapping[str, Any], allowed: type[RunParameters], token: str | None = None) -> dict[str, Any]:
    """Return the body that opens a run's stream with these parameters, as plain JSON. Raises as `response_body_of`.

    A `token` goes into the metadata.
    """
    if token is not None:
        parameters = {**parameters, "metadata": {**(parameters.get("metadata") or {}), TOKEN: token}}
    named = {name: value for name, value in parameters.items() if name != "include"}
    known = allowed.__annotations__.keys() | RunParameters.__annotations__.keys()
    return _body(named, known, "a run")


def response_body_of(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body that opens the stream of a response with these parameters, as plain JSON.

    Raises:
        TypeError: a parameter is not known, or has no JSON form.
        ValueError: the text of one cannot be sent.
    """
    return _body(parameters, ResponseParameters.__annotations__.keys(), "a response")


def _body(parameters: Mapping[str, Any], known: Collection[str], what: str) -> dict[str, Any]:
    unknown = [name for name in parameters if name not in known]
    if unknown:
        raise TypeError(f"expected parameters of {what}, got {', '.join(sorted(unknown))}; others go into extra_body")
    named = {name: value for name, value in parameters.items() if name != "extra_body"}
    body: dict[str, Any] = msgspec.to_builtins({**named, **(parameters.get("extra_body") or {}), "stream": True})
    check_json(body)
    return body


def include_of(parameters: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the query for the optional fields that the server is to send.

    Raises:
        TypeError: `include` is one string, not a sequence of them.
    """
    include = parameters.get("include") or ()
    if isinstance(include, str):
        raise TypeError("expected include as a sequence of strings, got one string")
    return [("include[]", value) for value in include]
