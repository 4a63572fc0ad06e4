"""A run in a journal on a server, read by the command line in place of a SOURCE."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from stepstream import FrameDecoder, RedisJournal, publish
from stepstream.fold.accumulator import Accumulator
from stepstream.fold.checkpoint import save_run
from stepstream.live.journal import Checkpoint
from tests.support.journal_contract import BLOCKS, everything, pack, stream
from tests.support.process_lines import next_line
from tests.support.tables import each_row
from tests.support.terminals import WITHIN
from tests.support.valkey import ValkeyProcess, fresh_namespace, valkey

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyProcess]:
    with valkey() as one:
        yield one


@pytest.fixture
def url(server: ValkeyProcess) -> str:
    """The journal of one run, `run_1`."""
    namespace = fresh_namespace()

    async def fill() -> None:
        async with RedisJournal(server.url, namespace=namespace, partitions=2) as journal:
            await publish(stream(), journal)

    anyio.run(fill)
    return f"{server.url}#{namespace}"


def test_cat_writes_the_run(run: Run, url: str):
    got = run("cat", "--journal", url, "--run", "run_1", "--as", "runs")
    assert (got.status, [line["status"] for line in got.lines], got.err) == (0, ["completed"], b"")
    events = run("cat", "--journal", url, "--run", "run_1", "--as", "events")
    assert [line["event"] for line in events.lines][:2] == ["thread.run.created", "thread.run.in_progress"]


def test_watch_writes_its_transitions(run: Run, url: str):
    got = run("watch", "--plain", "--journal", url, "--run", "run_1")
    assert (got.status, "run_1  in_progress → completed" in got.out.decode()) == (0, True)


def test_record_saves_it(run: Run, url: str, tmp_path: Path):
    file = tmp_path / "run.sse"
    assert run("record", "--journal", url, "--run", "run_1", "-o", file).status == 0
    assert b"Fog over the bay" in file.read_bytes()


COMMANDS = [("cat",), ("watch", "--plain"), ("record", "-o", os.devnull)]


@each_row("command", COMMANDS)
def test_status_is_3_where_the_stream_of_the_run_broke(run: Run, server: ValkeyProcess, command: tuple[str, ...]):
    namespace = fresh_namespace()

    async def fill() -> None:
        async with RedisJournal(server.url, namespace=namespace) as journal:
            opened = await journal.open("run_1", writer="a")
            await journal.append(opened, [pack(opened, 1, 3)], status="interrupted", error="it was cut")

    anyio.run(fill)
    got = run(*command, "--journal", f"{server.url}#{namespace}", "--run", "run_1")
    assert (got.status, got.error) == (3, "stepstream: the stream of run run_1 broke: it was cut")


@each_row("command", [*((*one, "--run", "run_1") for one in COMMANDS), ("dead-letters", "list", "--group", "bots")])
def test_status_is_6_where_the_server_of_the_journal_does_not_answer(run: Run, command: tuple[str, ...]):
    got = run(*command, "--journal", "redis://127.0.0.1:1")
    assert (got.status, got.error) == (6, "stepstream: no connection to 127.0.0.1:1")


def test_checkpoint_is_told_by_its_events(run: Run, server: ValkeyProcess):
    """It is what is left of a run whose events the server has lost."""
    namespace, accumulator = fresh_namespace(), Accumulator()
    for frame in FrameDecoder().feed(b"".join(BLOCKS)):
        accumulator.apply_frame(frame)

    async def fill() -> None:
        async with RedisJournal(server.url, namespace=namespace, partitions=2) as journal:
            opened = await journal.open("run_1", writer="a")
            count = len(BLOCKS)
            checkpoint = Checkpoint(opened.fence, count, save_run(accumulator.stream, "run_1"))
            await journal.append(opened, [pack(opened, 1, count), checkpoint])
            assert await everything(journal)
            server.ask(b"FLUSHALL")
            await journal.append(opened, status="ended")
            assert await everything(journal) == [checkpoint]

    anyio.run(fill)
    got = run("cat", "--journal", f"{server.url}#{namespace}", "--run", "run_1", "--as", "messages")
    assert (got.status, got.lines[0]["content"][0]["text"]["value"]) == (0, "Fog over the bay")


def test_run_that_is_not_there_yet_is_waited_for_and_that_is_said(
    process: Callable[..., subprocess.Popen[bytes]], server: ValkeyProcess, tmp_path: Path
):
    namespace = fresh_namespace()
    asked = "--journal", f"{server.url}#{namespace}", "--run", "run_1"
    waiting = [process("cat", *asked), process("watch", *asked), process("record", *asked, "-o", tmp_path / "run.sse")]
    told = [next_line(one.stderr) for one in waiting]
    assert told == [b"stepstream: run run_1 is not in the journal yet: waiting for it\n"] * 3

    async def fill() -> None:
        async with RedisJournal(server.url, namespace=namespace) as journal:
            await publish(stream(), journal)

    anyio.run(fill)
    ends = [(one.communicate(timeout=WITHIN)[1], one.returncode) for one in waiting]
    assert ends == [(b"", 0)] * 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["cat"],
        ["cat", "x.sse", "--journal", "redis://127.0.0.1", "--run", "run_1"],
        ["cat", "--journal", "redis://127.0.0.1"],
        ["cat", "--journal", "redis://:secret@127.0.0.1", "--run", "run_1"],
        ["watch", "--journal", "redis://user:secret/word@127.0.0.1", "--run", "run_1"],
        ["record", "--journal", "redis://127.0.0.1:9x", "--run", "run_1", "-o", "x"],
        ["cat", "--journal", "redis://", "--run", "run_1"],
        ["check", "--journal", "redis://127.0.0.1/zz", "--run", "run_1"],
        ["serve", "--journal", "redis://:secret@127.0.0.1", "--port", "0"],
        ["work", "json:dumps", "--journal", "redis://:secret@127.0.0.1", "--group", "bots"],
        ["dead-letters", "list", "--journal", "redis://:secret@127.0.0.1", "--group", "bots"],
        ["cat", "x.sse", "--run", "run_1"],
        ["cat", "--journal", "http://127.0.0.1", "--run", "run_1"],
        ["record", "--journal", "redis://127.0.0.1", "--run", "run_1", "--method", "GET", "-o", "x"],
    ],
)
def test_journal_and_run_go_together(run: Run, arguments: list[str]):
    got = run(*arguments)
    assert (got.status, got.out, b"secret" in got.err) == (2, b"", False)
