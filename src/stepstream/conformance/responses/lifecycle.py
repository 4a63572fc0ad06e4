"""The check of the response itself: how it begins, what it says of itself, and how it ends."""

from collections.abc import Iterator
from typing import Any

from stepstream.conformance.deviation import Finding, described, shown
from stepstream.conformance.fields import check_shape
from stepstream.conformance.responses.finals import check_output
from stepstream.conformance.responses.items import Items
from stepstream.conformance.responses.shapes import EVENTS, LIFECYCLE, OPENING, STATUSES
from stepstream.conformance.values import is_number


class Lifecycle:
    """The response of a stream, from the first event to its end."""

    def __init__(self, items: Items) -> None:
        self._items = items
        self.has_ended = False
        self._has_created = self._is_resumed = False
        self._id: str | None = None
        self._status = ""

    def begin(self, name: str, number: int | None, *, is_excused: bool) -> Iterator[Finding]:
        """Yield that the stream begins otherwise than it must. `number` is that of its first event.

        One whose first number is above 0 resumes another, and says nothing of what that had said.
        """
        if self._has_created or self._is_resumed or name == "response.created":
            return
        self._is_resumed = True
        self._items.has_lost = self._items.is_excused = True
        if not (number or is_excused):
            yield Finding("missing_created", "response.created first", shown(name))

    def check(self, name: str, raw: dict[str, Any], *, has_error: bool) -> Iterator[Finding]:
        """Yield what is wrong with an event that carries the response. `has_error`: an error event came before."""
        if name == "response.created" and self._has_created:
            yield Finding("duplicate_created", "one response.created", "another")
            return
        self._has_created |= name == "response.created"
        wrong = list(check_shape(EVENTS.get(name, EVENTS["response.failed"]), raw))
        yield from wrong
        self.has_ended = name not in OPENING
        response = raw.get("response")
        if isinstance(response, dict):
            yield from self._response(name, response)
            if self.has_ended:
                yield from self._end(response, is_sound=not wrong, has_error=has_error)

    def _response(self, name: str, response: dict[str, Any]) -> Iterator[Finding]:
        """Yield what is wrong with a response whatever the event."""
        constant, identifier, status = response.get("object"), response.get("id"), response.get("status")
        if isinstance(constant, str) and constant != "response":
            yield Finding("wrong_object", "object 'response'", repr(shown(constant)))
        if isinstance(identifier, str):
            if self._id not in (None, identifier):
                yield Finding("response_id_changed", "the id of the response as before", "another", id=self._id)
            self._id = self._id or identifier
        if isinstance(status, str):
            yield from self._status_findings(name, status)
        yield from _value_findings(name, response)

    def _status_findings(self, name: str, status: str) -> Iterator[Finding]:
        allowed = LIFECYCLE.get(name)
        if status not in STATUSES:
            yield Finding("unknown_status", "a status of a response", f"status {shown(status)!r}")
        elif allowed is not None and status not in allowed:
            yield Finding(
                "status_mismatch", f"status {' or '.join(sorted(allowed))} by the event", f"status {status!r}"
            )
        elif status == "queued" and self._status == "in_progress":
            yield Finding("illegal_transition", "no status queued after in_progress", "it")
        self._status = status

    def _end(self, response: dict[str, Any], *, is_sound: bool, has_error: bool) -> Iterator[Finding]:
        """Yield what is wrong with the end of the response."""
        status = response.get("status")
        if status == "failed" and response.get("error") is None and not has_error:
            yield Finding("missing_reason", "an error in a response that failed", "null")
        if status == "incomplete" and response.get("incomplete_details") is None:
            yield Finding("missing_reason", "incomplete_details in an incomplete response", "null")
        if status != "completed":
            return
        has_all = is_sound and not (self._items.has_lost or self._is_resumed)
        yield from check_output(self._items, response.get("output"), is_whole=has_all)
        for item in self._items:
            if not (item.is_done or item.is_doubtful):
                yield Finding("missing_item_done", "response.output_item.done of each item", "none", id=item.id)


def _value_findings(name: str, response: dict[str, Any]) -> Iterator[Finding]:
    """Yield what is wrong with the values of one response."""
    created, completed, usage = (response.get(key) for key in ("created_at", "completed_at", "usage"))
    if name in OPENING:
        if completed is not None:
            yield Finding("timestamp_while_open", "completed_at null while the response goes on", "a time")
        if usage is not None:
            yield Finding("usage_while_open", "usage null while the response goes on", "an object")
    elif is_number(created) and is_number(completed) and completed < created:
        yield Finding("time_backwards", "completed_at of at least created_at", "an earlier time")
    if isinstance(usage, dict):
        given, made, total = (usage.get(key) for key in ("input_tokens", "output_tokens", "total_tokens"))
        if is_number(given) and is_number(made) and total != given + made:
            yield Finding("wrong_total", f"total_tokens {given + made}", described(total))
