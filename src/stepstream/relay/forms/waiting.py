"""A form for one who is sent a run until it waits for him, and goes on with another request then."""

from collections.abc import Callable, Sequence

from stepstream.fold.changes import Change
from stepstream.fold.run_state import RunState
from stepstream.relay.forms.kit import KitForm
from stepstream.wire.events import Event
from stepstream.wire.sse import Frame


class WaitingForm:
    """A form that calls `told` once its viewer was told that the run waits: then its stream ends well.

    `done` is sent at that end. With `skips`, its viewer has had everything before.
    """

    def __init__(self, form: KitForm, told: Callable[[], None], done: Sequence[Frame], *, skips: bool) -> None:
        self._form, self._told, self._done, self._skips = form, told, done, skips
        self._has_told = False

    def begin(self, state: RunState | None) -> list[Frame]:
        """Return what the form begins with, or nothing."""
        frames = self._form.begin(state)
        if self._skips:
            return []
        self._look()
        return frames

    def feed(self, event: Event, changes: Sequence[Change]) -> list[Frame]:
        """Return what the form does."""
        frames = self._form.feed(event, changes)
        self._look()
        return frames

    def interrupt(self, reason: str) -> list[Frame]:
        """Return the end: a good one, where the run waits."""
        return list(self._done) if self._has_told and self._form.is_waiting else self._form.interrupt(reason)

    def _look(self) -> None:
        if self._form.is_waiting:
            self._has_told = True
            self._told()
