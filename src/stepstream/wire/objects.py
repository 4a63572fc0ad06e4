"""The full objects of a stream: RunStep, Run, Thread and their parts. Messages have a module of their own.

Only `id` is required. A field that may be null or absent is `Maybe`: a value, None for an explicit null, UNSET for
"not sent", so that an object encodes back to what came. Fields follow the published API and what servers send.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from msgspec import UNSET

from stepstream.wire.base import Integer, Maybe, Number, Seconds, Unknown, WireObject, moment, span
from stepstream.wire.statuses import RUN_TERMINAL, STEP_TERMINAL
from stepstream.wire.tool_calls import AnyToolCall

StepType: TypeAlias = Literal["message_creation", "tool_calls", "activities", "reasoning"]
ActivityType: TypeAlias = Literal["mcp_list_tools"]
ReasoningType: TypeAlias = Literal["summary_text", "reasoning_text"]
ActionType: TypeAlias = Literal["submit_tool_outputs", "submit_tool_approval"]


class Usage(WireObject, frozen=True):
    """Tokens spent. Of the two keys of details one has `token` in the singular, as on the wire."""

    prompt_tokens: Maybe[Integer] = UNSET
    completion_tokens: Maybe[Integer] = UNSET
    total_tokens: Maybe[Integer] = UNSET
    prompt_token_details: Maybe[dict[str, Any]] = UNSET
    completion_tokens_details: Maybe[dict[str, Any]] = UNSET


class LastError(WireObject, frozen=True):
    """Why a step or run failed: `code` is for programs (server_error, rate_limit_exceeded, …)."""

    code: Maybe[str] = UNSET
    message: Maybe[str] = UNSET


class MessageCreation(WireObject, frozen=True):
    """The message that a message_creation step creates."""

    message_id: Maybe[str] = UNSET


class Activity(WireObject, frozen=True):
    """An action of the server other than a tool call; `tools` maps a name to its description and parameters."""

    id: Maybe[str] = UNSET
    type: Maybe[ActivityType] = UNSET
    server_label: Maybe[str] = UNSET
    tools: Maybe[dict[str, Any]] = UNSET


if TYPE_CHECKING:
    AnyActivity: TypeAlias = Activity | Unknown
else:
    AnyActivity = Activity


class ReasoningText(WireObject, frozen=True):
    """One part of what a model thought, or of its summary."""

    type: Maybe[ReasoningType] = UNSET
    text: Maybe[str] = UNSET


if TYPE_CHECKING:
    AnyReasoningText: TypeAlias = ReasoningText | Unknown
else:
    AnyReasoningText = ReasoningText


class Reasoning(WireObject, frozen=True):
    """What a model thought before it went on: a summary, the thoughts themselves where a server shows them.

    `encrypted_content` is for the server, where it does not remember them.
    """

    summary: Maybe[tuple[AnyReasoningText, ...]] = UNSET
    content: Maybe[tuple[AnyReasoningText, ...]] = UNSET
    encrypted_content: Maybe[str] = UNSET


class StepDetails(WireObject, frozen=True):
    """The details of a step, under the key of its type."""

    type: Maybe[StepType] = UNSET
    message_creation: Maybe[MessageCreation] = UNSET
    tool_calls: Maybe[tuple[AnyToolCall, ...]] = UNSET
    activities: Maybe[tuple[AnyActivity, ...]] = UNSET
    reasoning: Maybe[Reasoning] = UNSET


if TYPE_CHECKING:
    AnyStepDetails: TypeAlias = StepDetails | Unknown
else:
    AnyStepDetails = StepDetails


class RunStep(WireObject, frozen=True):
    """A step of a run (`thread.run.step`): a snapshot of it at one moment. Times are Unix seconds."""

    id: str
    object: Maybe[str] = UNSET
    created_at: Maybe[Seconds] = UNSET
    run_id: Maybe[str] = UNSET
    assistant_id: Maybe[str] = UNSET
    thread_id: Maybe[str] = UNSET
    type: Maybe[str] = UNSET
    """message_creation, tool_calls, activities, reasoning, or what a newer server sends."""
    status: Maybe[str] = UNSET
    """in_progress, completed, failed, cancelled, expired, incomplete, or what a newer server sends."""
    cancelled_at: Maybe[Seconds] = UNSET
    completed_at: Maybe[Seconds] = UNSET
    expired_at: Maybe[Seconds] = UNSET
    expires_at: Maybe[Seconds] = UNSET
    failed_at: Maybe[Seconds] = UNSET
    last_error: Maybe[LastError] = UNSET
    step_details: Maybe[AnyStepDetails] = UNSET
    usage: Maybe[Usage] = UNSET
    metadata: Maybe[dict[str, Any]] = UNSET

    @property
    def is_terminal(self) -> bool:
        """Whether its status is a terminal one."""
        return self.status in STEP_TERMINAL

    @property
    def tool_calls(self) -> tuple[AnyToolCall, ...]:
        """Its tool calls in order; empty for other steps."""
        details = self.step_details
        return (details.tool_calls or ()) if isinstance(details, StepDetails) else ()

    @property
    def created(self) -> datetime | None:
        """When it was created, in UTC, or None."""
        return moment(self.created_at)

    @property
    def completed(self) -> datetime | None:
        """When it completed, in UTC, or None."""
        return moment(self.completed_at)

    @property
    def failed(self) -> datetime | None:
        """When it failed, in UTC, or None."""
        return moment(self.failed_at)

    @property
    def cancelled(self) -> datetime | None:
        """When it was cancelled, in UTC, or None."""
        return moment(self.cancelled_at)

    @property
    def expires(self) -> datetime | None:
        """When it expires unless it ends before, in UTC, or None."""
        return moment(self.expires_at)

    @property
    def duration(self) -> timedelta | None:
        """From its creation to its end, or None while one of them is not known."""
        return span(self.created, self.completed or self.failed or self.cancelled or moment(self.expired_at))


class RequiredCalls(WireObject, frozen=True):
    """The tool calls that a run waits for."""

    tool_calls: Maybe[tuple[AnyToolCall, ...]] = UNSET


class RequiredAction(WireObject, frozen=True):
    """The action that a run waits for: outputs of calls, approvals of MCP calls, or both."""

    type: Maybe[ActionType] = UNSET
    submit_tool_outputs: Maybe[RequiredCalls] = UNSET
    submit_tool_approval: Maybe[RequiredCalls] = UNSET

    @property
    def tool_calls(self) -> tuple[AnyToolCall, ...]:
        """The calls that the run waits for, of either type."""
        required = self.submit_tool_outputs, self.submit_tool_approval
        return tuple(call for some in required if some for call in some.tool_calls or ())


if TYPE_CHECKING:
    AnyRequiredAction: TypeAlias = RequiredAction | Unknown
else:
    AnyRequiredAction = RequiredAction


class IncompleteDetails(WireObject, frozen=True):
    """Why a run or message is incomplete: max_completion_tokens, max_prompt_tokens, content_filter, …."""

    reason: Maybe[str] = UNSET


class Run(WireObject, frozen=True):
    """A run (`thread.run`) at one moment. Times are Unix seconds; limits count tokens."""

    id: str
    object: Maybe[str] = UNSET
    created_at: Maybe[Seconds] = UNSET
    assistant_id: Maybe[str] = UNSET
    thread_id: Maybe[str] = UNSET
    status: Maybe[str] = UNSET
    """queued, in_progress, requires_action, cancelling, cancelled, failed, completed, incomplete, expired, or newer."""
    started_at: Maybe[Seconds] = UNSET
    expires_at: Maybe[Seconds] = UNSET
    cancelled_at: Maybe[Seconds] = UNSET
    failed_at: Maybe[Seconds] = UNSET
    completed_at: Maybe[Seconds] = UNSET
    required_action: Maybe[AnyRequiredAction] = UNSET
    last_error: Maybe[LastError] = UNSET
    model: Maybe[str] = UNSET
    instructions: Maybe[str] = UNSET
    tools: Maybe[tuple[dict[str, Any], ...]] = UNSET
    tool_resources: Maybe[dict[str, Any]] = UNSET
    metadata: Maybe[dict[str, Any]] = UNSET
    temperature: Maybe[Number] = UNSET
    top_p: Maybe[Number] = UNSET
    reasoning_effort: Maybe[str] = UNSET
    max_completion_tokens: Maybe[Integer] = UNSET
    max_prompt_tokens: Maybe[Integer] = UNSET
    truncation_strategy: Maybe[dict[str, Any]] = UNSET
    incomplete_details: Maybe[IncompleteDetails] = UNSET
    usage: Maybe[Usage] = UNSET
    response_format: Maybe[str | dict[str, Any]] = UNSET
    tool_choice: Maybe[str | dict[str, Any]] = UNSET
    parallel_tool_calls: Maybe[bool] = UNSET
    file_ids: Maybe[tuple[str, ...]] = UNSET

    @property
    def is_terminal(self) -> bool:
        """Whether its status is a terminal one."""
        return self.status in RUN_TERMINAL


class Thread(WireObject, frozen=True):
    """A thread: the conversation that runs belong to."""

    id: str
    object: Maybe[str] = UNSET
    created_at: Maybe[Seconds] = UNSET
    tool_resources: Maybe[dict[str, Any]] = UNSET
    metadata: Maybe[dict[str, Any]] = UNSET
