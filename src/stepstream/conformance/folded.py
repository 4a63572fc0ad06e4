"""What the fold makes of a stream: its anomalies, and the check of final objects against the sum of their deltas."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from stepstream.conformance.deviation import OURS, Finding, shown
from stepstream.conformance.texts import check_texts
from stepstream.conformance.tracks import Track, Tracks
from stepstream.fold.accumulator import Accumulator
from stepstream.fold.anomalies import Anomaly
from stepstream.wire.sse import Frame

ONCE: Final = frozenset({"orphan_overflow"})
"""Anomalies of which only the first is reported: the others go back to it."""


class Folded:
    """The fold of one stream."""

    def __init__(self) -> None:
        self._accumulator = Accumulator()
        self._has_overflown = False

    def apply(self, frame: Frame) -> list[Anomaly]:
        """Fold the next frame, and return the anomalies."""
        found = [change for change in self._accumulator.apply_frame(frame) if isinstance(change, Anomaly)]
        return [one for one in found if one.code not in OURS and not self._is_known(one)]

    def _is_known(self, anomaly: Anomaly) -> bool:
        """Return whether an anomaly follows from one that was reported, and note it."""
        if anomaly.code not in ONCE:
            return False
        is_known, self._has_overflown = self._has_overflown, True
        return is_known

    def snapshot(self, track: Track) -> dict[str, Any]:
        """Return what deltas and objects added up to as JSON, empty where nothing is known."""
        objects: Mapping[str, Any] = self._accumulator.steps if track.kind == "step" else self._accumulator.messages
        found = objects.get(track.id)
        return {} if found is None else msgspec.to_builtins(found)


def check_final(before: Mapping[str, Any], raw: Mapping[str, Any]) -> list[Finding]:
    """Return where a terminal object contradicts what was known before it. Only a completed one must hold all of it."""
    found = list(check_texts(before, raw))
    return found if raw.get("status") == "completed" else [one for one in found if one.code != "entry_missing"]


def check_asked(folded: Folded, tracks: Tracks, raw: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what a run asks for that no open step of it has, or has otherwise.

    Nothing is yielded for a run that began before this stream, or of which an event was lost.
    """
    asked = asked_for(raw)
    run = tracks.get("run", raw["id"])
    if not asked or run is None or not run.has_created or not tracks.is_complete("step"):
        return
    steps = [track for track in tracks.of_run(raw["id"]) if track.kind == "step"]
    if any(step.is_doubtful for step in steps):
        return
    calls = [call for step in steps for call in _calls(folded.snapshot(step))]
    known = {call["id"]: call for call in calls if isinstance(call.get("id"), str)}
    for position, call in enumerate(asked):
        own = known.get(call["id"])
        if own is None:
            yield Finding("unknown_required_call", "a call that an open step has", repr(shown(call["id"])))
        else:
            yield from check_texts(own, call, ("required_action", "submit_tool_outputs", "tool_calls", position))


def asked_for(raw: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the calls whose outputs a run waits for, those with an id."""
    action = raw.get("required_action")
    wanted = action.get("submit_tool_outputs") if isinstance(action, dict) else None
    return [call for call in _list(wanted, "tool_calls") if isinstance(call.get("id"), str)]


def _calls(step: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return _list(step.get("step_details"), "tool_calls")


def _list(holder: object, name: str) -> list[Mapping[str, Any]]:
    """Return the objects in a list of `holder`, where that is an object."""
    found = holder.get(name) if isinstance(holder, dict) else None
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list | tuple) else []
