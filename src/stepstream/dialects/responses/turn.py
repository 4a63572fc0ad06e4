"""One event of a stream on its way: what it says, the run it belongs to, and what it becomes."""

from stepstream.dialects.responses.payloads import Payload
from stepstream.dialects.state import DialectState, Item, Response
from stepstream.wire.events import Data, Event, Malformed
from stepstream.wire.sse import Frame


class Turn:
    """What the rules of one event read and write."""

    __slots__ = ("events", "frame", "misfits", "name", "payload", "response", "state")

    def __init__(
        self, frame: Frame, name: str, payload: Payload, misfits: list[str], state: DialectState, response: Response
    ) -> None:
        self.frame = frame
        self.name = name
        self.payload = payload
        self.misfits = misfits
        """The fields that did not fit their types, and were left out."""
        self.state = state
        self.response = response
        self.events: list[Event] = []
        """What it becomes."""

    def tell(self, name: str, data: Data) -> None:
        """Add an event."""
        self.events.append(Event(name, data, self.frame.data, self.frame.id, is_translated=True))

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
