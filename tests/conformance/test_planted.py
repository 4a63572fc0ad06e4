import pytest

from stepstream.conformance.deviation import CODES
from tests.support.conforming_streams import Edit, Sent, check, with_edits
from tests.support.planted_faults import PLANTED


@pytest.mark.parametrize(
    ("events", "edits", "expected"),
    [pytest.param(events, edits, expected, id=name) for name, events, edits, expected in PLANTED],
)
def test_one_fault_is_one_deviation(events: list[Sent], edits: list[Edit], expected: list[tuple[str, int]]):
    found = check(with_edits(events, *edits))
    assert [(one.code, one.sequence) for one in found] == expected


ELSEWHERE = {"frame_too_large", "orphan_overflow"}
"""Codes that need a longer stream than fits a table."""


def test_every_code_is_planted():
    assert {code for *_, expected in PLANTED for code, _ in expected} | ELSEWHERE == set(CODES)


def test_codes_are_sorted():
    assert list(CODES) == sorted(CODES)
