"""A bot that may be killed at any moment, and neither loses nor doubles what it posts.

Three things are written down, in SQLite, before anything depends on them:

1. a job, in the transaction that moves past the message that asked for it. Its token goes into the run's metadata:
   after a restart, `attach` finds the run by it, even where the bot died before it heard the run's id;
2. the run's id, as soon as it comes, and that the user said stop;
3. the key of each change that was posted. The post carries a nonce made of it, which the platform takes once, as
   Discord does with `enforce_nonce`: that covers a death between the post and the note.

`attach` tells of a run what the new process does not know, which is everything. What was posted before is left out.
"""

import os
import sqlite3
import uuid
from contextlib import closing, suppress
from hashlib import blake2b
from typing import Any

import anyio
import httpx

from stepstream import Processor, RunNotFound, RunsClient, RunTransition, StepStreamError, StepTransition

TABLES = """
create table if not exists job (channel text, thread text, token text primary key, run text, stopped int, ended int);
create table if not exists posted (key text primary key);
create table if not exists inbox (seen int);
insert into inbox select 0 where not exists (select * from inbox);
"""


def as_told(attempt: int, failure: Exception) -> float:
    response = getattr(failure, "response", None)  # of httpx.HTTPStatusError
    return float(response.headers.get("retry-after", 0.2)) if response is not None else 0.2


class Bot:
    def __init__(self, database: sqlite3.Connection, chat: httpx.AsyncClient, runs: RunsClient) -> None:
        self.database, self.chat, self.runs = database, chat, runs
        self.processor = Processor()
        self.processor.add(RunTransition, self.remember)
        posting: Any = {"attempts": 1_000, "backoff": as_told, "concurrency": 50, "timeout": 60}
        self.processor.add((StepTransition, RunTransition), self.post, terminal=True, **posting)

    def write(self, statement: str, *values: object) -> None:
        with self.database:
            self.database.execute(statement, values)

    def job(self, token: str) -> sqlite3.Row:
        return self.database.execute("select * from job where token = ?", [token]).fetchone()

    async def remember(self, change: RunTransition) -> None:
        self.write("update job set run = ? where token = ?", change.run_id, change.context)
        await self.stop_if_told(change.context)

    async def post(self, change: StepTransition | RunTransition) -> None:
        if self.database.execute("select * from posted where key = ?", [change.key]).fetchone():
            return
        what = change.type if isinstance(change, StepTransition) else "run"
        nonce = blake2b(change.key.encode(), digest_size=12).hexdigest()
        body = {"text": f"{what} {change.status}", "nonce": nonce, "enforce_nonce": True}
        channel = self.job(change.context)["channel"]
        (await self.chat.post(f"/channels/{channel}/messages", json=body)).raise_for_status()
        self.write("insert or ignore into posted values (?)", change.key)

    async def stop_if_told(self, token: str) -> None:
        job = self.job(token)
        if job["stopped"] and job["run"] and not job["ended"]:
            with suppress(StepStreamError):  # it has ended, or is asked again with the next message or event
                await self.runs.cancel_run(job["thread"], job["run"])

    async def work(self, token: str) -> None:
        """See a job to its end, whatever was done of it before."""
        while not self.job(token)["ended"]:
            try:
                await self.run(self.job(token))
                self.write("update job set ended = 1 where token = ?", token)
            except StepStreamError:
                await anyio.sleep(0.2)  # the server has a bad moment: the run is asked for again

    async def run(self, job: sqlite3.Row) -> None:
        thread, token = job["thread"], job["token"]
        await self.stop_if_told(token)
        try:
            known: Any = {"run_id": job["run"]} if job["run"] else {"token": token}
            await self.runs.attach(self.processor, thread, **known, context=token)
        except RunNotFound:  # its request did not arrive, or was never sent
            once: Any = {"token": token, "idempotency_key": token}  # a server may know the latter, too
            await self.runs.drive(self.processor, thread, assistant_id="asst_1", context=token, **once)

    async def listen(self, tasks: Any) -> None:
        """Take one message of the platform after another. A message is seen once its job is written down."""
        while True:
            (seen,) = self.database.execute("select seen from inbox").fetchone()
            try:
                updates = (await self.chat.get("/updates", params={"after": seen})).raise_for_status().json()
            except httpx.HTTPError:
                updates = []
            for update in updates:
                token, channel = uuid.uuid4().hex, update["channel"]
                with self.database:
                    self.database.execute("update inbox set seen = ?", [update["id"]])
                    if update["text"] == "stop":
                        self.database.execute("update job set stopped = 1 where channel = ? and not ended", [channel])
                    else:
                        row = channel, f"thread_{channel}_{update['id']}", token, None, 0, 0
                        self.database.execute("insert into job values (?, ?, ?, ?, ?, ?)", row)
                if update["text"] != "stop":
                    tasks.start_soon(self.work, token)
                for (stopped,) in self.database.execute("select token from job where stopped and not ended").fetchall():
                    await self.stop_if_told(stopped)
            await anyio.sleep(0.05)


async def main() -> None:
    async with (
        httpx.AsyncClient(base_url=os.environ["CHAT_URL"]) as chat,
        RunsClient(f"{os.environ['STEPSTREAM_URL']}/v1") as runs,
    ):
        with closing(sqlite3.connect(os.environ["DATABASE"])) as database:
            database.row_factory = sqlite3.Row
            database.executescript(TABLES)
            bot = Bot(database, chat, runs)
            async with bot.processor, anyio.create_task_group() as tasks:
                for (token,) in database.execute("select token from job where not ended").fetchall():
                    tasks.start_soon(bot.work, token)
                await bot.listen(tasks)


anyio.run(main)
