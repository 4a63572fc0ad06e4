"""One step, or one message, as a view: its title, its style, its calls and their texts."""

from collections import Counter
from itertools import islice
from typing import Final

from stepstream.fold.builder import SnapshotBuilder
from stepstream.fold.tree import Node
from stepstream.views.content import (
    bodies_of,
    digest_of,
    message_bodies,
    message_digest,
    thought_bodies,
    thought_digest,
)
from stepstream.views.contents import calls_of, details_of, name_of
from stepstream.views.escaping import in_ascii
from stepstream.views.model import LINE_LIMIT, Body, CallView, StepView, Style, Theme, style_of
from stepstream.views.times import Span
from stepstream.wire.messages import Message
from stepstream.wire.objects import LastError, RunStep

CALLS: Final = 24
"""Of one step: its newest are shown."""

DIGESTED_CALLS: Final = 4

HIDDEN: Final = Body("hidden", "hidden")


def step_view(
    step: SnapshotBuilder[RunStep],
    message: SnapshotBuilder[Message] | None,
    span: Span,
    theme: Theme,
    *,
    awaited: frozenset[str],
    is_open: bool,
) -> StepView:
    """Return a step as a view, with its calls and texts where it has not ended, or `is_open`.

    `message` is the one that the step creates; `awaited` are the ids of the calls whose outputs its run waits for.
    """
    base, details = step.base, details_of(step.tree)
    status = str(base.status or "in_progress")
    style = style_of(status)
    nodes = calls_of(details)
    is_open = is_open or not step.ended
    calls = tuple(_call_view(node, style, theme, awaited) for node in nodes[-CALLS:]) if is_open else ()
    texts = message_bodies(message.tree) if message is not None else thought_bodies(details)
    bodies = _shown(texts, theme) if is_open else ()
    is_waiting = any(call.style == "waiting" for call in calls) and not step.ended
    return StepView(
        id=theme.line(base.id),
        key=base.id,
        title=_title(base, details, nodes, theme),
        status=theme.line(status),
        style="waiting" if is_waiting else style,
        begun=span.begun,
        ended=span.ended,
        is_exact=span.is_exact,
        kind=theme.line(_common_kind(nodes)),
        digest="" if theme.redact else _digest(details, nodes, message, theme),
        error=error_line(base.last_error, theme) if base.last_error else "",
        tokens=(base.usage.total_tokens or 0) if base.usage else 0,
        calls=calls,
        bodies=bodies,
    )


def message_view(message: SnapshotBuilder[Message], span: Span, theme: Theme, *, is_open: bool) -> StepView:
    """Return a message that no step creates as a view, with its texts where it has not ended, or `is_open`."""
    base = message.base
    status = str(base.status or "in_progress")
    reason = base.incomplete_details.reason if base.incomplete_details else None
    return StepView(
        id=theme.line(base.id),
        key=base.id,
        title=theme.line(f"message by {base.role}" if base.role else "message"),
        status=theme.line(status),
        style=style_of(status),
        begun=span.begun,
        ended=span.ended,
        is_exact=span.is_exact,
        digest="" if theme.redact else theme.line(message_digest(message.tree)),
        error=theme.line(reason or ""),
        bodies=_shown(message_bodies(message.tree), theme) if is_open or not message.ended else (),
    )


def error_line(error: LastError, theme: Theme) -> str:
    """Return why a step or run failed, in one line. A redacted one keeps its code, which is no content."""
    parts = [error.code, None if theme.redact else error.message]
    return theme.line(": ".join(str(part)[:LINE_LIMIT] for part in parts if part))


def _title(step: RunStep, details: Node, calls: list[Node], theme: Theme) -> str:
    if calls:
        names = Counter(name_of(call) for call in calls)
        times = "\N{MULTIPLICATION SIGN}" if theme.unicode else "x"
        shown = (name if count == 1 else f"{name} {times}{count}" for name, count in islice(names.items(), CALLS))
        return theme.line(", ".join(shown))
    kind = step.type or details.get("type") or "step"
    activities = details.get("activities")
    if isinstance(activities, list | tuple) and activities:
        newest = activities[-1]
        named = newest.get("type") if isinstance(newest, dict) else newest.type
        return theme.line(named or kind)
    return {"message_creation": "message"}.get(kind, theme.line(kind))


def _digest(details: Node, calls: list[Node], message: SnapshotBuilder[Message] | None, theme: Theme) -> str:
    if message is not None:
        return theme.line(message_digest(message.tree))
    if not calls:
        return theme.line(thought_digest(details))
    arrow = "\N{RIGHTWARDS ARROW}" if theme.unicode else "->"
    digests = [digest for call in calls[:DIGESTED_CALLS] if (digest := digest_of(call, arrow))]
    return theme.line("; ".join(digests))


def _call_view(call: Node, of_step: Style, theme: Theme, awaited: frozenset[str]) -> CallView:
    identifier = str(call.get("id") or "")
    bodies = bodies_of(call)
    style = of_step
    if of_step == "busy" and identifier in awaited:
        style = "waiting"
    elif of_step == "busy" and any(one.kind in ("output", "logs", "hits") for one in bodies[-1:]):
        style = "good"  # it has its output while its step goes on with its siblings
    return CallView(theme.line(identifier), theme.line(name_of(call)), style, _shown(bodies, theme))


def _shown(bodies: tuple[Body, ...], theme: Theme) -> tuple[Body, ...]:
    if theme.redact:
        return (HIDDEN,) if bodies else ()
    if theme.unicode:
        return bodies
    return tuple(Body(one.kind, in_ascii(one.text), one.is_cut) for one in bodies)


def _common_kind(calls: list[Node]) -> str:
    """Return the kind that all calls have which do not go by their kind already, or an empty text."""
    kinds = {str(call.get("type") or "") for call in calls if name_of(call) != call.get("type")}
    return kinds.pop() if len(kinds) == 1 else ""
