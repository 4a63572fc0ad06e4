"""One event of a stream on its way: what it says, the run it belongs to, and what it becomes."""

from typing import Any

from stepstream.dialects.responses.payloads import JSON, Payload
from stepstream.dialects.state import DialectState, Item, Response
from stepstream.wire.base import WireObject
from stepstream.wire.events import Data, Event, Malformed
from stepstream.wire.loose import BadField, read_object
from stepstream.wire.sse import Frame


class Turn:
    """What the rules of one event read and write."""

    __slots__ = ("events", "frame", "name", "payload", "response", "state")

    def __init__(self, frame: Frame, name: str, payload: Payload, state: DialectState, response: Response) -> None:
        self.frame = frame
        self.name = name
        self.payload = payload
        self.state = state
        self.response = response
        self.events: list[Event] = []
        """What it becomes."""

    def tell(self, name: str, data: Data, bad: tuple[BadField, ...] = ()) -> None:
        """Add an event."""
        self.events.append(Event(name, data, self.frame.data, self.frame.id, bad, is_translated=True))

    def tell_object(self, name: str, struct: type[WireObject], fields: JSON) -> Any:
        """Add an event with an object, given as JSON, and return that. What does not fit it is left out, and noted."""
        found, bad = read_object(struct, {key: value for key, value in fields.items() if value != ""})
        self.tell(name, found, bad)
        return found

    def report(self, code: str, identifier: str | None, expected: str, got: str) -> None:
        """Add an anomaly."""
        self.tell(self.name, Malformed(self.frame.data, expected, got, code, identifier))

    @property
    def items(self) -> list[Item]:
        """The items of the newest response, in order of first sight."""
        return self.response.items[self.response.first :]

    @property
    def run_id(self) -> str:
        """The id of its run; empty while it has not come."""
        return self.response.run if self.response.run in self.state.runs else ""
