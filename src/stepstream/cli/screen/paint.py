"""Lines → what a terminal understands: the only place that writes escape sequences into text."""

from collections.abc import Sequence
from typing import Final

from rich.color import ColorSystem
from rich.console import Console
from rich.text import Text

from stepstream.views.escaping import one_line
from stepstream.views.model import Theme

RESET: Final = "\x1b[0m"
CLEAR_REST: Final = "\x1b[K"


class Painter:
    """Paint lines, and of a screen only those that differ from what it shows."""

    def __init__(self, theme: Theme) -> None:
        self._theme = theme
        self._console = Console(color_system=None, no_color=True, force_terminal=False, legacy_windows=False)
        self._shown: list[Text] = []
        self._size = (0, 0)

    def painted(self, line: Text) -> str:
        """Return a line with its colours. No control character of its text is left in it."""
        parts = []
        for segment in line.render(self._console):
            text, style = one_line(segment.text), segment.style
            if style is not None:
                style = style if self._theme.colour else style.without_color
                text = style.render(text, color_system=ColorSystem.STANDARD, legacy_windows=False)
            parts.append(text)
        return "".join(parts)

    def forget(self) -> None:
        """Forget what the screen shows: the next frame is drawn whole."""
        self._size = (0, 0)

    def screen(self, lines: Sequence[Text], width: int, height: int) -> bytes:
        """Return what makes the screen show `lines`."""
        parts = []
        if self._size != (width, height):
            self._size, self._shown = (width, height), []
            parts.append(f"{RESET}\x1b[2J")
        shown = self._shown
        for at in range(max(len(lines), len(shown))):
            new = lines[at] if at < len(lines) else Text()
            if at >= len(shown) or shown[at] != new:
                rest = CLEAR_REST if new.cell_len < width else ""  # at the last column it would take that one away
                parts.append(f"\x1b[{at + 1};1H{self.painted(new)}{rest}")
        self._shown = list(lines)
        return "".join(parts).encode("utf-8", "backslashreplace")
