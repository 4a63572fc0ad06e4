"""A look at the state: what is seen of it, and that it costs the same however much came."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from stepstream import Accumulator, Frame, decode_event
from stepstream.fold.tree import TextBuffer, load
from stepstream.views.builder import ViewBuilder
from stepstream.views.content import bodies_of, digest_of
from stepstream.views.model import Body, Theme
from stepstream.views.texts import LIMIT, brief, head, tail
from stepstream.views.times import RunTimes
from stepstream.wire.objects import Run, RunStep
from stepstream.wire.tool_calls import ToolCall
from tests.support.tables import each_row

Told = tuple[str, dict[str, Any]]

RUN: Told = ("thread.run.created", {"id": "run_1", "status": "in_progress", "model": "sim-large"})


def folded(*events: Told) -> Accumulator:
    accumulator = Accumulator()
    for name, data in events:
        accumulator.apply(decode_event(Frame(name, json.dumps(data).encode())))
    return accumulator


def opened(identifier: str = "step_1", *calls: dict[str, Any]) -> Told:
    details = {"type": "tool_calls", "tool_calls": list(calls)}
    step = {"id": identifier, "run_id": "run_1", "type": "tool_calls", "status": "in_progress"}
    return "thread.run.step.created", {**step, "step_details": details}


def function(arguments: str | None = "", output: str | None = None, identifier: str = "call_1") -> dict[str, Any]:
    return {
        "id": identifier, "type": "function", "function": {"name": "sound", "arguments": arguments, "output": output}
    }  # fmt: skip


def grown(text: str, identifier: str = "step_1") -> Told:
    call = {"index": 0, "type": "function", "function": {"arguments": text}}
    details = {"type": "tool_calls", "tool_calls": [call]}
    return "thread.run.step.delta", {"id": identifier, "delta": {"step_details": details}}


class Watched(TextBuffer):
    """TextBuffer that count how many of them were looked at, and that nobody may join."""

    looked = 0

    def __reversed__(self) -> Iterator[str]:
        for piece in super().__reversed__():
            self.looked += 1
            yield piece

    def text(self) -> str:
        raise AssertionError("joined")


def test_tail_looks_at_the_end_only():
    pieces = Watched(["token "] * 1_000_000)
    text, is_cut = tail(pieces, 60)
    assert (text, is_cut) == ("token " * 10, True)
    assert pieces.looked <= 11


def test_tail_of_few_pieces_is_whole():
    assert tail(TextBuffer(["a", "", "b"]), 2) == ("ab", False)
    assert tail(TextBuffer(["abc"]), 2) == ("bc", True)
    assert tail("abc", 2) == ("bc", True)
    assert tail(None) == ("", False)


def test_head_looks_at_the_beginning_only():
    assert head(TextBuffer(["ab"] * 1_000_000), 3) == "aba"
    assert head(None) == ""


def test_look_joins_nothing():
    state = folded(RUN, opened("step_1", function()), *(grown("x" * 100) for _ in range(200)))
    pieces = state.state.steps["step_1"].tree["step_details"]["tool_calls"][0]["function"]["arguments"]
    before = len(pieces)
    [run] = ViewBuilder(state.state, Theme()).build(0.0).runs
    assert run.steps[0].calls[0].bodies == (Body("raw", "x" * LIMIT, True),)
    assert len(pieces) == before > 100


def test_look_at_many_runs_takes_the_newest_open_ones():
    runs = [("thread.run.created", {"id": f"run_{number}", "status": "in_progress"}) for number in range(40)]
    ended = [("thread.run.completed", {"id": f"run_{number}", "status": "completed"}) for number in range(39)]
    picture = ViewBuilder(folded(*runs, *ended).state, Theme()).build(0.0, runs=3)
    assert [run.id for run in picture.runs] == ["run_37", "run_38", "run_39"]
    assert picture.earlier == 37


def test_look_at_many_steps_takes_the_newest():
    state = folded(RUN, *(opened(f"step_{number}") for number in range(30)))
    [run] = ViewBuilder(state.state, Theme()).build(0.0, steps=4).runs
    assert [step.id for step in run.steps] == ["step_26", "step_27", "step_28", "step_29"]
    assert run.earlier == 26


def test_arguments_are_laid_out_once_they_parse():
    state = folded(RUN, opened("step_1", function('{"depth": [1,')))
    builder = ViewBuilder(state.state, Theme())
    assert builder.build(0.0).runs[0].steps[0].calls[0].bodies == (Body("raw", '{"depth": [1,'),)
    state.apply(decode_event(Frame(grown("")[0], json.dumps(grown(" 2]}")[1]).encode())))
    [body] = builder.build(0.0).runs[0].steps[0].calls[0].bodies
    assert (body.kind, body.text) == ("json", '{\n  "depth": [\n    1,\n    2\n  ]\n}')


def test_step_that_has_ended_folds_to_a_digest_and_opens_when_it_is_selected():
    name, step = opened("step_1", function('{"place": "pier"}', "4.31 m"))
    state = folded(RUN, (name, step), ("thread.run.step.completed", {**step, "status": "completed"}))
    builder = ViewBuilder(state.state, Theme())
    [folded_up] = builder.build(0.0).runs[0].steps
    assert (folded_up.calls, folded_up.digest, folded_up.style) == ((), '{"place": "pier"} → 4.31 m', "good")
    [unfolded] = builder.build(0.0, selected="step_1").runs[0].steps
    assert [body.kind for body in unfolded.calls[0].bodies] == ["json", "output"]


def test_late_output_is_seen_in_a_step_that_has_ended():
    name, step = opened("step_1", function("{}", None))
    state = folded(RUN, (name, step), ("thread.run.step.completed", {**step, "status": "completed"}))
    builder = ViewBuilder(state.state, Theme())
    assert builder.build(0.0).runs[0].steps[0].digest == "{}"
    call = {"index": 0, "type": "function", "function": {"output": "late"}}
    delta = {"step_details": {"type": "tool_calls", "tool_calls": [call]}}
    state.apply(decode_event(Frame("thread.run.step.delta", json.dumps({"id": "step_1", "delta": delta}).encode())))
    assert builder.build(0.0).runs[0].steps[0].digest == "{} → late"


def test_calls_that_the_run_waits_for_wait():
    calls = [{"id": "call_1", "type": "function", "function": {"name": "sound", "arguments": "{}"}}]
    action = {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": calls}}
    waits = {"id": "run_1", "status": "requires_action", "required_action": action}
    state = folded(RUN, opened("step_1", function("{}")), ("thread.run.requires_action", waits))
    [run] = ViewBuilder(state.state, Theme()).build(0.0).runs
    assert (run.style, run.reason) == ("waiting", "waits for the output of 1 call")
    assert (run.steps[0].style, run.steps[0].calls[0].style) == ("waiting", "waiting")


def test_redacted_look_holds_no_content():
    name, step = opened("step_1", function('{"secret": 1}', "secret"))
    failed = {**step, "status": "failed", "last_error": {"code": "server_error", "message": "secret"}}
    message = {"id": "msg_1", "run_id": "run_1", "role": "user", "status": "in_progress",
               "content": [{"type": "text", "text": {"value": "secret"}}]}  # fmt: skip
    state = folded(RUN, (name, step), opened("step_2", function("secret")), ("thread.message.created", message))
    builder = ViewBuilder(state.state, Theme(redact=True))
    assert "secret" not in repr(builder.build(0.0))
    state.apply(decode_event(Frame("thread.run.step.failed", json.dumps(failed).encode())))
    picture = builder.build(0.0, selected="step_1")
    assert "secret" not in repr(picture)
    assert "server_error" in repr(picture)


def test_events_a_second_are_those_of_the_run():
    two = ("thread.run.created", {"id": "run_2", "status": "in_progress"})
    state = folded(RUN, two, opened("step_1", function()))
    builder = ViewBuilder(state.state, Theme())
    builder.build(0.0)
    for _ in range(30):
        state.apply(decode_event(Frame(grown("x")[0], json.dumps(grown("x")[1]).encode())))
    assert [run.rate for run in builder.build(0.5).runs] == [60.0, 0.0]
    assert builder.build(9.0).runs[0].rate < 4
    assert [run.rate for run in builder.build(12.0).runs] == [0.0, 0.0]


@each_row(
    ("call", "bodies"),
    [
        (function("", None), ()),
        ({"type": "code_interpreter", "code_interpreter": {"input": "print(1)\r\n", "outputs": []}},
         (Body("code", "print(1)\n"),)),
        ({"type": "code_interpreter", "code_interpreter": {"input": "1", "outputs": [
            {"type": "logs", "logs": "1\n"}, {"type": "image", "image": {"file_id": "file_1"}}]}},
         (Body("code", "1"), Body("logs", "1\n"), Body("output", "image file_1"))),
        ({"type": "file_search", "file_search": {"results": [
            {"file_name": "tides.pdf", "score": 0.5, "content": [{"type": "text", "text": "High  water"}]},
            {"file_id": "file_2"}]}},
         (Body("hits", "0.50  tides.pdf  High water\n      file_2"),)),
        ({"type": "file_search", "file_search": {}}, ()),
        ({"type": "mcp", "name": "sound", "arguments": "[1]", "output": "deep"},
         (Body("json", "[\n  1\n]"), Body("output", "deep"))),
        ({"type": "deep_research", "deep_research": {"input": "why", "output": "so"}},
         (Body("text", "why"), Body("output", "so"))),
        ({"type": "bing_grounding", "bing_grounding": {"requesturl": "https://x"}},
         (Body("raw", '{"bing_grounding": {"requesturl": "https://x"}}'),)),
    ],
)  # fmt: skip
def test_call_holds(call: dict[str, Any], bodies: tuple[Body, ...]):
    assert bodies_of(load(ToolCall, msgspec.convert(call, ToolCall))) == bodies


def test_digest_of_a_search_counts_its_hits():
    results = [{"file_id": "file_1"}, {"file_id": "file_2"}]
    assert digest_of({"type": "file_search", "file_search": {"results": results}}, "→") == "2 hits"
    assert digest_of({"type": "file_search", "file_search": {"results": results[:1]}}, "→") == "1 hit"


def test_brief_ends_soon_whatever_it_is_given():
    assert len(brief({str(key): "x" * 10_000 for key in range(10_000)}, 100)) < 400
    assert len(brief([["x" * 100] * 1_000] * 1_000, 100)) < 600


def run_times(*seen: tuple[float, Run]) -> RunTimes:
    times = RunTimes(seen[0][0])
    for now, run in seen:
        times.see_run(run, now)
    return times


def test_run_that_is_read_as_it_happens_is_timed_here():
    times = run_times((5.0, Run("run_1", created_at=1_000)), (7.4, Run("run_1", created_at=1_000)))
    times.see_step("step_1", 5.5, ended=False, stamps=(1_001,))
    times.see_step("step_1", 7.25, ended=True, stamps=(1_001, 1_003))
    assert times.of_step("step_1", RunStep("step_1", created_at=1_001, completed_at=1_003)) == (0.5, 2.25, True)
    assert times.zero == 5.0


def test_run_that_comes_all_at_once_has_the_times_of_its_server():
    ended = Run("run_1", created_at=1_000, completed_at=1_061, status="completed")
    times = run_times((5.0, ended))
    times.see_step("step_1", 5.0, ended=True, stamps=(1_002, 1_060))
    assert times.of_step("step_1", RunStep("step_1", created_at=1_002, completed_at=1_060)) == (
        2.0,
        60.0 - 2 + 2,
        False,
    )
    assert times.of_run(ended) == (0.0, 61.0, False)


def test_run_joined_late_began_before_it_was_seen():
    times = run_times((5.0, Run("run_1", created_at=1_000)))
    times.see_step("step_1", 5.0, ended=False, stamps=(1_030,))
    assert times.zero == -25.0
    assert times.of_step("step_1", RunStep("step_1", created_at=1_030)) == (30.0, None, False)


def test_run_that_is_replayed_too_fast_has_the_times_of_its_server():
    times = RunTimes(5.0, is_coarse=True)
    times.see_run(Run("run_1", created_at=1_000), 5.0)
    times.see_step("step_1", 5.5, ended=False, stamps=(1_001,))
    times.see_step("step_1", 9.75, ended=True, stamps=(1_001, 1_004))
    assert times.of_step("step_1", RunStep("step_1", created_at=1_001, completed_at=1_004)) == (1.0, 4.0, False)


def test_run_that_is_replayed_too_fast_and_has_no_timestamps_is_timed_roughly():
    times = RunTimes(5.0, is_coarse=True)
    times.see_step("step_1", 5.5, ended=False)
    times.see_step("step_1", 9.75, ended=True)
    assert times.of_step("step_1", RunStep("step_1")) == (0.5, 4.75, False)


@each_row("nonsense", [0, -5, True, 1e300, None])
def test_nonsense_of_a_server_is_no_time(nonsense: Any):
    times = run_times((5.0, Run("run_1", created_at=1_000, completed_at=nonsense)))
    times.see_step("step_1", 6.0, ended=True, stamps=(nonsense,))
    assert times.of_step("step_1", RunStep("step_1", created_at=nonsense)) == (1.0, 1.0, True)
