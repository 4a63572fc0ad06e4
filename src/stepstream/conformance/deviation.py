"""A deviation from the protocol: its codes, and words for values that quote nothing of a payload."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from stepstream.fold.anomalies import ANOMALIES, AnomalyCode

MAX_SHOWN: Final = 80
"""How many characters of a server's word (a status, an id, a name) are shown."""

OURS: Final[frozenset[AnomalyCode]] = frozenset({"event_after_end", "replayed_event", "run_evicted", "run_overflow"})
"""Anomalies that are no deviation from this protocol: a limit of the fold, and what only streams of a dialect make."""

FOUND: Final[Mapping[str, str]] = {
    "bad_done": "the data of done is not [DONE]",
    "details_mismatch": "the type of a step and that of its step_details differ",
    "double_encoded": "the data is a JSON string that holds the JSON",
    "empty_stream": "done is all that came",
    "entry_missing": "a completed object lacks a call, output or content part that deltas delivered",
    "event_after_done": "something after done; only the first is reported",
    "event_after_run": "a step or message begins after its run ended",
    "fractional_timestamp": "a timestamp is no whole number of seconds",
    "frame_too_large": "an event is longer than 16 MiB; the rest of the stream is not read",
    "id_changed": "run_id, thread_id, assistant_id, created_at or type of an object changed",
    "illegal_transition": "a status that may not follow the one before",
    "index_gap": "the index of a delta's entry skips one or more",
    "message_left_open": "a run ended while a message of it was in progress",
    "missing_created": "the first object of a step or message is not in a created event",
    "missing_done": "the stream ended without done, and without an error event",
    "missing_field": "a required key is absent",
    "missing_reason": "a failed object without last_error, or an incomplete one without incomplete_details",
    "missing_required_action": "a run requires action, and required_action is null",
    "missing_timestamp": "an ended object without the time of its end",
    "null_field": "null where the protocol has a value",
    "over_limit": "metadata or tools beyond the documented limits",
    "parent_mismatch": "a step or message names another thread or assistant than its run",
    "run_left_open": "done comes while the run has neither ended nor waits for action",
    "stale_required_action": "required_action is set while no action is required",
    "step_left_open": "a run ended while a step of it was in progress",
    "text_mismatch": "a final text is not the sum of its deltas",
    "time_backwards": "a time lies before one that it must follow",
    "timestamp_while_open": "the time of an end on an object that has not ended",
    "unknown_event": "an event that the protocol does not have",
    "unknown_required_call": "required_action names a call that no open step of the run has",
    "unknown_status": "a status that the protocol does not have",
    "usage_while_open": "usage is set on an object that has not ended",
    "wrong_object": "the key object does not say what its event carries",
    "wrong_total": "total_tokens is not the sum of prompt_tokens and completion_tokens",
    "wrong_type": "a value of another JSON type",
}
"""The codes of what is found beside the anomalies of the fold, and what each means."""

CODES: Final[Mapping[str, str]] = dict(
    sorted([*FOUND.items(), *((code, meaning) for code, meaning in ANOMALIES.items() if code not in OURS)])
)
"""Every code of a deviation, and what it means. That of an anomaly is the fold's own."""

Path = tuple[str | int, ...]
"""The way to a value: keys of the protocol, the names of tools as keys, and places in lists."""


class Finding(NamedTuple):
    """One thing found in one event."""

    code: str
    expected: str
    got: str
    path: Path = ()
    """The way to the value, where it has a type that cannot be read."""
    id: str | None = None
    """The id of the object, where it is not the event's own."""


class Deviation(msgspec.Struct, frozen=True):
    """One deviation from the protocol. It holds no payload content."""

    sequence: int
    """The number of the event in its stream, from 1. What the end showed has that of the last event, or 0."""
    event: str
    """The event's name; empty where there was none."""
    code: str
    id: str | None
    """The id of the run, step, message or thread, where it is known."""
    expected: str
    got: str


def shown(word: str) -> str:
    """Return a server's word, cut to what is shown."""
    return word if len(word) <= MAX_SHOWN else f"{word[:MAX_SHOWN]}…"


def described(value: object) -> str:
    """Return what kind of JSON value this is. Nothing in it is quoted."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a float"
        case str():
            return f"a string of {len(value):,} characters"
        case list():
            return f"a list of {len(value):,} entries"
        case _:
            return "an object"


def dotted(path: Path) -> str:
    """Return a path as people write it: `step_details.tool_calls[0].id`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{shown(part)}" for part in path).removeprefix(".")
