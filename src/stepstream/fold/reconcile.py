"""A server's answer about a run → the events that a broken stream missed: each transition once, in legal order.

Theory. An answer is the newest object of a run, of each of its steps and messages. Compared with what is known, it says
which statuses were passed; the tables of `wire.statuses` say in which order. Where an object was missed altogether, the
events before its end are made from the object as it must have been then: the status of that event, and nothing that
only an end brings (`ENDINGS`). So the fold needs no rule of its own for answers: it gets events, whose transitions are
those that the stream would have brought.

    known   run queued, step_1 in_progress
    answer  run completed, step_1 completed, step_2 completed
    events  run.in_progress, step_1.completed, step_2.created, step_2.completed, run.completed

Each event must be applied before the next one is asked for. An answer that is older than what is known, or says the
same of what has ended, gives no event. One that contradicts does: applied, it is an anomaly, and so is an object that
cannot be read.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from stepstream.errors import DecodeError
from stepstream.fold.builder import SnapshotBuilder
from stepstream.fold.state import State
from stepstream.wire.events import Event, decode_event
from stepstream.wire.messages import Message
from stepstream.wire.objects import RequiredAction, Run, RunStep
from stepstream.wire.sse import Frame
from stepstream.wire.statuses import MESSAGE_TERMINAL, NEXT_RUN, RUN_TERMINAL, STEP_TERMINAL

JSON: TypeAlias = dict[str, Any]


class ServerAnswer(msgspec.Struct, frozen=True):
    """A run with its steps and messages as the server gave them, asked after a stream broke: JSON objects, in bytes."""

    run: bytes
    steps: tuple[bytes, ...] = ()
    """Oldest first."""
    messages: tuple[bytes, ...] = ()
    """Those of the run, oldest first."""

    def __repr__(self) -> str:
        return f"<ServerAnswer {self.run_id} {self.status}: {len(self.steps):,} steps, {len(self.messages):,} messages>"

    @property
    def run_id(self) -> str:
        """The run's id; empty where it has none."""
        return _text(_decoded(self.run).get("id")) or ""

    @property
    def status(self) -> str | None:
        """The run's status, or None where it has none."""
        return _text(_decoded(self.run).get("status"))


ENDINGS: Final = (
    "completed_at", "failed_at", "cancelled_at", "expired_at", "incomplete_at", "last_error", "incomplete_details",
    "usage", "required_action",
)  # fmt: skip
"""The fields that only an ended or waiting object has."""

BEFORE_STEPS: Final = frozenset({"created", "queued", "in_progress"})
"""The events of a run that come before those of its steps; all others come after them."""


def missed_events(state: State, answer: ServerAnswer) -> Iterator[Frame]:
    """Yield the events that bring `state` to what `answer` says. Each must be applied before the next is asked for."""
    run = _Answered.of("run", answer.run)
    steps = [_Answered.of("run.step", step).of_run(run, state.steps) for step in answer.steps]
    listed = [_Answered.of("message", message).of_run(run, state.messages) for message in answer.messages]
    messages = {message.id: message for message in listed}
    run_events = _run_events(state.runs.get(run.id), run, has_steps=bool(steps))
    yield from run_events.before
    for step in steps:
        missed = _object_events(state.steps, step, step.status, STEP_TERMINAL, step_details=_opening(step))
        yield from missed.before
        message = messages.pop(_message_of(step), None)
        if message is not None:
            yield from _message_events(state, message, step.status)
        yield from missed.after
    for message in messages.values():
        yield from _message_events(state, message, run.status)
    yield from run_events.after


class _Answered(NamedTuple):
    """An object in the answer."""

    kind: str
    """What its events are named after."""
    sent: bytes
    raw: JSON
    """What was sent, without what does not fit: that is an anomaly once, of the event with the object as it is."""

    @classmethod
    def of(cls, kind: str, sent: bytes) -> "_Answered":
        raw, event = _decoded(sent), _event(Frame(f"thread.{kind}.created", sent))
        if event and event.bad_fields:
            raw = msgspec.to_builtins(event.data) | {"status": _text(raw.get("status"))}
        return cls(kind, sent, raw)

    @property
    def id(self) -> str:
        return _text(self.raw.get("id")) or ""

    @property
    def status(self) -> str | None:
        return _text(self.raw.get("status"))

    def of_run(self, run: "_Answered", known: Mapping[str, SnapshotBuilder[Any]]) -> "_Answered":
        """Return the object with its run's id, which lists may leave out; a known one has what the stream gave it."""
        run_id = known[self.id].base.run_id if self.id in known else run.id
        if not (self.id and run_id) or self.raw.get("run_id") is not None:
            return self
        raw = self.raw | {"run_id": run_id}
        return _Answered(self.kind, msgspec.json.encode(raw), raw)

    def as_event(self, name: str) -> Frame:
        """Return the event of that name, with the object as it is."""
        return Frame(f"thread.{self.kind}.{name}", self.sent)

    def earlier(self, name: str, status: str, **details: Any) -> Frame:
        """Return the event of that name, with the object as it must have been while it had that status."""
        unset = dict.fromkeys(ENDINGS) | ({"started_at": None} if status == "queued" else {}) | details
        known = {key: value for key, value in unset.items() if key in self.raw}
        return Frame(f"thread.{self.kind}.{name}", msgspec.json.encode({**self.raw, "status": status, **known}))


class _Missed(NamedTuple):
    """The events of an object that were missed: those before the events of what belongs to it, and those after."""

    before: tuple[Frame, ...] = ()
    after: tuple[Frame, ...] = ()


def _object_events(
    known: Mapping[str, SnapshotBuilder[Any]],
    answered: _Answered,
    status: str | None,
    terminal: frozenset[str],
    **opening: Any,
) -> _Missed:
    """Return the missed events of a step or message; `opening` are the fields that it had when it was created."""
    builder, ends = known.get(answered.id), status in terminal
    now = answered.as_event(status if status is not None and ends else "in_progress")
    event = _event(now)
    data = event.data if event else None
    if builder is None:
        if ends and isinstance(data, RunStep | Message):
            return _Missed((answered.earlier("created", "in_progress", **opening),), (now,))
        return _Missed((answered.as_event("created"),))
    if builder.ended and not ends:
        return _Missed()
    if builder.ended == ends and isinstance(data, RunStep | Message) and builder.knows(data):
        return _Missed()
    return _Missed(after=(now,))


def _message_events(state: State, message: _Answered, status: str | None) -> Iterator[Frame]:
    """Yield the missed events of a message. Lists of messages leave the status out: its step or run implies it."""
    over = {"completed": "completed", **dict.fromkeys((STEP_TERMINAL | RUN_TERMINAL) - {"completed"}, "incomplete")}
    missed = _object_events(
        state.messages, message, message.status or over.get(status or ""), MESSAGE_TERMINAL, content=[]
    )
    yield from missed.before
    yield from missed.after


def _opening(step: _Answered) -> Any:
    """Return the details that a step had when it was created: no calls yet."""
    details = step.raw.get("step_details")
    is_calling = isinstance(details, dict) and details.get("type") == "tool_calls"
    return {"type": "tool_calls", "tool_calls": []} if is_calling else details


def _message_of(step: _Answered) -> str:
    """Return the id of the message that a step writes; empty where it writes none."""
    details = step.raw.get("step_details")
    creation = details.get("message_creation") if isinstance(details, dict) else None
    return (isinstance(creation, dict) and _text(creation.get("message_id"))) or ""


def _run_events(before: Run | None, answered: _Answered, *, has_steps: bool) -> _Missed:
    """Return the missed events of a run: the statuses that it took after the known one, the present one last."""
    created = answered.as_event("created")
    event = _event(created)
    if event is None or not isinstance(event.data, Run):
        return _Missed((created,))
    run = event.data
    if before == run or (before is not None and answered.status is None):
        return _Missed()
    names = _missed_names(before, run, has_steps=has_steps)
    if not names:
        return _Missed()
    *passed, last = names
    begun = tuple(answered.earlier(name, "queued" if name == "created" else name) for name in passed)
    now = answered.as_event(last)
    return _Missed((*begun, now)) if last in BEFORE_STEPS else _Missed(begun, (now,))


def _missed_names(before: Run | None, run: Run, *, has_steps: bool) -> list[str]:
    """Return the names of the missed events: an empty list where the answer is older than what is known."""
    status = str(run.status)
    if status not in NEXT_RUN:  # no event is named after it
        return [] if before is not None and before.is_terminal else ["created"]
    if before is None:
        return ["created", *_path("queued", status, has_steps=has_steps)]
    if before.status not in NEXT_RUN:
        return [status]
    if before.status == status == "requires_action" and _asked(before) != _asked(run):
        return ["in_progress", status]  # it was answered, and waits again
    if before.status == status or (before.is_terminal and run.is_terminal):
        return [status]
    return _path(str(before.status), status, has_steps=has_steps)


def _path(start: str, end: str, *, has_steps: bool) -> list[str]:
    """Return the statuses from `start`, which is left out, to `end`, as the table allows; an empty list for no path.

    A run that has steps has been in progress, even if the table allows it to end while it is queued.
    """
    is_direct = end in NEXT_RUN[start]
    may_pass = "in_progress" in NEXT_RUN[start] and end in NEXT_RUN["in_progress"]
    if is_direct and not (start == "queued" and has_steps):
        return [end]
    if may_pass:
        return ["in_progress", end]
    return [end] if is_direct else []


def _asked(run: Run) -> list[str | None]:
    """Return the ids of the calls that a run waits for."""
    action = run.required_action
    return [call.id or None for call in action.tool_calls] if isinstance(action, RequiredAction) else []


def _event(frame: Frame) -> Event | None:
    """Return the event of a frame, or None where it cannot be decoded: applied, it is an anomaly."""
    try:
        return decode_event(frame)
    except DecodeError:
        return None


def _decoded(data: bytes) -> JSON:
    """Return a JSON object; an empty one where it is none."""
    try:
        raw: JSON = msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return raw


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
