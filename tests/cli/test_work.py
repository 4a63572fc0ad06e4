"""A worker from the command line, and the dead letters of its group."""

import os
import pty
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from stepstream import Processor, RedisJournal
from stepstream.cli.work import _set_up
from tests.support.tables import each_row
from tests.support.valkey import ValkeyProcess, fresh_namespace, until, valkey
from tests.support.worked_runs import dead_letters, published

Run = Callable[..., Any]

HOOKS = """
import os
from stepstream import RunTransition

def setup(processor):
    @processor.on(RunTransition, terminal=True)
    async def hook(change):
        if change.run_id == "run_2":
            raise OSError("no")
        print(change.key, flush=True)

async def setup_later(processor):
    setup(processor)

def setup_dies(processor):
    @processor.on(RunTransition, terminal=True)
    async def hook(change):
        if change.run_id == "run_7":
            os._exit(9)
        print(change.run_id, flush=True)

def setup_nothing(processor):
    pass

def setup_fails(processor):
    raise KeyError("DATABASE")

async def setup_fails_later(processor):
    setup_fails(processor)

number = 1
"""


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyProcess]:
    with valkey() as one:
        yield one


@pytest.fixture
def hooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in the current directory."""
    name = f"hooks_{fresh_namespace().replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(HOOKS)
    (tmp_path / "broken.py").write_text("import there_is_no_such_module")
    monkeypatch.chdir(tmp_path)
    return name


def in_journal(url: str, namespace: str, use: Callable[[RedisJournal], Any]) -> Any:
    async def used() -> Any:
        async with RedisJournal(url, namespace=namespace, partitions=2) as journal:
            return await use(journal)

    return anyio.run(used)


@each_row(
    ("target", "message"),
    [
        ("hooks", "expected MODULE:FUNCTION, got 'hooks'"),
        ("there.is:none", "there is no module 'there.is'"),
        ("HOOKS:nothing", "the module 'HOOKS' has no 'nothing'"),
        ("HOOKS:number", "expected HOOKS:number to be a function of a processor, got int"),
        ("HOOKS:setup_nothing", "expected HOOKS:setup_nothing to register subscribers, and it registered none"),
    ],
)
def test_wrong_function_is_named(run: Run, server: ValkeyProcess, hooks: str, target: str, message: str):
    got = run("work", target.replace("HOOKS", hooks), "--journal", server.url, "--group", "bots")
    assert (got.status, got.error) == (2, f"stepstream: {message.replace('HOOKS', hooks)}")


@each_row(
    ("target", "message"),
    [
        ("broken:setup", "importing 'broken' raised ModuleNotFoundError: No module named 'there_is_no_such_module'"),
        ("HOOKS:setup_fails", "setup_fails raised KeyError: 'DATABASE'"),
        ("HOOKS:setup_fails_later", "setup_fails_later raised KeyError: 'DATABASE'"),
    ],
)
def test_what_a_function_or_its_module_raises_is_said_to_be_theirs(
    run: Run, server: ValkeyProcess, hooks: str, target: str, message: str
):
    got = run("work", target.replace("HOOKS", hooks), "--journal", server.url, "--group", "bots")
    assert (got.status, got.error) == (1, f"stepstream: {message}")


@each_row(
    ("options", "message"),
    [
        (["--journal", "http://x", "--group", "bots"], "--journal: expected redis://"),
        (["--journal", "redis://127.0.0.1", "--group", "bots", "--lease", "0"], "expected seconds from 0.05"),
        (["--journal", "redis://127.0.0.1", "--group", "bots", "--max-runs", "0"], "expected a number of at least 1"),
        (["--journal", "redis://127.0.0.1"], "--group"),
    ],
)
def test_wrong_option_is_named(run: Run, hooks: str, options: list[str], message: str):
    got = run("work", f"{hooks}:setup", *options)
    assert got.status == 2
    assert message in got.error


@each_row("function", ["setup", "setup_later"])
def test_worker_works_until_it_is_told_to_stop(
    process: Callable[..., subprocess.Popen[bytes]], run: Run, server: ValkeyProcess, hooks: str, function: str
):
    namespace = fresh_namespace()
    url = f"{server.url}#{namespace}"
    in_journal(server.url, namespace, lambda journal: published(journal, "run_2", "run_1"))
    worker = process("work", f"{hooks}:{function}", "--journal", url, "--group", "bots", "--lease", "2")
    assert worker.stdout is not None
    assert worker.stderr is not None
    assert worker.stdout.readline() == b"run_1/run/completed\n"
    assert worker.stderr.readline().startswith(b"stepstream: works for bots as ")
    until(lambda: bool(in_journal(server.url, namespace, dead_letters)), limit=60)
    letters = in_journal(server.url, namespace, dead_letters)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    got = run("dead-letters", "list", "--journal", url, "--group", "bots")
    assert [(line["key"], line["reason"], line["id"]) for line in got.lines] == [
        ("run_2/run/completed", "OSError", letters[0].id)
    ]
    assert got.lines[0]["change"]["status"] == "completed"
    asked = "--journal", url, "--group", "bots"
    assert run("dead-letters", "resend", letters[0].id, *asked) == (0, b"", b"")
    assert len(run("dead-letters", "list", *asked).lines) == 1  # until it is dealt with
    assert run("dead-letters", "drop", letters[0].id, *asked) == (0, b"", b"")
    assert run("dead-letters", "list", *asked) == (0, b"", b"")
    for action in ("drop", "resend", "list"):
        got = run("dead-letters", action, letters[0].id, *asked)
        assert (got.status, got.error) == (1, f"stepstream: there is no dead letter {letters[0].id}")


@each_row("action", [("list",), ("list", "0-1"), ("resend", "0-1"), ("drop", "0-1")])
def test_group_that_there_is_not_is_said(run: Callable[..., Any], server: ValkeyProcess, action: tuple[str, ...]):
    namespace = fresh_namespace()
    in_journal(server.url, namespace, lambda journal: published(journal, "run_1"))
    got = run("dead-letters", *action, "--journal", f"{server.url}#{namespace}", "--group", "bost")
    assert (got.status, got.out, got.error) == (1, b"", "stepstream: there is no group bost in this journal")


@pytest.mark.slow
def test_run_that_ends_its_workers_takes_no_other_into_the_dead_letters(
    process: Callable[..., subprocess.Popen[bytes]], server: ValkeyProcess, hooks: str
):
    namespace, runs = fresh_namespace(), [f"run_{number}" for number in range(12)]
    in_journal(server.url, namespace, lambda journal: published(journal, *runs))
    asked = "--journal", f"{server.url}#{namespace}", "--group", "bots", "--lease", "1"
    done, deaths, letters = set[str](), 0, list[Any]()
    while not letters:
        assert deaths < 30
        worker = process("work", f"{hooks}:setup_dies", *asked)
        until(
            lambda worker=worker: worker.poll() is not None or in_journal(server.url, namespace, dead_letters), limit=60
        )
        letters = in_journal(server.url, namespace, dead_letters)
        if letters:
            worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == (0 if letters else 9)
        deaths += not letters
        assert worker.stdout is not None
        done |= set(worker.stdout.read().decode().split())
    assert [(one.run_id, one.reason) for one in letters] == [("run_7", "taken over 5 times without progress")]
    assert done == {*runs} - {"run_7"}


def test_list_is_a_table_on_a_terminal(server: ValkeyProcess, monkeypatch: pytest.MonkeyPatch):
    from stepstream.cli import dead_letters as command
    from stepstream.workers.dead_letters import DeadLetter

    whole: Any = {"id": "1-ab", "run_id": "run_\x1b1", "subscriber": "hook", "key": "k" * 50, "reason": "KeyError"}
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as terminal:
        monkeypatch.setattr("sys.stdout", terminal)
        command._list([DeadLetter(**whole, position=7, time=0)])
        shown = b""
        while shown.count(b"\n") < 2:
            shown += os.read(leader, 4_000)
    os.close(leader)
    assert shown.decode().splitlines() == [
        "id    time                  run_id  subscriber  key" + " " * 37 + "  position  reason",
        "1-ab  1970-01-01 00:00:00Z  run_\\u001b1  hook        " + "k" * 39 + "…  7         KeyError",
    ]


async def test_function_may_hold_what_its_subscribers_need():
    """A plain function, an async one, or an async context manager around all work."""
    told: list[str] = []

    def plain(processor: Processor) -> None:
        told.append("plain")

    async def later(processor: Processor) -> None:
        told.append("later")

    @asynccontextmanager
    async def around(processor: Processor) -> AsyncIterator[None]:
        told.append("opened")
        yield
        told.append("closed")

    for setup in (plain, later, around):
        async with _set_up(setup, Processor()):
            told.append("works")
    assert told == ["plain", "works", "later", "works", "opened", "works", "closed"]
