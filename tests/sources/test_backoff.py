from email.utils import formatdate

from hypothesis import given
from hypothesis import strategies as st

from stepstream.live.refusals import retry_after_of
from stepstream.sources.backoff import Backoff
from tests.support.tables import each_row

NOW = 1_700_000_000.0


def longest() -> Backoff:
    """Return one whose delays are as long as chance allows."""
    return Backoff(lambda: 1.0)


def delays(backoff: Backoff, count: int, **options: float) -> list[float]:
    return [backoff.failed(0, **options) for _ in range(count)]


def test_delays_double_from_one_second_to_thirty():
    assert delays(longest(), 8) == [1, 2, 4, 8, 16, 30, 30, 30]


def test_delays_are_shortened_by_chance_down_to_half():
    assert delays(Backoff(lambda: 0.0), 6) == [0.5, 1, 2, 4, 8, 15]
    assert delays(Backoff(lambda: 0.5), 2) == [0.75, 1.5]


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_delay_is_never_under_half_a_second_nor_over_thirty(failures: int, chance: float):
    backoff = Backoff(lambda: chance)
    backoff._failures = failures
    assert 0.5 <= backoff.failed(0) <= 30


def test_chance_is_random_where_none_is_given():
    assert len({Backoff().failed(0) for _ in range(50)}) > 1


@each_row(
    ("retry", "expected"),
    [
        (0, [0.1, 0.2, 0.4]),
        (99, [0.1, 0.2, 0.4]),
        (100, [0.1, 0.2, 0.4]),
        (3_000, [3, 6, 12]),
        (29_999, [29.999, 30, 30]),
        (10**18, [30, 30, 30]),
    ],
)
def test_delays_begin_with_the_time_that_the_server_asks_for(retry: int, expected: list[float]):
    assert delays(longest(), 3, retry=retry) == expected


@each_row(("lasted", "following"), [(0, 8), (1, 8), (59.9, 8), (60, 1), (3_600, 1)])
def test_delays_begin_anew_only_after_a_minute_of_health(lasted: float, following: float):
    backoff = longest()
    delays(backoff, 3)
    backoff.opened(100)
    assert backoff.failed(100 + lasted) == following


def test_time_before_a_failure_is_no_health():
    backoff = longest()
    backoff.opened(0)
    assert [backoff.failed(1), backoff.failed(1_000)] == [1, 2]


@each_row(("asked", "delay"), [(0.0, 1), (0.5, 1), (7.5, 7.5), (120.0, 120), (121.0, 120), (1e19, 120)])
def test_refusal_can_ask_for_a_longer_delay_up_to_two_minutes(asked: float, delay: float):
    assert longest().failed(0, retry_after=asked) == delay


def test_repr_counts_failures():
    backoff = longest()
    delays(backoff, 2)
    assert repr(backoff) == "<Backoff after 2 failures>"


DATE = formatdate(NOW + 90, usegmt=True)
RETRY_AFTER = {
    "seconds": ({"retry-after": "7"}, 7.0),
    "with spaces": ({"retry-after": " 7 "}, 7.0),
    "a fraction": ({"retry-after": "0.25"}, 0.25),
    "zero": ({"retry-after": "0"}, 0.0),
    "milliseconds": ({"retry-after-ms": "1500"}, 1.5),
    "milliseconds first": ({"retry-after-ms": "1500", "retry-after": "7"}, 1.5),
    "odd milliseconds": ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
    "a date": ({"retry-after": DATE}, 90.0),
    "a date without a zone": ({"retry-after": DATE.removesuffix(" GMT")}, 90.0),
    "a past date": ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
    "none": ({}, None),
    "empty": ({"retry-after": ""}, None),
    "a word": ({"retry-after": "soon"}, None),
    "negative": ({"retry-after": "-1"}, None),
    "an exponent": ({"retry-after": "1e3"}, None),
    "not ASCII": ({"retry-after": "٣"}, None),
    "two points": ({"retry-after": "1.2.3"}, None),
    "too many digits": ({"retry-after": "9" * 400}, None),
    "a year out of range": ({"retry-after": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"}, None),
    "a zone out of range": ({"retry-after": "Wed, 21 Oct 2015 07:28:00 +99999999999999"}, None),
}


@each_row(("headers", "seconds"), RETRY_AFTER.values(), ids=RETRY_AFTER)
def test_retry_after_is_read_in_every_form(headers: dict[str, str], seconds: float | None):
    assert retry_after_of(headers, NOW) == seconds


PARTS = ["1", "Jan", "2020", "00:00:00", "+2300", "GMT", "-", "9" * 20, ":", ",", "Mon,", "-0000", "12:", "pm", " "]


@given(st.text() | st.lists(st.sampled_from(PARTS)).map(" ".join))
def test_no_text_whatever_makes_retry_after_raise(text: str):
    seconds = retry_after_of({"retry-after": text, "retry-after-ms": text}, NOW)
    assert seconds is None or seconds >= 0
