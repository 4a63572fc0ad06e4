import subprocess
import sys

import pytest

from benchmarks.__main__ import main
from benchmarks.harness.passes import Passes
from benchmarks.harness.profile import profile
from benchmarks.workloads import Load
from tests.support.places import ROOT


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
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
def test_mistake_is_a_usage_error(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_profile_shows_places_of_the_timed_passes(capsys: pytest.CaptureFixture[str]) -> None:
    profile(Passes("ours", Load("function_call_by_token", 30), long_enough=0.0001))
    shown = capsys.readouterr().out
    assert "function calls" in shown
    assert "encoder.py" not in shown  # where the stream is written
