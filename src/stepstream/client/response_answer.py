"""What a server says of a response that it is asked for, as the events that the stream would have brought."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from stepstream.errors import ProtocolError
from stepstream.live.marks import ServerEvents
from stepstream.wire.sse import Frame

OPEN: Final = frozenset({"queued", "in_progress"})
"""The statuses of a response that goes on."""

WITH_ITEMS: Final = frozenset({"completed", "incomplete"})
"""The statuses that only a response takes which was in progress."""

_NOT_YET: Final[Mapping[str, Any]] = {"output": [], "usage": None, "error": None, "incomplete_details": None}
"""The fields of a response that only its end brings, as they were before."""


class ResponseKey(NamedTuple):
    """By what a server knows a response."""

    run_id: str


class ResponseAnswer(NamedTuple):
    """A response as the server gave it."""

    response: Mapping[str, Any]

    @classmethod
    def of(cls, raw: msgspec.Raw) -> "ResponseAnswer":
        """Return that of a body.

        Raises:
            ProtocolError: it is no response.
        """
        try:
            found = msgspec.json.decode(raw, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found = {}
        if not isinstance(found.get("id"), str) or not isinstance(found.get("status"), str):
            raise ProtocolError("expected a response: an object with an id and a status")
        return cls(found)

    def __repr__(self) -> str:
        return f"<ResponseAnswer {self.response['id']} {self.status}>"

    @property
    def status(self) -> str:
        """Its status."""
        status: str = self.response["status"]
        return status

    def events(self, known: object) -> ServerEvents:
        """Return the events that bring a response of the status `known` to this: its items come with its end.

        `known` is None where nothing of it was told.
        """
        if self.status in OPEN:
            return ServerEvents([] if known == self.status else [_event(self.status, self.response)])
        has_begun = self.status in WITH_ITEMS or bool(self.response.get("output"))
        begin = {**self.response, **_NOT_YET, "status": "in_progress"}
        is_new = known is None or (known == "queued" and has_begun)
        return ServerEvents([*([_event("in_progress", begin)] if is_new else []), _event(self.status, self.response)])


def _event(status: str, response: Mapping[str, Any]) -> Frame:
    name = f"response.{status}"
    return Frame(name, msgspec.json.encode({"type": name, "response": response}))
