"""A run, its steps and messages as documents: plain JSON that has all that a page shows of them, and nothing twice.

A document is a function of its object alone. What nothing is known of is not there, so that ten thousand steps are
short. Times are the server's, in Unix seconds. Nothing is escaped: a page that shows it must not read it as HTML.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from stepstream.fold.builder import SnapshotBuilder
from stepstream.fold.tree import Node, plain
from stepstream.views.contents import (
    FIELDS,
    MAX_TITLE,
    calls_of,
    created_message_id,
    details_of,
    entries,
    held_by_call,
    name_of,
    thoughts,
)
from stepstream.views.model import Style, style_of
from stepstream.views.parts import JSON, Parts, encoded
from stepstream.views.times import stamp
from stepstream.wire.messages import Message
from stepstream.wire.objects import RequiredAction, Run, RunStep

MAX_WORDS: Final = 4_000
"""Characters of a text that is no content, such as that of an error."""

MAX_NAMES: Final = 24
"""How many names of calls the title of a step has."""

_ENDS: Final = ("completed_at", "failed_at", "cancelled_at", "expired_at", "incomplete_at")
_NO_CONTENT: Final = frozenset({"id", "type", "name", "status"})
_APPROVAL: Final = "mcp_approval_request"


def run_document(run: Run) -> JSON:
    """Return a run."""
    details = run.incomplete_details
    return _known(
        id=run.id,
        thread_id=run.thread_id,
        model=_words(run.model),
        status=_words(run.status or "in_progress"),
        style=style_of(run.status or "in_progress"),
        created_at=stamp(run.created_at),
        started_at=stamp(run.started_at),
        ended_at=_ended_at(run) if run.is_terminal else None,
        error=_error(run),
        reason=_words(details.reason) if details else None,
        usage=_usage(run),
        awaits=_awaited(run),
    )


def step_document(step: SnapshotBuilder[RunStep], parts: Parts) -> JSON:
    """Return a step with its calls and its own texts; those of the message that it writes are the message's."""
    base, details = step.base, details_of(step.tree)
    status = str(base.status or "in_progress")
    style = style_of(status)
    nodes = calls_of(details)
    calls = [call_document(node, style, parts, f"/calls/{at}") for at, node in enumerate(nodes)]
    kind = str(base.type or details.get("type") or "step")
    if kind == _APPROVAL and not calls:
        asked = details.get(kind)
        found = asked if isinstance(asked, dict) else {}
        node = {"type": "mcp", **{key: found.get(key) for key in ("name", "arguments")}, "id": base.id}
        calls = [call_document(node, "unknown", parts, "/calls/0")]
    return _known(
        id=base.id,
        type=_words(kind),
        title=title_of(calls) or _titled(kind, details),
        status=_words(status),
        style=style,
        is_over=step.ended or None,
        created_at=stamp(base.created_at),
        ended_at=_ended_at(base) if step.ended else None,
        message=created_message_id(step.tree),
        error=_error(base),
        usage=_usage(base),
        calls=calls,
        parts=parts.listed(_own_texts(details), "/parts"),
    )


def call_document(call: Mapping[str, Any], of_step: Style, parts: Parts, path: str) -> JSON:
    """Return a tool call of a step that has the style `of_step`. `path` is the place of the call."""
    kind, status = str(call.get("type") or "?"), call.get("status")
    texts = parts.listed(_texts_of_call(call), f"{path}/parts")
    return _known(
        id=call.get("id") if isinstance(call.get("id"), str) else None,
        kind=_words(kind),
        name=name_of(call),
        status=_words(status) if isinstance(status, str) else None,
        style=_style_of_call(kind, status, texts, of_step),
        parts=texts,
    )


def message_document(message: SnapshotBuilder[Message], parts: Parts) -> JSON:
    """Return a message."""
    base, status = message.base, str(message.base.status or "in_progress")
    contents = entries(message.tree.get("content"))
    role = message.tree.get("role")
    texts = parts.listed(((kind, value) for one in contents for kind, value in _texts_of_content(one)), "/parts")
    return _known(
        id=base.id,
        role=_words(role) if isinstance(role, str) else None,
        status=_words(status),
        style=style_of(status),
        is_over=message.ended or None,
        created_at=stamp(base.created_at),
        ended_at=_ended_at(base) if message.ended else None,
        reason=_words(base.incomplete_details.reason) if base.incomplete_details else None,
        parts=texts,
    )


def title_of(calls: list[JSON]) -> str:
    """Return what the calls of a step call, each name once."""
    names = Counter(call["name"] for call in calls)
    shown = (
        name if count == 1 else f"{name} \N{MULTIPLICATION SIGN}{count}"
        for name, count in list(names.items())[:MAX_NAMES]
    )
    return ", ".join(shown)


def _titled(kind: str, details: Node) -> str:
    activities = details.get("activities")
    if isinstance(activities, list | tuple) and activities:
        newest = activities[-1]
        named = newest.get("type") if isinstance(newest, dict) else newest.type
        return str(named or kind)[:MAX_TITLE]
    return {"message_creation": "message"}.get(kind, kind[:MAX_TITLE])


def _own_texts(details: Node) -> Iterator[tuple[str, object]]:
    yield from (("thought", text) for text in thoughts(details))
    if details.get("activities"):
        yield "raw", encoded(details["activities"])


def _texts_of_call(call: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    held = held_by_call(call)
    if held is not None:
        yield from held
        return
    rest = {key: value for key, value in call.items() if key not in _NO_CONTENT}
    if rest:
        yield "raw", encoded(rest)


def _texts_of_content(content: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    text = content.get("text")
    if isinstance(text, dict):
        yield "text", text.get("value")
        cited = [_citation(one) for one in entries(text.get("annotations"))]
        if cited:
            yield "cited", "\n".join(cited)
    yield "refusal", content.get("refusal")
    for key in ("image_file", "image_url"):
        if isinstance(content.get(key), dict):
            yield "image", " ".join(str(value)[:MAX_WORDS] for value in plain(content[key]).values() if value)


def _citation(annotation: Mapping[str, Any]) -> str:
    """Return what an annotation says, in one line."""
    inner = [value for value in annotation.values() if isinstance(value, dict)]
    found = [annotation.get("text"), *(value for one in inner for value in one.values())]
    return " ".join(text[:MAX_TITLE] for text in found if isinstance(text, str))


def _style_of_call(kind: str, status: object, texts: list[JSON], of_step: Style) -> Style:
    """Return how a call stands: as it says itself; done once it has an output; else as its step."""
    said = style_of(status) if isinstance(status, str) else "unknown"
    if said not in ("unknown", "busy"):
        return said
    is_answered = kind in FIELDS and any(one["kind"] == "output" for one in texts)
    return "good" if is_answered and of_step in ("busy", "bad", "stopped") else of_step


def _awaited(run: Run) -> list[JSON]:
    """Return the calls that a run waits for."""
    action = run.required_action
    if run.status != "requires_action" or not isinstance(action, RequiredAction):
        return []
    kinds = {"output": action.submit_tool_outputs, "approval": action.submit_tool_approval}
    return [
        _known(id=call.id or "", kind=kind, name=(call.tool_name or str(call.type or "?"))[:MAX_TITLE])
        for kind, asked in kinds.items()
        if asked
        for call in asked.tool_calls or ()
    ]


def _known(**fields: Any) -> JSON:
    return {key: value for key, value in fields.items() if value not in (None, "", [], msgspec.UNSET)}


def _words(value: object) -> str | None:
    return value[:MAX_WORDS] if isinstance(value, str) else None


def _error(one: Run | RunStep) -> JSON | None:
    error = one.last_error
    return _known(code=_words(error.code), message=_words(error.message)) or None if error else None


def _usage(one: Run | RunStep) -> JSON | None:
    found: JSON = msgspec.to_builtins(one.usage) if one.usage else {}
    return found or None


def _ended_at(one: Any) -> float | None:
    return next((at for at in (stamp(getattr(one, name, None)) for name in _ENDS) if at is not None), None)
