"""State → changes: what is known, told again as changes from nothing, for a subscriber that comes late."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias, TypeVar

from stepstream.fold.builder import SnapshotBuilder
from stepstream.fold.changes import (
    NO_DELTA,
    Change,
    MessageProgress,
    MessageTransition,
    RunTransition,
    StepProgress,
    StepTransition,
)
from stepstream.fold.state import State, run_key
from stepstream.fold.subjects import subject_of
from stepstream.wire.messages import Message
from stepstream.wire.objects import Run, RunStep, StepDetails

V = TypeVar("V")

Key: TypeAlias = tuple[str, Collection[Any]]
"""An attribute of changes, and the values wanted."""

_OF_MESSAGES: Final = (MessageTransition, MessageProgress)

REPLAYED: Final = "replay"
"""The event that these changes name: no event of a server caused them."""


def retell(state: State, classes: Collection[type[Any]], key: Key | None = None) -> Iterator[Change]:
    """Yield a transition for each run, step and message known, from None to its status.

    The order is one in which a server may send them: open runs first, then steps, ended runs last; a step that writes a
    message comes before it while it is open, and after it once it has ended.

    A step or message that has not ended gives a progress after it, without a delta. The sequence of all is 0, the
    context that of the stream which named their run last, where that is not over or the run waits for action. Objects
    of none of `classes`, or that cannot pass `key`, may be left out: nothing is built for them.
    """
    runs = [*_wanted(state.runs, "run_id", key)] if RunTransition in classes else []
    yield from (_of_run(state, run) for run in runs if run.status and not run.is_terminal)
    wants_steps = StepTransition in classes or StepProgress in classes
    wants_messages = MessageTransition in classes or MessageProgress in classes
    found = _wanted(state.messages, "message_id", key) if wants_messages else ()
    messages = {message.base.id: message for message in found}
    steps = _wanted(state.steps, "step_id", key) if wants_steps else ()
    for builder in in_order(steps, messages):
        is_step = isinstance(builder.base, RunStep)
        yield from _of(state, builder, *((StepTransition, StepProgress) if is_step else _OF_MESSAGES))
    yield from (_of_run(state, run) for run in runs if run.is_terminal)


def in_order(
    steps: Iterable[SnapshotBuilder[RunStep]], messages: Mapping[str, SnapshotBuilder[Message]]
) -> Iterator[SnapshotBuilder[Any]]:
    """Yield steps and messages in the order in which a server may tell of them from nothing.

    A step that writes a message comes before it while it is open, and after it once it has ended.
    """
    left = dict(messages)
    for step in steps:
        message = left.pop(_written_by(step), None)
        yield from (one for one in ((message, step) if step.ended else (step, message)) if one is not None)
    yield from left.values()


def _written_by(step: SnapshotBuilder[RunStep]) -> str:
    """Return the id of the message that a step writes; an empty string for other steps."""
    details = step.snapshot().step_details
    creation = details.message_creation if isinstance(details, StepDetails) else None
    return (creation and creation.message_id) or ""


def _of_run(state: State, run: Run) -> RunTransition:
    entry = state.entry(run_key(run.id, ""))
    cause = REPLAYED, 0, entry.origin.context, "", None
    return RunTransition(*cause, None, run.status or "", run.is_terminal, entry.taken.again, run)


def _of(state: State, builder: SnapshotBuilder[Any], transition: Any, progress: Any) -> Iterator[Change]:
    cause = REPLAYED, 0, state.origin_of(builder.run_key).context, "", None
    again = builder.taken.again if builder.taken is not None else ""
    subject = subject_of(builder.snapshot(), builder.run_id)
    yield transition(*cause, None, str(builder.base.status or ""), builder.ended, again, subject)
    if not builder.ended:
        yield progress(*cause, False, builder, b"", NO_DELTA)


def _wanted(known: Mapping[str, V], own: str, key: Key | None) -> Iterable[V]:
    """Return what of `known` may pass `key`, where that names its `own` id, its run or its thread; else all."""
    attribute, words = key or ("", ())
    if attribute == own:
        return [known[word] for word in sorted(words) if word in known]
    if attribute in ("run_id", "thread_id"):
        return [one for one in known.values() if _whose(one, attribute) in words]
    return known.values()


def _whose(known: Any, attribute: str) -> Any:
    """Return the id of the run or thread that a run, step or message belongs to."""
    is_told = isinstance(known, Run) or attribute == "run_id"
    return getattr(known if is_told else known.base, attribute, None)
