"""The end of subscriptions that are about certain runs: when all of these have ended, and their changes were handed on.

A run has ended with its terminal object. But a stream may bring the end of a step or message of it later, out of order.
So while one of those is open, its subscriptions end with the stream; else there and then. A step that only begins after
its run has ended, which no protocol has, comes too late for them: to wait for one would keep every reader waiting for
the end of a stream that a server may leave open. Who wants it too asks for all runs, or takes a callback.
"""

from collections.abc import Iterable

from stepstream.fold.changes import Change, MessageTransition, RunTransition, StepTransition
from stepstream.fold.state import State, run_key
from stepstream.fold.stream_state import StreamState
from stepstream.live.mailbox import Mailbox


class RunEnds:
    """The mailboxes that end with runs."""

    def __init__(self) -> None:
        self.by_run: dict[str, dict[Mailbox, None]] = {}
        """Those that wait for the end of each run. Empty, there is nothing to do after an event."""
        self._left: dict[Mailbox, set[str]] = {}  # the runs of each that have not ended

    def add(self, mailbox: Mailbox) -> None:
        """Let a mailbox end with its runs."""
        if mailbox.run_ids is not None:
            self._left[mailbox] = set(mailbox.run_ids)
            for run_id in mailbox.run_ids:
                self.by_run.setdefault(run_id, {})[mailbox] = None

    def end_over(self, mailbox: Mailbox, state: State, reading: Iterable[StreamState]) -> None:
        """Let a new mailbox not wait for those of its runs that have ended before."""
        for run_id in list(self._left.get(mailbox, ())):
            if _is_over(run_id, state, reading):
                self._drop(mailbox, run_id)
        if mailbox.run_ids is not None and not self._left.get(mailbox):
            mailbox.end()

    def remove(self, mailbox: Mailbox) -> None:
        """Forget a mailbox."""
        for run_id in list(self._left.get(mailbox, ())):
            self._drop(mailbox, run_id)
        self._left.pop(mailbox, None)

    def after_event(self, changes: Iterable[Change], state: State) -> None:
        """End what ends with the changes of an event, which were handed on."""
        for change in changes:
            if not isinstance(change, RunTransition | StepTransition | MessageTransition) or not change.terminal:
                continue
            run_id = change.run_id
            if run_id not in self.by_run:
                continue
            is_forgotten = isinstance(change, RunTransition) and run_id not in state.runs
            if is_forgotten or (_has_ended(run_id, state) and not _is_open(run_id, state)):
                self._end(run_id)

    def after_stream(self, stream: StreamState) -> None:
        """End what ends with the runs of a stream, which is read no more."""
        if self.by_run:
            for run in stream.runs.values():
                if run.is_terminal:
                    self._end(run.id)

    def _end(self, run_id: str) -> None:
        for mailbox in list(self.by_run.get(run_id, ())):
            self._drop(mailbox, run_id)
            if not self._left[mailbox]:
                del self._left[mailbox]
                mailbox.end()

    def _drop(self, mailbox: Mailbox, run_id: str) -> None:
        """Let a mailbox not wait for a run any more."""
        self._left[mailbox].remove(run_id)
        mailboxes = self.by_run[run_id]
        del mailboxes[mailbox]
        if not mailboxes:
            del self.by_run[run_id]


def _has_ended(run_id: str, state: State) -> bool:
    run = state.runs.get(run_id)
    return run is not None and run.is_terminal


def _is_over(run_id: str, state: State, reading: Iterable[StreamState]) -> bool:
    """Return whether a run has ended, and nothing more is to come of it."""
    if not _has_ended(run_id, state):
        return False
    return not (_is_open(run_id, state) and any(run_id in stream.runs for stream in reading))


def _is_open(run_id: str, state: State) -> bool:
    """Return whether a step or message of a known run is open."""
    return state.entry(run_key(run_id, "")).is_open
