"""Anomalies: what the peer did against the protocol and the fold tolerated. One table holds their codes."""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from stepstream.fold.cause import Caused

AnomalyCode: TypeAlias = Literal[
    "bad_field",
    "bad_index",
    "conflicting_terminal",
    "delta_after_terminal",
    "delta_before_created",
    "duplicate_created",
    "duplicate_terminal",
    "event_after_end",
    "id_conflict",
    "malformed_delta",
    "orphan_overflow",
    "replayed_event",
    "run_evicted",
    "run_overflow",
    "status_mismatch",
    "status_regression",
    "too_deep",
    "type_conflict",
    "undecodable_event",
]

ANOMALIES: Final[Mapping[AnomalyCode, str]] = {
    "bad_field": "a field of an object does not fit its type: it is left out, or read as what it plainly means",
    "bad_index": "the index of a delta's entry is missing, or no integer from 0 to 1023",
    "conflicting_terminal": "a second terminal object contradicts the first",
    "delta_after_terminal": "a delta adds to what its terminal object had settled",
    "delta_before_created": "a delta comes before any object with its id",
    "duplicate_created": "a second created event for one object",
    "duplicate_terminal": "a second terminal event for one object",
    "event_after_end": "an event of a response, in a dialect, after the response ended; the first is reported",
    "id_conflict": "a delta changes the id or name of a call",
    "malformed_delta": "a delta does not have the shape of one",
    "orphan_overflow": "too many deltas wait for their object",
    "replayed_event": "events come twice over one connection, by their numbers; the first is reported",
    "run_evicted": "an open run is forgotten: more are open than are kept, or nothing was heard of it for too long",
    "run_overflow": "the deltas of a run add more than one run may hold: what exceeds that is dropped",
    "status_mismatch": "the event's name and the object's status disagree",
    "status_regression": "an ended object is said to be open again",
    "too_deep": "JSON nested deeper than the limit, by default 64 levels",
    "type_conflict": "a delta changes the type of a call, part or step",
    "undecodable_event": "the data is not JSON, or not what its event carries",
}
"""Every code, and what it means. The type above repeats the keys, for a checker cannot read them from a table."""


class Anomaly(Caused, frozen=True):
    """The peer did something against the protocol, and it was tolerated. It holds no payload content."""

    code: AnomalyCode
    id: str | None
    """The id of the step, message or run it is about, where one is known."""
    expected: str
    """What the protocol asks for, in a few words."""
    got: str
    """What came instead: types and kinds, never content."""
    run_id: str | None
    """The run of that object; of what names none, the newest run of the stream."""
    thread_id: str | None
    """The thread of that run, where it is known."""
    _journal: str = ""
    """The run whose journal the event stands in; "" where it comes from none."""
    _ordinal: int = 0
    """Which of the changes of that event it is, from 1: 0 is its progress."""

    def _compared(self) -> list[Any]:
        return super()._compared()[: -len(("_journal", "_ordinal"))]

    @property
    def text(self) -> str:
        """What was expected and what came, in one phrase."""
        return f"expected {self.expected}, got {self.got}"

    def __repr__(self) -> str:
        return f"<Anomaly {self.code} {self.event} {self.id}: {self.text}>"
