"""What other servers of these kits were reported to do wrong, as facts of ours."""

import json
from collections.abc import Iterable
from typing import Any

import pytest

from stepstream import Frame, FrameDecoder
from stepstream.relay.forms.ag_ui import MASKED, AgUiForm
from stepstream.relay.forms.ai_sdk import AiSdkForm
from stepstream.relay.forms.form import FormKind
from stepstream.relay.forms.registry import FORMS
from tests.relay.test_kit_forms import flat, order, read
from tests.support.conforming_streams import Sent, calls, function, message, more_arguments, run, step, step_delta
from tests.support.fed_forms import fed_of, told_from
from tests.support.kit_readers import AgUiReader
from tests.support.kit_runs import NAMES, run_named
from tests.support.places import ROOT

EACH = pytest.mark.parametrize("kind", [FORMS["ag-ui"], FORMS["ai-sdk"]], ids=["ag-ui", "ai-sdk"])
ENDS = {"RUN_FINISHED", "RUN_ERROR", "finish", "abort", "error"}
ONCE = {"TOOL_CALL_RESULT", "TEXT_MESSAGE_START", "TOOL_CALL_START", "REASONING_START", "text-start", "reasoning-start"}
ONCE |= {"tool-input-start", "tool-input-available", "tool-output-available"}


def frames_of(*sent: Sent) -> list[Frame]:
    return [Frame(one.event, json.dumps(one.data).encode()) for one in sent]


def told(kind: FormKind, frames: Iterable[Frame]) -> list[dict[str, Any]]:
    """Return what is said of a run from its start."""
    first, rest = told_from(kind, fed_of(frames), 0)
    return [json.loads(frame.data) for frame in [*first, *(one for some in rest for one in some)]]


def id_of(event: dict[str, Any]) -> str:
    return str(event.get("toolCallId") or event.get("messageId") or event.get("id"))


def called(arguments: str, **fields: Any) -> list[Sent]:
    """Return a run that calls a function with those arguments, in two pieces."""
    half = len(arguments) // 2
    opened = {"index": 0, "id": "call_a", **function("grind", "")}
    return [
        run("queued", event="created"), run("in_progress"), step("created", 1, calls()), step_delta(opened),
        step_delta(more_arguments(arguments[:half])), step_delta(more_arguments(arguments[half:])),
        step("completed", 1, calls(function("grind", arguments, id="call_a", **fields))),
    ]  # fmt: skip


@EACH
def test_everything_that_opens_closes_before_the_end(kind: FormKind):
    for name in NAMES:
        open_ids = set[str]()
        for event in [json.loads(one.data) for some in told_from(kind, run_named(name), 0)[1] for one in some]:
            what, _, verb = event["type"].lower().replace("_", "-").rpartition("-")
            if verb == "start" and what not in ("", "tool-input"):
                open_ids.add(what + id_of(event))
            elif verb == "end":
                open_ids.remove(what + id_of(event))
            if event["type"] in ENDS:
                assert not open_ids, name


@EACH
def test_nothing_is_said_twice_though_every_event_comes_twice(kind: FormKind):
    for name in ("ferry", "tides", "archive", "harbour"):
        once = FrameDecoder().feed((ROOT / "tests" / "streams" / f"{name}.sse").read_bytes())
        said = [(one["type"], id_of(one)) for one in told(kind, [again for frame in once for again in (frame, frame)])]
        opened = [one for one in said if one[0] in ONCE]
        assert len(opened) == len(set(opened)) > 0, name


@EACH
def test_arguments_come_once_though_the_last_object_has_them_all(kind: FormKind):
    said = told(kind, frames_of(*called('{"grain": "rye"}', output="flour"), run("completed")))
    pieces = [
        one.get("delta", one.get("inputTextDelta")) for one in said if one["type"].endswith(("ARGS", "put-delta"))
    ]
    assert pieces == ['{"grain"', ': "rye"}']


@EACH
def test_result_comes_once_though_the_step_is_completed_twice_and_filled_late(kind: FormKind):
    late = step_delta({"index": 0, "type": "function", "function": {"output": "flour"}})
    for sent in ([*called("{}"), late, late], [*called("{}", output="flour"), called("{}", output="flour")[-1], late]):
        said = told(kind, frames_of(*sent, run("completed")))
        [result] = [one for one in said if one["type"] in ("TOOL_CALL_RESULT", "tool-output-available")]
        assert result.get("content", result.get("output")) == "flour"


@EACH
def test_ids_of_who_joins_are_those_of_the_stream(kind: FormKind):
    for name in NAMES:
        fed = run_named(name)
        streamed = read(kind, flat(*told_from(kind, fed, 0)))
        joined = read(kind, kind.make().begin(fed[-1].state))
        assert order(joined.held) == order(streamed.held), name
        if isinstance(joined, AgUiReader):
            assert joined.messages == streamed.messages  # type: ignore[union-attr]


@EACH
def test_start_is_before_all_though_the_run_itself_is_told_last(kind: FormKind):
    said = told(kind, frames_of(step("created", 1, calls()), message("created"), run("in_progress")))
    assert said[0]["type"] in ("RUN_STARTED", "start")
    assert [one["type"] for one in said].count(said[0]["type"]) == 1


@EACH
@pytest.mark.parametrize("arguments", ["rye, please", '{"grain": "ry', "", "[1, 2]", '"rye"', "[" * 5_000])
def test_input_that_is_no_json_is_said_as_it_is(kind: FormKind, arguments: str):
    said = told(kind, frames_of(*called(arguments), run("completed")))
    if kind.name == "ag-ui":
        assert "".join(one["delta"] for one in said if one["type"] == "TOOL_CALL_ARGS") == arguments
        return
    [whole] = [one["input"] for one in said if one["type"] == "tool-input-available"]
    assert whole in ({"": {}, "[1, 2]": [1, 2], '"rye"': "rye"}.get(arguments, arguments),)


def test_words_of_errors_are_masked_unless_asked_for():
    failed = run("failed", last_error={"code": "server_error", "message": "the key sk-1 is wrong"}, failed_at=1)
    fed = fed_of(frames_of(run("in_progress"), failed))
    ends = [
        b"".join(one.data for told in fed for one in form.feed(told.event, told.changes))
        for form in (AgUiForm(), AiSdkForm(), AgUiForm(show_errors=True), AiSdkForm(show_errors=True))
    ]
    assert [b"sk-1" in one for one in ends] == [False, False, True, True]
    assert [MASKED.encode() in one for one in ends] == [True, True, False, False]


@EACH
def test_nothing_follows_the_end_though_steps_are_told_after_it(kind: FormKind):
    rest = called("{}", output="flour")
    said = told(kind, frames_of(*rest[:-1], run("completed"), rest[-1], message("created"), run("in_progress")))
    assert said[-1]["type"] in ENDS


@EACH
def test_texts_with_line_ends_of_all_kinds_are_lines_of_their_own_nowhere(kind: FormKind):
    frames = frames_of(run("in_progress"), message("completed", "one\r\ntwo\rthree\u2028four"), run("completed"))
    for some in told_from(kind, fed_of(frames), 0)[1]:
        assert not any(set(b"\r\n") & set(one.data) for one in some)
    assert "one\r\ntwo\rthree\u2028four" in [one.get("delta") for one in told(kind, frames)]


@EACH
def test_texts_of_one_run_side_by_side_keep_apart(kind: FormKind):
    first, second = message("created", id="msg_a"), message("created", id="msg_b")
    grown = [
        Sent("thread.message.delta", {"id": one, "delta": {"content": [{"index": 0, "text": {"value": piece}}]}})
        for one, piece in (("msg_a", "A1"), ("msg_b", "B1"), ("msg_a", "A2"), ("msg_b", "B2"))
    ]
    said = told(kind, frames_of(run("in_progress"), first, second, *grown, run("completed")))
    assert [(id_of(one), one["delta"]) for one in said if "delta" in one and isinstance(one["delta"], str)] == [
        ("msg_a", "A1"), ("msg_b", "B1"), ("msg_a", "A2"), ("msg_b", "B2")
    ]  # fmt: skip


@EACH
def test_approval_of_a_call_that_no_step_told_of_is_asked_for(kind: FormKind):
    asked = {"id": "call_m", "type": "mcp", "name": "grind", "arguments": '{"grain": "rye"}', "server_label": "mill"}
    action = {"type": "submit_tool_approval", "submit_tool_approval": {"tool_calls": [asked]}}
    fed = fed_of(frames_of(run("in_progress"), run("requires_action", required_action=action)))
    for joined in (0, 2):
        reader = read(kind, flat(*told_from(kind, fed, joined)))
        assert reader.end == "waits"
    assert "call_m" in json.dumps(told(kind, frames_of(run("requires_action", required_action=action))))
