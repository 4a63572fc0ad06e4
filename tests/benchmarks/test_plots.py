import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from benchmarks import plots

REPORT = {
    "environment": {"commit": "0", "python": "CPython"},
    "cases": [
        {
            "case": "throughput",
            "rows": [
                {"label": "code_by_token, stepstream", "values": {"events/s": {"median": 9.0}}},
                {"label": "messages_only, stepstream", "values": {"events/s": {"median": 8.0}}},
                {"label": "code_by_token, azure-ai-agents", "values": {"events/s": {"median": 7.0}}},
            ],
        },
        {
            "case": "growth",
            "rows": [
                {"label": "1,000 deltas", "values": {"µs/delta": {"median": 1.0}}},
                {"label": "openai-python, 1,000 deltas", "values": {"µs/delta": {"median": 100.0}}},
            ],
        },
    ],
}


def test_throughput_is_by_peer_and_workload() -> None:
    assert plots.throughput(REPORT) == {
        "stepstream": {"code_by_token": 9.0, "messages_only": 8.0},
        "azure-ai-agents": {"code_by_token": 7.0},
    }


def test_growth_is_by_peer_and_size() -> None:
    assert plots.growth(REPORT) == {"stepstream": {"1000": 1.0}, "openai-python": {"1000": 100.0}}


def test_file_without_the_case_is_told() -> None:
    without: dict[str, Any] = {**REPORT, "cases": []}
    with pytest.raises(SystemExit, match="expected the case growth"):
        plots.growth(without)


@pytest.mark.skipif(find_spec("matplotlib") is None, reason="matplotlib is not installed")
def test_pictures_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "run.json"
    file.write_text(json.dumps(REPORT))
    monkeypatch.setattr("sys.argv", ["plots", str(file), "--to", str(tmp_path)])
    plots.main()
    assert [path.read_bytes()[:4] for path in sorted(tmp_path.glob("*.png"))] == [b"\x89PNG"] * 2
