"""The states of what calls a callback (`delivery.CallbackRunner`), and which may follow which.

state       while                                       followed by
IDLE        no entry: waits for the next one            CALLING, CANCELLED, OVER
CALLING     an entry: the call, or what follows it      IDLE, PAUSING, DETACHED
PAUSING     an entry: between two attempts              CALLING, IDLE, DETACHED
DETACHED    an entry whose room was given back          IDLE, CANCELLED
CANCELLED   no call is made any more                    none
OVER        nothing comes any more                      none
"""

from enum import Enum, auto


class RunnerState(Enum):
    """What a `CallbackRunner` does."""

    IDLE = auto()
    CALLING = auto()
    PAUSING = auto()
    DETACHED = auto()
    CANCELLED = auto()
    OVER = auto()

    @property
    def is_last(self) -> bool:
        """Whether nothing follows it."""
        return self in (RunnerState.CANCELLED, RunnerState.OVER)
