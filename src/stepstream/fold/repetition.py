"""A run that is told again: folded apart, until that is as far as what is known of it.

Theory. Who goes on with a run that another process has published gets it from the server once more: its stream from the
beginning, or what became of it. Nothing in the words of the fold says which of it is known: a delta has no number, and
a status may be taken several times. So it is translated as if it were new, and folded into a state of its own, which
begins with nothing, or with the checkpoint from which its dialect goes on. As long as this has less than is known,
nothing is told. Once it has all of that

    known    run in_progress, message "The harb"
    told     run in_progress, message "The ha"      less: wait
    told     run in_progress, message "The harb"    as far, with as many events: the next event is news
    told     run in_progress, message "The harbour" further: a server cuts texts otherwise when it tells them again

what it has beyond is told as a server's answer is (`reconcile`), and every event after that as it comes.

Why it holds. Where the server tells the same events, it is as far with the same number of them, to the event. Where it
tells others, statuses and the lengths of texts say how far it is; and where the run ends or waits, and is known to have
come no further than that, it is. What would break it: a server that gives the same items other ids. Then the response
is told when it has ended, and its items beside those that are known.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from stepstream.fold.accumulator import Accumulator
from stepstream.fold.builder import SnapshotBuilder
from stepstream.fold.checkpoint import load_run
from stepstream.fold.entry import RunEntry
from stepstream.fold.lifecycle import SETTLED_RUN
from stepstream.fold.reconcile import ServerAnswer, missed_events
from stepstream.fold.state import State
from stepstream.fold.tree import Indexed, Node, TextBuffer
from stepstream.wire.deltas import MessageDelta, RunStepDelta
from stepstream.wire.events import Event
from stepstream.wire.objects import Run
from stepstream.wire.sse import Frame

MAX_UNLOOKED: Final = 64
"""After how many deltas it is looked at how far they are."""

OBJECTS_A_LOOK: Final = 8
"""For so many steps and messages one event passes until all are looked at: so it costs the same in a long run."""

_STAGES: Final[Mapping[str, int]] = {"requires_action": 0, "queued": 1, "in_progress": 2}
"""How far a run is in a round, which begins where it waits; any other status ends it."""


class Repetition:
    """What is told again of the run of `known`, of which `count` events are not in `checkpoint`."""

    def __init__(self, known: RunEntry, count: int, checkpoint: bytes | None = None) -> None:
        self._known = known
        self._left = count  # the events until there are as many as are known
        self._unlooked = 0  # the events since it was looked at how far they are
        self._fold = Accumulator()
        self._fold.stream.wanted = frozenset()
        if checkpoint is not None:
            load_run(self._fold.stream, checkpoint)
        self._told = self._fold.state.entry(known.key)
        self._extents = {_name(one): _extent(one.tree) for one in known.objects}  # of what is known
        self._is_ahead = False

    def __repr__(self) -> str:
        return f"<Repetition of {self._known.key}: {self._left:,} events left>"

    @property
    def key(self) -> str:
        """What its run is kept with."""
        return self._known.key

    @property
    def status(self) -> str | None:
        """The status of the run in what was told again."""
        return None if self._told.run is None else self._told.run.status or None

    @property
    def is_settled(self) -> bool:
        """Whether what is told again has ended, or waits for action."""
        return self.status in SETTLED_RUN

    def pass_over(self, count: int) -> None:
        """Count events that are of no object."""
        self._left -= count

    def fold(self, event: Event) -> bool:
        """Fold what is told next. Return whether all that is known was told."""
        self._left -= 1
        self._fold.apply(event)
        self._told = self._fold.state.entry(self._known.key)
        self._unlooked += 1
        is_delta = type(event.data) in (MessageDelta, RunStepDelta)
        pause = max(MAX_UNLOOKED if is_delta else 1, len(self._extents) // OBJECTS_A_LOOK)
        if self._left and self._unlooked < pause:
            return False
        self._unlooked = 0
        return self._is_as_far()

    def end(self) -> bool:
        """Return the same, now that its stream has ended: where it ended well, nothing of it comes any more."""
        self._is_ahead = True
        return self.is_settled and _progress(self._told) >= _progress(self._known)

    def missed(self, state: State) -> Iterator[Frame]:
        """Yield the events that bring `state` to what was told. Each must be applied before the next is asked for."""
        if self._is_ahead and self._told.run is not None:
            objects = self._told.steps.values(), self._told.messages.values()
            steps, messages = (tuple(msgspec.json.encode(one.snapshot()) for one in some) for some in objects)
            yield from missed_events(state, ServerAnswer(msgspec.json.encode(self._told.run), steps, messages))

    def _is_as_far(self) -> bool:
        known, told = _progress(self._known), _progress(self._told)
        self._is_ahead = told > known
        if told != known:
            return self._is_ahead
        own = {_name(one): one for one in self._told.objects}
        lacking = [one for one in self._known.objects if self._is_less(own.pop(_name(one), None), one)]
        self._is_ahead = self._is_ahead or bool(own)
        return not lacking and (self._is_ahead or self._left <= 0)

    def _is_less(self, again: SnapshotBuilder[Any] | None, known: SnapshotBuilder[Any]) -> bool:
        """Return whether less of an object was told again than is known, and note where it is more."""
        if again is None:
            return True
        if again.ended != known.ended:
            self._is_ahead = self._is_ahead or again.ended
            return known.ended
        extent, before = _extent(again.tree), self._extents[_name(known)]
        self._is_ahead = self._is_ahead or extent > before
        return extent < before


def _name(builder: SnapshotBuilder[Any]) -> tuple[type[Any], str]:
    return type(builder.base), builder.base.id


def _progress(entry: RunEntry) -> tuple[int, int]:
    """Return how far a run is: how often it waited for action, and its stage after that."""
    run: Run | None = entry.run
    if run is None:
        return 0, 0
    rounds = sum(count for what, count in entry.taken.counts.items() if what.startswith("requires_action"))
    return rounds, _STAGES.get(run.status or "", len(_STAGES))


def _extent(value: Any) -> int:
    """Return how much a tree has of what grows: the characters of its texts, and the entries of its lists."""
    if type(value) is TextBuffer:
        return sum(map(len, value))
    if type(value) not in (Node, Indexed):
        return 0
    return (len(value) if type(value) is Indexed else 0) + sum(map(_extent, value.values()))
