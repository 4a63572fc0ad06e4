"""How a stream ended: the one definition, for whatever its bytes came from.

A stream is over with `done`; with `[DONE]` that lacks its name, once a run is known; or with its last byte, where a run
is known and each has ended or waits for action. Any other end is an exception, with what the server said of it:

    run_1 completed ─ end                          "ended"
    run_1 in progress ─ [DONE]                     "done"
    run_1 in progress ─ {"error": …} ─ end         StreamFailed: an error without its name, and no run goes on after it
    chat.completion.chunk, … ─ [DONE]              StreamTruncated: none of the events is known
    {"error": …}, as plain JSON                    StreamTruncated: no event stream at all

Only events that carry no object are looked at: all others are counted by the stream itself.
"""

from typing import Literal

from stepstream.errors import StreamFailed, StreamTruncated
from stepstream.fold.lifecycle import SETTLED_RUN, is_over
from stepstream.fold.state import run_key
from stepstream.fold.stream_state import StreamState
from stepstream.wire.ending import is_unnamed_done, kind_of, unnamed_error
from stepstream.wire.events import Done, ErrorData, Event
from stepstream.wire.objects import Run


class StreamEnding:
    """What the events of one stream say about its end."""

    def __init__(self, stream: StreamState) -> None:
        self._stream = stream
        self._others = 0  # events that carry no object
        self._first = ""  # what the first of them calls itself
        self._has_done = False  # `done`, with its name
        self._is_told = False  # `done`, or `[DONE]` without its name
        self._error: ErrorData | None = None  # one without its name
        self._known_before = 0  # how many known events had come before that

    def __repr__(self) -> str:
        return f"<StreamEnding {self._known:,} known events{' done' if self._is_told else ''}>"

    @property
    def _known(self) -> int:
        return self._stream.sequence - self._others

    def note(self, event: Event) -> bool:
        """Take an event whose data is `TELLING`, once it is counted. Return whether the stream is over with it.

        Raises:
            StreamFailed: it is an `error`.
        """
        data = event.data
        if isinstance(data, ErrorData):
            raise failure_of(data)
        self._others += 1
        if isinstance(data, Done):
            self._has_done = self._is_told = True
            return True
        name, payload = event.name, event.payload
        if is_unnamed_done(name, payload):
            self._is_told = bool(self._stream.runs)
        elif (error := unnamed_error(name, payload)) is not None:
            self._error, self._known_before = error, self._known
        self._first = self._first or kind_of(name, payload)
        return self._is_told

    def _status_of(self, run: Run) -> str | None:
        """Return the status of a run: that which was told again, where its stream is behind what is known."""
        entry = self._stream.state.find(run_key(run.id, ""))
        if entry is None or entry.repetition is None or run.status in SETTLED_RUN:
            return run.status or None
        status: str | None = entry.repetition.status
        return status

    def failure(self) -> StreamFailed | None:
        """Return the error that came without its name, where no run went on after it."""
        return failure_of(self._error) if self._error is not None and self._known == self._known_before else None

    def reason(self, opening: str = "", last_event: str = "done") -> Literal["done", "ended"]:
        """Return how the stream ended, now that its bytes have.

        `opening` says what they were like if no event came, `last_event` which event would have been the end.

        Raises:
            StreamFailed: with an error that came without its name.
            StreamTruncated: otherwise than a stream may end.
        """
        failure, stream = self.failure(), self._stream
        if failure is not None:
            raise failure
        if self._has_done:
            return "done"
        if is_over([self._status_of(run) for run in stream.runs.values()]):
            return "ended"
        if self._is_told:
            return "done"
        events = f"{stream.sequence:,} event{'' if stream.sequence == 1 else 's'}"
        if not stream.sequence:
            raise StreamTruncated(f"the stream ended without a single event{opening}")
        if not self._known:
            raise StreamTruncated(f"none of {events} is of a protocol that stepstream reads (first: {self._first})")
        raise StreamTruncated(f"the stream ended after {events} without {last_event}, its run unfinished")


def failure_of(data: ErrorData) -> StreamFailed:
    """Return the exception that an error in a stream is."""
    return StreamFailed(data.code, data.message, data.type, data.param)
