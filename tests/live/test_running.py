import itertools
import json
from asyncio import CancelledError, create_task  # noqa: TID251 - users cancel its tasks by hand
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import httpx
import httpx2
import httpx_sse
import msgspec
import pytest

from stepstream import (
    APIError,
    Frame,
    FrameTooLarge,
    Outcome,
    Processor,
    Reconnected,
    RunTransition,
    StepStreamError,
    StepTransition,
    StreamFailed,
    StreamStopped,
    StreamTruncated,
    TransportError,
    accumulate,
    record,
)
from stepstream.live.options import BUFFER
from stepstream.live.reader import EVENTS_BETWEEN_CHECKPOINTS
from stepstream.live.registration import CLASSES
from tests.support.byte_chunks import pieces
from tests.support.run_streams import (
    DONE,
    USAGE,
    Audience,
    Opened,
    Tape,
    call,
    events,
    frames,
    grows,
    opens,
    play,
    played,
    run,
    sketch,
    source,
    sse,
    step,
    told,
    told_of,
    writing,
)
from tests.support.suspensions import quiet
from tests.support.tables import each_row


async def outcome_of(given: Any, **limits: int) -> Outcome:
    async with Processor(**limits) as processor:
        return await processor.run(given)


async def failure_of(given: Any, **limits: int) -> StepStreamError:
    """What `run` raises, with its outcome."""
    async with Processor(**limits) as processor:
        with pytest.raises(StepStreamError) as caught:
            await processor.run(given)
    assert caught.value.outcome is not None
    assert caught.value.outcome.reason is None
    return caught.value


async def test_outcome_after_done_is_done():
    outcome = await outcome_of(played(play()))
    assert (outcome.reason, outcome.events, outcome.required_action) == ("done", 15, None)


async def test_outcome_holds_what_the_stream_touched_in_order_of_first_sight():
    outcome = await outcome_of(played(play()))
    touched = [*outcome.runs], [*outcome.steps], [*outcome.messages]
    assert touched == (["run_1"], ["step_1", "writing_1"], ["msg_1"])


async def test_outcome_holds_the_final_snapshots():
    outcome, expected = await outcome_of(played(play())), accumulate([sse(play())])
    assert (outcome.steps, outcome.runs, outcome.messages) == (expected.steps, expected.runs, expected.messages)


async def test_outcome_of_one_stream_leaves_out_other_streams():
    async with Processor() as processor:
        await processor.run(played(play(1)))
        outcome = await processor.run(played(play(2)))
    assert [*outcome.steps] == ["step_2", "writing_2"]


async def test_outcome_does_not_change_with_what_comes_later():
    async with Processor() as processor:
        first = await processor.run(played([step("created"), opens(), run("requires_action")]))
        await processor.run(played([grows("1"), run("completed")]))
    assert first.steps["step_1"].tool_calls[0].function.arguments == ""


async def test_outcome_counts_all_anomalies_and_keeps_the_first():
    outcome = await outcome_of(played([step("created")] + [step("created")] * 1_200 + [run("completed"), DONE]))
    assert (outcome.anomaly_count, len(outcome.anomalies)) == (1_200, 1_000)


async def test_outcome_shows_what_it_holds():
    outcome = await outcome_of(played(play()))
    assert repr(outcome) == "<Outcome done, run completed: 15 events, 2 steps, 1 runs, 1 messages, 0 anomalies>"


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "expired", "incomplete", "requires_action"])
async def test_stream_without_done_has_ended_when_its_run_is_settled(status: str):
    outcome = await outcome_of(played([run("queued"), run(status)]))
    assert outcome.reason == "ended"


@pytest.mark.parametrize("status", ["queued", "in_progress", "cancelling", "dreaming"])
async def test_stream_without_done_is_truncated_while_its_run_goes_on(status: str):
    assert type(await failure_of(played([run(status)]))) is StreamTruncated


async def test_stream_without_done_is_truncated_while_one_of_its_runs_goes_on():
    error = await failure_of(played([run("queued", 1), run("completed", 2)]))
    assert isinstance(error, StreamTruncated)


async def test_stream_without_run_or_done_is_truncated():
    error = await failure_of(played([step("created"), step("completed")]))
    assert [*error.outcome.steps] == ["step_1"]


async def test_empty_stream_is_truncated():
    error = await failure_of(source())
    assert error.outcome.events == 0


async def test_stream_of_done_alone_is_done():
    assert (await outcome_of(played([DONE]))).reason == "done"


async def test_required_action_says_what_the_run_waits_for():
    action = {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": [call(1, '{"a":1}')]}}
    outcome = await outcome_of(played([run("queued"), run("requires_action", required_action=action), DONE]))
    assert [asked.id for asked in outcome.required_action.tool_calls] == ["call_1"]


async def test_required_action_is_that_of_the_newest_run_that_waits():
    actions = [
        {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": [call(number)]}} for number in (1, 2)
    ]
    sent = [run("requires_action", number, required_action=action) for number, action in enumerate(actions, 1)]
    outcome = await outcome_of(played([*sent, run("completed", 3), DONE]))
    assert [asked.id for asked in outcome.required_action.tool_calls] == ["call_2"]


async def test_required_action_is_none_once_the_run_went_on():
    action = {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": [call(1)]}}
    sent = [run("requires_action", required_action=action), run("queued"), run("completed"), DONE]
    assert (await outcome_of(played(sent))).required_action is None


async def test_usage_is_that_of_the_runs():
    usage = (await outcome_of(played([*play(1)[:-1], *play(2)]))).usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (10, 4, 14)


async def test_usage_of_a_run_that_told_none_is_that_of_its_steps():
    sent = [step("completed", usage=USAGE), writing("completed"), run("completed"), DONE]
    assert (await outcome_of(played(sent))).usage.total_tokens == 7


async def test_usage_of_a_run_is_not_counted_with_that_of_its_steps():
    sent = [step("completed", usage=USAGE), run("completed", usage=USAGE), DONE]
    assert (await outcome_of(played(sent))).usage.total_tokens == 7


ERRORS = [
    (b'{"message":"no","type":"server_error","param":null,"code":"busy"}', ("busy", "no", "server_error", None)),
    (b'{"error":{"message":"no","type":"server_error","code":"busy"}}', ("busy", "no", "server_error", None)),
    (b'{"error":"no"}', (None, "no", None, None)),
    (b'"no"', (None, "no", None, None)),
    (b"Internal Server Error", (None, "Internal Server Error", None, None)),
    (b"{}", (None, None, None, None)),
]


@each_row(("data", "expected"), ERRORS)
async def test_error_event_of_every_shape_is_stream_failed(data: bytes, expected: tuple[str | None, ...]):
    error = await failure_of(source(sse(play()[:6]), Frame("error", data)))
    assert isinstance(error, StreamFailed)
    assert (error.code, error.message, error.type, error.param) == expected


async def test_stream_failed_has_what_was_folded():
    error = await failure_of(source(sse(play()[:6]), Frame("error", b"{}")))
    assert error.outcome.steps["step_1"].tool_calls[0].function.arguments == '{"a":1}'


async def test_error_event_after_the_run_ended_is_stream_failed():
    assert isinstance(await failure_of(source(sse(play()[:-1]), Frame("error", b"{}"))), StreamFailed)


async def test_done_after_an_error_event_is_not_read():
    tape = Tape(Frame("error", b"{}"), *frames([DONE]))
    await failure_of(tape)
    assert tape.read == 1


async def test_truncated_stream_has_what_was_folded():
    error = await failure_of(played(play()[:11]))
    assert error.outcome.messages["msg_1"].text == "It is 2."


@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_frame_too_large_has_what_was_folded_before_it(size: int):
    data = sse([*play()[:3], step("completed", calls=[call(1, "x" * 2_000)])])
    error = await failure_of(source(*pieces(data, size)), max_event_bytes=1_000)
    assert isinstance(error, FrameTooLarge)
    assert (error.outcome.events, [*error.outcome.steps]) == (3, ["step_1"])


async def test_event_too_large_after_done_is_not_looked_at():
    data = sse([*play(), step("completed", 2, calls=[call(1, "x" * 2_000)])])
    assert (await outcome_of(source(data), max_event_bytes=1_000)).reason == "done"


async def test_undecodable_event_is_an_anomaly_and_the_stream_goes_on():
    sent = frames(play())
    outcome = await outcome_of(source(*sent[:5], Frame("thread.run.step.delta", b"{"), *sent[5:]))
    assert ([one.code for one in outcome.anomalies], outcome.reason) == (["undecodable_event"], "done")


async def test_event_nested_deeper_than_max_depth_is_an_anomaly():
    deep = b'{"id":"run_1","metadata":{"a":{"b":{"c":1}}}}'
    outcome = await outcome_of(source(Frame("thread.run.created", deep), *frames(play())), max_depth=3)
    assert outcome.anomalies[0].code == "too_deep"


async def test_exception_of_a_source_is_the_cause_of_a_transport_error():
    cause = ConnectionResetError(104, "Connection reset by peer")
    error = await failure_of(source(sse(play()[:3]), cause))
    assert (type(error), error.__cause__) == (TransportError, cause)
    assert (str(error), error.outcome.events) == ("the source failed: Connection reset by peer", 3)


async def test_transport_error_does_not_quote_the_source():
    error = await failure_of(source(ValueError("https://host/?key=secret")))
    assert str(error) == "the source failed: ValueError"


async def test_exception_of_ours_passes_a_source_as_it_is():
    given = TransportError("as it was")
    assert await failure_of(source(given)) is given


async def test_source_that_cannot_be_opened_is_a_transport_error():
    @asynccontextmanager
    async def refused() -> AsyncIterator[AsyncIterator[bytes]]:
        raise OSError(111, "Connection refused")
        yield source()

    assert str(await failure_of(refused())) == "the source failed: Connection refused"


@pytest.mark.parametrize("end", [b"event: done\ndata: [DONE]\n", b"event: done\ndata: [DONE]", b"event:done\ndata:\r"])
async def test_done_without_its_blank_line_decides(end: bytes):
    outcome = await outcome_of(source(sse([run("queued")]) + end))
    assert (outcome.reason, outcome.events) == ("done", 2)


@pytest.mark.parametrize("end", [b"\n", b""])
async def test_error_without_its_blank_line_decides(end: bytes):
    error = await failure_of(source(sse([run("completed")]) + b'event: error\ndata: {"message":"no"}' + end))
    assert isinstance(error, StreamFailed)


async def test_other_block_without_its_blank_line_is_no_event():
    outcome = await outcome_of(source(sse(play()[:-1]) + sse([step("created", 2)]).rstrip()))
    assert (outcome.events, [*outcome.steps]) == (14, ["step_1", "writing_1"])


async def test_what_follows_done_in_a_chunk_is_ignored():
    outcome = await outcome_of(source(sse([*play(), step("created", 2)])))
    assert (outcome.events, [*outcome.steps]) == (15, ["step_1", "writing_1"])


async def test_what_follows_done_is_not_read_and_the_source_is_closed():
    tape = Tape(sse(play()), b": more", ValueError("read too far"))
    await outcome_of(tape)
    assert (tape.read, tape.is_closed) == (1, True)


@pytest.mark.parametrize(
    "items",
    [[sse(play()[:3])], [Frame("error", b"{}"), b""], [ValueError(), b""], [b"data: " + b"x" * 2_000, b""], [3, b""]],
    ids=["truncated", "failed", "broken", "too large", "no item"],
)
async def test_source_is_closed_however_the_stream_ends(items: list[Any]):
    tape = Tape(b"", *items)
    async with Processor(max_event_bytes=1_000) as processor:
        with pytest.raises((StepStreamError, TypeError)):
            await processor.run(tape)
    assert tape.is_closed


async def test_context_manager_is_left_without_seeing_a_failure_of_the_stream():
    opened = Opened(Frame("error", b"{}"))
    await failure_of(opened)
    assert opened.seen == [None]


async def test_failure_of_the_stream_is_not_replaced_by_one_of_closing_its_source(caplog: pytest.LogCaptureFixture):
    error = await failure_of(Opened(Frame("error", b"{}"), closing=OSError("on closing")))
    assert isinstance(error, StreamFailed)
    assert [record.message for record in caplog.records] == ["a source failed when it was closed"]


async def test_done_stands_whatever_closing_the_source_raises(caplog: pytest.LogCaptureFixture):
    outcome = await outcome_of(Opened(sse(play()), closing=OSError("on closing")))
    assert outcome.reason == "done"
    assert [record.message for record in caplog.records] == ["a source failed when it was closed after done"]


async def test_source_that_ends_and_then_fails_when_it_is_closed_is_a_transport_error():
    error = await failure_of(Opened(sse(play()[:3]), closing=OSError(5, "half a stream")))
    assert (str(error), error.outcome.events) == ("the source failed: half a stream", 3)


@pytest.mark.usefixtures("patient")
async def test_source_that_gives_up_by_a_deadline_of_its_own_is_a_transport_error():
    @asynccontextmanager
    async def impatient() -> AsyncIterator[AsyncIterator[Any]]:
        with anyio.fail_after(0.5):
            yield source(sse(play()[:3]), anyio.Event())

    error = await failure_of(impatient())
    assert (type(error), type(error.__cause__), error.outcome.events) == (TransportError, TimeoutError, 3)


@pytest.mark.usefixtures("patient")
async def test_source_that_ends_itself_by_a_scope_of_its_own_just_ends():
    @asynccontextmanager
    async def brief() -> AsyncIterator[AsyncIterator[Any]]:
        with anyio.move_on_after(0.5):
            yield source(sse(play()[:-1]), anyio.Event())

    assert (await outcome_of(brief())).reason == "ended"


REFUSED = APIError("refused", status_code=429)


@each_row(
    ("failure", "kind", "text"),
    [
        (OSError(5, "Input/output error"), TransportError, "the source failed: Input/output error"),
        (ValueError("s3cret"), TransportError, "the source failed: ValueError"),
        (ImportError("it needs coredis"), TransportError, "the source failed: it needs coredis"),
        (REFUSED, APIError, "refused"),
    ],
)
async def test_source_whose_own_task_fails_has_failed_as_that_did(failure: Exception, kind: Any, text: str):
    async def fail() -> None:
        raise failure

    @asynccontextmanager
    async def tasked() -> AsyncIterator[AsyncIterator[Any]]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail)
            yield source(sse(play()[:3]), anyio.Event())

    error = await failure_of(tasked())
    assert (type(error), str(error), error.outcome.events) == (kind, text, 3)
    assert isinstance(error.__cause__, ExceptionGroup)


@asynccontextmanager
async def cancelled_while_opened(kind: type[BaseException]) -> AsyncIterator[AsyncIterator[bytes]]:
    raise kind
    yield source()


@asynccontextmanager
async def cancelled_while_read(kind: type[BaseException]) -> AsyncIterator[AsyncIterator[bytes]]:
    async def items() -> AsyncIterator[bytes]:
        yield sse(play()[:3])
        raise kind

    yield items()


@asynccontextmanager
async def cancelled_while_closed(kind: type[BaseException]) -> AsyncIterator[AsyncIterator[bytes]]:
    yield source(sse(play()[:3]))
    raise kind


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio cancels by scopes only
@each_row(("opened", "events"), [(cancelled_while_opened, 0), (cancelled_while_read, 3), (cancelled_while_closed, 3)])
async def test_source_that_was_cancelled_by_what_it_awaits_is_a_transport_error(opened: Any, events: int):
    error = await failure_of(opened(anyio.get_cancelled_exc_class()))
    assert str(error) == "the source was cancelled by what it awaited (CancelledError)"
    assert (type(error), type(error.__cause__), error.outcome.events) == (TransportError, CancelledError, events)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("fails", [False, True])
async def test_task_that_is_cancelled_by_hand_is_cancelled_whatever_its_source_does(fails: bool):
    @asynccontextmanager
    async def stubborn() -> AsyncIterator[AsyncIterator[bytes]]:
        try:
            yield source(sse(play()[:3]), anyio.Event())
        finally:
            if fails:
                raise OSError("of the closing")

    async with Processor() as processor:
        task = create_task(processor.run(stubborn()))
        await quiet()
        task.cancel()
        with pytest.raises(CancelledError):
            await task


async def test_response_that_refuses_to_be_read_at_once_is_a_transport_error():
    def refuse() -> Any:
        raise OSError(5, "Input/output error")

    closed = anyio.Event()

    async def aclose() -> None:
        closed.set()

    error = await failure_of(SimpleNamespace(aiter_bytes=refuse, aclose=aclose, stream=source()))
    assert (type(error), str(error)) == (TransportError, "the source failed: Input/output error")
    assert closed.is_set()


DATA = sse(play())


def transport(family: Any) -> Any:
    """A transport that answers with the stream, and no length: the body is read as it comes."""

    async def body() -> AsyncIterator[bytes]:
        for chunk in pieces(DATA, 100):
            yield chunk

    headers = {"content-type": "text/event-stream"}
    return family.MockTransport(lambda request: family.Response(200, headers=headers, content=body()))


@asynccontextmanager
async def of_bytes(path: Path) -> AsyncIterator[Any]:
    yield source(*pieces(DATA, 100))


@asynccontextmanager
async def of_bytearrays(path: Path) -> AsyncIterator[Any]:
    yield source(*map(bytearray, pieces(DATA, 100)))


@asynccontextmanager
async def of_memoryviews(path: Path) -> AsyncIterator[Any]:
    view = memoryview(DATA)
    yield source(*(view[start : start + 100] for start in range(0, len(DATA), 100)))


@asynccontextmanager
async def of_frames(path: Path) -> AsyncIterator[Any]:
    yield source(*frames(play()))


@asynccontextmanager
async def of_events(path: Path) -> AsyncIterator[Any]:
    yield source(*events(play()))


@asynccontextmanager
async def of_messages(path: Path) -> AsyncIterator[Any]:
    yield source(*(SimpleNamespace(event=one.event, data=one.data.decode(), id="") for one in frames(play())))


@asynccontextmanager
async def of_server_sent_events(path: Path) -> AsyncIterator[Any]:
    yield source(*(httpx_sse.ServerSentEvent(event=one.event, data=one.data.decode()) for one in frames(play())))


@asynccontextmanager
async def of_an_event_source(path: Path) -> AsyncIterator[Any]:
    async with (
        httpx.AsyncClient(transport=transport(httpx)) as client,
        httpx_sse.aconnect_sse(client, "GET", "http://host/") as event_source,
    ):
        yield event_source


@asynccontextmanager
async def of_the_events_of_an_event_source(path: Path) -> AsyncIterator[Any]:
    async with of_an_event_source(path) as event_source:
        yield event_source.aiter_sse()


@asynccontextmanager
async def of_an_unopened_event_source(path: Path) -> AsyncIterator[Any]:
    async with httpx.AsyncClient(transport=transport(httpx)) as client:
        yield httpx_sse.aconnect_sse(client, "GET", "http://host/")


@asynccontextmanager
async def of_an_httpx_response(path: Path) -> AsyncIterator[Any]:
    async with (
        httpx.AsyncClient(transport=transport(httpx)) as client,
        client.stream("GET", "http://host/") as response,
    ):
        yield response


@asynccontextmanager
async def of_an_unopened_httpx_response(path: Path) -> AsyncIterator[Any]:
    async with httpx.AsyncClient(transport=transport(httpx)) as client:
        yield client.stream("GET", "http://host/")


@asynccontextmanager
async def of_the_bytes_of_an_httpx_response(path: Path) -> AsyncIterator[Any]:
    async with of_an_httpx_response(path) as response:
        yield response.aiter_bytes()


@asynccontextmanager
async def of_an_httpx2_response(path: Path) -> AsyncIterator[Any]:
    async with (
        httpx2.AsyncClient(transport=transport(httpx2)) as client,
        client.stream("GET", "http://host/") as response,
    ):
        yield response


@asynccontextmanager
async def of_the_bytes_of_an_httpx2_response(path: Path) -> AsyncIterator[Any]:
    async with of_an_httpx2_response(path) as response:
        yield response.aiter_bytes()


@asynccontextmanager
async def of_a_file(path: Path) -> AsyncIterator[Any]:
    recording = path / "recording.sse"
    recording.write_bytes(DATA)
    async with await anyio.open_file(recording, "rb") as file:
        yield file


@asynccontextmanager
async def of_a_memory_stream(path: Path) -> AsyncIterator[Any]:
    send, receive = anyio.create_memory_object_stream[bytes](100)
    for chunk in pieces(DATA, 100):
        send.send_nowait(chunk)
    send.close()
    yield receive


@asynccontextmanager
async def of_a_context_manager(path: Path) -> AsyncIterator[Any]:
    yield Opened(*pieces(DATA, 100))


@asynccontextmanager
async def of_an_iterator_that_is_no_generator(path: Path) -> AsyncIterator[Any]:
    class Chunks:
        def __init__(self) -> None:
            self._left = pieces(DATA, 100)

        def __aiter__(self) -> "Chunks":
            return self

        async def __anext__(self) -> bytes:
            if not self._left:
                raise StopAsyncIteration
            return self._left.pop(0)

    yield Chunks()


SOURCES = [
    of_bytes, of_bytearrays, of_memoryviews, of_frames, of_events, of_messages, of_server_sent_events,
    of_an_event_source, of_the_events_of_an_event_source, of_an_unopened_event_source, of_an_httpx_response,
    of_an_unopened_httpx_response, of_the_bytes_of_an_httpx_response, of_an_httpx2_response,
    of_the_bytes_of_an_httpx2_response, of_a_file, of_a_memory_stream, of_a_context_manager,
    of_an_iterator_that_is_no_generator,
]  # fmt: skip


# httpx leaves generators within its iterators to the garbage collector, and trio warns of that; httpx2 does not
@pytest.mark.filterwarnings("ignore:Async generator 'httpx:ResourceWarning")
@pytest.mark.parametrize("kind", SOURCES, ids=lambda kind: kind.__name__)
async def test_source_of_every_kind_gives_the_same_outcome(kind: Any, tmp_path: Path):
    expected = await outcome_of(played(play()))
    async with kind(tmp_path) as given:
        assert await outcome_of(given) == expected


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_stream_reader_of_aiohttp_is_a_source_whatever_the_length_of_its_lines():
    aiohttp = pytest.importorskip("aiohttp")
    web = pytest.importorskip("aiohttp.web")
    data = sse([run("queued"), step("completed", calls=[call(1, "x" * 2_000_000)]), run("completed"), DONE])

    async def answer(request: Any) -> Any:
        return web.Response(body=data, content_type="text/event-stream")

    application = web.Application()
    application.router.add_get("/", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/") as response:
            outcome = await outcome_of(response.content)
    finally:
        await runner.cleanup()
    assert outcome.reason == "done"


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
@pytest.mark.parametrize("family", [httpx, httpx2])
async def test_response_is_closed_once_done_came(family: Any):
    async def body() -> AsyncIterator[bytes]:
        yield DATA
        yield b": more\n\n"

    with_body = family.MockTransport(lambda request: family.Response(200, content=body()))
    async with family.AsyncClient(transport=with_body) as client:
        response = await client.send(client.build_request("GET", "http://host/"), stream=True)
        await outcome_of(response)
        assert response.is_closed


async def test_memory_stream_is_closed_once_done_came():
    send, receive = anyio.create_memory_object_stream[Any](3)
    with send:
        send.send_nowait(DATA)
        await outcome_of(receive)
        with pytest.raises(anyio.BrokenResourceError):
            send.send_nowait(b"more")


async def test_iterator_that_was_begun_is_a_source_of_the_rest():
    given = played([run("queued", 2), *play()])
    await anext(given)
    assert [*(await outcome_of(given)).runs] == ["run_1"]


@each_row("given", [b"bytes", "path.sse", [b"chunk"], iter([b"chunk"]), None, 3, Outcome, open])
async def test_what_is_no_source_is_a_type_error(given: Any):
    async with Processor() as processor:
        with pytest.raises(TypeError, match="expected an async iterable of bytes or SSE messages"):
            await processor.run(given)


async def test_context_manager_that_gives_no_source_is_a_type_error_and_is_left():
    class Wrong(Opened):
        async def __aenter__(self) -> Any:
            return [b"chunk"]

    wrong = Wrong()
    async with Processor() as processor:
        with pytest.raises(TypeError, match="got list"):
            await processor.run(wrong)
    assert wrong.seen == [None]


@each_row(
    "item",
    [3, None, ["list"], {"event": "done"}, SimpleNamespace(data="x"), SimpleNamespace(event="done"),
     SimpleNamespace(event="done", data=b"bytes"), Reconnected],
    ids=str,
)  # fmt: skip
async def test_item_of_no_known_kind_is_a_type_error(item: Any):
    async with Processor() as processor:
        with pytest.raises(TypeError, match="expected a source to yield bytes, frames, events or SSE messages, got "):
            await processor.run(source(item))


async def test_message_without_an_event_name_is_an_unknown_event():
    nameless = [SimpleNamespace(event=name, data="ping", id=None) for name in (None, "")]
    outcome = await outcome_of(source(*nameless, *frames(play())))
    assert (outcome.events, outcome.anomaly_count) == (17, 0)


async def test_reconnection_starts_a_fresh_parser():
    broken = sse(play()[:3])[:-20]
    outcome = await outcome_of(source(broken, Reconnected(), sse(play())))
    assert (outcome.reason, outcome.events, outcome.anomalies) == ("done", 2 + 15, [])


async def test_reconnection_keeps_what_was_folded():
    outcome = await outcome_of(source(sse(play()[:5]), Reconnected(), sse(play()[5:])))
    assert outcome.steps["step_1"] == (await outcome_of(played(play()))).steps["step_1"]


async def test_block_before_a_reconnection_does_not_decide():
    error = await failure_of(source(b"event: done\ndata: [DONE]\n", Reconnected(), b"\n"))
    assert isinstance(error, StreamTruncated)


async def test_every_change_carries_the_context_of_its_stream():
    audience, channels = Audience(), [object(), object()]
    async with Processor() as processor:
        processor.add(CLASSES, audience)
        async with anyio.create_task_group() as tasks:
            for number, channel in enumerate(channels):
                tasks.start_soon(processor.run, played([step("created", number), *play(number)]), channel)
    assert {(change.context, str(change.run_id)) for change in audience} == {
        (channels[0], "run_0"),
        (channels[1], "run_1"),
    }


async def test_context_is_none_where_none_was_given():
    audience = Audience()
    async with Processor() as processor:
        processor.add(CLASSES, audience)
        await processor.run(played(play()))
    assert {change.context for change in audience} == {None}


async def test_run_goes_on_in_a_second_stream():
    audience = Audience()
    first = [*play()[:6], run("requires_action"), DONE]
    async with Processor() as processor:
        processor.add((StepTransition, RunTransition), audience)
        await processor.run(played(first))
        outcome = await processor.run(played(play()[6:]))
    statuses = [(change.previous, change.status) for change in audience]
    assert statuses == [
        (None, "queued"),
        ("queued", "in_progress"),
        (None, "in_progress"),
        ("in_progress", "requires_action"),
        ("in_progress", "completed"),
        (None, "in_progress"),
        ("in_progress", "completed"),
        ("requires_action", "completed"),
    ]
    assert [*outcome.steps] == ["step_1", "writing_1"]


async def test_sequence_starts_anew_with_every_stream():
    audience = Audience()
    async with Processor() as processor:
        processor.add(RunTransition, audience)
        await processor.run(played([run("queued"), run("requires_action")]))
        await processor.run(played([run("completed")]))
    assert [change.sequence for change in audience] == [1, 2, 1]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10**6])
async def test_every_chunking_gives_the_same_outcome_and_changes(size: int):
    audience = Audience()
    async with Processor() as processor:
        processor.add(CLASSES, audience)
        outcome = await processor.run(source(*pieces(DATA, size)))
    assert (outcome, told(audience)) == (await outcome_of(played(play())), await told_of(play()))


async def test_stream_in_two_chunks_gives_the_same_outcome_wherever_it_is_cut():
    data = sse(sketch())
    expected = await outcome_of(source(data))
    outcomes = [await outcome_of(source(data[:place], data[place:])) for place in range(len(data))]
    assert outcomes == [expected] * len(data)


async def test_stream_that_stops_anywhere_is_truncated_or_complete():
    data = sse(sketch())
    expected = await outcome_of(source(data))
    reasons = []
    async with Processor() as processor:
        for place in range(len(data)):
            try:
                outcome = await processor.run(source(data[:place]))
            except StreamTruncated as error:
                reasons.append(error.outcome.reason)
                continue
            assert (outcome.runs, outcome.steps) == (expected.runs, expected.steps)
            reasons.append(outcome.reason)
    assert [reason for reason, _ in itertools.groupby(reasons)] == [None, "ended", "done"]


async def test_many_streams_at_once_keep_the_order_of_each_run():
    audience, expected = Audience(), await told_of(play())
    async with Processor() as processor:
        processor.add(CLASSES, audience)
        async with anyio.create_task_group() as tasks:
            for number in range(200):
                tasks.start_soon(processor.run, played(play(number)), number)
    got = [told(change for change in audience if change.context == number) for number in range(200)]
    assert got == [expected] * 200


async def test_many_streams_at_once_each_have_their_own_outcome():
    async with Processor() as processor:
        handles = [processor.start(played(play(number))) for number in range(200)]
        outcomes = [await handle.outcome() for handle in handles]
    assert [[*outcome.runs] for outcome in outcomes] == [[f"run_{number}"] for number in range(200)]


async def test_handle_gives_the_id_of_the_run_as_soon_as_it_is_named():
    gate = anyio.Event()
    async with Processor() as processor:
        handle = processor.start(source(gate, *frames(play())))
        ids: list[str] = []

        async def ask() -> None:
            ids.append(await handle.begun())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await quiet()
            assert ids == []
            gate.set()
        assert ids == [await handle.begun()] == [handle.run_id] == ["run_1"]
        await handle.outcome()
        assert await handle.begun() == "run_1"


async def test_stream_that_names_no_run_raises_where_that_is_waited_for():
    async with Processor() as processor:
        with pytest.raises(TransportError):
            await processor.start(Opened(OSError("no more"))).begun()
        with pytest.raises(StreamTruncated):
            await processor.start(source(*frames([("thread.created", {"id": "thread_1"}), DONE]))).begun()


@pytest.mark.parametrize("how", ["cancelled", "stopped", "cancelled in the line", "left in the line"])
async def test_source_that_is_not_read_any_more_before_it_was_is_closed(how: str):
    send, receive = anyio.create_memory_object_stream[bytes](1)
    with send, receive:
        async with Processor(max_streams=1) as processor:
            if "line" in how:
                processor.start(source(anyio.Event()))
            handle = processor.start(receive)
            if "line" in how:
                await quiet()
            if how == "stopped" or "left" in how:
                await processor.stop()
            else:
                await handle.cancel()
            with pytest.raises(StreamStopped):
                await handle.outcome()
            with pytest.raises(anyio.ClosedResourceError):
                receive.receive_nowait()
            await processor.stop()


async def test_source_that_cannot_be_closed_unread_is_logged(caplog: pytest.LogCaptureFixture):
    class Broken:
        def __aiter__(self) -> Any:
            raise AssertionError("not read")

        async def aclose(self) -> None:
            raise OSError("a secret")

    async with Processor() as processor:
        await processor.start(Broken()).cancel()  # type: ignore[arg-type]
    assert [record.getMessage() for record in caplog.records] == ["a source that was not read could not be closed"]


async def test_many_streams_may_wait_for_one_subscriber():
    gate = anyio.Event()
    audience = Audience(gate)
    streams = 3 * BUFFER
    async with Processor() as processor:
        subscription = processor.add(RunTransition, audience)
        for number in range(streams):
            processor.start(played([run("queued", number), run("in_progress", number), run("completed", number)]))
        await quiet()
        assert subscription.offered < BUFFER + streams  # beyond the bound each publishes one event, and then waits
        gate.set()
    statuses: dict[str, list[str]] = {f"run_{number}": [] for number in range(streams)}
    for change in audience:
        statuses[change.run_id].append(change.status)
    assert [*statuses.values()] == [["queued", "in_progress", "completed"]] * streams


async def test_source_that_never_waits_lets_others_run():
    tape = Tape(*frames([run("queued")]) * 10 * EVENTS_BETWEEN_CHECKPOINTS)
    async with Processor() as processor:
        processor.start(tape)
        while not tape.read:
            await anyio.lowlevel.checkpoint()
        assert tape.read <= 2 * EVENTS_BETWEEN_CHECKPOINTS


async def test_source_that_never_waits_can_be_cancelled():
    tape = Tape(*frames([run("queued")]) * 10 * EVENTS_BETWEEN_CHECKPOINTS)
    async with Processor() as processor:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await processor.run(tape)
    assert (scope.cancelled_caught, tape.read, tape.is_closed) == (True, EVENTS_BETWEEN_CHECKPOINTS, True)


async def test_long_chunk_lets_others_run():
    tape, others = Tape(sse([run("queued")]) * 10 * EVENTS_BETWEEN_CHECKPOINTS), []

    async with Processor() as processor:

        @processor.on(RunTransition)
        async def look(change: RunTransition) -> None:
            others.append(repr(handle))

        handle = processor.start(tape)
    assert others == ["<StreamHandle running>"]


async def test_finished_runs_are_remembered_up_to_retain():
    audience = Audience()
    async with Processor(retain=2) as processor:
        processor.add(RunTransition, audience)
        for number in (1, 2, 3):
            await processor.run(played(sketch(number)))
        audience.clear()
        for number in (3, 2, 1):  # said again: of a run that is known, this changes nothing
            await processor.run(played(sketch(number)))
    assert [change.run_id for change in audience] == ["run_1", "run_1"]


async def test_open_runs_are_remembered_up_to_max_open_runs():
    async with Processor(max_open_runs=2) as processor:
        outcomes = [await processor.run(played([run("requires_action", number)])) for number in (1, 2, 3)]
    assert [one.id for outcome in outcomes for one in outcome.anomalies] == ["run_1"]


async def test_json_of_a_snapshot_is_the_object_that_was_sent():
    outcome = await outcome_of(played(play()))
    assert json.loads(msgspec.json.encode(outcome.steps["step_1"])) == play()[6][1]


async def test_source_around_what_is_none_says_what_to_give_instead(tmp_path: Path):
    ended = source()
    async with Processor() as processor:
        with pytest.raises(TypeError, match=r"got str: give connect\(url\)$"):
            await processor.run(record("http://peer/runs", tmp_path / "run.sse"))
        with pytest.raises(StreamTruncated):
            await processor.run(ended)
        with pytest.raises(RuntimeError, match="a source is read once"):
            await processor.run(record(ended, tmp_path / "run.sse"))


@each_row("items", [[], [OSError()]])
async def test_generator_that_has_ended_is_refused_as_read_before(items: list[Any]):
    given = source(*items)
    await failure_of(given)
    async with Processor() as processor:
        with pytest.raises(RuntimeError, match="a source is read once: open another one"):
            await processor.run(given)


async def test_source_that_was_read_before_is_refused():
    @asynccontextmanager
    async def once() -> AsyncIterator[Any]:
        yield played(play())

    async with Processor() as processor:
        source = once()
        await processor.run(source)
        with pytest.raises(RuntimeError, match="a source is read once: open another one"):
            await processor.run(source)
