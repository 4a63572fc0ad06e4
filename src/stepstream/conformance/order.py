"""The check of an object against the events before it: what may follow what, and what may not change."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

from stepstream.conformance.deviation import Finding, shown
from stepstream.conformance.tracks import Track, Tracks, kept
from stepstream.conformance.values import NEXT, ends, is_number, status_agrees
from stepstream.wire.events import IMPLIED_STATUS

Raw: TypeAlias = Mapping[str, Any]

FIXED: Final[Mapping[str, tuple[str, ...]]] = {
    "run": ("thread_id", "assistant_id", "created_at"),
    "step": ("run_id", "thread_id", "assistant_id", "created_at", "type"),
    "message": ("run_id", "thread_id", "assistant_id", "created_at"),
}
"""What never changes during the life of an object. Of each the type is checked."""

INHERITED: Final = ("thread_id", "assistant_id")
"""What a step or message has in common with its run."""

FORWARD: Final = ("started_at", "completed_at", "failed_at", "cancelled_at", "incomplete_at")
"""Times that later events may not set back."""


def check_order(tracks: Tracks, track: Track, name: str, raw: Raw) -> list[Finding]:
    """Return what is wrong with an object after the events before it, and remember it."""
    findings = list(_later(track, name, raw) if track.is_seen else _first(tracks, track, name, raw))
    illegal = list(_transition(track, name, raw))
    _remember(track, name, raw)
    if illegal:
        track.status = None  # which of the two was wrong is not known, so the next one is compared with none
        findings += illegal
    if track.kind == "run" and track.has_ended:
        findings += _left_open(tracks, track.id)
    return findings


def _first(tracks: Tracks, track: Track, name: str, raw: Raw) -> Iterator[Finding]:
    run_id = raw.get("run_id")
    run = tracks.get("run", run_id) if track.kind != "run" and isinstance(run_id, str) else None
    if run is None:
        return
    if run.has_ended:
        yield Finding("event_after_run", f"no new {track.kind} once its run ended", "one")
    elif run.has_created and not (name.endswith(".created") or track.is_doubtful) and tracks.is_complete(track.kind):
        yield Finding("missing_created", f"thread.{_SPELT[track.kind]}.created first", "this event")
    for field in INHERITED:
        own, of_run = raw.get(field), run.named(field)
        if isinstance(own, str) and of_run is not None and kept(own) != of_run:
            yield Finding("parent_mismatch", f"{field} {shown(of_run)!r} as of its run", repr(shown(own)))


_SPELT: Final = {"step": "run.step", "message": "message"}


def _later(track: Track, name: str, raw: Raw) -> Iterator[Finding]:
    if track.kind == "run" and name.endswith(".created") and track.has_created:
        yield Finding("duplicate_created", "one created event for the run", "another")
    if track.has_ended:
        yield Finding("duplicate_terminal", f"one terminal event for the {track.kind}", "another")
    has_changed = False
    for field in FIXED[track.kind]:
        before, now = track.fixed.get(field), kept(raw.get(field))
        if before is not None and now is not None and now != before:
            has_changed = True
            yield Finding("id_changed", f"{field} {_value(before)} as before", _value(now))
    for field in () if has_changed else FORWARD:
        time = raw.get(field)
        if is_number(time) and time < track.times.get(field, time):
            yield Finding("time_backwards", f"{field} of at least {track.times[field]} as before", str(time))
            return


def _value(value: object) -> str:
    return repr(shown(value)) if isinstance(value, str) else str(value)


def _transition(track: Track, name: str, raw: Raw) -> Iterator[Finding]:
    """Yield that the status may not follow the one before. After the end, the fold reports it (`status_regression`)."""
    status, before = raw.get("status"), track.status
    if track.has_ended or before is None or status not in NEXT[track.kind] or not status_agrees(name, raw):
        return
    if status != before and status not in NEXT[track.kind][before]:
        following = ", ".join(sorted(NEXT[track.kind][before]))
        yield Finding("illegal_transition", f"one of {following} after {before!r}", f"status {status!r}")


def _remember(track: Track, name: str, raw: Raw) -> None:
    track.is_seen = True
    track.has_created |= name.endswith(".created")
    for field in FIXED[track.kind]:
        value = raw.get(field)
        if isinstance(value, str | int | float):
            track.fixed.setdefault(field, kept(value))
    track.times.update({field: raw[field] for field in FORWARD if is_number(raw.get(field))})
    status = raw.get("status") or IMPLIED_STATUS[name]
    if not track.has_ended:
        track.status = status if status in NEXT[track.kind] and status_agrees(name, raw) else None
        if track.status is None and not ends(track.kind, name, raw):
            track.doubt()
    track.has_ended |= ends(track.kind, name, raw)


def _left_open(tracks: Tracks, run_id: str) -> Iterator[Finding]:
    """Yield the steps and messages that are open when their run ends, each once: it is doubtful from then on."""
    for track in tracks.of_run(run_id):
        if not track.is_doubtful:
            track.doubt()
            yield Finding(f"{track.kind}_left_open", f"the {track.kind} ended before its run", "it open", id=track.id)
