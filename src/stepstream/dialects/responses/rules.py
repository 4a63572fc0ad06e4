"""The rule of each event that is about an item."""

import re
from collections.abc import Callable, Mapping
from typing import Final

from stepstream.dialects.responses.ends import add_item, end_item
from stepstream.dialects.responses.growth import GROWTHS, Growth, finish, grow, open_entry
from stepstream.dialects.responses.parts import (
    add_shell_output,
    annotate,
    finish_part,
    finish_shell_output,
    move_on,
    open_part,
)
from stepstream.dialects.responses.turn import Turn


def _growing(growth: Growth, rule: Callable[[Turn, Growth], None]) -> Callable[[Turn], None]:
    return lambda turn: rule(turn, growth)


RULES: Final[Mapping[str, Callable[[Turn], None]]] = {
    "response.output_item.added": add_item,
    "response.output_item.done": end_item,
    "response.content_part.added": open_part,
    "response.content_part.done": finish_part,
    "response.reasoning_summary_part.added": open_part,
    "response.reasoning_summary_part.done": finish_part,
    "response.output_text.annotation.added": annotate,
    "response.shell_call_output_content.delta": add_shell_output,
    "response.shell_call_output_content.done": finish_shell_output,
    "response.shell_call_command.added": _growing(GROWTHS["response.shell_call_command"], open_entry),
    **{f"{name}.delta": _growing(growth, grow) for name, growth in GROWTHS.items()},
    **{f"{name}.done": _growing(growth, finish) for name, growth in GROWTHS.items()},
}
"""What is done with each event about an item. Those that only say how far a call is go by their form (`_PHASE`)."""

_PHASE: Final = re.compile(r"response\.(\w+_call|mcp_list_tools|compaction)\.(\w+)")

PHASES: Final[Mapping[str, str]] = {"partial_image": "generating"}
"""The word for how far a call is, where it is not that of the event."""


def rule_of(name: str) -> Callable[[Turn], None] | None:
    """Return what is done with an event, None where it is about no item."""
    return RULES.get(name) or _phase_rule(name)


def _phase_rule(name: str) -> Callable[[Turn], None] | None:
    found = _PHASE.fullmatch(name)
    if found is None:
        return None
    item_type, phase = found.groups()
    return lambda turn: move_on(turn, item_type, PHASES.get(phase, phase))
