"""The bodies of requests, as far as the simulator reads them."""

from typing import Any

import msgspec


class NewMessage(msgspec.Struct):
    """A message that the client adds to a thread."""

    role: str
    content: str | list[dict[str, Any]]
    attachments: list[dict[str, Any]] | None = None
    metadata: dict[str, str] | None = None


class NewThread(msgspec.Struct):
    """A thread that the client creates."""

    messages: list[NewMessage] = []
    metadata: dict[str, str] | None = None
    tool_resources: dict[str, Any] | None = None


class NewRun(msgspec.Struct):
    """A run that the client opens. The settings of `objects.SETTINGS` are taken beside these fields."""

    assistant_id: str = "asst_sim"
    stream: bool | None = False
    model: str | None = None
    instructions: str | None = None
    additional_instructions: str | None = None
    additional_messages: list[NewMessage] | None = None
    tools: list[dict[str, Any]] | None = None
    metadata: dict[str, str] | None = None
    thread: NewThread | None = None


class ToolOutput(msgspec.Struct):
    """What one function call gave."""

    tool_call_id: str
    output: str | None = None


class ToolApproval(msgspec.Struct):
    """Whether one MCP call may be made."""

    tool_call_id: str
    approve: bool


class Answers(msgspec.Struct):
    """What answers a run's required action."""

    tool_outputs: list[ToolOutput] | None = None
    tool_approvals: list[ToolApproval] | None = None
    stream: bool | None = False
