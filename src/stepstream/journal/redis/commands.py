"""What a writer asks of a server for one run."""

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from stepstream.journal.redis.server import Command
from stepstream.live.journal import Pack

MAX_BATCH: Final = 2**18
"""How many bytes of one run are sent at once, unless one pack is larger: a server does nothing else meanwhile."""


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


def batch(queue: Iterable[Pack]) -> list[Pack]:
    """Return the first packs, as many as are sent at once."""
    packs, size = list[Pack](), 0
    for pack in queue:
        if packs and size + pack.size > MAX_BATCH:
            break
        packs.append(pack)
        size += pack.size
    return packs
