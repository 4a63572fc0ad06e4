"""Standard output and standard error, a line at a time."""

import sys
import traceback

import msgspec

from stepstream.fold.outcome import Outcome
from stepstream.views.escaping import json_line, one_line

SHOWN_ANOMALIES = 10


def write_json(encoded: bytes) -> None:
    """Write one line of JSON to standard output, at once."""
    sys.stdout.buffer.write(json_line(encoded) + b"\n")
    sys.stdout.buffer.flush()


def write_object(value: object) -> None:
    """Write `value` as one line of JSON to standard output."""
    write_json(msgspec.json.encode(value))


def write_line(*parts: object) -> None:
    """Write one line for people to standard output. What its encoding lacks is written as escapes."""
    line = " ".join(one_line(part) for part in parts)
    sys.stdout.buffer.write(line.encode(sys.stdout.encoding, "backslashreplace") + b"\n")
    sys.stdout.buffer.flush()


def write_error(text: str) -> None:
    """Write one line to standard error."""
    _write_to_error(f"stepstream: {one_line(text)}")


def write_traceback(error: Exception) -> None:
    """Write the traceback of `error` to standard error."""
    for line in "".join(traceback.format_exception(error)).rstrip("\n").split("\n"):
        _write_to_error(one_line(line))


def _write_to_error(line: str) -> None:
    if sys.stderr is not None:  # it is closed: `print` would write to standard output, where only results belong
        print(line, file=sys.stderr, flush=True)


def write_anomalies(outcome: Outcome) -> None:
    """Write the first anomalies to standard error, a line each, and how many more there were."""
    for anomaly in outcome.anomalies[:SHOWN_ANOMALIES]:
        about = f" ({anomaly.id})" if anomaly.id else ""
        write_error(f"event {anomaly.sequence} {anomaly.event}: {anomaly.code}{about}: {anomaly.text}")
    more = outcome.anomaly_count - SHOWN_ANOMALIES
    if more > 0:
        write_error(f"and {more:,} more against the protocol: see cat --as changes")


def summary(outcome: Outcome) -> str:
    """Return an outcome in one line."""
    parts = [
        counted(outcome.events, "event"),
        counted(len(outcome.runs), "run"),
        counted(len(outcome.steps), "step"),
        counted(len(outcome.messages), "message"),
        counted(outcome.usage.total_tokens or 0, "token"),
    ]
    if outcome.anomaly_count:
        parts.append(f"{outcome.anomaly_count:,} of the events against the protocol")
    return ", ".join(parts)


def counted(count: int, noun: str) -> str:
    """Return a number of things: `1 step`, `2 steps`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
