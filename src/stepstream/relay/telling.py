"""One run told in one form: events in, batches of bytes out."""

from stepstream.fold.run_state import RunState
from stepstream.journal.run_info import Cursor
from stepstream.relay.batch import Batch, Mark, encoded_frames
from stepstream.relay.forms.form import FormKind
from stepstream.relay.merging import Merger, Told


class Telling:
    """A form that has been told a run up to a position, and goes on from there."""

    def __init__(self, kind: FormKind, state: RunState | None, coalesce: float) -> None:
        self._kind = kind
        self._form = kind.make()
        self.beginning = self._form.begin(state)
        """What a viewer gets who begins here."""
        self._merger = Merger(coalesce if kind.merges else 0)
        self._parts: list[bytes] = []
        self._marks: list[Mark] = []
        self._size = self._frames = 0

    @property
    def due_at(self) -> float | None:
        """When deltas that are held back should go; None where there are none."""
        return self._merger.due_at

    def tell(self, told: Told, now: float) -> None:
        """Take the next event."""
        for one in self._merger.add(told, now):
            self._put(one)

    def flush(self, now: float) -> None:
        """Let go of the deltas that are held back."""
        for one in self._merger.flush(now):
            self._put(one)

    def cut(self) -> Batch | None:
        """Return what was told since the last time; None where that is nothing."""
        if not self._marks:
            return None
        batch = Batch(b"".join(self._parts), self._frames, tuple(self._marks))
        self._parts, self._marks = [], []
        self._size = self._frames = 0
        return batch

    def interruption(self, reason: str) -> bytes:
        """Return what ends the stream of a viewer who has had all that was told."""
        return encoded_frames(self._form.interrupt(reason))

    def _put(self, told: Told) -> None:
        frames = self._form.feed(told.event, told.changes)
        cursor = Cursor(told.fence, told.position)
        if frames:
            part = encoded_frames(frames, cursor if self._kind.has_cursor else None)
            self._parts.append(part)
            self._size += len(part)
            self._frames += len(frames)
        self._marks.append(Mark(cursor, self._size, self._frames))
