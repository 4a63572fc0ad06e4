"""What pages make of a run that a relay sends them, form by form, and what they check on the way."""

from typing import Any, TypeAlias

import msgspec

from stepstream import Accumulator, FrameDecoder, MessageProgress, StepProgress, decode_change
from stepstream.fold.changes import Change
from stepstream.fold.encoding import COLUMNS
from stepstream.fold.run_state import run_state
from stepstream.relay.forms.registry import FORMS
from stepstream.relay.forms.view import ViewForm
from stepstream.wire.sse import Frame
from tests.support.kit_readers import AgUiReader, AiSdkReader

TOLD = frozenset(one for one in COLUMNS if one.__name__.endswith(("Transition", "Started", "Finished")))
"""The classes of changes that are told once."""


Server: TypeAlias = list[tuple[int, Change]]
"""What was done in the run, each with the position of the event that did it."""


class Client:
    """A page: it parses, keeps the last id, and comes back with it. `position` is that of the last event it has had."""

    def __init__(self) -> None:
        self.last_event_id = ""
        self.position = 0
        self.joined = 0
        """The position of the last state that it got."""
        self.gaps: list[str] = []
        self.is_done = False
        self.ends: list[str] = []
        self._decoder = FrameDecoder()
        self._is_beginning = True
        self.begin()

    def begin(self) -> None:
        """Forget what it has: a state comes."""

    def take(self, frame: Frame) -> None:
        """Take a frame of the run."""

    def connect(self) -> None:
        self._decoder = FrameDecoder(last_event_id=self.last_event_id)
        if not self.last_event_id:
            self._be_empty()

    def feed(self, piece: bytes) -> None:
        for frame in self._decoder.feed(piece):
            assert not self.is_done, frame
            self._frame(frame)
        self.last_event_id = self._decoder.last_event_id

    def _be_empty(self) -> None:
        self._is_beginning, self.position, self.joined = True, 0, 0
        self.begin()

    def _frame(self, frame: Frame) -> None:
        match frame.event:
            case "stepstream.gap":
                assert frame.id == ""
                self.gaps.append(msgspec.json.decode(frame.data)["reason"])
                self._be_empty()
            case "stepstream.interrupted":
                self.ends.append(msgspec.json.decode(frame.data)["reason"])
            case "done":
                self.is_done = True
            case _:
                self._count(frame)
                self.take(frame)

    def _count(self, frame: Frame) -> None:
        """Check that positions only go up."""
        position = int(frame.id.partition(".")[2] or 0)
        if self._is_beginning:
            if position:
                self._is_beginning, self.position, self.joined = False, position, position
            return
        assert position >= self.position, (position, self.position)
        self.position = position


class EventsClient(Client):
    """A page that folds the events."""

    def begin(self) -> None:
        self.accumulator = Accumulator()
        self.positions: list[int] = []

    def take(self, frame: Frame) -> None:
        self.accumulator.apply_frame(Frame(frame.event, frame.data))
        if frame.id:
            self.positions.append(self.position)

    @property
    def known(self) -> Any:
        return known(self.accumulator)

    def check(self, server: Server) -> None:
        """Check what it was told since it joined."""
        assert self.positions == [self.position - back for back in reversed(range(len(self.positions)))]


class ChangesClient(Client):
    """A page that has the objects that transitions carry, and adds the deltas."""

    def begin(self) -> None:
        self.accumulator = Accumulator()
        self.told: list[tuple[int, str]] = []
        self._has_begun = False

    def take(self, frame: Frame) -> None:
        is_first, self._has_begun = not self._has_begun, True
        if frame.event == "stepstream.state":
            state = msgspec.json.decode(frame.data)
            for one in [*filter(None, [state["run"]]), *state["steps"].values(), *state["messages"].values()]:
                ended = one["status"] in ("completed", "failed", "cancelled", "expired", "incomplete")
                self._fold(f"{one['object']}.{one['status'] if ended else 'created'}", msgspec.json.encode(one))
            assert is_first
            assert state["position"] == self.position
            return
        self.joined = 0 if is_first else self.joined
        for line in frame.data.split(b"\n"):
            change = decode_change(line)
            assert change.sequence <= self.position
            if type(change) in TOLD:
                self.told.append((self.position, change.key))
            for name in ("run", "step", "message"):
                if type(change).__name__ == f"{name.title()}Transition":
                    self._fold(change.event, msgspec.json.encode(getattr(change, name)))
            if isinstance(change, StepProgress | MessageProgress) and change.delta is not None:
                identifier = change.step_id if isinstance(change, StepProgress) else change.message_id
                self._fold(change.event, b'{"id":"%b","delta":%b}' % (identifier.encode(), change.delta_as_sent()))

    def _fold(self, event: str, data: bytes) -> None:
        self.accumulator.apply_frame(Frame(event, data))

    @property
    def known(self) -> Any:
        return known(self.accumulator)

    def check(self, server: Server) -> None:
        expected = [(at, one.key) for at, one in server if type(one) in TOLD]
        assert self.told == [one for one in expected if self.joined < one[0] <= self.position]


def known(accumulator: Accumulator) -> dict[str, Any]:
    """Return all objects that are known."""
    return {**accumulator.runs, **accumulator.steps, **accumulator.messages}


class ViewClient(Client):
    """A page that draws a view."""

    def begin(self) -> None:
        self.view: Any = None

    def take(self, frame: Frame) -> None:
        sent = msgspec.json.decode(frame.data)
        if frame.event == "stepstream.view":
            assert self.view is None
            self.view = sent
        else:
            for operation in sent:
                self.view = patched(self.view, operation)

    @property
    def known(self) -> Any:
        return self.view

    def check(self, server: Server) -> None:
        pass


class KitClient(Client):
    """A client of a user interface kit: it has no cursor, and joins again whenever it comes back."""

    reader_class: Any
    ends_with_done = False

    def begin(self) -> None:
        self.reader = self.reader_class()

    def _frame(self, frame: Frame) -> None:
        is_over = frame.data == b"[DONE]"
        if not is_over:
            self.reader.read(frame)
        self.is_done = self.reader.end == "success" and (is_over or not self.ends_with_done)

    @property
    def known(self) -> Any:
        return self.reader.held._replace(calls=set(self.reader.held.calls))

    def check(self, server: Server) -> None:
        self.position = server[-1][0] if self.is_done else 0


class AgUiClient(KitClient):
    reader_class = AgUiReader


class AiSdkClient(KitClient):
    reader_class = AiSdkReader
    ends_with_done = True


def patched(document: Any, operation: Any) -> Any:
    """Return a document after one operation of a patch."""
    *way, last = [key.replace("~1", "/").replace("~0", "~") for key in operation["path"].split("/")[1:]] or [None]
    if not way and last is None:
        return document + operation["value"] if operation["op"] == "append" else operation["value"]
    holder = document
    for key in way:
        holder = holder[int(key) if isinstance(holder, list) else key]
    key = int(last) if isinstance(holder, list) and last != "-" else last
    match operation["op"]:
        case "append":
            holder[key] += operation["value"]
        case "remove":
            del holder[key]
        case "add" if key == "-":
            holder.append(operation["value"])
        case "add" | "replace":
            holder[key] = operation["value"]
    return document


WITH_CURSOR: dict[str, Any] = {"events": EventsClient, "changes": ChangesClient, "view": ViewClient}
CLIENTS: dict[str, Any] = {**WITH_CURSOR, "ag-ui": AgUiClient, "ai-sdk": AiSdkClient}
"""By form."""


def known_at_end(form: str, accumulator: Accumulator, run_id: str) -> Any:
    """Return what a page should have, where the server has that."""
    if form in ("ag-ui", "ai-sdk"):
        client = CLIENTS[form]()
        for frame in FORMS[form].make().begin(run_state(accumulator.state, run_id)):
            client.reader.read(frame)
        return client.known
    if form != "view":
        return known(accumulator)
    (whole,) = ViewForm().begin(run_state(accumulator.state, run_id))
    return msgspec.json.decode(whole.data)
