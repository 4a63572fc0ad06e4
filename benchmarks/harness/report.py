"""Medians, spreads and ratios of what was measured, as plain data and as tables."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.harness.case import CPU, Case, Sample

Spread = dict[str, float]
"""The median, the smallest and the largest."""


def report(case: Case, samples: Mapping[str, list[Sample]], missing: Mapping[str, str]) -> dict[str, Any]:
    rounds = [dict(zip(samples, each, strict=True)) for each in zip(*samples.values(), strict=True)]
    return {
        "case": case.name,
        "question": case.question,
        "about": case.about,
        "columns": list(case.columns),
        "repeats": len(rounds),
        "processes": _processes(case),
        "rows": [_row(label, own) for label, own in samples.items()],
        "missing": dict(missing),
        "figures": {
            figure.label: spread(map(figure.of, rounds)) for figure in case.figures if _is_made(figure, rounds)
        },
    }


def _processes(case: Case) -> str:
    shared = [row for row in case.rows if row.shares]
    if not shared:
        return "a process for each measurement"
    return "a process a round" if len(shared) == len(case.rows) else "some rows of a round share a process"


def _is_made(figure: Any, rounds: Sequence[Mapping[str, Sample]]) -> bool:
    """Tell whether every row of it was measured."""
    try:
        return bool(rounds) and figure.of(rounds[0]) is not None
    except KeyError:
        return False


def _row(label: str, samples: list[Sample]) -> dict[str, Any]:
    values = {name: spread(sample[name] for sample in samples) for name in samples[0]}
    return {"label": label, "values": values, "samples": samples}


def spread(values: Iterable[float]) -> Spread:
    values = sorted(values)
    return {"median": median(values), "min": values[0], "max": values[-1]}


def lines(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield the table: what was asked, a line a row, the figures, and what the columns mean."""
    yield f"{report['case']}: {report['question']}"
    yield report["about"]
    yield f"{report['repeats']} interleaved repeats, {report['processes']}"
    yield ""
    yield from _table([["", *report["columns"]], *(_cells(row, report["columns"]) for row in report["rows"])])
    yield from (f"{label}: not measured, {why}" for label, why in report["missing"].items())
    yield from (f"{label}: {ranged(figure)}" for label, figure in report["figures"].items())
    yield "Medians of the repeats, their range in brackets; a ratio is taken within each repeat."
    busy = [row["values"][CPU]["median"] for row in report["rows"] if CPU in row["values"]]
    if busy:
        yield f"On a processor for {min(busy):.0%} of the time or more; what nothing waited for went to other work."


def bar_lines(bars: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "bars: ratios within one run, medians, their range in brackets"
    yield from _table([["", "bar", "measured", ""], *(_bar_cells(bar) for bar in bars)])


def _bar_cells(bar: Mapping[str, Any]) -> list[str]:
    goal = f" (goal {bar['goal']:g})" if bar["goal"] else ""
    measured = ranged(bar["measured"]) if bar["measured"] else "-"
    return [bar["question"], f"{bar['sense']} {bar['limit']:g}{goal}", measured, bar["verdict"]]


def environment_lines(environment: Mapping[str, Any]) -> Iterator[str]:
    for key, value in environment.items():
        text = value if isinstance(value, str) else ", ".join(f"{name} {version}" for name, version in value.items())
        yield f"{key:<10} {text}"


def _cells(row: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    return [row["label"], *(ranged(row["values"][column]) if column in row["values"] else "" for column in columns)]


def ranged(values: Spread) -> str:
    if values["min"] == values["max"]:
        return _number(values["median"])
    return f"{_number(values['median'])} ({_number(values['min'])}-{_number(values['max'])})"


def _number(value: float) -> str:
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _table(rows: list[list[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *rest in rows:
        padded = (cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
        yield "  ".join([first.ljust(widths[0]), *padded]).rstrip()
