"""What a writer asks of a server for one run."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from stepstream.journal.redis.server import Command
from stepstream.live.journal import Pack


class Bounds(NamedTuple):
    """How much of a run is kept, and how long."""

    run_bytes: int
    keep: int
    """Milliseconds after its end."""
    keep_open: int
    """Milliseconds after the last sign of life of one that has not ended."""


class Step(NamedTuple):
    """A command for a run."""

    command: Command
    done: Callable[[Any], None]
    """Is to be called with the answer, once it is acknowledged."""
    kind: str = ""
    """What readers are told: "e" of events, "s" of what the run is now, "" nothing."""


def entries(fence: int, packs: Iterable[Pack]) -> list[Any]:
    """Return packs as what scripts add: for each the id, the number of events, and these."""
    return [part for pack in packs for part in (f"{fence}-{pack.last}", pack.count, pack.data)]
