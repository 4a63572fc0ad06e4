"""Whatever a server writes, no byte reaches the terminal that the view did not write itself."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from stepstream import Accumulator, Anomaly, Frame, decode_event
from stepstream.cli.screen.full_text import full_text
from stepstream.cli.screen.lines import line
from stepstream.cli.screen.paint import Painter
from stepstream.cli.screen.render import render
from stepstream.cli.screen.summary import summary
from stepstream.fold.accumulator import accumulate
from stepstream.views.builder import ViewBuilder
from stepstream.views.model import Theme
from tests.support.tables import each_row
from tests.support.terminal_attack import attacking
from tests.support.terminals import Pipe, Terminal

EVIL = (
    "\x1b]52;c;ZXZpbA==\x07"  # the clipboard
    "\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\"  # a link
    "\x1b[45m\x1b[3J\x1bc\x9b45m\x9d0;title\x9c"  # colours, the scrollback, a reset, the same in C1
    "\x00\x07\x08\r\x0b\x0c\x7f\x85"
    "\u202e\u202a\u2066\u2069\u200f\u200e\u061c\u2028\u2029"
    "[bold red]loud[/] [link=http://evil.example]x[/link]"
)

OURS = re.compile(
    r"\x1b\[\?(?:1049|25|7)[hl]"  # the other screen, the cursor, wrapping
    r"|\x1b\[2J|\x1b\[K|\x1b\[\d+;1H"
    r"|\x1b\[(?:0|1|2|3[0-7]|9[0-7]|39|49)(?:;(?:1|2|3[0-7]|9[0-7]|39|49))*m"
)
"""The escape sequences that we write: none sets a background, names a link or speaks to the operating system."""

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

RUN = {"id": f"run{EVIL}", "model": EVIL, "thread_id": EVIL, "instructions": EVIL}
STEP = {"id": f"step{EVIL}", "run_id": f"run{EVIL}", "type": "tool_calls", "status": "in_progress"}
CALLS: list[dict[str, Any]] = [
    {"id": f"a{EVIL}", "type": "code_interpreter",
     "code_interpreter": {"input": EVIL, "outputs": [{"index": 0, "type": "logs", "logs": EVIL},
                                                     {"index": 1, "type": "image", "image": {"file_id": EVIL}}]}},
    {"id": f"b{EVIL}", "type": "file_search", "file_search": {"results": [
        {"file_id": EVIL, "file_name": EVIL, "score": 0.5, "content": [{"type": "text", "text": EVIL}]}]}},
    {"id": f"c{EVIL}", "type": "function", "function": {"name": EVIL, "arguments": EVIL, "output": EVIL}},
    {"id": f"d{EVIL}", "type": "mcp", "name": EVIL, "arguments": f'{{"{EVIL[-20:]}": 1}}', "server_label": EVIL},
    {"id": f"e{EVIL}", "type": f"tool{EVIL}", EVIL: {EVIL: [EVIL]}},
]  # fmt: skip
MESSAGE = {"id": f"msg{EVIL}", "run_id": f"run{EVIL}", "role": EVIL, "status": "in_progress", "content": []}
TEXT = {"index": 0, "type": "text", "text": {"value": EVIL}}
REFUSAL = {"index": 1, "type": "refusal", "refusal": EVIL}


def details(calls: list[dict[str, Any]]) -> dict[str, Any]:
    return {"step_details": {"type": "tool_calls", "tool_calls": calls}}


EVENTS: list[tuple[str, Any]] = [
    ("thread.run.created", {**RUN, "status": "in_progress"}),
    ("thread.run.step.created", {**STEP, **details([])}),
    *(
        ("thread.run.step.delta", {"id": STEP["id"], "delta": details([{"index": at, **call}])})
        for at, call in enumerate(CALLS)
    ),
    ("thread.run.step.delta", {"id": EVIL, "delta": details([{"index": EVIL}])}),
    ("thread.run.step.created", {**STEP, "id": f"failed{EVIL}", **details(CALLS[:1])}),
    (
        "thread.run.step.failed",
        {**STEP, "id": f"failed{EVIL}", "status": EVIL, "last_error": {"code": EVIL, "message": EVIL}},
    ),
    ("thread.run.step.created", {**STEP, "id": f"other{EVIL}", "type": EVIL, "step_details": {"type": EVIL}}),
    ("thread.message.created", MESSAGE),
    ("thread.message.delta", {"id": MESSAGE["id"], "delta": {"content": [TEXT, REFUSAL]}}),
    (f"thread.{re.sub(CONTROL, '', EVIL)}", {EVIL: EVIL}),
]
ENDS: list[tuple[str, Any]] = [
    ("thread.run.failed", {**RUN, "status": EVIL, "last_error": {"code": EVIL, "message": EVIL}}),
    ("error", {"code": EVIL, "message": EVIL, "type": EVIL}),
]


def foreign(written: bytes) -> list[str]:
    """Return what is not ours of what was written: control characters other than line ends."""
    text = OURS.sub("", written.decode())
    return CONTROL.findall(text.replace("\r\n", "\n").replace("\n", ""))


@pytest.mark.parametrize(
    ("columns", "environ"),
    [(200, {}), (40, {"NO_COLOR": "1"}), pytest.param(80, {"LC_ALL": "C"}, marks=pytest.mark.slow)],
)
def test_raw_output_holds_no_escape_byte_of_the_stream(tmp_path: Path, columns: int, environ: dict[str, str]):
    with (
        Pipe(tmp_path / f"events{EVIL[:9]}") as pipe,
        Terminal("watch", pipe.path, size=(columns, 50), environ=environ, cwd=tmp_path) as terminal,
    ):
        terminal.until("waiting for")
        pipe.send(*EVENTS)
        terminal.until("[bold" if columns > 40 else "link")
        seen = terminal.until("j k")
        for keys in (b"k", b"k", b"j"):
            terminal.type(keys)
            seen = terminal.until("\x1b[", after=seen)
        terminal.type(b"s")
        terminal.until("saved")
        terminal.type(b"\r")
        terminal.until("\x1b[?1049h", after=terminal.until("\x1b[?1049l"))
        pipe.send(*ENDS)
        assert terminal.wait() == 4
    assert foreign(terminal.written) == []
    assert b"]52;c;" in terminal.written  # escaped, it is there
    assert b"\\u001b" in terminal.written


def test_what_is_foreign_is_found():
    assert foreign(b"\x1b[?1049h\x1b[2J\x1b[1;1H\x1b[32mfine\x1b[0m\x1b[K\r\n") == []
    assert foreign(b"\x1b[45m") == ["\x1b"]
    assert foreign("\x9b2J \u202e \r \x07".encode()) == ["\x9b", "\u202e", "\r", "\x07"]


@each_row("is_raw", [True, False])
@each_row("width", [1, 7, 40, 80, 200])
def test_every_line_of_an_attack_is_harmless(is_raw: bool, width: int):
    blocks = "".join(attacking(is_raw=is_raw)).encode()
    state: Accumulator = accumulate([blocks])
    builder = ViewBuilder(state.state, Theme())
    for selected in (None, *state.steps):
        picture = builder.build(0.0, selected=selected)
        for lines in (render(picture, width, 50, 1.0), summary(picture, {}, "done", width, 1.0)):
            assert [one.plain for one in lines if CONTROL.search(one.plain)] == []


def test_painter_escapes_what_nobody_else_has():
    painted = Painter(Theme(colour=False)).painted(line((EVIL, "plain")))
    assert CONTROL.findall(painted) == []
    assert "\\u001b]52;c;" in painted


def test_pager_gets_no_control_character():
    state = accumulate([f"event: {name}\ndata: {json.dumps(data)}\n\n".encode() for name, data in EVENTS])
    objects = [*state.steps.values(), *state.messages.values(), *state.runs.values()]
    for redact in (True, False):
        assert CONTROL.findall(full_text(objects, redact=redact).replace("\n", "")) == []
    assert "loud" in full_text(objects, redact=False)


def test_anomalies_of_an_attack_are_counted_for_its_run():
    state = Accumulator()
    builder = ViewBuilder(state.state, Theme())

    frames = [Frame(name, json.dumps(data).encode()) for name, data in EVENTS]
    changes = [change for frame in frames for change in state.apply(decode_event(frame))]
    for change in changes:
        if isinstance(change, Anomaly):
            builder.count_anomaly(change)
    [run] = builder.build(0.0).runs
    assert run.anomalies == sum(builder.anomalies.values()) > 0
