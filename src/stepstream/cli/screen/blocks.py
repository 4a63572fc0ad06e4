"""What a step holds, as blocks of lines: one below the other, or side by side for calls that run in parallel."""

from typing import Final, NamedTuple

from rich.cells import cell_len
from rich.text import Text

from stepstream.cli.screen.lines import RICH_STYLES, fitted, glyph, highlighted, line, padded, sign, wrapped
from stepstream.views.model import Body, CallView, StepView, Theme

MOST_LINES: Final = 40
"""Of one body: no block gets more."""

COLUMN: Final = 34
"""Cells that a call needs to stand beside another one."""

INDENT: Final = "  "


class Block(NamedTuple):
    """Lines of which the newest are shown, as many as there is room for; `heads` always are."""

    heads: list[Text]
    lines: list[Text]

    def shown(self, room: int) -> list[Text]:
        """Return the heads and the last `room` of the lines."""
        return [*self.heads, *(self.lines[-room:] if room > 0 else [])]


def blocks_of(step: StepView, width: int, theme: Theme, now: float) -> list[Block]:
    """Return what a step holds: its calls, else its own texts."""
    if len(step.calls) > 1:
        return _siblings(step.calls, width, theme, now)
    bodies = step.calls[0].bodies if step.calls else step.bodies
    lines = _lines(bodies, width - len(INDENT), theme)
    return [Block([], [line((INDENT, "plain")) + one for one in lines])] if lines else []


def _siblings(calls: tuple[CallView, ...], width: int, theme: Theme, now: float) -> list[Block]:
    columns = min(len(calls), (width - len(INDENT)) // COLUMN)
    if columns < 2:
        return [_sibling(call, width, theme, now) for call in calls]
    each = (width - len(INDENT) - (columns - 1)) // columns
    rows = [calls[at : at + columns] for at in range(0, len(calls), columns)]
    return [_row(row, each, theme, now) for row in rows]


def _title(call: CallView, theme: Theme, now: float) -> Text:
    return line((glyph(theme, call.style, now), call.style), (f" {call.title}", "plain"), (f"  {call.id}", "faint"))


def _sibling(call: CallView, width: int, theme: Theme, now: float) -> Block:
    """Return a call below its siblings."""
    title = fitted(_title(call, theme, now), width - len(INDENT), theme)
    lines = _lines(call.bodies, width - 2 * len(INDENT), theme)
    indented = [line((2 * INDENT, "plain")) + one for one in lines]
    return Block([line((INDENT, "plain")) + title], indented)


def _row(calls: tuple[CallView, ...], each: int, theme: Theme, now: float) -> Block:
    """Return calls side by side, their last lines on one level."""
    titles = [padded(_title(call, theme, now), each, theme) for call in calls]
    columns = [_lines(call.bodies, each, theme) for call in calls]
    height = max(map(len, columns))
    lines = []
    for at in range(height):
        cells = [column[at] if at < len(column) else Text() for column in columns]
        lines.append(_beside([padded(cell, each, theme) for cell in cells]))
    return Block([_beside(titles)], lines)


def _beside(cells: list[Text]) -> Text:
    text = line((INDENT, "plain"))
    for at, cell in enumerate(cells):
        text.append(" " if at else "")
        text.append_text(cell)
    text.rstrip()
    return text


def _lines(bodies: tuple[Body, ...], width: int, theme: Theme) -> list[Text]:
    """Return bodies behind a gutter. The first line of an output has an arrow."""
    lines: list[Text] = []
    for body in bodies:
        shown = _body(body, max(1, width - 2), theme)
        for at, one in enumerate(shown):
            is_output = body.kind in ("logs", "output") and at == 0 and not body.is_cut
            gutter = line((f"{sign(theme, 'output' if is_output else 'gutter')} ", "faint"))
            lines.append(gutter + one)
    return lines


def _body(body: Body, width: int, theme: Theme) -> list[Text]:
    text = body.text.rstrip("\n")
    if body.kind == "json":
        flat = " ".join(row.strip() for row in text.split("\n")) if len(text) < 8 * width else text
        text = flat if cell_len(flat) <= width else text
    match body.kind:
        case "code" | "json":
            newest = text.split("\n")[-MOST_LINES:]
            cut = [row[: 4 * width] for row in newest]
            rows = highlighted("\n".join(cut), "python" if body.kind == "code" else "json")
            return [fitted(row, width, theme) for row in rows]
        case "logs":
            return [fitted(line((row[: 4 * width], "plain")), width, theme) for row in text.split("\n")[-MOST_LINES:]]
        case "hidden":
            return [fitted(line((row, "faint")), width, theme) for row in text.split("\n")]
        case "hits":
            return [_hit(row, width, theme) for row in text.split("\n")[:MOST_LINES]]
        case _:
            newest = text.split("\n")[-MOST_LINES:]
            pieces = [piece for row in newest for piece in wrapped(row, width)]
            return [fitted(line((piece, "plain")), width, theme) for piece in pieces[-MOST_LINES:]]


def _hit(row: str, width: int, theme: Theme) -> Text:
    text = Text(row, no_wrap=True, end="")
    text.stylize(RICH_STYLES["good"], 0, 4)
    parts = row.split("  ", 2)
    if len(parts) == 3:
        text.stylize(RICH_STYLES["faint"], len(row) - len(parts[2]))
    return fitted(text, width, theme)
