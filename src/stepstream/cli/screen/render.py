"""`render`: a view and the size of a screen in, lines out. It is pure: the same in, the same out."""

from typing import Final, NamedTuple

from rich.text import Text

from stepstream.cli.screen.blocks import Block, blocks_of
from stepstream.cli.screen.lines import fitted, glyph, line, padded, sign, span_text, wrapped
from stepstream.views.model import RunView, ScreenView, StepView, Theme

KEYS: Final = (("q", "quit"), ("space", "pause"), ("j k", "select"), ("enter", "open"), ("s", "save"))
NARROW: Final = 30
"""Below so many columns there is no timeline."""

ROOMY: Final = 60
"""From so many columns on, there is room for kinds and models beside the names."""

_TIME: Final = 8
"""Cells for a duration."""

_ERROR_LINES: Final = 3


class Row(NamedTuple):
    """What is drawn of a step: its own line, what always comes with it, and what has room or not."""

    step: StepView
    fixed: list[Text]
    blocks: list[Block]


class Panel(NamedTuple):
    """What is drawn of a run."""

    heads: list[Text]
    rows: list[Row]
    earlier: int


def render(view: ScreenView, width: int, height: int, now: float) -> list[Text]:
    """Return at most `height` lines of at most `width` cells. `now` is by the clock that the view was built by."""
    if width < 1 or height < 1:
        return []
    theme = view.theme
    room = height - 2 if height > 4 else height
    if not view.runs:
        waiting = line((glyph(theme, "busy", now), "busy"), (f" waiting for {view.source or 'a run'}", "faint"))
        lines = [fitted(waiting, width, theme)]
    else:
        lines = _body(view, width, room, now)
    lines = lines[-room:]
    if height > 4:
        lines += [Text(end="")] * (height - 1 - len(lines)) + [_footer(view, width)]
    return [fitted(one, width, theme) for one in lines]


def _footer(view: ScreenView, width: int) -> Text:
    theme = view.theme
    dot = f" {sign(theme, 'dot')} "
    if view.notice:
        return fitted(line((view.notice, "head")), width, theme)
    text = line(("paused", "waiting")) if view.is_paused else line()
    for key, does in KEYS:
        label = "go on" if key == "space" and view.is_paused else does
        entry = line((dot if text.plain else "", "faint"), (key, "plain"), (f" {label}", "faint"))
        if text.cell_len + entry.cell_len <= width:
            text.append_text(entry)
    return fitted(text, width, theme)


def _body(view: ScreenView, width: int, room: int, now: float) -> list[Text]:
    """Return the runs, within `room` lines: the steps that ended first are left out first, then texts are cut."""
    theme = view.theme
    panels = [_panel(run, view, width, now) for run in view.runs]
    hidden = view.earlier
    while len(panels) > 1 and sum(len(panel.heads) + 2 for panel in panels) > room:
        panels, hidden = panels[1:], hidden + 1
    more = [_more(hidden, "run", 0, theme)] if hidden else []
    while (excess := _least(panels) + len(more) - room) > 0:
        at = max(range(len(panels)), key=lambda index: len(panels[index].rows))
        fewer = _without_oldest(panels[at], excess, view.selected)
        if fewer is None:
            break
        panels[at] = fewer
    budgets = _budgets(panels, room - _least(panels) - len(more))
    lines = list(more)
    for number, panel in enumerate(panels):
        if number:
            lines.append(Text(end=""))
        lines += panel.heads
        lines += [_more(panel.earlier, "step", 2, theme)] if panel.earlier else []
        for row in panel.rows:
            lines += row.fixed
            for block in row.blocks:
                lines += block.shown(budgets.pop(0))
    return lines


def _more(count: int, noun: str, indent: int, theme: Theme) -> Text:
    text = f"{count:,} earlier {noun}{'' if count == 1 else 's'}"
    return line((f"{' ' * indent}{sign(theme, 'more')} {text}", "faint"))


def _least(panels: list[Panel]) -> int:
    """Return the lines that panels take without their texts."""
    lines = max(0, len(panels) - 1)
    for panel in panels:
        lines += len(panel.heads) + bool(panel.earlier)
        lines += sum(len(row.fixed) + sum(len(block.heads) for block in row.blocks) for row in panel.rows)
    return lines


def _without_oldest(panel: Panel, excess: int, selected: str | None) -> Panel | None:
    """Return a panel without its oldest ended step, or else a step less, but never without the one selected."""
    droppable = [row for row in panel.rows if row.step.key != selected]
    if len(panel.rows) <= 1 or not droppable:
        return None
    oldest = next((row for row in droppable if row.step.ended is not None), droppable[0])
    return Panel(panel.heads, [row for row in panel.rows if row is not oldest], panel.earlier + 1)


def _budgets(panels: list[Panel], room: int) -> list[int]:
    """Share `room` lines among the blocks: each gets what it can use of an equal part, the rest goes to the others."""
    wants = [len(block.lines) for panel in panels for row in panel.rows for block in row.blocks]
    given = [0] * len(wants)
    open_ = [at for at, want in enumerate(wants) if want]
    while room > 0 and open_:
        part = max(1, room // len(open_))
        for at in list(open_)[::-1]:
            more = min(part, wants[at] - given[at], room)
            given[at] += more
            room -= more
            if given[at] == wants[at]:
                open_.remove(at)
    return given


def _panel(run: RunView, view: ScreenView, width: int, now: float) -> Panel:
    theme = view.theme
    end = run.ended if run.ended is not None else max(0.0, now - run.zero)
    spans = [step.ended for step in run.steps if step.ended is not None]
    total = max([end, *spans, 0.001])
    rows = [_row(step, view, width, now, end, total) for step in run.steps]
    heads = _heads(run, width, theme, now, end)
    if run.reason:
        style = "bad" if run.style == "bad" else "waiting" if run.style in ("waiting", "partial") else "faint"
        heads += [line(("  ", "plain"), (one, style)) for one in _some(run.reason, width - 2, theme)]
    return Panel(heads, rows, run.earlier)


def _some(text: str, width: int, theme: Theme) -> list[str]:
    """Return a text in a few lines."""
    lines = list(wrapped(text, max(1, width)))
    if len(lines) > _ERROR_LINES:
        mark = sign(theme, "cut")
        lines = [*lines[: _ERROR_LINES - 1], lines[_ERROR_LINES - 1][: max(0, width - len(mark))] + mark]
    return [fitted(line((one, "plain")), max(1, width), theme).plain for one in lines]


def _heads(run: RunView, width: int, theme: Theme, now: float, elapsed: float) -> list[Text]:
    """Return the head of a run in one line, or in two where it does not fit."""
    name = line((f"{glyph(theme, run.style, now)} ", run.style), (run.id, "head"))
    status = line((f"  {run.status.replace('_', ' ')}", run.style))
    model = line((f"  {run.model}" if run.model else "", "faint"))
    figures = line()
    for part, style in _figures(run, elapsed):
        figures.append_text(line((f" {sign(theme, 'dot')} " if figures.plain else "", "faint"), (part, style)))
    gap = width - sum(one.cell_len for one in (name, model, status, figures))
    if gap >= 2:
        return [name + model + status + line((" " * gap, "plain")) + figures]
    beside = model.cell_len + figures.cell_len + 2 <= width
    second = line(("  ", "plain")) + figures + (model if beside else line())
    return [fitted(name + status, width, theme), fitted(second, width, theme)]


def _figures(run: RunView, elapsed: float) -> list[tuple[str, str]]:
    figures = [(span_text(elapsed, is_exact=run.is_exact), "plain")]
    if run.tokens:
        figures.append((f"{run.tokens:,} token{'' if run.tokens == 1 else 's'}", "plain"))
    if run.ended is None:
        rate = f"{run.rate:,.0f}"
        figures.append((f"{rate} event{'' if rate == '1' else 's'}/s", "faint"))
    if run.anomalies:
        figures.append((f"{run.anomalies:,} anomal{'y' if run.anomalies == 1 else 'ies'}", "waiting"))
    return figures


def _row(step: StepView, view: ScreenView, width: int, now: float, elapsed: float, total: float) -> Row:
    theme = view.theme
    ended = step.ended if step.ended is not None else max(elapsed, step.begun)
    bar = 0 if width < NARROW else min(max(width // (4 if width >= ROOMY else 5), 6), 40)
    space = width - 2 - _TIME - (bar + 1 if bar else 0)
    is_selected = step.key == view.selected
    is_waiting = step.ended is None
    title = line(
        (f"{sign(theme, 'chosen') if is_selected else ' '} ", "busy"),
        (f"{glyph(theme, step.style, now)} ", step.style),
        (step.title, "head" if is_waiting or is_selected else "plain"),
        (f"  {step.kind}" if step.kind and width >= ROOMY else "", "faint"),
        (f"  {step.status}" if step.style in ("bad", "stopped", "partial", "unknown") else "", step.style),
        (f"  {step.digest}" if step.digest and not is_waiting else "", "faint"),
    )
    took = span_text(ended - step.begun, is_exact=step.is_exact).rjust(_TIME - 1)
    first = padded(title, max(1, space), theme) + line((f" {took}", "faint" if not is_waiting else "plain"))
    if bar:
        first = first + line(("  ", "plain")) + _bar(step, ended, total, bar, theme)
    errors = _some(step.error, width - 4, theme) if step.error else []
    style = "bad" if step.style == "bad" else "faint"
    fixed = [fitted(first, width, theme), *(line(("    ", "plain"), (error, style)) for error in errors)]
    return Row(step, fixed, _blocks(step, width, theme, now))


def _blocks(step: StepView, width: int, theme: Theme, now: float) -> list[Block]:
    inner = width - 2
    if inner < 12:
        return []
    pad = line(("  ", "plain"))
    return [
        Block([pad + one for one in block.heads], [pad + one for one in block.lines])
        for block in blocks_of(step, inner, theme, now)
    ]


def _bar(step: StepView, ended: float, total: float, width: int, theme: Theme) -> Text:
    """Return when a step was, against the whole run."""
    first = min(int(step.begun / total * width), width - 1)
    last = min(max(round(ended / total * width), first + 1), width)
    return line((" " * first, "plain"), (sign(theme, "bar") * (last - first), step.style))
