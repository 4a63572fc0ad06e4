"""The checker: frames of one stream in, deviations out.

How it works: the JSON of each event is checked against the tables of fields (`fields`, `shapes`), against its own
status (`values`) and against the events before (`order`, `indexes`). An accumulator folds the same events; its
anomalies are deviations too (`anomalies`), and its snapshots are what final texts are compared with (`folded`).
One fault is reported once. That rests on three rules: what has a wrong type is taken out of an object before it is
folded, so that the fold does not refuse all of it; of a fault that a check and the fold both found, one report is kept;
and where an event was lost or rejected, its object is doubtful: what could follow from the loss is not reported. A step
whose created event is no JSON is one deviation, not one more for each of its deltas that then come without a step.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgspec

from stepstream.conformance.anomalies import CONSEQUENCES, REJECTIONS, REPEATS, deviations_of, unique
from stepstream.conformance.deviation import Deviation, Finding, shown
from stepstream.conformance.fields import check_error, check_fields, repair
from stepstream.conformance.folded import Folded, check_asked, check_final
from stepstream.conformance.indexes import check_indexes, learn_counts
from stepstream.conformance.order import check_order
from stepstream.conformance.reading import read
from stepstream.conformance.shapes import KIND_OF, KINDS, Kind
from stepstream.conformance.tracks import MAX_TRACKED, Track, Tracks
from stepstream.conformance.values import check_by_status, check_status, check_values, ends
from stepstream.errors import FrameTooLarge
from stepstream.fold.anomalies import Anomaly
from stepstream.wire.events import ErrorData, decode_event
from stepstream.wire.sse import Frame

Raw: TypeAlias = Mapping[str, Any]

Seen: TypeAlias = tuple[list[Finding], list[Anomaly]]
"""What is wrong with one event: by the rules here, and by those of the fold."""

DONE: Final = b"[DONE]"
DOUBLE: Final = Finding("double_encoded", "an object", "a string that holds one")


class Checker:
    """Check one stream. Of the newest `max_tracked` objects it keeps what the rules need; texts are in the fold."""

    def __init__(self, *, max_tracked: int = MAX_TRACKED) -> None:
        self.sequence = 0
        """How many events came."""
        self.is_done = False
        """Whether `done` came."""
        self.failure: ErrorData | None = None
        """What the first `error` event said."""
        self._is_excused = False  # after an error event, or where the rest is not read, no done has to come
        self._event = ""
        self._once_reported: set[str] = set()
        self._tracks = Tracks(max_tracked)
        self._folded = Folded()

    def __repr__(self) -> str:
        return f"<Checker {self.sequence:,} events, {len(self._tracks):,} objects{' done' if self.is_done else ''}>"

    def feed(self, frame: Frame) -> list[Deviation]:
        """Check the next frame and return its deviations. Whatever it holds, nothing is raised."""
        self.sequence += 1
        self._event = frame.event
        if self.is_done:
            found = Finding("event_after_done", "the end of the stream after done", "another event")
            return self._once([found])
        if frame.event == "done":
            return self._reported(self._done(frame))
        if frame.event == "error":
            return self._reported(self._error(frame))
        kind = KINDS.get(frame.event)
        if kind is None:
            return self._unknown(frame)
        return self._known(frame, kind)

    def reject(self, excess: FrameTooLarge) -> list[Deviation]:
        """Note that the next event was too large to be read, and return its deviation. Nothing can be read after it."""
        self.sequence += 1
        self._event, self._is_excused = "", True
        return self._reported([Finding("frame_too_large", f"at most {excess.limit:,} bytes", "a longer event")])

    def finish(self, pending: Frame | None = None) -> list[Deviation]:
        """Note that the stream ended, and return the deviations in that.

        `pending` is the block that lacked its blank line. A `done` or `error` counts; any other is no event.
        """
        deviations = self.feed(pending) if pending is not None and pending.event in ("done", "error") else []
        if not self.is_done and not self._is_excused:
            deviations += self._reported([Finding("missing_done", "done at the end of the stream", "its end")])
        return deviations

    def _reported(self, findings: list[Finding], identifier: str | None = None) -> list[Deviation]:
        event = shown(self._event)
        return [
            Deviation(self.sequence, event, one.code, _shown_id(one.id or identifier), one.expected, one.got)
            for one in findings
        ]

    def _once(self, findings: list[Finding]) -> list[Deviation]:
        """Return findings as deviations, those whose code was not reported before."""
        new = [one for one in findings if one.code not in self._once_reported]
        self._once_reported.update(one.code for one in new)
        return self._reported(new)

    def _done(self, frame: Frame) -> list[Finding]:
        self.is_done = True
        findings = [] if frame.data == DONE else [Finding("bad_done", "the data [DONE]", f"{len(frame.data):,} bytes")]
        if not self._is_excused:
            if self.sequence == 1:
                findings.append(Finding("empty_stream", "events of a run before done", "none"))
            expected = "a run that ended or waits for action before done"
            findings += [Finding("run_left_open", expected, "it open", id=run.id) for run in self._tracks.open_runs()]
        return findings

    def _error(self, frame: Frame) -> list[Finding]:
        self._is_excused = True
        self._folded.apply(frame)  # the fold counts it, so that the numbers of its anomalies stay those of the events
        data = decode_event(frame).data
        if self.failure is None and isinstance(data, ErrorData):
            self.failure = data
        raw = read(frame.data).raw
        return [Finding("undecodable_event", "an object", "other data")] if raw is None else list(check_error(raw))

    def _unknown(self, frame: Frame) -> list[Deviation]:
        """Report an event of no known name. It may be a misspelt update of its object, which is doubtful then."""
        anomalies = self._folded.apply(frame)
        raw = read(frame.data).raw or {}
        kind, identifier = raw.get("object"), raw.get("id")
        if isinstance(kind, str) and kind in KIND_OF and isinstance(identifier, str):
            self._tracks.follow(KIND_OF[kind], identifier).doubt()
        got = "none: there is no line event:" if frame.event == "message" else repr(shown(frame.event))
        finding = Finding("unknown_event", "an event of the protocol", got)
        return [*self._reported([finding]), *deviations_of(anomalies)]

    def _known(self, frame: Frame, kind: Kind) -> list[Deviation]:
        reading = read(frame.data)
        raw = reading.raw
        if raw is None:
            self._tracks.doubt(kind.name)
            return deviations_of(self._folded.apply(frame))
        findings = [DOUBLE] if reading.is_double else []
        findings += check_fields(kind, raw)
        if not kind.is_delta and repair(raw, findings):
            frame = Frame(frame.event, msgspec.json.encode(raw), frame.id)
        identifier = raw.get("id")
        if not isinstance(identifier, str):
            identifier = None
            self._tracks.doubt(kind.name)
            findings, anomalies = unique(findings, self._folded.apply(frame))
        elif kind.is_delta:
            findings, anomalies = self._delta(frame, kind, raw, findings)
        else:
            findings, anomalies = self._full(frame, kind, raw, findings)
        return [*self._reported(findings, identifier), *deviations_of(anomalies)]

    def _delta(self, frame: Frame, kind: Kind, raw: Raw, findings: list[Finding]) -> Seen:
        """Return what is wrong with a delta."""
        anomalies = self._folded.apply(frame)
        findings, anomalies = unique(findings, anomalies)
        track = self._tracks.get(kind.name, raw["id"])
        if track is None or track.is_doubtful:
            self._tracks.follow(kind.name, raw["id"]).doubt()
            if track is not None or not self._tracks.is_complete(kind.name):
                anomalies = [one for one in anomalies if one.code not in CONSEQUENCES]
        elif any(one.code in REJECTIONS for one in anomalies):
            track.doubt()
        elif track.has_created and not track.has_ended:
            gaps = list(check_indexes(track, raw.get("delta")))
            if gaps:
                track.doubt()  # the places in the final lists are not those of the deltas
            findings += gaps
        return findings, anomalies

    def _full(self, frame: Frame, kind: Kind, raw: Raw, findings: list[Finding]) -> Seen:
        """Return what is wrong with a full object."""
        name, event = kind.name, frame.event
        findings += check_values(raw)
        if name == "thread":
            return unique(findings, self._folded.apply(frame))
        findings += check_status(name, event, raw)
        findings += check_by_status(name, event, raw)
        track = self._tracks.follow(name, raw["id"])
        is_doubtful, before = track.is_doubtful, self._before(track, event, raw)
        findings, anomalies = unique(findings, self._folded.apply(frame))
        if any(one.code == "undecodable_event" for one in anomalies):
            track.doubt()
        if any(one.code in REPEATS for one in anomalies):
            return findings, anomalies
        findings += check_order(self._tracks, track, event, raw)
        if name == "run":
            findings += check_asked(self._folded, self._tracks, raw)
        else:
            learn_counts(track, raw)
            findings += check_final(before, raw)
        return findings, [one for one in anomalies if not (is_doubtful and one.code in CONSEQUENCES)]

    def _before(self, track: Track, event: str, raw: Raw) -> Raw:
        """Return what a terminal object of a step or message must go with; empty for all else."""
        is_final = track.is_seen and not track.has_ended and ends(track.kind, event, raw)
        return self._folded.snapshot(track) if is_final and track.kind != "run" and not track.is_doubtful else {}


def _shown_id(identifier: str | None) -> str | None:
    return None if identifier is None else shown(identifier)
