"""What the README says is run: each Python block as a program, each command looked up, each link followed.

A block after the comment `<!-- needs: simulator -->` finds the base URL of a running one in `STEPSTREAM_URL`.
"""

import ast
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest
from anyio.from_thread import start_blocking_portal

from stepstream.cli import main
from stepstream.simulator import app, serve

ROOT = Path(__file__).parent.parent
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
    """One fenced block: its language, the line it begins at, its text, and whether it needs the simulator."""

    language: str
    line: int
    text: str
    needs_simulator: bool


def blocks(*languages: str) -> list[Block]:
    found = []
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL):
        before = README[: match.start()].rstrip()
        line = README.count("\n", 0, match.start()) + 1
        found.append(Block(match[1], line, match[2], before.endswith("<!-- needs: simulator -->")))
    return [block for block in found if block.language in languages]


def each(found: list[Block]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", found, ids=[f"line {block.line}" for block in found])


@pytest.fixture(scope="module")
def simulator() -> Iterator[str]:
    """The base URL of a simulator without delays."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serve(app(pace="fast"))) as url:
        yield url


@each(blocks("python"))
def test_python_block_runs_by_itself(block: Block, tmp_path: Path, request: pytest.FixtureRequest):
    program = tmp_path / "example.py"
    program.write_text(block.text, encoding="utf-8")
    code = compile(block.text, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    runner = ["-c", AWAITING] if code.co_flags & inspect.CO_COROUTINE else []
    environment = {**os.environ, "PYTHONUTF8": "1", "NO_PROXY": "*"}
    if block.needs_simulator:
        environment["STEPSTREAM_URL"] = request.getfixturevalue("simulator")
    done = subprocess.run(
        [sys.executable, *runner, program],
        cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr.decode()) == (0, "")


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


def plain(line: str) -> str:
    """Return a line of the demo without what differs from run to run: its time and its port."""
    return re.sub(r"(?<=127\.0\.0\.1:)\d+", "*", re.sub(r"^\d\d:\d\d:\d\d\.\d{3}", "", line))


def test_demo_that_is_shown_is_what_demo_writes(capfd: pytest.CaptureFixture[str]):
    assert main(["demo", "--fast"]) == 0
    written = {plain(line) for line in capfd.readouterr().out.splitlines()}
    shown = [plain(line) for block in blocks("text") for line in block.text.splitlines()]
    assert shown
    assert [line for line in shown if line not in written] == []
