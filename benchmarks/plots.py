"""Draws what a run measured: `python -m benchmarks.plots FILE.json`, from the top of the repository.

It writes throughput.png and growth.png beside this file, and needs matplotlib, which nothing else here does.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
COLORS: Final = {
    "stepstream": "#1f6feb",
    "naive json": "#8c959f",
    "azure-ai-agents": "#d4a72c",
    "openai-python": "#cf222e",
}
_THEIRS: Final = "openai-python, "

Series = dict[str, dict[str, float]]
"""Values by the name of the series and the place on the axis."""


def throughput(report: Mapping[str, Any]) -> Series:
    """Return the events per second of each peer, by workload."""
    found: Series = {}
    for label, values in _rows(report, "throughput"):
        workload, _, peer = label.partition(", ")
        found.setdefault(peer, {})[workload] = values["events/s"]["median"]
    return found


def growth(report: Mapping[str, Any]) -> Series:
    """Return the cost of a delta, ours and openai-python's, by the number of deltas in its step."""
    found: Series = {"stepstream": {}, "openai-python": {}}
    for label, values in _rows(report, "growth"):
        size = label.removeprefix(_THEIRS).removesuffix(" deltas").replace(",", "")
        peer = "openai-python" if label.startswith(_THEIRS) else "stepstream"
        found[peer][size] = values["µs/delta"]["median"]
    return found


def _rows(report: Mapping[str, Any], name: str) -> list[tuple[str, dict[str, Any]]]:
    cases = [case for case in report["cases"] if case["case"] == name]
    if not cases:
        raise SystemExit(f"expected the case {name} in the file: python -m benchmarks throughput growth --json FILE")
    return [(row["label"], row["values"]) for row in cases[0]["rows"]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plots", description="Draw what a run measured.")
    parser.add_argument("file", type=Path, metavar="FILE", help="what --json wrote, of throughput and growth at least")
    parser.add_argument("--to", type=Path, default=HERE, metavar="DIRECTORY", help="where the pictures go")
    options = parser.parse_args()
    report = json.loads(options.file.read_text(encoding="utf-8"))
    note = f"commit {report['environment']['commit']}, {report['environment']['python']}"
    _draw_throughput(throughput(report), note, options.to / "throughput.png")
    _draw_growth(growth(report), note, options.to / "growth.png")


def _draw_throughput(series: Series, note: str, path: Path) -> None:
    figure, axes = _figure()
    workloads = list(series["stepstream"])
    height = 0.8 / len(series)
    for number, (peer, values) in enumerate(series.items()):
        own = {place: values[workload] for place, workload in enumerate(workloads) if workload in values}
        places = [place + number * height for place in own]
        bars = axes.barh(places, list(own.values()), height, label=peer, color=COLORS.get(peer))
        axes.bar_label(bars, [f"{value:,.0f}" for value in own.values()], padding=3, fontsize=6)
    axes.set_yticks([place + 0.4 - height / 2 for place in range(len(workloads))], workloads)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(left=100, right=4 * max(max(values.values()) for values in series.values()))
    axes.set_xlabel("events a second, from bytes in memory, on a logarithmic axis; more is better")
    _save(figure, axes, note, path)


def _draw_growth(series: Series, note: str, path: Path) -> None:
    figure, axes = _figure()
    for peer, values in series.items():
        axes.plot([int(size) for size in values], list(values.values()), "o-", label=peer, color=COLORS[peer])
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("one-token deltas in one step")
    axes.set_ylabel("µs a delta; less is better")
    axes.set_ylim(bottom=1)
    _save(figure, axes, note, path)


def _figure() -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # the only place that needs it

    figure = Figure(figsize=(8, 5), layout="constrained")
    return figure, figure.subplots()


def _save(figure: Any, axes: Any, note: str, path: Path) -> None:
    axes.grid(visible=True, which="major", alpha=0.3)
    figure.legend(loc="outside upper left", ncols=4, frameon=False, title=note, title_fontsize=8, alignment="left")
    figure.savefig(path, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
