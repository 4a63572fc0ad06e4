import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from stepstream import Processor, TransportError, replay
from stepstream.sources.files import read_file, read_standard_input
from tests.support.scripted_server import CREATED, DONE
from tests.support.stream_reads import WITHIN


async def read(path: Path | str, size: int) -> list[bytes]:
    return [chunk async for chunk in read_file(path, chunk_size=size)]


async def test_file_is_read_in_chunks_of_at_most_the_size(tmp_path: Path):
    file = tmp_path / "data"
    file.write_bytes(b"abcdefg")
    assert await read(file, 3) == [b"abc", b"def", b"g"]
    assert await read(str(file), 7) == [b"abcdefg"]


async def test_empty_file_has_no_chunk(tmp_path: Path):
    (tmp_path / "empty").touch()
    assert await read(tmp_path / "empty", 3) == []


@pytest.mark.parametrize(
    ("name", "told", "cause"),
    [
        ("nowhere", "No such file or directory", FileNotFoundError),
        (".", "Is a directory", IsADirectoryError),
        ("nul\0", "ValueError", ValueError),
    ],
)
async def test_file_that_cannot_be_read_is_named_when_it_is_read(
    name: Any, told: str, cause: type[Exception], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.chdir(tmp_path)
    chunks, stream = read_file(name), replay(name)
    (tmp_path / "other").touch()  # it may come to be there before it is read
    for reading in (chunks, aiter(stream)):
        with pytest.raises(TransportError) as caught:
            await anext(reading)
        assert str(caught.value) == f"{name}: {told}"
        assert isinstance(caught.value.__cause__, cause)
    async with Processor() as processor:
        with pytest.raises(TransportError, match=told):
            await processor.run(replay(name))


async def test_file_is_closed_where_reading_stops_at_done(tmp_path: Path):
    file = tmp_path / "stream"
    file.write_bytes(CREATED + DONE + CREATED)
    async with Processor() as processor:
        outcome = await processor.run(read_file(file, chunk_size=16))
    assert (outcome.reason, outcome.events) == ("done", 2)  # an open file would be a ResourceWarning, an error here


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.FileIO]:
    """Make standard input a pipe. Yields its other end."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "r") as stdin, open(writing, "wb", buffering=0) as end:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield end


async def test_standard_input_comes_as_it_is_written(pipe: io.FileIO):
    chunks = read_standard_input()
    for data in (b"a", b"bc", CREATED):
        pipe.write(data)
        assert await anext(chunks) == data
    pipe.close()
    assert await anext(chunks, None) is None


async def test_standard_input_comes_in_chunks_of_at_most_the_size(pipe: io.FileIO):
    pipe.write(b"abcdefg")
    pipe.close()
    assert [chunk async for chunk in read_standard_input(chunk_size=3)] == [b"abc", b"def", b"g"]


async def test_waiting_for_standard_input_can_be_cancelled(pipe: io.FileIO):
    chunks = read_standard_input()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anext, chunks)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    pipe.write(CREATED)
    rest = read_standard_input()
    with anyio.fail_after(WITHIN):
        assert await anext(rest) == CREATED  # nobody else took it
    await rest.aclose()


async def test_file_can_be_standard_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    file = tmp_path / "data"
    file.write_bytes(b"abcdefg")
    with file.open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert [chunk async for chunk in read_standard_input(chunk_size=3)] == [b"abc", b"def", b"g"]


async def test_bytes_in_memory_can_be_standard_input(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"abcdefg")))
    assert [chunk async for chunk in read_standard_input(chunk_size=3)] == [b"abc", b"def", b"g"]


# A named pipe


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


async def test_named_pipe_is_read_to_its_end(fifo: Path):
    got: list[bytes] = []

    async def read_all() -> None:
        got.extend([chunk async for chunk in read_file(fifo, chunk_size=3)])

    with anyio.fail_after(WITHIN):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read_all)
            await anyio.to_thread.run_sync(fifo.write_bytes, b"abcdefg")  # waits in its thread for the reader
    assert b"".join(got) == b"abcdefg"
    assert max(map(len, got)) <= 3


async def test_waiting_for_the_writer_of_a_named_pipe_can_be_cancelled(fifo: Path):
    with anyio.move_on_after(0.05) as scope:
        await anext(read_file(fifo))
    assert scope.cancelled_caught
