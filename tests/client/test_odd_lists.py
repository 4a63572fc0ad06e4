"""Reconciling a run with servers that answer lists in ways of their own: every missed transition comes once, in order.

No socket, and time in jumps.
"""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qsl

import anyio
import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepstream import (
    Anomaly,
    APIError,
    MessageTransition,
    Outcome,
    Processor,
    RunsClient,
    RunTransition,
    StepTransition,
    StreamTruncated,
)
from stepstream.client.lists import ListBuilder, oldest_first
from tests.support.tables import each_row
from tests.support.virtual_time import anyio_backend as anyio_backend

JSON = dict[str, Any]

RUN = {"id": "run_1", "object": "thread.run", "thread_id": "thread_1", "status": "completed"}
NUMBERS = (1, 2, 3)


def step(number: int, **more: Any) -> JSON:
    details = {"type": "message_creation", "message_creation": {"message_id": f"msg_{number}"}}
    body = {"run_id": "run_1", "thread_id": "thread_1", "type": "message_creation", "status": "completed"}
    return {"id": f"step_{number}", **body, "created_at": 100 + number, "step_details": details, **more}


def message(number: int, **more: Any) -> JSON:
    content = [{"type": "text", "text": {"value": f"text {number}", "annotations": []}}]
    body = {"run_id": "run_1", "thread_id": "thread_1", "role": "assistant", "created_at": 100 + number}
    return {"id": f"msg_{number}", **body, "content": content, **more}


STEPS, MESSAGES = [step(number) for number in NUMBERS], [message(number) for number in NUMBERS]


def without(objects: list[JSON], *names: str) -> list[JSON]:
    return [{name: value for name, value in one.items() if name not in names} for one in objects]


def sent(*events: tuple[str, JSON]) -> bytes:
    return b"".join(f"event: thread.{name}\ndata: {json.dumps(data)}\n\n".encode() for name, data in events)


BEGUN = sent(
    ("run.created", {**RUN, "status": "queued"}),
    ("run.in_progress", {**RUN, "status": "in_progress"}),
    ("run.step.created", step(1, status="in_progress")),
)


async def whole(data: bytes) -> AsyncIterator[bytes]:
    yield data


class Server:
    """Streams the beginning of a run, breaks, and answers GETs for its lists: with pages, a function or a response."""

    def __init__(self, steps: Any, messages: Any, begun: bytes = BEGUN) -> None:
        self._lists = {"steps": steps, "messages": messages}
        self._begun = begun
        self.asked: list[str] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=whole(self._begun))
        name = request.url.path.rpartition("/")[2]
        self.asked.append(name)
        answer = self._lists.get(name, RUN)
        if callable(answer):
            answer = answer(dict(parse_qsl(request.url.query.decode())))
        status = answer if isinstance(answer, int) else 200
        content = json.dumps({"error": "no"} if isinstance(answer, int) else answer).encode()
        return httpx.Response(status, content=whole(content))  # unread, as from a socket

    async def reconciled(self) -> tuple[Outcome, list[str]]:
        told: list[str] = []
        async with httpx.AsyncClient(transport=httpx.MockTransport(self)) as http, Processor() as processor:

            @processor.on(RunTransition, StepTransition, MessageTransition, Anomaly)
            async def note(change: Any) -> None:
                if isinstance(change, Anomaly):
                    told.append(change.code)
                    return
                kind = type(change).__name__.removesuffix("Transition").lower()
                name = getattr(change, f"{kind}_id")
                told.append(f"{name} {change.previous} {change.status}")
                assert change.run_id == "run_1", name

            client = RunsClient("http://peer", client=http, reconcile_timeout=60)
            with anyio.fail_after(600):
                outcome = await processor.run(client.stream_run("thread_1", assistant_id="asst_own"))
        return outcome, told


def once(*numbers: int, messages: bool = True) -> list[str]:
    """All transitions of a run with so many steps, in the order of the server's lists."""
    told = ["run_1 None queued", "run_1 queued in_progress", "step_1 None in_progress"]
    for number in numbers or NUMBERS:
        told += [] if number == 1 else [f"step_{number} None in_progress"]
        told += [f"msg_{number} None in_progress", f"msg_{number} in_progress completed"] if messages else []
        told.append(f"step_{number} in_progress completed")
    return [*told, "run_1 in_progress completed"]


def listed(data: Any, **more: Any) -> JSON:
    return {"object": "list", "data": data, **more}


def in_pages(objects: list[JSON], size: int, overlap: int = 0) -> Any:
    """Pages after an id, each of which begins with the last entries of the one before."""
    ids = [one["id"] for one in objects]

    def page(query: dict[str, str]) -> JSON:
        begin = ids.index(query["after"]) + 1 if "after" in query else 0
        data = objects[max(0, begin - overlap) : begin + size]
        return listed(data, has_more=begin + size < len(objects))

    return page


def desc(objects: list[JSON]) -> list[JSON]:
    return objects[::-1]


FRESH = iter(range(10**9))
SERVERS: dict[str, tuple[Any, Any]] = {
    "as-asked": (listed(STEPS, has_more=False), listed(MESSAGES, has_more=False)),
    "newest-first": (listed(desc(STEPS)), listed(desc(MESSAGES))),
    "newest-first-in-pages": (in_pages(desc(STEPS), 1), in_pages(desc(MESSAGES), 2)),
    "in-no-order": (listed([STEPS[1], STEPS[2], STEPS[0]]), listed([MESSAGES[2], MESSAGES[0], MESSAGES[1]])),
    "arrays": (STEPS, MESSAGES),
    "without-has-more": (listed(STEPS), listed(MESSAGES)),
    "has-more-for-ever": (listed(STEPS, has_more=True), listed(MESSAGES, has_more=True)),
    "has-more-for-ever-and-ever-another": (
        lambda _: listed([{**one, "news": next(FRESH)} for one in STEPS], has_more=True),
        listed(MESSAGES),
    ),
    "overlapping-pages": (in_pages(STEPS, 2, 1), in_pages(MESSAGES, 1, 1)),
    "twice-each": (listed([one for one in STEPS for _ in (1, 2)]), listed([*MESSAGES, *MESSAGES])),
    "without-run-ids": (listed(without(STEPS, "run_id")), listed(without(MESSAGES, "run_id"))),
    "null-run-ids": (listed([{**one, "run_id": None} for one in STEPS]), listed(without(MESSAGES, "run_id"))),
    "without-times": (listed(without(STEPS, "created_at")), listed(without(MESSAGES, "created_at"))),
    "whole-thread": (
        listed(STEPS),
        listed(
            [
                message(7, role="user", run_id=None),
                message(8, run_id=None),
                *without(MESSAGES, "run_id"),
                message(9, run_id="r"),
            ]
        ),
    ),
}


@each_row("name", SERVERS)
async def test_every_missed_transition_comes_once_and_in_order(name: str):
    outcome, told = await Server(*SERVERS[name]).reconciled()
    assert told == once()
    assert (outcome.reconciled, [one.text for one in outcome.final_messages]) == (True, ["text 1", "text 2", "text 3"])


async def test_entries_that_are_no_objects_are_anomalies_and_lose_nothing():
    odd = [None, *STEPS[:2], "step", 5, STEPS[2], []]
    outcome, told = await Server(listed(odd), listed([None, *MESSAGES, 7])).reconciled()
    assert [one for one in told if one != "undecodable_event"] == once()
    assert outcome.anomaly_count == 4


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_server_that_lists_no_steps_still_says_how_the_run_ended(status: int):
    outcome, told = await Server(status, listed(MESSAGES)).reconciled()
    told_of_messages = [
        f"msg_{number} {change}" for number in NUMBERS for change in ("None in_progress", "in_progress completed")
    ]
    assert told == [*once()[:3], *told_of_messages, "run_1 in_progress completed"]
    assert outcome.steps["step_1"].status == "in_progress"


@pytest.mark.parametrize("failing", [500, 503, 429, "<html>", {"error": "soon"}])
async def test_page_that_fails_in_the_middle_is_asked_for_again(failing: Any):
    page, failures = in_pages(STEPS, 1), iter([failing] * 5)

    def answer(query: dict[str, str]) -> Any:
        return next(failures, page(query)) if query.get("after") == "step_1" else page(query)

    _, told = await Server(answer, listed(MESSAGES)).reconciled()
    assert told == once()


@pytest.mark.parametrize("failing", [500, {"data": [{}], "has_more": True}], ids=["refused", "no-id-to-ask-after"])
async def test_page_that_fails_for_ever_ends_in_time_with_an_error(failing: Any):
    with pytest.raises(StreamTruncated, match=r"for 60 s \(reconcile_timeout\) the server did not say") as caught:
        await Server(failing, listed(MESSAGES)).reconciled()
    assert isinstance(caught.value.__cause__, APIError) == (failing == 500)
    assert caught.value.outcome is not None
    assert [*caught.value.outcome.steps] == ["step_1"]


async def test_list_that_never_ends_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stepstream.client.api.MAX_PAGES", 5)
    numbers = iter(range(10**9))
    server = Server(lambda _: listed([step(next(numbers))], has_more=True), listed(MESSAGES))
    with pytest.raises(StreamTruncated):
        await server.reconciled()
    assert server.asked.count("steps") < 200


def raw(objects: list[Any]) -> tuple[msgspec.Raw, ...]:
    return tuple(msgspec.Raw(json.dumps(one).encode()) for one in objects)


def ids(raws: Any) -> Iterator[Any]:
    return (json.loads(bytes(one)).get("id") for one in raws)


@given(st.permutations(range(6)), st.booleans())
def test_objects_come_oldest_first_whatever_the_order_of_the_list(order: list[int], milliseconds: bool):
    unit = 1000 if milliseconds else 1
    objects = [{"id": place, "created_at": (1_700_000_000 + place) * unit} for place in order]
    assert list(ids(oldest_first(raw(objects)))) == sorted(order)


@each_row(
    ("times", "expected"),
    [
        ([5, 5, 5], "abc"),
        ([6, 5, 5], "cba"),
        ([5, 6, 6], "abc"),
        ([None, 6, 5], "cba"),
        ([7, None, 5], "cba"),
        ([6, None, 7], "acb"),
        ([True, "soon", {}], "abc"),
        ([6, "1970-01-01T00:00:05", "1970-01-01T00:00:04+00:00"], "cba"),
    ],
)
def test_order_of_one_second_is_the_servers(times: list[Any], expected: str):
    objects = [{"id": name, "created_at": time} for name, time in zip("abc", times, strict=True)]
    assert "".join(ids(oldest_first(raw(objects)))) == expected


def test_object_that_comes_again_counts_as_it_came_last():
    found = ListBuilder()
    assert found.add(raw([{"id": "a", "status": "in_progress"}, {"id": "b"}])) is False
    assert found.add(raw([{"id": "a", "status": "completed"}])) is False
    assert [json.loads(bytes(one)) for one in found.oldest_first()] == [
        {"id": "a", "status": "completed"},
        {"id": "b"},
    ]
