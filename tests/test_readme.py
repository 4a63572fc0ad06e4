"""What the README says is run: each Python block as a program, each command looked up, each link followed.

A block after the comment `<!-- needs: simulator -->` finds the base URL of a running one in `STEPSTREAM_URL`. One that
needs `chat` finds that of a chat platform in `CHAT_URL`. The recipes are run by tests of their own, which look at what
the platform saw.
"""

import ast
import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from anyio.from_thread import start_blocking_portal

from stepstream.cli import main
from stepstream.simulator.application import app
from stepstream.simulator.serving import serve
from tests.support.chat_platform import Chat
from tests.support.places import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
SECONDS = 20
"""How long an example may take. It takes far less."""

TRY_IT = "python3 -m venv .venv && .venv/bin/pip install -q '.[cli]' && .venv/bin/stepstream demo"
TEST_IT = "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/python -m pytest -q"

AWAITING = """
import ast, sys, anyio
path = sys.argv[1]
code = compile(open(path, encoding="utf-8").read(), path, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
async def main():
    await eval(code, {"__name__": "__main__"})
anyio.run(main)
"""
"""Runs a program that awaits outside of any function."""


class Block(NamedTuple):
    """One fenced block: its language, the line it begins at, its text, what it needs, and the headings above it."""

    language: str
    line: int
    text: str
    needs: frozenset[str]
    section: str
    heading: str


def blocks(*languages: str) -> list[Block]:
    found = []
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL):
        before = README[: match.start()].rstrip()
        line = README.count("\n", 0, match.start()) + 1
        needs = re.search(r"<!-- needs: ([\w, ]+) -->$", before)
        section, heading = (re.findall(rf"^{marks} (.+)$", before, re.MULTILINE) for marks in ("##", "###?"))
        words = frozenset(needs[1].split(", ")) if needs else frozenset[str]()
        found.append(Block(match[1], line, match[2], words, *((some or [""])[-1] for some in (section, heading))))
    return [block for block in found if block.language in languages]


RECIPES = {block.heading: block for block in blocks("python") if block.section == "Recipes"}


def each(found: list[Block]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", found, ids=[f"line {block.line}" for block in found])


@contextmanager
def served(application: Any) -> Iterator[str]:
    """Serve an application beside the test, and give its base URL."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serve(application)) as url:
        yield url


@pytest.fixture(scope="module")
def simulator() -> Iterator[str]:
    """The base URL of a simulator without delays."""
    with served(app(pace="fast")) as url:
        yield url


def ran(block: Block, cwd: Path, **environment: str) -> tuple[str, str]:
    """Run a block as a program, which must end well, and return what it prints and what it logs."""
    program = cwd / "example.py"
    program.write_text(block.text, encoding="utf-8")
    code = compile(block.text, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    runner = ["-c", AWAITING] if code.co_flags & inspect.CO_COROUTINE else []
    done = subprocess.run(
        [sys.executable, *runner, program],
        cwd=cwd, env={**os.environ, "PYTHONUTF8": "1", "NO_PROXY": "*", **environment},
        stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode(), done.stderr.decode()


@each([block for block in blocks("python") if block.section != "Recipes"])
def test_python_block_runs_by_itself(block: Block, tmp_path: Path, request: pytest.FixtureRequest):
    urls = {"STEPSTREAM_URL": request.getfixturevalue("simulator")} if "simulator" in block.needs else {}
    _, logged = ran(block, tmp_path, **urls)
    assert logged == ""


EDITING = "One message a run, edited at most once a second"
POSTING = "A post for each transition, patient with `429 Retry-After`"
DRAWING = "A progress line in a terminal"
WRITING = "Every transition as a JSON line"
CHANNELS = ("harbour", "ferry")


def test_every_recipe_is_tested():
    assert list(RECIPES) == [EDITING, POSTING, DRAWING, WRITING]


def cook(recipe: str, cwd: Path, simulated: Any, chat: Chat | None = None) -> tuple[str, str]:
    """Run a recipe against a simulator and a platform, and return what it prints and what it logs."""
    block = RECIPES[recipe]
    assert block.needs == ({"simulator"} if chat is None else {"simulator", "chat"})
    with served(simulated) as url, served(chat or Chat()) as chat_url:
        return ran(block, cwd, STEPSTREAM_URL=url, CHAT_URL=chat_url)


def gaps(chat: Chat, channel: str) -> list[float]:
    """Return the seconds between the requests for a channel."""
    times = [one.at for one in chat.of(channel)]
    return [after - before for before, after in pairwise(times)]


ANSWER = "The highest of 706 tides stood at 4.31 m."


def test_recipe_edits_a_message_at_most_once_a_second_and_posts_the_end(tmp_path: Path):
    chat = Chat()
    cook(EDITING, tmp_path, app(scenario="code", pace=60), chat)  # 98 events, more than a second and a half
    for channel in CHANNELS:
        assert 3 <= len(chat.of(channel)) <= 4
        assert min(gaps(chat, channel)) >= 1
        assert chat.shown(channel)[-1] == f"[completed] {ANSWER}"


def test_recipe_posts_the_end_of_a_run_whose_stream_breaks(tmp_path: Path):
    chat = Chat()
    cook(EDITING, tmp_path, app(scenario="code", pace="fast", fault="cut-event=9"), chat)
    for channel in CHANNELS:
        assert chat.shown(channel)[-1] == "[broken: StreamTruncated] "


def test_recipe_makes_the_last_edit_again_that_was_refused(tmp_path: Path):
    chat = Chat(refused=2)
    cook(EDITING, tmp_path, app(scenario="code", pace="fast"), chat)
    for channel in CHANNELS:
        assert [one.status for one in chat.of(channel)] == [200, 429, 200]
        assert min(gaps(chat, channel)) >= 1
        assert chat.shown(channel)[-1] == f"[completed] {ANSWER}"


@pytest.fixture(scope="module")
def posted(tmp_path_factory: pytest.TempPathFactory) -> Chat:
    """A platform that has told each channel once to come back in a second."""
    chat = Chat(refused=3)
    cook(POSTING, tmp_path_factory.mktemp("posting"), app(scenario="code", pace="fast"), chat)
    return chat


def test_recipe_loses_nothing_to_a_limit(posted: Chat):
    statuses = ["queued", "in_progress", "in_progress", "completed", "in_progress", "completed", "completed"]
    for channel in CHANNELS:
        assert [text.partition(": ")[2] for text in posted.shown(channel)] == statuses


def test_recipe_waits_as_long_as_the_platform_says(posted: Chat):
    for channel in CHANNELS:
        refused, again = posted.of(channel)[2:4]
        assert [refused.status, again.status] == [429, 200]
        assert refused.text == again.text
        assert 1 <= again.at - refused.at < 2


def test_recipe_lets_no_run_wait_for_the_pause_of_another(posted: Chat):
    first, second = (posted.of(channel)[2].at for channel in CHANNELS)
    assert abs(first - second) < 1


def test_recipe_draws_one_line_and_ends_it_with_the_run(tmp_path: Path):
    printed, logged = cook(DRAWING, tmp_path, app(scenario="code", pace=200))
    drawn = printed.split("\r\x1b[K")
    assert logged == ""
    assert drawn[-1] == "run completed\n"
    assert ANSWER in drawn
    assert 10 <= len(drawn) <= 21  # nothing and nine transitions, and of twelve pieces of text not all
    assert not any("\n" in line for line in drawn[:-1])


def test_recipe_writes_every_transition_as_a_line_of_json(tmp_path: Path):
    cook(WRITING, tmp_path, app(scenario="code", pace="fast"))
    runs: dict[str, list[tuple[str, str]]] = {}
    for line in (tmp_path / "transitions.jsonl").read_bytes().splitlines():
        change = json.loads(line)
        runs.setdefault(change["run_id"], []).append((change["change"], change["status"]))
    assert len(runs) == 3
    for told in runs.values():
        assert told == [
            ("run_transition", "queued"),
            ("run_transition", "in_progress"),
            ("step_transition", "in_progress"),
            ("step_transition", "completed"),
            ("step_transition", "in_progress"),
            ("message_transition", "in_progress"),
            ("message_transition", "completed"),
            ("step_transition", "completed"),
            ("run_transition", "completed"),
        ]


def commands() -> list[list[str]]:
    """Return every command of the shell blocks, cut into words, without comments."""
    lines = [
        line.removeprefix("$ ")
        for block in blocks("sh", "bash", "shell", "console")
        for line in block.text.splitlines()
    ]
    words = [list(shlex.shlex(line, posix=True, punctuation_chars="&|;")) for line in lines if line.strip()]
    found: list[list[str]] = [[]]
    for word in (word for line in words for word in (*line, ";")):
        if set(word) <= set("&|;"):
            found.append([])
        else:
            found[-1].append(word)
    return [command for command in found if command]


def options_of(command: str, capsys: pytest.CaptureFixture[str]) -> set[str]:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    return set(re.findall(r"--[a-z-]+", capsys.readouterr().out))


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_command_exists(command: list[str], capsys: pytest.CaptureFixture[str]):
    program, *arguments = (word.strip("[]") for word in command)
    name = program.rpartition("/")[2]
    options = {word for word in arguments if word.startswith("--")}
    if name == "stepstream" and arguments[0] != "--version":
        assert options <= options_of(arguments[0], capsys)
    elif name in ("python", "python3") and "-m" in arguments:
        assert find_spec(arguments[arguments.index("-m") + 1]) is not None
    else:
        assert shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize("command", [TRY_IT, TEST_IT])
def test_set_up_command_stands_in_a_shell_block(command: str):
    assert command in [line for block in blocks("sh") for line in block.text.splitlines()]


def test_extras_that_are_named_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = set(re.findall(r"'\.\[(\w+)\]'", README))
    assert {"cli", "test"} <= named <= set(project["optional-dependencies"])


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!https?://)([^)#]+)[^)]*\)", README))))
def test_link_leads_somewhere(link: str):
    assert (ROOT / link).exists()


def test_picture_of_the_demo_stands_on_the_first_screen():
    picture = README.index("](tests/pictures/demo.svg)")
    assert picture < README.index("## Install")
