"""The form `changes`: what each event did, as `encode_change` writes it, a line a change."""

from collections.abc import Sequence
from typing import Final

from stepstream.fold.changes import Change
from stepstream.fold.encoding import encode_change
from stepstream.fold.run_state import RunState
from stepstream.relay.forms.events import interruption
from stepstream.relay.forms.form import FormKind
from stepstream.relay.forms.state_json import state_json
from stepstream.wire.events import Event
from stepstream.wire.sse import Frame

STATE: Final = "stepstream.state"
"""The event that carries a run at a position."""


class ChangesForm:
    """A run as its state, then a message a position that did anything: the changes with their objects."""

    def begin(self, state: RunState | None) -> list[Frame]:
        """Return `stepstream.state`."""
        return [] if state is None else [Frame(STATE, state_json(state))]

    def feed(self, event: Event, changes: Sequence[Change]) -> list[Frame]:
        """Return the changes, each a line of JSON."""
        lines = [encode_change(change, snapshot=True) for change in changes]
        return [Frame(data=b"\n".join(lines))] if lines else []

    def interrupt(self, reason: str) -> list[Frame]:
        """Return `stepstream.interrupted`."""
        return interruption(reason)


CHANGES: Final = FormKind(name="changes", make=ChangesForm)
