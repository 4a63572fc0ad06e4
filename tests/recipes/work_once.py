"""Effects that happen once, however often workers die: the key of a change is written in the transaction of its effect.

    stepstream work work_once:setup --journal redis://… --group ledger

A worker that dies after the transaction, and before it could say so, leaves the change to another one. That finds the
key, and does nothing. In another database it is the same: a table of keys with a unique index, or the key as unique
column of the row that is the effect. An effect elsewhere takes the key along, as Idempotency-Key, nonce or webhook-id.
"""

import os
import sqlite3
from contextlib import closing

import anyio.to_thread

from stepstream import Processor, RunTransition, StepTransition

TABLES = """
pragma journal_mode = wal;
create table if not exists done (key text primary key);
create table if not exists ledger (run text primary key, steps int);
"""


def book(change: StepTransition | RunTransition) -> None:
    with closing(sqlite3.connect(os.environ["DATABASE"], timeout=30)) as database, database:
        database.execute("begin immediate")
        is_new = database.execute("insert or ignore into done values (?)", [change.key]).rowcount
        if is_new:
            count = "insert into ledger values (?, 1) on conflict (run) do update set steps = steps + 1"
            database.execute(count, [change.run_id])


def setup(processor: Processor) -> None:
    with closing(sqlite3.connect(os.environ["DATABASE"], timeout=30)) as database, database:
        database.executescript(TABLES)

    @processor.on(StepTransition, RunTransition, terminal=True, attempts=10, concurrency=4)
    async def once(change: StepTransition | RunTransition) -> None:
        await anyio.to_thread.run_sync(book, change)
