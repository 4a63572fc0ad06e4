"""One object in a server's answer: what was sent, what of it is read, and the events that it must have been part of."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from stepstream.errors import DecodeError
from stepstream.fold.builder import SnapshotBuilder
from stepstream.wire.events import Event, decode_event
from stepstream.wire.sse import Frame

JSON: TypeAlias = dict[str, Any]

ENDINGS: Final = (
    "completed_at", "failed_at", "cancelled_at", "expired_at", "incomplete_at", "last_error", "incomplete_details",
    "usage", "required_action",
)  # fmt: skip
"""The fields that only an ended or waiting object has."""


class AnsweredObject(NamedTuple):
    """An object in the answer."""

    kind: str
    """What its events are named after."""
    sent: bytes
    raw: JSON
    """What was sent, without what does not fit: that is an anomaly once, of the event with the object as it is."""

    @classmethod
    def of(cls, kind: str, sent: bytes) -> "AnsweredObject":
        """Return what the server sent, whatever it is, as an object of a kind."""
        event = event_of(Frame(f"thread.{kind}.created", sent))
        answered = cls(kind, sent, decoded(sent))
        return answered.read_as(event.data) if event and event.bad_fields else answered

    @property
    def id(self) -> str:
        """Its id; empty where it has none."""
        return text_of(self.raw.get("id")) or ""

    @property
    def status(self) -> str | None:
        """Its status, or None where it has none."""
        return text_of(self.raw.get("status"))

    def of_run(self, run: "AnsweredObject", known: Mapping[str, SnapshotBuilder[Any]]) -> "AnsweredObject":
        """Return the object with its run's id, which lists may leave out; a known one has what the stream gave it."""
        run_id = known[self.id].base.run_id if self.id in known else run.id
        if not (self.id and run_id) or self.raw.get("run_id") is not None:
            return self
        named = {"run_id": run_id}
        sent = decoded(self.sent)
        is_odd = sent.get("run_id") is not None  # then it is an anomaly, and the event says what was sent
        return AnsweredObject(self.kind, self.sent if is_odd else msgspec.json.encode(sent | named), self.raw | named)

    def read_as(self, read: object) -> "AnsweredObject":
        """Return the object with what is read of it, as `read` says, and its own status."""
        return self._replace(raw=msgspec.to_builtins(read) | {"status": self.status})

    def asevent_of(self, name: str) -> Frame:
        """Return the event of that name, with the object as it is."""
        return Frame(f"thread.{self.kind}.{name}", self.sent)

    def earlier(self, name: str, status: str, **details: Any) -> Frame:
        """Return the event of that name, with the object as it must have been while it had that status."""
        unset = dict.fromkeys(ENDINGS) | ({"started_at": None} if status == "queued" else {}) | details
        known = {key: value for key, value in unset.items() if key in self.raw}
        return Frame(f"thread.{self.kind}.{name}", msgspec.json.encode({**self.raw, "status": status, **known}))


def event_of(frame: Frame) -> Event | None:
    """Return the event of a frame, or None where it cannot be decoded: applied, it is an anomaly."""
    try:
        return decode_event(frame)
    except DecodeError:
        return None


def decoded(data: bytes) -> JSON:
    """Return a JSON object; an empty one where it is none."""
    try:
        raw: JSON = msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return raw


def text_of(value: object) -> str | None:
    """Return a string; None for all else."""
    return value if isinstance(value, str) else None
