"""Streams that are published and followed, and what each side folds."""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from stepstream import MemoryJournal, Outcome, Processor, StepStreamError
from stepstream.fold.accumulator import Accumulator
from stepstream.fold.changes import Change
from stepstream.fold.encoding import COLUMNS
from stepstream.journal import Journal
from stepstream.live.journal import Pack
from stepstream.live.source import ItemDecoder

ALL: Any = tuple(COLUMNS)
NAMED = frozenset(one for one in COLUMNS if one.__name__.endswith(("Transition", "Started", "Finished")))
"""The classes of changes whose keys say what changed."""


class Told(NamedTuple):
    """What a processor told of a stream, and how that ended."""

    changes: list[Change]
    outcome: Outcome | None
    error: StepStreamError | None


async def chunks_of(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def told_of(source: Any, processor: Processor | None = None, **options: Any) -> Told:
    """Return what is told of a source. Publishing goes by `options`."""
    changes: list[Change] = []

    async def note(change: Change) -> None:
        changes.append(change)

    async with processor or Processor() as one:
        one.add(ALL, note)
        try:
            return Told(changes, await one.run(source, **options), None)
        except StepStreamError as exc:
            return Told(changes, exc.outcome, exc)


def alike(changes: Iterable[Change]) -> list[tuple[Change, str]]:
    """Return changes without what says where they were read, each with its key where all readers have the same."""
    return [
        (replace(one, sequence=0, event_id="", received_at=None), one.key if type(one) in NAMED else "")
        for one in changes
    ]


async def run_ids(journal: Journal) -> list[str]:
    return [info.id async for info in journal.runs()]


async def packs(journal: Journal, run_id: str) -> list[Pack]:
    """Return what a journal holds of a run, which has no checkpoint."""
    return [held async for held in journal.read(run_id) if isinstance(held, Pack)]


def folded_by_event(data: Sequence[Pack]) -> list[list[Change]]:
    """Return what each event of a run does, folded by the rules that all go by."""
    accumulator, decoder = Accumulator(), ItemDecoder()
    accumulator.translation.be_plain()
    return [accumulator.apply_frame(frame) for pack in data for frame in decoder.feed(pack.data)]


async def published(chunks: Iterable[bytes], **options: Any) -> tuple[MemoryJournal, Told]:
    """Return the journal of a stream, and what was told while it was published. No run of it waits any more."""
    journal = MemoryJournal()
    told = await told_of(chunks_of(chunks), Processor(journal=journal, **options))
    for info in [one async for one in journal.runs()]:
        if info.status == "waiting":
            await journal.append(await journal.open(info.id, writer="another"), status="interrupted")
    return journal, told
