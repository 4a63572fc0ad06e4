"""What the server gives, as what a journal has."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

from stepstream.errors import JournalGap
from stepstream.journal.run_info import RunInfo
from stepstream.live.journal import Pack, RunStatus


class Mark(NamedTuple):
    """The beginning of what one writer wrote, and the place before it."""

    fence: int
    after: int
    position: int


def entries_of(answer: Any, run_id: str) -> Iterator[Pack | Mark]:
    """Yield the entries of a run.

    Raises:
        JournalGap: one is none that a writer wrote.
    """
    for entry_id, fields in answer:
        try:
            found = _entry(entry_id, fields)
        except (ValueError, LookupError) as exc:
            raise JournalGap(f"an entry of run {run_id} is none that a writer wrote") from exc
        yield found


def _entry(entry_id: bytes, fields: Sequence[bytes]) -> Pack | Mark:
    fence, _, last = entry_id.partition(b"-")
    if fields[0] == b"f":
        return Mark(int(fence), int(fields[1]), int(fields[3]))
    count = int(fields[1])
    if not 1 <= count <= int(last):
        raise ValueError
    return Pack(int(fence), int(last) - count + 1, count, fields[3])


def info_of(run_id: str, told: Sequence[bytes]) -> RunInfo | None:
    """Return what a run is, None where it is not there."""
    if not told:
        return None
    status, opened, ended, error, _, _, seen, fence, position, now = told
    return RunInfo(
        id=run_id,
        status=cast(RunStatus, status.decode()),
        position=int(position),
        opened=int(opened) / 1e6,
        ended=int(ended) / 1e6 if ended else None,
        fence=int(fence),
        error=error.decode(),
        silence=max(int(now) - int(seen), 0) / 1e6,
    )


def place_of(told: Any) -> tuple[int, int, int]:
    """Return the fence of a run's newest writer, the position before its first event, and that of the newest."""
    return (int(told[4]), int(told[5]), int(told[8])) if told else (0, 0, 0)
