"""What each event of a response becomes."""

from typing import Any

import msgspec
import pytest

from stepstream import (
    Frame,
    MessageProgress,
    RunStep,
    StepProgress,
    StepTransition,
    ToolCallFinished,
    ToolCallStarted,
    UnknownData,
    encode_change,
)
from stepstream.dialects.state import DialectState
from stepstream.dialects.translation import Translation
from tests.support.json_values import JSON
from tests.support.response_streams import (
    about,
    added,
    calling,
    done,
    ended,
    fold,
    frames,
    item,
    lifecycle,
    piece,
    text,
    thinking,
    whole,
    writing,
)
from tests.support.tables import each_row

CREATED = lifecycle("created")


def open_call(step: RunStep) -> Any:
    return step.tool_calls[0]


# The response


@pytest.mark.parametrize("word", ["completed", "incomplete", "failed", "cancelled"])
def test_run_takes_the_statuses_of_its_response(word: str):
    end = lifecycle(word, incomplete_details={"reason": "max_output_tokens"} if word == "incomplete" else None)
    folded = fold([CREATED, lifecycle("in_progress"), end])
    assert folded.statuses == {"resp_1": ["in_progress", word]}
    assert folded.codes == []


def test_run_in_the_background_is_queued_first():
    folded = fold([lifecycle("created", status="queued"), lifecycle("queued"), lifecycle("in_progress")])
    assert folded.statuses == {"resp_1": ["queued", "in_progress"]}


def test_progress_that_is_told_again_and_again_is_no_transition():
    again = [lifecycle("in_progress", prompt_progress={"processed": count}) for count in range(3)]
    folded = fold([CREATED, *again])
    assert folded.statuses == {"resp_1": ["in_progress"]}


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (lifecycle("failed", status="cancelled"), "cancelled"),
        (lifecycle("completed", status="incomplete"), "incomplete"),
        (lifecycle("done", status="cancelled"), "cancelled"),
        (lifecycle("done"), "completed"),
        (lifecycle("completed", status="in_progress"), "completed"),
        ({"type": "response.cancelled", "response": {"id": "resp_1"}}, "cancelled"),
    ],
)
def test_run_ends_with_the_status_of_its_response_where_that_is_an_end(event: JSON, status: str):
    assert fold([CREATED, event]).statuses["resp_1"] == ["in_progress", status]


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (lifecycle("created", status="completed"), "in_progress"),
        (lifecycle("queued", status="brewing"), "queued"),
        ({"type": "response.created", "response": {"id": "resp_1"}}, "in_progress"),
    ],
)
def test_run_that_goes_on_has_the_status_of_its_event_where_its_response_says_none(event: JSON, status: str):
    assert fold([event]).statuses == {"resp_1": [status]}


def test_run_has_the_fields_of_its_response():
    sent = {
        "model": "m",
        "instructions": "be brief",
        "tools": [{"type": "web_search"}],
        "metadata": {"a": "b"},
        "temperature": 0.5,
        "top_p": 1,
        "max_output_tokens": 99,
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"effort": "low"},
        "conversation": {"id": "conv_1"},
        "agent_reference": {"type": "agent_reference", "name": "poet", "version": "3"},
        "completed_at": 1_700_000_009,
        "error": None,
        "usage": {
            "input_tokens": 3,
            "output_tokens": 4,
            "total_tokens": 7,
            "input_tokens_details": {"cached_tokens": 1},
            "output_tokens_details": {"reasoning_tokens": 2},
            "cost": 0.1,
        },
    }
    run = fold([lifecycle("created", **sent), lifecycle("completed", **sent)]).accumulator.runs["resp_1"]
    expected = {
        "object": "thread.run",
        "created_at": 1_700_000_000,
        "completed_at": 1_700_000_009,
        "thread_id": "conv_1",
        "assistant_id": "poet:3",
        "model": "m",
        "instructions": "be brief",
        "tools": ({"type": "web_search"},),
        "metadata": {"a": "b"},
        "temperature": 0.5,
        "top_p": 1,
        "max_completion_tokens": 99,
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning_effort": "low",
        "last_error": None,
    }
    assert {name: getattr(run, name) for name in expected} == expected
    assert run.usage
    assert (run.usage.prompt_tokens, run.usage.completion_tokens, run.usage.total_tokens) == (3, 4, 7)
    assert run.usage.prompt_token_details == {"cached_tokens": 1}
    assert run.usage.completion_tokens_details == {"reasoning_tokens": 2}
    unset = ("started_at", "failed_at", "cancelled_at", "expires_at")
    assert not any(getattr(run, name) for name in unset)


def test_time_of_the_end_counts_only_at_the_end():
    folded = fold([lifecycle("created", completed_at=1), lifecycle("in_progress", completed_at=1)])
    assert not folded.accumulator.runs["resp_1"].completed_at


@pytest.mark.parametrize(
    ("sent", "assistant", "thread"),
    [
        ({"agent": {"name": "poet"}, "conversation": "conv_1"}, "poet", "conv_1"),
        ({"agent_reference": {"version": "3"}, "conversation": {}}, None, None),
        ({"agent_reference": "poet", "conversation": None}, None, None),
    ],
)
def test_steps_name_the_thread_and_assistant_of_their_response(sent: JSON, assistant: str | None, thread: str | None):
    folded = fold([lifecycle("created", **sent), *writing("Hi"), lifecycle("completed")])
    step, message = (*folded.accumulator.steps.values(),)[0], (*folded.accumulator.messages.values(),)[0]
    assert (step.run_id, step.assistant_id or None, step.thread_id or None) == ("resp_1", assistant, thread)
    assert (message.run_id, message.assistant_id or None, message.thread_id or None) == ("resp_1", assistant, thread)


def test_instructions_that_are_messages_are_left_out_in_silence():
    folded = fold([lifecycle("created", instructions=[{"role": "developer", "content": "be brief"}])])
    assert folded.codes == []
    assert not folded.accumulator.runs["resp_1"].instructions


# Items and their texts


def test_message_is_a_step_that_creates_it():
    folded = fold(whole(writing("Hi!")))
    assert folded.statuses == {
        "resp_1": ["in_progress", "completed"],
        "message_1": ["in_progress", "completed"],
        "message_1*": ["in_progress", "completed"],
    }
    step = folded.accumulator.steps["message_1"]
    assert step.type == "message_creation"
    assert step.step_details
    assert step.step_details.message_creation.message_id == "message_1"
    assert folded.texts == ["Hi!"]
    assert folded.codes == []


def test_message_grows_with_every_piece():
    events = [CREATED, *writing("abc")[:-3]]
    folded = fold(events)
    pieces = [change.delta.content[0].text.value for change in folded.kinds(MessageProgress)]
    assert pieces == ["", "a", "b", "c"]
    assert folded.texts == ["abc"]


def test_delta_of_a_progress_is_written_in_the_words_of_the_fold():
    (progress,) = fold([CREATED, added(item()), piece("a", item())]).kinds(MessageProgress)
    wanted = b'"delta":{"content":[{"type":"text","text":{"value":"a"},"index":0}]}'
    assert wanted in encode_change(progress)


def test_event_keeps_the_bytes_that_came():
    translation = Translation(DialectState())
    for frame in frames([CREATED, added(item()), piece("a", item())]):
        assert {event.payload for event in translation.feed(frame)} == {frame.data}


def test_refusal_is_a_part_of_its_message():
    one = item()
    refusal = {"type": "refusal", "refusal": ""}
    events = [
        added(one),
        about("content_part.added", one, content_index=0, part=refusal),
        about("refusal.delta", one, content_index=0, delta="No"),
        about("refusal.delta", one, content_index=0, delta="."),
        about("refusal.done", one, content_index=0, refusal="No."),
        about("content_part.done", one, content_index=0, part={"type": "refusal", "refusal": "No."}),
    ]
    content = fold([CREATED, *events]).accumulator.messages["message_1"].content
    assert content
    assert [(part.type, part.refusal) for part in content] == [("refusal", "No.")]


def test_parts_of_a_message_stand_side_by_side():
    one, picture = item(), {"type": "hologram", "angle": 3}
    events = [
        added(one),
        about("content_part.added", one, content_index=0, part=text("")),
        about("content_part.added", one, content_index=0, part=text("")),  # announced again
        piece("a", one, part=0),
        about("content_part.added", one, content_index=1, part=text("")),
        piece("b", one, part=1),
        piece("a", one, part=0),
        about("content_part.added", one, content_index=5, part=picture),
    ]
    content = fold([CREATED, *events]).accumulator.messages["message_1"].content
    assert content
    assert [part.text.value if part.type == "text" else part for part in content] == ["aa", "b", picture]


@each_row("part", [{}, {"text": {}}, {"type": "hologram", "text": {"angle": 3}}])
def test_part_of_no_known_kind_stays_as_it_came(part: JSON):
    one = item()
    events = [
        added(one),
        about("content_part.added", one, content_index=0, part=part),
        about("content_part.added", one, content_index=1, part=text("")),
        piece("b", one, part=1),
    ]
    (message,) = fold([CREATED, *events]).accumulator.messages.values()
    assert msgspec.to_builtins(message.content[0]) == part
    assert message.content[1].text.value == "b"


@each_row(
    ("part", "codes"),
    [
        ({"type": "output_text"}, []),
        ({"type": "output_text", "text": None}, []),
        ({"type": "output_text", "text": {"value": "a"}}, ["bad_field"]),
        ({"type": "text", "text": 5}, ["bad_field"]),
    ],
)
def test_text_that_is_announced_without_one_grows_all_the_same(part: JSON, codes: list[str]):
    one = item()
    folded = fold([CREATED, added(one), about("content_part.added", one, content_index=0, part=part), piece("b", one)])
    (message,) = folded.accumulator.messages.values()
    assert [content.text.value for content in message.content] == ["b"]
    assert folded.codes == codes


ANNOTATIONS: list[tuple[JSON, JSON]] = [
    (
        {"type": "url_citation", "url": "u", "title": "t", "start_index": 1, "end_index": 2},
        {"type": "url_citation", "start_index": 1, "end_index": 2, "url_citation": {"url": "u", "title": "t"}},
    ),
    (
        {"type": "file_citation", "file_id": "f", "filename": "a.txt", "index": 30},
        {"type": "file_citation", "file_citation": {"file_id": "f", "filename": "a.txt"}},
    ),
    ({"type": "file_path", "file_id": "f", "index": 1}, {"type": "file_path", "file_path": {"file_id": "f"}}),
    ({"type": "container_file_citation", "file_id": "f"}, {"type": "container_file_citation", "file_id": "f"}),
]


def annotations_of(folded: Any) -> list[JSON]:
    (message,) = folded.accumulator.messages.values()
    return list(msgspec.to_builtins(message.content[0].text.annotations))


@pytest.mark.parametrize(("sent", "kept"), ANNOTATIONS, ids=lambda one: str(one["type"]))
def test_annotation_has_its_target_under_its_type(sent: JSON, kept: JSON):
    one = item()
    note = about("output_text.annotation.added", one, content_index=0, annotation_index=0, annotation=sent)
    grown = fold([CREATED, added(one), piece("a", one), note])
    whole_one = fold([CREATED, done(ended(one, content=[text("a") | {"annotations": [sent]}]))])
    assert annotations_of(grown) == annotations_of(whole_one) == [kept]


def test_annotations_are_numbered_densely():
    one = item()
    notes = [
        about(
            "output_text.annotation.added", one, content_index=0, annotation_index=index, annotation=ANNOTATIONS[at][0]
        )
        for index, at in ((7, 0), (9, 1), (7, 0))
    ]
    unnumbered = about("output_text.annotation.added", one, annotation=ANNOTATIONS[2][0])
    nothing = about("output_text.annotation.added", one, annotation=None)
    folded = fold([CREATED, added(one), piece("a", one), *notes, unnumbered, nothing])
    assert annotations_of(folded) == [kept for _, kept in ANNOTATIONS[:3]]


def test_annotation_may_come_before_any_text():
    one = item()
    note = about("output_text.annotation.added", one, content_index=0, annotation_index=0, annotation=ANNOTATIONS[0][0])
    assert annotations_of(fold([CREATED, note])) == [ANNOTATIONS[0][1]]


def test_reasoning_grows_in_its_summary_and_its_thoughts():
    folded = fold([CREATED, *thinking("ab", "cd")[:-1]])
    reasoning = folded.accumulator.steps["reasoning_1"].step_details.reasoning
    assert [(part.type, part.text) for part in reasoning.summary] == [("summary_text", "ab")]
    assert [(part.type, part.text) for part in reasoning.content] == [("reasoning_text", "cd")]
    ended_one = fold(whole(thinking("ab", "cd"))).accumulator.steps["reasoning_1"]
    assert ended_one.type == "reasoning"
    assert ended_one.step_details.reasoning.summary == reasoning.summary
    assert ended_one.step_details.reasoning.content == reasoning.content


def test_reasoning_part_may_come_as_a_content_part():
    one = item("reasoning")
    thought = {"type": "reasoning_text", "text": ""}
    events = [
        added(one),
        about("content_part.added", one, content_index=0, part=thought),
        about("reasoning_text.delta", one, content_index=0, delta="a"),
        about("content_part.done", one, content_index=0, part={"type": "reasoning_text", "text": "ab"}),
    ]
    reasoning = fold([CREATED, *events]).accumulator.steps["reasoning_1"].step_details.reasoning
    assert [part.text for part in reasoning.content] == ["ab"]


def test_encrypted_reasoning_is_kept_with_its_step():
    events = whole([done(ended(item("reasoning"), encrypted_content="xyz"))])
    assert fold(events).accumulator.steps["reasoning_1"].step_details.reasoning.encrypted_content == "xyz"


TEXTS: list[tuple[str, str, str, str]] = [
    ("function_call", "function_call_arguments", "arguments", "function.arguments"),
    ("custom_tool_call", "custom_tool_call_input", "input", "custom.input"),
    ("mcp_call", "mcp_call_arguments", "arguments", "arguments"),
    ("code_interpreter_call", "code_interpreter_call_code", "code", "code_interpreter.input"),
    ("apply_patch_call", "apply_patch_call_operation_diff", "diff", "apply_patch.operation.diff"),
    ("azure_function_call", "function_call_arguments", "arguments", "azure_function.arguments"),
    ("openapi_call", "function_call_arguments", "arguments", "function.arguments"),
]
"""The texts of calls: the item, its events, the key of the whole text, where it is in the call."""


def at(found: Any, path: str) -> Any:
    for name in path.split("."):
        found = getattr(found, name)
    return found


@pytest.mark.parametrize(("kind", "name", "key", "path"), TEXTS, ids=[row[0] for row in TEXTS])
def test_text_of_a_call_grows_and_is_supplied_whole(kind: str, name: str, key: str, path: str):
    one = item(kind, name="tool") if kind in ("azure_function_call", "openapi_call") else item(kind)
    pieces = [about(f"{name}.delta", one, delta=letter) for letter in "abc"]
    grown = fold([CREATED, added(one), *pieces])
    assert at(open_call(grown.accumulator.steps[one["id"]]), path) == "abc"
    supplied = fold([CREATED, added(one), *pieces[:1], about(f"{name}.done", one, **{key: "abc"})])
    assert at(open_call(supplied.accumulator.steps[one["id"]]), path) == "abc"
    alone = fold([CREATED, added(one), about(f"{name}.done", one, **{key: "abc"})])
    assert at(open_call(alone.accumulator.steps[one["id"]]), path) == "abc"
    assert len(alone.kinds(StepProgress)) == 1
    assert grown.codes == supplied.codes == alone.codes == []


@pytest.mark.parametrize(
    ("events", "wanted"),
    [
        (["output_text.delta", "output_text.done"], "abc"),
        (["content_part.done"], "abc"),
        (["output_text.done", "content_part.done"], "abc"),
    ],
)
def test_text_that_was_lost_is_supplied_by_the_end_of_its_part(events: list[str], wanted: str):
    one = item()
    bodies: dict[str, JSON] = {
        "output_text.delta": {"delta": "a"},
        "output_text.done": {"text": "abc"},
        "content_part.done": {"part": text("abc")},
    }
    told = [about(name, one, content_index=0, **bodies[name]) for name in events]
    assert fold([CREATED, added(one), *told]).texts == [wanted]


def test_second_part_is_supplied_without_touching_the_first():
    one = item()
    events = [
        added(one),
        piece("a", one, part=0),
        about("output_text.done", one, content_index=0, text="a"),
        about("output_text.done", one, content_index=1, text="b"),
    ]
    folded = fold([CREATED, *events])
    content = folded.accumulator.messages["message_1"].content
    assert content
    assert [part.text.value for part in content] == ["a", "b"]


def test_end_of_a_text_that_contradicts_its_pieces_is_left_to_the_last_object():
    one = item()
    told = [added(one), piece("abc", one), about("output_text.done", one, content_index=0, text="xyz")]
    assert fold([CREATED, *told]).texts == ["abc"]
    assert fold([CREATED, *told, done(ended(one, content=[text("xyz")]))]).texts == ["xyz"]


def test_shell_commands_and_what_they_write_grow_by_their_index():
    one = item("shell_call")
    events = [
        added(one),
        about("shell_call_command.added", None, command_index=0, command=""),
        about("shell_call_command.delta", None, command_index=0, delta="l"),
        about("shell_call_command.delta", None, command_index=0, delta="s"),
        about("shell_call_command.done", None, command_index=0, command="ls"),
        about("shell_call_command.done", None, command_index=1, command="pwd"),
        about("shell_call_output_content.delta", one, command_index=0, delta={"stdout": "a"}),
        about("shell_call_output_content.delta", one, command_index=0, delta={"stdout": "b", "stderr": "!"}),
        about("shell_call_output_content.delta", {"id": "sho_1"}, command_index=1, delta={"stdout": "/"}),
        about(
            "shell_call_output_content.done",
            one,
            command_index=1,
            output=[{"stdout": "/home", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}],
        ),
    ]
    folded = fold([CREATED, *events])
    shell = open_call(folded.accumulator.steps["shell_call_1"]).shell
    assert [command.command for command in shell.commands] == ["ls", "pwd"]
    assert [(output.stdout, output.stderr or "") for output in shell.outputs] == [("ab", "!"), ("/home", "")]
    last = ended(one, action={"commands": ["ls", "pwd"], "timeout_ms": 5}, environment={"type": "local"})
    settled = fold([CREATED, *events, done(last)])
    kept = open_call(settled.accumulator.steps["shell_call_1"]).shell
    assert kept.outputs == shell.outputs
    assert (kept.timeout_ms, kept.environment) == (5, {"type": "local"})
    assert settled.codes == []


def test_output_of_a_shell_call_that_ended_is_left_to_its_item():
    one = item("shell_call")
    late = about("shell_call_output_content.delta", one, command_index=0, delta={"stdout": "a"})
    folded = fold([CREATED, added(one), done(ended(one)), late])
    assert folded.codes == []
    assert not open_call(folded.accumulator.steps["shell_call_1"]).shell.outputs


PHASES = [
    ("web_search_call", "searching"),
    ("file_search_call", "searching"),
    ("code_interpreter_call", "interpreting"),
    ("image_generation_call", "generating"),
    ("mcp_call", "in_progress"),
    ("bing_grounding_call", "searching"),
]


@pytest.mark.parametrize(("kind", "phase"), PHASES)
def test_phase_of_a_call_is_progress(kind: str, phase: str):
    one = item(kind)
    folded = fold([CREATED, added(one), about(f"{kind}.{phase}", one)])
    (progress,) = folded.kinds(StepProgress)
    call = open_call(progress.step)
    assert (call["status"] if isinstance(call, dict) else call.status) == phase
    assert folded.statuses[one["id"]] == ["in_progress"]


@pytest.mark.parametrize("kind", ["mcp_list_tools", "compaction"])
def test_phase_of_what_is_no_call_is_progress(kind: str):
    one = item(kind, tools=[])
    folded = fold(
        [CREATED, added(one), about(f"{kind}.{'compacting' if kind == 'compaction' else 'in_progress'}", one)]
    )
    assert len(folded.kinds(StepProgress)) == 1


def test_partial_image_is_progress_and_its_bytes_are_not_kept():
    one = item("image_generation_call")
    folded = fold([CREATED, added(one), about("image_generation_call.partial_image", one, partial_image_b64="AAAA")])
    (progress,) = folded.kinds(StepProgress)
    assert open_call(progress.step).status == "generating"
    assert b"AAAA" not in folded.accumulator.export() + encode_change(progress)


@pytest.mark.parametrize("kind", ["mcp_call", "mcp_list_tools", "web_search_call"])
def test_step_whose_failure_was_told_before_ends_failed(kind: str):
    one = item(kind, status=None)
    events = [added(one), about(f"{kind}.failed", one), done({**one, "status": None})]
    folded = fold([CREATED, *events])
    assert folded.statuses[one["id"]] == ["in_progress", "failed"]


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.audio.delta", "delta": "AAAA"},
        {"type": "response.steer.added"},
        {"type": "keepalive", "sequence_number": 4},
        {"type": "response.brand_new", "item_id": "x"},
        {"choices": [{"delta": {"content": "leaked"}}]},
    ],
)
def test_other_events_are_unknown_data_and_fold_to_nothing(event: JSON):
    translation = Translation(DialectState(), "responses")
    (frame,) = frames([event], named=False)
    (told,) = translation.feed(frame)
    assert told.name == event.get("type", "message")
    assert isinstance(told.data, UnknownData)
    assert fold([CREATED, event]).changes[1:] == []


def test_named_event_of_another_vocabulary_need_not_be_json():
    folded = fold([CREATED])
    assert folded.accumulator.apply_frame(Frame("ping", b"now")) == []


# Calls that are told of


def test_call_is_told_once_when_it_starts_and_when_it_ends():
    folded = fold(whole(calling("{}")))
    assert [(one.id, one.type, one.name) for one in folded.kinds(ToolCallStarted)] == [("call_1", "function", "add")]
    assert [one.call.function.arguments for one in folded.kinds(ToolCallFinished)] == ["{}"]
    kinds = [type(one) for one in folded.changes]
    assert kinds.index(ToolCallFinished) < len(kinds) - 1 - kinds[::-1].index(StepTransition)
