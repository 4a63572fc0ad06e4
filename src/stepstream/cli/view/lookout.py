"""The lookout: what a processor knows just now, as a picture. A look costs the same however many events came."""

from collections import Counter, deque
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from stepstream.cli.text import in_ascii, one_line
from stepstream.cli.view.content import bodies_of, digest_of, message_bodies, message_digest
from stepstream.cli.view.picture import MOODS, Body, CallPicture, Mood, Picture, RunPicture, StepPicture, Theme
from stepstream.cli.view.times import RunTimes, Span
from stepstream.fold.anomalies import Anomaly
from stepstream.fold.builder import SnapshotBuilder
from stepstream.fold.state import RunEntry, State
from stepstream.fold.tree import Indexed, Node
from stepstream.wire.messages import Message
from stepstream.wire.objects import LastError, RequiredAction, Run, RunStep

RUNS: Final = 12
STEPS: Final = 200
CALLS: Final = 24
RATED_OVER: Final = 2.0
"""Seconds over which events a second are counted."""

HIDDEN: Final = Body("hidden", "hidden")


class Lookout:
    """Look at a state again and again. It notes when it saw what first, and counts what it is told of anomalies.

    With `is_coarse`, its clock runs too fast for looks to tell how long something took: the server's timestamps do.
    """

    def __init__(self, state: State, theme: Theme, source: str = "", *, is_coarse: bool = False) -> None:
        self.theme = theme
        self.anomalies: Counter[str] = Counter()
        """By code."""
        self._state = state
        self._source = one_line(source)
        self._is_coarse = is_coarse
        self._times: dict[str, RunTimes] = {}
        self._counts: dict[str, deque[tuple[float, int]]] = {}
        self._of_run: Counter[str] = Counter()
        self._drawn: dict[str, tuple[object, int, StepPicture]] = {}
        """Steps that have ended, as they were drawn last."""

    async def note(self, anomaly: Anomaly) -> None:
        """Count an anomaly for its run, or for the newest where it names none."""
        self.anomalies[anomaly.code] += 1
        known = self._state.steps.get(anomaly.id or "") or self._state.messages.get(anomaly.id or "")
        newest = next(reversed(self._state.runs), "")
        run_id = known.base.run_id if known is not None else anomaly.id
        self._of_run[run_id if isinstance(run_id, str) and run_id in self._state.runs else newest] += 1

    def look(self, now: float, *, selected: str | None = None, runs: int = RUNS, steps: int = STEPS) -> Picture:
        """Return the newest `runs` and their newest `steps`, those that are open first."""
        opened, finished = self._state.order
        keys = [*opened[-runs:], *finished[-max(0, runs - len(opened)) :]] if len(opened) < runs else opened[-runs:]
        order = {f"run:{identifier}": at for at, identifier in enumerate(self._state.runs)} if len(keys) > 1 else {}
        groups = [self._state.entry(key) for key in sorted(keys, key=lambda key: order.get(key, len(order)))]
        pictures = tuple(self._run(entry, now, selected, steps) for entry in groups)
        self._forget()
        earlier = len(opened) + len(finished) - len(keys)
        return Picture(pictures, self.theme, self._source, earlier, selected)

    def _forget(self) -> None:
        """Forget runs that the state has dropped, once they are many."""
        if len(self._times) > 4_096:
            kept = {key for keys in self._state.order for key in keys}
            tables: tuple[dict[str, Any], ...] = (self._times, self._counts)
            for table in tables:
                for key in [key for key in table if key not in kept]:
                    del table[key]
        if len(self._drawn) > 20_000:
            self._drawn.clear()

    def _run(self, entry: RunEntry, now: float, selected: str | None, most: int) -> RunPicture:
        times = self._times.get(entry.key)
        if times is None:
            times = self._times[entry.key] = RunTimes(now, is_coarse=self._is_coarse)
        run, shown = entry.run, _newest(entry, most)
        if run is not None:
            times.see_run(run, now)
        for one in shown:
            base = one.base
            ends = (base.completed_at, getattr(base, "failed_at", None), getattr(base, "cancelled_at", None))
            times.see_step(base.id, now, ended=one.ended, stamps=(base.created_at, *ends))
        asked = _asked(run)
        span = times.of_run(run)
        status = str((run.status if run else None) or "in_progress")
        return RunPicture(
            id=self._one(run.id if run else entry.key.partition(":")[2]),
            model=self._one((run.model if run else None) or ""),
            status=self._one(status),
            mood=MOODS.get(status, "unknown"),
            zero=times.zero,
            ended=span.ended,
            is_exact=span.is_exact,
            tokens=_tokens(entry),
            rate=self._rate(entry, now),
            anomalies=self._of_run[run.id] if run else 0,
            reason=self._reason(run, is_open=not all(one.ended for one in shown)),
            steps=tuple(self._entry(entry, one, times, asked, selected) for one in shown),
            earlier=len(entry.steps) - sum(isinstance(one.base, RunStep) for one in shown),
        )

    def _rate(self, entry: RunEntry, now: float) -> float:
        """Return the events a second of the last moments."""
        counts = self._counts.setdefault(entry.key, deque())
        deltas = sum(step.deltas for step in entry.steps.values())
        counts.append((now, deltas + sum(message.deltas for message in entry.messages.values())))
        while counts[0][0] < now - RATED_OVER and len(counts) > 2:
            counts.popleft()
        (since, before), (until, after) = counts[0], counts[-1]
        return max(0.0, (after - before) / (until - since)) if until > since else 0.0

    def _reason(self, run: Run | None, *, is_open: bool) -> str:
        """Return why a run ended as it did, or what it waits for where one of its steps does."""
        if run is None:
            return ""
        if run.last_error:
            return self._error(run.last_error)
        if run.incomplete_details and run.incomplete_details.reason:
            return self._one(run.incomplete_details.reason)
        asked = len(_asked(run))
        if not asked or not is_open:
            return ""
        what = "approval" if _is_approval(run) else "output" if asked == 1 else "outputs"
        return f"waits for the {what} of {asked} call{'' if asked == 1 else 's'}"

    def _error(self, error: LastError) -> str:
        told = [error.code, None if self.theme.redact else error.message]
        return self._one(": ".join(str(part)[:1_000] for part in told if part))

    def _entry(
        self,
        entry: RunEntry,
        builder: SnapshotBuilder[Any],
        times: RunTimes,
        asked: frozenset[str],
        selected: str | None,
    ) -> StepPicture:
        """Return a step, or a message of no step, as a picture. One that has ended changes no more, nearly always."""
        base = builder.base
        drawn = self._drawn.get(base.id)
        is_same = drawn is not None and drawn[0] is base and drawn[1] == builder.deltas
        if drawn is not None and is_same and base.id != selected:
            span = times.of_step(base.id, base if isinstance(base, RunStep) else None)
            if (span.begun, span.ended) == (drawn[2].begun, drawn[2].ended):
                return drawn[2]
        if isinstance(base, Message):
            picture = self._message(builder, times.of_step(base.id, None), is_open=base.id == selected)
        else:
            picture = self._step(entry, builder, times.of_step(base.id, base), asked, is_open=base.id == selected)
        if builder.ended and base.id != selected:
            self._drawn[base.id] = base, builder.deltas, picture
        return picture

    def _step(
        self, entry: RunEntry, builder: SnapshotBuilder[RunStep], span: Span, asked: frozenset[str], *, is_open: bool
    ) -> StepPicture:
        step, details = builder.base, builder.tree.get("step_details")
        details = details if isinstance(details, Node) else Node(None)
        status = str(step.status or "in_progress")
        mood = MOODS.get(status, "unknown")
        calls = details.get("tool_calls")
        nodes = [calls[index] for index in sorted(calls)] if isinstance(calls, Indexed) else []
        is_open = is_open or not builder.ended
        pictures = tuple(self._call(node, mood, asked) for node in nodes[-CALLS:]) if is_open else ()
        message = self._made(entry, details)
        bodies: tuple[Body, ...] = ()
        if is_open and message is not None:
            bodies = self._bodies(message_bodies(message.tree))
        waits = any(call.mood == "waiting" for call in pictures) and not builder.ended
        return StepPicture(
            id=self._one(step.id),
            key=step.id,
            title=self._title(step, details, nodes),
            status=self._one(status),
            mood="waiting" if waits else mood,
            begun=span.begun,
            ended=span.ended,
            is_exact=span.is_exact,
            kind=self._one(_kind(nodes)),
            digest="" if self.theme.redact else self._digest(nodes, message),
            error=self._error(step.last_error) if step.last_error else "",
            tokens=(step.usage.total_tokens or 0) if step.usage else 0,
            calls=pictures,
            bodies=bodies,
        )

    def _message(self, builder: SnapshotBuilder[Message], span: Span, *, is_open: bool) -> StepPicture:
        message = builder.base
        status = str(message.status or "in_progress")
        reason = message.incomplete_details.reason if message.incomplete_details else None
        return StepPicture(
            id=self._one(message.id),
            key=message.id,
            title=self._one(f"message by {message.role}" if message.role else "message"),
            status=self._one(status),
            mood=MOODS.get(status, "unknown"),
            begun=span.begun,
            ended=span.ended,
            is_exact=span.is_exact,
            digest="" if self.theme.redact else self._one(message_digest(builder.tree)),
            error=self._one(reason or ""),
            bodies=self._bodies(message_bodies(builder.tree)) if is_open or not builder.ended else (),
        )

    def _made(self, entry: RunEntry, details: Node) -> SnapshotBuilder[Message] | None:
        """Return the message that a step creates."""
        creation = details.get("message_creation")
        identifier = creation.get("message_id") if isinstance(creation, dict) else None
        if not isinstance(identifier, str):
            return None
        return entry.messages.get(identifier) or self._state.messages.get(identifier)

    def _title(self, step: RunStep, details: Node, nodes: list[Node]) -> str:
        if nodes:
            names = Counter(_name(node) for node in nodes)
            times = "\N{MULTIPLICATION SIGN}" if self.theme.unicode else "x"
            told = (name if count == 1 else f"{name} {times}{count}" for name, count in islice(names.items(), CALLS))
            return self._one(", ".join(told))
        kind = step.type or details.get("type") or "step"
        activities = details.get("activities")
        if isinstance(activities, list | tuple) and activities:
            first = activities[-1]
            named = first.get("type") if isinstance(first, dict) else first.type
            return self._one(named or kind)
        return {"message_creation": "message"}.get(kind, self._one(kind))

    def _digest(self, nodes: list[Node], message: SnapshotBuilder[Message] | None) -> str:
        if message is not None:
            return self._one(message_digest(message.tree))
        arrow = "\N{RIGHTWARDS ARROW}" if self.theme.unicode else "->"
        digests = [digest for node in nodes[:4] if (digest := digest_of(node, arrow))]
        return self._one("; ".join(digests))

    def _call(self, node: Node, of_step: Mood, asked: frozenset[str]) -> CallPicture:
        identifier = str(node.get("id") or "")
        bodies = bodies_of(node)
        mood: Mood = of_step
        if of_step == "busy" and identifier in asked:
            mood = "waiting"
        elif of_step == "busy" and any(one.kind in ("output", "logs", "hits") for one in bodies[-1:]):
            mood = "good"
        return CallPicture(self._one(identifier), self._one(_name(node)), mood, self._bodies(bodies))

    def _bodies(self, bodies: tuple[Body, ...]) -> tuple[Body, ...]:
        if self.theme.redact:
            return (HIDDEN,) if bodies else ()
        if self.theme.unicode:
            return bodies
        return tuple(Body(one.kind, in_ascii(one.text), one.is_cut) for one in bodies)

    def _one(self, text: object) -> str:
        line = one_line(str(text)[:1_000])
        return line if self.theme.unicode else in_ascii(line)


def _newest(entry: RunEntry, most: int) -> list[SnapshotBuilder[Any]]:
    """Return the newest steps of a entry, and the newest of its messages that no step creates."""
    steps: list[SnapshotBuilder[Any]] = list(islice(reversed(entry.steps.values()), most))[::-1]
    made = set(map(_made_by, steps)) if entry.messages else set()
    messages = islice(reversed(entry.messages.values()), 2 * most)
    alone = [one for one in messages if one.base.id not in made] if len(steps) < most else []
    return [*alone[::-1], *steps]


def _made_by(step: SnapshotBuilder[RunStep]) -> object:
    details = step.base.step_details
    creation = getattr(details, "message_creation", None)
    return creation.message_id if creation else None


def _name(node: Mapping[str, Any]) -> str:
    """Return what a call is called: its function, agent or tool, else its kind."""
    kind = node.get("type")
    content = node.get(kind) if isinstance(kind, str) else None
    inner = (content if isinstance(content, dict) else node.get("function")) or {}
    names = (node.get("name"), inner.get("name") if isinstance(inner, dict) else None, kind)
    return next((name[:200] for name in names if isinstance(name, str) and name), "?")


def _kind(nodes: list[Node]) -> str:
    """Return the kind that calls have in common, where they have names beside."""
    kinds = {str(node.get("type") or "") for node in nodes if _name(node) != node.get("type")}
    return kinds.pop() if len(kinds) == 1 else ""


def _asked(run: Run | None) -> frozenset[str]:
    """Return the ids of the calls that a run waits for."""
    action = run.required_action if run is not None and run.status == "requires_action" else None
    if not isinstance(action, RequiredAction):
        return frozenset()
    return frozenset(str(call.id) for call in action.tool_calls if call.id)


def _is_approval(run: Run) -> bool:
    return isinstance(run.required_action, RequiredAction) and bool(run.required_action.submit_tool_approval)


def _tokens(entry: RunEntry) -> int:
    """Return the tokens of a run; until it tells, those of its steps."""
    if entry.run is not None and entry.run.usage:
        return entry.run.usage.total_tokens or 0
    return sum(step.base.usage.total_tokens or 0 for step in entry.steps.values() if step.base.usage)
