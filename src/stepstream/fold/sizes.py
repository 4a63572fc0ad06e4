"""How much the runs of a stream hold, and their bound.

Theory. Deltas add no more to a run than the bytes that bring them. So a run holds at most `limit` as long as it held
half of that when it was looked at last, and no more than the other half has come since. Before more than that comes,
all open runs of the stream are looked at, which costs next to nothing for a byte. One that holds more than half is
*counted* from then on: its deltas take the plain route, each is added up before it is applied, and those that exceed
the limit are dropped. So usual runs pay one addition for a chunk, and huge ones the slower route.

What would break it: a run that grows in several streams at once, each of which brings half.
"""

from collections.abc import Iterable
from typing import Any, Final

from stepstream.fold.builder import SnapshotBuilder
from stepstream.fold.entry import RunEntry
from stepstream.fold.tree import Indexed, Node, TextBuffer

DEFAULT_MAX_RUN_BYTES: Final = 256 * 2**20


def size_of(value: Any) -> int:
    """Return how many characters the texts in a tree have, those of plain JSON included."""
    if type(value) is TextBuffer:
        return sum(map(len, value))
    if isinstance(value, str):
        return len(value)
    if isinstance(value, (Node, Indexed, dict)):
        return sum(map(size_of, value.values()))
    return sum(map(size_of, value)) if isinstance(value, list | tuple) else 0


def growth(known: Any, delta: Any) -> int:
    """Return how many characters a tree has more once a delta is added to it: texts are appended, all else replaced."""
    if type(delta) is TextBuffer:
        return size_of(delta)
    entries: Iterable[tuple[Any, Any]]
    if isinstance(delta, Indexed):
        entries = delta.every or delta.items()
    elif isinstance(delta, Node):
        entries = delta.items()
    else:
        return max(0, size_of(delta) - size_of(known))
    tree = known if isinstance(known, dict) else {}
    return sum(growth(tree.get(key), value) for key, value in entries)


class RunSizes:
    """The sizes of what one stream adds to. `unchecked` is how many bytes came since they were looked at."""

    __slots__ = ("_limit", "half", "unchecked")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.half = limit // 2
        self.unchecked = 0

    def check(self, entries: Iterable[RunEntry], coming: int = 0) -> None:
        """Look at the open runs that the stream touched, and count those that hold more than half, with what comes."""
        self.unchecked = 0
        for entry in entries:
            if not entry.is_counted:
                entry.size = sum([size_of(one.grown) for one in entry.objects if one.grown is not None])
                if entry.size + coming > self.half:
                    entry.count()

    def end(self, entries: Iterable[RunEntry]) -> None:
        """Note that no more comes: what did, may be in any of the runs."""
        grown = [entry for entry in entries if not entry.is_counted]
        for entry in grown:
            entry.size += self.unchecked
        self.check([entry for entry in grown if entry.size > self.half])

    def exceeds(self, builder: SnapshotBuilder[Any], delta: Node) -> bool:
        """Add up a delta of a run that is counted. Return whether that is more than it may hold."""
        entry: RunEntry = builder.counted_in
        size = entry.size + growth(builder.tree, delta)
        if size > self._limit:
            return True
        entry.size = size
        return False
