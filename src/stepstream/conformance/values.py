"""The check of the values of one object: what its status requires, and what the documented limits allow."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias, TypeGuard

from stepstream.conformance.deviation import Finding, described, shown
from stepstream.wire.events import IMPLIED_STATUS
from stepstream.wire.statuses import (
    MESSAGE_TERMINAL,
    NEXT_MESSAGE,
    NEXT_RUN,
    NEXT_STEP,
    RUN_TERMINAL,
    STEP_TERMINAL,
)

Raw: TypeAlias = Mapping[str, Any]

NEXT: Final[Mapping[str, Mapping[str, frozenset[str]]]] = {"run": NEXT_RUN, "step": NEXT_STEP, "message": NEXT_MESSAGE}
TERMINAL: Final = {"run": RUN_TERMINAL, "step": STEP_TERMINAL, "message": MESSAGE_TERMINAL}

ENDS: Final[Mapping[str, Mapping[str, str]]] = {
    "run": {"completed": "completed_at", "failed": "failed_at", "cancelled": "cancelled_at"},
    "step": {"completed": "completed_at", "failed": "failed_at", "cancelled": "cancelled_at"},
    "message": {"completed": "completed_at", "incomplete": "incomplete_at"},
}
"""The time that an ended object must have, by its status."""

REASONS: Final[Mapping[str, Mapping[str, str]]] = {
    "run": {"failed": "last_error", "incomplete": "incomplete_details"},
    "step": {"failed": "last_error"},
    "message": {"incomplete": "incomplete_details"},
}
"""The reason that an ended object must have, by its status."""

ORDER: Final = tuple(
    (earlier, later)
    for earlier in ("created_at", "started_at")
    for later in ("started_at", "completed_at", "failed_at", "cancelled_at", "incomplete_at", "expires_at")
    if earlier != later
)
"""Pairs of times of one object of which the first may not lie after the second."""

MAX_METADATA: Final = 16
MAX_KEY: Final = 64
MAX_VALUE: Final = 512
MAX_TOOLS: Final = 128

_ABSENT: Final = object()


def is_number(value: object) -> TypeGuard[int | float]:
    """Return whether a JSON value is a number. A boolean is none, though Python counts it as one."""
    return type(value) in (int, float)


def status_agrees(name: str, raw: Raw) -> bool:
    """Return whether a status is the one that its event's name implies. `created` implies none."""
    return name.endswith(".created") or raw.get("status") in (None, IMPLIED_STATUS[name])


def ends(kind: str, name: str, raw: Raw) -> bool:
    """Return whether an object is terminal, by its event's name or by its status."""
    return raw.get("status") in TERMINAL[kind] or IMPLIED_STATUS[name] in TERMINAL[kind]


def check_status(kind: str, name: str, raw: Raw) -> Iterator[Finding]:
    """Yield what is wrong with the status itself."""
    status = raw.get("status")
    if isinstance(status, str) and status not in NEXT[kind]:
        yield Finding("unknown_status", f"a status of a {kind}", f"status {shown(status)!r}")
    elif not status_agrees(name, raw):
        yield Finding("status_mismatch", f"status {IMPLIED_STATUS[name]!r} by the event's name", f"status {status!r}")


def check_values(raw: Raw) -> Iterator[Finding]:
    """Yield what is wrong with values whatever the status."""
    yield from _metadata(raw)
    tools = raw.get("tools")
    if isinstance(tools, list) and len(tools) > MAX_TOOLS:
        yield Finding("over_limit", f"at most {MAX_TOOLS} tools", f"{len(tools):,}")
    yield from _total(raw)
    details = raw.get("step_details")
    own, inner = raw.get("type"), details.get("type") if isinstance(details, dict) else None
    if isinstance(own, str) and isinstance(inner, str) and own != inner:
        yield Finding("details_mismatch", f"step_details of type {shown(own)!r}", f"type {shown(inner)!r}")
    yield from _times(raw)


def _metadata(raw: Raw) -> Iterator[Finding]:
    metadata = raw.get("metadata")
    if not isinstance(metadata, dict):
        return
    if len(metadata) > MAX_METADATA:
        yield Finding("over_limit", f"at most {MAX_METADATA} pairs of metadata", f"{len(metadata):,}")
    for key, value in metadata.items():
        if len(key) > MAX_KEY:
            yield Finding("over_limit", f"keys of metadata of at most {MAX_KEY} characters", f"{len(key):,}")
        if not isinstance(value, str):
            yield Finding("wrong_type", "strings as the values of metadata", described(value))
        elif len(value) > MAX_VALUE:
            yield Finding("over_limit", f"values of metadata of at most {MAX_VALUE} characters", f"{len(value):,}")


def _total(raw: Raw) -> Iterator[Finding]:
    usage = raw.get("usage")
    if not isinstance(usage, dict):
        return
    counts = [usage.get(key) for key in ("prompt_tokens", "completion_tokens", "total_tokens")]
    prompt, completion, total = (count if type(count) is int else None for count in counts)
    if prompt is not None and completion is not None and total not in (None, prompt + completion):
        yield Finding("wrong_total", f"total_tokens {prompt + completion}", str(total))


def _times(raw: Raw) -> Iterator[Finding]:
    """Yield the first pair of times in the wrong order: one wrong time is in several pairs."""
    for earlier, later in ORDER:
        first, second = raw.get(earlier), raw.get(later)
        if is_number(first) and is_number(second) and first > second:
            yield Finding("time_backwards", f"{later} of at least {earlier} {first}", str(second))
            return


def _end(kind: str, status: str, raw: Raw) -> Iterator[Finding]:
    wanted = ENDS[kind].get(status)
    if wanted and raw.get(wanted, _ABSENT) is None:
        yield Finding("missing_timestamp", f"{wanted} of a {kind} with status {status!r}", "null")


def _reason(kind: str, status: str, raw: Raw) -> Iterator[Finding]:
    wanted = REASONS[kind].get(status)
    if wanted and raw.get(wanted, _ABSENT) is None:
        yield Finding("missing_reason", f"{wanted} of a {kind} with status {status!r}", "null")


def _open(kind: str, status: str, raw: Raw) -> Iterator[Finding]:
    """Yield what an object may have only once it has ended. A run that is being cancelled has begun to."""
    if status in TERMINAL[kind] or status == "cancelling":
        return
    if raw.get("usage") is not None:
        yield Finding("usage_while_open", f"usage null with status {status!r}", described(raw["usage"]))
    for name in sorted(set(ENDS[kind].values())):
        if raw.get(name) is not None:
            yield Finding("timestamp_while_open", f"{name} null with status {status!r}", described(raw[name]))


def _action(kind: str, status: str, raw: Raw) -> Iterator[Finding]:
    action = raw.get("required_action", _ABSENT)
    if status == "requires_action" and action is None:
        yield Finding("missing_required_action", "required_action with status 'requires_action'", "null")
    elif status != "requires_action" and action not in (None, _ABSENT):
        yield Finding("stale_required_action", f"required_action null with status {status!r}", described(action))


BY_STATUS: Final[tuple[Callable[[str, str, Raw], Iterator[Finding]], ...]] = (_end, _reason, _open, _action)


def check_by_status(kind: str, name: str, raw: Raw) -> Iterator[Finding]:
    """Yield what does not go with the status, where there is one that can be relied on."""
    status = raw.get("status")
    if isinstance(status, str) and status in NEXT[kind] and status_agrees(name, raw):
        for rule in BY_STATUS:
            yield from rule(kind, status, raw)
