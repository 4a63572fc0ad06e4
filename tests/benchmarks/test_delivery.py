import pytest

from benchmarks.cases import delivery
from benchmarks.harness import Row, _peer
from benchmarks.workloads import function_call_by_token


@pytest.mark.parametrize("row", delivery.CASE.rows, ids=[row.label for row in delivery.CASE.rows])
async def test_row_of_delivery_gives_what_its_check_expects(row: Row) -> None:
    load, peer = function_call_by_token(30), _peer(row)
    assert peer.check(load, await peer.run(peer.prepare(load))) > 0


def test_figures_of_delivery_are_ratios() -> None:
    took = {"no subscriber": 4.0, "one callback": 5.0, "other class": 4.0, "other run": 4.2, "bare decode": 0.5}
    assert [figure.of(took) for figure in delivery.CASE.figures] == [2.0, 1.0, 1.05]
