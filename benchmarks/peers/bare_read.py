"""A floor over HTTP: a socket is read to its end and nothing is looked at. It shows how fast the server is."""

from typing import Final
from urllib.parse import urlsplit

import anyio

from benchmarks.writer import Workload

PACKAGES: Final = ()


def connect_to(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


async def run(address: tuple[str, int]) -> list[bytes]:
    async with await anyio.connect_tcp(*address) as stream:
        await stream.send(b"GET / HTTP/1.1\r\nhost: bench\r\n\r\n")
        return [chunk async for chunk in stream]


def check(load: Workload, received: list[bytes]) -> int:
    _, _, body = b"".join(received).partition(b"\r\n\r\n")
    assert body == b"".join(b"%x\r\n%b\r\n" % (len(block), block) for block in load.blocks) + b"0\r\n\r\n"
    return len(load.events)
