"""The ids that a log record carries beside its text, as attributes: `run_id`, `step_id` and `thread_id`, or None."""

from collections.abc import Mapping
from typing import Final

from stepstream.fold.stream_state import StreamState

NAMES: Final = ("run_id", "step_id", "thread_id")


def ids_of(subject: object) -> Mapping[str, str | None]:
    """Return the ids that a change has, or whatever else it is that a record is about, for `extra`."""
    found = {name: getattr(subject, name, None) for name in NAMES}
    return {name: value if isinstance(value, str) else None for name, value in found.items()}


def ids_of_stream(stream: StreamState) -> Mapping[str, str | None]:
    """Return those of the run that a stream named last."""
    run = next(reversed(stream.runs.values()), None)
    return {**ids_of(run), "run_id": run.id if run is not None else None}
