"""The form `ag-ui`: the events of the AG-UI protocol, as its client takes them in the versions 0.0.59 and 1.0.

A message of the run is a message with its id; the calls of a step are those of an assistant's message with the step's
id; what came of a call is a tool message, `<call>/result`; a thought is a reasoning message. A run that waits is one
that finishes with an interrupt, and what follows is a run of its own, which names the first as its parent.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from stepstream.relay.forms.calls import Shown, as_text
from stepstream.relay.forms.form import REASONS, FormKind
from stepstream.relay.forms.kit import KitForm, KitWords
from stepstream.relay.forms.outline import Outline
from stepstream.relay.forms.parts import Part
from stepstream.relay.forms.words import OpenStep
from stepstream.wire.objects import Run
from stepstream.wire.sse import Frame
from stepstream.wire.tool_calls import AnyToolCall

JSON: TypeAlias = dict[str, Any]

MASKED: Final = "An error occurred."
"""What is said of an error instead of the server's own words, which may be nobody's business."""

_CONTENT: Final = {"text": "TEXT_MESSAGE_CONTENT", "reasoning": "REASONING_MESSAGE_CONTENT", "call": "TOOL_CALL_ARGS"}
_END: Final = {"text": "TEXT_MESSAGE_END", "reasoning": "REASONING_MESSAGE_END", "call": "TOOL_CALL_END"}
_ID: Final = {"text": "messageId", "reasoning": "messageId", "call": "toolCallId"}


class AgUiWords(KitWords):
    """What AG-UI has words for."""

    def __init__(
        self, run_id: str, thread_id: str, parent_run_id: str, messages: Sequence[JSON], *, show_errors: bool
    ) -> None:
        super().__init__()
        self._going_on_as = run_id if parent_run_id else ""
        self._messages = messages
        self._given = {one.get("toolCallId") for one in messages if one.get("role") == "tool"}
        self._run_id, self._thread_id, self._show_errors = parent_run_id or run_id, thread_id, show_errors
        self._now = run_id
        """The id of the run that is open for the client."""
        self._history: list[Part | Shown] | None = None
        """What was told of a state that is joined, while it is told."""
        self._state: JSON = {}

    def begin(self, run_id: str, thread_id: str, status: str, asked: str) -> None:
        """Open the run."""
        self._run_id = self._run_id or run_id
        self._thread_id = self._thread_id or thread_id
        self._start_run(asked)
        self._state = {"run": {"id": run_id, "status": status}, "steps": {}}
        self._say("STATE_SNAPSHOT", snapshot=self._state)

    def join(self) -> None:
        """Gather what is told from now on."""
        self.frames.pop()
        self._history = []

    def joined(self, outline: Outline) -> None:
        """Say what was told, and what is open."""
        history, self._history = self._history or [], None
        self._say("STATE_SNAPSHOT", snapshot=self._state)
        self._say("MESSAGES_SNAPSHOT", messages=self._merged(_messages(history)))
        self.resume(outline.steps.values(), outline.open_parts)

    def step(self, step: OpenStep, *, is_new: bool = False, is_over: bool = False) -> None:
        """Say a step's status."""
        value = {"type": step.type, "status": step.status}
        if self._history is not None:
            self._state["steps"][step.id] = value
            return
        if is_new:
            self._say("STEP_STARTED", stepName=step.id)
        path = "/steps/" + step.id.replace("~", "~0").replace("/", "~1")
        self._say("STATE_DELTA", delta=[{"op": "add", "path": path, "value": value}])
        if is_over:
            self._say("STEP_FINISHED", stepName=step.id)

    def start(self, part: Part) -> None:
        """Open a part."""
        if self._history is not None:
            self._history.append(part)
        elif part.kind == "text":
            self._say("TEXT_MESSAGE_START", messageId=part.id, role="assistant")
        elif part.kind == "reasoning":
            self._say("REASONING_START", messageId=part.id)
            self._say("REASONING_MESSAGE_START", messageId=part.id, role="reasoning")
        else:
            self._say("TOOL_CALL_START", toolCallId=part.id, toolCallName=part.name, parentMessageId=part.owner)

    def grow(self, part: Part, piece: str) -> None:
        """Add to a part."""
        if self._history is None:
            self._say(_CONTENT[part.kind], **{_ID[part.kind]: part.id}, delta=piece)

    def close(self, part: Part) -> None:
        """Close a part."""
        if self._history is not None:
            return
        self._say(_END[part.kind], **{_ID[part.kind]: part.id})
        if part.kind == "reasoning":
            self._say("REASONING_END", messageId=part.id)

    def answer(self, call: Shown) -> None:
        """Say a result."""
        if self._history is not None:
            self._history.append(call)
        elif call.id not in self._given:
            self._say("TOOL_CALL_RESULT", **_result(call))

    def fail(self, part: Part) -> None:
        """Say nothing: the protocol has no words for it. The state says that the step failed."""

    def pause(self, steps: Iterable[OpenStep], parts: Iterable[Part]) -> None:
        """Close what is open."""
        for part in parts:
            self.close(part)
        for step in steps:
            self._say("STEP_FINISHED", stepName=step.id)

    def resume(self, steps: Iterable[OpenStep], parts: Iterable[Part]) -> None:
        """Open it again."""
        for step in steps:
            self._say("STEP_STARTED", stepName=step.id)
        for part in parts:
            self.start(part)

    def status(self, status: str) -> None:
        """Say the status of the run."""
        self._say("STATE_DELTA", delta=[{"op": "replace", "path": "/run/status", "value": status}])

    def wait(self, asked: Sequence[AnyToolCall], approvals: Sequence[AnyToolCall]) -> None:
        """Finish for now."""
        self.status("requires_action")
        calls = [("tool_call", call) for call in asked] + [("approval", call) for call in approvals]
        interrupts = [{"id": call.id or "", "reason": why, "toolCallId": call.id or ""} for why, call in calls]
        outcome = {"type": "interrupt", "interrupts": interrupts or [{"id": self._now, "reason": "requires_action"}]}
        self._say("RUN_FINISHED", threadId=self._thread_id, runId=self._now, outcome=outcome)

    def go_on(self, asked: str, status: str) -> None:
        """Begin again."""
        self._start_run(asked)
        self.status(status)

    def end(self, run: Run) -> None:
        """Finish, well or not."""
        status = run.status or ""
        self.status(status)
        if status == "completed":
            self._say("RUN_FINISHED", threadId=self._thread_id, runId=self._now)
        else:
            words = (run.last_error and run.last_error.message) if self._show_errors else ""
            self._say("RUN_ERROR", message=words or MASKED, code=(run.last_error and run.last_error.code) or status)

    def interrupt(self, reason: str) -> None:
        """Say an error."""
        self._say("RUN_ERROR", message=REASONS.get(reason, reason), code=reason)

    def _merged(self, told: Sequence[JSON]) -> list[JSON]:
        """Return the conversation: a client forgets what a snapshot does not have."""
        ours = {one["id"]: one for one in told if one.get("toolCallId") not in self._given}
        theirs = {one.get("id"): one for one in self._messages}
        return [ours.pop(key, one) for key, one in theirs.items()] + list(ours.values())

    def _start_run(self, asked: str) -> None:
        self._now = (asked and self._going_on_as) or self._run_id + asked
        self._going_on_as = "" if asked else self._going_on_as
        parent = {"parentRunId": self._run_id} if asked else {}
        self._say("RUN_STARTED", threadId=self._thread_id, runId=self._now, **parent)

    def _say(self, kind: str, **fields: Any) -> None:
        self.frames.append(Frame(data=msgspec.json.encode({"type": kind, **fields})))


def _result(call: Shown) -> JSON:
    content = "" if call.result is None else as_text(call.result)
    return {"messageId": f"{call.id}/result", "toolCallId": call.id, "content": content, "role": "tool"}


def _messages(history: Sequence[Part | Shown]) -> list[JSON]:
    """Return the messages that a client would have, had it seen all this: results stand behind the calls of a step."""
    messages: dict[str, JSON] = {}
    results: dict[str, list[JSON]] = {}
    owners: dict[str, str] = {}
    for one in history:
        if isinstance(one, Shown):
            result = _result(one)
            results.setdefault(owners.get(one.id, ""), []).append({"id": result.pop("messageId"), **result})
        elif one.kind == "call":
            owners[one.id] = one.owner
            owner = messages.setdefault(one.owner, {"id": one.owner, "role": "assistant", "toolCalls": []})
            function = {"name": one.name, "arguments": one.text}
            owner["toolCalls"].append({"id": one.id, "type": "function", "function": function})
        else:
            role = "assistant" if one.kind == "text" else "reasoning"
            messages[one.id] = {"id": one.id, "role": role, "content": one.text}
    return [each for found in messages.values() for each in (found, *results.get(found["id"], ()))]


class AgUiForm(KitForm):
    """One run in AG-UI. Words of errors are masked unless `show_errors`.

    `run_id` and `thread_id` are what the client calls it, by default what the server does. With `parent_run_id` the
    client has had the run of that name, which waits, and `run_id` is that of its going on. `messages` are those of the
    conversation before, as the client has them: who joins is told them, too, and no result that it gave itself.
    """

    def __init__(
        self,
        run_id: str = "",
        thread_id: str = "",
        *,
        parent_run_id: str = "",
        messages: Sequence[JSON] = (),
        show_errors: bool = False,
    ) -> None:
        super().__init__(AgUiWords(run_id, thread_id, parent_run_id, messages, show_errors=show_errors))


AG_UI: Final = FormKind(name="ag-ui", make=AgUiForm, has_cursor=False, done=())
