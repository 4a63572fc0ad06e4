"""The workers that are killed: each effect is there once."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from stepstream import RedisJournal
from tests.recipes.test_recipes import RECIPES
from tests.support.valkey import valkey
from tests.support.worked_runs import published

RECIPE = "work_once"
RUNS = [f"run_{number}" for number in range(30)]
WITHIN = 30


@contextmanager
def worker(url: str, database: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the recipe in a process of its own, until it is killed."""
    command = [sys.executable, "-m", "stepstream", "work", f"{RECIPE}:setup", "--journal", url, "--group", "ledger"]
    environment = {**os.environ, "DATABASE": str(database)}
    with subprocess.Popen(
        [*command, "--lease", "0.6", "--max-runs", "20"], cwd=RECIPES[RECIPE].parent, env=environment
    ) as running:
        try:
            yield running
        finally:
            running.send_signal(signal.SIGKILL)


def booked(database: Path) -> dict[str, int]:
    try:
        with closing(sqlite3.connect(database, timeout=30)) as connection:
            return dict(connection.execute("select run, steps from ledger").fetchall())
    except sqlite3.OperationalError:  # it is not made yet
        return {}


def until(is_so: Callable[[], Any]) -> None:
    end = time.monotonic() + WITHIN
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_workers_that_are_killed_make_each_effect_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    database = tmp_path / "ledger.sqlite"

    async def publish(url: str) -> None:
        async with RedisJournal(url) as journal:
            await published(journal, *RUNS)

    with valkey() as server:
        anyio.run(publish, server.url)
        with worker(server.url, database):
            until(lambda: booked(database))
        with worker(server.url, database):
            until(lambda: sum(booked(database).values()) == 2 * len(RUNS))
    assert booked(database) == dict.fromkeys(RUNS, 2)
