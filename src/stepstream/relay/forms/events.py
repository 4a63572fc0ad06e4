"""The form `events`: the events of the run as its journal has them, in the words of the fold. Nothing is merged."""

from collections.abc import Sequence
from typing import Final

import msgspec

from stepstream.dialects.canonical import frame_of_event
from stepstream.fold.changes import Change
from stepstream.fold.run_state import RunState, retold_events
from stepstream.relay.forms.form import FormKind
from stepstream.wire.events import Event
from stepstream.wire.sse import Frame

INTERRUPTED: Final = "stepstream.interrupted"
"""The event that ends the stream of a viewer before its run ends, in forms that have no words of their own for that."""


def interruption(reason: str) -> list[Frame]:
    """Return the frame that says why a stream ends before its run does."""
    return [Frame(INTERRUPTED, msgspec.json.encode({"reason": reason}))]


class EventsForm:
    """A run as `thread.*` events: joined late, as the fewest that fold to its state."""

    def begin(self, state: RunState | None) -> list[Frame]:
        """Return the events that fold to the state."""
        return [] if state is None else [_frame(event) for event in retold_events(state)]

    def feed(self, event: Event, changes: Sequence[Change]) -> list[Frame]:
        """Return the event."""
        return [_frame(event)]

    def interrupt(self, reason: str) -> list[Frame]:
        """Return `stepstream.interrupted`."""
        return interruption(reason)


def _frame(event: Event) -> Frame:
    told = frame_of_event(event)
    return Frame(told.event, told.data)


EVENTS: Final = FormKind(name="events", make=EventsForm, merges=False, stateless=True)
