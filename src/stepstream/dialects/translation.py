"""Which vocabulary a stream speaks, and its frames as events. This is all that the rooms to the right know of dialects.

A dialect is a `Translator`, and a beginning of event names by which a stream tells that it speaks it. A stream that
speaks the vocabulary of the fold itself has none: its frames are decoded, and nothing stands between.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from stepstream.dialects.canonical import ANOMALY, told_again
from stepstream.dialects.responses.translator import RUN_EVENTS, ResponsesTranslator
from stepstream.dialects.responses.translator import run_told as responses_run
from stepstream.dialects.state import DialectState, RunTold
from stepstream.dialects.translator import Counter, FastKeys, Translator
from stepstream.wire.ending import decides_end
from stepstream.wire.events import DEFAULT_MAX_DEPTH, OPENING_EVENTS, ErrorData, Event, decode_event
from stepstream.wire.sse import Frame
from stepstream.wire.statuses import RUN_TERMINAL

AUTO: Final = "auto"
"""The dialect of a stream is that of its first telling event."""


DIALECTS: Final[Mapping[str, Callable[..., Translator] | None]] = {
    "assistants": None,
    "responses": ResponsesTranslator,
}
"""Every dialect by its name, and what makes its translator; None for the vocabulary of the fold."""

TELLING: Final[Mapping[str, str]] = {"thread.": "assistants", "response.": "responses"}
"""How the names of events begin that tell the dialect."""


class _Named(msgspec.Struct):
    type: str | None = None


_named: Final = msgspec.json.Decoder(_Named).decode


def check_dialect(name: str) -> str:
    """Return the name of a dialect.

    Raises:
        ValueError: there is none of that name.
    """
    if name != AUTO and name not in DIALECTS:
        known = ", ".join(map(repr, (AUTO, *DIALECTS)))
        raise ValueError(f"expected dialect as one of {known}, got {name!r}")
    return name


class Translation:
    """The frames of one stream as events. `state` is what its dialect knows beyond it."""

    def __init__(self, state: DialectState, dialect: str = AUTO, *, max_depth: int = DEFAULT_MAX_DEPTH) -> None:
        check_dialect(dialect)
        self._state = state
        self._max_depth = max_depth
        self._translator: Translator | None = None
        self._continued = ""
        self._opened: Event | None = None  # the newest event, where its object may come again under another name
        self.dialect = AUTO
        """The name of the dialect; "auto" until the stream has told."""
        self.is_plain = False
        """Whether the stream is known to speak the vocabulary of the fold."""
        if dialect != AUTO:
            self._decide(dialect)

    def __repr__(self) -> str:
        return f"<Translation {self.dialect}>"

    def feed(self, frame: Frame) -> list[Event]:
        """Return the events that a frame is: itself, decoded, or what its dialect makes of it.

        Raises:
            DecodeError: it speaks the vocabulary of the fold, and its data cannot be decoded.
        """
        if self.dialect == AUTO:
            told = dialect_of(frame)
            if told is not None:
                self._decide(told)
        return [self.decode(frame)] if self._translator is None else self._translator.feed(frame)

    def decode(self, frame: Frame) -> Event:
        """Return the event of a frame in the vocabulary of the fold.

        Raises:
            DecodeError: its data cannot be decoded.
        """
        event = decode_event(frame, max_depth=self._max_depth, before=self._opened)
        self._opened = event if event.name in OPENING_EVENTS else None
        return event if event.name != ANOMALY else told_again(event)

    def be_plain(self) -> None:
        """Take the stream for one in the vocabulary of the fold, as a journal is, whatever was said of its dialect."""
        self._decide("assistants")

    @property
    def fast_keys(self) -> FastKeys:
        """The keys that may differ between two deltas of one text."""
        return FastKeys(*self._translator.fast_keys) if self._translator is not None else FastKeys("", "", frozenset())

    @property
    def run(self) -> str:
        """The run that a stream in a dialect is about by now; empty where nothing is translated."""
        return "" if self._translator is None else self._translator.run

    @property
    def is_earlier(self) -> bool:
        """Whether a stream in a dialect is at a part of its run that was told before, and that others followed."""
        return self._translator is not None and self._translator.is_earlier

    @property
    def last_event(self) -> str:
        """The event with which a stream ends that ends well, by its name in the dialect."""
        return "done" if self._translator is None else self._translator.last_event

    @property
    def counter(self) -> Counter | None:
        """What counts deltas like the event before; None where nothing is translated."""
        return None if self._translator is None else self._translator.counter

    @property
    def held(self) -> ErrorData | None:
        """An error that came, and that the stream would end with if it ended now."""
        return None if self._translator is None else self._translator.held

    def finish(self) -> list[Event]:
        """Return the events that the end of the stream is."""
        return [] if self._translator is None else self._translator.finish()

    def continue_run(self, run_id: str) -> None:
        """Take what begins next for a part of that run, if the run waits for one, whatever the stream says."""
        self._continued = run_id
        if self._translator is not None:
            self._translator.continue_run(run_id)

    def reconnect(self) -> None:
        """Note that a new connection begins."""
        if self._translator is not None:
            self._translator.reconnect()

    def save(self) -> Any:
        """Return what belongs to the stream, as JSON."""
        return [self.dialect, None if self._translator is None else self._translator.save()]

    def load(self, saved: Any) -> None:
        """Go on with what `save` gave.

        Raises:
            ValueError: it is something else.
        """
        dialect, own = saved
        check_dialect(dialect)
        if dialect != AUTO:
            self._decide(dialect)
        if self._translator is not None and own is not None:
            self._translator.load(own)

    def _decide(self, dialect: str) -> None:
        make = DIALECTS[dialect]
        self.dialect = dialect
        self._translator = None if make is None else make(self._state, max_depth=self._max_depth)
        self.is_plain = make is None
        if self._continued:
            self.continue_run(self._continued)


def says_end(frame: Frame) -> bool:
    """Return whether a block that lacks its blank line counts all the same: it says how the stream ended."""
    if decides_end(frame):
        return True
    told = run_told(frame)
    return told is not None and told.status in RUN_TERMINAL


def run_told(frame: Frame) -> RunTold | None:
    """Return the run that a frame in a dialect carries, and how far it is; None for any other frame."""
    return responses_run(frame)


RUN_NAMES: Final = frozenset(RUN_EVENTS)
"""The events of all dialects that carry runs."""


def dialect_of(frame: Frame) -> str | None:
    """Return the dialect that an event tells by its name or, where it has none, by the type in its data."""
    name = frame.event
    if name in ("message", "error"):
        try:
            name = _named(frame.data).type or ""
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        if name == "error":  # such errors name their type as if it were an event
            return "responses"
    return next((dialect for beginning, dialect in TELLING.items() if name.startswith(beginning)), None)
