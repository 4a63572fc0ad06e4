"""The client against a server that nobody here wrote: Microsoft's package for the Responses protocol, in its process.

It brings much with it, and is no part of the extra `test`: `.ci/run` installs it, elsewhere these tests are skipped.
"""

import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from pathlib import Path

import anyio
import httpx
import pytest

from stepstream import Outcome, Processor, ResponsesClient, RunTransition, Toolbox
from stepstream.sources import backoff
from tests.support.json_values import JSON
from tests.support.places import ROOT

HAS_PACKAGE = find_spec("azure.ai") is not None and find_spec("azure.ai.agentserver") is not None

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Async generator 'http:ResourceWarning"),  # httpx drops them half-way
    pytest.mark.skipif(not HAS_PACKAGE, reason="azure-ai-agentserver-responses is not installed"),
]

WORDS = "".join(f"w{number} " for number in range(20))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the server."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    state = tmp_path_factory.mktemp("host")
    environment = {**os.environ, "AGENTSERVER_STATE_ROOT": str(state), "HOME": str(state)}
    command = [sys.executable, "-m", "tests.support.agent_host", str(port)]
    with (
        Path(state, "log").open("wb") as log,
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait_for(port: int) -> None:
    for _ in range(600):
        try:
            httpx.get(f"http://127.0.0.1:{port}/readiness", trust_env=False, timeout=0.1)
        except httpx.TransportError:
            continue
        return
    raise TimeoutError("the server did not start")


class Cutting(httpx.AsyncHTTPTransport):
    """A transport whose first answer to a POST breaks after so many bytes."""

    def __init__(self, after: int | None) -> None:
        super().__init__()
        self.after = after
        self.asked: list[tuple[str, str]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        self.asked.append((request.method, request.url.query.decode()))
        if request.method == "POST" and self.after is not None:
            assert isinstance(response.stream, httpx.AsyncByteStream)
            response.stream, self.after = _Cut(response.stream, self.after), None
        return response


class _Cut(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, after: int) -> None:
        self.stream = stream
        self.left = after

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self.stream:
            yield chunk[: self.left]
            self.left -= len(chunk)
            if self.left <= 0:
                raise httpx.ReadError("cut")

    async def aclose(self) -> None:
        await self.stream.aclose()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "FIRST", 0.01)


def doubling() -> Toolbox:
    tools = Toolbox()

    @tools.function
    async def double(n: int) -> int:
        return 2 * n

    return tools


async def driven(host: str, text: str, *, after: int | None = None, **parameters: object) -> tuple[Outcome, Cutting]:
    transport = Cutting(after)
    async with httpx.AsyncClient(transport=transport) as http, Processor(strict=True) as processor:
        client = ResponsesClient(host, client=http)
        given: JSON = {"input": text, **parameters}
        with anyio.fail_after(30):
            return await client.drive(processor, doubling(), **given), transport


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize(
    ("text", "status", "types", "answer"),
    [
        ("hello", "completed", ["message_creation"], WORDS),
        ("reasoning", "completed", ["reasoning", "message_creation"], WORDS),
        ("tools", "completed", [*["tool_calls"] * 3, "message_creation"], f"{WORDS}0 2 4"),
        ("incomplete", "incomplete", ["message_creation"], WORDS),
        ("crash", "failed", [], ""),
    ],
)
async def test_response_is_told_to_its_end(
    host: str, text: str, status: str, types: list[str], answer: str, background: bool
):
    outcome, _ = await driven(host, text, background=background)
    assert (outcome.status, outcome.text, len(outcome.runs)) == (status, answer, 1)
    assert [step.type for step in outcome.steps.values()] == types
    assert (outcome.anomaly_count, outcome.reconciled) == (0, False)


@pytest.mark.parametrize("after", [2_000, 2_500, 3_000, 4_000, 5_555])
async def test_response_in_the_background_is_resumed(host: str, after: int):
    outcome, transport = await driven(host, "slowly", after=after, background=True)
    assert (outcome.status, outcome.text, outcome.reconciled) == ("completed", WORDS, False)
    assert [method for method, _ in transport.asked] == ["POST", "GET"]
    assert "starting_after=" in transport.asked[1][1]
    assert outcome.anomaly_count == 0


async def test_other_response_is_asked_for(host: str):
    """This server cancels it with its connection."""
    outcome, _ = await driven(host, "slowly", after=3_000)
    assert (outcome.status, outcome.reconciled) == ("cancelled", True)


async def test_response_is_cancelled_and_attached_to(host: str):
    async with httpx.AsyncClient(trust_env=False) as http, Processor() as processor:
        client = ResponsesClient(host, client=http)
        handle = processor.start(client.stream(input="slowly", background=True))
        with anyio.fail_after(30):
            async with processor.subscribe(RunTransition, status="in_progress") as changes:
                response_id = str((await anext(changes)).run_id)
        assert (await client.cancel(response_id))["status"] == "cancelled"
        assert (await handle.outcome()).status == "cancelled"
        [item] = await client.input_items(response_id)
        assert item["content"][0]["text"] == "slowly"
        assert (await client.retrieve(response_id))["status"] == "cancelled"
    async with httpx.AsyncClient(trust_env=False) as http, Processor() as processor:
        again = await processor.run(ResponsesClient(host, client=http).attach(response_id))
    assert again.status == "cancelled"
