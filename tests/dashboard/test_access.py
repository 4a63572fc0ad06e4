"""Who is let in: this machine, or who has the token; no page of another site in either case."""

import hashlib
from functools import cache
from typing import Any

import anyio
import msgspec
import pytest

from stepstream import MemoryJournal
from stepstream.dashboard import Dashboard
from stepstream.dashboard.access import MAX_BEARERS, MAX_LOGINS
from stepstream.dashboard.sessions import LASTS
from tests.dashboard.test_ingest import BODY
from tests.support.relay_requests import Answer, asked, watching
from tests.support.tables import each_row
from tests.support.uploads import sent

TOKEN = "correct-horse-battery"
READ = ("/list", "/runs/", "/runs/run_1", "/runs/run_1/events")
OPEN = ("/", "/page.js", "/page.css", "/healthz")


slowly_made = cache(hashlib.scrypt)


@pytest.fixture(autouse=True)
def _key_of_a_token_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made slowly, so that nobody finds the token out."""
    monkeypatch.setattr(hashlib, "scrypt", slowly_made)


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def guarded(clock: Clock | None = None) -> Dashboard:
    return Dashboard(MemoryJournal(), TOKEN, clock=clock or Clock())


async def statuses(application: Any, paths: Any = READ, **given: Any) -> set[int]:
    found = {(await asked(application, path, **given)).status for path in paths}
    return found | {(await sent(application, [BODY], **given)).status}


# Without a token


@each_row(
    "given",
    [
        {"client": ("192.0.2.7", 5000)},
        {"client": ("::ffff:192.0.2.7", 5000)},
        {"client": None},
        {"host": "rebound.example"},
        {"host": "rebound.example@localhost"},
        {"host": "rebound.example:8700"},
        {"host": "localhost.example"},
        {"host": "127.0.0.1.example"},
        {"host": ""},
        {"host": "127.0.0.1,rebound.example"},
        {"x_forwarded_for": "127.0.0.1"},
        {"forwarded": "for=127.0.0.1"},
        {"x_real_ip": "127.0.0.1"},
        {"via": "1.1 proxy"},
        {"cf_connecting_ip": "192.0.2.7"},
    ],
)
async def test_without_a_token_only_this_machine_is_served(given: dict[str, Any]):
    assert await statuses(Dashboard(MemoryJournal()), (*READ, *OPEN), **given) == {403}


CROSS = [
    {"origin": "https://elsewhere.example"},
    {"origin": "http://localhost:3000"},
    {"origin": "null"},
    {"sec_fetch_site": "cross-site"},
    {"sec_fetch_site": "same-site"},
    {"sec_fetch_site": "cross-site", "origin": "http://localhost:8000"},
    {"sec_fetch_site": "anything"},
]


@each_row("given", CROSS)
async def test_page_of_another_site_may_not_ask(given: dict[str, str]):
    assert await statuses(Dashboard(MemoryJournal()), (*READ, "/healthz"), **given) == {403}
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert await statuses(guarded(), (*READ, "/healthz"), **given, **bearer) == {403}
    login = await sent(guarded(), [b"token=" + TOKEN.encode()], "/login", **given)
    assert (login.status, "set-cookie" in login.headers) == (403, False)


@each_row("given", [{"origin": "http://localhost:8000", "sec_fetch_site": "same-origin"}, {}])
async def test_own_page_and_programs_may_ask(given: dict[str, str]):
    dashboard = Dashboard(MemoryJournal())
    assert (await sent(dashboard, [BODY], **given)).status == 200
    assert await statuses(dashboard, ("/list", "/runs/", "/runs/run_1"), **given) == {200}


async def test_page_may_be_opened_by_a_link_of_another_site():
    answer = await asked(Dashboard(MemoryJournal()), "/", sec_fetch_site="cross-site", sec_fetch_mode="navigate")
    assert answer.status == 200


async def test_nobody_logs_in_where_there_is_no_token():
    dashboard = Dashboard(MemoryJournal())
    assert {(await sent(dashboard, [b"token="], path)).status for path in ("/login", "/logout")} == {404}


# With a token


async def test_with_a_token_strangers_see_the_page_and_nothing_else():
    dashboard = guarded()
    assert await statuses(dashboard) == {401}
    assert {(await asked(dashboard, path, client=("192.0.2.7", 1))).status for path in OPEN} == {200}
    assert (await asked(dashboard, "/list")).headers["www-authenticate"] == "Bearer"


@each_row("given", [TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "", "\u00fc" * 30, "a" * 4_000])
async def test_wrong_token_lets_nobody_in(given: str):
    answer = await asked(guarded(), "/list", authorization=f"Bearer {given}".encode().decode("latin-1"))
    assert answer.status == 401
    assert (await sent(guarded(), [f"token={given}".encode()], "/login")).status == 401


@each_row("scheme", ["Bearer", "bearer", "BEARER"])
async def test_program_sends_the_token_as_a_bearer(scheme: str):
    given = {"authorization": f"{scheme} {TOKEN}", "host": "runs.example", "client": ("192.0.2.7", 5000)}
    answer = await sent(guarded(), [BODY], **given)
    assert answer.status == 200


async def logged_in(dashboard: Dashboard, **given: Any) -> tuple[Answer, str]:
    """Log in, and return the answer and what a browser sends from then on."""
    body = [msgspec.json.encode({"token": TOKEN})]
    answer = await sent(dashboard, body, "/login", **{"content_type": "application/json", **given})
    return answer, answer.headers.get("set-cookie", "").partition(";")[0]


@each_row(
    ("content_type", "body"),
    [
        ("application/json", msgspec.json.encode({"token": TOKEN})),
        ("application/json; charset=utf-8", b'{"token": "correct-horse-battery", "more": 1}'),
        ("application/x-www-form-urlencoded", b"token=correct-horse-battery"),
        ("application/x-www-form-urlencoded", b"a=1&token=correct-horse%2Dbattery"),
    ],
)
async def test_page_logs_in_to_a_cookie(content_type: str, body: bytes):
    dashboard = guarded()
    answer = await sent(dashboard, [body], "/login", content_type=content_type)
    cookie, *flags = answer.headers["set-cookie"].split("; ")
    assert (answer.status, answer.body) == (204, b"")
    assert sorted(flags) == ["HttpOnly", f"Max-Age={LASTS}", "Path=/", "SameSite=Strict"]
    assert TOKEN not in answer.headers["set-cookie"]
    assert await statuses(dashboard, ("/list", "/runs/"), cookie=f"theme=dark; {cookie}; x") == {200}


@each_row(
    ("content_type", "body"),
    [
        ("application/json", b"{"),
        ("application/json", b'{"token": 1}'),
        ("application/json", b'["token"]'),
        ("application/json", b"\xff"),
        ("text/plain", b"\xff\xfe"),
        ("application/x-www-form-urlencoded", b"&".join([b"a=1"] * 2_00)),
        ("application/x-www-form-urlencoded", b"token"),
        ("", b""),
    ],
)
async def test_login_that_gives_no_token_is_a_wrong_one(content_type: str, body: bytes):
    assert (await sent(guarded(), [body], "/login", content_type=content_type)).status == 401


async def test_login_with_a_long_body_is_refused():
    assert (await sent(guarded(), [b"token=" + b"x" * 10_000], "/login")).status == 413


@each_row("given", [{"x_forwarded_proto": "https"}, {"scheme": "https"}])
async def test_cookie_is_for_https_where_it_was_asked_by_it(given: dict[str, str]):
    dashboard = guarded()
    if "scheme" in given:
        dashboard = _over_https(dashboard)
        given = {}
    answer, _ = await logged_in(dashboard, **given)
    assert answer.headers["set-cookie"].endswith("; Secure")


def _over_https(application: Any) -> Any:
    async def asked_by_https(scope: Any, receive: Any, send: Any) -> None:
        await application({**scope, "scheme": "https"}, receive, send)

    return asked_by_https


async def test_session_ends_with_its_time():
    clock = Clock()
    dashboard = guarded(clock)
    _, cookie = await logged_in(dashboard)
    clock.now += LASTS - 1
    before = (await asked(dashboard, "/list", cookie=cookie)).status
    clock.now += 1
    after = (await asked(dashboard, "/list", cookie=cookie)).status
    assert (before, after) == (200, 401)


async def test_session_outlasts_a_restart_and_ends_with_the_token():
    _, cookie = await logged_in(guarded())
    other = Dashboard(MemoryJournal(), "another-token-altogether", clock=Clock())
    assert (await asked(guarded(), "/list", cookie=cookie)).status == 200
    assert (await asked(other, "/list", cookie=cookie)).status == 401


async def test_logout_ends_the_session():
    dashboard = guarded()
    _, cookie = await logged_in(dashboard)
    answer = await sent(dashboard, [], "/logout", cookie=cookie)
    assert (answer.status, "Max-Age=0" in answer.headers["set-cookie"]) == (204, True)
    assert (await asked(dashboard, "/list", cookie=cookie)).status == 401


@each_row("place", range(0, 90, 7))
async def test_session_that_was_changed_is_none(place: int):
    dashboard = guarded()
    _, cookie = await logged_in(dashboard)
    name, _, value = cookie.partition("=")
    at = place % len(value)
    changed = value[:at] + ("0" if value[at] != "0" else "1") + value[at + 1 :]
    assert (await asked(dashboard, "/list", cookie=f"{name}={changed}")).status == 401


async def test_viewer_is_sent_away_when_the_session_has_ended(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stepstream.relay.serving.RECHECK", 0)
    clock = Clock()
    dashboard = guarded(clock)
    bearer = {"authorization": f"Bearer {TOKEN}"}
    body = BODY[: BODY.index(b"event: done")].replace(b"completed", b"in_progress")
    await sent(dashboard, [body], **bearer)
    _, cookie = await logged_in(dashboard)
    assert (await asked(dashboard, "/runs/run_1", cookie=cookie)).status == 200
    clock.now += LASTS
    assert (await asked(dashboard, "/runs/run_1", cookie=cookie)).status == 401


@each_row(
    ("most", "attempt"),
    [
        (MAX_LOGINS, lambda dashboard, token, who: sent(dashboard, [b"token=" + token], "/login", client=who)),
        (
            MAX_BEARERS,
            lambda dashboard, token, who: asked(
                dashboard, "/list", client=who, authorization=f"Bearer {token.decode()}"
            ),
        ),
    ],
    ids=["login", "bearer"],
)
async def test_many_wrong_tokens_are_not_looked_at_for_a_minute(most: int, attempt: Any):
    clock = Clock()
    dashboard, right = guarded(clock), TOKEN.encode()
    found = [(await attempt(dashboard, b"wrong", ("192.0.2.7", 1))).status for _ in range(most + 1)]
    refused = await attempt(dashboard, right, ("192.0.2.7", 1))
    other = await attempt(dashboard, right, ("192.0.2.8", 1))
    clock.now += 61
    later = await attempt(dashboard, right, ("192.0.2.7", 1))
    assert found == [401] * most + [429]
    assert (refused.status, refused.headers["retry-after"]) == (429, "60")
    assert {other.status, later.status} <= {200, 204}


@each_row("token", ["", "short", "x" * 15, "with space " * 4, "\u00fc" * 20, "new\nline" * 4])
def test_token_that_is_none_is_refused_and_not_quoted(token: str):
    with pytest.raises(ValueError, match="at least 16 ASCII characters") as refused:
        Dashboard(MemoryJournal(), token)
    assert not token or token not in str(refused.value)


async def test_token_is_in_no_repr():
    dashboard = guarded()
    _, cookie = await logged_in(dashboard)
    shown = " ".join(map(repr, [dashboard, dashboard._access, dashboard._access.sessions, dashboard._ingests]))
    assert TOKEN not in shown
    assert cookie.partition("=")[2] not in shown
    assert repr(dashboard).startswith("<Dashboard for <Access of who has the token>: ")


async def test_viewer_of_the_list_is_sent_away_when_the_session_has_ended(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stepstream.dashboard.list_stream.RECHECK", 0)
    clock = Clock()
    dashboard = guarded(clock)
    _, cookie = await logged_in(dashboard)
    async with watching(dashboard, "/list", accept="text/event-stream", cookie=cookie) as answer:
        clock.now += LASTS
        await sent(dashboard, [BODY], authorization=f"Bearer {TOKEN}")
        with anyio.fail_after(10):
            while not answer.is_whole:
                await anyio.lowlevel.checkpoint()
    assert [frame.event for frame in answer.frames] == ["stepstream.runs"]


# All answers


@each_row("path", [*READ, *OPEN, "/nowhere", "/ingest", "/login"])
async def test_every_answer_carries_the_headers_that_keep_pages_safe(path: str):
    for dashboard in (Dashboard(MemoryJournal()), guarded()):
        async with watching(dashboard, path) as answer:
            headers = answer.headers
        assert headers["content-security-policy"].startswith("default-src 'self'; frame-ancestors 'none'")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-frame-options"] == "DENY"


async def test_preflight_of_another_site_allows_nothing():
    asked_for = {"access_control_request_method": "POST", "access_control_request_headers": "content-type"}
    answer = await asked(
        Dashboard(MemoryJournal()), "/ingest", method="OPTIONS", origin="https://elsewhere.example", **asked_for
    )
    assert answer.status in (403, 405)
    assert not [name for name in answer.headers if name.startswith("access-control")]
