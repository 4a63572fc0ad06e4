"""Repeats a case, each measurement in a fresh process, the rows in turns."""

import sys
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, Final

from benchmarks.bars import judged
from benchmarks.harness.case import Case, Row, Sample
from benchmarks.harness.environment import environment
from benchmarks.harness.passes import Passes, in_turns, turned
from benchmarks.harness.report import bar_lines, environment_lines, lines, report

LONGEST: Final = 300.0
"""Seconds after which a measurement is given up."""


def run(cases: Sequence[Case], repeats: int | None = None) -> dict[str, Any]:
    """Measure and print the cases and what they mean for the bars, and return everything as plain data."""
    where = environment(cases)
    print(*environment_lines(where), sep="\n")
    reports: dict[str, dict[str, Any]] = {}
    for case in cases:
        missing = {row.label: why for row in case.rows if (why := row.measure.missing())}
        reports[case.name] = report(case, _measured(case, missing, repeats or case.repeats), missing)
        print("", *lines(reports[case.name]), sep="\n", flush=True)
    bars = judged(reports)
    print("", *bar_lines(bars), sep="\n")
    return {"environment": where, "cases": list(reports.values()), "bars": bars}


def _measured(case: Case, missing: dict[str, str], repeats: int) -> dict[str, list[Sample]]:
    """Return each row's samples, by its label. The first row of a round is another one every time."""
    rows = [row for row in case.rows if row.label not in missing]
    samples: dict[str, list[Sample]] = {row.label: [] for row in rows}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as fresh:
        for number in range(repeats if rows else 0):
            for together in turned(_processes(rows), number):
                for label, sample in _in_a_process(fresh, together).items():
                    samples[label].append(sample)
            print(f"{case.name}: round {number + 1} of {repeats}", file=sys.stderr)
    return samples


def _processes(rows: list[Row]) -> list[list[Row]]:
    """Return the rows of each process of a round."""
    processes: dict[str, list[Row]] = {}
    for row in rows:
        processes.setdefault(row.shares or f"only {row.label}", []).append(row)
    return list(processes.values())


def _in_a_process(fresh: Executor, rows: list[Row]) -> dict[str, Sample]:
    return fresh.submit(_measure, rows).result(LONGEST)


def _measure(rows: list[Row]) -> dict[str, Sample]:
    """Run in the measuring process. Several rows take turns there."""
    if len(rows) == 1:
        return {rows[0].label: rows[0].measure()}
    return in_turns({row.label: row.measure for row in rows if isinstance(row.measure, Passes)})
