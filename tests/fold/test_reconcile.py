"""What a server says of a run when it is asked: every missed transition once, in an order that the tables allow."""

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from stepstream.errors import DecodeError
from stepstream.fold.accumulator import Accumulator
from stepstream.fold.anomalies import Anomaly
from stepstream.fold.answered import ENDINGS
from stepstream.fold.changes import (
    Change,
    MessageTransition,
    RunTransition,
    StepProgress,
    StepTransition,
    ToolCallFinished,
    ToolCallStarted,
)
from stepstream.fold.reconcile import ServerAnswer, missed_events
from stepstream.wire.events import Done, Event, decode_event
from stepstream.wire.statuses import NEXT_MESSAGE, NEXT_RUN, NEXT_STEP
from tests.support.json_values import JSON, event, plain
from tests.support.server_events import (
    CODE,
    MESSAGE,
    RUN,
    STEP,
    asking,
    call,
    check_that_everything_comes_once,
    created,
    delta,
    ended,
    fold,
    frames_of,
    message,
    message_delta,
    moved,
    names,
    piece,
    run,
    step,
    text,
)
from tests.support.tables import each_row

Transition = StepTransition | RunTransition | MessageTransition


def run_object(status: str | None, **fields: Any) -> JSON:
    known = {} if status is None else {"status": status}
    return {"id": RUN, "object": "thread.run", "thread_id": "thread_moss", **known, **fields}


def message_object(status: str | None, *content: JSON, **fields: Any) -> JSON:
    known = {} if status is None else {"status": status}
    return {"id": MESSAGE, "object": "thread.message", "run_id": RUN, "content": list(content), **known, **fields}


def writing(status: str, **fields: Any) -> JSON:
    """Return a step that writes the message."""
    details = {"type": "message_creation", "message_creation": {"message_id": MESSAGE}}
    return step(status, type="message_creation", step_details=details, **fields)


def truth(run: object, steps: Iterable[object] = (), messages: Iterable[object] = ()) -> ServerAnswer:
    encode = msgspec.json.encode
    return ServerAnswer(encode(run), tuple(map(encode, steps)), tuple(map(encode, messages)))


def apply(accumulator: Accumulator, told: ServerAnswer) -> list[Change]:
    """Do what the reader of a stream does."""
    changes: list[Change] = []
    for frame in missed_events(accumulator.state, told):
        try:
            changes += accumulator.apply(decode_event(frame))
        except DecodeError as error:
            changes.append(accumulator.reject(error))
    return changes


def apply_to(*events: Event, told: ServerAnswer) -> list[Change]:
    return apply(fold(*events), told)


def moves(changes: Iterable[Change]) -> list[str]:
    """Return each transition as text, what it belongs to first."""
    kinds = {StepTransition: "step", RunTransition: "run", MessageTransition: "message"}
    return [f"{kinds[type(one)]} {one.status}" for one in changes if isinstance(one, Transition)]


def what(changes: Iterable[Change]) -> list[str]:
    """Return the transitions, and the names of all other changes."""
    return [name for one in changes for name in (moves([one]) or names([one]))]


# The run


@each_row(
    ("known", "status", "told"),
    [
        (None, "queued", ["queued"]),
        (None, "in_progress", ["queued", "in_progress"]),
        (None, "requires_action", ["queued", "in_progress", "requires_action"]),
        (None, "completed", ["queued", "in_progress", "completed"]),
        (None, "incomplete", ["queued", "in_progress", "incomplete"]),
        (None, "failed", ["queued", "failed"]),
        (None, "cancelling", ["queued", "cancelling"]),
        (None, "hibernating", ["hibernating"]),
        (None, None, ["queued"]),
        ("queued", "completed", ["in_progress", "completed"]),
        ("queued", "expired", ["expired"]),
        ("in_progress", "completed", ["completed"]),
        ("in_progress", "cancelled", ["cancelled"]),
        ("in_progress", "hibernating", ["hibernating"]),
        ("requires_action", "completed", ["in_progress", "completed"]),
        ("requires_action", "incomplete", ["in_progress", "incomplete"]),
        ("requires_action", "in_progress", ["in_progress"]),
        ("requires_action", "queued", ["queued"]),
        ("requires_action", "expired", ["expired"]),
        ("cancelling", "completed", ["completed"]),
        ("cancelling", "cancelled", ["cancelled"]),
        ("hibernating", "completed", ["completed"]),
    ],
)
def test_run_goes_through_what_the_table_allows(known: str | None, status: str | None, told: list[str]):
    before = [run(known, as_="created")] if known else []
    changes = apply_to(*before, told=truth(run_object(status)))
    assert what(changes) == [f"run {one}" for one in told]


@each_row(
    ("known", "status"),
    [
        ("in_progress", "queued"),
        ("cancelling", "in_progress"),
        ("completed", "in_progress"),
        ("completed", "hibernating"),
        ("in_progress", None),
        ("in_progress", "in_progress"),
        ("completed", "completed"),
        ("hibernating", "hibernating"),
    ],
)
def test_older_answer_or_the_same_says_nothing(known: str, status: str | None):
    accumulator = fold(run(known, as_="created"))
    assert list(missed_events(accumulator.state, truth(run_object(status)))) == []


def test_run_that_ended_with_steps_was_at_work():
    told = truth(run_object("failed"), [step("failed")])
    assert moves(apply_to(told=told)) == [
        "run queued", "run in_progress", "step in_progress", "step failed", "run failed"
    ]  # fmt: skip
    assert moves(apply_to(run("queued"), told=told)) == [
        "run in_progress", "step in_progress", "step failed", "run failed"
    ]  # fmt: skip
    assert moves(apply_to(run("cancelling"), told=told)) == ["step in_progress", "step failed", "run failed"]


def test_earlier_status_of_a_run_has_nothing_that_the_end_brought():
    brought = {key: {"code": "x"} for key in ENDINGS} | {key: 7 for key in ENDINGS if key.endswith("_at")}
    full = run_object("completed", started_at=5, metadata={"a": "b"}, **brought)
    queued, working, completed = (plain(one.run) for one in apply_to(told=truth(full)))
    assert completed == plain(msgspec.convert(full, type(fold(run("queued")).runs[RUN])))
    shared = {key: None for key in completed if key in ENDINGS}
    assert working == {**completed, **shared, "status": "in_progress"}
    assert queued == {**working, "status": "queued", "started_at": None}


def test_field_that_a_run_lacks_is_not_invented():
    assert plain(apply_to(told=truth(run_object("completed")))[0].run) == run_object("queued")


def test_run_that_waits_for_the_same_calls_has_not_been_answered():
    action = {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": [call("call_1", name="sail")]}}
    told = truth(run_object("requires_action", required_action=action, metadata={}))
    accumulator = fold(asking(call("call_1", name="sail")))
    assert what(apply(accumulator, told)) == []
    assert accumulator.runs[RUN].metadata == {}


def test_run_that_waits_for_other_calls_was_answered_and_waits_again():
    action = {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": [call("call_2", name="sail")]}}
    told = truth(
        run_object("requires_action", required_action=action), [step("in_progress", [call("call_2", name="sail")])]
    )
    accumulator = fold(asking(call("call_1", name="sail")))
    changes = apply(accumulator, told)
    assert what(changes) == [
        "run in_progress", "step in_progress", "ToolCallStarted", "ToolCallFinished", "run requires_action"
    ]  # fmt: skip
    assert changes[0].run.required_action is None
    assert apply(accumulator, told) == []


def test_action_of_an_unknown_kind_is_no_other_call():
    asked = {"required_action": {"type": "submit_a_song"}}
    before = run("requires_action", **asked)
    assert apply_to(before, told=truth(run_object("requires_action", **asked, metadata={}))) == []


def test_same_end_with_more_in_it_is_taken():
    accumulator = fold(run("completed"))
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    assert apply(accumulator, truth(run_object("completed", usage=usage))) == []
    assert plain(accumulator.runs[RUN].usage) == usage


def test_contradictory_ends_are_reported():
    ends = [run("completed"), ended(), message("completed", as_="completed")]
    told = truth(run_object("failed"), [step("failed")], [message_object("incomplete")])
    assert names(apply_to(*ends, told=told)) == ["conflicting_terminal"] * 3


# Steps


def test_step_that_was_missed_opens_grows_and_ends():
    one, two = call("call_1", name="sail", arguments="{}", output="ok"), call("call_2", name="row", arguments="{}")
    changes = apply_to(run("in_progress"), told=truth(run_object("in_progress"), [step("completed", [one, two])]))
    assert what(changes) == [
        "step in_progress",
        "ToolCallStarted",
        "ToolCallStarted",
        "ToolCallFinished",
        "ToolCallFinished",
        "step completed",
    ]
    opening = plain(changes[0].step)
    assert opening["step_details"] == {"type": "tool_calls", "tool_calls": []}
    assert plain(changes[-1].step) == step("completed", [one, two])


def test_earlier_status_of_a_step_has_nothing_that_the_end_brought():
    failed = step("failed", failed_at=1790000009, last_error={"code": "server_error", "message": "no"})
    opening = plain(apply_to(told=truth(run_object("in_progress"), [failed]))[-2].step)
    assert opening == {**failed, "status": "in_progress", "failed_at": None, "last_error": None}


def test_step_that_goes_on_opens_with_what_it_has():
    full = step("in_progress", [call("call_1", name="sail", arguments="{")])
    [_, _, opened, started] = apply_to(told=truth(run_object("in_progress"), [full]))
    assert isinstance(started, ToolCallStarted)
    assert plain(opened.step) == full


def test_step_that_went_on_takes_what_was_missed_and_ends_once():
    accumulator = fold(run("in_progress"), created(), delta(piece(0, id="call_1", name="sail", arguments='{"a')))
    grown = step("in_progress", [call("call_1", name="sail", arguments='{"a": 1}')])
    [progress] = apply(accumulator, truth(run_object("in_progress"), [grown]))
    assert isinstance(progress, StepProgress)
    assert not progress.late
    assert apply(accumulator, truth(run_object("in_progress"), [grown])) == []
    whole = step("completed", [call("call_1", name="sail", arguments='{"a": 1}', output="2")])
    assert what(apply(accumulator, truth(run_object("completed"), [whole]))) == [
        "ToolCallFinished", "step completed", "run completed"
    ]  # fmt: skip


def test_older_answer_takes_nothing_from_a_step():
    accumulator = fold(run("in_progress"), created(), delta(piece(0, id="call_1", name="sail", arguments='{"a": 1}')))
    before = plain(accumulator.steps[STEP])
    older = step("in_progress", [call("call_1", name="sail", arguments='{"a')])
    assert apply(accumulator, truth(run_object("in_progress"), [older])) == []
    assert plain(accumulator.steps[STEP]) == before
    accumulator.apply(ended())
    assert list(missed_events(accumulator.state, truth(run_object("in_progress"), [older]))) == []


@each_row("lacking", [{"usage": None}, {"completed_at": None}, {"step_details": None}])
def test_end_that_says_less_than_is_known_says_nothing(lacking: JSON):
    full = step("completed", [call("call_1", name="sail")], usage={"total_tokens": 3}, completed_at=1790000009)
    accumulator = fold(run("in_progress"), event("thread.run.step.completed", full))
    assert list(missed_events(accumulator.state, truth(run_object("in_progress"), [{**full, **lacking}]))) == []


def test_end_as_it_was_sent_says_nothing_though_deltas_had_said_more():
    end = ended({"id": "call_1", "type": CODE, CODE: {"input": None, "outputs": None}})
    accumulator = fold(run("in_progress"), created(), delta(piece(0, CODE, id="call_1", input="1+1")), end)
    told = truth(run_object("in_progress"), [json.loads(end.payload)])
    assert list(missed_events(accumulator.state, told)) == []


def test_output_that_came_late_fills_an_ended_step_once():
    mcp = {"id": "call_1", "type": "mcp", "name": "find", "arguments": "{}", "output": None}
    accumulator = fold(run("in_progress"), ended(mcp))
    told = truth(run_object("in_progress"), [step("completed", [{**mcp, "output": "N4"}])])
    [progress] = apply(accumulator, told)
    assert isinstance(progress, StepProgress)
    assert progress.late
    assert accumulator.steps[STEP].tool_calls[0].output == "N4"
    assert list(missed_events(accumulator.state, told)) == []
    older = truth(run_object("in_progress"), [step("completed", [mcp])])
    assert list(missed_events(accumulator.state, older)) == []


@each_row(
    "said",
    [
        {"type": "message_creation", "message_creation": {"message_id": MESSAGE}},
        {"type": "activities", "activities": [{"type": "mcp_list_tools", "id": "a"}]},
        {"type": "seances", "medium": "tea leaves"},
        None,
    ],
)
def test_details_other_than_calls_are_there_from_the_beginning(said: object):
    kind = said["type"] if isinstance(said, dict) else "tool_calls"
    full = step("completed", type=kind, step_details=said)
    changes = apply_to(run("in_progress"), told=truth(run_object("in_progress"), [full]))
    assert what(changes) == ["step in_progress", "step completed"]
    assert [plain(one.step)["step_details"] for one in changes] == [said, said]


def test_step_of_an_unknown_status_is_open():
    accumulator = fold(run("in_progress"))
    told = truth(run_object("in_progress"), [step("hibernating")])
    assert moves(apply(accumulator, told)) == ["step hibernating"]
    assert list(missed_events(accumulator.state, told)) == []
    assert moves(apply(accumulator, truth(run_object("in_progress"), [step("completed")]))) == ["step completed"]


# Messages


def test_message_is_told_within_its_step():
    full = message_object("completed", text("Fog.", annotations=[]))
    told = truth(run_object("completed"), [writing("completed")], [full])
    accumulator = fold(run("in_progress"))
    changes = apply(accumulator, told)
    assert moves(changes) == [
        "step in_progress", "message in_progress", "message completed", "step completed", "run completed"
    ]  # fmt: skip
    assert plain(changes[1].message)["content"] == []
    assert plain(accumulator.messages[MESSAGE]) == full


def test_message_of_a_step_that_goes_on_comes_after_its_step():
    told = truth(run_object("in_progress"), [writing("in_progress")], [message_object("in_progress", text("Fo"))])
    accumulator = fold(run("in_progress"))
    assert moves(apply(accumulator, told)) == ["step in_progress", "message in_progress"]
    assert list(missed_events(accumulator.state, told)) == []


def test_message_whose_step_was_known_ends_before_it():
    step_event = event("thread.run.step.created", writing("in_progress"))
    before = [run("in_progress"), step_event, message(), message_delta(text("Fo", 0))]
    told = truth(run_object("completed"), [writing("completed")], [message_object("completed", text("Fog."))])
    assert moves(apply_to(*before, told=told)) == ["message completed", "step completed", "run completed"]


def test_message_without_a_step_is_told_before_the_run_ends():
    told = truth(run_object("completed"), [step("completed")], [message_object("completed")])
    assert moves(apply_to(run("in_progress"), told=told)) == [
        "step in_progress", "step completed", "message in_progress", "message completed", "run completed"
    ]  # fmt: skip


def test_step_whose_message_is_not_listed_is_told_alone():
    told = truth(run_object("completed"), [writing("completed")])
    assert moves(apply_to(run("in_progress"), told=told)) == ["step in_progress", "step completed", "run completed"]


@each_row(
    ("of_step", "status"),
    [("completed", "completed"), ("failed", "incomplete"), ("cancelled", "incomplete"), ("in_progress", "in_progress")],
)
def test_message_that_is_listed_without_a_status_ends_as_its_step_did(of_step: str, status: str):
    accumulator = fold(run("in_progress"))
    apply(accumulator, truth(run_object("in_progress"), [writing(of_step)], [message_object(None)]))
    assert accumulator.messages[MESSAGE].status == status


def test_message_that_is_listed_without_status_and_step_ends_as_its_run_did():
    accumulator = fold()
    apply(accumulator, truth(run_object("expired"), [], [message_object(None)]))
    assert accumulator.messages[MESSAGE].status == "incomplete"


def test_message_that_ended_is_not_opened_by_one_without_a_status():
    accumulator = fold(run("in_progress"), message("completed", as_="completed"))
    told = truth(run_object("in_progress"), [], [message_object(None)])
    assert list(missed_events(accumulator.state, told)) == []


# What cannot be read

UNREADABLE = [b"", b"{", b"[]", b"5", b'"\\ud800"', b'{"id": 5}', b"{}", b"[" * 5_000]


@each_row("raw", UNREADABLE)
def test_object_that_cannot_be_read_is_an_anomaly_and_the_others_are_told(raw: bytes):
    good = msgspec.json.encode(step("completed"))
    for told in (
        ServerAnswer(msgspec.json.encode(run_object("completed")), (raw, good)),
        ServerAnswer(msgspec.json.encode(run_object("completed")), (good,), (raw, raw)),
        ServerAnswer(raw, (good,)),
    ):
        changes = apply_to(run("in_progress"), told=told)
        assert len([one for one in changes if isinstance(one, Anomaly)]) == 1
        assert moves(changes)[:2] == ["step in_progress", "step completed"]


@each_row("raw", UNREADABLE)
def test_truth_of_what_cannot_be_read_has_neither_id_nor_status(raw: bytes):
    assert ServerAnswer(raw).status is None
    assert repr(ServerAnswer(raw)) == "<ServerAnswer  None: 0 steps, 0 messages>"


def test_object_that_is_too_deep_is_an_anomaly():
    deep: object = "sunken"
    for _ in range(80):
        deep = [deep]
    told = truth(run_object("completed"), [step("completed", metadata={"deep": deep})])
    assert what(apply_to(run("in_progress"), told=told)) == ["too_deep", "run completed"]


@each_row("details", [5, {"type": "tool_calls", "tool_calls": 5}, {"message_creation": []}])
def test_odd_field_of_an_ended_step_is_one_anomaly(details: object):
    told = truth(run_object("in_progress"), [step("completed", step_details=details)])
    assert what(apply_to(run("in_progress"), told=told)) == ["step in_progress", "bad_field", "step completed"]


def test_truth_knows_its_run_and_shows_nothing_else():
    told = truth(run_object("completed", instructions="secret"), [step()], [message_object("completed")])
    assert (told.run_id, told.status) == (RUN, "completed")
    assert repr(told) == f"<ServerAnswer {RUN} completed: 1 steps, 1 messages>"


def test_stream_notes_a_run_that_is_known_though_nothing_was_missed():
    first = fold(run("completed"))
    second = Accumulator(state=first.state)
    assert apply(second, truth(run_object("completed"))) == []
    second.stream.touch_run(RUN)
    second.stream.touch_run("run_unheard_of")
    assert list(second.stream.runs) == [RUN]


# Every cut of every stream


def truth_of(accumulator: Accumulator, run_id: str) -> ServerAnswer:
    """Return what a server says that has sent these events."""
    encode = msgspec.json.encode
    steps = [encode(one) for one in accumulator.steps.values() if one.run_id == run_id]
    messages = [encode(one) for one in accumulator.messages.values() if one.run_id == run_id]
    return ServerAnswer(encode(accumulator.runs[run_id]), tuple(steps), tuple(messages))


def check_that_order_is_legal(changes: Sequence[Change]) -> None:
    """Check that every object goes from status to status as the tables say, each time from where it was."""
    tables = {StepTransition: NEXT_STEP, RunTransition: NEXT_RUN, MessageTransition: NEXT_MESSAGE}
    for kind, following in tables.items():
        ways: dict[str, list[Any]] = {}
        for one in changes:
            if isinstance(one, kind):
                found = one.step if kind is StepTransition else one.run if kind is RunTransition else one.message
                ways.setdefault(found.id, []).append(one)
        for way in ways.values():
            assert way[0].previous is None
            for before, after in pairwise(way):
                assert (after.previous, after.status in following[before.status]) == (before.status, True)


def check_that_nothing_comes_too_late(changes: Sequence[Change]) -> None:
    """Check that a run ends after all that belongs to it, and that no call is told of outside of its step's life."""
    opened, over = set[str](), set[str]()
    for one in changes:
        assert not over & {getattr(one, "run_id", None)}
        if isinstance(one, StepTransition):
            (over if one.terminal else opened).add(one.step_id)
        elif isinstance(one, ToolCallStarted | ToolCallFinished):
            assert one.step_id in opened - over
        elif isinstance(one, RunTransition) and one.terminal:
            over.add(one.run_id)


def ends_of(changes: Iterable[Change]) -> set[tuple[str, str]]:
    ends = [one for one in changes if isinstance(one, StepTransition | MessageTransition) and one.terminal]
    return {(one.step_id if isinstance(one, StepTransition) else one.message_id, one.status) for one in ends}


def check_cuts(events: Sequence[Event], cut: int, asked: Sequence[int]) -> None:
    """Cut a stream after `cut` events, and ask when so many of them have been sent: each answer is told once."""
    whole = Accumulator()
    told = [whole.apply(one) for one in events]
    [run_id] = whole.runs
    accumulator = Accumulator()
    changes = [change for one in events[:cut] for change in accumulator.apply(one)]
    for moment in asked:
        answer = truth_of(fold(*events[:moment]), run_id)
        changes += apply(accumulator, answer)
        assert apply(accumulator, answer) == []
    check_that_order_is_legal(changes)
    check_that_nothing_comes_too_late(changes)
    check_that_everything_comes_once(changes)
    assert ends_of(changes) == ends_of(change for some in told for change in some)
    for mine, theirs in (
        (accumulator.runs, whole.runs),
        (accumulator.steps, whole.steps),
        (accumulator.messages, whole.messages),
    ):
        assert {key: plain(value) for key, value in mine.items()} == {
            key: plain(value) for key, value in theirs.items()
        }
    assert [one.code for one in accumulator.anomalies] == []


def asked_run(*calls: JSON) -> Event:
    return asking(*calls)


SAIL = call("call_1", name="sail", arguments='{"to": "N4"}', output=None)
ROW = call("call_2", name="row", arguments="{}", output=None)
SUM = call("call_3", CODE, input="1+1", outputs=[{"type": "logs", "logs": "2\n"}])
STORIES = [("ferry", "ferry-answer"), ("tides",), ("sums",), ("crossing",)]

USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


def sailing(end: str = "completed") -> list[Event]:
    """Return a run that calls two functions, waits for them, runs code and writes a message, or ends before that."""
    answered = [{**one, "function": {**one["function"], "output": "ok"}} for one in (SAIL, ROW)]
    code = {"id": "step_code"}
    opening = writing("in_progress", id="step_write")
    life = [
        run("queued", as_="created", usage=None, required_action=None),
        run("in_progress", usage=None, required_action=None),
        created(),
        moved(),
        delta(piece(0, id="call_1", name="sail", arguments="", output=None)),
        delta(piece(0, arguments='{"to": ')),
        delta(piece(1, id="call_2", name="row", arguments="{}", output=None)),
        delta(piece(0, arguments='"N4"}')),
        run("requires_action", usage=None, required_action=json.loads(asked_run(SAIL, ROW).payload)["required_action"]),
        run("queued", usage=None, required_action=None),
        run("in_progress", usage=None, required_action=None),
        ended(*answered, completed_at=1790000005, usage=USAGE),
        created(**code),
        delta(piece(0, CODE, id="call_3", input="1"), **code),
        delta(piece(0, CODE, input="+1"), **code),
    ]
    if end in ("failed", "cancelled", "expired"):
        return [*life, ended(SUM, as_=end, **code), run(end, usage=USAGE, required_action=None)]
    end_of_message = "completed" if end == "completed" else "incomplete"
    return [
        *life,
        ended(SUM, completed_at=1790000006, **code),
        event("thread.run.step.created", opening),
        message(),
        message_delta(text("Fo", 0)),
        message_delta(text("g.", 0)),
        message(end_of_message, text("Fog."), as_=end_of_message, completed_at=1790000007),
        event("thread.run.step.completed", {**opening, "status": "completed", "completed_at": 1790000007}),
        run(end, usage=USAGE, required_action=None),
    ]


def story(*streams: str) -> list[Event]:
    """Return the events of our own streams that are about their run."""
    events = [decode_event(frame) for stream in streams for frame in frames_of(stream)]
    return [one for one in events if not isinstance(one.data, Done)]


@each_row("end", ["completed", "incomplete", "failed", "cancelled", "expired"])
def test_every_cut_is_made_good_by_the_last_answer(end: str):
    events = sailing(end)
    for cut in range(len(events) + 1):
        check_cuts(events, cut, [len(events)])


@each_row("streams", STORIES)
def test_every_cut_of_our_own_streams_is_made_good(streams: Sequence[str]):
    events = story(*streams)
    for cut in range(len(events) + 1):
        check_cuts(events, cut, [len(events)])


@given(data=st.data(), end=st.sampled_from(["completed", "incomplete", "failed", "cancelled", "expired"]))
@settings(deadline=None)
def test_whatever_is_asked_on_the_way_is_told_once(data: st.DataObject, end: str):
    events = sailing(end)
    cut = data.draw(st.integers(0, len(events)), "cut")
    moments = sorted(data.draw(st.lists(st.integers(max(cut, 1), len(events)), max_size=4), "moments"))
    check_cuts(events, cut, [*moments, len(events)])


@given(data=st.data())
@settings(deadline=None)
def test_answers_that_are_older_than_the_stream_change_nothing(data: st.DataObject):
    events = sailing()
    cut = data.draw(st.integers(1, len(events)), "cut")
    older = data.draw(st.integers(1, cut), "older")
    accumulator = fold(*events[:cut])
    before = accumulator.export()
    statuses = [fold(*events[:moment]).runs[RUN].status for moment in (cut, older)]
    changes = apply(accumulator, truth_of(fold(*events[:older]), RUN))
    if statuses[0] == statuses[1] or statuses == ["completed", "in_progress"]:
        assert changes == []
        assert accumulator.steps == Accumulator.restore(before).steps
    assert not [one for one in changes if isinstance(one, StepTransition | MessageTransition | Anomaly)]


# Objects in lists of a run, which may leave its id out


@each_row(
    "events",
    [[], [created()], [event("thread.run.step.created", {"id": STEP, "status": "in_progress"})]],
    ids=["missed", "known", "known-without"],
)
@each_row("listed", [{}, {"run_id": None}], ids=["left-out", "null"])
def test_listed_step_that_names_no_run_is_one_of_the_run(events: list[Event], listed: JSON):
    bare = {key: value for key, value in step("completed").items() if key != "run_id"} | listed
    accumulator = fold(run("in_progress"), *events)
    changes = apply(accumulator, truth(run_object("completed"), [bare]))
    assert {change.run_id for change in changes if isinstance(change, StepTransition)} == {RUN}
    assert moves(changes)[-2:] == ["step completed", "run completed"]
    assert names(apply(accumulator, truth(run_object("completed"), [bare]))) == []


def test_listed_object_of_another_run_keeps_its_name():
    changes = apply(fold(), truth(run_object("completed"), [step("completed", run_id="run_other")]))
    assert {one.run_id for one in changes if isinstance(one, StepTransition)} == {"run_other"}
