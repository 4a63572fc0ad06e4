"""Ingestion of many streams into SQLite, in batches: one transaction for up to 500 changes, none lost, none twice.

While the database writes, changes wait, up to the buffer; then the streams wait. At most so many streams are read at a
time. What is written again, by a second attempt or a second run of this program, is left out by its key.
"""

import os
import sqlite3
from contextlib import closing

import anyio
import anyio.to_thread

from stepstream import (
    Processor,
    RunsClient,
    RunTransition,
    StepStreamError,
    StepTransition,
    ToolCallFinished,
    encode_change,
)

TABLE = "create table if not exists change (key text primary key, channel text, line text)"
Row = tuple[str, str, bytes]


def write(rows: list[Row]) -> None:
    with closing(sqlite3.connect(os.environ["DATABASE"])) as database, database:
        database.executemany("insert or ignore into change values (?, ?, ?)", rows)


async def main() -> None:
    with closing(sqlite3.connect(os.environ["DATABASE"])) as database, database:
        database.execute(TABLE)
    async with RunsClient(f"{os.environ['STEPSTREAM_URL']}/v1") as runs, Processor(max_streams=100) as processor:

        @processor.on(StepTransition, RunTransition, ToolCallFinished, batch=500, max_wait=0.5, timeout=60, attempts=10)
        async def store(changes: list[StepTransition | RunTransition | ToolCallFinished]) -> None:
            rows = [(change.key, change.context, encode_change(change)) for change in changes]
            await anyio.to_thread.run_sync(write, rows)

        async def ingest(number: int) -> None:
            channel = f"channel_{number}"
            try:
                await processor.run(runs.stream_run(f"thread_{number}", assistant_id="asst_1"), context=channel)
            except StepStreamError as broken:
                print(f"{channel}: {broken}")

        async with anyio.create_task_group() as tasks:
            for number in range(int(os.environ["STREAMS"])):
                tasks.start_soon(ingest, number)


anyio.run(main)
