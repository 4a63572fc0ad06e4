"""State → views: what is known of runs at one moment, built again for every frame that is drawn.

A view must cost the same however many events came before it, for the drawing goes on beside the streams. So only the
newest runs and steps are shown, of their texts only the ends are read (`content`), and the view of a step that has
ended is kept and used again until something about that step changes.
"""

from collections import Counter, deque
from itertools import islice
from typing import Any, Final, NamedTuple

from stepstream.fold.anomalies import Anomaly
from stepstream.fold.builder import SnapshotBuilder
from stepstream.fold.entry import RunEntry
from stepstream.views.contents import created_message_id
from stepstream.views.escaping import one_line
from stepstream.views.model import RunView, ScreenView, StepView, Theme, style_of
from stepstream.views.read_only import ReadOnlyState
from stepstream.views.steps import error_line, message_view, step_view
from stepstream.views.times import RunTimes, Span
from stepstream.wire.messages import Message
from stepstream.wire.objects import RequiredAction, Run, RunStep

RUNS: Final = 12
STEPS: Final = 200
RATE_WINDOW: Final = 2.0
"""Seconds over which events per second are counted."""

MAX_RUNS_NOTED: Final = 4_096
MAX_VIEWS_KEPT: Final = 20_000
"""Beyond these, what a view no longer needs is thrown away."""


class ViewBuilder:
    """Build views of a state again and again, and remember when each thing was first seen.

    With `is_coarse`, its clock runs too fast to measure durations from one view to the next, so the server's
    timestamps are shown.
    """

    def __init__(self, state: ReadOnlyState, theme: Theme, source: str = "", *, is_coarse: bool = False) -> None:
        self.theme = theme
        self.anomalies: Counter[str] = Counter()
        """By code."""
        self._state = state
        self._source = one_line(source)
        self._is_coarse = is_coarse
        self._times: dict[str, RunTimes] = {}
        self._event_counts: dict[str, deque[tuple[float, int]]] = {}
        """By entry: how many events there were at the times of the last views."""
        self._run_anomalies: Counter[str] = Counter()
        self._ended: dict[str, _Kept] = {}
        """The last view of each step that has ended."""

    def count_anomaly(self, anomaly: Anomaly) -> None:
        """Count an anomaly for its run, or for the newest run where it names none that is known."""
        self.anomalies[anomaly.code] += 1
        known = self._state.steps.get(anomaly.id or "") or self._state.messages.get(anomaly.id or "")
        newest = next(reversed(self._state.runs), "")
        run_id = known.run_id if known is not None else anomaly.id
        is_known = isinstance(run_id, str) and self._state.runs.get(run_id) is not None
        self._run_anomalies[str(run_id) if is_known else newest] += 1

    def build(self, now: float, *, selected: str | None = None, runs: int = RUNS, steps: int = STEPS) -> ScreenView:
        """Return the newest `runs` and their newest `steps`, open runs before finished ones.

        The step whose id is `selected` is shown in full, though it may have ended.
        """
        opened, finished = self._state.order
        keys = [*opened[-runs:], *finished[-max(0, runs - len(opened)) :]] if len(opened) < runs else opened[-runs:]
        order = {f"run:{identifier}": at for at, identifier in enumerate(self._state.runs)} if len(keys) > 1 else {}
        entries = [self._state.entry(key) for key in sorted(keys, key=lambda key: order.get(key, len(order)))]
        views = tuple(self._run_view(entry, now, selected, steps) for entry in entries)
        self._forget()
        earlier = len(opened) + len(finished) - len(keys)
        return ScreenView(views, self.theme, self._source, earlier, selected)

    def _forget(self) -> None:
        """Forget runs that the state has dropped, once many have been noted."""
        if len(self._times) > MAX_RUNS_NOTED:
            kept = {key for keys in self._state.order for key in keys}
            tables: tuple[dict[str, Any], ...] = (self._times, self._event_counts)
            for table in tables:
                for key in [key for key in table if key not in kept]:
                    del table[key]
        if len(self._ended) > MAX_VIEWS_KEPT:
            self._ended.clear()

    def _run_view(self, entry: RunEntry, now: float, selected: str | None, most: int) -> RunView:
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
        awaited = _awaited_calls(run)
        span = times.of_run(run)
        status = str((run.status if run else None) or "in_progress")
        return RunView(
            id=self.theme.line(run.id if run else entry.key.partition(":")[2]),
            model=self.theme.line((run.model if run else None) or ""),
            status=self.theme.line(status),
            style=style_of(status),
            zero=times.zero,
            ended=span.ended,
            is_exact=span.is_exact,
            tokens=_tokens(entry),
            rate=self._rate(entry, now),
            anomalies=self._run_anomalies[run.id] if run else 0,
            reason=self._reason(run, is_open=not all(one.ended for one in shown)),
            steps=tuple(self._step_view(entry, one, times, awaited, selected) for one in shown),
            earlier=len(entry.steps) - sum(isinstance(one.base, RunStep) for one in shown),
        )

    def _rate(self, entry: RunEntry, now: float) -> float:
        """Return the events per second over the last `RATE_WINDOW`."""
        counts = self._event_counts.setdefault(entry.key, deque())
        deltas = sum(step.deltas for step in entry.steps.values())
        counts.append((now, deltas + sum(message.deltas for message in entry.messages.values())))
        while counts[0][0] < now - RATE_WINDOW and len(counts) > 2:
            counts.popleft()
        (since, before), (until, after) = counts[0], counts[-1]
        return max(0.0, (after - before) / (until - since)) if until > since else 0.0

    def _reason(self, run: Run | None, *, is_open: bool) -> str:
        """Return why a run ended as it did, or what it waits for where a step of it is open."""
        if run is None:
            return ""
        if run.last_error:
            return error_line(run.last_error, self.theme)
        if run.incomplete_details and run.incomplete_details.reason:
            return self.theme.line(run.incomplete_details.reason)
        awaited = len(_awaited_calls(run))
        if not awaited or not is_open:
            return ""
        what = "approval" if _is_approval(run) else "output" if awaited == 1 else "outputs"
        return f"waits for the {what} of {awaited} call{'' if awaited == 1 else 's'}"

    def _step_view(
        self, entry: RunEntry, one: SnapshotBuilder[Any], times: RunTimes, awaited: frozenset[str], selected: str | None
    ) -> StepView:
        """Return the view of a step, or of a message of no step: the one kept, where nothing has changed since."""
        base = one.base
        is_selected = base.id == selected
        span = times.of_step(base.id, base if isinstance(base, RunStep) else None)
        kept = None if is_selected else self._ended.get(base.id)
        if kept is not None and kept.is_of(one, span):
            return kept.view
        if isinstance(base, Message):
            view = message_view(one, span, self.theme, is_open=is_selected)
        else:
            created = self._created_message(entry, one)
            view = step_view(one, created, span, self.theme, awaited=awaited, is_open=is_selected)
        if one.ended and not is_selected:  # a view in full is only for as long as it is selected
            self._ended[base.id] = _Kept(base, one.deltas, view)
        return view

    def _created_message(self, entry: RunEntry, step: SnapshotBuilder[RunStep]) -> SnapshotBuilder[Message] | None:
        identifier = created_message_id(step.tree)
        if identifier is None:
            return None
        return entry.messages.get(identifier) or self._state.messages.get(identifier)


class _Kept(NamedTuple):
    """The view of a step, and what it was made of."""

    base: object
    deltas: int
    view: StepView

    def is_of(self, one: SnapshotBuilder[Any], span: Span) -> bool:
        """Return whether the view still shows the step as it is.

        After its end a full object of it can come, which is another `base`, or a late delta, which counts; and what
        is learnt of the server's clock can move its times.
        """
        is_same = self.base is one.base and self.deltas == one.deltas
        return is_same and (span.begun, span.ended) == (self.view.begun, self.view.ended)


def _newest(entry: RunEntry, most: int) -> list[SnapshotBuilder[Any]]:
    """Return the newest steps of an entry, and before them the newest of its messages that none of them creates."""
    steps: list[SnapshotBuilder[Any]] = list(islice(reversed(entry.steps.values()), most))[::-1]
    created = set(map(_created_by, steps)) if entry.messages else set()
    messages = islice(reversed(entry.messages.values()), 2 * most)
    alone = [one for one in messages if one.base.id not in created] if len(steps) < most else []
    return [*alone[::-1], *steps]


def _created_by(step: SnapshotBuilder[RunStep]) -> object:
    details = step.base.step_details
    creation = getattr(details, "message_creation", None)
    return creation.message_id if creation else None


def _awaited_calls(run: Run | None) -> frozenset[str]:
    """Return the ids of the calls whose outputs or approvals a run waits for."""
    action = run.required_action if run is not None and run.status == "requires_action" else None
    if not isinstance(action, RequiredAction):
        return frozenset()
    return frozenset(str(call.id) for call in action.tool_calls if call.id)


def _is_approval(run: Run) -> bool:
    return isinstance(run.required_action, RequiredAction) and bool(run.required_action.submit_tool_approval)


def _tokens(entry: RunEntry) -> int:
    """Return the tokens of a run; until it says, those of its steps."""
    if entry.run is not None and entry.run.usage:
        return entry.run.usage.total_tokens or 0
    return sum(step.base.usage.total_tokens or 0 for step in entry.steps.values() if step.base.usage)
