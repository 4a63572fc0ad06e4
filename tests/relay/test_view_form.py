"""The form `view`: whatever a server sends, the patches lead to the view of the state, for everybody alike."""

import json
from contextlib import suppress
from time import perf_counter
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepstream import DecodeError, Frame, FrameDecoder, decode_event
from stepstream.dialects.canonical import frame_of_event
from stepstream.relay.forms.registry import FORMS
from stepstream.relay.forms.view import ViewForm
from stepstream.views.parts import BLOCK, MAX_TEXT, skipped_of
from stepstream.wire.events import Event
from tests.support.delta_streams import Server
from tests.support.fed_forms import Fed, fed_of, told_from
from tests.support.kit_runs import NAMES, run_named
from tests.support.legal_runs import legal_run
from tests.support.relay_clients import ViewClient
from tests.support.tables import each_row

VIEW = FORMS["view"]
JSON = dict[str, Any]
CALL: JSON = {"id": "call_0", "type": "function", "function": {"name": "sail", "arguments": "{}"}}


def view_of(frames: list[Frame]) -> JSON:
    client = ViewClient()
    for frame in frames:
        client.take(frame)
    view: JSON = client.view
    return view


def check(fed: list[Fed], looks: int) -> None:
    """Check that who sees all of a run, and who joins it, have the view of its state, and get the same from then on."""
    first, every = told_from(VIEW, fed, 0)
    client = ViewClient()
    for frame in first:
        client.take(frame)
    for at, frames in enumerate(every, 1):
        for frame in frames:
            client.take(frame)
        if at % max(1, len(fed) // looks) == 0 or at == len(fed):
            joined, rest = told_from(VIEW, fed, at)
            assert client.view == view_of(joined), at
            assert rest == every[at:], at


@pytest.mark.parametrize("name", NAMES)
def test_patches_lead_to_the_view_of_the_state(name: str):
    check(run_named(name), 6)


@given(st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_patches_of_any_run_lead_to_the_view_of_its_state(seed: int):
    check(fed_of(legal_run(seed).frames), 8)


@given(st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_patches_of_a_broken_stream_lead_to_the_view_of_its_state(seed: int):
    stream = b"".join(Server(seed).stream(60)).replace(b"run_2", b"run_1")
    check(fed_of(filter(is_decodable, FrameDecoder().feed(stream))), 8)


def test_what_was_said_and_taken_back_comes_again_for_nobody():
    said, late = grown(0, function={"output": "7"}), grown(0, function={"output": "8"})
    ended = event_of("run.step.failed", step(0, "failed", tool_calls=[CALL]))
    events = [*opened("function", **CALL["function"]), said, ended, late, late]
    check(fed_of(map(frame_of_event, events)), len(events))


def is_decodable(frame: Frame) -> bool:
    with suppress(DecodeError):
        return decode_event(frame) is not None
    return False


@given(st.lists(st.integers(0, 3 * BLOCK), max_size=8))
@settings(deadline=None)
def test_text_of_a_part_is_the_end_of_the_text(pieces: list[int]):
    text, form = "", ViewForm()
    client = ViewClient()
    for event in opened("code_interpreter", input=""):
        for frame in form.feed(event, []):
            client.take(frame)
    for at, size in enumerate(pieces):
        piece = chr(97 + at) * size
        text += piece
        for frame in form.feed(grown(0, code_interpreter={"input": piece}), []):
            client.take(frame)
            assert len(frame.data) < size + MAX_TEXT + 500
        part = client.view["steps"][0]["calls"][0]["parts"][0]
        assert part["text"] == text[skipped_of(len(text)) :]
        assert part.get("skipped", 0) == skipped_of(len(text))


@each_row("length", [0, 1, MAX_TEXT, MAX_TEXT + 1, MAX_TEXT + BLOCK, MAX_TEXT + BLOCK + 1, 10**9])
def test_what_is_left_out_are_whole_blocks_before_the_last_64_kb(length: int):
    skipped = skipped_of(length)
    assert skipped % BLOCK == 0
    assert min(length, MAX_TEXT - BLOCK) <= length - skipped <= MAX_TEXT


def event_of(name: str, data: JSON) -> Event:
    return decode_event(Frame(f"thread.{name}", json.dumps(data).encode()))


def step(at: int, status: str = "in_progress", **details: Any) -> JSON:
    body = {"id": f"step_{at}", "run_id": "run_1", "type": "tool_calls", "status": status, "created_at": 1_000}
    return {**body, "step_details": {"type": "tool_calls", **details}}


def opened(kind: str, at: int = 0, **content: Any) -> list[Event]:
    run = {"id": "run_1", "status": "in_progress", "created_at": 999, "started_at": 1_000, "model": "gpt"}
    call = {"id": f"call_{at}", "type": kind, kind: content}
    return [event_of("run.created", run), event_of("run.step.created", step(at, tool_calls=[call]))]


def grown(at: int, index: int = 0, **call: Any) -> Event:
    delta = {"step_details": {"type": "tool_calls", "tool_calls": [{"index": index, "type": next(iter(call)), **call}]}}
    return event_of("run.step.delta", {"id": f"step_{at}", "delta": delta})


def operations(form: ViewForm, event: Event) -> list[tuple[str, str]]:
    return [(one["op"], one["path"]) for frame in form.feed(event, []) for one in msgspec.json.decode(frame.data)]


def test_delta_is_an_append_to_the_part_that_has_its_text():
    form = ViewForm()
    for event in opened("function", name="sail", arguments='{"to"'):
        form.feed(event, [])
    assert operations(form, grown(0, function={"arguments": ': "x"}'})) == [
        ("append", "/steps/0/calls/0/parts/0/text"),
    ]
    new = {"id": "call_b", "function": {"name": "sink", "arguments": ""}}
    assert operations(form, grown(0, 1, type="function", **new)) == [
        ("add", "/steps/0/calls/-"),
        ("append", "/steps/0/title"),
    ]
    assert operations(form, grown(0, 1, function={"arguments": "{"})) == [("replace", "/steps/0/calls/1/parts/0/text")]


def test_view_says_of_a_run_when_it_was_queued_and_what_it_waits_for():
    form = ViewForm()
    for event in opened("function", name="sail", arguments="{}"):
        form.feed(event, [])
    call = {"id": "call_0", "type": "function", "function": {"name": "sail", "arguments": "{}"}}
    action = {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": [call]}}
    waits = {"id": "run_1", "status": "requires_action", "created_at": 999, "required_action": action}
    (frame,) = form.feed(event_of("run.requires_action", waits), [])
    told = {one["path"]: one.get("value") for one in msgspec.json.decode(frame.data)}
    assert told["/run/awaits"] == [{"id": "call_0", "kind": "output", "name": "sail"}]
    assert told["/run/style"] == "waiting"


def test_failed_step_has_its_error_and_calls_that_were_answered_are_done():
    form = ViewForm()
    calls = [
        {"id": f"call_{name}", "type": "function", "function": {"name": name, "arguments": "{}", "output": output}}
        for name, output in (("sail", "done"), ("sink", None))
    ]
    error = {"code": "server_error", "message": "no wind"}
    failed = {**step(0, "failed", tool_calls=calls), "last_error": error, "failed_at": 1_007}
    for event in [*opened("function", name="sail", arguments="{}")[:1], event_of("run.step.failed", failed)]:
        frames = form.feed(event, [])
    (operation,) = msgspec.json.decode(frames[0].data)
    shown = operation["value"]
    assert (shown["error"], shown["is_over"], shown["ended_at"]) == (error, True, 1_007)
    assert [call["style"] for call in shown["calls"]] == ["good", "bad"]


def test_nothing_is_escaped_or_left_out_of_a_text():
    form = ViewForm()
    text = "\x1b[2J<script>\u202e</script>\x00"
    for event in opened("code_interpreter", input=text, outputs=[{"type": "logs", "logs": text}]):
        frames = form.feed(event, [])
    (operation,) = msgspec.json.decode(frames[0].data)
    assert [part["text"] for part in operation["value"]["calls"][0]["parts"]] == [text, text]


@pytest.mark.slow
@pytest.mark.alone
@each_row("kind", ["append", "call", "step"])
def test_cost_of_an_event_does_not_depend_on_what_came_before(kind: str):
    def form_with(steps: int, size: int) -> ViewForm:
        form = ViewForm()
        for at in range(steps):
            for event in opened("function", at, name="sail", arguments="{"):
                form.feed(event, [])
            if at < steps - 1:
                form.feed(event_of("run.step.completed", step(at, "completed", tool_calls=[])), [])
        form.feed(grown(steps - 1, function={"arguments": "x" * size}), [])
        return form

    def cost(form: ViewForm, last: int) -> float:
        found = []
        for at in range(200):
            new = {"id": f"call_new_{at}", "type": "function", "function": {"name": "sink"}}
            event = {
                "append": grown(last, function={"arguments": "x"}),
                "call": grown(last, at + 1, **new),
                "step": event_of("run.step.created", step(last + 1 + at, tool_calls=[])),
            }[kind]
            before = perf_counter()
            form.feed(event, [])
            found.append(perf_counter() - before)
        return sorted(found)[len(found) // 2]

    tries = [(cost(form_with(1, 10), 0), cost(form_with(3_000, 60_000), 2_999)) for _ in range(5)]
    assert min(large for _, large in tries) < 3 * min(small for small, _ in tries)
