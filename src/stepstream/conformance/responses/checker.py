"""The checker of a Responses stream: frames in, deviations out.

How it works: the JSON of each event is checked against the table of its fields (`shapes`), its number against those
before (`numbers`), then by the rule for its name: those about items stand in `rules` and `finals`, those about the
response itself in `lifecycle`. It folds nothing: what it says does not rest on how this library reads a stream.

One fault is reported once. An event with a fault in its fields goes no further, and its item is doubtful from then on:
what could follow is not reported. What comes again with every event, such as a lacking number, is reported once.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from stepstream.conformance.deviation import Deviation, Finding, shown
from stepstream.conformance.fields import check_shape
from stepstream.conformance.reading import read
from stepstream.conformance.responses.items import Items
from stepstream.conformance.responses.lifecycle import Lifecycle
from stepstream.conformance.responses.numbers import FINE, Numbers
from stepstream.conformance.responses.rules import RULES
from stepstream.conformance.responses.shapes import EVENTS, LIFECYCLE, OTHER_ENDS
from stepstream.errors import FrameTooLarge
from stepstream.wire.depth import is_deeper
from stepstream.wire.ending import is_unnamed_done
from stepstream.wire.events import DEFAULT_MAX_DEPTH, ErrorData, decode_event
from stepstream.wire.sse import Frame

ONCE: Final = frozenset(
    {
        "event_after_end",
        "missing_event_line",
        "replayed_event",
        "sequence_gap",
        "timestamp_while_open",
        "usage_while_open",
    }
)
"""The codes that are reported once for a stream."""

MAX_REPORTED: Final = 10_000
"""How many faults of fields and ids are remembered, so that each is reported once for its kind of event or its item."""

WITH_EVENTS: Final = frozenset({"missing_field", "null_field", "wrong_type"})
"""The codes that are reported once for a field of a kind of event: a server that leaves one out does so always."""


class ResponsesChecker:
    """Check one stream in the Responses protocol."""

    def __init__(self) -> None:
        self.sequence = 0
        """How many events came."""
        self.is_done = False
        """Whether the response ended, or `[DONE]` came."""
        self.failure: ErrorData | None = None
        """What an `error` event said that no response.failed followed."""
        self._event = ""
        self._reported: set[object] = set()
        self._items = Items()
        self._numbers = Numbers()
        self._lifecycle = Lifecycle(self._items)
        self._is_excused = False  # an event was lost, or an error came: the response need not end

    def __repr__(self) -> str:
        return (
            f"<ResponsesChecker {self.sequence:,} events, {len(self._items):,} items{' done' if self.is_done else ''}>"
        )

    def feed(self, frame: Frame) -> list[Deviation]:
        """Check the next frame and return its deviations. Whatever it holds, nothing is raised."""
        self.sequence += 1
        self._event = frame.event
        if frame.event == "done" or is_unnamed_done(frame.event, frame.data):
            self.is_done = True
            return self._told([Finding("unexpected_done", "the end of the stream after the response", "[DONE]")])
        raw, is_double = read(frame.data)
        if raw is None or is_double:
            return self._told(self._unreadable(frame))
        is_unnamed = frame.event == "message"
        kind = raw.get("type")
        findings = list(_name_findings(frame.event, kind))
        if is_unnamed and isinstance(kind, str):
            self._event = kind
        return self._told([*findings, *self._named(self._event, raw, frame)], _subject(raw))

    def reject(self, excess: FrameTooLarge) -> list[Deviation]:
        """Note that the next event was too large to be read, and return its deviation. Nothing can be read after it."""
        self.sequence += 1
        self._event, self._is_excused = "", True
        return self._told([Finding("frame_too_large", f"at most {excess.limit:,} bytes", "a longer event")])

    def finish(self, pending: Frame | None = None) -> list[Deviation]:
        """Note that the stream ended, and return the deviations in that. `pending` counts where it says the end."""
        found = self.feed(pending) if pending is not None else []
        if not (self._lifecycle.has_ended or self._is_excused):
            found += self._told(
                [Finding("missing_terminal", "an event that ends the response", "the end of the stream")]
            )
        return found

    def _unreadable(self, frame: Frame) -> Iterator[Finding]:
        self._items.doubt()
        self._is_excused = True
        if is_deeper(frame.data, DEFAULT_MAX_DEPTH):
            yield Finding("too_deep", f"JSON of at most {DEFAULT_MAX_DEPTH} levels", "a deeper one")
        else:
            yield Finding("undecodable_event", "a JSON object", f"{len(frame.data):,} bytes of something else")

    def _named(self, name: str, raw: dict[str, Any], frame: Frame) -> Iterator[Finding]:
        """Yield what is wrong with an event, by its name."""
        is_ours = name in EVENTS and name != "error"
        numbered = self._numbers.check(raw, frame.data) if is_ours or "sequence_number" in raw else FINE
        yield from numbered.findings
        if numbered.is_repeated:
            return
        if numbered.is_loss:
            self._items.doubt()
        if self._lifecycle.has_ended and name != "error":
            yield Finding("event_after_end", "nothing after the end of the response", "another event")
        elif name == "error":
            yield from self._error(raw, frame)
        elif name in EVENTS or name in OTHER_ENDS:
            yield from self._lifecycle.begin(name, self._numbers.first, is_excused=self._is_excused)
            yield from self._known(name, raw)
        if name not in EVENTS:
            yield Finding("unknown_event", "an event of the protocol", repr(shown(name)))

    def _known(self, name: str, raw: dict[str, Any]) -> Iterator[Finding]:
        if name in LIFECYCLE or name in OTHER_ENDS:
            yield from self._lifecycle.check(name, raw, has_error=self.failure is not None)
            self.is_done = self._lifecycle.has_ended
            if name == "response.failed":
                self.failure = None
            return
        wrong = list(check_shape(EVENTS[name], raw))
        yield from wrong
        if wrong:
            self._doubt(raw)
        elif name in RULES:
            yield from RULES[name](self._items, raw)

    def _doubt(self, raw: dict[str, Any]) -> None:
        """Note that an event about an item could not be used."""
        item = self._items.get(raw["output_index"]) if type(raw.get("output_index")) is int else None
        if item is None:
            self._items.doubt()
        else:
            item.is_doubtful = True

    def _error(self, raw: dict[str, Any], frame: Frame) -> Iterator[Finding]:
        self._is_excused = True
        data = decode_event(Frame("error", frame.data)).data
        if isinstance(data, ErrorData) and not self._lifecycle.has_ended:
            self.failure = data
        inner = raw.get("error")
        if isinstance(inner, dict):
            yield Finding("nested_error", "code, message and param beside type", "an object under error")
            raw = inner
        yield from check_shape(EVENTS["error"], raw)

    def _told(self, findings: Iterable[Finding], subject: str | None = None) -> list[Deviation]:
        """Return findings as deviations, without those that were reported before."""
        told = []
        for one in findings:
            identifier = one.id or subject
            key = self._key(one, identifier)
            if key is not None and key in self._reported:
                continue
            if key is not None and len(self._reported) < MAX_REPORTED:
                self._reported.add(key)
            about = None if identifier is None else shown(identifier)
            told.append(Deviation(self.sequence, shown(self._event), one.code, about, one.expected, one.got))
        return told

    def _key(self, finding: Finding, identifier: str | None) -> object:
        if finding.code in ONCE:
            return finding.code
        if finding.code in WITH_EVENTS:
            return finding.code, self._event, finding.expected
        if finding.code in ("item_id_changed", "call_id_changed", "response_id_changed"):
            return finding.code, identifier
        return (finding.code, self._event) if finding.code == "unknown_event" else None


def _name_findings(event: str, kind: object) -> Iterator[Finding]:
    if kind is None:
        yield Finding("missing_field", "type", "nothing")
    elif event == "message":
        yield Finding("missing_event_line", "a line event: that names the event", "none")
    elif kind != event:
        got = repr(shown(kind)) if isinstance(kind, str) else "another value"
        yield Finding("wrong_type", f"type {shown(event)!r} as the event's name", got)


def _subject(raw: dict[str, Any]) -> str | None:
    """Return the id of what an event is about: the item, else the response."""
    for holder, key in ((raw, "item_id"), (raw.get("item"), "id"), (raw.get("response"), "id")):
        found = holder.get(key) if isinstance(holder, dict) else None
        if isinstance(found, str):
            return found
    return None
