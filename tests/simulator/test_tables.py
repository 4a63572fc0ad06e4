"""The small pure parts of the simulator: how faults and paces are asked for, pages, sums, spoiled events, writes."""

from collections.abc import Iterator, Mapping
from itertools import groupby
from random import Random
from typing import Any

import pytest

from stepstream.simulator.delta_merge import merge_deltas
from stepstream.simulator.event_faults import EVENT_FAULTS, with_event_faults
from stepstream.simulator.faults import FAULTS, faults_of
from stepstream.simulator.pace import FAST, REAL, Pace, pace_of
from stepstream.simulator.pagination import page
from stepstream.simulator.request_faults import MAX_KNOWN, RequestFaults
from stepstream.simulator.requests import Refusal
from stepstream.simulator.scenario import Scenario
from stepstream.simulator.scenarios import SCENARIOS
from stepstream.simulator.timed_event import TimedEvent
from stepstream.simulator.writes import Stop, Write, writes
from stepstream.wire.sse import Frame, FrameDecoder, encode_frame
from tests.support.json_values import JSON
from tests.support.simulator_runs import a_run, beats, decoded
from tests.support.tables import each_row

# how faults are asked for


@each_row(
    ("texts", "faults"),
    [
        ([], {}),
        ([""], {}),
        (["none"], {}),
        (["none, ,none"], {}),
        (["stall"], {"stall": 5}),
        (["stall="], {"stall": 5}),
        (["stall=0"], {"stall": 0}),
        (["stall=007"], {"stall": 7}),
        (["shuffle"], {"shuffle": 0}),
        (["shuffle="], {"shuffle": 0}),
        (["shuffle, duplicate=3"], {"shuffle": 0, "duplicate": 3}),
        (["shuffle", "duplicate=3"], {"shuffle": 0, "duplicate": 3}),
        (["stall=3", "stall=4"], {"stall": 4}),
        (["stall,none"], {"stall": 5}),
        (["drip=1"], {"drip": 1}),
        (["cut-bytes=2147483648"], {"cut-bytes": 2**31}),
    ],
)
def test_faults_are_read(texts: list[str], faults: Mapping[str, int]):
    assert faults_of(texts) == faults


def test_every_fault_can_be_asked_for_by_its_name_alone():
    assert {name: faults_of([name]) for name in FAULTS} == {
        name: {name: fault.default or 0} for name, fault in FAULTS.items()
    }


@each_row(
    ("text", "message"),
    [
        ("flood", "expected a fault out of cut-event, cut-bytes"),
        ("flood=1", "got 'flood'"),
        ("=1", "got ''"),
        ("Stall", "got 'Stall'"),
        ("stall 3", "got 'stall 3'"),
        ("stall=-1", "expected for the fault stall a number from 0 to 2147483648, got '-1'"),
        ("stall=1.5", "got '1.5'"),
        ("stall=1e3", "got '1e3'"),
        ("stall= 1", "got ' 1'"),
        ("stall=x", "got 'x'"),
        ("stall=1=2", "got '1=2'"),
        ("stall=2147483649", "got '2147483649'"),
        (f"stall={'9' * 5_000}", "got '999"),
        ("drip=0", "expected for the fault drip a number from 1 to"),
        ("duplicate=1", "expected for the fault duplicate a number from 2 to 100, got '1'"),
        ("giant=257", "a number from 1 to 256"),
        ("shuffle=1", "expected no number for the fault shuffle, got '1'"),
        ("shuffle=0", "expected no number for the fault shuffle, got '0'"),
        ("stall,flood", "got 'flood'"),
    ],
)
def test_fault_that_is_none_is_refused(text: str, message: str):
    with pytest.raises(ValueError, match="expected") as caught:
        faults_of([text])
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500


# pace


@each_row(
    ("value", "pace"),
    [
        ("real", REAL),
        ("fast", FAST),
        (4, Pace("4/s", interval=0.25)),
        ("4", Pace("4/s", interval=0.25)),
        (0.5, Pace("0.5/s", interval=2.0)),
        ("1e3", Pace("1000/s", interval=0.001)),
    ],
)
def test_pace_is_read(value: float | str, pace: Pace):
    assert pace_of(value) == pace


@each_row(("pace", "seconds"), [(REAL, 0.3), (FAST, 0.0), (pace_of(4), 0.25)])
def test_pace_says_how_long_to_wait(pace: Pace, seconds: float):
    assert pace.seconds(0.3) == seconds


# pages

OBJECTS = [{"id": letter} for letter in "abcde"]


@each_row(
    ("query", "ids", "has_more"),
    [
        ({}, "edcba", False),
        ({"order": "asc"}, "abcde", False),
        ({"limit": "2"}, "ed", True),
        ({"limit": "5"}, "edcba", False),
        ({"limit": "002"}, "ed", True),
        ({"order": "asc", "limit": "2"}, "ab", True),
        ({"order": "asc", "limit": "2", "after": "b"}, "cd", True),
        ({"order": "asc", "limit": "2", "after": "c"}, "de", False),
        ({"order": "asc", "after": "e"}, "", False),
        ({"order": "asc", "limit": "2", "before": "e"}, "cd", True),
        ({"order": "asc", "limit": "2", "before": "c"}, "ab", False),
        ({"order": "asc", "before": "a"}, "", False),
        ({"order": "asc", "after": "a", "before": "e"}, "bcd", False),
        ({"order": "asc", "after": "a", "before": "e", "limit": "2"}, "bc", True),
        ({"after": "d"}, "cba", False),
        ({"before": "d"}, "e", False),
        ({"after": "", "before": ""}, "edcba", False),
        ({"limit": "3", "unknown": "x"}, "edc", True),
    ],
)
def test_page_is_what_was_asked_for(query: Mapping[str, str], ids: str, has_more: bool):
    got = page(OBJECTS, query)
    first, last = (ids[0], ids[-1]) if ids else (None, None)
    assert got == {
        "object": "list",
        "data": [{"id": letter} for letter in ids],
        "first_id": first,
        "last_id": last,
        "has_more": has_more,
    }


@each_row(
    ("query", "status", "param"),
    [
        ({"limit": "0"}, 400, "limit"),
        ({"limit": "101"}, 400, "limit"),
        ({"limit": "-1"}, 400, "limit"),
        ({"limit": "x"}, 400, "limit"),
        ({"limit": ""}, 400, "limit"),
        ({"limit": "²"}, 400, "limit"),
        ({"limit": "000000000150"}, 400, "limit"),
        ({"order": ""}, 400, "order"),
        ({"order": "ASC"}, 400, "order"),
        ({"after": "x"}, 404, "after"),
        ({"before": "x"}, 404, "before"),
        ({"order": "asc", "after": "c", "before": "b"}, 404, "before"),
    ],
)
def test_page_that_is_none_is_refused(query: Mapping[str, str], status: int, param: str):
    with pytest.raises(Refusal) as caught:
        page(OBJECTS, query)
    assert (caught.value.status, caught.value.error["param"]) == (status, param)


def test_page_of_nothing_is_empty():
    assert page([], {})["data"] == []


# sums


@each_row(
    ("deltas", "whole"),
    [
        ([], {}),
        ([{"input": "a"}, {"input": ""}, {"input": "b"}], {"input": "ab"}),
        ([{"name": "a"}, {"name": "b"}], {"name": "b"}),
        ([{"text": {"value": "a"}}, {"text": {"value": "b"}}], {"text": {"value": "ab"}}),
        ([{"calls": []}], {"calls": []}),
        ([{"calls": [{"index": 0, "id": "x"}]}], {"calls": [{"id": "x"}]}),
        (
            [{"calls": [{"index": 1, "logs": "b"}]}, {"calls": [{"index": 0, "logs": "a"}, {"index": 1, "logs": "c"}]}],
            {"calls": [{"logs": "a"}, {"logs": "bc"}]},
        ),
        ([{"calls": []}, {"calls": [{"index": 0, "arguments": "a"}]}], {"calls": [{"arguments": "a"}]}),
        ([{"results": [{"id": "a"}]}, {"results": [{"id": "b"}]}], {"results": [{"id": "b"}]}),
        ([{"output": None}, {"output": "x"}], {"output": "x"}),
    ],
)
def test_deltas_are_summed(deltas: list[JSON], whole: JSON):
    assert merge_deltas(deltas) == whole


def test_sum_leaves_the_deltas_alone():
    deltas: list[JSON] = [{"a": {"calls": [{"index": 0, "logs": "x"}]}}, {"a": {"calls": [{"index": 0, "logs": "y"}]}}]
    before = repr(deltas)
    merge_deltas(deltas)
    assert repr(deltas) == before


# events spoiled


def a_beat(name: str, about: str | None = None) -> TimedEvent:
    return TimedEvent(0.5, Frame(name, b'{"id": "%b"}' % (about or "run").encode()), about)


RUN, DONE = a_beat("thread.run.queued"), TimedEvent(0.5, Frame("done", b"[DONE]"))
A, B = [a_beat(f"a{number}", "a") for number in range(5)], [a_beat(f"b{number}", "b") for number in range(5)]
STREAM = [RUN, *A, *B, RUN, DONE]


def spoil(beats: list[TimedEvent], **faults: int) -> list[TimedEvent]:
    named = {name.replace("_", "-"): number for name, number in faults.items()}
    return list(with_event_faults(iter(beats), named, Random(3)))


def names(beats: list[TimedEvent]) -> list[str]:
    return [beat.frame.event for beat in beats]


def test_stream_without_faults_is_itself():
    assert spoil(STREAM) == STREAM


@each_row("times", [2, 3, 100])
def test_duplicates_follow_their_events_at_once(times: int):
    got = spoil(STREAM, duplicate=times)
    assert [(len(list(same)), frame) for frame, same in groupby(beat.frame for beat in got)] == [
        (times, beat.frame) for beat in STREAM
    ]
    assert sum(beat.delay for beat in got) == sum(beat.delay for beat in STREAM)


def test_shuffle_keeps_the_order_of_each_step_and_the_place_of_runs():
    got = spoil(STREAM, shuffle=0)
    assert got != STREAM
    assert (got[0], got[-2:]) == (RUN, [RUN, DONE])
    assert ([beat for beat in got if beat.about == "a"], [beat for beat in got if beat.about == "b"]) == (A, B)


@each_row("stream", [[*A, *B], [RUN], [], [*A], [RUN, *A, RUN, *B]])
def test_shuffle_loses_nothing(stream: list[TimedEvent]):
    assert sorted(spoil(stream, shuffle=0), key=str) == sorted(stream, key=str)


def test_shuffle_is_the_same_each_time():
    assert spoil(STREAM, shuffle=0) == spoil(STREAM, shuffle=0)


def test_dropped_done_is_all_that_is_dropped():
    assert spoil(STREAM, drop_done=0) == STREAM[:-1]


@each_row("kind", ["flat", "nested"])
@each_row("after", [0, 1, 12, 13, 99])
def test_error_ends_the_stream(kind: str, after: int):
    *before, error = spoil(STREAM, **{f"error_{kind}": after})
    assert before == STREAM[:after]
    [(name, data)] = decoded([error.frame])
    assert (name, (data if kind == "flat" else data["error"])["code"]) == ("error", "server_error")


def test_error_leaves_the_rest_of_the_stream_to_its_reader():
    rest = iter(STREAM)
    assert len(list(with_event_faults(rest, {"error-flat": 3}, Random(0)))) == 4
    assert list(rest) == STREAM[3:]


@each_row("after", [0, 3, 12])
def test_garbage_comes_between_the_events(after: int):
    got = spoil(STREAM, garbage=after)
    assert got[:after] + got[after + 1 :] == STREAM
    with pytest.raises(ValueError, match="Unterminated"):
        decoded([got[after].frame])


def test_garbage_after_the_end_does_not_come():
    assert spoil(STREAM, garbage=99) == STREAM


def test_giant_has_its_size():
    [giant] = [beat for beat in spoil(STREAM, giant=2) if beat not in STREAM]
    assert 2_000_000 < len(giant.frame.data) < 2_000_100


@each_row("every", [1, 3, 99])
def test_unknown_events_come_between_the_others_and_not_after_done(every: int):
    got = spoil(STREAM, unknown=every)
    assert [beat for beat in got if beat.frame.event != "thread.run.step.reflected"] == STREAM
    assert len(got) == len(STREAM) + (len(STREAM) - 1) // every
    assert got[-1] == DONE


def test_faults_are_applied_in_their_own_order():
    assert spoil(STREAM, drop_done=0, duplicate=2) == spoil(STREAM, duplicate=2, drop_done=0)
    assert names(spoil(STREAM, duplicate=2, error_flat=3, drop_done=0)) == ["thread.run.queued"] * 2 + ["a0", "error"]


@each_row("name", EVENT_FAULTS)
def test_spoiled_event_is_a_fault(name: str):
    assert name in FAULTS


def test_spoiled_stream_is_taken_as_it_is_read():
    def endless() -> Iterator[TimedEvent]:
        while True:
            yield RUN

    faults = {name: FAULTS[name].default or 0 for name in EVENT_FAULTS if not name.startswith("error")}
    assert next(with_event_faults(endless(), faults, Random(0))) == RUN


# writes

PLAIN = Scenario(summary="", acts=())
WHOLE = b"".join(encode_frame(beat.frame) for beat in STREAM)


def written(faults: Mapping[str, int], scenario: Scenario = PLAIN) -> list[Write]:
    return list(writes(STREAM, scenario, faults, 1_800_000_000.0))


def data_of(got: list[Write]) -> bytes:
    return b"".join(write.data for write in got)


def test_every_event_is_one_write():
    assert written({}) == [Write(0.5, encode_frame(beat.frame)) for beat in STREAM]


STOPS = [Stop.CUT, Stop.RESET, Stop.BREAK]


@each_row("stop", STOPS, ids=lambda stop: stop.value)
def test_stream_is_cut_at_every_byte(stop: Stop):
    for number in range(len(WHOLE) + 1):
        got = written({f"{stop.value}-bytes": number})
        assert (data_of(got), got[-1].stop) == (WHOLE[:number], stop)
        assert {write.stop for write in got[:-1]} <= {None}


@each_row("stop", STOPS, ids=lambda stop: stop.value)
def test_stream_is_cut_at_every_event(stop: Stop):
    for number in range(len(STREAM) + 1):
        got = written({f"{stop.value}-event": number})
        whole, rest = data_of(got[:-1]), got[-1].data
        assert whole == b"".join(encode_frame(beat.frame) for beat in STREAM[:number])
        assert (WHOLE.startswith(whole + rest), got[-1].stop) == (True, stop)
        assert (len(rest) > 0) == (stop is Stop.BREAK and number < len(STREAM))


def test_stream_that_is_cut_after_its_end_is_whole():
    assert written({"cut-bytes": len(WHOLE) + 1}) == written({})
    assert written({"cut-event": 99}) == [*written({}), Write(0, b"", Stop.CUT)]


def test_stall_comes_after_its_events():
    assert written({"stall": 2}) == [*written({})[:2], Write(0, b"", Stop.STALL)]


@each_row(
    ("faults", "stop"),
    [
        ({"cut-event": 4, "reset-event": 2}, Stop.RESET),
        ({"cut-event": 2, "reset-event": 4}, Stop.CUT),
        ({"stall": 1, "reset-event": 4}, Stop.STALL),
        ({"stall": 5, "break-bytes": 10}, Stop.BREAK),
        ({"cut-bytes": 9, "break-bytes": 10}, Stop.CUT),
        ({"cut-bytes": 9_999, "reset-event": 3}, Stop.RESET),
    ],
)
def test_first_end_is_the_one_that_comes(faults: Mapping[str, int], stop: Stop):
    assert [write.stop for write in written(faults) if write.stop] == [stop]


def test_one_byte_a_write_makes_the_same_stream():
    got = written({"one-byte": 0})
    assert (data_of(got), {len(write.data) for write in got}) == (WHOLE, {1})
    assert sum(write.delay for write in got) == 0.5 * len(STREAM)


@each_row("size", [1, 2, 7, 64, 10**6])
def test_drip_makes_the_same_stream_slowly(size: int):
    got = written({"drip": size})
    assert (data_of(got), max(len(write.data) for write in got) <= size) == (WHOLE, True)
    pauses = len(got) - len(STREAM)
    assert sum(write.delay for write in got) == pytest.approx(0.5 * len(STREAM) + 0.01 * pauses)


@each_row("pieces", ["one-byte", "drip"])
def test_cut_stream_can_come_in_pieces(pieces: str):
    for number in range(0, len(WHOLE), 7):
        got = written({pieces: 3, "reset-bytes": number})
        assert (data_of(got), [write.stop for write in got if write.stop]) == (WHOLE[:number], [Stop.RESET])
        assert got[-1].stop is Stop.RESET


def test_pings_come_between_events_in_their_time():
    got = written({}, Scenario(summary="", acts=(), ping_every=4))
    pings = [write.data.partition(b"\n\n")[0] for write in got if write.data.startswith(b":")]
    assert pings == [
        b": ping - 2027-01-15 08:00:02+00:00",
        b": ping - 2027-01-15 08:00:04+00:00",
        b": ping - 2027-01-15 08:00:06+00:00",
    ]
    assert FrameDecoder().feed(data_of(got)) == [beat.frame for beat in STREAM]


def test_line_ends_are_those_of_the_scenario():
    got = data_of(written({}, Scenario(summary="", acts=(), line_end="\r\n", ping_every=4)))
    assert got.count(b"\r\n") == got.count(b"\n") == got.count(b"\r")
    assert FrameDecoder().feed(got) == [beat.frame for beat in STREAM]


# refusals


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def statuses(faults: Mapping[str, int], times: list[float], path: str = "/a") -> list[int]:
    """Return what a request gets at each of these times."""
    clock = Clock()
    refusing = RequestFaults(clock)
    got = []
    for now in times:
        clock.now = now
        got.append(status(refusing, path, faults))
    return got


def status(refusing: RequestFaults, path: str, faults: Mapping[str, int]) -> int:
    try:
        refusing.check(path, "/elsewhere", faults)
    except Refusal as refusal:
        return refusal.status
    return 200


@each_row(
    ("faults", "times", "got"),
    [
        ({}, [0, 1], [200, 200]),
        ({"stall": 5}, [0, 1], [200, 200]),
        ({"redirect": 0}, [0, 1], [307, 307]),
        ({"server-error": 1}, [0, 0, 0, 0], [500, 200, 500, 200]),
        ({"server-error": 3}, [0, 0, 0, 0, 0], [500, 500, 500, 200, 500]),
        ({"rate-limit": 2}, [0, 1, 1.9, 2, 2], [429, 429, 429, 200, 429]),
        ({"rate-limit": 2}, [0, 50, 51, 52], [429, 200, 429, 429]),
        ({"rate-limit": 0}, [0, 0, 0, 0], [429, 200, 429, 200]),
        ({"rate-limit": 1, "server-error": 1}, [0, 1, 2, 3], [429, 500, 429, 200]),
        ({"redirect": 0, "rate-limit": 1}, [0], [307]),
    ],
)
def test_trouble_lasts_as_long_as_it_is_said_to(faults: Mapping[str, int], times: list[float], got: list[int]):
    assert statuses(faults, times) == got


def test_rate_limit_says_when_to_come_again():
    with pytest.raises(Refusal) as caught:
        RequestFaults(Clock()).check("/a", "/b", {"rate-limit": 7})
    assert caught.value.headers == {"retry-after": "7"}
    assert (caught.value.error["code"], caught.value.error["type"]) == ("rate_limit_exceeded", "rate_limit_error")


def test_redirect_says_where_to_go():
    with pytest.raises(Refusal) as caught:
        RequestFaults(Clock()).check("/a", "/b", {"redirect": 0})
    assert caught.value.headers == {"location": "/b"}


def test_paths_have_their_trouble_apart():
    refusing = RequestFaults(Clock())
    assert [status(refusing, path, {"server-error": 1}) for path in "abab"] == [500, 500, 200, 200]


@each_row("name", ["server-error", "rate-limit"])
def test_oldest_trouble_is_forgotten(name: str):
    refusing = RequestFaults(Clock())
    for number in range(2 * MAX_KNOWN):
        status(refusing, f"/{number}", {name: 1})
    assert (len(refusing._until), len(refusing._refused)) in ((MAX_KNOWN, 0), (0, MAX_KNOWN))


# every scenario


@pytest.mark.parametrize("name", SCENARIOS)
def test_text_of_a_run_tells_its_status(name: str):
    run: Any = a_run(name)
    assert (repr(run), repr(run.begin(0))) == ("<Run run_sim1 queued>", "<Stream of <Run run_sim1 queued>>")
    assert len(beats(run.begin(0))) > 3
