"""The options of a delivery: what is refused where, and the pauses between attempts."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepstream import Processor, StepProgress
from stepstream.live.options import OPTIONS, Delivery
from tests.support.run_streams import Audience
from tests.support.tables import each_row

DELIVERY = frozenset(Delivery.__struct_fields__)

NO_NUMBERS: list[Any] = ["1", b"1", [1], True, object(), 1j]
WHOLE = ["buffer", "attempts", "concurrency", "max_failures", "batch"]
SECONDS = ["min_interval", "timeout", "backoff", "max_wait"]


async def pausing(attempt: int, failure: Exception) -> float:
    return 1.0


WRONG_TYPES = [
    *((name, value) for name in WHOLE for value in [*NO_NUMBERS, 1.0]),
    *((name, value) for name in SECONDS for value in NO_NUMBERS),
    *((name, None) for name in ("buffer", "attempts", "concurrency", "min_interval", "backoff", "overflow", "replay")),
    *(("overflow", value) for value in (1, ["block"], b"block")),
    *(("coalesce_by", value) for value in (None, 1, ["run"], b"run")),
    *(("replay", value) for value in (1, "yes", [])),
    ("backoff", pausing),
]
OUT_OF_RANGE = [
    *((name, value) for name in WHOLE for value in (0, -1)),
    *((name, value) for name in SECONDS for value in (-1, -0.001, math.nan, math.inf, -math.inf)),
    ("timeout", 0),
    *(("overflow", value) for value in ("", "drop", "BLOCK")),
    *(("coalesce_by", value) for value in ("", "thread", "RUN")),
]
IN_RANGE: list[tuple[str, Any]] = [
    *((name, value) for name in WHOLE for value in (1, 10**9)),
    *((name, value) for name in SECONDS for value in (1, 0.5, 1e9)),
    *((name, 0) for name in SECONDS if name != "timeout"),
    *(("overflow", value) for value in ("block", "latest", "close")),
    *(("coalesce_by", value) for value in ("step", "run", "context")),
    *(("replay", value) for value in (True, False)),
    ("timeout", None),
    ("max_failures", None),
    ("batch", None),
    ("backoff", lambda attempt, failure: 1.0),
]


def register(way: str, options: dict[str, Any]) -> object:
    processor = Processor()
    if way == "add":
        return processor.add(StepProgress, Audience(), **options)
    return getattr(processor, way)(StepProgress, **options)


def ways(name: str, cases: list[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield the values of an option, in each way to register that has it."""
    for way in ("add", "on", "subscribe"):
        if way != "subscribe" or OPTIONS[name].for_iterators:
            yield from ((way, value) for known, value in cases if known == name)


each_option = each_row("name", sorted(DELIVERY))


def test_tables_have_cases_of_every_option():
    ranged = DELIVERY - {"replay"}
    for cases, names in ((WRONG_TYPES, DELIVERY), (OUT_OF_RANGE, ranged), (IN_RANGE, DELIVERY)):
        assert {name for name, _ in cases} == names


@each_option
def test_option_of_a_wrong_type_is_a_type_error(name: str):
    for way, value in ways(name, WRONG_TYPES):
        with pytest.raises(TypeError, match=f"expected {name} as"):
            print(way, repr(value), register(way, {name: value}))  # noqa: T201 - shown where nothing was raised


@each_option
def test_option_out_of_its_range_is_a_value_error(name: str):
    for way, value in ways(name, OUT_OF_RANGE):
        with pytest.raises(ValueError, match=f"expected {name} "):
            print(way, repr(value), register(way, {name: value}))  # noqa: T201 - shown where nothing was raised


@each_option
def test_option_in_its_range_is_taken(name: str):
    for way, value in ways(name, IN_RANGE):
        register(way, {name: value})


@each_row("name", [one for one, option in OPTIONS.items() if not option.for_iterators])
def test_option_for_callbacks_is_a_type_error_for_an_iterator(name: str):
    with pytest.raises(TypeError, match=f"{name} is for callbacks"):
        Processor().subscribe(StepProgress, **{name: 1})  # type: ignore[call-overload]


@each_row("way", ["add", "on", "subscribe"])
def test_misspelt_option_is_a_type_error_that_names_the_options(way: str):
    with pytest.raises(TypeError, match=r"min_interval.*got interval"):
        register(way, {"interval": 1})


def test_pause_doubles_up_to_half_a_minute():
    delivery = Delivery(backoff=1)
    assert [delivery.pause(attempt, ValueError()) for attempt in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]


def test_pause_longer_than_half_a_minute_is_kept():
    assert [Delivery(backoff=60).pause(attempt, ValueError()) for attempt in (1, 2, 9)] == [60, 60, 60]


@given(st.integers(1, 10**6), st.floats(0, 1e9))
def test_pause_of_any_attempt_is_bounded(attempt: int, backoff: float):
    assert min(backoff, 30) <= Delivery(backoff=backoff).pause(attempt, ValueError()) <= max(backoff, 30)


def test_backoff_that_is_a_function_gets_the_attempt_and_the_exception():
    failure, got = ValueError(), []
    delivery = Delivery(backoff=lambda *given: got.append(given) or 7)
    assert (delivery.pause(3, failure), got) == (7, [(3, failure)])


@each_row(("value", "pause"), [(-1, 0), (0, 0), (3, 3), (60.5, 60.5), ("2", 2)])
def test_pause_that_a_function_gives_is_not_negative(value: Any, pause: float):
    assert Delivery(backoff=lambda attempt, failure: value).pause(1, ValueError()) == pause


@each_row("value", [math.inf, math.nan])
def test_pause_that_is_no_time_is_a_value_error(value: float):
    with pytest.raises(ValueError, match="expected backoff to return seconds"):
        Delivery(backoff=lambda attempt, failure: value).pause(1, ValueError())
