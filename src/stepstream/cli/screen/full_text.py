"""A step in full, for a pager: every field, texts over lines, JSON in texts laid out."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from stepstream.views.escaping import many_lines, one_line
from stepstream.views.read_only import ReadOnlyState

INDENT: Final = "  "

SHOWN_REDACTED: Final = frozenset({
    "activities", "assistant_id", "cancelled_at", "code", "code_interpreter", "completed_at", "completion_tokens",
    "created_at", "expired_at", "expires_at", "failed_at", "file_search", "function", "id", "incomplete_at", "index",
    "last_error", "message_creation", "message_id", "name", "object", "outputs", "prompt_tokens", "role", "run_id",
    "server_label", "status", "step_details", "thread_id", "tool_calls", "total_tokens", "type", "usage",
})  # fmt: skip
"""The fields that hold no prompt and no output. With `redact`, what lies under others is hidden."""


def full_text_of(state: ReadOnlyState, key: str, *, redact: bool) -> str:
    """Return the step or message of that id, with the message that a step creates; empty where it is not known."""
    known = state.steps.get(key) or state.messages.get(key)
    if known is None:
        return ""
    objects: list[Any] = [known.snapshot()]
    creation = getattr(getattr(objects[0], "step_details", None), "message_creation", None)
    created = state.messages.get(creation.message_id or "") if creation else None
    return full_text(objects + ([created.snapshot()] if created else []), redact=redact)


def full_text(objects: Sequence[object], *, redact: bool) -> str:
    """Return objects as text for people, every control character but the line end escaped."""
    parts = ["\n".join(_lines(msgspec.to_builtins(one), "", redact=redact)) for one in objects]
    return "\n\n".join(parts) + "\n"


def _lines(value: Any, indent: str, *, redact: bool) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            hides = redact and key not in SHOWN_REDACTED
            yield from _entry(f"{indent}{one_line(key)}:", "(hidden)" if hides else inner, indent, redact=redact)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _entry(f"{indent}-", inner, indent, redact=redact)


def _entry(name: str, value: Any, indent: str, *, redact: bool) -> Iterator[str]:
    if isinstance(value, str):
        lines = many_lines(_laid_out(value)).split("\n")
        if len(lines) == 1:
            yield f"{name} {lines[0]}"
            return
        yield name
        yield from (f"{indent}{INDENT}{line}" for line in lines)
    elif isinstance(value, Mapping | list | tuple) and value:
        yield name
        yield from _lines(value, indent + INDENT, redact=redact)
    else:
        yield f"{name} {one_line(json.dumps(value, ensure_ascii=False))}"


def _laid_out(text: str) -> str:
    """Return a text that is JSON over several lines, any other as it is."""
    if text[:1] not in ("{", "["):
        return text
    try:
        return json.dumps(msgspec.json.decode(text), indent=2, ensure_ascii=False)
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError):
        return text
