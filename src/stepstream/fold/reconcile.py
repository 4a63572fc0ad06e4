"""What a server says of a run when it is asked, as the events that were missed: each transition, in legal order."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from stepstream.errors import DecodeError
from stepstream.fold.builder import SnapshotBuilder
from stepstream.fold.state import State
from stepstream.wire.events import decode_event
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
"""What an object that has not ended has not got either."""


AT_WORK: Final = frozenset({"created", "queued", "in_progress"})
"""The events of a run that come before those of its steps; all others come after what led there."""


def missed_events(state: State, truth: ServerAnswer) -> Iterator[Frame]:
    """Yield what `truth` says beyond what `state` knows, event by event; each is to be applied before the next.

    Where an end was missed together with what came before it, that is told too, by the object as it must have been: a
    status that the tables allow, and nothing that only the end brings. Of what is known to have ended, the same as is
    known says nothing, and neither does an answer that is older; more is told, and a contradiction too: applied, it is
    an anomaly. So is an object that cannot be read.
    """
    run = _Told.of("run", truth.run)
    steps = [_Told.of("run.step", step) for step in truth.steps]
    listed = [_Told.of("message", message) for message in truth.messages]
    messages = {message.id: message for message in listed}
    of_run = _of_run(state.runs.get(run.id), run, has_steps=bool(steps))
    yield from of_run.before
    for step in steps:
        said = _of_object(state.steps, step, step.status, STEP_TERMINAL, step_details=_opening(step))
        yield from said.before
        message = messages.pop(_message_of(step), None)
        if message is not None:
            yield from _of_message(state, message, step.status)
        yield from said.after
    for message in messages.values():
        yield from _of_message(state, message, run.status)
    yield from of_run.after


class _Told(NamedTuple):
    """An object as the server told it."""

    kind: str
    """What its events are named after."""
    sent: bytes
    raw: JSON

    @classmethod
    def of(cls, kind: str, sent: bytes) -> "_Told":
        return cls(kind, sent, _decoded(sent))

    @property
    def id(self) -> str:
        return _text(self.raw.get("id")) or ""

    @property
    def status(self) -> str | None:
        return _text(self.raw.get("status"))

    def as_(self, name: str) -> Frame:
        """Return the event of that name, with the object as it is."""
        return Frame(f"thread.{self.kind}.{name}", self.sent)

    def earlier(self, name: str, status: str, **details: Any) -> Frame:
        """Return the event of that name, with the object as it must have been while it had that status."""
        unset = dict.fromkeys(ENDINGS) | ({"started_at": None} if status == "queued" else {}) | details
        known = {key: value for key, value in unset.items() if key in self.raw}
        return Frame(f"thread.{self.kind}.{name}", msgspec.json.encode({**self.raw, "status": status, **known}))


class _Said(NamedTuple):
    """What an object says that was not known: before what belongs to it, and after that."""

    before: tuple[Frame, ...] = ()
    after: tuple[Frame, ...] = ()


def _of_object(
    known: Mapping[str, SnapshotBuilder[Any]], told: _Told, status: str | None, terminal: frozenset[str], **opening: Any
) -> _Said:
    """Return what a step or message says; `opening` is what it held when it was created."""
    builder, ends = known.get(told.id), status in terminal
    now = told.as_(status if status is not None and ends else "in_progress")
    data = _data(now)
    if builder is None:
        if ends and isinstance(data, RunStep | Message):
            return _Said((told.earlier("created", "in_progress", **opening),), (now,))
        return _Said((told.as_("created"),))
    if builder.ended and not ends:
        return _Said()
    if builder.ended == ends and isinstance(data, RunStep | Message) and builder.knows(data):
        return _Said()
    return _Said(after=(now,))


def _of_message(state: State, message: _Told, status: str | None) -> Iterator[Frame]:
    """Yield what a message says. Lists of messages leave their status out: then that of its step or run tells."""
    over = {"completed": "completed", **dict.fromkeys((STEP_TERMINAL | RUN_TERMINAL) - {"completed"}, "incomplete")}
    said = _of_object(state.messages, message, message.status or over.get(status or ""), MESSAGE_TERMINAL, content=[])
    yield from said.before
    yield from said.after


def _opening(step: _Told) -> Any:
    """Return the details that a step had when it was created: no calls yet."""
    details = step.raw.get("step_details")
    is_calling = isinstance(details, dict) and details.get("type") == "tool_calls"
    return {"type": "tool_calls", "tool_calls": []} if is_calling else details


def _message_of(step: _Told) -> str:
    """Return the id of the message that a step writes; empty where it writes none."""
    details = step.raw.get("step_details")
    creation = details.get("message_creation") if isinstance(details, dict) else None
    return (isinstance(creation, dict) and _text(creation.get("message_id"))) or ""


def _of_run(before: Run | None, told: _Told, *, has_steps: bool) -> _Said:
    """Return what a run says: the statuses that it went through after the one known, the present one last."""
    run = _data(told.as_("created"))
    if not isinstance(run, Run):
        return _Said((told.as_("created"),))
    if before == run or (before is not None and told.status is None):
        return _Said()
    *way, last = ["", *_route(before, run, has_steps=has_steps)]
    begun = tuple(told.earlier(name, _named(name)) for name in way if name)
    if last in AT_WORK:
        return _Said((*begun, told.as_(last)))
    return _Said(begun, (told.as_(last),) if last else ())


def _named(name: str) -> str:
    return "queued" if name == "created" else name


def _route(before: Run | None, run: Run, *, has_steps: bool) -> list[str]:
    """Return the names of the events that were missed. None, where the answer is older than what is known."""
    status = str(run.status)
    if status not in NEXT_RUN:  # no event is named after it
        return [] if before is not None and before.is_terminal else ["created"]
    if before is None:
        return ["created", *_way("queued", status, has_steps=has_steps)]
    if before.status not in NEXT_RUN:
        return [status]
    if before.status == status == "requires_action" and _asked(before) != _asked(run):
        return ["in_progress", status]  # it was answered, and waits again
    if before.status == status or (before.is_terminal and run.is_terminal):
        return [status]
    return _way(str(before.status), status, has_steps=has_steps)


def _way(start: str, end: str, *, has_steps: bool) -> list[str]:
    """Return the way that the table allows, without its start: directly, or through the work. Empty for no way."""
    if end in NEXT_RUN[start] and not (start == "queued" and has_steps):
        return [end]
    is_through = "in_progress" in NEXT_RUN[start] and end in NEXT_RUN["in_progress"]
    return ["in_progress", end] if is_through else [end] if end in NEXT_RUN[start] else []


def _asked(run: Run) -> list[str | None]:
    """Return the ids of the calls that a run waits for."""
    action = run.required_action
    return [call.id or None for call in action.tool_calls] if isinstance(action, RequiredAction) else []


def _data(frame: Frame) -> object:
    """Return what an event carries, or None where it cannot be read: whoever applies it will tell."""
    try:
        return decode_event(frame).data
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
