"""Tool calls, of every kind that servers are known to send.

A call holds its content under the key of its own kind, except `mcp`, whose fields lie beside id and type, and
`openapi`, which uses the key `function`. Kinds whose content neither grows nor is read here are plain JSON.
"""

from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from msgspec import UNSET

from stepstream.wire.base import Integer, Maybe, Number, Unknown, WireObject

ToolType: TypeAlias = Literal[
    "apply_patch",
    "azure_ai_search",
    "azure_function",
    "bing_custom_search",
    "bing_grounding",
    "browser_automation",
    "code_interpreter",
    "computer",
    "computer_use_preview",
    "connected_agent",
    "custom",
    "deep_research",
    "fabric_dataagent",
    "file_search",
    "function",
    "image_generation",
    "local_shell",
    "mcp",
    "openapi",
    "sharepoint_grounding",
    "shell",
    "tool_search",
    "web_search",
]
"""The kinds of tool call that `ToolCall` is for. A call of another kind is an `Unknown`, and no error."""

OutputType: TypeAlias = Literal["logs", "image"]

NAMED: Final = {
    "azure_function": "azure_function",
    "connected_agent": "connected_agent",
    "custom": "custom",
    "function": "function",
    "mcp": None,
    "openapi": "function",
}
"""The kinds whose calls have a name, and the key it is under (None: beside id and type)."""


class FunctionCall(WireObject, frozen=True):
    """A call of a function. `arguments` is JSON text, written by the model and maybe invalid."""

    name: Maybe[str] = UNSET
    arguments: Maybe[str] = UNSET
    output: Maybe[str] = UNSET


class CustomCall(WireObject, frozen=True):
    """A call of a tool that takes any text as its input."""

    name: Maybe[str] = UNSET
    input: Maybe[str] = UNSET
    output: Maybe[str] = UNSET


class OutputImage(WireObject, frozen=True):
    """An image that code produced: a file of the server, or an address, which may hold all of it."""

    file_id: Maybe[str] = UNSET
    url: Maybe[str] = UNSET


class CodeOutput(WireObject, frozen=True):
    """One output of code: logs or an image."""

    type: Maybe[OutputType] = UNSET
    logs: Maybe[str] = UNSET
    image: Maybe[OutputImage] = UNSET


if TYPE_CHECKING:
    AnyCodeOutput: TypeAlias = CodeOutput | Unknown
else:
    AnyCodeOutput = CodeOutput  # the decoder's type: an unknown kind takes the second look of `loose`


class CodeInterpreter(WireObject, frozen=True):
    """Code that was run: its source text and its outputs."""

    input: Maybe[str] = UNSET
    outputs: Maybe[tuple[AnyCodeOutput, ...]] = UNSET


class RankingOptions(WireObject, frozen=True):
    """How search results were ranked; a score lies between 0 and 1."""

    ranker: Maybe[str] = UNSET
    score_threshold: Maybe[Number] = UNSET


class SearchResult(WireObject, frozen=True):
    """One hit of a file search; `content` holds objects such as {"type": "text", "text": ...}."""

    file_id: Maybe[str] = UNSET
    file_name: Maybe[str] = UNSET
    score: Maybe[Number] = UNSET
    content: Maybe[tuple[dict[str, Any], ...]] = UNSET
    attributes: Maybe[dict[str, Any]] = UNSET


class FileSearch(WireObject, frozen=True):
    """A search in files. Streams of 2024 sent it empty."""

    queries: Maybe[tuple[str, ...]] = UNSET
    ranking_options: Maybe[RankingOptions] = UNSET
    results: Maybe[tuple[SearchResult, ...]] = UNSET


class ConnectedAgent(WireObject, frozen=True):
    """A call of another agent, with the run that it started."""

    name: Maybe[str] = UNSET
    arguments: Maybe[str] = UNSET
    output: Maybe[str] = UNSET
    run_id: Maybe[str] = UNSET
    thread_id: Maybe[str] = UNSET
    assistant_id: Maybe[str] = UNSET


class DeepResearch(WireObject, frozen=True):
    """A research task and its report."""

    input: Maybe[str] = UNSET
    output: Maybe[str] = UNSET


class BrowserAutomation(WireObject, frozen=True):
    """A task done in a browser, with the steps taken, as JSON objects."""

    input: Maybe[str] = UNSET
    output: Maybe[str] = UNSET
    steps: Maybe[tuple[dict[str, Any], ...]] = UNSET


class PatchOperation(WireObject, frozen=True):
    """What is done to one file: create_file, update_file or delete_file; `diff` is what to apply."""

    type: Maybe[str] = UNSET
    path: Maybe[str] = UNSET
    diff: Maybe[str] = UNSET


class ApplyPatch(WireObject, frozen=True):
    """A patch of a file, and what came of it."""

    operation: Maybe[PatchOperation] = UNSET
    output: Maybe[str] = UNSET


class ShellCommand(WireObject, frozen=True):
    """One command of a shell call."""

    command: Maybe[str] = UNSET


class ShellOutput(WireObject, frozen=True):
    """What one command wrote, and how it ended: {"type": "exit", "exit_code": 0} or {"type": "timeout"}."""

    stdout: Maybe[str] = UNSET
    stderr: Maybe[str] = UNSET
    outcome: Maybe[dict[str, Any]] = UNSET


class Shell(WireObject, frozen=True):
    """Commands for a shell, and what each wrote. `environment` says where it runs."""

    commands: Maybe[tuple[ShellCommand, ...]] = UNSET
    outputs: Maybe[tuple[ShellOutput, ...]] = UNSET
    timeout_ms: Maybe[Integer] = UNSET
    max_output_length: Maybe[Integer] = UNSET
    environment: Maybe[dict[str, Any]] = UNSET


class ToolCall(WireObject, frozen=True):
    """One tool call of a step: its id, its kind, and its content under the key of that kind."""

    id: Maybe[str] = UNSET
    type: Maybe[ToolType] = UNSET
    status: Maybe[str] = UNSET
    """How far it is, where the server says that of a call: in_progress, searching, interpreting, completed, …"""
    function: Maybe[FunctionCall] = UNSET
    apply_patch: Maybe[ApplyPatch] = UNSET
    code_interpreter: Maybe[CodeInterpreter] = UNSET
    file_search: Maybe[FileSearch] = UNSET
    azure_ai_search: Maybe[dict[str, Any]] = UNSET
    azure_function: Maybe[FunctionCall] = UNSET
    bing_custom_search: Maybe[dict[str, Any]] = UNSET
    bing_grounding: Maybe[dict[str, Any]] = UNSET
    browser_automation: Maybe[BrowserAutomation] = UNSET
    computer: Maybe[dict[str, Any]] = UNSET
    computer_use_preview: Maybe[dict[str, Any]] = UNSET
    connected_agent: Maybe[ConnectedAgent] = UNSET
    custom: Maybe[CustomCall] = UNSET
    deep_research: Maybe[DeepResearch] = UNSET
    fabric_dataagent: Maybe[dict[str, Any]] = UNSET
    image_generation: Maybe[dict[str, Any]] = UNSET
    local_shell: Maybe[dict[str, Any]] = UNSET
    sharepoint_grounding: Maybe[dict[str, Any]] = UNSET
    shell: Maybe[Shell] = UNSET
    tool_search: Maybe[dict[str, Any]] = UNSET
    web_search: Maybe[dict[str, Any]] = UNSET
    name: Maybe[str] = UNSET
    """Of `mcp` only, as are the fields below; `tool_name` serves every kind."""
    arguments: Maybe[str] = UNSET
    output: Maybe[str] = UNSET
    server_label: Maybe[str] = UNSET

    @property
    def tool_name(self) -> str | None:
        """The name of the function, agent or tool that is called; None for kinds without a name, or while unknown."""
        if self.type not in NAMED:
            return None
        key = NAMED[self.type]
        content = getattr(self, key) if key else self
        return getattr(content, "name", None) or None


if TYPE_CHECKING:
    AnyToolCall: TypeAlias = ToolCall | Unknown
else:
    AnyToolCall = ToolCall
