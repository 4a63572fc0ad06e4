"""Whom a client asks and as whom."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from stepstream import Processor, RunsClient, TransportError, connect
from stepstream.client.endpoint import Endpoint
from tests.support.tables import each_row

BETA = {"OpenAI-Beta": "assistants=v2"}


def endpoint(base_url: str = "https://peer/v1", **options: Any) -> Endpoint:
    given = {
        "api_key": None,
        "auth": "bearer",
        "api_version": None,
        "default_headers": {},
        "own_headers": BETA,
        **options,
    }
    return Endpoint(base_url=base_url, **given)


@each_row(
    ("base_url", "url"),
    [
        ("https://peer", "https://peer/threads/t/runs"),
        ("https://peer/", "https://peer/threads/t/runs"),
        ("https://peer/v1", "https://peer/v1/threads/t/runs"),
        ("https://peer/api/projects/p/", "https://peer/api/projects/p/threads/t/runs"),
        ("https://peer/v1?tenant=a", "https://peer/v1/threads/t/runs?tenant=a"),
        ("https://peer/v1/?tenant=a&b=%20#top", "https://peer/v1/threads/t/runs?tenant=a&b=%20"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1/threads/t/runs"),
    ],
)
def test_path_is_added_to_that_of_the_base_url(base_url: str, url: str):
    assert endpoint(base_url).url("threads", "t", "runs") == url


def test_query_has_that_of_the_base_url_then_the_version_then_its_own():
    known = endpoint("https://peer/v1?tenant=a", api_version="2025-05-01")
    query = [("include[]", "a b"), ("include[]", "c")]
    assert known.url("threads", query=query) == (
        "https://peer/v1/threads?tenant=a&api-version=2025-05-01&include%5B%5D=a+b&include%5B%5D=c"
    )


@each_row(
    ("part", "quoted"),
    [("thread_1", "thread_1"), ("a/b", "a%2Fb"), ("a?b#c", "a%3Fb%23c"), ("a b", "a%20b"), ("å", "%C3%A5"),
     ("%2e", "%252e"), ("../runs", "..%2Fruns"), ("...", "...")],
)  # fmt: skip
def test_ids_are_quoted(part: str, quoted: str):
    assert endpoint().url("threads", part) == f"https://peer/v1/threads/{quoted}"


@each_row("part", ["", ".", ".."])
def test_what_would_lead_elsewhere_is_no_id(part: str):
    with pytest.raises(ValueError, match="expected an id, got"):
        endpoint().url("threads", part, "runs")


@each_row(
    ("options", "headers"),
    [
        ({}, {}),
        ({"api_key": "k"}, {"Authorization": "Bearer k"}),
        ({"api_key": "k", "auth": "api-key"}, {"api-key": "k"}),
        ({"api_key": "k", "default_headers": {"x-a": "b"}}, {"Authorization": "Bearer k", "x-a": "b"}),
        ({"api_key": "k", "default_headers": {"authorization": "Basic x"}}, {"authorization": "Basic x"}),
        ({"api_key": "k", "auth": "api-key", "default_headers": {"API-Key": "x"}}, {"API-Key": "x"}),
    ],
)
async def test_headers_have_the_key_unless_they_are_given(options: dict[str, Any], headers: dict[str, str]):
    assert await endpoint(**options).headers() == {**BETA, **headers}


async def test_beta_header_can_be_replaced():
    known = endpoint(default_headers={"openai-beta": "assistants=v3"})
    assert await known.headers() == {"openai-beta": "assistants=v3"}


async def test_caller_keeps_its_headers():
    headers = {"x-a": "b"}
    client = RunsClient("http://peer", api_key="k", headers=headers)
    headers["x-a"] = "c"
    assert (await client._endpoint.headers())["x-a"] == "b"


def tokens() -> Iterator[str]:
    return (f"token_{number}" for number in count(1))


async def test_callable_gives_a_fresh_key_for_each_request():
    for auth, name, prefix in (("bearer", "Authorization", "Bearer "), ("api-key", "api-key", "")):
        sync, later = tokens(), tokens()

        async def fetch(later: Iterator[str] = later) -> str:
            return next(later)

        for key in (lambda sync=sync: next(sync), fetch):
            known = endpoint(api_key=key, auth=auth)
            assert [(await known.headers())[name] for _ in range(2)] == [f"{prefix}token_1", f"{prefix}token_2"]


def failing() -> str:
    raise RuntimeError("s3cret")


@each_row(
    ("given", "told"),
    [
        (failing, "the function given as api_key failed with RuntimeError"),
        (lambda: 5, "expected a string of the function given as api_key, got int"),
        (lambda: "s3cret\n", "expected a key in printable ASCII of the function given as api_key, no space around it"),
        (lambda: "", "expected a key in printable ASCII of the function given as api_key, no space around it"),
    ],
)
async def test_callable_that_gives_no_key_is_told_by_its_option(given: Any, told: str):
    with pytest.raises(TransportError, match=f"^{told}$"):
        await endpoint(api_key=given).headers()
    async with Processor() as processor:
        with pytest.raises(TransportError, match=f"^{told}$"):
            await processor.run(connect("http://127.0.0.1:1", api_key=given))


@each_row(
    ("options", "name"),
    [
        ({"api_key": "k"}, "Authorization"),
        ({"api_key": "k", "api_version": "2025-05-01"}, "api-key"),
        ({"api_key": "k", "api_version": "2025-05-01", "auth": "bearer"}, "Authorization"),
        ({"api_key": "k", "auth": "api-key"}, "api-key"),
        ({"api_key": lambda: "k", "api_version": "2025-05-01"}, "Authorization"),
    ],
)
async def test_key_is_sent_as_azure_wants_it_where_there_is_a_version(options: dict[str, Any], name: str):
    headers = await RunsClient("http://peer", **options)._endpoint.headers()
    assert {"Authorization", "api-key"} & headers.keys() == {name}


@each_row("make", [lambda url: endpoint(url), lambda url: RunsClient(url, api_key="secret-key")])
def test_repr_has_neither_key_nor_query_nor_password(make: Callable[[str], object]):
    shown = repr(make("https://user:secret@peer/v1?sig=secret#secret"))
    assert shown.endswith("https://peer/v1>>" if "Runs" in shown else "https://peer/v1>")
    assert "secret" not in shown


@each_row(
    "options",
    [
        {"api_key": "secret\n"},
        {"api_key": "sécret"},
        {"api_key": "secret\n", "auth": "api-key"},
        {"headers": {"x-a": "secret\r\nx-b: c"}},
        {"auth": "basic"},
        {"attempts": 0},
    ],
)
def test_what_cannot_be_sent_is_refused_at_once_and_not_quoted(options: dict[str, Any]):
    with pytest.raises(ValueError, match="expected") as caught:
        RunsClient("http://peer", **options)
    assert "secret" not in str(caught.value)
