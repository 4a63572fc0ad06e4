"""A test of `each_row` is one case, and fails as each of its rows would."""

import anyio.lowlevel
import pytest

from tests.support.tables import each_row

SUMS = {"small": (1, 2), "wrong": (2, 5), "big": (100, 200), "wrong too": (3, 7)}


def notes(error: BaseException) -> list[str]:
    return error.__notes__


def test_every_row_is_tested_and_those_that_fail_are_named():
    seen = []

    @each_row(("given", "double"), SUMS.values(), ids=SUMS)
    def doubled(given: int, double: int) -> None:
        seen.append(given)
        assert given * 2 == double

    with pytest.raises(AssertionError) as caught:
        doubled()
    assert (notes(caught.value), seen) == (["in row: wrong", "as in 1 more: wrong too"], [1, 2, 100, 3])


async def test_every_row_of_an_asynchronous_test_is_tested():
    @each_row("given", [1, 2])
    async def is_one(given: int) -> None:
        await anyio.lowlevel.checkpoint()
        assert given == 1

    with pytest.raises(AssertionError) as caught:
        await is_one()
    assert notes(caught.value) == ["in row: (2,)"]


def test_row_without_an_expected_exception_is_named():
    @each_row("text", ["x", "1"], ids=lambda text: f"text {text}")
    def is_no_number(text: str) -> None:
        with pytest.raises(ValueError, match="invalid literal"):
            int(text)

    with pytest.raises(pytest.fail.Exception) as caught:
        is_no_number()
    assert notes(caught.value) == ["in row: text 1"]


def test_rows_of_two_tables_are_all_combined():
    seen = []

    @each_row("one", "ab")
    @each_row("two", "cd")
    def combined(one: str, two: str) -> None:
        seen.append(one + two)

    combined()
    assert seen == ["ac", "ad", "bc", "bd"]


def test_table_without_rows_is_refused():
    with pytest.raises(ValueError, match="without rows"):
        each_row("one", [])


def test_fixture_that_one_row_would_leave_to_the_next_is_refused():
    with pytest.raises(TypeError, match="share tmp_path"):

        @each_row("one", [1])
        def written(one: int, tmp_path: object) -> None: ...
