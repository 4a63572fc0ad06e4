"""What a screen shows of runs at one moment: plain data, its texts escaped, so that a renderer only has to lay it out.

The texts are made for one `Theme`: a screen without Unicode gets escapes, one that redacts gets no content at all.
"""

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from stepstream.views.escaping import in_ascii, one_line

LINE_LIMIT: Final = 1_000
"""Characters of a text that become one line: more are never shown, and need not be escaped."""

Style: TypeAlias = Literal["busy", "waiting", "good", "bad", "stopped", "partial", "unknown"]
"""The class of a status: it decides glyph and colour."""

Kind: TypeAlias = Literal["code", "json", "raw", "text", "output", "logs", "hits", "hidden"]
"""How a text is laid out and coloured."""

STYLES: Final[Mapping[str, Style]] = {
    "queued": "busy",
    "in_progress": "busy",
    "cancelling": "busy",
    "requires_action": "waiting",
    "completed": "good",
    "failed": "bad",
    "cancelled": "stopped",
    "expired": "stopped",
    "incomplete": "partial",
}
"""By status, for those that servers are known to send. A newer one is `unknown`."""


def style_of(status: str) -> Style:
    """Return the style of a status."""
    return STYLES.get(status, "unknown")


class Theme(Struct, frozen=True):
    """What the screen can show, and what its user wants to see."""

    colour: bool = True
    unicode: bool = True
    redact: bool = False
    """Whether prompts, arguments and outputs are hidden."""

    def line(self, text: object) -> str:
        """Return the beginning of `text` as one line that is harmless and that the screen can show."""
        line = one_line(str(text)[:LINE_LIMIT])
        return line if self.unicode else in_ascii(line)


class Body(Struct, frozen=True):
    """A text that may still grow: its end, as far as that fits on a screen."""

    kind: Kind
    text: str
    is_cut: bool = False
    """Whether there is more before it."""


class CallView(Struct, frozen=True):
    """A tool call."""

    id: str
    title: str
    style: Style
    bodies: tuple[Body, ...] = ()


class StepView(Struct, frozen=True):
    """A step, or a message that belongs to no step. Times are seconds from the beginning of its run."""

    id: str
    title: str
    status: str
    style: Style
    begun: float
    ended: float | None
    key: str = ""
    """Its id as the server sent it. It is never drawn."""
    is_exact: bool = True
    """Whether the times were measured here. Those of a server are whole seconds."""
    kind: str = ""
    """The kind of its calls, where the title names only what is called."""
    digest: str = ""
    """What it was about, in one line, once it has ended."""
    error: str = ""
    tokens: int = 0
    calls: tuple[CallView, ...] = ()
    """Several ran in parallel."""
    bodies: tuple[Body, ...] = ()


class RunView(Struct, frozen=True):
    """A run with its newest steps."""

    id: str
    model: str
    status: str
    style: Style
    zero: float
    """When it began, by the clock that gives `now`."""
    ended: float | None
    """When it ended, in seconds from its beginning."""
    is_exact: bool = True
    tokens: int = 0
    rate: float = 0.0
    """Events per second, just now."""
    anomalies: int = 0
    reason: str = ""
    """Why it ended as it did, or what it waits for."""
    steps: tuple[StepView, ...] = ()
    earlier: int = 0
    """How many steps came before these."""


class ScreenView(Struct, frozen=True):
    """Everything that one screen shows."""

    runs: tuple[RunView, ...] = ()
    theme: Theme = Theme()
    source: str = ""
    earlier: int = 0
    """How many runs came before these."""
    selected: str | None = None
    """The key of the step that the keys act on."""
    is_paused: bool = False
    notice: str = ""
    """What the last key did."""
