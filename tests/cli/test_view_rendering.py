"""Rendering: lines that fit, whatever is drawn, and what each sign and key means."""

from typing import Any, get_args

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from stepstream.cli.screen.capabilities import theme_of
from stepstream.cli.screen.full_text import full_text
from stepstream.cli.screen.keys import actions
from stepstream.cli.screen.lines import span_text, wrapped
from stepstream.cli.screen.paint import Painter
from stepstream.cli.screen.render import render
from stepstream.cli.screen.summary import summary
from stepstream.views.escaping import in_ascii, many_lines
from stepstream.views.model import STYLES, Body, CallView, Kind, RunView, ScreenView, StepView, Theme
from stepstream.wire.objects import RunStep, StepDetails
from stepstream.wire.statuses import RUN_TERMINAL, STEP_TERMINAL
from stepstream.wire.tool_calls import CodeInterpreter, FunctionCall, ToolCall
from tests.support.tables import each_row

FIND = (Phase.explicit, Phase.reuse, Phase.generate)
"""To make what was found smaller takes minutes."""

line = st.text(st.sampled_from("ab c東é\u0301👩\u200d🚀…\ud800"), max_size=60)
lines = st.lists(line, max_size=30).map("\n".join)
styles = st.sampled_from(sorted({*STYLES.values(), "unknown"}))
seconds = st.floats(0, 1e9)
ends = st.none() | seconds
bodies = st.lists(
    st.builds(Body, st.sampled_from(get_args(Kind)), lines, st.booleans()),
    max_size=2,
).map(tuple)
calls = st.lists(st.builds(CallView, line, line, styles, bodies), max_size=6).map(tuple)
steps = st.lists(
    st.builds(
        StepView, line, line, line, styles, seconds, ends, line, st.booleans(), line, line, line,
        st.integers(0, 10**9), calls, bodies,
    ),
    max_size=5,
).map(tuple)  # fmt: skip
runs = st.lists(
    st.builds(
        RunView, line, line, line, styles, seconds, ends, st.booleans(), st.integers(0, 10**9), seconds,
        st.integers(0, 10**6), line, steps, st.integers(0, 99),
    ),
    max_size=4,
).map(tuple)  # fmt: skip
themes = st.builds(Theme, st.booleans(), st.booleans(), st.booleans())
pictures = st.builds(ScreenView, runs, themes, line, st.integers(0, 99), st.none() | line, st.booleans(), line)


@settings(phases=FIND)
@given(pictures, st.integers(1, 220), st.integers(1, 60), seconds)
def test_screen_fits_whatever_is_drawn(picture: ScreenView, width: int, height: int, now: float):
    drawn = render(picture, width, height, now)
    assert len(drawn) <= height
    assert [one.plain for one in drawn if cell_len(one.plain) > width or "\n" in one.plain] == []
    assert drawn == render(picture, width, height, now)


@settings(max_examples=max(15, settings().max_examples // 4), phases=FIND)
@given(pictures, st.integers(8, 220), seconds)
def test_summary_fits_whatever_it_tells(picture: ScreenView, width: int, now: float):
    drawn = summary(picture, {"bad_index": 3}, "done: 1 event", width, now)
    assert [one.plain for one in drawn if cell_len(one.plain) > width or "\n" in one.plain] == []


@given(line, st.integers(2, 20))
def test_wrapping_loses_nothing_but_spaces(text: str, width: int):
    assert "".join(wrapped(text, width)).replace(" ", "") == text.replace(" ", "")


def test_words_are_kept_whole_where_that_goes():
    assert list(wrapped("high water at noon", 10)) == ["high water", "at noon"]
    assert list(wrapped("low waterwaterwater", 8)) == ["low", "waterwat", "erwater"]
    assert list(wrapped("", 8)) == [""]


@each_row(
    ("taken", "is_exact", "told"),
    [
        (0.0, True, "0.0s"), (4.25, True, "4.2s"), (99.9, True, "99.9s"), (99.96, True, "1:40"), (125, True, "2:05"),
        (3_725, True, "1:02:05"), (17.4, False, "17s"), (99.6, False, "1:40"), (1e12, True, "1000:00:00"),
        (-1.0, True, "0.0s"),
    ],
)  # fmt: skip
def test_durations_are_told_as_people_say_them(taken: float, is_exact: bool, told: str):
    assert span_text(taken, is_exact=is_exact) == told


def test_every_status_that_is_known_has_a_style():
    assert set(STYLES) >= RUN_TERMINAL | STEP_TERMINAL


def step(key: str, **fields: Any) -> StepView:
    return StepView(key, key, "in_progress", "busy", 0.0, None, key, **fields)


def test_what_ended_longest_gives_way_first():
    ended = tuple(StepView(f"old{n}", f"old{n}", "completed", "good", 0.0, 1.0, f"old{n}") for n in range(20))
    run = RunView("run", "", "in_progress", "busy", 0.0, None, steps=(*ended, step("new")))
    told = [one.plain for one in render(ScreenView((run,)), 80, 10, 1.0)]
    assert told[1] == "  ⋮ 15 earlier steps"
    assert [one.split()[1] for one in told[2:8]] == ["old15", "old16", "old17", "old18", "old19", "new"]


def test_selected_step_never_gives_way():
    ended = tuple(StepView(f"old{n}", f"old{n}", "completed", "good", 0.0, 1.0, f"old{n}") for n in range(20))
    run = RunView("run", "", "in_progress", "busy", 0.0, None, steps=(*ended, step("new")))
    told = "\n".join(one.plain for one in render(ScreenView((run,), selected="old3"), 80, 10, 1.0))
    assert "▸ ✓ old3" in told


def test_newest_lines_of_a_text_are_shown():
    body = Body("output", "\n".join(f"line {n}" for n in range(100)), True)
    run = RunView("run", "", "in_progress", "busy", 0.0, None, steps=(step("code", bodies=(body,)),))
    told = [one.plain.rstrip() for one in render(ScreenView((run,)), 80, 9, 1.0)]
    assert told[2:7] == [f"    │ line {n}" for n in range(95, 100)]


@each_row(
    ("typed", "asked"),
    [
        (b"q", ["quit"]), (b" ", ["pause"]), (b"jk", ["next", "previous"]), (b"\x1b[B\x1b[A", ["next", "previous"]),
        (b"\x1bOB", ["next"]), (b"\r", ["open"]), (b"s", ["save"]), (b"\x1b", ["unselect"]), (b"x\x1b[5~\xff\0", []),
        (b"\x1b[1;5Bj", ["next"]), (b"\x1bq", []), (b"", []),
    ],
)  # fmt: skip
def test_keys_ask_for(typed: bytes, asked: list[str]):
    assert list(actions(typed)) == asked


@each_row(
    ("environment", "encoding", "theme"),
    [
        ({}, "utf-8", Theme()),
        ({"NO_COLOR": "1"}, "UTF-8", Theme(colour=False)),
        ({"NO_COLOR": ""}, "utf8", Theme()),
        ({}, "iso8859-1", Theme(unicode=False)),
        ({"LC_ALL": "C"}, "utf-8", Theme(unicode=False)),
        ({"TERM": "linux"}, "utf-8", Theme(unicode=False)),
    ],
)
def test_terminal_is_believed(environment: dict[str, str], encoding: str, theme: Theme):
    assert theme_of(environment, encoding, redact=False) == theme


def test_only_what_has_changed_is_written_again():
    painter, theme = Painter(Theme(colour=False)), Theme(colour=False)
    first = ScreenView((RunView("run_1", "", "completed", "good", 0.0, 1.0),), theme)
    second = ScreenView((RunView("run_1", "", "failed", "bad", 0.0, 1.0),), theme)
    whole = painter.screen(render(first, 40, 8, 1.0), 40, 8)
    assert whole.startswith(b"\x1b[0m\x1b[2J\x1b[1;1H")
    assert painter.screen(render(first, 40, 8, 1.0), 40, 8) == b""
    assert painter.screen(render(second, 40, 8, 1.0), 40, 8).count(b";1H") == 1
    assert painter.screen(render(second, 30, 8, 1.0), 30, 8).startswith(b"\x1b[0m\x1b[2J")


def test_line_of_full_width_keeps_its_last_column():
    painter = Painter(Theme(colour=False))
    head = render(ScreenView((RunView("run_1", "", "x" * 80, "good", 0.0, 1.0),)), 40, 8, 1.0)
    assert head[0].cell_len == 40
    assert b"\x1b[K\x1b[2;1H" not in painter.screen(head, 40, 8)


def test_texts_of_several_lines_keep_their_line_ends_only():
    assert many_lines("a\r\nb\rc\td\x1b") == "a\nb\\u000dc   d\\u001b"


def test_text_for_ascii_has_escapes():
    assert in_ascii("é→") == "\\xe9\\u2192"


FULL = RunStep(
    "step_1",
    status="completed",
    step_details=StepDetails(
        type="tool_calls",
        tool_calls=(
            ToolCall("call_1", "function", function=FunctionCall("sound", '{"place": "pier"}', "secret")),
            ToolCall("call_2", "code_interpreter", code_interpreter=CodeInterpreter("a = 1\nb = 2", ())),
        ),
    ),
)


def test_full_text_lays_texts_out_over_lines():
    assert full_text([FULL], redact=False).splitlines()[5:14] == [
        "    -",
        "      id: call_1",
        "      type: function",
        "      function:",
        "        name: sound",
        "        arguments:",
        "          {",
        '            "place": "pier"',
        "          }",
    ]


def test_redacted_text_tells_what_it_was_and_not_what_it_said():
    told = full_text([FULL], redact=True)
    assert "name: sound" in told
    assert "arguments: (hidden)" in told
    assert [word for word in ("secret", "pier", "a = 1") if word in told] == []
