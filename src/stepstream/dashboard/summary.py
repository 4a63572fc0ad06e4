"""A run in a few words, as the list of runs shows it, kept up by the changes of its fold."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from stepstream.fold.changes import (
    Change,
    MessageProgress,
    MessageTransition,
    RunTransition,
    StepTransition,
    ToolCallStarted,
)
from stepstream.fold.outcome import usage_of
from stepstream.fold.run_state import RunState
from stepstream.journal.run_info import RunInfo
from stepstream.views.documents import title_of
from stepstream.wire.deltas import ContentDelta
from stepstream.wire.messages import Message
from stepstream.wire.objects import RequiredAction, Run

REASON_LIMIT: Final = 200
TEXT_LIMIT: Final = 120
NAME_LIMIT: Final = 200


class RunSummary(msgspec.Struct, kw_only=True):
    """What the list shows of a run."""

    id: str
    state: str
    """What its journal says: open, waiting, ended or interrupted."""
    status: str = ""
    """What its newest object says: queued, in_progress, requires_action, …; empty where there is none."""
    model: str = ""
    opened: float
    ended: float | None = None
    position: int = 0
    steps: int = 0
    calls: int = 0
    failed_steps: int = 0
    tokens: int = 0
    reason: str = ""
    """Why it ended as it did or was interrupted, what it waits for, or why a step of it failed, in one line."""
    text: str = ""
    """The end of its newest answer."""


class Counts:
    """What is known of a run beside its journal, as its changes come."""

    def __init__(self) -> None:
        self.run: Run | None = None
        self.steps = self.calls = self.failed_steps = self.step_tokens = 0
        self.text = self.step_error = ""
        self._message = ""  # the one that the text is of

    def take(self, change: Change) -> None:
        """Take what an event did."""
        match change:
            case RunTransition():
                self.run = change.run
            case StepTransition():
                self.steps += change.previous is None
                if change.terminal:
                    self.failed_steps += change.status == "failed"
                    self.step_error = _error(change.last_error) or self.step_error
                    self.step_tokens += (change.usage.total_tokens or 0) if change.usage else 0
            case ToolCallStarted():
                self.calls += 1
            case MessageTransition() if change.terminal or change.previous is None:
                self._show(change.message)
            case MessageProgress():
                self._grow(change)

    def begin_at(self, state: RunState) -> None:
        """Count a run that is known as of a position, its events before that being gone."""
        self.run = state.run
        self.steps, self.calls = len(state.steps), sum(len(step.tool_calls) for step in state.steps.values())
        self.failed_steps = sum(step.status == "failed" for step in state.steps.values())
        self.step_tokens = usage_of({}, state.steps.values()).total_tokens or 0
        self.step_error = next(
            filter(None, (_error(step.last_error) for step in reversed(list(state.steps.values())))), ""
        )
        for message in state.messages.values():
            self._show(message)

    def _show(self, message: Message) -> None:
        if message.role != "user":
            self._message, self.text = message.id, message.text[-TEXT_LIMIT:]

    def _grow(self, change: MessageProgress) -> None:
        if change.message_id != self._message:
            self._show(change.message)
            return
        pieces = "".join(_texts(change))
        if pieces:
            self.text = (self.text + pieces)[-TEXT_LIMIT:]

    def summary(self, info: RunInfo) -> RunSummary:
        """Return the run in a few words. `info` is what its journal says."""
        run = self.run
        usage = run.usage if run is not None else None
        return RunSummary(
            id=info.id,
            state=info.status,
            status=_line((run.status if run is not None else "") or "", NAME_LIMIT),
            model=_line((run.model if run is not None else "") or "", NAME_LIMIT),
            opened=info.opened,
            ended=info.ended,
            position=info.position,
            steps=self.steps,
            calls=self.calls,
            failed_steps=self.failed_steps,
            tokens=(usage.total_tokens or 0) if usage else self.step_tokens,
            reason=_line(_reason(run, info) or self.step_error, REASON_LIMIT),
            text=self.text,
        )


def _texts(change: MessageProgress) -> Iterator[str]:
    for part in (change.delta.content or ()) if change.delta else ():
        if isinstance(part, ContentDelta) and part.text and part.text.value:
            yield part.text.value


def _line(value: object, limit: int) -> str:
    return " ".join(str(value)[: 2 * limit].split())[:limit]


def _reason(run: Run | None, info: RunInfo) -> str:
    if info.status == "interrupted":
        return info.error or "interrupted"
    if run is None:
        return ""
    if run.status == "requires_action":
        return _awaited(run)
    if run.last_error:
        return _error(run.last_error)
    return (run.incomplete_details.reason or "") if run.incomplete_details else ""


def _error(error: Any) -> str:
    """Return what an error of a step or run says; nothing where there is none."""
    return ": ".join(str(part)[:REASON_LIMIT] for part in (error.code, error.message) if part) if error else ""


def _awaited(run: Run) -> str:
    action: Any = run.required_action
    if not isinstance(action, RequiredAction):
        return "waits"
    names = title_of([{"name": str(call.tool_name or call.type or "?")} for call in action.tool_calls])
    return f"waits for {'approval' if action.submit_tool_approval else 'outputs'}: {names}"
