"""What a dialect is, for what reads its streams: a `Translator`, and what the fast path may know of its deltas."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from stepstream.wire.events import ErrorData, Event
from stepstream.wire.sse import Frame


class FastKeys(NamedTuple):
    """The keys in the data of a delta that may differ from one delta of a text to the next."""

    piece: str
    """That of the piece of text."""
    number: str
    """That of the event's number, which has to rise; empty where numbers say nothing."""
    padding: frozenset[str]
    """Those whose texts say nothing."""


class Counter(Protocol):
    """Counts the deltas of one text, which are events of one run."""

    def count(self, deltas: Sequence[Any]) -> bool:
        """Count deltas, each with a `number` and a `piece`. Return whether it was done: the numbers have to rise from
        the highest so far."""


class Translator(Protocol):
    """What a dialect is: it belongs to one stream, through all of its connections."""

    @property
    def fast_keys(self) -> tuple[str, str, frozenset[str]]:
        """The fields of `FastKeys`, as of now."""

    @property
    def run(self) -> str:
        """The run that the stream is about by now, whatever of it is news; empty before any."""

    @property
    def is_earlier(self) -> bool:
        """Whether the stream is at a part of its run that was told before, and that others followed."""

    @property
    def last_event(self) -> str:
        """The event with which a stream ends well."""

    @property
    def counter(self) -> Counter | None:
        """What counts deltas like the event before: who folds one without the translator counts it there."""

    def feed(self, frame: Frame) -> list[Event]:
        """Return the events that a frame is, maybe none. Whatever it holds, nothing is raised."""

    def continue_run(self, run_id: str) -> None:
        """Take what begins next for a part of that run, if the run waits for one."""

    @property
    def held(self) -> ErrorData | None:
        """An error that the stream would end with if it ended now."""

    def finish(self) -> list[Event]:
        """Return the events that the end of the stream is."""

    def reconnect(self) -> None:
        """Note that a new connection begins."""

    def save(self) -> Any:
        """Return what belongs to the stream, as JSON."""

    def load(self, saved: Any) -> None:
        """Go on with what `save` gave."""
