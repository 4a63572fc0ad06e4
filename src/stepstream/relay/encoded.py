"""Runs of a processor in one form, for an endpoint of one's own that needs no relay."""

from functools import partial

from stepstream.journal.following import INTERRUPTED_AFTER
from stepstream.journal.reading import Journal
from stepstream.live.processor import Processor
from stepstream.relay.feed import COALESCE, RunFeed
from stepstream.relay.feeds import Feeds
from stepstream.relay.forms.form import FormKind
from stepstream.relay.forms.registry import form_named
from stepstream.relay.frames import Frames, OpenFrames


def encoded(
    processor: Processor,
    form: str | FormKind,
    *,
    run_id: str,
    last_event_id: str | None = None,
    coalesce: float = COALESCE,
) -> Frames:
    """Return what a viewer of a run of `processor` is sent, as `Relay.frames` does: the processor needs a journal.

    Every call reads the run for itself. For many viewers of a run, make one `Relay`.

    Raises:
        ValueError: there is no such form.
        TypeError: the processor has no journal that can be read.
    """
    journal = processor.journal
    if not isinstance(journal, Journal):
        raise TypeError("expected a processor with a journal, such as Processor(journal=MemoryJournal())")
    feeds = Feeds(partial(RunFeed, journal, coalesce=coalesce, interrupted_after=INTERRUPTED_AFTER))
    return Frames(journal, feeds, OpenFrames(), run_id, form_named(form), last_event_id or "")
