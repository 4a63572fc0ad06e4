"""Whatever a server writes, no control character but the line end reaches a terminal, and nothing is lost by that."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.terminal_attack import ATTACK, EVENTS, ONE_LINE, attacking

FORBIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
FORMS = ("frames", "events", "changes", "steps", "runs", "messages")
COMMANDS = [("watch",), *(("cat", "--as", form) for form in FORMS)]
each_command = pytest.mark.parametrize("command", COMMANDS, ids=[command[-1] for command in COMMANDS])


@pytest.fixture(params=[False, True], ids=["raw", "escaped"])
def attack(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A stream with the attack in every text, its characters in the JSON as they are or as escapes."""
    blocks = attacking(is_raw=not request.param)
    path = tmp_path / "attack.sse"
    path.write_text("".join(blocks), newline="")
    return path


def assert_harmless(*outputs: bytes) -> None:
    assert [FORBIDDEN.findall(output.decode()) for output in outputs] == [[]] * len(outputs)


@each_command
@pytest.mark.parametrize("debug", [(), ("--debug",)], ids=["plain", "debug"])
def test_no_control_character_is_written(
    run: Callable[..., Any], attack: Path, command: tuple[str, ...], debug: tuple[str, ...]
):
    got = run(*command, *debug, attack)
    assert got.status == 4
    assert b"\\u001b]52;" in got.out
    assert b"\\u001b]52;" in got.err
    assert_harmless(got.out, got.err)


def test_frames_mean_what_came(run: Callable[..., Any], attack: Path):
    lines = run("cat", "--as", "frames", attack).lines
    assert [(line["event"], json.loads(line["data"])) for line in lines[: len(EVENTS)]] == EVENTS
    assert lines[len(EVENTS)] == {"event": ONE_LINE, "data": f"{ONE_LINE}\n{ONE_LINE}", "id": ONE_LINE}


def test_events_mean_what_came(run: Callable[..., Any], attack: Path):
    lines = run("cat", "--as", "events", attack).lines
    assert [(line["event"], line["data"]) for line in lines[: len(EVENTS)]] == EVENTS
    assert lines[len(EVENTS)]["data"] == f"{ONE_LINE}\n{ONE_LINE}"


def test_changes_mean_what_came(run: Callable[..., Any], attack: Path):
    lines = run("cat", "--as", "changes", attack).lines
    grown = [line["delta"] for line in lines if line["change"] in ("step_progress", "message_progress")]
    assert grown == [EVENTS[at][1]["delta"] for at in (3, 4, 9)]
    started = [line for line in lines if line["change"] == "tool_call_started"]
    assert [(line["id"], line["name"]) for line in started] == [(f"call{ATTACK}", ATTACK), (f"fn{ATTACK}", ATTACK)]


@pytest.mark.parametrize(("form", "at"), [("steps", 7), ("runs", 1), ("messages", 10)])
def test_objects_mean_what_came(run: Callable[..., Any], attack: Path, form: str, at: int):
    [line] = run("cat", "--as", form, attack).lines
    assert line == {key: value for key, value in EVENTS[at][1].items() if key != ATTACK}


@each_command
def test_refusal_of_a_server_is_harmless(run: Callable[..., Any], server: str, command: tuple[str, ...]):
    got = run(*command, f"{server}/attack")
    assert (got.status, got.error.partition("Request: ")[2]) == (5, r"\u001b]52;c;eA==\u0007 \u202e\u009b2J")
    assert_harmless(got.out, got.err)


@each_command
def test_name_of_a_file_is_harmless(run: Callable[..., Any], tmp_path: Path, command: tuple[str, ...]):
    got = run(*command, tmp_path / "\x1b[31m\u202e.sse")
    assert (got.status, got.error.partition(f"{tmp_path}/")[2].partition(":")[0]) == (6, r"\u001b[31m\u202e.sse")


def test_wrong_usage_is_harmless(run: Callable[..., Any]):
    assert_harmless(run("cat", "x.sse", "\x1b[31m\u202e\nerror").err, run("\x1b[31m\u202e").err)
