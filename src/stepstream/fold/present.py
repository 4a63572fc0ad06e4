"""What is known, as changes from nothing: for those who come late."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias, TypeVar

from stepstream.fold.changes import (
    Change,
    MessageProgress,
    MessageTransition,
    RunTransition,
    StepProgress,
    StepTransition,
)
from stepstream.fold.growing import Growing
from stepstream.fold.state import State, group_key

V = TypeVar("V")

Key: TypeAlias = tuple[str, Collection[Any]]
"""An attribute of changes, and the values that are asked for."""

REPLAYED: Final = "replay"
"""The event that these changes name: none of a server's caused them."""


def present(state: State, classes: Collection[type[Any]], key: Key | None = None) -> Iterator[Change]:
    """Yield a transition for each run, step and message known, from None to its status.

    A step or message that has not ended gives a progress after it, without a delta. The sequence of all is 0, the
    context that of the stream which told of their run last. What is of none of `classes`, or cannot pass `key`, may be
    left out: nothing is built for it.
    """
    if RunTransition in classes:
        for run in _asked_for(state.runs, "run_id", key, lambda run: run):
            if run.status:
                context = state.context_of(group_key(run.id, ""))
                yield RunTransition(REPLAYED, 0, context, run, None, run.status, run.is_terminal)
    if StepTransition in classes or StepProgress in classes:
        for step in _asked_for(state.steps, "step_id", key, _base_of):
            yield from _of(state, step, StepTransition, StepProgress)
    if MessageTransition in classes or MessageProgress in classes:
        for message in _asked_for(state.messages, "message_id", key, _base_of):
            yield from _of(state, message, MessageTransition, MessageProgress)


def _of(state: State, growing: Growing[Any], transition: Any, progress: Any) -> Iterator[Change]:
    snapshot, context = growing.snapshot(), state.context_of(growing.group)
    yield transition(REPLAYED, 0, context, snapshot, None, str(snapshot.status or ""), growing.ended)
    if not growing.ended:
        yield progress(REPLAYED, 0, context, None, False, growing, b"")


def _asked_for(known: Mapping[str, V], own: str, key: Key | None, base_of: Callable[[V], Any]) -> Iterable[V]:
    """Return what of `known` may pass `key`, where that names its `own` id, its run or its thread; else all."""
    attribute, words = key or ("", ())
    if attribute == own:
        return [known[word] for word in sorted(words) if word in known]
    if attribute in ("run_id", "thread_id"):
        return [one for one in known.values() if getattr(base_of(one), attribute) in words]
    return known.values()


def _base_of(growing: Growing[Any]) -> Any:
    return growing.base
