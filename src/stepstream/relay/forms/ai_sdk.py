"""The form `ai-sdk`: a message of the AI SDK's UI, as a stream of its chunks.

A run is one message with the run's id. Texts, thoughts and calls are its parts; each step is a part `data-run-step`,
whose data changes with its status. Tools that the server runs itself are dynamic and `providerExecuted`; others are
the page's own, `tool-<name>`.

Who comes back gets the message from its beginning, each part whole, and then what follows. Where calls are followed by
anything else a `start-step` stands between: the page asks whether all calls since the last one have been answered, to
decide whether the conversation goes on by itself, and would answer the same calls again and again without it.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from stepstream.relay.forms.ag_ui import MASKED
from stepstream.relay.forms.calls import APPROVAL, RUN_BY_CLIENT, Shown, parsed, shown
from stepstream.relay.forms.form import REASONS, FormKind
from stepstream.relay.forms.kit import KitForm, KitWords
from stepstream.relay.forms.parts import Part
from stepstream.relay.forms.words import OpenStep
from stepstream.wire.objects import Run
from stepstream.wire.sse import Frame
from stepstream.wire.tool_calls import AnyToolCall

HEADERS: Final = {"x-vercel-ai-ui-message-stream": "v1"}

WITH_CALLS: Final = frozenset({"tool_calls", APPROVAL})
"""The types of steps that have calls."""

CUT_SHORT: Final = {"content_filter": "content-filter"}
"""Why a run is incomplete, in the words of the kit; all else is a limit of length."""


class AiSdkWords(KitWords):
    """What the AI SDK has words for."""

    def __init__(self, *, show_errors: bool = False) -> None:
        super().__init__()
        self._show_errors = show_errors
        self._message_id = ""
        self._newest = ""
        """The type of the newest step."""
        self._approvable: set[str] = set()
        """The calls that may have to be approved, and are parts of the message."""

    def begin(self, run_id: str, thread_id: str, status: str, asked: str) -> None:
        """Open the run."""
        self._message_id = run_id
        self._say("start", messageId=run_id)
        self._say("start-step")

    def step(self, step: OpenStep, *, is_new: bool = False, is_over: bool = False) -> None:
        """Say a step's status."""
        if is_new:
            if self._newest in WITH_CALLS and step.type not in WITH_CALLS:
                self._say("finish-step")
                self._say("start-step")
            self._newest = step.type
        self._say("data-run-step", id=step.id, data={"type": step.type, "status": step.status})

    def start(self, part: Part) -> None:
        """Open a part."""
        if part.kind == "call":
            if part.call_type == "mcp":
                self._approvable.add(part.id)
            self._say("tool-input-start", toolCallId=part.id, toolName=part.name, **_place(part.call_type))
        else:
            self._say(f"{part.kind}-start", id=part.id)

    def grow(self, part: Part, piece: str) -> None:
        """Add to a part."""
        if part.kind == "call":
            self._say("tool-input-delta", toolCallId=part.id, inputTextDelta=piece)
        else:
            self._say(f"{part.kind}-delta", id=part.id, delta=piece)

    def close(self, part: Part) -> None:
        """Close a part."""
        if part.kind == "call":
            named = {"toolCallId": part.id, "toolName": part.name}
            self._say("tool-input-available", **named, input=parsed(part.text), **_place(part.call_type))
        else:
            self._say(f"{part.kind}-end", id=part.id)

    def answer(self, call: Shown) -> None:
        """Say a result."""
        self._say("tool-output-available", toolCallId=call.id, output=call.result, **_place(call.type))

    def fail(self, part: Part) -> None:
        """Say that a call failed."""
        self._say("tool-output-error", toolCallId=part.id, errorText=MASKED, **_place(part.call_type))

    def pause(self, steps: Iterable[OpenStep], parts: Iterable[Part]) -> None:
        """Close what is open."""
        for part in parts:
            if part.kind != "call":
                self.close(part)

    def resume(self, steps: Iterable[OpenStep], parts: Iterable[Part]) -> None:
        """Open it again."""
        for part in parts:
            if part.kind != "call":
                self.start(part)

    def status(self, status: str) -> None:
        """Say nothing: a message has no status of its own."""

    def wait(self, asked: Sequence[AnyToolCall], approvals: Sequence[AnyToolCall]) -> None:
        """Finish for now."""
        for call in approvals:
            self._ask(shown(call, is_final=True))
        self._finish("tool-calls")

    def go_on(self, asked: str, status: str) -> None:
        """Begin again."""
        self._say("start", messageId=self._message_id)

    def end(self, run: Run) -> None:
        """Finish, well or not."""
        if run.status == "completed":
            self._finish("stop")
        elif run.status == "incomplete":
            details = run.incomplete_details
            self._finish(CUT_SHORT.get((details and details.reason) or "", "length"))
        elif run.status == "cancelled":
            self._say("abort", reason="cancelled")
        else:
            words = (run.last_error and run.last_error.message) if self._show_errors else ""
            self._say("error", errorText=words or MASKED)

    def interrupt(self, reason: str) -> None:
        """Say an error."""
        if reason == "stopped":
            self._say("abort", reason=REASONS[reason])
        else:
            self._say("error", errorText=REASONS.get(reason, reason))

    def _ask(self, call: Shown) -> None:
        """Ask whether a call may be made."""
        if call.id not in self._approvable:  # no step told of it
            part = Part("call", call.id, "", "mcp", call.name)
            part.pieces = [call.input]
            self.start(part)
            self.close(part)
        self._say("tool-approval-request", approvalId=call.id, toolCallId=call.id)

    def _finish(self, reason: str) -> None:
        self._say("finish-step")
        self._say("finish", finishReason=reason)

    def _say(self, kind: str, **fields: Any) -> None:
        self.frames.append(Frame(data=msgspec.json.encode({"type": kind, **fields})))


def _place(call_type: str) -> dict[str, bool]:
    """Return where a call is run: the page knows the types of its own tools only."""
    return {} if call_type in RUN_BY_CLIENT else {"dynamic": True, "providerExecuted": True}


class AiSdkForm(KitForm):
    """One run as a message of the AI SDK. Words of errors are masked unless `show_errors`."""

    def __init__(self, *, show_errors: bool = False) -> None:
        super().__init__(AiSdkWords(show_errors=show_errors))


AI_SDK: Final = FormKind(
    name="ai-sdk", make=AiSdkForm, has_cursor=False, headers=HEADERS, done=(Frame(data=b"[DONE]"),), only_open=True
)
