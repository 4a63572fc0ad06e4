"""A run as the parts that a user interface shows: what opens, what grows, what closes.

The protocols of user interfaces know no snapshots and no second thoughts: a part opens once, grows by pieces, closes
once, and nothing follows the end of a run. An `Outline` keeps to that whatever a run does. It holds each open part and
what was said of it, so that a full object adds only what is missing:

    delta "The fer"                   open "The fer"
    delta "ry leaves"                 "ry leaves"
    completed "The ferry leaves."     "." close

A text that its last object rewrites, so that it is no continuation of what was said, cannot be unsaid: it stays.

Who joins is told the state by the same methods, part by part. What follows depends on what is open alone, and that the
state says, so that the invariant of forms holds. The order of parts is that of steps: the text of a message opens with
the step that writes it, which has a place among the others, and not with the message, which may come later.

While a run waits nothing is open. Whatever is told of it then, says that it goes on: servers complete the steps of
answered calls before they say so of the run.
"""

from typing import Final

from stepstream.fold.cause import round_of
from stepstream.relay.forms.calls import DONE_WITH_STEP, Shown, shown
from stepstream.relay.forms.parts import Part, calls_of, message_of, numbered, texts_of_message, texts_of_step
from stepstream.relay.forms.words import OpenStep, Words
from stepstream.wire.messages import Message
from stepstream.wire.objects import RequiredAction, Run, RunStep
from stepstream.wire.tool_calls import AnyToolCall

UNPLACED: Final = -1
"""The index of a text that opened with its message."""


class Outline:
    """One run, told to `words`."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self.steps: dict[str, OpenStep] = {}
        self.messages: dict[str, dict[int, Part]] = {}
        """The texts of open messages, by the index that deltas have. The first one opens with the message, when it is
        not known yet which part of it will be a text."""
        self._unseen: set[str] = set()
        """The messages of which only the step is known that writes them."""
        self._asked = self._status = ""
        self.has_begun = self.is_waiting = self.is_over = False

    @property
    def open_parts(self) -> list[Part]:
        """The texts, thoughts and calls that grow."""
        parts = [part for step in self.steps.values() for part in step.parts.values() if not part.is_final]
        return parts + [part for texts in self.messages.values() for part in texts.values()]

    def begin(self, run_id: str | None, thread_id: str | None, status: str, asked: str = "") -> None:
        """Say that the run is there, in the round `asked` where it was asked for anything before."""
        self.has_begun = True
        self._status = status
        self._words.begin(run_id or "", thread_id or run_id or "", status, asked)

    def run(self, run: Run, *, is_over: bool) -> None:
        """Take what a run has become."""
        status = run.status or ""
        if is_over:
            self.go_on(status)
            self._end(run)
        elif status == "requires_action":
            self._wait(run)
        elif self.is_waiting:
            self.go_on(status)
        elif status != self._status:
            self._words.status(status)
        self._status = status

    def restore(self, run: Run, asked: str, *, is_waiting: bool) -> None:
        """Take what a run is that is joined, once its steps and messages were told."""
        self._asked = asked
        if run.is_terminal:
            self._end(run)
        elif is_waiting:
            self._wait(run)

    def _wait(self, run: Run) -> None:
        action = run.required_action
        asked = action.tool_calls if isinstance(action, RequiredAction) else ()
        outputs = action.submit_tool_outputs if isinstance(action, RequiredAction) else None
        answerable = (outputs.tool_calls or ()) if outputs else ()
        approvals = [call for call in asked if call not in answerable]
        self._asked = round_of([call.id for call in asked if call.id])
        self._words.pause(self.steps.values(), self.open_parts)
        self._words.wait(answerable, approvals)
        self.is_waiting = True

    def go_on(self, status: str) -> None:
        """Say that the run goes on, if it waited."""
        if self.is_waiting:
            self.is_waiting = False
            self._words.go_on(self._asked or "/again", status)
            self._words.resume(self.steps.values(), self.open_parts)

    def _end(self, run: Run) -> None:
        self._words.pause(self.steps.values(), self.open_parts)
        if run.status != "completed":
            for step in self.steps.values():
                self._fail(step, set())
        self.steps, self.messages = {}, {}
        self._words.end(run)
        self.is_over = True

    def _fail(self, step: OpenStep, answered: set[str]) -> None:
        for part in step.parts.values():
            if part.kind == "call" and part.id not in answered:
                self._words.fail(part)

    def step(self, full: RunStep, *, is_over: bool) -> OpenStep:
        """Take what a step has become."""
        step = self.steps.get(full.id)
        if step is None:
            step = self.open_step(full.id, full.type or "", full.status or "", message_of(full), is_over=is_over)
        elif step.status != full.status and not is_over:
            step.status = full.status or ""
            self._words.step(step)
        for index, call in enumerate(calls_of(full, is_over=is_over)):
            self.call(step, index, call)
        for identifier, text in texts_of_step(full):
            self._sync(self.thought(step, identifier), text)
        if is_over:
            self._end_step(step, full)
        return step

    def open_step(self, step_id: str, kind: str, status: str, message_id: str, *, is_over: bool = False) -> OpenStep:
        """Take a step that was not known."""
        step = self.steps[step_id] = OpenStep(step_id, kind, status, message_id)
        self._words.step(step, is_new=True)
        if message_id and not is_over and message_id not in self.messages:
            self._unseen.add(message_id)
            self.open_message(message_id)
        return step

    def _end_step(self, step: OpenStep, full: RunStep) -> None:
        answered = set()
        for call in calls_of(full, is_over=True):
            self.finish(step, call)
            result = shown(call, is_final=True)
            is_done = full.status == "completed" and result.type in DONE_WITH_STEP
            if is_done or result.result is not None:
                answered.add(result.id)
                self._words.answer(result)
        for part in step.parts.values():
            if not part.is_final:
                self._words.close(part)
        if full.status not in ("completed", "incomplete"):
            self._fail(step, answered)
        if step.message_id in self._unseen:
            self._close_message(step.message_id)
        step.status = full.status or ""
        del self.steps[step.id]
        self._words.step(step, is_over=True)

    def call(self, step: OpenStep, index: int, call: AnyToolCall) -> Part:
        """Take what is known of a call, whose index deltas of the step have."""
        part = step.parts.get(call.id or "")
        seen = shown(call, is_final=part is not None and part.is_final)
        if part is None:
            part = Part("call", seen.id, step.id, seen.type, seen.name)
            step.calls[index] = step.parts[part.id] = part
            self._words.start(part)
        if not part.is_final:
            self._sync(part, seen.input)
        return part

    def finish(self, step: OpenStep, call: AnyToolCall) -> None:
        """Take a call whose input is whole."""
        part = step.parts.get(call.id or "") or self.call(step, len(step.calls), call)
        if not part.is_final:
            whole = shown(call, is_final=True).input
            self._sync(part, whole)
            part.pieces = [whole]
            part.is_final = True
            self._words.close(part)

    def late(self, call: Shown) -> None:
        """Take the result of a call that came after the end of its step."""
        self._words.answer(call)

    def thought(self, step: OpenStep, identifier: str) -> Part:
        """Return a thought, which opens where it was not open."""
        part = step.parts.get(identifier)
        if part is None:
            part = step.parts[identifier] = Part("reasoning", identifier, step.id)
            self._words.start(part)
        return part

    def message(self, full: Message, *, is_over: bool) -> None:
        """Take what a message has become."""
        if full.role == "user":
            return
        self._unseen.discard(full.id)
        self.open_message(full.id)
        for index, text in texts_of_message(full):
            self._sync(self.text(full.id, index), text)
        if is_over:
            self._close_message(full.id)

    def open_message(self, message_id: str) -> None:
        """Open the first text of a message, where the message is not open."""
        if message_id not in self.messages:
            self.messages[message_id] = {}
            self._new_text(message_id, UNPLACED)

    def text(self, message_id: str, index: int) -> Part:
        """Return a text of an open message, which opens where it was not open."""
        texts = self.messages[message_id]
        if UNPLACED in texts:
            texts[index] = texts.pop(UNPLACED)
        return texts.get(index) or self._new_text(message_id, index)

    def _new_text(self, message_id: str, index: int) -> Part:
        texts = self.messages[message_id]
        part = texts[index] = Part("text", numbered(message_id, len(texts)), message_id)
        self._words.start(part)
        return part

    def _close_message(self, message_id: str) -> None:
        self._unseen.discard(message_id)
        for part in self.messages.pop(message_id, {}).values():
            self._words.close(part)

    def _sync(self, part: Part, text: str) -> None:
        """Say what is missing of a text."""
        said = part.text
        if len(text) > len(said) and text.startswith(said):
            self.grow(part, text[len(said) :])

    def grow(self, part: Part, piece: str) -> None:
        """Say what is new of a part."""
        if piece:
            part.pieces.append(piece)
            self._words.grow(part, piece)
