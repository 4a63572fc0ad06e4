"""The contract of journals, kept by ours."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from stepstream import MemoryJournal
from tests.support.journal_contract import JournalContract


class TestMemoryJournal(JournalContract):
    @asynccontextmanager
    async def made(self) -> AsyncIterator[MemoryJournal]:
        yield MemoryJournal()
