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
from typing import Any, Final, NamedTuple

import msgspec

from stepstream.fold.answered import AnsweredObject, decoded, event_of, text_of
from stepstream.fold.builder import SnapshotBuilder, identified
from stepstream.fold.state import State
from stepstream.wire.messages import Message
from stepstream.wire.objects import RequiredAction, Run, RunStep
from stepstream.wire.sse import Frame
from stepstream.wire.statuses import MESSAGE_TERMINAL, NEXT_RUN, RUN_TERMINAL, STEP_TERMINAL


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
        return text_of(decoded(self.run).get("id")) or ""

    @property
    def status(self) -> str | None:
        """The run's status, or None where it has none."""
        return text_of(decoded(self.run).get("status"))


BEFORE_STEPS: Final = frozenset({"created", "queued", "in_progress"})
"""The events of a run that come before those of its steps; all others come after them."""


def missed_events(state: State, answer: ServerAnswer) -> Iterator[Frame]:
    """Yield the events that bring `state` to what `answer` says. Each must be applied before the next is asked for."""
    run = AnsweredObject.of("run", answer.run)
    steps = [AnsweredObject.of("run.step", step).of_run(run, state.steps) for step in answer.steps]
    listed = [AnsweredObject.of("message", message).of_run(run, state.messages) for message in answer.messages]
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


class _Missed(NamedTuple):
    """The events of an object that were missed: those before the events of what belongs to it, and those after."""

    before: tuple[Frame, ...] = ()
    after: tuple[Frame, ...] = ()


def _object_events(
    known: Mapping[str, SnapshotBuilder[Any]],
    answered: AnsweredObject,
    status: str | None,
    terminal: frozenset[str],
    **opening: Any,
) -> _Missed:
    """Return the missed events of a step or message; `opening` are the fields that it had when it was created."""
    builder, ends = known.get(answered.id), status in terminal
    now = answered.asevent_of(status if status is not None and ends else "in_progress")
    event = event_of(now)
    data = event.data if event else None
    if builder is None:
        if ends and isinstance(data, RunStep | Message):
            return _Missed((answered.earlier("created", "in_progress", **opening),), (now,))
        return _Missed((answered.asevent_of("created"),))
    if builder.ended and not ends:
        return _Missed()
    if builder.ended == ends and isinstance(data, RunStep | Message) and builder.knows(data):
        return _Missed()
    return _Missed(after=(now,))


def _message_events(state: State, message: AnsweredObject, status: str | None) -> Iterator[Frame]:
    """Yield the missed events of a message. Lists of messages leave the status out: its step or run implies it."""
    over = {"completed": "completed", **dict.fromkeys((STEP_TERMINAL | RUN_TERMINAL) - {"completed"}, "incomplete")}
    missed = _object_events(
        state.messages, message, message.status or over.get(status or ""), MESSAGE_TERMINAL, content=[]
    )
    yield from missed.before
    yield from missed.after


def _opening(step: AnsweredObject) -> Any:
    """Return the details that a step had when it was created: no calls yet."""
    details = step.raw.get("step_details")
    is_calling = isinstance(details, dict) and details.get("type") == "tool_calls"
    return {"type": "tool_calls", "tool_calls": []} if is_calling else details


def _message_of(step: AnsweredObject) -> str:
    """Return the id of the message that a step writes; empty where it writes none."""
    details = step.raw.get("step_details")
    creation = details.get("message_creation") if isinstance(details, dict) else None
    return (isinstance(creation, dict) and text_of(creation.get("message_id"))) or ""


def _run_events(before: Run | None, answered: AnsweredObject, *, has_steps: bool) -> _Missed:
    """Return the missed events of a run: the statuses that it took after the known one, the present one last."""
    created = answered.asevent_of("created")
    event = event_of(created)
    if event is None or not isinstance(event.data, Run):
        return _Missed((created,))
    run = event.data
    if before is not None and event.bad_fields:
        run = identified(run, before)
        answered = answered.read_as(run)
    if before == run or (before is not None and answered.status is None):
        return _Missed()
    names = _missed_names(before, run, has_steps=has_steps)
    if not names:
        return _Missed()
    *passed, last = names
    begun = tuple(answered.earlier(name, "queued" if name == "created" else name) for name in passed)
    now = answered.asevent_of(last)
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
