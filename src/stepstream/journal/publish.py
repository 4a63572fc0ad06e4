"""A stream kept for others, without subscribers of one's own."""

from stepstream.fold.outcome import Outcome
from stepstream.live.journal import WritableJournal
from stepstream.live.processor import Processor
from stepstream.live.source import Source


async def publish(source: Source, journal: WritableJournal) -> Outcome:
    """Read `source` to its end, keep its events in `journal`, and return how it ended.

    Raises:
        StepStreamError: as `Processor.run` does.
    """
    async with Processor(journal=journal) as processor:
        return await processor.run(source)
