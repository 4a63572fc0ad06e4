"""The contract of journals, kept on a real server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from stepstream import RedisJournal
from tests.support.journal_contract import JournalContract
from tests.support.valkey import ValkeyProcess, fresh_namespace


class TestRedisJournal(JournalContract):
    moments = range(1, 60, 3)

    @pytest.fixture(autouse=True)
    def _server(self, server: ValkeyProcess) -> None:
        self.url = server.url

    @asynccontextmanager
    async def made(self) -> AsyncIterator[RedisJournal]:
        async with RedisJournal(self.url, namespace=fresh_namespace(), partitions=2) as journal:
            yield journal
