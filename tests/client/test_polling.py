"""Asking what became of a run whose stream broke: when, how often, and until when. No socket, and time in jumps."""

import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import httpx
import pytest

from stepstream import (
    APIError,
    IdleTimeout,
    Outcome,
    Processor,
    ProtocolError,
    RunsClient,
    RunTransition,
    StepStreamError,
    StreamTruncated,
    TransportError,
)
from tests.support.tables import each_row
from tests.support.virtual_time import anyio_backend as anyio_backend

JSON = dict[str, Any]
Answer = Callable[[str, float], httpx.Response]
"""What a server says to a GET of that path, so many seconds after the first request."""

RECONCILE_TIMEOUT = 100.0


def run(status: str, **more: Any) -> JSON:
    return {"id": "run_1", "object": "thread.run", "thread_id": "thread_1", "status": status, **more}


def event(name: str, data: JSON) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


CREATED = event("thread.run.created", run("queued"))
BEGUN = CREATED + event("thread.run.in_progress", run("in_progress"))
THREAD = event("thread.created", {"id": "thread_1", "object": "thread"})
EMPTY = {"data": [], "has_more": False}


async def whole(data: bytes) -> AsyncIterator[bytes]:
    yield data


class Peer:
    """A server in memory. It streams `data` to the first POST, and breaks; to a GET it says what `answer` does."""

    def __init__(self, answer: Answer, data: bytes = BEGUN, *, stalls: bool = False) -> None:
        self.asked: list[tuple[float, str]] = []
        """The paths of the GETs, each with its time after the first request."""
        self._answer = answer
        self._data = data
        self._stalls = stalls
        self._start: float | None = None

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        now = anyio.current_time()
        self._start = now if self._start is None else self._start
        if request.method == "POST":
            return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=self._stream())
        path = request.url.path.removeprefix("/threads/thread_1/")
        self.asked.append((round(now - self._start, 6), path))
        answer = self._answer(path, now - self._start)
        return httpx.Response(answer.status_code, content=whole(answer.content))  # unread, as from a socket

    @property
    def times(self) -> list[float]:
        """When it was asked for the run."""
        return [time for time, path in self.asked if path == "runs/run_1"]

    async def _stream(self) -> AsyncIterator[bytes]:
        yield self._data
        if self._stalls:
            await anyio.sleep_forever()

    async def driven(
        self, statuses: list[str] | None = None, *, thread_id: str | None = "thread_1", **options: Any
    ) -> Outcome:
        """Drive a run against it. `statuses` gets those of the run."""
        async with httpx.AsyncClient(transport=httpx.MockTransport(self)) as http, Processor() as processor:
            if statuses is not None:

                @processor.on(RunTransition)
                async def note(change: RunTransition) -> None:
                    statuses.append(change.status)

            given = {"reconcile_timeout": RECONCILE_TIMEOUT, **options}
            client = RunsClient("http://peer", client=http, **given)
            return await client.drive(processor, thread_id, assistant_id="asst_own")


def saying(answer: Callable[[float], JSON | int | httpx.Response]) -> Answer:
    """Say that of the run: an object, or a status. It has no steps and no messages."""

    def say(path: str, time: float) -> httpx.Response:
        if path != "runs/run_1":
            return httpx.Response(200, json=EMPTY)
        said = answer(time)
        if isinstance(said, httpx.Response):
            return said
        return httpx.Response(said) if isinstance(said, int) else httpx.Response(200, json=said)

    return say


async def failed(peer: Peer, **options: Any) -> StepStreamError:
    with pytest.raises(StepStreamError) as caught:
        await peer.driven(**options)
    return caught.value


async def test_run_is_asked_for_with_growing_pauses_until_it_has_ended():
    statuses = list[str]()
    peer = Peer(saying(lambda time: run("in_progress" if time < 20 else "completed")))
    outcome = await peer.driven(statuses)
    assert peer.times == [0, 0.25, 0.75, 1.75, 3.75, 7.75, 12.75, 17.75, 22.75]
    assert (outcome.reconciled, outcome.reason, statuses) == (True, "ended", ["queued", "in_progress", "completed"])


async def test_states_on_the_way_are_told_as_they_are_asked_for():
    statuses = list[str]()
    at = {0.0: "queued", 0.25: "in_progress", 0.75: "cancelling", 1.75: "cancelled"}
    peer = Peer(saying(lambda time: run(at[round(time, 2)])), CREATED)
    await peer.driven(statuses)
    assert statuses == ["queued", "in_progress", "cancelling", "cancelled"]


async def test_run_that_waits_for_action_is_not_asked_for_again():
    peer = Peer(saying(lambda _: run("requires_action", required_action={"type": "submit_sail_plan"})))
    outcome = await peer.driven()
    assert (peer.times, outcome.reason, outcome.runs["run_1"].status) == ([0], "ended", "requires_action")


async def test_run_that_never_ends_is_given_up_after_reconcile_timeout():
    peer = Peer(saying(lambda _: run("in_progress")))
    failure = await failed(peer)
    assert type(failure) is StreamTruncated
    assert str(failure) == (
        "the stream ended without done, and for 100 s (reconcile_timeout) "
        "the server did not say that the run is over or waits"
    )
    assert peer.times[-1] == 97.75
    assert failure.outcome is not None
    assert (failure.outcome.events, failure.outcome.reconciled, failure.outcome.reason) == (2, True, None)
    assert failure.outcome.runs["run_1"].status == "in_progress"


async def test_server_gone_for_good_ends_in_time_with_the_outcome_so_far():
    def gone(path: str, time: float) -> httpx.Response:
        raise httpx.ConnectError("nobody there")

    start = anyio.current_time()
    failure = await failed(Peer(gone))
    assert anyio.current_time() - start == pytest.approx(RECONCILE_TIMEOUT, abs=0.1)  # closing takes a moment
    assert type(failure) is StreamTruncated
    assert type(failure.__cause__).__name__ == "Unsent"
    assert failure.outcome is not None
    assert (failure.outcome.events, failure.outcome.reconciled) == (2, False)
    assert failure.outcome.runs["run_1"].status == "in_progress"


async def test_server_that_never_answers_ends_in_time():
    async def silent(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return await peer(request)
        await anyio.sleep_forever()
        raise AssertionError

    peer = Peer(saying(lambda _: 500))
    start = anyio.current_time()
    async with httpx.AsyncClient(transport=httpx.MockTransport(silent)) as http, Processor() as processor:
        client = RunsClient("http://peer", client=http, reconcile_timeout=RECONCILE_TIMEOUT)
        with pytest.raises(StreamTruncated):
            await client.drive(processor, "thread_1")
    assert anyio.current_time() - start == pytest.approx(RECONCILE_TIMEOUT, abs=0.1)


async def test_stalled_stream_is_given_up_as_an_idle_timeout():
    failure = await failed(Peer(saying(lambda _: run("in_progress")), stalls=True), idle_timeout=7)
    assert isinstance(failure, IdleTimeout)
    expected = (
        "http://peer/threads/thread_1/runs was silent for 7 s, "
        "and for 100 s (reconcile_timeout) the server did not say that the run is over or waits"
    )
    assert (failure.seconds, str(failure)) == (7, expected)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_trouble_that_passes_is_waited_for(status: int):
    peer = Peer(saying(lambda time: status if time < 30 else run("completed")))
    outcome = await peer.driven()
    assert (outcome.reconciled, outcome.runs["run_1"].status, peer.times[-1] >= 30) == (True, "completed", True)


@pytest.mark.parametrize("status", [401, 403])
async def test_trouble_that_stays_is_raised_at_once_with_the_outcome(status: int):
    peer = Peer(saying(lambda _: status))
    failure = await failed(peer)
    assert isinstance(failure, APIError)
    assert (failure.status_code, peer.times) == (status, [0])
    assert failure.outcome is not None
    assert failure.outcome.events == 2


async def test_run_that_is_not_there_is_asked_for_a_few_times():
    peer = Peer(saying(lambda _: 404))
    failure = await failed(peer)
    assert isinstance(failure, APIError)
    assert (failure.status_code, peer.times) == (404, [0.0, 0.25, 0.75, 1.75])
    assert failure.outcome is not None


async def test_answer_that_is_no_run_is_passing_trouble():
    peer = Peer(saying(lambda _: httpx.Response(200, text="<html>")))
    failure = await failed(peer)
    assert type(failure) is StreamTruncated
    assert isinstance(failure.__cause__, ProtocolError)
    assert len(peer.times) > 9
    assert failure.outcome is not None
    assert failure.outcome.events == 2


async def test_run_on_a_new_thread_is_found_by_the_thread_alone():
    def say(path: str, time: float) -> httpx.Response:
        said = {"data": [run("completed")], "has_more": False} if path == "runs" else run("completed")
        return httpx.Response(200, json=said if path.startswith("runs") and "steps" not in path else EMPTY)

    statuses = list[str]()
    outcome = await Peer(say, THREAD).driven(statuses, thread_id=None)
    assert (outcome.reconciled, statuses) == (True, ["queued", "in_progress", "completed"])


async def test_run_that_cannot_be_found_is_said_to_be_unknown():
    two = {"data": [run("completed"), {**run("completed"), "id": "run_2"}], "has_more": False}
    failure = await failed(Peer(lambda path, _: httpx.Response(200, json=two), THREAD), thread_id=None)
    assert type(failure) is StreamTruncated
    assert str(failure) == (
        "the stream ended without done, before the run's id was known: the server cannot be asked what became of it"
    )
    assert failure.outcome is not None
    assert failure.outcome.events == 1


async def test_run_whose_id_was_never_sent_is_said_to_be_unknown():
    peer = Peer(saying(lambda _: run("completed")), CREATED[:-1])
    failure = await failed(peer)
    assert isinstance(failure, TransportError)
    assert ("before the run's id was known" in str(failure), peer.asked) == (True, [])


@each_row(
    ("data", "told"),
    [
        (
            b'data: {"object": "chat.completion.chunk"}\n\ndata: [DONE]\n\n',
            "none of 2 events is of a protocol that stepstream reads (first: without a name, chat.completion.chunk)",
        ),
        (b'{"error": {"message": "busy"}}', "the stream ended without a single event: got JSON: busy"),
    ],
)
async def test_stream_of_no_protocol_that_is_read_is_told_as_by_connect(data: bytes, told: str):
    peer = Peer(saying(lambda _: run("completed")), data)
    failure = await failed(peer)
    assert (type(failure), str(failure), peer.asked) == (StreamTruncated, told, [])


async def test_each_request_that_is_repeated_is_logged_with_its_run_and_reason(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "stepstream")
    peer = Peer(saying(lambda time: 503 if time < 0.5 else run("completed")))
    await peer.driven(attempts=1)
    broke = "the stream of run run_1 broke (the stream ended without done): asking for it"
    refused = "http://peer/threads/thread_1/runs/run_1 answered 503 Service Unavailable"
    again = f"asking for the run run_1 once more, for {refused}"
    assert [one.getMessage() for one in caplog.records] == [broke, again, again]
    ids = [(one.__dict__["run_id"], one.__dict__["thread_id"], one.levelno) for one in caplog.records]
    assert ids == [("run_1", "thread_1", logging.INFO)] * 3


# What needs no asking, and what is not asked for any more


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (event("thread.run.completed", run("completed")), "ended"),
        (event("thread.run.requires_action", run("requires_action")), "ended"),
        (b"data: [DONE]\n\n", "done"),
    ],
)
async def test_stream_that_is_over_without_done_is_not_asked_for(end: bytes, reason: str):
    peer = Peer(saying(lambda _: 500), BEGUN + end)
    outcome = await peer.driven()
    assert (peer.asked, outcome.reason, outcome.reconciled) == ([], reason, False)


async def test_error_without_its_name_is_raised_and_the_run_not_asked_for():
    peer = Peer(saying(lambda _: 500), BEGUN + b'data: {"error": {"message": "server overloaded"}}\n\n')
    failure = await failed(peer)
    assert (type(failure).__name__, peer.asked) == ("StreamFailed", [])


class Pinging(Peer):
    """A peer that sends comments for ever."""

    async def _stream(self) -> AsyncIterator[bytes]:
        yield self._data
        while True:
            await anyio.sleep(15)
            yield b": ping\n\n"


async def test_run_whose_stream_brings_only_comments_is_asked_for_after_the_event_timeout():
    statuses = list[str]()
    peer = Pinging(saying(lambda _: run("completed")))
    outcome = await peer.driven(statuses)
    assert (peer.times, outcome.reconciled, statuses[-1]) == ([300], True, "completed")
    peer = Pinging(saying(lambda _: run("completed")))
    await peer.driven(event_timeout=40)
    assert peer.times == [40]


async def test_total_timeout_ends_a_stream_that_goes_on_and_nothing_is_asked_for():
    peer = Pinging(saying(lambda _: run("completed")))
    start = anyio.current_time()
    failure = await failed(peer, total_timeout=100, event_timeout=None)
    assert str(failure) == "http://peer/threads/thread_1/runs took longer than 100 s in all"
    assert (type(failure).__bases__, peer.asked) == ((TransportError,), [])
    assert anyio.current_time() - start == pytest.approx(100, abs=0.1)


async def test_total_timeout_ends_the_asking():
    peer = Peer(saying(lambda _: run("in_progress")), stalls=True)
    start = anyio.current_time()
    failure = await failed(peer, idle_timeout=30, total_timeout=50)
    assert isinstance(failure, IdleTimeout)
    assert "silent for 30 s, and for 20 s (total_timeout) the server did not say" in str(failure)
    assert anyio.current_time() - start == pytest.approx(50, abs=0.1)


@each_row("name", ["event_timeout", "total_timeout"])
def test_timeout_below_zero_is_refused(name: str):
    with pytest.raises(ValueError, match=f"^expected {name} of at least 0 seconds, got -1$"):
        RunsClient("http://peer", **{name: -1})
