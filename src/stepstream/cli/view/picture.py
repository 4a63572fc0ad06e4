"""What is to be seen of runs at one moment: plain data, its texts harmless already, that `render` makes into lines."""

from typing import Literal, TypeAlias

from msgspec import Struct

Mood: TypeAlias = Literal["busy", "waiting", "good", "bad", "stopped", "partial", "unknown"]
"""What a status comes down to: it decides glyph and colour."""

Kind: TypeAlias = Literal["code", "json", "raw", "text", "output", "logs", "hits", "hidden"]
"""How a text is laid out and coloured."""

MOODS: dict[str, Mood] = {
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
"""Statuses that servers are known to send. A newer one is `unknown`."""


class Theme(Struct, frozen=True):
    """What the terminal can show, and what its user wants to see."""

    colour: bool = True
    unicode: bool = True
    redact: bool = False
    """Whether prompts, arguments and outputs are hidden."""


class Body(Struct, frozen=True):
    """A text that may grow: its end, as far as that fits on a screen."""

    kind: Kind
    text: str
    is_cut: bool = False
    """Whether there is more before it."""


class CallPicture(Struct, frozen=True):
    """A tool call."""

    id: str
    title: str
    mood: Mood
    bodies: tuple[Body, ...] = ()


class StepPicture(Struct, frozen=True):
    """A step, or a message that belongs to no step. Times are seconds from the beginning of its run."""

    id: str
    title: str
    status: str
    mood: Mood
    begun: float
    ended: float | None
    key: str = ""
    """Its id as the server sent it. It is never drawn."""
    is_exact: bool = True
    """Whether the times were measured here. Those of a server are whole seconds."""
    kind: str = ""
    """The kind of its calls, where their names do not tell."""
    digest: str = ""
    """What it was about, in one line, once it has ended."""
    error: str = ""
    tokens: int = 0
    calls: tuple[CallPicture, ...] = ()
    """More than one: siblings."""
    bodies: tuple[Body, ...] = ()


class RunPicture(Struct, frozen=True):
    """A run with its newest steps."""

    id: str
    model: str
    status: str
    mood: Mood
    zero: float
    """When it began, by the clock that gives `now`."""
    ended: float | None
    """When it ended, in seconds from its beginning."""
    is_exact: bool = True
    tokens: int = 0
    rate: float = 0.0
    """Events a second, just now."""
    anomalies: int = 0
    reason: str = ""
    """Why it ended as it did, or what it waits for."""
    steps: tuple[StepPicture, ...] = ()
    earlier: int = 0
    """How many steps came before these."""


class Picture(Struct, frozen=True):
    """Everything that is to be drawn."""

    runs: tuple[RunPicture, ...] = ()
    theme: Theme = Theme()
    source: str = ""
    earlier: int = 0
    """How many runs came before these."""
    selected: str | None = None
    """The key of the step that the keys act on."""
    is_paused: bool = False
    notice: str = ""
    """What the last key did."""
