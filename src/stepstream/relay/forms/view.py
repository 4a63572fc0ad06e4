"""The form `view`: what a dashboard draws of the run, whole, and then what changes of it.

A view is a function of the state alone: a form that joined has the same as one that saw everything. So what else a
screen shows, the pace of the events and the anomalies on the way, is not in it, and times are the server's.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from stepstream.fold.accumulator import Accumulator
from stepstream.fold.changes import Change
from stepstream.fold.run_state import RunState, retold_events
from stepstream.relay.forms.events import interruption
from stepstream.relay.forms.form import FormKind
from stepstream.relay.forms.patches import patch
from stepstream.views.builder import ViewBuilder
from stepstream.views.model import RunView, Theme
from stepstream.wire.events import Event
from stepstream.wire.sse import Frame

VIEW: Final = "stepstream.view"
"""The event that carries a view, whole."""

_LEFT_OUT: Final = ("zero", "rate", "anomalies")


class ViewForm:
    """A run as its view, then patches of it."""

    def __init__(self) -> None:
        self._accumulator = Accumulator()
        self._accumulator.translation.be_plain()
        self._view: Mapping[str, Any] | None = None

    def begin(self, state: RunState | None) -> list[Frame]:
        """Return `stepstream.view`."""
        if state is None:
            return []
        for event in retold_events(state):
            self._accumulator.apply(event)
        self._view = self._built()
        return [Frame(VIEW, msgspec.json.encode(self._view))]

    def feed(self, event: Event, changes: Sequence[Change]) -> list[Frame]:
        """Return what changes of the view, as a patch; the first one of all replaces nothing."""
        self._accumulator.apply(event)
        before, self._view = self._view, self._built()
        operations = patch(before, self._view)
        return [Frame(data=msgspec.json.encode(operations))] if operations else []

    def interrupt(self, reason: str) -> list[Frame]:
        """Return `stepstream.interrupted`."""
        return interruption(reason)

    def _built(self) -> Mapping[str, Any]:
        screen = ViewBuilder(self._accumulator.state, Theme(), is_coarse=True).build(0.0, runs=1)
        run = screen.runs[0] if screen.runs else RunView("", "", "", "unknown", 0.0, None)
        told: dict[str, Any] = msgspec.to_builtins(run)
        return {name: value for name, value in told.items() if name not in _LEFT_OUT}


VIEW_FORM: Final = FormKind(name="view", make=ViewForm)
