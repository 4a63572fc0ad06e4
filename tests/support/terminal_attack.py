"""A stream that attacks the terminal from every text in it."""

import json
import re
from typing import Any

ATTACK = (
    "\x1b]52;c;ZXZpbA==\x07"  # the clipboard
    "\x1b[2J\x1b[31m\x1b]0;title\x1b\\"  # the screen, the colour, the title
    "\x9b31m\x9d0;title\x9c\x85"  # the same in C1
    "\x00\x07\x08\r\n\t\x0b\x0c\x7f"
    "\u202e\u202a\u2066\u2069\u200f\u200e\u061c\u2028\u2029"  # the direction of text, and its lines
    "end"
)
ONE_LINE = re.sub("[\r\n\0]", "", ATTACK)
"""What fits into a field of an event stream as it stands."""


CALL = {"id": f"call{ATTACK}", "type": ATTACK, "name": ATTACK, ATTACK: {ATTACK: [ATTACK]}}
FUNCTION = {
    "id": f"fn{ATTACK}",
    "type": "function",
    "function": {"name": ATTACK, "arguments": ATTACK, "output": ATTACK},
}
STEP = {
    "id": f"step{ATTACK}", "run_id": f"run{ATTACK}", "thread_id": ATTACK, "type": "tool_calls", "object": ATTACK,
    "metadata": {ATTACK: ATTACK}, "last_error": {"code": ATTACK, "message": ATTACK}, ATTACK: ATTACK,
}  # fmt: skip
RUN = {"id": f"run{ATTACK}", "thread_id": ATTACK, "model": ATTACK, "instructions": ATTACK, ATTACK: [ATTACK]}
TEXT = {
    "value": ATTACK,
    "annotations": [{"type": "file_citation", "text": ATTACK, "file_citation": {"file_id": ATTACK}}],
}
PIECE = {"index": 0, "type": "text", "text": {"value": ATTACK}}
MESSAGE = {"id": f"msg{ATTACK}", "run_id": f"run{ATTACK}", "role": ATTACK, "metadata": {ATTACK: ATTACK}}


def details(*calls: dict[str, Any]) -> dict[str, Any]:
    return {"step_details": {"type": "tool_calls", "tool_calls": list(calls)}}


EVENTS: list[tuple[str, Any]] = [
    ("thread.run.created", {**RUN, "status": "queued"}),
    ("thread.run.in_progress", {**RUN, "status": ATTACK}),
    ("thread.run.step.created", {**STEP, "status": "in_progress", **details()}),
    ("thread.run.step.delta", {"id": STEP["id"], "delta": {ATTACK: ATTACK, **details({"index": 0, **CALL})}}),
    ("thread.run.step.delta", {"id": STEP["id"], "delta": details({"index": 1, **FUNCTION})}),
    ("thread.run.step.delta", {"id": ATTACK, "delta": details({"index": 0})}),
    ("thread.run.step.delta", {"id": STEP["id"], "delta": details({"index": ATTACK})}),
    ("thread.run.step.completed", {**STEP, "status": ATTACK, **details(CALL, FUNCTION)}),
    ("thread.message.created", {**MESSAGE, "status": "in_progress", "content": []}),
    ("thread.message.delta", {"id": MESSAGE["id"], "delta": {"content": [PIECE]}}),
    ("thread.message.completed", {**MESSAGE, "status": "completed", "content": [{"type": "text", "text": TEXT}]}),
    (ONE_LINE, {ATTACK: ATTACK}),
]  # fmt: skip


def attacking(*, is_raw: bool) -> list[str]:
    """Return the blocks of the stream, the attack in its JSON as it is or as escapes."""
    blocks = [f"event: {name}\ndata: {json.dumps(data, ensure_ascii=not is_raw)}\n\n" for name, data in EVENTS]
    blocks.append(f"id: {ONE_LINE}\nevent: {ONE_LINE}\ndata: {ONE_LINE}\ndata: {ONE_LINE}\n\n")
    blocks.append(f"event: thread.run.step.completed\ndata: {{{ONE_LINE}\n\n")
    blocks.append(f"event: error\ndata: {json.dumps({'code': ATTACK, 'message': ATTACK, 'type': ATTACK})}\n\n")
    return blocks
