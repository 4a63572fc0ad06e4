"""The list of runs: at one moment and live, for those who may see some, however long that is thought about."""

from contextlib import AsyncExitStack
from typing import Any

import anyio
import msgspec
import pytest

from stepstream import MemoryJournal, Relay
from tests.support.published_runs import PublishedRun, events_of, sums_and_tides
from tests.support.relay_requests import Answer, asked, watching
from tests.support.virtual_time import anyio_backend

__all__ = ["anyio_backend"]

LIVE = "text/event-stream"


@pytest.fixture
async def journal():
    return await sums_and_tides()


def told(answer: Answer) -> list[tuple[str, str]]:
    """Return the run and status of each message."""
    found = [msgspec.json.decode(frame.data) for frame in answer.frames]
    return [(one["id"], one["status"]) for one in found]


async def slow(scope: Any, run_id: str) -> bool:
    await anyio.sleep(2)
    return run_id != "run_sums"


async def silent(scope: Any, run_id: str) -> bool:
    await anyio.sleep_forever()
    return True


async def test_list_has_the_runs_in_the_order_in_which_they_began(journal: MemoryJournal):
    answer = await asked(Relay(journal), "/")
    first, second = msgspec.json.decode(answer.body)
    assert (first["id"], first["status"], first["position"], first["ended"]) == ("run_sums", "open", 5, None)
    assert (second["id"], second["status"]) == ("run_tides", "ended")


async def test_list_is_live_where_an_event_stream_is_accepted(journal: MemoryJournal):
    async with watching(Relay(journal), "/", accept=LIVE) as answer:
        assert told(answer) == [("run_sums", "open"), ("run_tides", "ended")]
        await PublishedRun(journal, *events_of("archive")).append(1000)
        await anyio.wait_all_tasks_blocked()
        assert told(answer)[-1] == ("run_archive", "ended")
        await anyio.sleep(16)
        assert answer.body.endswith(b":\n\n")


async def test_run_whose_writer_is_silent_is_listed_as_interrupted_until_it_is_heard_of_again():
    journal = MemoryJournal()
    run = PublishedRun(journal, *events_of("sums"))
    await run.append(5)
    async with watching(Relay(journal, interrupted_after=30), "/", accept=LIVE) as answer:
        await anyio.sleep(62)
        assert told(answer) == [("run_sums", "open"), ("run_sums", "interrupted")]
        assert msgspec.json.decode((await asked(Relay(journal), "/")).body)[0]["status"] == "interrupted"
        await run.append(1)
        await anyio.sleep(25)
        await run.append(1)
        await anyio.sleep(10)
        assert told(answer)[2:] == [("run_sums", "open")]
        await run.append(1000)
        await anyio.sleep(100)
        assert told(answer)[3:] == [("run_sums", "ended")]


class AskedJournal(MemoryJournal):
    """Counts how often it is asked for all of its runs."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def runs(self, run_id: str | None = None) -> Any:
        self.asked += run_id is None
        return super().runs(run_id)


async def test_journal_is_asked_for_silent_runs_once_for_all_who_look():
    journal = AskedJournal()
    await PublishedRun(journal, *events_of("sums")).append(5)
    relay = Relay(journal, interrupted_after=30)
    async with AsyncExitStack() as stack:
        answers = [await stack.enter_async_context(watching(relay, "/", accept=LIVE)) for _ in range(20)]
        journal.asked = 0
        await anyio.sleep(62)
        assert [told(answer) for answer in answers] == [[("run_sums", "open"), ("run_sums", "interrupted")]] * 20
        assert journal.asked == 2


async def test_runs_are_asked_for_together_and_no_longer_than_one_may_take(journal: MemoryJournal):
    for number in range(100):
        await journal.open(f"run_{number}", writer="writer")
    began = anyio.current_time()
    answer = await asked(Relay(journal, authorize=slow), "/")
    assert len(msgspec.json.decode(answer.body)) == 101
    assert anyio.current_time() - began < 10
    answer = await asked(Relay(journal, authorize=silent), "/")
    assert msgspec.json.decode(answer.body) == []
    assert anyio.current_time() - began < 20


async def test_comments_come_while_it_is_thought_about_who_may_see_what(journal: MemoryJournal):
    for number in range(20):
        await journal.open(f"run_{number}", writer="writer")
    async with watching(Relay(journal, authorize=silent), "/", accept=LIVE) as answer:
        await anyio.sleep(95)
        assert (told(answer), answer.body.count(b":\n\n")) == ([], 4)


async def test_list_ends_where_it_is_thought_about_who_may_see_a_run(journal: MemoryJournal):
    relay = Relay(journal, authorize=silent)
    async with watching(relay, "/", accept=LIVE) as answer:
        await relay.drain()
        assert (relay.viewers, answer.is_whole) == (0, True)
