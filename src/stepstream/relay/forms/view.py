"""The form `view`: what a dashboard draws of the run, whole, and then what changes of it.

    {"run": {…}, "steps": [{…}, …], "messages": [{…}, …]}

Steps and messages stand in order of first sight and stay in their places. A view is a function of the state alone: a
form that joined has the same as one that saw everything. So what else a screen shows, the pace of the events and the
anomalies on the way, is not in it, and times are the server's. `views/documents.py` says what is in it of each object.

An event changes one object: only that one is looked at, so that an event costs the same however many steps there are.
A delta that does nothing but append to one text, the usual one, is an `append` to the part that has this text; one that
touches calls of an open step makes the documents of these calls anew. What else comes brings its object whole, so the
document of that may be made anew, too. The documents of open objects are kept, to be compared; of an object that has
ended it is made again in the rare case that something comes after its end.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from stepstream.fold.accumulator import Accumulator
from stepstream.fold.builder import SnapshotBuilder
from stepstream.fold.changes import Change, MessageProgress, StepProgress
from stepstream.fold.run_state import RunState, retold_events
from stepstream.relay.forms.events import interruption
from stepstream.relay.forms.form import FormKind
from stepstream.relay.forms.patches import patch
from stepstream.relay.forms.shown import Shown
from stepstream.views.documents import run_document
from stepstream.views.parts import JSON
from stepstream.wire.deltas import MessageDelta, RunStepDelta
from stepstream.wire.events import Event
from stepstream.wire.messages import Message
from stepstream.wire.objects import Run, RunStep
from stepstream.wire.sse import Frame

VIEW: Final = "stepstream.view"
"""The event that carries a view, whole."""

_LISTS: Final[dict[type[Any], str]] = {
    RunStep: "steps",
    RunStepDelta: "steps",
    Message: "messages",
    MessageDelta: "messages",
}
"""Where what an event is about stands."""


class ViewForm:
    """A run as its view, then patches of it."""

    def __init__(self) -> None:
        self._accumulator = Accumulator()
        self._accumulator.translation.be_plain()
        self._accumulator.stream.wanted = ()
        state = self._accumulator.state
        self._known: dict[str, Any] = {"steps": state.steps, "messages": state.messages}
        self._places: dict[str, dict[str, int]] = {"steps": {}, "messages": {}}
        """By id, the places of the steps, and of the messages."""
        self._open: dict[str, dict[str, Shown]] = {"steps": {}, "messages": {}}
        """Those that have not ended."""
        self._run: JSON | None = None
        self._has_begun = False

    def begin(self, state: RunState | None) -> list[Frame]:
        """Return `stepstream.view`."""
        if state is None:
            return []
        for event in retold_events(state):
            self._accumulator.apply(event)
        self._has_begun = True
        lists: dict[str, list[Any]] = {
            "steps": [self._add("steps", identifier) for identifier in state.steps],
            "messages": [self._add("messages", identifier) for identifier in state.messages],
        }
        if state.run is not None:
            self._take_run(state.run.id)
        view = {"run": self._run, **lists}
        return [Frame(VIEW, msgspec.json.encode(view))]

    def feed(self, event: Event, changes: Sequence[Change]) -> list[Frame]:
        """Return what changes of the view, as a patch; the first one of all replaces nothing."""
        operations = self._fed(event, changes)
        if not self._has_begun:
            self._has_begun = True
            whole: JSON = {"run": None, "steps": [], "messages": []}
            operations = [{"op": "replace", "path": "", "value": whole}, *operations]
        return [Frame(data=msgspec.json.encode(operations))] if operations else []

    def interrupt(self, reason: str) -> list[Frame]:
        """Return `stepstream.interrupted`."""
        return interruption(reason)

    def _fed(self, event: Event, changes: Sequence[Change]) -> list[JSON]:
        data: Any = event.data
        if isinstance(data, Run):
            self._accumulator.apply(event)
            before = self._run
            self._take_run(data.id)
            return patch(before, self._run, "/run")
        where = _LISTS.get(type(data))
        if where is None:
            self._accumulator.apply(event)
            return []
        place, shown = self._places[where].get(data.id), self._open[where].get(data.id)
        if shown is None and place is not None:  # it has ended: nothing but what comes late changes it
            if not any(isinstance(one, StepProgress | MessageProgress) and one.late for one in changes):
                return []  # who joined since does not know what was said and taken back: that may not come again
            shown = self._shown(where, place, data.id)
        self._accumulator.apply(event)
        if shown is None:
            return self._opened(where, data.id)
        appended = self._accumulator.stream.append
        if appended is not None:
            return shown.grow(appended.buffer, appended.piece)
        builder: SnapshotBuilder[Any] = self._known[where][data.id]
        operations = shown.refreshed(builder, event)
        if builder.ended:
            self._open[where].pop(data.id, None)
        return operations

    def _opened(self, where: str, identifier: str) -> list[JSON]:
        if identifier not in self._known[where]:  # a delta that waits for its object
            return []
        return [{"op": "add", "path": f"/{where}/-", "value": self._add(where, identifier)}]

    def _add(self, where: str, identifier: str) -> JSON:
        """Give an object its place, and return its document."""
        place = self._places[where][identifier] = len(self._places[where])
        shown = self._shown(where, place, identifier)
        if not self._known[where][identifier].ended:
            self._open[where][identifier] = shown
        return shown.document

    def _shown(self, where: str, place: int, identifier: str) -> Shown:
        return Shown(f"/{where}/{place}", self._known[where][identifier])

    def _take_run(self, run_id: str) -> None:
        run = self._accumulator.state.runs.get(run_id)
        self._run = self._run if run is None else run_document(run)


VIEW_FORM: Final = FormKind(name="view", make=ViewForm)
