import json
from collections.abc import Callable
from typing import Any

import pytest

from stepstream.fold.accumulator import Accumulator
from stepstream.fold.anomalies import Anomaly
from stepstream.wire.events import Event, decode_event
from stepstream.wire.sse import Frame
from tests.support.json_values import event, plain
from tests.support.server_events import (
    CODE,
    MESSAGE,
    ROD,
    SEARCH,
    STEP,
    asking,
    call,
    created,
    delta,
    details_delta,
    ended,
    fold,
    frames_of,
    lines,
    message,
    message_delta,
    moved,
    piece,
    run,
    text,
)
from tests.support.tables import each_row


def of_stream(*names: str) -> list[Event]:
    return [decode_event(frame) for name in names for frame in frames_of(name)]


STREAMS: dict[str, list[Event]] = {
    "function_calls": of_stream("ferry", "ferry-answer"),
    "code": of_stream("sums"),
    "hard": of_stream("archive"),
    "gaps_between_calls": [
        created(),
        delta(piece(3, id="call_a", name="sail", arguments="{"), piece(900, CODE, id="call_b", input="1")),
        delta(piece(900, CODE, outputs=[{"index": 4, "type": "logs", "logs": "a"}])),
        delta(piece(900, CODE, outputs=[{"index": 2, "type": "image", "image": {"file_id": "f"}}])),
        delta(piece(3, arguments="}"), piece(900, CODE, outputs=[{"index": 4, "logs": "b"}])),
        ended(call("call_a", name="sail", output=None), call("call_b", CODE, outputs=[{"logs": None}, {"logs": None}])),
        delta(piece(3, output="ok")),
        delta(piece(900, CODE, outputs=[{"index": 4, "logs": "late"}])),
        delta(piece(0, output="no such place")),
    ],
    "calls_in_another_order": [
        created(),
        delta(
            piece(0, id="call_a", name="sail"), piece(1, id="call_b", name="row"), piece(2, id="call_c", name="swim")
        ),
        ended(call("call_c", name="swim", output=None), call("call_a", name="sail", output=None)),
        delta(piece(0, output="a")),
        delta(piece(1, output="dropped")),
        delta(piece(2, output="c")),
    ],
    "waiting": [
        delta(piece(0, id="call_a", name="sail", arguments="{")),
        message_delta(text("a", 0)),
        delta(piece(0, arguments="}")),
        message_delta(text("b", 0)),
        details_delta(None),
        created(),
        message(),
        delta(piece(0, arguments="!"), id="step_never"),
    ],
    "unknown_kinds": [
        created(),
        delta(piece(1, ROD, id="call_a", input="a", depth=1, finds=[{"index": 3, "logs": "x"}], tags=[{"k": 1}])),
        delta({"index": 0, "id": "call_b", "mood": {"name": "calm"}}),
        delta(piece(1, ROD, input="b", finds=[{"index": 0, "logs": "y"}, {"index": 3, "logs": "z"}], tags=[])),
        delta(piece(2, CODE, id="call_c", outputs=[{"index": 1, "type": "video", "video": {"n": [1]}}])),
        delta({"index": 0, "type": ROD}),
        delta(piece(2, CODE, outputs=[{"index": 1, "video": {"m": 2}}, {"index": 0, "sound": 1}])),
        event(
            "thread.run.step.created",
            {"id": "step_dream", "type": "dream", "step_details": {"type": "dream", "dream": [1]}},
        ),
        details_delta({"type": "dream", "dream": {"output": "x"}, "tool_calls": [{"index": 5}]}, "step_dream"),
        details_delta({"type": "dream", "dream": {"output": "y"}, "tool_calls": [{"index": 4}]}, "step_dream"),
    ],
    "typed_lists": [
        created(),
        delta(piece(0, SEARCH, id="call_a", results=[{"file_id": "f", "score": 1, "content": [{"type": "text"}]}])),
        delta(piece(1, "browser_automation", id="call_b", input="a", steps=[{"n": 1}])),
        delta(piece(0, SEARCH, results=[])),
        event(
            "thread.run.step.created",
            {"id": "step_list", "step_details": {"type": "activities", "activities": [{"id": "a", "tools": {}}]}},
        ),
        details_delta({"type": "activities", "activities": [{"id": "b", "tools": {}}, {"type": "nap"}]}, "step_list"),
    ],
    "nulls": [
        created(step_details=None),
        delta(piece(0, id="call_a", name=None, arguments=None, output=None)),
        moved(expires_at=None),
        delta(piece(0, name="sail", arguments="{")),
        ended(call("call_a", name=None, arguments=None), usage=None),
        ended(call("call_a", name="sail", arguments="{"), completed_at=7),
        ended(call("call_a", name="sail", arguments="{"), completed_at=8),
    ],
    "messages": [
        message(),
        message_delta(text("a", 3, annotations=[{"index": 2, "type": "file_path", "text": "p"}])),
        message_delta({"index": 1, "type": "refusal", "refusal": "n"}, text("b", 3)),
        message_delta({"index": 0, "hologram": {"value": "x"}}, text("c", 3, annotations=[{"index": 0, "ink": "red"}])),
        message("completed", text("abc", annotations=None), {"type": "refusal", "refusal": None}, as_="completed"),
        message_delta({"index": 1, "refusal": "late"}),
        message("completed", text("abc"), as_="completed"),
    ],
    "runs": [
        run("queued", as_="created"),
        run("completed", as_="in_progress"),
        run("completed", model="b"),
        run("failed"),
        run("queued", "run_b", required_action={"type": "submit_poem", "submit_poem": {"lines": 14}}),
        asking({"id": "call_z", "type": ROD}, id="run_b"),
    ],
    "asked_calls": [
        created(),
        delta(piece(0, id="call_a", name="sail"), piece(1, id="call_b")),
        asking({"id": "call_a", "type": "function"}),
        asking({"id": "call_a", "type": "function"}, {"id": "call_b", "type": "function"}),
        ended(call("call_b", name="row")),
        ended(call("call_b", name="row"), as_="failed"),
    ],
    "asked_calls_of_a_step_without_a_run": [
        event("thread.run.step.created", {"id": STEP}),
        delta(piece(0, id="call_a", name="sail")),
        asking({"id": "call_a", "type": "function"}),
    ],
    "refused": [
        created(),
        created(),
        delta(piece(0, id="call_a", name="sail")),
        delta(piece(0, id="call_b")),
        event("thread.run.step.delta", {"id": STEP}),
        moved(status="meditating"),
        run("queued", as_="failed"),
    ],
}


def known(accumulator: Accumulator) -> list[Any]:
    kept = (accumulator.steps, accumulator.runs, accumulator.messages)
    return [{identifier: plain(one) for identifier, one in mapping.items()} for mapping in kept]


@each_row("events", STREAMS.values(), ids=STREAMS)
def test_fold_goes_on_after_every_cut_as_if_there_were_none(events: list[Event]) -> None:
    whole = Accumulator()
    expected = [lines(whole.apply(one)) for one in events]
    for cut in range(len(events) + 1):
        restored = Accumulator.restore(fold(*events[:cut]).export())
        assert [lines(restored.apply(one)) for one in events[cut:]] == expected[cut:], cut
        assert known(restored) == known(whole), cut


@each_row("events", STREAMS.values(), ids=STREAMS)
def test_restored_snapshots_are_equal_at_every_cut(events: list[Event]) -> None:
    for cut in range(len(events) + 1):
        accumulator = fold(*events[:cut])
        restored = Accumulator.restore(accumulator.export())
        assert (dict(restored.steps), dict(restored.runs), dict(restored.messages)) == (
            dict(accumulator.steps),
            dict(accumulator.runs),
            dict(accumulator.messages),
        ), cut


@each_row("events", STREAMS.values(), ids=STREAMS)
def test_export_of_what_was_restored_restores_to_the_same(events: list[Event]) -> None:
    restored = Accumulator.restore(fold(*events).export())
    assert known(Accumulator.restore(restored.export())) == known(restored)


def test_anomalies_and_their_count_are_restored() -> None:
    accumulator = fold(*[created()] * 1_102)
    restored = Accumulator.restore(accumulator.export())
    assert (restored.anomalies, restored.anomaly_count) == (accumulator.anomalies, 1_101)


def test_sequence_goes_on() -> None:
    restored = Accumulator.restore(fold(created(), delta(piece(0, arguments="{"))).export())
    assert restored.apply(delta(piece(0, arguments="}")))[0].sequence == 3


def test_export_is_json() -> None:
    assert json.loads(fold(created()).export())["stepstream"] == 2


def test_context_is_not_exported_and_may_be_given_anew() -> None:
    accumulator = fold(created(), created(), context="before")
    restored = Accumulator.restore(accumulator.export(), context="after")
    assert [one.context for one in (*restored.anomalies, *restored.apply(created()))] == ["after", "after"]


def test_what_may_be_kept_is_given_anew() -> None:
    restored = Accumulator.restore(fold(run("completed", "a")).export(), retain=1)
    restored.apply(run("completed", "b"))
    assert list(restored.runs) == ["b"]


def test_restored_state_keeps_to_its_bounds() -> None:
    ends = [run("completed", f"run_{number}") for number in range(8)]
    assert list(Accumulator.restore(fold(*ends).export(), retain=2).runs) == ["run_6", "run_7"]


def test_restored_state_forgets_finished_runs_in_the_same_order() -> None:
    ends = [run("completed", f"run_{number}") for number in (3, 1, 7, 0, 5, 2, 6, 4)]
    accumulator = fold(*ends, retain=8)
    restored = Accumulator.restore(accumulator.export(), retain=8)
    newer = [run("completed", f"newer_{number}") for number in range(5)]
    for one in newer:
        accumulator.apply(one)
        restored.apply(one)
    assert list(restored.runs) == list(accumulator.runs)


def test_restored_state_evicts_open_runs_in_the_same_order() -> None:
    opened = [run("queued", "run_a"), run("queued", "run_b"), created(run_id="run_b")]
    accumulator = fold(*opened, max_open_runs=2)
    restored = Accumulator.restore(accumulator.export(), max_open_runs=2)
    assert lines(restored.apply(run("queued", "run_c"))) == lines(accumulator.apply(run("queued", "run_c")))


def test_run_that_ended_in_another_order_than_it_began_is_forgotten_in_that_order() -> None:
    accumulator = fold(
        run("queued", "run_a"), run("queued", "run_b"), run("completed", "run_b"), run("completed", "run_a")
    )
    restored = Accumulator.restore(accumulator.export(), retain=2)
    restored.apply(run("completed", "run_c"))
    assert list(restored.runs) == ["run_a", "run_c"]


def test_depth_limit_holds_for_what_waited() -> None:
    deep: Any = "x"
    for _ in range(100):
        deep = [deep]
    waiting = Frame(
        "thread.run.step.delta", json.dumps({"id": STEP, "delta": {"step_details": {"dream": deep}}}).encode()
    )
    accumulator = Accumulator(max_depth=200)
    accumulator.apply_frame(waiting)
    restored = Accumulator.restore(accumulator.export(), max_depth=200)
    assert lines(restored.apply(created())) == lines(accumulator.apply(created()))


def test_event_made_by_hand_that_waits_is_restored() -> None:
    by_hand = Event("thread.run.step.delta", delta(piece(0, id="call_a", name="sail")).data)
    restored = Accumulator.restore(fold(by_hand).export())
    restored.apply(created())
    assert [one.id for one in restored.steps[STEP].tool_calls] == ["call_a"]


def test_twice_encoded_delta_that_waits_is_restored() -> None:
    twice = event("thread.message.delta", json.dumps({"id": MESSAGE, "delta": {"content": [text("fog", 0)]}}))
    restored = Accumulator.restore(fold(twice).export())
    restored.apply(message())
    assert restored.messages[MESSAGE].text == "fog"


# Bytes that are no export

GOOD = fold(
    *STREAMS["gaps_between_calls"][:3], *STREAMS["waiting"][:4], *STREAMS["asked_calls"][:3], created()
).export()


def changed(change: Callable[[Any], object]) -> bytes:
    """Return a good export with one change."""
    saved = json.loads(GOOD)
    change(saved)
    return json.dumps(saved).encode()


def tree(*entries: Any, dropped: Any = ()) -> list[Any]:
    """Return the tree of a step, as an export has it."""
    return ["node", "RunStep", list(entries), list(dropped)]


def without(key: str) -> bytes:
    return changed(lambda saved: saved.pop(key))


BAD: dict[str, bytes] = {
    "nothing": b"",
    "word": b"stepstream",
    "cut": GOOD[:-1],
    "rest": GOOD + b"}",
    "not_utf_8": GOOD.replace(b"step_larch", b"\xff"),
    "null": b"null",
    "list": b"[]",
    "object": b"{}",
    "deep": b"[" * 100_000,
    "event": created().payload,
    "another_format": changed(lambda saved: saved.update(stepstream=3)),
    "format_of_another_type": changed(lambda saved: saved.update(stepstream="1")),
    **{f"without_{key}": without(key) for key in json.loads(GOOD)},
    "unknown_code": changed(lambda saved: saved["anomalies"][0].update(code="boredom")),
    "run_that_is_none": changed(lambda saved: saved["runs"].append(5)),
    "run_without_id": changed(lambda saved: saved["runs"].append({"status": "queued"})),
    "step_that_is_none": changed(lambda saved: saved["steps"].append(None)),
    "step_without_object": changed(lambda saved: saved["steps"][0].pop("object")),
    "step_with_another_object": changed(lambda saved: saved["steps"][0].update(object=[])),
    "step_of_another_shape": changed(lambda saved: saved["steps"][0]["object"].update(id=None)),
    "tree_of_another_shape": changed(lambda saved: saved["steps"][0].update(grown=5)),
    "tree_of_unknown_nodes": changed(lambda saved: saved["steps"][0].update(grown=["node", "Dream", []])),
    "tree_of_unknown_kinds": changed(lambda saved: saved["steps"][0].update(grown=["dream", None, []])),
    "tree_of_broken_entries": changed(lambda saved: saved["steps"][0].update(grown=["node", "RunStep", [5]])),
    "step_without_status": changed(lambda saved: saved["steps"][0]["object"].pop("status")),
    "tree_of_numbered_fields": changed(lambda saved: saved["steps"][0].update(grown=tree([5, ["text", "a"]]))),
    "tree_of_unknown_fields": changed(lambda saved: saved["steps"][0].update(grown=tree(["dream", ["text", "a"]]))),
    "tree_that_dropped_a_number": changed(lambda saved: saved["steps"][0].update(grown=tree(dropped=[5]))),
    "tree_of_named_indexes": changed(
        lambda saved: saved["steps"][0].update(grown=tree(["step_details", ["list", None, [["a", []]], []]]))
    ),
    "tree_of_short_entries": changed(lambda saved: saved["steps"][0].update(grown=["node", "RunStep", [["a"]]])),
    "started_of_another_shape": changed(lambda saved: saved["steps"][0].update(started={"call_a": "zero"})),
    "waiting_that_is_no_json": changed(lambda saved: saved["waiting"][0].update(payload="{")),
    "waiting_that_is_no_text": changed(lambda saved: saved["waiting"][0].update(payload=5)),
}


@each_row("data", BAD.values(), ids=BAD)
def test_bytes_that_are_no_export_are_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="expected"):
        Accumulator.restore(data)


def test_unchanged_export_is_good() -> None:
    assert json.loads(Accumulator.restore(changed(lambda saved: saved)).export()) == json.loads(GOOD)


def test_what_waits_and_is_no_delta_is_left_out() -> None:
    odd = changed(lambda saved: saved["waiting"][0].update(event="done"))
    assert len(json.loads(Accumulator.restore(odd).export())["waiting"]) == len(json.loads(GOOD)["waiting"]) - 1


def test_restored_anomalies_are_anomalies() -> None:
    (found,) = Accumulator.restore(fold(created(), created()).export()).anomalies
    assert (type(found), found.code, found.event) == (Anomaly, "duplicate_created", "thread.run.step.created")
