"""The list of runs: what it says of each, what changes, and what goes."""

from contextlib import aclosing
from typing import Any

import anyio
import msgspec
import pytest

from stepstream import FrameDecoder, MemoryJournal
from stepstream.dashboard import Dashboard
from stepstream.dashboard.list_stream import news_of_list
from stepstream.dashboard.run_list import RunList
from tests.support.published_runs import PublishedRun, events_of
from tests.support.relay_requests import asked, watching


def decoded(data: bytes) -> Any:
    return msgspec.json.decode(data)


async def settled(runs: RunList) -> Any:
    """Return the list when all is folded that there is."""
    await runs.look()
    while runs.is_behind:
        await runs.newer(runs.version)
    return {one["id"]: one for one in decoded(runs.whole())}


async def test_list_says_what_became_of_a_run():
    journal = MemoryJournal()
    run = PublishedRun(journal, *events_of("tides"))
    await run.append(100)
    found = (await settled(RunList(journal)))["run_tides"]
    assert found | {"opened": 0, "ended": 0} == {
        "id": "run_tides",
        "state": "ended",
        "status": "completed",
        "model": "",
        "opened": 0,
        "ended": 0,
        "position": 15,
        "steps": 2,
        "calls": 1,
        "failed_steps": 0,
        "tokens": 215,
        "reason": "",
        "text": "The tide falls 3.2 m \u2013 mind the sill.",
    }


async def test_viewer_of_the_list_gets_all_runs_and_then_what_changed():
    journal = MemoryJournal()
    first, second = PublishedRun(journal, *events_of("sums")), PublishedRun(journal, *events_of("tides"))
    await first.append(3)
    body = b""
    with anyio.fail_after(10):
        async with aclosing(news_of_list(RunList(journal, look_every=0.01))) as news:
            async for piece in news:
                body += piece
                if b"stepstream.runs" in piece:
                    await second.append(100)
                if b'"completed"' in piece:
                    break
    frames = FrameDecoder().feed(body)
    assert body.startswith(b"retry: 1000\n\n")
    assert [frame.event for frame in frames][:2] == ["stepstream.runs", "message"]
    assert [one["id"] for one in decoded(frames[0].data)] == ["run_sums"]
    assert {one["id"] for frame in frames[1:] for one in decoded(frame.data)} == {"run_sums", "run_tides"}


async def test_list_is_an_event_stream_where_that_is_accepted():
    async with watching(Dashboard(MemoryJournal()), "/list", accept="text/event-stream") as answer:
        assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
        assert [(frame.event, frame.data) for frame in answer.frames] == [("stepstream.runs", b"[]")]


@pytest.mark.parametrize("host", ["localhost:8700", "127.0.0.1", "[::1]:8700", "stepstream.localhost"])
async def test_list_is_for_this_machine(host: str):
    answer = await asked(Dashboard(MemoryJournal()), "/list", host=host)
    assert (answer.status, answer.body) == (200, b"[]")
