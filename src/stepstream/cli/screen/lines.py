"""Lines: styled text of a known width in cells."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from rich.cells import cell_len, chop_cells
from rich.style import Style as RichStyle
from rich.syntax import Syntax
from rich.text import Text

from stepstream.views.model import Style, Theme

RICH_STYLES: Final = {
    "plain": RichStyle.null(),
    "head": RichStyle(bold=True),
    "faint": RichStyle(dim=True),
    "busy": RichStyle(color="cyan"),
    "waiting": RichStyle(color="yellow"),
    "good": RichStyle(color="green"),
    "bad": RichStyle(color="red"),
    "stopped": RichStyle(color="magenta"),
    "partial": RichStyle(color="yellow"),
    "unknown": RichStyle(color="blue"),
}
"""Sixteen colours only: they are the ones that the terminal's owner has chosen."""

_UNICODE: Final = {
    "good": "✓", "busy": "○", "bad": "✗", "waiting": "◆", "stopped": "⊘", "partial": "◐", "unknown": "•", "cut": "…",
    "dot": "·", "chosen": "▸", "gutter": "│", "output": "→", "bar": "━", "more": "⋮",
}  # fmt: skip
_ASCII: Final = {
    "good": "+", "busy": "o", "bad": "x", "waiting": "?", "stopped": "-", "partial": "~", "unknown": "*", "cut": "...",
    "dot": "|", "chosen": ">", "gutter": "|", "output": ">", "bar": "=", "more": ":",
}  # fmt: skip
_SPINNERS: Final = {True: "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", False: "|/-\\"}
TURNS: Final = 8
"""Frames of a spinner in a second."""


def sign(theme: Theme, name: str) -> str:
    """Return a sign as the terminal can show it."""
    return (_UNICODE if theme.unicode else _ASCII)[name]


def glyph(theme: Theme, style: Style, now: float) -> str:
    """Return the sign of a status. What is busy spins."""
    if style == "busy":
        frames = _SPINNERS[theme.unicode]
        return frames[int(now * TURNS) % len(frames)]
    return sign(theme, style)


def line(*parts: tuple[str, str]) -> Text:
    """Return a line of texts with the names of their styles."""
    text = Text(no_wrap=True, end="")
    for part, style in parts:
        if part:
            text.append(part, RICH_STYLES[style])
    return text


def fitted(text: Text, width: int, theme: Theme) -> Text:
    """Return a line of at most `width` cells: what is too much is cut off at its end, and that is marked."""
    if text.cell_len <= width:
        return text
    mark = sign(theme, "cut")
    kept = text.copy()
    kept.truncate(max(0, width - len(mark)))
    kept.append(mark[: max(0, width)], RICH_STYLES["faint"])
    return kept


def padded(text: Text, width: int, theme: Theme) -> Text:
    """Return a line of exactly `width` cells."""
    text = fitted(text, width, theme)
    missing = width - text.cell_len
    if missing > 0:
        text = text.copy()
        text.append(" " * missing)
    return text


def wrapped(text: str, width: int) -> Iterator[str]:
    """Yield a line in pieces of at most `width` cells, broken between words where that goes."""
    row, taken = "", 0
    for at, word in enumerate(text.split(" ")):
        needs = cell_len(word)
        if at and taken + 1 + needs <= width:
            row, taken = f"{row} {word}", taken + 1 + needs
            continue
        if at:
            yield row
        if needs > width:
            *full, word = chop_cells(word, width)
            yield from full
            needs = cell_len(word)
        row, taken = word, needs
    yield row


@lru_cache(64)
def highlighted(code: str, lexer: str) -> tuple[Text, ...]:
    """Return the lines of `code` in colours."""
    syntax: Any = Syntax("", lexer, theme="ansi_dark", background_color="default")
    text = syntax.highlight(code)
    lines = list(text.split("\n", allow_blank=True))[: code.count("\n") + 1]
    for one in lines:
        one.no_wrap, one.end = True, ""
    return tuple(lines)


def span_text(seconds: float, *, is_exact: bool) -> str:
    """Return a duration as people say it: `4.2s`, `17s`, `2:05`, `1:02:05`."""
    seconds = min(max(seconds, 0.0), 3.6e6)
    if seconds < 99.95 and is_exact:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 100:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
