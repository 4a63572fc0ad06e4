"""What a change is about: newer progress takes the place of what waits about the same, and calls for it are paced."""

from typing import Final

from stepstream.fold.changes import Change, MessageProgress, MessageTransition, StepProgress, StepTransition

_STEP: Final = (StepProgress, StepTransition)
_MESSAGE: Final = (MessageProgress, MessageTransition)
PROGRESS: Final = (StepProgress, MessageProgress)


def about_of(change: Change) -> str:
    """Return the step or message that a change is about; an empty string for all other changes."""
    if isinstance(change, _STEP):
        return f"step {change.step_id}"
    return f"message {change.message_id}" if isinstance(change, _MESSAGE) else ""
