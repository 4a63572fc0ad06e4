"""Every row of every case, on streams so small that they say nothing: that its result is right."""

from dataclasses import replace
from time import perf_counter
from typing import Any

import pytest

from benchmarks import late, publish
from benchmarks.bars import BARS, Bar, judged
from benchmarks.cases import CASES
from benchmarks.harness.case import COST, DELTA_COST, Case, Row
from benchmarks.harness.imports import Import
from benchmarks.harness.memory import KEPT, OPEN, RELEASED, Memory
from benchmarks.harness.passes import Passes, in_turns, turned
from benchmarks.harness.report import bar_lines, lines, report
from benchmarks.peers import concurrent, subscribers
from benchmarks.workloads import Load

SMALL = Load("function_call_by_token", 30)


async def read(peer: Any) -> int:
    load = SMALL.make()
    return peer.check(load, await peer.run(peer.prepare(load)))


def peers_of(name: str) -> list[Any]:
    """Return the peers of a case that are objects."""
    peers = [row.measure.peer for row in CASES[name].rows if isinstance(row.measure, Passes)]
    return [peer for peer in peers if not isinstance(peer, str)]


@pytest.mark.parametrize("at_a_time", [1, 3, 7])
async def test_streams_are_all_read_however_many_at_a_time(at_a_time: int) -> None:
    assert await read(concurrent.Peer(at_a_time, streams=7)) == 7 * 39


@pytest.mark.parametrize("name", ["delivery", "stuck"])
async def test_rows_give_what_their_checks_expect(name: str) -> None:
    assert {await read(peer) for peer in peers_of(name)} == {39}


async def test_rows_of_subscribers_give_what_their_checks_expect() -> None:
    assert {await read(replace(peer, count=3)) for peer in peers_of("subscribers")} == {39}


@pytest.mark.parametrize("changes", [1, 3])
async def test_wrong_number_of_changes_is_caught(changes: int) -> None:
    with pytest.raises(AssertionError):
        await read(replace(peers_of("subscribers")[0], changes=changes))


async def test_stuck_subscriber_is_stuck() -> None:
    """With `"block"` the one that works waits for it, until it is given up."""
    began = perf_counter()
    await read(subscribers.Stuck((("timeout", 0.2), ("max_failures", 1), ("buffer", 1))))
    assert perf_counter() - began >= 0.2


def test_passes_are_timed_until_the_clock_has_run_for_long_enough() -> None:
    sample = Passes("ours", SMALL, long_enough=0.002)()
    assert sample["events"] == 39
    assert sample["passes"] >= 2 or sample["seconds"] >= 0.002
    assert sample["events/s"] == pytest.approx(39 / sample["seconds"])


def test_stream_without_deltas_is_timed_by_its_events() -> None:
    sample = Passes("ours", Load("whole_objects", 3), long_enough=0.0001)()
    assert sample[COST] > 0
    assert DELTA_COST not in sample


def test_rows_that_share_a_process_take_turns() -> None:
    samples = in_turns({name: Passes(name, SMALL, long_enough=0.001) for name in ("bare_split", "naive_json")})
    assert samples["bare_split"]["passes"] == samples["naive_json"]["passes"]


@pytest.mark.slow
def test_memory_is_told_for_open_kept_and_released_runs() -> None:
    sample = Memory(5, is_heap=True)()
    assert sample[OPEN] > sample[RELEASED]
    assert sample[KEPT] > sample[RELEASED]


def test_import_takes_time() -> None:
    assert Import("json", repeats=1)()["ms"] > 0


def test_rows_of_a_case_have_labels_of_their_own() -> None:
    labels = {name: [row.label for row in case.rows] for name, case in CASES.items()}
    assert {name: sorted(set(own)) for name, own in labels.items()} == {
        name: sorted(own) for name, own in labels.items()
    }


def test_every_figure_is_made_of_rows_that_exist() -> None:
    sample = dict.fromkeys(
        (
            "events/s",
            "µs/event",
            "µs/delta",
            "seconds",
            "p50 µs",
            "p99 µs",
            "ms",
            "MB/s",
            "p99 ms",
            "KiB/viewer",
            "KiB",
        ),
        2.0,
    )
    for case in CASES.values():
        measured = {row.label: sample for row in case.rows}
        assert {figure.of(measured) for figure in case.figures} <= {-1.0, 0.0, 1.0}


def test_every_bar_has_its_figure() -> None:
    figures = {(case.name, figure.label) for case in CASES.values() for figure in case.figures}
    assert {(bar.case, bar.figure) for bar in BARS} <= figures


def test_rows_take_turns() -> None:
    assert [turned([1, 2, 3], number) for number in (0, 1, 2, 3)] == [[1, 2, 3], [2, 3, 1], [3, 1, 2], [1, 2, 3]]


CASE = Case(
    "tiny", "How long?", "nothing", (Row("a", Import("a")), Row("b", Import("b")), Row("c", Import("c"))), ("ms",)
)


def test_report_has_medians_and_ranges() -> None:
    done = report(CASE, {"a": [{"ms": 3.0}, {"ms": 1.0}, {"ms": 2.0}]}, {})
    assert done["rows"][0]["values"]["ms"] == {"median": 2.0, "min": 1.0, "max": 3.0}
    assert any(line.startswith("a  2 (1-3)") for line in lines(done))


def test_row_that_is_missing_is_told_with_the_reason() -> None:
    done = report(CASE, {"a": [{"ms": 3.0}]}, {"b": "not installed: b"})
    assert "b: not measured, not installed: b" in list(lines(done))


@pytest.mark.parametrize(
    ("sense", "limit", "verdict"), [("≥", 1.9, "met"), ("≥", 2.1, "missed"), ("≤", 2.1, "met"), ("≤", 1.9, "missed")]
)
def test_bar_is_met_or_missed(sense: str, limit: float, verdict: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.bars.BARS", (Bar("fast?", "tiny", "a ÷ b", sense, limit, goal=1.0),))
    figures = {"a ÷ b": {"median": 2.0, "min": 1.0, "max": 3.0}}
    (bar,) = judged({"tiny": {"figures": figures, "missing": {}}})
    assert bar["verdict"] == verdict
    assert any("2 (1-3)" in line and verdict in line and "goal 1" in line for line in bar_lines([bar]))


def test_bar_without_its_figure_is_not_met(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.bars.BARS", (Bar("fast?", "tiny", "a ÷ b", "≥", 1),))
    (bar,) = judged({"tiny": {"figures": {}, "missing": {"a": "not installed: a"}}})
    assert bar["verdict"] == "not measured: not installed: a"


def test_run_is_published_between_the_marks() -> None:
    measured = {"environment": {"commit": "0"}, "bars": [], "cases": [report(CASE, {"a": [{"ms": 3.0}]}, {})]}
    text = publish.published(f"before\n{publish.BEGIN}old\n{publish.END}after\n", measured)
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "### Measured: tiny" in text
    assert publish.published(text, measured) == text


def test_text_without_marks_is_refused() -> None:
    with pytest.raises(SystemExit, match="expected <!-- measured -->"):
        publish.published("nothing", {"environment": {}, "bars": [], "cases": []})


def test_joins_give_the_same_state_however_many_deltas_it_came_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late, "TEXT", 3_000)
    sizes = {deltas: late.measured(deltas, "changes")["KiB"] * 1024 for deltas in (30, 3_000)}
    assert sizes == pytest.approx({30: 3_400, 3_000: 3_400}, abs=100)
