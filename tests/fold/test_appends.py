"""The short cut for the usual delta does what the long way does, and declines all else."""

import json
from typing import Any

import pytest

from stepstream import Accumulator, Frame, decode_event

STEP = "step_grow"
MESSAGE = "msg_grow"


def frame(name: str, data: dict[str, Any]) -> Frame:
    return Frame(name, json.dumps(data).encode())


def step_delta(*calls: dict[str, Any], **details: Any) -> Frame:
    body = {"type": "tool_calls", "tool_calls": list(calls), **details}
    return frame("thread.run.step.delta", {"id": STEP, "delta": {"step_details": body}})


def message_delta(*parts: dict[str, Any], **body: Any) -> Frame:
    return frame("thread.message.delta", {"id": MESSAGE, "delta": {"content": list(parts), **body}})


def sail(**fields: Any) -> dict[str, Any]:
    return {"index": 0, "type": "function", "function": fields}


def sums(**fields: Any) -> dict[str, Any]:
    return {"index": 1, "type": "code_interpreter", "code_interpreter": fields}


def logs(text: Any, **fields: Any) -> dict[str, Any]:
    return sums(outputs=[{"index": 0, "type": "logs", "logs": text, **fields}])


def moor(**fields: Any) -> dict[str, Any]:
    return {"index": 2, "type": "azure_function", "azure_function": fields}


def word(value: Any, **fields: Any) -> dict[str, Any]:
    return {"index": 0, "type": "text", "text": {"value": value, **fields}}


OPENING = [
    frame("thread.run.step.created", {"id": STEP, "type": "tool_calls", "step_details": {"type": "tool_calls"}}),
    step_delta({**sail(name="sail", arguments=""), "id": "call_0"}),
    step_delta({**sums(input="1", outputs=[]), "id": "call_1"}),
    step_delta(logs("one")),
    frame("thread.message.created", {"id": MESSAGE, "content": []}),
    message_delta(word("fog", annotations=[])),
    step_delta({**moor(name="moor", arguments=""), "id": "call_2"}),
]

DELTAS = {
    "arguments": step_delta(sail(arguments='{"a"')),
    "arguments_with_id": step_delta({**sail(arguments="x"), "id": "call_0"}),
    "arguments_with_another_id": step_delta({**sail(arguments="x"), "id": "call_9"}),
    "arguments_with_null_id": step_delta({**sail(arguments="x"), "id": None}),
    "arguments_without_type": step_delta({"index": 0, "function": {"arguments": "x"}}),
    "arguments_of_another_type": step_delta({**sail(arguments="x"), "type": "openapi"}),
    "arguments_with_name": step_delta(sail(arguments="x", name="sail")),
    "arguments_with_output": step_delta(sail(arguments="x", output="wind")),
    "arguments_of_an_azure_function": step_delta(moor(arguments="x")),
    "arguments_of_an_azure_function_with_name": step_delta(moor(arguments="x", name="moor")),
    "arguments_of_an_azure_function_with_output": step_delta(moor(arguments="x", output="wind")),
    "arguments_null": step_delta(sail(arguments=None)),
    "arguments_absent": step_delta(sail()),
    "function_null": step_delta({"index": 0, "type": "function", "function": None}),
    "function_beside_another_kind": step_delta({**sail(arguments="x"), "code_interpreter": {"input": "y"}}),
    "function_beside_a_null_kind": step_delta({**sail(arguments="x"), "file_search": None}),
    "two_calls": step_delta(sail(arguments="x"), sums(input="y")),
    "unknown_index": step_delta({**sail(arguments="x"), "index": 7}),
    "input": step_delta(sums(input="+1")),
    "input_with_logs": step_delta(sums(input="+1", outputs=[{"index": 0, "type": "logs", "logs": "x"}])),
    "logs": step_delta(logs(" two")),
    "logs_null": step_delta(logs(None)),
    "logs_with_image": step_delta(logs("x", image={"file_id": "file_fog"})),
    "logs_at_another_index": step_delta(sums(outputs=[{"index": 3, "type": "logs", "logs": "x"}])),
    "logs_of_two": step_delta(sums(outputs=[{"index": 0, "type": "logs", "logs": value} for value in "xy"])),
    "image": step_delta(sums(outputs=[{"index": 0, "type": "image", "image": {"file_id": "file_fog"}}])),
    "no_outputs": step_delta(sums(outputs=[])),
    "unknown_tool": step_delta({"index": 4, "type": "dowsing_rod", "id": "call_4", "dowsing_rod": {"twig": "yew"}}),
    "details_with_message_creation": step_delta(sail(arguments="x"), message_creation={"message_id": MESSAGE}),
    "details_with_null_activities": step_delta(sail(arguments="x"), activities=None),
    "details_of_another_type": step_delta(type="message_creation"),
    "details_of_an_unknown_type": step_delta(type="dream"),
    "word": message_delta(word(" bank")),
    "word_with_no_annotations": message_delta(word("x", annotations=[])),
    "word_with_annotation": message_delta(word("x", annotations=[{"index": 0, "type": "file_path"}])),
    "word_null": message_delta(word(None)),
    "word_with_role": message_delta(word("x"), role="assistant"),
    "word_at_another_index": message_delta({**word("x"), "index": 2}),
    "word_beside_refusal": message_delta({**word("x"), "refusal": "no"}),
    "word_without_type": message_delta({"index": 0, "text": {"value": "x"}}),
    "two_words": message_delta(word("x"), word("y")),
    "unknown_content": message_delta({"index": 1, "type": "hologram", "hologram": {"size": 2}}),
}


NEW_CALL = {**sail(name="row", arguments=""), "index": 5, "id": "call_5"}
NEW_CODE = {**sums(input="", outputs=[]), "index": 6, "id": "call_6"}
NEW_PART = {**word("fog", annotations=[]), "index": 3}

OPENINGS = {
    "call": step_delta(NEW_CALL),
    "call_with_output": step_delta({**NEW_CALL, "function": {"name": "row", "arguments": "{}", "output": "wind"}}),
    "call_with_null_output": step_delta({**NEW_CALL, "function": {"name": "row", "arguments": "{", "output": None}}),
    "call_without_name": step_delta({**NEW_CALL, "function": {"arguments": "{"}}),
    "call_of_an_azure_function": step_delta(
        {"index": 5, "id": "call_5", "type": "azure_function", "azure_function": {"name": "row", "arguments": ""}}
    ),
    "call_of_a_search": step_delta({"index": 5, "id": "call_5", "type": "file_search", "file_search": {}}),
    "call_of_a_search_with_options": step_delta(
        {
            "index": 5,
            "id": "call_5",
            "type": "file_search",
            "file_search": {"ranking_options": {"ranker": "auto", "score_threshold": 0.5}, "results": []},
        }
    ),
    "call_of_a_search_without_results": step_delta(
        {"index": 5, "id": "call_5", "type": "file_search", "file_search": {"results": None, "ranking_options": None}}
    ),
    "call_with_null_id": step_delta({**NEW_CALL, "id": None}),
    "code": step_delta(NEW_CODE),
    "code_without_outputs": step_delta({**NEW_CODE, "code_interpreter": {"input": "1"}}),
    "code_with_null_outputs": step_delta({**NEW_CODE, "code_interpreter": {"input": "1", "outputs": None}}),
    "part": message_delta(NEW_PART),
    "part_without_annotations": message_delta({**word("fog"), "index": 3}),
    "part_with_null_value": message_delta({**word(None, annotations=None), "index": 3}),
}

OTHERS = {
    "known_index": step_delta({**NEW_CALL, "index": 0}),
    "id_of_another": step_delta({**NEW_CALL, "id": "call_0"}),
    "call_without_id": step_delta({key: value for key, value in NEW_CALL.items() if key != "id"}),
    "call_without_type": step_delta({key: value for key, value in NEW_CALL.items() if key != "type"}),
    "call_of_another_type": step_delta({**NEW_CALL, "type": "code_interpreter"}),
    "call_of_two_kinds": step_delta({**NEW_CALL, "code_interpreter": {"input": "x"}}),
    "call_with_a_name_beside": step_delta({**NEW_CALL, "name": "row"}),
    "call_without_content": step_delta({key: value for key, value in NEW_CALL.items() if key != "function"}),
    "call_with_null_content": step_delta({**NEW_CALL, "function": None}),
    "call_of_a_search_with_results": step_delta(
        {"index": 5, "id": "call_5", "type": "file_search", "file_search": {"results": [{"file_id": "file_fog"}]}}
    ),
    "call_of_an_index": step_delta({"index": 5, "id": "call_5", "type": "azure_ai_search", "azure_ai_search": {}}),
    "call_of_a_server": step_delta({"index": 5, "id": "call_5", "type": "mcp", "name": "row", "arguments": ""}),
    "call_of_an_unknown_tool": step_delta({"index": 5, "id": "call_5", "type": "dowsing_rod", "dowsing_rod": {}}),
    "calls": step_delta(NEW_CALL, NEW_CODE),
    "no_call": step_delta(),
    "code_with_logs": step_delta(
        {**NEW_CODE, "code_interpreter": {"input": "1", "outputs": [{"index": 1, "type": "logs", "logs": "x"}]}}
    ),
    "code_with_untyped_output": step_delta(
        {**NEW_CODE, "code_interpreter": {"input": "1", "outputs": [{"index": 1, "dream": "x"}]}}
    ),
    "code_with_two_outputs_in_one_place": step_delta(
        {
            **NEW_CODE,
            "code_interpreter": {"outputs": [{"index": 1, "type": kind} for kind in ("logs", "image")]},
        }
    ),
    "details_of_another_type": step_delta(NEW_CALL, type="message_creation"),
    "details_with_message_creation": step_delta(NEW_CALL, message_creation={"message_id": MESSAGE}),
    "known_part": message_delta({**word("fog", annotations=[]), "index": 0}),
    "part_with_annotation": message_delta({**word("x", annotations=[{"index": 0, "type": "file_path"}]), "index": 3}),
    "part_with_refusal": message_delta({**NEW_PART, "refusal": "no"}),
    "part_without_text": message_delta({"index": 3, "type": "text"}),
    "part_of_an_unknown_type": message_delta({"index": 3, "type": "hologram", "hologram": {}}),
    "part_and_role": message_delta(NEW_PART, role="assistant"),
    "parts": message_delta(NEW_PART, {**NEW_PART, "index": 4}),
}


def entry_append(accumulator: Accumulator, delta: Frame) -> Any:
    table: Any = accumulator.stream.messages if "message" in delta.event else accumulator.stream.steps
    return table.entry_append(
        table.known[MESSAGE if "message" in delta.event else STEP], decode_event(delta).data.delta
    )


def long_way() -> Accumulator:
    accumulator = Accumulator()
    for table in (accumulator.stream.steps, accumulator.stream.messages):
        table.text_append = table.entry_append = lambda growing, body: None
    return accumulator


def fold(accumulator: Accumulator, frames: list[Frame]) -> tuple[Any, ...]:
    changes = [[repr(change) for change in accumulator.apply_frame(one)] for one in frames]
    return changes, dict(accumulator.steps), dict(accumulator.messages), accumulator.anomalies


@pytest.mark.parametrize("delta", DELTAS.values(), ids=DELTAS)
def test_short_cut_does_what_the_long_way_does(delta: Frame) -> None:
    frames = [*OPENING, delta, *OPENING[1:], delta, delta]
    assert fold(Accumulator(), frames) == fold(long_way(), frames)


USUAL = [
    "arguments",
    "arguments_of_an_azure_function",
    "arguments_with_id",
    "input",
    "logs",
    "word",
    "word_with_no_annotations",
]


@pytest.mark.parametrize("name", USUAL)
def test_usual_delta_takes_the_short_cut(name: str) -> None:
    accumulator = Accumulator()
    fold(accumulator, OPENING)
    table: Any = accumulator.stream.messages if name.startswith("word") else accumulator.stream.steps
    growing = table.known[MESSAGE if name.startswith("word") else STEP]
    assert table.text_append(growing, decode_event(DELTAS[name]).data.delta) is not None


ODD_STEPS = [
    {"id": STEP, "type": "message_creation", "step_details": {"type": "tool_calls", "tool_calls": []}},
    {"id": STEP, "step_details": {"tool_calls": []}},
    {"id": STEP, "step_details": {"type": "message_creation", "tool_calls": []}},
    {"id": STEP, "type": "tool_calls", "step_details": {}},
    {"id": STEP, "type": "tool_calls", "step_details": {"type": "tool_calls"}},
    {"id": STEP, "type": "tool_calls", "step_details": {"type": "dream", "tool_calls": [{"id": "x"}]}},
    {"id": STEP, "type": "tool_calls"},
    {"id": STEP},
]


@pytest.mark.parametrize("created", ODD_STEPS)
def test_step_at_odds_with_its_details_takes_the_long_way(created: dict[str, Any]) -> None:
    call = {**sail(name="sail", arguments=""), "id": "call_0"}
    untyped = frame("thread.run.step.delta", {"id": STEP, "delta": {"step_details": {"tool_calls": [call]}}})
    frames = [frame("thread.run.step.created", created), untyped, DELTAS["arguments"], DELTAS["arguments"]]
    assert fold(Accumulator(), frames) == fold(long_way(), frames)


def test_step_that_is_said_to_be_in_progress_again_keeps_the_short_cut() -> None:
    accumulator = Accumulator()
    again = frame("thread.run.step.in_progress", {"id": STEP, "type": "tool_calls"})
    fold(accumulator, [*OPENING, again])
    table: Any = accumulator.stream.steps
    assert table.text_append(table.known[STEP], decode_event(DELTAS["arguments"]).data.delta) is not None


def test_step_that_changes_its_type_takes_the_long_way() -> None:
    changed = frame("thread.run.step.in_progress", {"id": STEP, "type": "message_creation"})
    frames = [*OPENING, changed, DELTAS["arguments"]]
    assert fold(Accumulator(), frames) == fold(long_way(), frames)


@pytest.mark.parametrize("delta", [*OPENINGS.values(), *OTHERS.values()], ids=[*OPENINGS, *OTHERS])
def test_new_entry_is_folded_as_on_the_long_way(delta: Frame) -> None:
    more = [step_delta({**sail(arguments="x"), "index": 5}), step_delta({**sums(input="y"), "index": 6})]
    more += [step_delta({**logs("z"), "index": 6}), message_delta({**word("x"), "index": 3}), delta]
    ends = [
        frame("thread.run.step.completed", {"id": STEP, "status": "completed"}),
        frame("thread.message.completed", {"id": MESSAGE, "status": "completed"}),
    ]
    for others_before in (OPENING[1:], OPENING[4:5]):
        frames = [OPENING[0], *others_before, delta, *more, *ends, delta]
        assert fold(Accumulator(), frames) == fold(long_way(), frames), f"after {others_before}"


@pytest.mark.parametrize("created", ODD_STEPS)
@pytest.mark.parametrize("delta", [OPENINGS["call"], OPENINGS["code"]], ids=["call", "code"])
def test_new_call_of_a_step_at_odds_with_its_details_is_folded_as_on_the_long_way(
    delta: Frame, created: dict[str, Any]
) -> None:
    frames = [frame("thread.run.step.created", created), delta, delta]
    assert fold(Accumulator(), frames) == fold(long_way(), frames)


@pytest.mark.parametrize("delta", OPENINGS.values(), ids=OPENINGS)
def test_new_entry_takes_the_short_cut(delta: Frame) -> None:
    accumulator = Accumulator()
    fold(accumulator, OPENING)
    assert entry_append(accumulator, delta) is not None
    fold(accumulator, [delta])
    assert entry_append(accumulator, delta) is None


@pytest.mark.parametrize("name", [name for name in OTHERS if name != "id_of_another"])
def test_all_but_a_plain_new_entry_takes_the_long_way(name: str) -> None:
    accumulator = Accumulator()
    fold(accumulator, OPENING)
    assert entry_append(accumulator, OTHERS[name]) is None


@pytest.mark.parametrize("first", [None, [], "absent"])
@pytest.mark.parametrize("second", [None, [], "absent"])
def test_lists_of_annotations_that_come_one_after_another_are_folded_as_on_the_long_way(
    first: Any, second: Any
) -> None:
    one, two = (word("x", **({} if said == "absent" else {"annotations": said})) for said in (first, second))
    frames = [OPENING[4], message_delta(one), message_delta(two), message_delta(one)]
    assert fold(Accumulator(), frames) == fold(long_way(), frames)
