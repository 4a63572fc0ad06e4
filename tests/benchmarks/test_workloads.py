import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from benchmarks.expected import add_pieces, grown, joined
from benchmarks.responses import text_of
from benchmarks.workloads import LOG_PIECE, PARALLEL_CALLS, PARALLEL_STEPS, WORKLOADS, Load
from benchmarks.writer import CHUNK_SIZE, DELTAS, STEP_DELTA, STEP_END, Workload
from stepstream.conformance.responses.checker import ResponsesChecker
from stepstream.wire.sse import Frame, FrameDecoder
from tests.support.tables import each_row

SIZES = {
    "code_by_token": 300,
    "function_call_by_token": 300,
    "logs_by_piece": 20,
    "parallel_steps": 600,
    "parallel_calls": 600,
    "messages_only": 300,
    "keep_alive_comments": 300,
    "with_ids": 300,
    "with_crlf": 300,
    "unnamed": 30,
    "named": 30,
    "short_runs": 3,
    "whole_objects": 4,
    "like_recordings": 6,
}
RESPONSES = ("response_text", "response_call")
every_workload = each_row("name", [name for name in WORKLOADS if name not in RESPONSES])


def made(name: str, **options: int) -> Workload:
    return Load(name, SIZES[name], options=tuple(options.items())).make()


def frames(load: Workload) -> list[Frame]:
    decoder = FrameDecoder()
    return [frame for chunk in load.chunks for frame in decoder.feed(chunk)]


def deltas(load: Workload) -> Iterator[dict]:
    yield from (json.loads(frame.data) for frame in frames(load) if frame.event in DELTAS)


@every_workload
def test_one_seed_gives_one_workload(name: str) -> None:
    assert made(name, seed=7) == made(name, seed=7)


@every_workload
def test_another_seed_gives_another_workload(name: str) -> None:
    assert made(name, seed=7).chunks != made(name, seed=8).chunks


@every_workload
def test_chunks_decode_to_the_promised_events(name: str) -> None:
    load = made(name)
    assert tuple(frame.event for frame in frames(load)) == load.events


@every_workload
def test_stream_ends_with_done(name: str) -> None:
    last = frames(made(name))[-1]
    assert (last.event, last.data) == ("done", b"[DONE]")


@every_workload
def test_expected_steps_are_the_completed_objects(name: str) -> None:
    load = made(name)
    ends = [json.loads(frame.data) for frame in frames(load) if frame.event == STEP_END]
    assert sorted(ends, key=lambda step: step["id"]) == sorted(load.steps, key=lambda step: step["id"])


@every_workload
def test_expected_messages_are_the_completed_objects(name: str) -> None:
    load = made(name)
    ends = [json.loads(frame.data) for frame in frames(load) if frame.event == "thread.message.completed"]
    assert ends == list(load.messages)


@every_workload
def test_expected_texts_are_the_sum_of_the_deltas(name: str) -> None:
    load, added = made(name), {}
    for delta in deltas(load):
        add_pieces(added, delta)
    assert joined(added) == grown(load)


@every_workload
def test_chunking_changes_no_byte(name: str) -> None:
    load = made(name)
    assert b"".join(replace(load, chunk_size=None).chunks) == b"".join(load.chunks)


def test_chunks_are_full_but_for_the_last() -> None:
    *full, last = made("function_call_by_token").chunks
    assert {len(chunk) for chunk in full} == {CHUNK_SIZE}
    assert 0 < len(last) <= CHUNK_SIZE


def test_one_event_a_chunk_is_one_block_a_chunk() -> None:
    load = replace(made("keep_alive_comments"), chunk_size=None)
    assert len(load.chunks) == len(load.events)


def test_every_argument_delta_carries_one_token() -> None:
    opening, *rest = (calls_of(delta)[0]["function"]["arguments"] for delta in deltas(made("function_call_by_token")))
    assert opening == ""
    assert len(rest) == 300
    assert all(rest)


def test_expected_arguments_are_json() -> None:
    (step,) = made("function_call_by_token").steps
    (call,) = step["step_details"]["tool_calls"]
    assert list(json.loads(call["function"]["arguments"])) == ["text"]


def test_pieces_of_log_have_256_bytes() -> None:
    pieces = [call["code_interpreter"]["outputs"][0]["logs"] for call in calls_with_logs(made("logs_by_piece"))]
    assert [len(piece.encode()) for piece in pieces] == [LOG_PIECE] * 20


def calls_of(delta: dict) -> list[dict]:
    return delta["delta"]["step_details"]["tool_calls"]


def calls_with_logs(load: Workload) -> Iterator[dict]:
    yield from (call for delta in deltas(load) for call in calls_of(delta) if call["code_interpreter"].get("outputs"))


def test_parallel_steps_take_turns() -> None:
    load = made("parallel_steps")
    turns = [delta["id"] for delta in deltas(load)][PARALLEL_STEPS:]
    assert len(load.steps) == PARALLEL_STEPS
    assert len(set(turns[:PARALLEL_STEPS])) == PARALLEL_STEPS


def test_parallel_calls_take_turns() -> None:
    load = made("parallel_calls")
    turns = [calls_of(delta)[0]["index"] for delta in deltas(load)][PARALLEL_CALLS:]
    assert turns[:PARALLEL_CALLS] == list(range(PARALLEL_CALLS))


@each_row("name", ["code_by_token", "logs_by_piece"])
def test_spread_streams_have_the_same_events(name: str) -> None:
    one, spread = made(name, steps=1, idle=3), made(name, steps=4)
    assert Counter(one.events) == Counter(spread.events)
    assert one.events.count(STEP_DELTA) == SIZES[name] + 4


def test_messages_have_no_step_deltas() -> None:
    assert {name for name in made("messages_only").events if name in DELTAS} == {"thread.message.delta"}


def test_whole_objects_have_no_deltas() -> None:
    names = Counter(made("whole_objects").events)
    assert (names[STEP_DELTA], names[STEP_END]) == (0, SIZES["whole_objects"])


def test_comment_comes_before_every_event() -> None:
    load = made("keep_alive_comments")
    assert all(block.startswith(b": ping - ") for block in load.blocks)


def test_id_stands_before_every_event() -> None:
    load = made("with_ids")
    assert [frame.id for frame in frames(load)] == [str(number) for number in range(len(load.events))]


def test_every_line_ends_with_crlf() -> None:
    stream = b"".join(made("with_crlf").blocks)
    assert stream.count(b"\r\n") == stream.count(b"\n") == stream.count(b"\r")


def test_every_second_event_has_no_name() -> None:
    load = made("unnamed")
    assert load.events[::2] == ("message",) * (len(load.events) // 2)
    assert made("named").events[1::2] == load.events[1::2]


def test_short_runs_have_40_events_each() -> None:
    names = Counter(made("short_runs").events)
    assert (names["thread.run.created"], names.total()) == (3, 3 * 39 + 1)


def test_runs_like_recordings_stop_for_tools_and_go_on() -> None:
    names = Counter(made("like_recordings").events)
    assert (names["thread.run.requires_action"], names["thread.run.completed"], names["done"]) == (2, 6, 1)


def test_less_than_two_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 tokens, got 1"):
        Load("function_call_by_token", 1).make()


@each_row("name", RESPONSES)
def test_responses_keep_to_their_protocol_and_give_the_promised_items(name: str) -> None:
    load, again, other = (Load(name, 300, options=(("seed", seed),)).make() for seed in (7, 7, 8))
    assert load == again != other
    assert tuple(frame.event for frame in frames(load)) == load.events
    checker = ResponsesChecker()
    assert [one for frame in frames(load) for one in checker.feed(frame)] + checker.finish() == []
    (item,) = load.output
    assert json.loads(frames(load)[-1].data)["response"]["output"] == [item]
    pieces = [delta["delta"] for delta in deltas(load)]
    assert ("".join(pieces), len(pieces), load.deltas) == (text_of(item), 300, 300)
    assert {len(delta["delta"] + delta["obfuscation"]) for delta in deltas(load)} == {16}
