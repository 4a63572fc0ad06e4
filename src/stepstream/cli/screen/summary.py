"""What is left of a run on the screen: a table of its steps, printed where it stays."""

from collections.abc import Mapping, Sequence
from typing import Final

from rich.text import Text

from stepstream.cli.screen.lines import fitted, line, padded, sign, span_text, wrapped
from stepstream.cli.screen.render import ROOMY
from stepstream.views.model import RunView, ScreenView, StepView, Theme

ANOMALIES: Final = 6
"""Codes that are named; the rest is only marked."""


def summary(view: ScreenView, anomalies: Mapping[str, int], verdict: str, width: int, now: float) -> list[Text]:
    """Return the runs of `view` as tables, what was against the protocol, and how it ended, in lines."""
    theme = view.theme
    lines: list[Text] = []
    if view.earlier:
        lines = [line((f"{sign(theme, 'more')} {view.earlier:,} earlier runs", "faint")), Text(end="")]
    for run in view.runs:
        lines += [*_table(run, theme, width, now), Text(end="")]
    if anomalies:
        codes = sorted(anomalies.items(), key=lambda entry: -entry[1])
        named = ", ".join(f"{code} {count:,}" for code, count in codes[:ANOMALIES])
        more = f" {sign(theme, 'cut')}" if len(codes) > ANOMALIES else ""
        text = f"against the protocol: {named}{more}"
        lines += [line((one, "waiting")) for one in wrapped(text, width)]
    lines += [line((one, "plain")) for one in wrapped(verdict, width)]
    return [fitted(one, width, theme) for one in lines]


def _table(run: RunView, theme: Theme, width: int, now: float) -> list[Text]:
    elapsed = run.ended if run.ended is not None else max(0.0, now - run.zero)
    tokens = f"{run.tokens:,}" if run.tokens else ""
    first = line(
        (f"{sign(theme, run.style)} ", run.style),
        (run.id, "head"),
        (f"  {run.model}" if run.model and width >= ROOMY else "", "faint"),
        (f"  {run.status.replace('_', ' ')}", run.style),
    )
    lines = [_columns(first, span_text(elapsed, is_exact=run.is_exact), tokens, width, theme)]
    if run.reason:
        lines += [line(("  ", "plain"), (one, run.style)) for one in wrapped(run.reason, max(1, width - 2))]
    if run.earlier:
        lines.append(line((f"  {sign(theme, 'more')} {run.earlier:,} earlier steps", "faint")))
    slowest = _slowest(run.steps)
    for step in run.steps:
        lines += _step(step, theme, width, elapsed, is_slowest=step is slowest)
    return lines


def _slowest(steps: Sequence[StepView]) -> StepView | None:
    """Return the step that took longest, where there are several to compare."""
    ended = [step for step in steps if step.ended is not None]
    longest = max(ended, key=lambda step: (step.ended or 0.0) - step.begun, default=None)
    return longest if len(ended) > 1 and longest is not None and (longest.ended or 0.0) > longest.begun else None


def _step(step: StepView, theme: Theme, width: int, elapsed: float, *, is_slowest: bool) -> list[Text]:
    took = span_text((step.ended if step.ended is not None else elapsed) - step.begun, is_exact=step.is_exact)
    is_plain = step.style == "good"
    first = line(
        (f"  {sign(theme, step.style)} ", step.style),
        (step.title, "plain"),
        (f"  {step.kind}" if step.kind and width >= ROOMY else "", "faint"),
        ("" if is_plain else f"  {step.status.replace('_', ' ')}", step.style),
        ("  slowest" if is_slowest else "", "waiting"),
        (f"  {step.digest}" if step.digest else "", "faint"),
    )
    tokens = f"{step.tokens:,}" if step.tokens else ""
    lines = [_columns(first, took, tokens, width, theme)]
    return lines + [line(("    ", "plain"), (one, step.style)) for one in wrapped(step.error, max(1, width - 4)) if one]


def _columns(first: Text, took: str, tokens: str, width: int, theme: Theme) -> Text:
    """Return a row: what it is about, how long it took, its tokens."""
    right = f"{took.rjust(8)}{f'{tokens} tok'.rjust(13) if tokens else ' ' * 13}"
    if width < 48:
        right = took.rjust(8)
    text = padded(first, max(1, width - len(right)), theme) + line((right, "plain"))
    text.rstrip()
    return text
