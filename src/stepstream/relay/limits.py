"""How many viewers there may be."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class ViewerLimits:
    """At most `most` viewers, and `most_each` of one run by one client."""

    def __init__(self, most: int, most_each: int) -> None:
        self._most = most
        self._most_each = most_each
        self.count = 0
        """How many there are."""
        self._each: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def one_more(self, run_id: str, client: str) -> Iterator[bool]:
        """Give whether there is room for a viewer, who takes it until the end of the block."""
        key = run_id, client
        has_room = self.count < self._most and self._each.get(key, 0) < self._most_each
        if not has_room:
            yield False
            return
        self.count += 1
        self._each[key] += 1
        try:
            yield True
        finally:
            self.count -= 1
            self._each[key] -= 1
            if not self._each[key]:
                del self._each[key]
