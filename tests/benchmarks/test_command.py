import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=TOP, capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip


def test_command_explains_itself() -> None:
    done = command("--help")
    assert done.returncode == 0
    assert "in_memory" in done.stdout
    assert "--json FILE" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "no such case: nothing"),
        (["in_memory", "--repeats", "0"], "at least 1 repeat, got 0"),
        (["in_memory", "--profile", "nobody"], "--profile takes one case and a row of it"),
    ],
)
def test_mistake_is_a_usage_error(arguments: list[str], message: str) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
