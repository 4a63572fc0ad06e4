"""Open runs of which nothing is heard: when their streams ended, and which of them are to be forgotten."""


class IdleRuns:
    """The keys of open runs that no stream reads, the one that was heard of last at the end.

    Those that were restored have no time yet: they count as heard of when they are looked at first.
    """

    def __init__(self, forget_after: float | None) -> None:
        self._forget_after = forget_after
        self._since: dict[str, float | None] = {}

    def __len__(self) -> int:
        return len(self._since)

    def add(self, key: str, now: float | None) -> None:
        """Note that a run was heard of, and is read no more."""
        self._since.pop(key, None)
        if self._forget_after is not None:
            self._since[key] = now

    def remove(self, key: str) -> None:
        """Forget that a run is open."""
        self._since.pop(key, None)

    def due(self, now: float | None) -> list[str]:
        """Return the runs of which nothing was heard for too long, and leave them out from now on."""
        found: list[str] = []
        if now is None or self._forget_after is None:
            return found
        for key, since in self._since.items():
            if since is None:
                self._since[key] = now
            elif now - since < self._forget_after:
                break
            else:
                found.append(key)
        for key in found:
            del self._since[key]
        return found
