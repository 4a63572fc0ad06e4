"""What a form is: a run told in the frames of one protocol.

The invariant: after `begin(state at N)` a form is as if it had been begun with None and fed the events 1 to N. So one
form is fed for all viewers, wherever they joined: a viewer that joins at N gets what a form of its own begins with, and
from then on what the shared one gives. What would break it: remembering anything of the way to N that the state does
not say, such as what anomalies there were.

    shared form    feed(1) feed(2) … feed(N)          feed(N+1)   feed(N+2)
    viewer         ──────────────── begin(state at N), the same    the same
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from stepstream.fold.changes import Change
from stepstream.fold.run_state import RunState
from stepstream.wire.events import Event
from stepstream.wire.sse import Frame

DONE: Final = (Frame("done", b"[DONE]"),)
"""What says that a run has ended, and that nothing follows: in forms that have no words of their own for that."""


class Form(Protocol):
    """One run in one protocol. It holds what is open, never what was said: its size does not grow with the run.

    The frames that it returns have no ids. Those of one call are sent together, or none of them is.
    """

    def begin(self, state: RunState | None) -> list[Frame]:
        """Return what a viewer gets first, who joins at `state`; None where nothing has happened yet.

        It is called once, before all else. The state may be that of a run that has ended or waits.
        """

    def feed(self, event: Event, changes: Sequence[Change]) -> list[Frame]:
        """Return what the next event of the run is, maybe nothing. `changes` are what it did, in order.

        Events come in order of their positions, each once. In a form that `merges`, several deltas of one text may come
        as one event, which has the position of the last.
        """

    def interrupt(self, reason: str) -> list[Frame]:
        """Return what ends the stream of a viewer who has had all up to here, while the run has not ended.

        `reason` is a word of `REASONS`. Whoever gets it must not take it for the end of the run. The form stays as it
        is: others go on.
        """


REASONS: Final[Mapping[str, str]] = {
    "interrupted": "the run's stream broke, or its writer gives no sign any more",
    "stopped": "somebody stopped the run",
    "shutdown": "the server is going away",
    "revoked": "the viewer may not see the run any more",
    "slow": "the viewer is too far behind",
    "gone": "what comes next of the run is not kept any more",
}
"""Why a stream of a viewer ends before its run does, and what that is."""


class FormKind(msgspec.Struct, frozen=True, kw_only=True):
    """A form as the relay offers it."""

    name: str
    """What it is called in `?as=`."""
    make: Callable[[], Form]
    has_cursor: bool = True
    """Whether its frames have ids, so that a viewer goes on where it was. Without, who comes back joins again, and who
    is too slow is interrupted; with, it gets `stepstream.gap` and then what a viewer who joins gets."""
    merges: bool = True
    """Whether deltas of one text may be merged."""
    stateless: bool = False
    """Whether `feed` returns the same whatever came before, and reads no changes: then nothing needs to be folded."""
    done: tuple[Frame, ...] = DONE
    """What is sent once everything of a run that has ended was fed."""
    headers: Mapping[str, str] = {}
    """Headers of the response beside those of every event stream, names in lower case."""
    only_open: bool = False
    """Whether there is nothing to see of an ended run: then, and where there is no such run, 204 is answered."""
