"""Who may see what, from where, and how many: what a relay refuses, and in which words."""

import logging
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import anyio
import msgspec
import pytest

from stepstream import Frame, JournalFailed, MemoryJournal, Relay, decode_event
from stepstream.journal import RunInfo
from tests.support.published_runs import PublishedRun, events_of, sums_and_tides
from tests.support.relay_requests import asked, watching
from tests.support.tables import each_row
from tests.support.virtual_time import anyio_backend

__all__ = ["anyio_backend"]

APP = "https://app.example"
EVENTS = "/run_sums/events"
PATHS = ["/", "/run_sums", EVENTS]


@pytest.fixture
async def journal():
    return await sums_and_tides()


def everyone(scope: Any, run_id: str) -> bool:
    return True


def by_user(scope: Any, run_id: str) -> bool:
    """Each user sees one run."""
    user = dict(scope["headers"]).get(b"x-user")
    return {b"ada": "run_sums", b"bob": "run_tides"}.get(user) == run_id


@each_row(
    ("given", "status"),
    [
        ({}, 200),
        ({"host": "127.0.0.1:8000"}, 200),
        ({"host": "[::1]:8000", "client": ("::1", 1)}, 200),
        ({"host": "app.localhost"}, 200),
        ({"host": "relay.example"}, 403),
        ({"host": "127.0.0.1.evil.example"}, 403),
        ({"host": "[::1"}, 403),
        ({"host": ""}, 403),
        ({"client": ("10.0.0.7", 1)}, 403),
        ({"client": None}, 403),
        ({"client": ("testclient", 1)}, 403),
        ({"x_forwarded_for": "127.0.0.1"}, 403),
        ({"x_forwarded_host": "localhost"}, 403),
        ({"forwarded": "for=127.0.0.1"}, 403),
        ({"via": "1.1 nginx"}, 403),
        ({"x_real_ip": "127.0.0.1"}, 403),
        ({"cf_connecting_ip": "127.0.0.1"}, 403),
    ],
)
async def test_without_authorize_only_this_machine_is_served(journal: MemoryJournal, given: Any, status: int):
    for path in ("/", "/run_tides", "/run_tides/events"):
        answer = await asked(Relay(journal), path, **given)
        assert (answer.status, b"run_tides" in answer.body) == (status, status == 200)


@each_row(
    ("given", "status"),
    [
        ({"origin": "http://localhost:8000"}, 200),
        ({"origin": "https://localhost:8000"}, 200),
        ({"origin": "http://localhost"}, 403),
        ({"origin": "http://localhost:9000"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "https://app.example.evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": ""}, 403),
        ({"origin": "http://[::1"}, 403),
        ({"origin": "file://localhost:8000"}, 403),
        ({"origin": APP}, 200),
        ({"origin": APP, "sec_fetch_site": "cross-site"}, 200),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"origin": "http://localhost:8000", "sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-origin"}, 200),
        ({"sec_fetch_site": "none"}, 200),
    ],
)
async def test_pages_of_other_origins_are_refused(journal: MemoryJournal, given: Any, status: int):
    relay = Relay(journal, origins=[APP])
    for path in ("/", "/run_tides", "/run_tides/events"):
        answer = await asked(relay, path, **given)
        assert (answer.status, b"run_tides" in answer.body) == (status, status == 200), path


async def test_answer_to_a_listed_origin_may_be_read_by_it_and_by_no_other(journal: MemoryJournal):
    relay = Relay(journal, origins=[APP])
    answer = await asked(relay, "/run_tides/events", origin=APP)
    assert answer.headers["access-control-allow-origin"] == APP
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["vary"] == "origin"
    own = await asked(relay, "/run_tides", origin="http://localhost:8000")
    assert "access-control-allow-origin" not in own.headers
    assert own.headers["vary"] == "origin"


async def test_preflight_is_answered_to_a_listed_origin(journal: MemoryJournal):
    relay = Relay(journal, origins=[APP], authorize=by_user)
    given = {"method": "OPTIONS", "access_control_request_headers": "last-event-id, x-user"}
    answer = await asked(relay, EVENTS, origin=APP, **given)
    assert (answer.status, answer.headers["access-control-allow-headers"]) == (204, "last-event-id, x-user")
    assert answer.headers["access-control-allow-methods"] == "GET"
    assert (await asked(relay, EVENTS, origin="https://evil.example", **given)).status == 403
    odd = await asked(relay, EVENTS, origin=APP, method="OPTIONS", access_control_request_headers="a\r\nb: c")
    assert "access-control-allow-headers" not in odd.headers


@each_row("origin", ["app.example", "https://app.example/", "ftp://app.example", "*", "null", "https://u@app.example"])
async def test_origin_that_is_none_is_refused_when_the_relay_is_made(origin: str):
    with pytest.raises(ValueError, match="expected an origin such as"):
        Relay(MemoryJournal(), origins=[origin])


async def test_origins_are_no_text():
    with pytest.raises(TypeError, match="list of origins"):
        Relay(MemoryJournal(), origins=APP)


async def test_users_see_their_own_runs_and_no_others_whatever_ids_and_cursors_they_name(journal: MemoryJournal):
    relay = Relay(journal, authorize=by_user)
    infos = {info.id: info async for info in journal.runs()}
    for user, own, other in (("ada", "run_sums", "run_tides"), ("bob", "run_tides", "run_sums")):
        assert [run["id"] for run in msgspec.json.decode((await asked(relay, "/", x_user=user)).body)] == [own]
        cursors = [f"{info.fence}.{info.position - 1}" for info in infos.values()]
        for path in (f"/{other}", f"/{other}/events", f"/{other}/events?as=changes", "/run_none", "/run_none/events"):
            for cursor in cursors:
                answer = await asked(relay, path, x_user=user, last_event_id=cursor)
                assert (answer.status, answer.body) == (404, b"There is no such run, or you may not see it.")
        swapped = f"{infos[other].fence}.{infos[other].position}"
        async with watching(relay, f"/{own}/events", x_user=user, last_event_id=swapped) as answer:
            assert answer.status == 200
            assert answer.events[0] == "stepstream.gap"
            assert other.encode() not in answer.body


async def test_authorize_may_be_async_and_gets_the_scope_and_the_run(journal: MemoryJournal):
    seen = []

    async def may_see(scope: Any, run_id: str) -> bool:
        seen.append((scope["path"], run_id))
        return True

    assert (await asked(Relay(journal, authorize=may_see), "/run_tides")).status == 200
    assert seen == [("/run_tides", "run_tides")]


async def test_authorize_that_fails_at_a_join_is_a_no(journal: MemoryJournal, caplog: pytest.LogCaptureFixture):
    def fails(scope: Any, run_id: str) -> bool:
        raise RuntimeError("the database is away")

    relay = Relay(journal, authorize=fails)
    for path in PATHS[1:]:
        assert (await asked(relay, path)).status == 404
    assert (await asked(relay, "/")).body == b"[]"
    assert {(one.name, one.levelno, one.getMessage()) for one in caplog.records} == {
        ("stepstream.relay", logging.WARNING, "authorize failed")
    }


async def test_authorize_that_does_not_answer_is_a_no(journal: MemoryJournal):
    async def never(scope: Any, run_id: str) -> bool:
        await anyio.sleep_forever()
        return True

    assert (await asked(Relay(journal, authorize=never), EVENTS)).status == 404


async def test_viewer_whose_permission_is_revoked_gets_nothing_more(journal: MemoryJournal):
    allowed = [True]
    relay = Relay(journal, authorize=lambda scope, run_id: allowed[0], interrupted_after=1_000)
    async with watching(relay, EVENTS) as answer:
        await anyio.sleep(70)
        assert not answer.is_whole
        allowed[0] = False
        await anyio.sleep(61)
        assert answer.is_whole
        assert answer.frames[-1].data == b'{"reason":"revoked"}'
        size = len(answer.body)
        assert (await asked(relay, EVENTS, last_event_id=answer.frames[0].id)).status == 404
        assert len(answer.body) == size


async def test_third_failure_in_a_row_at_a_recheck_is_a_no(journal: MemoryJournal):
    calls = count()

    def fails_later(scope: Any, run_id: str) -> bool:
        if next(calls) in (0, 2):
            return True
        raise RuntimeError

    relay = Relay(journal, authorize=fails_later, interrupted_after=1_000)
    async with watching(relay, EVENTS) as answer:
        await anyio.sleep(4 * 60 + 10)
        assert not answer.is_whole
        await anyio.sleep(60)
        assert answer.frames[-1].data == b'{"reason":"revoked"}'
        assert next(calls) == 6


async def test_client_has_no_more_viewers_of_a_run_than_it_may(journal: MemoryJournal):
    relay = Relay(journal, max_per_client=2, random=lambda: 0.5, authorize=everyone)
    async with watching(relay, EVENTS), watching(relay, EVENTS):
        refused = await asked(relay, EVENTS)
        assert (refused.status, refused.headers["content-type"]) == (200, "text/event-stream")
        assert (refused.body, refused.is_whole) == (b"retry: 7500\n\n", True)
        async with watching(relay, EVENTS, client=("10.0.0.7", 1)) as other:
            assert other.frames
        assert (await asked(relay, "/run_tides/events")).events[-1] == "done"
    async with watching(relay, EVENTS) as again:
        assert again.frames


async def test_client_behind_a_proxy_is_who_the_application_says(journal: MemoryJournal):
    def who(scope: Any) -> str:
        return dict(scope["headers"]).get(b"x-user", b"").decode()

    relay = Relay(journal, max_per_client=1, client=who, authorize=everyone)
    async with watching(relay, EVENTS, x_user="ada"), watching(relay, EVENTS, x_user="bob") as bob:
        assert bob.frames
        assert (await asked(relay, EVENTS, x_user="ada")).frames == []


async def test_process_has_no_more_viewers_than_it_may(journal: MemoryJournal):
    relay = Relay(journal, max_viewers=1)
    async with watching(relay, EVENTS):
        assert (await asked(relay, "/run_tides/events")).body.startswith(b"retry: ")
        assert (await asked(relay, "/", accept="text/event-stream")).body.startswith(b"retry: ")
    assert (await asked(relay, "/run_tides/events")).frames


class LostJournal(MemoryJournal):
    """A journal that does not answer."""

    async def runs(self, run_id: str | None = None) -> AsyncIterator[RunInfo]:
        raise JournalFailed("the server of the journal cannot be reached")
        yield

    def watch(self, run_id: str | None = None) -> Any:
        raise JournalFailed("the server of the journal cannot be reached")


@each_row(
    ("path", "accept", "status", "body"),
    [
        ("/", "*/*", 503, b"The runs cannot be read now."),
        ("/", "text/event-stream", 200, b"retry: 1500\n\n"),
        ("/run_sums", "*/*", 503, b"The run cannot be read now."),
        (EVENTS, "*/*", 200, b"retry: 7500\n\n"),
        (f"{EVENTS}?as=view", "text/event-stream", 200, b"retry: 7500\n\n"),
        (f"{EVENTS}?as=ag-ui", "*/*", 503, b"The run cannot be watched now."),
        (f"{EVENTS}?as=ai-sdk", "*/*", 503, b"The run cannot be watched now."),
    ],
)
async def test_browser_comes_back_where_the_journal_does_not_answer(path: str, accept: str, status: int, body: bytes):
    answer = await asked(Relay(LostJournal(), random=lambda: 0.5), path, accept=accept)
    assert (answer.status, answer.body, answer.is_whole) == (status, body, True)


async def test_headers_keep_caches_and_buffers_out(journal: MemoryJournal):
    async with watching(Relay(journal, random=lambda: 0), EVENTS) as answer:
        assert answer.headers == {
            "content-type": "text/event-stream",
            "cache-control": "no-store, no-transform",
            "x-accel-buffering": "no",
            "vary": "origin",
        }
        assert answer.body.startswith(b"retry: 1000\n\n")
    whole = await asked(Relay(journal), "/run_sums")
    assert whole.headers["cache-control"] == "no-store"
    assert whole.headers["x-content-type-options"] == "nosniff"


async def test_ids_and_origins_put_nothing_into_headers_or_fields(journal: MemoryJournal):
    odd_id = "run\r\nx-evil: 1\r\n\r\nid: 7"
    events = [decode_event(Frame(event.name, renamed(event.payload, odd_id))) for event in events_of("sums")[1]]
    await PublishedRun(journal, odd_id, tuple(events)).append(3)
    relay = Relay(journal, authorize=everyone, origins=[APP])
    path = "/run%0D%0Ax-evil%3A%201%0D%0A%0D%0Aid%3A%207"
    async with watching(relay, f"{path}/events", last_event_id="1.1\r\nid: 9", origin=APP) as answer:
        assert answer.status == 200
        assert all("\r" not in value and "\n" not in value for value in answer.headers.values())
        assert {frame.id.partition(".")[2] for frame in answer.frames} == {"", "3"}
    assert (await asked(relay, path)).status == 200


def renamed(payload: bytes, run_id: str) -> bytes:
    return payload.replace(b'"run_sums"', msgspec.json.encode(run_id))


async def test_id_with_a_slash_is_one_segment(journal: MemoryJournal):
    await PublishedRun(journal, "a/events", events_of("sums")[1]).append(1000)
    relay = Relay(journal)
    assert (await asked(relay, "/a%2Fevents")).headers["content-type"] == "application/json"
    assert (await asked(relay, "/a%2Fevents/events")).events[-1] == "done"


@each_row(
    ("path", "given", "status"),
    [
        ("/run_none", {}, 404),
        ("/run_none/events", {}, 404),
        ("/run_sums/steps", {}, 404),
        ("/run_sums/steps/step_none", {}, 404),
        ("/run_none/steps/step_none", {}, 404),
        ("/run_sums/events/more", {}, 404),
        ("/run_sums", {"method": "POST"}, 405),
        ("/run_sums/events", {"method": "DELETE"}, 405),
        ("/run_sums/events?as=morse", {}, 400),
        ("/run_sums?" + "&".join(f"a{n}=1" for n in range(30)), {}, 400),
    ],
)
async def test_what_is_not_there_is_refused(journal: MemoryJournal, path: str, given: Any, status: int):
    assert (await asked(Relay(journal), path, **given)).status == status


async def test_step_is_given_whole_with_the_message_that_it_writes(journal: MemoryJournal):
    whole = msgspec.json.decode((await asked(Relay(journal), "/run_tides")).body)
    steps = list(whole["steps"].values())
    assert len(steps) > 1
    for step in steps:
        answer = await asked(Relay(journal), f"/run_tides/steps/{step['id']}")
        written = step["step_details"].get("message_creation", {}).get("message_id", "")
        assert msgspec.json.decode(answer.body) == {"step": step, "message": whole["messages"].get(written)}
    for name, message in whole["messages"].items():
        answer = await asked(Relay(journal), f"/run_tides/steps/{name}")
        assert msgspec.json.decode(answer.body) == {"step": None, "message": message}


async def test_step_of_a_run_is_for_those_who_may_see_the_run(journal: MemoryJournal):
    relay = Relay(journal, authorize=by_user)
    (step_id, *_) = msgspec.json.decode((await asked(Relay(journal), "/run_tides")).body)["steps"]
    path = f"/run_tides/steps/{step_id}"
    assert [(await asked(relay, path, x_user=user)).status for user in ("bob", "ada")] == [200, 404]
    assert (await asked(relay, f"/run_sums/steps/{step_id}", x_user="ada")).status == 404


async def test_state_says_where_to_go_on(journal: MemoryJournal):
    relay = Relay(journal)
    state = msgspec.json.decode((await asked(relay, "/run_sums")).body)
    assert set(state) == {"run", "steps", "messages", "position", "cursor"}
    assert (state["run"]["id"], state["position"]) == ("run_sums", 5)
    async with watching(relay, f"{EVENTS}?last_event_id={state['cursor']}") as answer:
        assert answer.frames == []


async def test_websockets_are_closed_and_lifespans_answered():
    sent: list[Any] = []
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await Relay(MemoryJournal())({"type": "websocket"}, receive, send)
    await Relay(MemoryJournal())({"type": "lifespan"}, receive, send)
    assert sent == ["websocket.close", "lifespan.startup.complete", "lifespan.shutdown.complete"]
