from stepstream.conformance.deviation import CODES
from tests.support.conforming_streams import check, with_edits
from tests.support.planted_faults import PLANTED


def test_one_fault_is_one_deviation():
    found = {name: check(with_edits(events, *edits)) for name, events, edits, _ in PLANTED}
    expected = {name: deviations for name, _, _, deviations in PLANTED}
    assert len(found) == len(PLANTED)
    assert {name: [(one.code, one.sequence) for one in ones] for name, ones in found.items()} == expected


ELSEWHERE = {"frame_too_large", "orphan_overflow"}
"""Codes that need a longer stream than fits a table."""


def test_every_code_is_planted():
    assert {code for *_, expected in PLANTED for code, _ in expected} | ELSEWHERE == set(CODES)


def test_codes_are_sorted():
    assert list(CODES) == sorted(CODES)
