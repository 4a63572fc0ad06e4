import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.workloads import CHUNK_SIZE, DELTA, Workload, function_call_by_token
from stepstream.wire.sse import Frame, FrameDecoder

TOP = Path(__file__).parents[2]


def frames(load: Workload) -> list[Frame]:
    decoder = FrameDecoder()
    return [frame for chunk in load.chunks for frame in decoder.feed(chunk)]


def calls(load: Workload) -> Iterator[dict]:
    """Yield every tool call of every delta."""
    for frame in frames(load):
        if frame.event == DELTA:
            yield from json.loads(frame.data)["delta"]["step_details"]["tool_calls"]


def test_one_seed_gives_one_workload() -> None:
    assert function_call_by_token(300, seed=7) == function_call_by_token(300, seed=7)


def test_another_seed_gives_another_workload() -> None:
    assert function_call_by_token(300, seed=7).chunks != function_call_by_token(300, seed=8).chunks


def test_chunks_are_full_but_for_the_last() -> None:
    *full, last = function_call_by_token(300).chunks
    assert {len(chunk) for chunk in full} == {CHUNK_SIZE}
    assert 0 < len(last) <= CHUNK_SIZE


def test_chunks_decode_to_the_promised_events() -> None:
    load = function_call_by_token(300)
    assert tuple(frame.event for frame in frames(load)) == load.events
    assert load.events.count(DELTA) == 301  # the first one names the call


def test_stream_ends_with_done() -> None:
    assert frames(function_call_by_token(2))[-1] == Frame("done", b"[DONE]")


def test_every_argument_delta_carries_one_token() -> None:
    opening, *rest = (call["function"]["arguments"] for call in calls(function_call_by_token(300)))
    assert opening == ""
    assert len(rest) == 300
    assert all(rest)


def test_expected_arguments_are_the_sum_of_the_deltas() -> None:
    load = function_call_by_token(300)
    (step,) = load.steps
    (call,) = step["step_details"]["tool_calls"]
    assert call["function"]["arguments"] == "".join(call["function"]["arguments"] for call in calls(load))


def test_expected_arguments_are_json() -> None:
    (step,) = function_call_by_token(300).steps
    (call,) = step["step_details"]["tool_calls"]
    assert list(json.loads(call["function"]["arguments"])) == ["text"]


def test_expected_step_is_the_completed_object() -> None:
    load = function_call_by_token(300)
    assert [json.loads(frame.data) for frame in frames(load) if frame.event.endswith("step.completed")] == [*load.steps]


def test_less_than_two_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 tokens, got 1"):
        function_call_by_token(1)


def test_command_explains_itself() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--help"], cwd=TOP, capture_output=True, text=True, check=True
    )
    assert "in_memory" in done.stdout
    assert "--json FILE" in done.stdout


def test_unknown_case_is_a_usage_error() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "nothing"], cwd=TOP, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "no such case: nothing" in done.stderr
