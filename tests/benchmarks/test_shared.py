"""Every way of the cases with a server, on runs so small that they say nothing: that its result is right."""

import pytest

from benchmarks.cases.shared import FOLLOW, FOLLOW_LIVE, LATENCY, PUBLISH
from benchmarks.harness.case import Row
from benchmarks.shared import latency, measured


@pytest.mark.parametrize(
    "row", [*PUBLISH.rows, *FOLLOW.rows, *FOLLOW_LIVE.rows], ids=lambda row: f"{row.measure.question}-{row.label}"
)
def test_way_gives_what_its_checks_expect(row: Row) -> None:
    sample = measured(row.measure.way, row.measure.question, 3, 70)
    assert sample["events"] == 3 * 79


@pytest.mark.slow
@pytest.mark.parametrize("row", LATENCY.rows, ids=lambda row: row.label)
def test_every_delta_is_timed(row: Row) -> None:
    sample = latency(row.measure.way, 50, 500)
    assert sample["deltas"] == 50
    assert 0 < sample["p50 ms"] <= sample["p99 ms"]
