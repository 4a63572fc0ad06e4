"""What a simulated run does, as data: the acts that a scenario is made of, how it ends, how it is written."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import msgspec


class Usage(msgspec.Struct, frozen=True):
    """Tokens that a step costs, or a run."""

    prompt: int
    completion: int
    cached: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.prompt + other.prompt, self.completion + other.completion, self.cached + other.cached)


class Failure(msgspec.Struct, frozen=True):
    """What a step's or run's `last_error` says."""

    code: str
    message: str


class CodeInterpreter(msgspec.Struct, frozen=True, kw_only=True):
    """A step in which the model writes code, which prints and may draw one image."""

    code: str
    logs: Sequence[str]
    """The pieces in which the printed text arrives."""
    image_file_id: str | None = None
    seconds: float = 0.8
    """How long the code runs before it prints."""
    usage: Usage = Usage(412, 96)
    failure: Failure | None = None
    """Why the step fails after it has printed."""


class FunctionCall(msgspec.Struct, frozen=True):
    """One call of a function that the client runs. `arguments` is JSON text."""

    name: str
    arguments: str


class FunctionCalls(msgspec.Struct, frozen=True, kw_only=True):
    """A step of parallel function calls. The stream ends there, and the next one begins with their outputs."""

    calls: tuple[FunctionCall, ...]
    usage: Usage = Usage(587, 44, 384)


class SearchResult(msgspec.Struct, frozen=True, kw_only=True):
    """One passage that a file search found."""

    file_id: str
    file_name: str
    score: float
    text: str


class FileSearch(msgspec.Struct, frozen=True, kw_only=True):
    """A step in which the server searches files. Only the completed step carries the results."""

    results: tuple[SearchResult, ...]
    seconds: float = 0.8
    """How long the search takes."""
    repeats: int = 2
    """How many deltas say the same about it."""
    usage: Usage = Usage(702, 23, 512)


class ConnectedAgent(msgspec.Struct, frozen=True, kw_only=True):
    """A step in which another agent answers, as Azure has it. Only the completed step carries its answer."""

    name: str
    arguments: str
    output: str
    seconds: float = 0.8
    """How long the other agent takes."""
    usage: Usage = Usage(350, 61)


class ListTools(msgspec.Struct, frozen=True, kw_only=True):
    """A step that lists the tools of an MCP server, as Azure has it: an activity, complete from the start."""

    server_label: str
    tools: dict[str, dict[str, Any]]
    """By name: `description` and `parameters`."""
    usage: Usage = Usage(120, 0)


class McpCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call of an MCP server's tool that the client must approve, as Azure has it.

    The stream ends there. The next one creates the run and the step once more, completes the step without an output,
    and gives the output in a late delta. A call that is not approved has none.
    """

    server_label: str
    name: str
    arguments: str
    output: str
    seconds: float = 0.5
    """How long the tool takes."""
    usage: Usage = Usage(288, 37)


class Reasoning(msgspec.Struct, frozen=True, kw_only=True):
    """A summary of what the model thought. The Assistants API does not tell it: there, nothing is sent."""

    summary: str
    usage: Usage = Usage(0, 64)


class Citation(msgspec.Struct, frozen=True):
    """A mark in an answer's text that points to a file."""

    mark: str
    file_id: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A step that writes a message: its text in order, citations in their places."""

    parts: tuple[str | Citation, ...]
    usage: Usage = Usage(1_140, 88, 640)


Hosted: TypeAlias = CodeInterpreter | FileSearch | ConnectedAgent | ListTools | Reasoning | Answer
"""Acts that need no answer of the client."""


class Together(msgspec.Struct, frozen=True):
    """Acts that go on at the same time: their events alternate."""

    acts: tuple[Hosted, ...]


Act: TypeAlias = Hosted | FunctionCalls | McpCall | Together


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ends."""

    status: Literal["completed", "failed", "cancelled", "expired", "incomplete"] = "completed"
    after: int | None = None
    """Cut the last act after so many events. What is open then ends with the run."""
    failure: Failure | None = None
    """The run's `last_error`."""
    reason: str | None = None
    """The reason in the run's `incomplete_details`."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A run from its first event to its last, in either API. Each act becomes one step, or several at once."""

    summary: str
    """What happens, in a few words."""
    acts: tuple[Act, ...]
    model: str = "simulated-1"
    instructions: str | None = None
    tools: tuple[dict[str, Any], ...] = ()
    """The run's `tools`, as on the wire."""
    ending: Ending = Ending()
    float_times: bool = False
    """Whether timestamps are floats, as open-assistant-api sends them."""
    line_end: Literal["\n", "\r\n"] = "\n"
    """sse-starlette ends its lines with CR LF."""
    ping_every: int | None = None
    """After so many events comes a comment, as sse-starlette sends them every 15 seconds."""
