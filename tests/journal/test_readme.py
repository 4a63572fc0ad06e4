"""What the README of the room shows is run, and its journal is held to the contract."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.journal_contract import JournalContract
from tests.support.places import ROOT
from tests.support.virtual_time import anyio_backend

__all__ = ["anyio_backend"]  # looking for news twenty times a second, in time that jumps

TEXT = (ROOT / "src" / "stepstream" / "journal" / "README.md").read_text(encoding="utf-8")
EXAMPLE, SQLITE = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_example_follows_what_it_published(capsys: pytest.CaptureFixture[str]):
    exec(compile(EXAMPLE, "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "1 run_1/run/queued", "2 run_1/run/in_progress", "3 run_1/run/completed", "completed [('run_1', 'ended', 3)]",
    ]  # fmt: skip


def test_journal_of_ones_own_is_short():
    assert len([line for line in SQLITE.splitlines() if line]) <= 75


class TestSQLiteJournal(JournalContract):
    moments = range(1, 40, 8)

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.path, self.count = tmp_path, 0

    @asynccontextmanager
    async def made(self) -> AsyncIterator[Any]:
        names: dict[str, Any] = {}
        exec(compile(SQLITE, "README.md", "exec"), names)
        self.count += 1
        journal = names["SQLiteJournal"](self.path / f"{self.count}.sqlite")
        try:
            yield journal
        finally:
            journal.database.close()
