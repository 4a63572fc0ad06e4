"""A form in the words of a kit for user interfaces: changes and states become an outline, the outline frames."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from stepstream.fold.changes import (
    Change,
    MessageProgress,
    MessageTransition,
    RunTransition,
    StepProgress,
    StepTransition,
    ToolCallFinished,
    ToolCallStarted,
)
from stepstream.fold.lifecycle import ENDING_EVENTS
from stepstream.fold.run_state import RunState, retold_events
from stepstream.relay.forms.calls import DONE_WITH_STEP, piece_of, shown
from stepstream.relay.forms.outline import Outline
from stepstream.relay.forms.parts import THOUGHTS, message_of, text_of, thought_id
from stepstream.relay.forms.words import OpenStep, Words
from stepstream.wire.deltas import ContentDelta, ReasoningTextDelta, ToolCallDelta
from stepstream.wire.events import Event
from stepstream.wire.messages import Message
from stepstream.wire.objects import RequiredAction, Run, RunStep, StepDetails
from stepstream.wire.sse import Frame


class KitWords(Words):
    """Words that become frames."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def take(self) -> list[Frame]:
        """Return the frames of what was said since the last time."""
        frames, self.frames = self.frames, []
        return frames

    def join(self) -> None:
        """Prepare for the state of a run that is joined, which is told now."""

    def joined(self, outline: Outline) -> None:
        """Say what was told of the state, where that was not said as it came. How the run stands is told after it."""


class KitForm:
    """One run, in the words of a kit."""

    def __init__(self, words: KitWords) -> None:
        self._words = words
        self._outline = Outline(words)

    @property
    def is_waiting(self) -> bool:
        """Whether the last that was said is that the run waits."""
        return self._outline.is_waiting

    def begin(self, state: RunState | None) -> list[Frame]:
        """Return the run as it is: everything that was, compact, and what is open."""
        if state is not None and (state.run is not None or state.steps or state.messages):
            _restore(self._outline, self._words, state)
        return self._words.take()

    def feed(self, event: Event, changes: Sequence[Change]) -> list[Frame]:
        """Return what the changes come to."""
        outline = self._outline
        fresh: set[str] = set()
        for change in changes:
            handle = _HANDLERS.get(type(change))
            if handle is None or outline.is_over:
                continue
            if not outline.has_begun:
                status = change.status if isinstance(change, RunTransition) else "in_progress"
                outline.begin(change.run_id, change.thread_id, status)
            if outline.is_waiting and type(change) is not RunTransition:
                outline.go_on("in_progress")
            handle(outline, change, fresh)
        return self._words.take()

    def interrupt(self, reason: str) -> list[Frame]:
        """Return an error that ends the stream, everything open closed before it."""
        if not self._outline.is_waiting:
            self._words.pause(self._outline.steps.values(), self._outline.open_parts)
        self._words.interrupt(reason)
        return self._words.take()


def _restore(outline: Outline, words: KitWords, state: RunState) -> None:
    first: Any = state.run or next(iter({**state.steps, **state.messages}.values()))
    run_id = first.id if state.run is not None else first.run_id
    status = (state.run and state.run.status) or "in_progress"
    is_waiting = status == "requires_action" and _is_waiting(state)
    outline.begin(run_id or None, first.thread_id or None, status, "" if is_waiting else state.asked)
    words.join()
    _restore_objects(outline, state)
    words.joined(outline)
    if state.run is not None:
        outline.restore(state.run, state.asked, is_waiting=is_waiting)


def _restore_objects(outline: Outline, state: RunState) -> None:
    told = [event.data for event in retold_events(state) if event.name in ENDING_EVENTS]
    ended = {one.id for one in told if isinstance(one, RunStep)}
    ended_messages = {one.id for one in told if isinstance(one, Message)}
    messages = dict(state.messages)
    for full in state.steps.values():
        step = outline.step(full, is_over=full.id in ended)
        if full.id not in ended:
            _restore_calls(outline, step, full, state)
        message = messages.pop(message_of(full), None)
        if message is not None:
            outline.message(message, is_over=message.id in ended_messages)
    for message in messages.values():
        outline.message(message, is_over=message.id in ended_messages)


def _restore_calls(outline: Outline, step: OpenStep, full: RunStep, state: RunState) -> None:
    """Give the calls of an open step the indexes that its deltas have, and finish those whose input is whole."""
    known = [call for call in state.calls if call.step_id == step.id]
    if known:
        step.calls = {call.place: step.parts[call.id] for call in known if call.id in step.parts}
    finished = {call.id for call in known if call.is_finished} | _asked_ids(state.run)
    for call in full.tool_calls:
        if call.id in finished:
            outline.finish(step, call)


def _asked_ids(run: Run | None) -> set[str | None]:
    action = run.required_action if run is not None and run.status == "requires_action" else None
    return {call.id or None for call in action.tool_calls} if isinstance(action, RequiredAction) else set()


def _is_waiting(state: RunState) -> bool:
    """Return whether nothing was told of a run since it waits.

    It goes on, though that is not said, once a call that it asked for has a result, or its step an end: where servers
    end the steps of calls that wait, they say no time.
    """
    asked = _asked_ids(state.run)
    return not any(
        call.id in asked and (shown(call, is_final=False).result is not None or _ended_at(step))
        for step in state.steps.values()
        for call in step.tool_calls
    )


def _ended_at(step: RunStep) -> bool:
    return bool(step.completed_at or step.failed_at or step.cancelled_at or step.expired_at)


def _run(outline: Outline, change: RunTransition, fresh: set[str]) -> None:
    outline.run(change.run, is_over=change.terminal)


def _step(outline: Outline, change: StepTransition, fresh: set[str]) -> None:
    outline.step(change.step, is_over=change.terminal)


def _started(outline: Outline, change: ToolCallStarted, fresh: set[str]) -> None:
    step = outline.steps.get(change.step_id)
    if step is None:
        step = outline.open_step(change.step_id, "tool_calls", "in_progress", "")
    if change.id not in step.parts:
        fresh.add(change.id)
        outline.call(step, change.index, change.call)


def _finished(outline: Outline, change: ToolCallFinished, fresh: set[str]) -> None:
    step = outline.steps.get(change.step_id)
    if step is not None:
        outline.finish(step, change.call)


def _step_progress(outline: Outline, change: StepProgress, fresh: set[str]) -> None:
    step = outline.steps.get(change.step_id)
    if step is None or change.late:
        _late(outline, change)
        return
    delta = change.delta
    if delta is None:
        outline.step(change.step, is_over=False)
        return
    details = delta.step_details
    if not isinstance(details, StepDetails):
        return
    for entry in details.tool_calls or ():
        part = step.calls.get(entry.index) if isinstance(entry, ToolCallDelta) else None
        if part is not None and not part.is_final and part.id not in fresh:
            outline.grow(part, piece_of(part.call_type, entry))
    for kind in THOUGHTS if details.reasoning else ():
        for one in getattr(details.reasoning, kind) or ():
            if isinstance(one, ReasoningTextDelta):
                outline.grow(outline.thought(step, thought_id(step.id, kind, one.index)), one.text or "")


def _late(outline: Outline, change: StepProgress) -> None:
    """Tell the results that came after the end of their step."""
    details = change.delta.step_details if change.delta else None
    entries = (details.tool_calls or ()) if isinstance(details, StepDetails) else ()
    calls = change.step.tool_calls if entries else ()
    for entry in entries:
        index = entry.index if isinstance(entry, ToolCallDelta) else entry.get("index")
        if isinstance(index, int) and index < len(calls):
            call = shown(calls[index], is_final=True)
            if isinstance(call.result, str) and call.type not in DONE_WITH_STEP:
                outline.late(call)


def _message(outline: Outline, change: MessageTransition, fresh: set[str]) -> None:
    outline.message(change.message, is_over=change.terminal)


def _message_progress(outline: Outline, change: MessageProgress, fresh: set[str]) -> None:
    message_id = change.message_id
    if change.late or message_id not in outline.messages:
        return
    delta = change.delta
    if delta is None:
        outline.message(change.message, is_over=False)
        return
    for one in delta.content or ():
        text = text_of(one)
        if text is not None and isinstance(one, ContentDelta):
            outline.grow(outline.text(message_id, one.index), text)


_HANDLERS: Final[Mapping[type[Any], Callable[[Outline, Any, set[str]], None]]] = {
    RunTransition: _run,
    StepTransition: _step,
    StepProgress: _step_progress,
    ToolCallStarted: _started,
    ToolCallFinished: _finished,
    MessageTransition: _message,
    MessageProgress: _message_progress,
}
