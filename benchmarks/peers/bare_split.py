"""A floor: the bytes are split into events at their blank lines and nothing is read."""

from typing import Final

from benchmarks.writer import Workload

PACKAGES: Final = ()


def prepare(load: Workload) -> tuple[bytes, ...]:
    return load.chunks


async def run(chunks: tuple[bytes, ...]) -> int:
    count, rest = 0, b""
    for chunk in chunks:
        *blocks, rest = (rest + chunk).split(b"\n\n")
        count += len(blocks)
    return count


def check(load: Workload, count: int) -> int:
    assert count == b"".join(load.blocks).count(b"\n\n")
    return len(load.events)
