"""Streams of a dialect, read by a processor: what they do, how they end, and the events of SDKs as sources."""

import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from stepstream import (
    Frame,
    MessageProgress,
    Processor,
    Reconnected,
    RunTransition,
    StepTransition,
    StreamFailed,
    StreamTruncated,
    ToolCallStarted,
)
from tests.support.json_values import JSON
from tests.support.response_streams import (
    Folded,
    calling,
    encoded,
    fold,
    frames,
    lifecycle,
    thinking,
    whole,
    writing,
)

RUN = whole(thinking("s", "t"), writing("a longer text", 1, 1), calling('{"a": 1}', 1, 2))


async def source(*items: Any) -> AsyncIterator[Any]:
    for item in items:
        yield item


def in_chunks(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize("named", [True, False], ids=["named", "unnamed"])
@pytest.mark.parametrize("size", [1, 7, 4096, 10**6])
async def test_processor_tells_what_the_fold_does_whatever_the_chunks(size: int, named: bool):
    changes: list[Any] = []
    async with Processor() as processor:

        @processor.on(RunTransition, StepTransition, ToolCallStarted, MessageProgress)
        async def note(change: Any) -> None:
            changes.append(change)

        outcome = await processor.run(source(*in_chunks(encoded(RUN, named=named), size)))
    expected = fold(RUN)
    assert [message.text for message in outcome.messages.values()] == ["a longer text"]
    assert Folded(expected.accumulator, changes).statuses == {
        one: statuses for one, statuses in expected.statuses.items() if not one.endswith("*")
    }
    assert dict(outcome.steps) == dict(expected.accumulator.steps)
    assert outcome.required_action == expected.accumulator.runs["resp_1"].required_action
    pieces = [change.delta.content[0].text.value for change in changes if isinstance(change, MessageProgress)]
    assert "".join(pieces) == "a longer text"
    assert (outcome.reason, outcome.anomaly_count) == ("ended", 0)


async def test_filters_know_the_steps_of_responses():
    found: list[Any] = []
    async with Processor() as processor:

        @processor.on(StepTransition, step_type="reasoning", status="completed")
        async def note_thought(change: StepTransition) -> None:
            found.append(change.step.step_details.reasoning.summary[0].text)

        @processor.on(ToolCallStarted, tool_name="add", run_id="resp_1")
        async def note_call(change: ToolCallStarted) -> None:
            found.append(change.name)

        await processor.run(source(encoded(RUN)))
    assert sorted(found) == ["add", "s"]


async def test_text_deltas_are_the_text():
    async with Processor() as processor, processor.text_deltas() as pieces:
        handle = processor.start(source(encoded(RUN)))
        text = ""
        async for piece in pieces:
            text += piece
            if len(text) == len("a longer text"):
                break
        await handle.outcome()
    assert text == "a longer text"


@pytest.mark.parametrize("dialect", ["auto", "responses"])
async def test_new_connection_goes_on_with_the_translation(dialect: str):
    data = frames(RUN)
    async with Processor(dialect=dialect) as processor:
        outcome = await processor.run(source(*data[:7], Reconnected("6"), *data[4:]))
    assert [message.text for message in outcome.messages.values()] == ["a longer text"]
    assert outcome.anomaly_count == 0


async def test_dialect_that_is_not_known_is_a_value_error():
    with pytest.raises(ValueError, match="expected dialect as one of"):
        Processor(dialect="chat")


async def test_forced_vocabulary_of_the_fold_leaves_responses_unknown():
    async with Processor(dialect="assistants") as processor:
        with pytest.raises(StreamTruncated):
            await processor.run(source(encoded(RUN)))


ERROR: JSON = {"type": "error", "code": "overloaded", "message": "try later"}
CREATED = lifecycle("created")


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("done", [b"", b"data: [DONE]\n\n", b"data: [DONE]"], ids=["cut", "done", "unfinished"])
async def test_error_alone_fails_the_stream(named: bool, done: bytes):
    async with Processor() as processor:
        with pytest.raises(StreamFailed) as caught:
            await processor.run(source(encoded([CREATED, ERROR], named=named) + done))
    assert (caught.value.code, caught.value.message, caught.value.type) == ("overloaded", "try later", None)
    assert caught.value.outcome is not None
    assert list(caught.value.outcome.runs) == ["resp_1"]


@pytest.mark.parametrize("events", [[ERROR, lifecycle("failed")], [lifecycle("failed"), ERROR]])
async def test_error_beside_a_failed_response_is_why_the_run_failed(events: list[JSON]):
    async with Processor() as processor:
        outcome = await processor.run(source(encoded([CREATED, *events])))
    run = outcome.runs["resp_1"]
    assert run.last_error
    assert (run.status, run.last_error.code) == ("failed", "overloaded")


async def test_stream_that_is_cut_is_truncated():
    async with Processor() as processor:
        with pytest.raises(StreamTruncated, match=r"without response\.completed, its run unfinished$"):
            await processor.run(source(encoded(RUN[:9])))


@pytest.mark.parametrize("done", [b"data: [DONE]\n\n", b"data: [DONE]"])
async def test_done_without_a_name_ends_the_stream(done: bytes):
    async with Processor() as processor:
        outcome = await processor.run(source(encoded(RUN), done))
    assert outcome.reason == "ended"


async def test_done_ends_the_stream_by_its_name():
    async with Processor() as processor:
        outcome = await processor.run(source(encoded(RUN), b"event: done\ndata: [DONE]\n\n"))
    assert outcome.reason == "done"


async def test_run_is_continued_by_the_next_stream():
    follow: dict[str, Any] = {"id": "resp_2", "previous_response_id": "resp_1"}
    second = [lifecycle("created", **follow), *writing("5", 2), lifecycle("completed", **follow)]
    statuses: list[str] = []
    async with Processor() as processor:

        @processor.on(RunTransition)
        async def note(change: RunTransition) -> None:
            statuses.append(f"{change.run_id} {change.status}")

        await processor.run(source(encoded(RUN)))
        outcome = await processor.run(source(encoded(second)))
    assert statuses == ["resp_1 in_progress", "resp_1 requires_action", "resp_1 in_progress", "resp_1 completed"]
    assert outcome.runs["resp_1"].status == "completed"


# Events of SDKs


class SDKEvent(SimpleNamespace):
    """An event as an SDK gives it: it has a type, and writes itself as JSON."""

    def model_dump_json(self, *, exclude: set[str], **_: object) -> str:
        return json.dumps({key: value for key, value in vars(self).items() if key not in exclude})


class OlderEvent(SimpleNamespace):
    def to_json(self) -> str:
        return json.dumps(vars(self))


def agents_events() -> list[Any]:
    own = SimpleNamespace(type="run_item_stream_event", item=object())
    return [own, *(SimpleNamespace(type="raw_response_event", data=SDKEvent(**event)) for event in RUN)]


SDK_SOURCES = {
    "events": lambda: [SDKEvent(**event, snapshot="all so far") for event in RUN],
    "older": lambda: [OlderEvent(**event) for event in RUN],
    "wrapped": agents_events,
}


@pytest.mark.parametrize("make", SDK_SOURCES.values(), ids=SDK_SOURCES)
async def test_events_of_an_sdk_are_a_source(make: Any):
    async with Processor() as processor:
        outcome = await processor.run(source(*make()))
    assert dict(outcome.steps) == dict(fold(RUN).accumulator.steps)


@pytest.mark.parametrize(
    "item", [SimpleNamespace(type="other"), SimpleNamespace(type=5), SimpleNamespace(type="raw_response_event")]
)
async def test_object_that_only_has_a_type_is_no_source(item: object):
    async with Processor() as processor:
        with pytest.raises(TypeError, match="expected a source to yield"):
            await processor.run(source(item))


async def test_event_objects_of_openai_are_a_source():
    models = pytest.importorskip("openai.types.responses")
    from pydantic import TypeAdapter

    adapter: Any = TypeAdapter(models.ResponseStreamEvent)
    needed = {"tool_choice": "auto", "tools": [], "parallel_tool_calls": True, "model": "m", "object": "response"}
    events = [{**event, "response": event["response"] | needed} if "response" in event else event for event in RUN]
    async with Processor() as processor:
        outcome = await processor.run(source(*(adapter.validate_python({"logprobs": [], **event}) for event in events)))
    assert [message.text for message in outcome.messages.values()] == ["a longer text"]
    assert outcome.anomaly_count == 0


async def test_frames_and_messages_of_sse_libraries_are_translated_too():
    messages = [SimpleNamespace(event=one.event, data=one.data.decode(), id="") for one in frames(RUN)]
    for items in (frames(RUN), messages, [Frame("message", one.data) for one in frames(RUN)]):
        async with Processor() as processor:
            outcome = await processor.run(source(*items))
        assert dict(outcome.steps) == dict(fold(RUN).accumulator.steps)
