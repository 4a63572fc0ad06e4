import pytest

from tests.support.scripted_server import CREATED, DONE, Exchange, InTurn, serving, streaming
from tests.support.stream_reads import items, read

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


async def test_http_chunks_that_came_together_are_one():
    async def script(exchange: Exchange) -> None:
        chunks = [b"%x\r\n%b\r\n" % (len(block), block) for block in [CREATED] * 20 + [DONE]]
        await exchange.send(HEAD + b"".join(chunks) + b"0\r\n\r\n")

    async with serving(script) as url:
        assert await items(url, reconnect=False) == [CREATED * 20 + DONE]


@pytest.mark.parametrize("name", ["HTTP_PROXY", "ALL_PROXY"])
async def test_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch, name: str):
    script = InTurn(streaming(CREATED, DONE))
    async with serving(script) as url:
        monkeypatch.delenv("NO_PROXY")
        monkeypatch.setenv(name, url)
        assert await read("http://example.invalid/runs") == CREATED + DONE
    assert [request.target for request in script.requests] == ["http://example.invalid/runs"]
