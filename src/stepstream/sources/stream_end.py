"""What the events of a stream over HTTP say about its end: whether a connection that ends is to be followed by another.

The reader of the stream folds its events, and knows whether it is over. But it reads through whatever stands between,
a recording or a generator of the user's, and the connection is asked for its next bytes only when it has ended. So the
few events that decide are read here too, by the same rules: the objects of runs, `done`, and errors.

    run.completed ─ end of the bytes                  over
    run.requires_action ─ end                         over, but not for a GET whose events have ids: it may go on
    {"error": …} without a name ─ end                 over: the reader raises it
"""

from typing import Final

from stepstream.dialects.translation import run_told
from stepstream.errors import DecodeError
from stepstream.fold.lifecycle import is_over
from stepstream.fold.stream_state import touch
from stepstream.wire.ending import is_unnamed_done, unnamed_error
from stepstream.wire.events import RUN_EVENTS, TYPES, decode_event
from stepstream.wire.objects import Run
from stepstream.wire.sse import Frame
from stepstream.wire.statuses import RUN_TERMINAL

DIALECT: Final = ""
"""Stands for the run of a stream in a dialect, which has one at a time."""


class StreamEnd:
    """The runs of one stream, over all of its connections, and how far they are."""

    def __init__(self) -> None:
        self.run_id: str | None = None
        """Of the run that was named last, likewise its thread."""
        self.thread_id: str | None = None
        self.has_failed = False
        """Whether an error came without its name, and no known event after it."""
        self._statuses: dict[str, object] = {}

    def __repr__(self) -> str:
        return f"<StreamEnd {len(self._statuses):,} runs>"

    @property
    def status(self) -> object:
        """The status of the run that was named last; None where none was."""
        return next(reversed(self._statuses.values()), None)

    def feed(self, frame: Frame) -> bool:
        """Take `done`, an event of a run, one without a name, or one after an error. Return whether it is the last."""
        is_last = self.is_ended_by(frame)
        if not is_last:
            if frame.event == "error" or unnamed_error(frame.event, frame.data) is not None:
                self.has_failed = True
            elif frame.event in TYPES:
                self.has_failed = False  # the run goes on
            if frame.event in RUN_EVENTS:
                self._note(frame)
            elif (told := run_told(frame)) is not None:
                self.has_failed = False
                self.run_id = told.id or self.run_id
                self._statuses[DIALECT] = told.status  # under one key: a dialect may give a run another id anew
        return is_last

    def is_ended_by(self, frame: Frame) -> bool:
        """Return whether reading ends with an event, be it the next one."""
        is_unnamed = is_unnamed_done(frame.event, frame.data)
        return frame.event == "done" or (is_unnamed and bool(self._statuses))

    def is_over(self, *, or_waiting: bool) -> bool:
        """Return whether the stream is over, should its bytes end here."""
        return self.has_failed or is_over(self._statuses.values(), or_waiting=or_waiting)

    def _note(self, frame: Frame) -> None:
        """Note the status of a run. One that has ended stays ended."""
        try:
            run = decode_event(frame).data
        except DecodeError:
            return  # the reader of the stream reports it
        if isinstance(run, Run):
            self.run_id, self.thread_id = run.id, run.thread_id or self.thread_id
            if self._statuses.get(run.id) not in RUN_TERMINAL:
                touch(self._statuses, run.id, run.status)
