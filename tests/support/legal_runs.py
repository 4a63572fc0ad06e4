"""Random runs as a server that keeps to the protocol tells them: tool rounds, approvals, messages, code."""

import random
from typing import Any, NamedTuple

import msgspec

from stepstream.fold.reconcile import ServerAnswer
from stepstream.wire.sse import Frame
from tests.support.json_values import JSON

ENDS = ("completed", "completed", "completed", "failed", "cancelled", "expired", "incomplete")
STEP_ENDS = {"completed": "completed", "failed": "failed", "expired": "expired"}


class LegalRun(NamedTuple):
    """A run: its streams, one for each time it is continued, and what the server says of it in the end."""

    streams: list[list[Frame]]
    answer: ServerAnswer

    @property
    def frames(self) -> list[Frame]:
        return [frame for stream in self.streams for frame in stream]


class Writer:
    """Writes one run. The same seed writes the same."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.name = f"{self.chance.choice(['run', 'run/', 'lauf ü', 'r%2F'])}_{seed}"
        self.thread = f"thread_{seed}"
        self.run: JSON = {"id": self.name, "object": "thread.run", "thread_id": self.thread, "created_at": 1}
        self.steps: dict[str, JSON] = {}
        self.messages: dict[str, JSON] = {}
        self.streams: list[list[Frame]] = [[]]

    def tell(self, event: str, body: JSON) -> None:
        self.streams[-1].append(Frame(f"thread.{event}", msgspec.json.encode(body), str(len(self.streams[-1]))))

    def tell_run(self, status: str, event: str | None = None, **more: Any) -> None:
        self.run = {**self.run, "status": status, "required_action": None, **more}
        self.tell(f"run.{event or status}", self.run)

    def write(self) -> LegalRun:
        self.tell_run("queued", "created")
        self.tell_run("queued")
        self.tell_run("in_progress")
        for number in range(self.chance.randint(1, 4)):
            for one in self.chance.sample([self._message, self._code, self._round], self.chance.randint(1, 2)):
                one(f"{number}{one.__name__[1]}")
        end = self.chance.choice(ENDS)
        error = {"code": "server_error", "message": "x"} if end == "failed" else None
        self.tell_run(end, last_error=error, usage={"total_tokens": 7}, completed_at=9 if end == "completed" else None)
        self.streams[-1].append(Frame("done", b"[DONE]"))
        every = ([*kind.values()] for kind in (self.steps, self.messages))
        steps, messages = ([msgspec.json.encode(one) for one in kind] for kind in every)
        return LegalRun(self.streams, ServerAnswer(msgspec.json.encode(self.run), steps, messages))

    def _open(self, name: str, kind: str, details: JSON) -> JSON:
        step = {
            "id": f"step_{self.name}_{name}",
            "object": "thread.run.step",
            "run_id": self.name,
            "thread_id": self.thread,
            "type": kind,
            "status": "in_progress",
            "step_details": {"type": kind, **details},
            "created_at": 2,
        }
        self.steps[step["id"]] = step
        self.tell("run.step.created", step)
        self.tell("run.step.in_progress", step)
        return step

    def _end(self, step: JSON, details: JSON, status: str = "completed") -> None:
        step |= {"status": status, "step_details": {"type": step["type"], **details}, f"{status}_at": 8}
        self.tell(f"run.step.{status}", step)

    def _message(self, name: str) -> None:
        message = {
            "id": f"msg_{self.name}_{name}",
            "object": "thread.message",
            "run_id": self.name,
            "thread_id": self.thread,
            "status": "in_progress",
            "role": "assistant",
            "content": [],
        }
        details = {"message_creation": {"message_id": message["id"]}}
        step = self._open(name, "message_creation", details)
        self.messages[message["id"]] = message
        self.tell("message.created", message)
        pieces = [self.chance.choice(["sea ", "wind", " ", "ü\n", '"']) for _ in range(self.chance.randint(0, 5))]
        for piece in pieces:
            content = [{"index": 0, "type": "text", "text": {"value": piece}}]
            self.tell("message.delta", {"id": message["id"], "delta": {"content": content}})
        text = {"type": "text", "text": {"value": "".join(pieces), "annotations": []}}
        status = self.chance.choice(["completed", "completed", "incomplete"])
        message |= {"status": status, "content": [text] if pieces else [], f"{status}_at": 5}
        self.tell(f"message.{status}", message)
        self._end(step, details, self.chance.choice(["completed", "completed", "failed"]))

    def _code(self, name: str) -> None:
        step = self._open(name, "tool_calls", {"tool_calls": []})
        call = {"id": f"call_{name}", "type": "code_interpreter", "code_interpreter": {"input": "", "outputs": []}}
        for piece in ("", "1 +", " 1"):
            entry = {**call, "index": 0, "code_interpreter": {"input": piece}}
            self._grow(step, entry)
        outputs = [{"type": "logs", "logs": "2"}]
        self._end(step, {"tool_calls": [{**call, "code_interpreter": {"input": "1 + 1", "outputs": outputs}}]})

    def _grow(self, step: JSON, *entries: JSON) -> None:
        details = {"type": "tool_calls", "tool_calls": [*entries]}
        self.tell("run.step.delta", {"id": step["id"], "delta": {"step_details": details}})

    def _round(self, name: str) -> None:
        """Calls that the run waits for, and the stream after they were answered."""
        is_approval = self.chance.random() < 0.3
        step = self._open(name, "tool_calls", {"tool_calls": []})
        calls = []
        for index in range(self.chance.randint(1, 3)):
            called = {"name": "sail", "arguments": '{"to": 1}'}
            content = called if is_approval else {"function": called}
            calls.append({"id": f"call_{name}_{index}", "type": "mcp" if is_approval else "function", **content})
        for index, call in enumerate(calls):
            self._grow(step, {**call, "index": index})
        kind = "submit_tool_approval" if is_approval else "submit_tool_outputs"
        self.tell_run("requires_action", required_action={"type": kind, kind: {"tool_calls": calls}})
        if self.chance.random() < 0.5:
            self.streams[-1].append(Frame("done", b"[DONE]"))
        self.streams.append([])
        if self.chance.random() < 0.5:
            self._end(step, {"tool_calls": calls})
            step = {}
        if self.chance.random() < 0.7:
            self.tell_run("queued")
        self.tell_run("in_progress")
        if step:
            self._end(step, {"tool_calls": calls}, self.chance.choice(["completed", "completed", "cancelled"]))


def legal_run(seed: int) -> LegalRun:
    """A random run."""
    return Writer(seed).write()
