"""Bodies that become runs: what is kept of them, however they come and wherever they end."""

from collections.abc import Iterator, Sequence
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepstream import Accumulator, FrameDecoder, MemoryJournal, publish
from stepstream.dashboard import Dashboard
from stepstream.dashboard.positions import MAX_ID, MAX_RUNS
from stepstream.journal import Journal
from stepstream.live.journal import Checkpoint, Held, Opened
from tests.support.delta_streams import message, run, says, step, written
from tests.support.journals import chunks_of, packs
from tests.support.places import STREAMS
from tests.support.relay_requests import asked
from tests.support.response_streams import calling, encoded, lifecycle, whole, writing
from tests.support.uploads import sending, sent

SHORT = [
    written("thread.run.created", run("queued")),
    written("thread.run.in_progress", run("in_progress")),
    written("thread.message.created", message("in_progress")),
    written("thread.message.delta", says("Fog")),
    written("thread.message.completed", message("completed", text="Fog")),
    written("thread.run.completed", run("completed")),
    b"event: done\ndata: [DONE]\n\n",
]
BODY = b"".join(SHORT)
WHOLE = {"run_ids": ["run_1"], "status": "completed", "position": 6, "positions": {"run_1": 6}}


async def kept(journal: Journal, run_id: str = "run_1") -> bytes:
    return b"".join([pack.data for pack in await packs(journal, run_id)])


async def status_of(journal: Journal, run_id: str = "run_1") -> str:
    [info] = [info async for info in journal.runs(run_id)]
    return info.status


async def published(body: bytes, run_id: str) -> bytes:
    journal = MemoryJournal()
    await publish(chunks_of([body]), journal)
    return await kept(journal, run_id)


@pytest.mark.parametrize(
    ("body", "run_id"),
    [
        ((STREAMS / "tides.sse").read_bytes(), "run_tides"),
        (encoded(whole(writing("The fog lifts."))), "resp_1"),
    ],
    ids=["canonical", "dialect"],
)
@pytest.mark.parametrize("size", [1, 7, 2**20])
async def test_body_becomes_the_run_that_a_source_becomes(body: bytes, run_id: str, size: int):
    journal = MemoryJournal()
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    answer = await sent(Dashboard(journal), pieces)
    assert (answer.status, answer.json["run_ids"], answer.json["bytes"]) == (200, [run_id], len(body))
    assert await kept(journal, run_id) == await published(body, run_id)
    assert await status_of(journal, run_id) == "ended"


async def test_answer_says_what_was_kept():
    answer = await sent(Dashboard(MemoryJournal()), SHORT)
    assert answer.json == {**WHOLE, "skipped": 0, "events": 7, "anomalies": 0, "bytes": len(BODY)}


def blocks_of(body: bytes) -> int:
    """Return how many events of a body are whole, without that which ends it."""
    return len([frame for frame in FrameDecoder().feed(body) if frame.event != "done"])


BORDERS = [sum(map(len, SHORT[:count])) for count in range(len(SHORT) + 1)]
NEAR_BORDERS = sorted({near for border in BORDERS for near in range(border - 3, border + 2) if 0 <= near <= len(BODY)})


@pytest.mark.parametrize(
    "sizes", [NEAR_BORDERS, pytest.param(range(len(BODY) + 1), marks=pytest.mark.slow)], ids=["borders", "all"]
)
async def test_body_that_is_cut_anywhere_keeps_the_events_before_and_can_be_sent_again(sizes: Sequence[int]):
    for size in sizes:
        journal = MemoryJournal()
        dashboard = Dashboard(journal)
        cut = await sent(dashboard, [BODY[:size]])
        count = blocks_of(BODY[:size])
        is_whole = count == 6
        assert (cut.status, cut.json["position"]) == (200 if is_whole else 422, count), size
        assert cut.code == ("" if is_whole else "truncated")
        assert (not count) or await status_of(journal) == ("ended" if is_whole else "interrupted")
        again = await sent(dashboard, [BODY], "/ingest?run=run_1&after=0")
        assert (again.status, again.json | WHOLE, again.json["skipped"]) == (200, again.json, count)
        assert await kept(journal) == BODY.removesuffix(SHORT[-1])


async def test_rest_of_a_body_goes_on_where_the_first_part_ended():
    for count in range(1, 6):
        journal = MemoryJournal()
        dashboard = Dashboard(journal)
        cut = await sent(dashboard, SHORT[:count])
        again = await sent(dashboard, SHORT[count:], f"/ingest?run=run_1&after={cut.json['position']}")
        assert (again.status, again.json["position"], again.json["skipped"]) == (200, 6, 0)
        assert await kept(journal) == BODY.removesuffix(SHORT[-1])
        assert await status_of(journal) == "ended"


async def test_rest_that_begins_too_early_is_skipped_as_far_as_it_is_there():
    for there in range(1, 6):
        for begins in range(there):
            journal = MemoryJournal()
            dashboard = Dashboard(journal)
            await sent(dashboard, SHORT[:there])
            again = await sent(dashboard, SHORT[begins:], f"/ingest?run=run_1&after={begins}")
            assert (again.status, again.json["position"], again.json["skipped"]) == (200, 6, there - begins)
            assert await kept(journal) == BODY.removesuffix(SHORT[-1])


CALL = {"id": "call_1", "type": "function", "function": {"name": "sail", "arguments": "{}"}}
ACTION = {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": [CALL]}}
ROUNDS = [
    written("thread.run.created", run("queued")),
    written("thread.run.step.created", step("in_progress", calls=[CALL])),
    written("thread.run.requires_action", run("requires_action", required_action=ACTION)),
    written("thread.run.queued", run("queued")),
    written("thread.run.step.completed", step("completed", calls=[CALL])),
    written("thread.run.completed", run("completed")),
]


async def test_body_of_a_run_that_waited_in_between_is_skipped_as_far_as_it_is_there():
    for there in range(1, 7):
        journal = MemoryJournal()
        dashboard = Dashboard(journal)
        await sent(dashboard, ROUNDS[:there])
        again = await sent(dashboard, ROUNDS, "/ingest?after=0")
        assert (again.status, again.json["position"], again.json["skipped"]) == (200, 6, there)
        assert await kept(journal) == b"".join(ROUNDS)
        assert await status_of(journal) == "ended"


async def test_body_of_a_dialect_goes_on_with_the_run_that_it_answers():
    journal = MemoryJournal()
    dashboard = Dashboard(journal)
    first = await sent(dashboard, [encoded(whole(calling("{}")))])
    answers = [lifecycle("created", id="resp_2"), *writing("Nine."), lifecycle("completed", id="resp_2")]
    second = await sent(dashboard, [encoded(answers)], "/ingest?run=resp_1")
    again = await sent(dashboard, [encoded(answers)], f"/ingest?run=resp_1&after={first.json['position']}")
    assert first.json["status"] == "requires_action"
    assert (second.status, second.json["run_ids"], second.json["status"]) == (200, ["resp_1"], "completed")
    assert second.json["position"] > first.json["position"]
    assert (again.status, again.json["position"]) == (200, second.json["position"])
    assert again.json["skipped"] == second.json["position"] - first.json["position"]
    assert await status_of(journal, "resp_1") == "ended"


@pytest.mark.parametrize("count", range(1, 6))
async def test_part_of_a_run_that_has_ended_changes_nothing(count: int):
    journal = MemoryJournal()
    dashboard = Dashboard(journal)
    await sent(dashboard, SHORT)
    again = await sent(dashboard, SHORT[:count], "/ingest?run=run_1&after=0")
    assert (again.status, again.code, again.json["position"], again.json["skipped"]) == (422, "truncated", 6, count)
    assert await kept(journal) == BODY.removesuffix(SHORT[-1])
    assert await status_of(journal) == "ended"


async def test_client_that_leaves_interrupts_its_run_and_is_not_answered():
    journal = MemoryJournal()
    answer = await sent(Dashboard(journal), SHORT[:3], leaves=True)
    [info] = [info async for info in journal.runs()]
    assert (answer.status, answer.body) == (0, b"")
    assert (info.status, info.position) == ("interrupted", 3)
    assert info.error == f"the client left after {sum(map(len, SHORT[:3])):,} bytes"


async def test_silent_client_is_given_up():
    journal = MemoryJournal()
    dashboard = Dashboard(journal, idle_timeout=0.05)
    with anyio.fail_after(10):
        async with sending(dashboard, SHORT[:3]) as upload:
            while not upload.is_whole:
                await anyio.lowlevel.checkpoint()
    assert (upload.status, upload.code, upload.json["position"]) == (408, "idle", 3)
    assert await status_of(journal) == "interrupted"


def full_journal() -> MemoryJournal:
    return MemoryJournal(max_bytes=0)


async def fill(journal: MemoryJournal) -> None:
    """Let an open run take all the room there is."""
    opened = await journal.open("run_0", writer="w")
    await journal.append(opened, [Checkpoint(opened.fence, 0, b"{}")])


async def test_full_journal_is_told_before_the_body_is_asked_for():
    journal = full_journal()
    await fill(journal)
    answer = await sent(Dashboard(journal), SHORT)
    assert (answer.status, answer.headers["retry-after"], answer.taken) == (503, "30", 0)
    assert b"no room" in answer.body


async def test_run_that_is_there_goes_on_in_a_full_journal():
    journal = full_journal()
    await sent(Dashboard(journal), ROUNDS[:3])
    await fill(journal)
    answer = await sent(Dashboard(journal), ROUNDS, "/ingest?run=run_1&after=0")
    assert (answer.status, answer.json["position"], answer.json["skipped"]) == (200, 6, 3)


async def test_only_so_many_bodies_are_read_at_a_time():
    dashboard = Dashboard(MemoryJournal(), max_ingests=1)
    async with sending(dashboard, SHORT[:2]):
        refused = await sent(dashboard, SHORT)
    later = await sent(dashboard, SHORT)
    assert (refused.status, refused.taken, later.status) == (503, 0, 200)


@pytest.mark.parametrize(
    ("path", "given", "status"),
    [
        ("/ingest", {"content_type": "application/json"}, 415),
        ("/ingest", {"content_type": "text/plain"}, 415),
        ("/ingest", {"content_type": ""}, 415),
        ("/ingest", {"content_type": "text/event-streams"}, 415),
        ("/ingest", {"content_encoding": "gzip"}, 415),
        ("/ingest?after=-1", {}, 400),
        ("/ingest?after=1.5", {}, 400),
        ("/ingest?after=%D9%A1", {}, 400),
        ("/ingest?after=99999999999999999999", {}, 400),
        ("/ingest?run=", {}, 400),
        (f"/ingest?run={'x' * (MAX_ID + 1)}", {}, 400),
        ("/ingest?" + "&".join(f"a{number}=" for number in range(30)), {}, 400),
        ("/ingest", {"method": "PUT"}, 405),
        ("/ingest", {"method": "GET"}, 405),
        ("/ingest", {"method": "OPTIONS"}, 405),
        ("/ingest/more", {}, 404),
    ],
)
async def test_what_is_no_event_stream_is_refused_before_it_is_read(path: str, given: dict[str, str], status: int):
    answer = await sent(Dashboard(MemoryJournal()), SHORT, path, **given)
    assert (answer.status, answer.taken) == (status, 0)


@pytest.mark.parametrize("content_type", ["Text/Event-Stream", "text/event-stream; charset=utf-8"])
async def test_content_type_may_be_written_as_http_allows(content_type: str):
    assert (await sent(Dashboard(MemoryJournal()), SHORT, content_type=content_type)).status == 200


LONG_ID = written("thread.run.created", run("queued", "x" * (MAX_ID + 1)))
MANY = [written("thread.run.created", run("queued", f"run_{number}")) for number in range(MAX_RUNS + 1)]


@pytest.mark.parametrize(
    ("chunks", "path", "status", "code", "kept_runs"),
    [
        ([b""], "/ingest", 422, "truncated", 0),
        ([b"<html>"], "/ingest", 422, "truncated", 0),
        ([b"data: {}\n\n"], "/ingest", 422, "truncated", 0),
        ([b"event: done\ndata: [DONE]\n\n"], "/ingest", 422, "no_run", 0),
        ([b"data: " + b"x" * 2**20] * 17, "/ingest", 413, "event_too_large", 0),
        ([*SHORT[:2], b"data: " + b"x" * 2**20, *[b"x" * 2**20] * 16], "/ingest", 413, "event_too_large", 1),
        (SHORT, "/ingest?run=run_2", 422, "unexpected_run", 0),
        (SHORT, "/ingest?run=run_1&after=1", 409, "gap", 0),
        ([LONG_ID], "/ingest", 422, "unexpected_run", 0),
        (MANY, "/ingest", 422, "unexpected_run", MAX_RUNS),
    ],
)
async def test_broken_body_is_refused_and_the_answer_says_what_was_kept(
    chunks: Sequence[bytes], path: str, status: int, code: str, kept_runs: int
):
    journal = MemoryJournal()
    answer = await sent(Dashboard(journal), chunks, path)
    assert (answer.status, answer.code, len(answer.json["run_ids"])) == (status, code, kept_runs)
    assert answer.json["error"]["message"]
    assert {info.status async for info in journal.runs()} <= {"interrupted"}


async def test_body_that_is_too_large_is_cut_and_its_rest_can_be_sent():
    journal = MemoryJournal()
    size = sum(map(len, SHORT[:3]))
    cut = await sent(Dashboard(journal, max_body=size), SHORT)
    rest = await sent(Dashboard(journal), SHORT[3:], f"/ingest?run=run_1&after={cut.json['position']}")
    assert (cut.status, cut.code, cut.json["position"]) == (413, "body_too_large", 3)
    assert (rest.status, rest.json["position"]) == (200, 6)


async def test_stream_that_carries_an_error_is_kept_and_said():
    journal = MemoryJournal()
    answer = await sent(Dashboard(journal), [(STREAMS / "storm.sse").read_bytes()])
    assert (answer.status, answer.code, answer.json["run_ids"]) == (200, "stream_error", ["run_storm"])
    assert await status_of(journal, "run_storm") == "interrupted"


async def test_what_follows_the_end_is_counted_and_not_kept():
    journal = MemoryJournal()
    answer = await sent(Dashboard(journal), [*SHORT, *MANY])
    assert (answer.status, answer.json["ignored_bytes"], answer.json["run_ids"]) == (
        200,
        sum(map(len, MANY)),
        ["run_1"],
    )


async def test_newer_body_of_a_run_takes_it_over():
    journal = MemoryJournal()
    dashboard = Dashboard(journal)
    chunks = iter([*SHORT[:2]])
    async with sending(dashboard, chunks):
        second = await sent(dashboard, SHORT, "/ingest?run=run_1&after=0")
    assert (second.status, second.json["skipped"]) == (200, 2)
    assert await kept(journal) == BODY.removesuffix(SHORT[-1])
    assert await status_of(journal) == "ended"


class StuckJournal(MemoryJournal):
    """A journal that takes nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.goes_on = anyio.Event()

    async def append(self, opened: Opened, held: Sequence[Held] = (), **given: Any) -> None:
        await self.goes_on.wait()
        await super().append(opened, held, **given)


async def test_journal_that_takes_nothing_holds_up_the_client():
    def chunks() -> Iterator[bytes]:
        yield from SHORT[:3]
        for _ in range(3_000):
            yield written("thread.message.delta", says("x" * 1_000))

    journal = StuckJournal()
    async with sending(Dashboard(journal), chunks()) as upload:
        assert 1_000 < upload.taken < 1_100
        journal.goes_on.set()


async def test_body_that_goes_on_is_ended_when_the_server_drains():
    journal = MemoryJournal()
    dashboard = Dashboard(journal)
    async with anyio.create_task_group() as tasks, sending(dashboard, SHORT[:3]) as upload:
        tasks.start_soon(dashboard.drain, 0.05)
        await anyio.wait_all_tasks_blocked()
        refused = await sent(dashboard, SHORT)
        health = await asked(dashboard, "/healthz")
        with anyio.fail_after(10):
            while not upload.is_whole:
                await anyio.lowlevel.checkpoint()
    assert (refused.status, refused.taken, health.status) == (503, 0, 503)
    assert (upload.status, upload.code, upload.json["position"]) == (503, "shutting_down", 3)
    [info] = [info async for info in journal.runs()]
    assert (info.status, info.error) == ("interrupted", "the server is shutting down")


@given(st.text(min_size=1, max_size=40))
def test_run_of_any_id_is_kept_under_it(run_id: str):
    async def ingested() -> list[str]:
        journal = MemoryJournal()
        answer = await sent(Dashboard(journal), [written("thread.run.completed", run("completed", run_id))])
        assert answer.status == 200, answer.body
        return [info.id async for info in journal.runs()]

    body = written("thread.run.completed", run("completed", run_id))
    accumulator = Accumulator()
    for frame in FrameDecoder().feed(body):
        accumulator.apply_frame(frame)
    assert anyio.run(ingested) == list(accumulator.runs)
