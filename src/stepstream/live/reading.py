"""What the streams of a processor have folded into, to be read at any time."""

from collections.abc import Callable, Mapping

from stepstream.fold.snapshots import messages_of, runs_of, steps_of
from stepstream.fold.state import State, run_key
from stepstream.wire.messages import Message
from stepstream.wire.objects import Run, RunStep


class ReadingMethods:
    """The methods of a processor that read what is known. `new_state` returns a state in which nothing is.

    Reading is no subscription: nothing is called or built for an event, so streams do not slow down.
    """

    def __init__(self, new_state: Callable[[], State]) -> None:
        self._new_state = new_state
        self._state = new_state()

    @property
    def state(self) -> State:
        """What the streams have folded into, as of now: to be read only, neither changed nor kept."""
        return self._state

    @property
    def steps(self) -> Mapping[str, RunStep]:
        """The snapshots of the steps known, by id, each built when it is read. They are forgotten with their runs.

        The mapping is live: where streams may go on while it is iterated over, copy it first (`dict(...)`).
        """
        return steps_of(self._state)

    @property
    def messages(self) -> Mapping[str, Message]:
        """The snapshots of the messages known; otherwise as `steps`."""
        return messages_of(self._state)

    @property
    def runs(self) -> Mapping[str, Run]:
        """The newest objects of the runs known; otherwise as `steps`."""
        return runs_of(self._state)

    def forget(self, run_id: str) -> None:
        """Forget a run: what is told of it next begins anew. To be called where no stream tells of it."""
        self._state.forget(run_key(run_id, ""))

    def _forget(self) -> None:
        """Begin with nothing known."""
        self._state = self._new_state()
