"""What a change is about: newer progress takes the place of what waits about the same, and calls for it are paced."""

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final, Literal, TypeAlias

from stepstream.fold.changes import (
    Change,
    MessageProgress,
    MessageTransition,
    RunTransition,
    StepProgress,
    StepTransition,
)
from stepstream.live.context_keys import context_key

_STEP: Final = (StepProgress, StepTransition)
_MESSAGE: Final = (MessageProgress, MessageTransition)
PROGRESS: Final = (StepProgress, MessageProgress)

CoalesceBy: TypeAlias = Literal["step", "run", "context"]


def about_step(change: Change) -> Hashable:
    """Return the step or message that a change is about; an empty string for all other changes."""
    if isinstance(change, _STEP):
        return f"step {change.step_id}"
    return f"message {change.message_id}" if isinstance(change, _MESSAGE) else ""


def about_run(change: Change) -> Hashable:
    """Return the run that a change is about; of one that names none, its step or message."""
    return f"run {change.run_id}" if change.run_id else about_step(change)


def about_context(change: Change) -> Hashable:
    """Return the key of the context of a change; of a stream without one, the run."""
    return about_run(change) if change.context is None else context_key(change.context)


ABOUT: Final[Mapping[CoalesceBy, Callable[[Any], Hashable]]] = {
    "step": about_step,
    "run": about_run,
    "context": about_context,
}


def ends(change: Any, progress: Any) -> bool:
    """Return whether a change ends what some progress is about, or the run of that: the progress tells nothing then."""
    if not getattr(change, "terminal", False):
        return False
    is_whole_run = isinstance(change, RunTransition) and change.run_id == progress.run_id
    return is_whole_run or about_step(change) == about_step(progress)
