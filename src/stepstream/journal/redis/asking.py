"""Questions of many tasks to one server, asked together: what comes while some are under way is asked next.

A question asked by itself costs a batch, a deadline and some turns of the loop: twice what it takes to read the answer.
Since few are under way at a time, the answers to a thousand are never here at once.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

import anyio

from stepstream.errors import JournalFailed
from stepstream.journal.redis.server import Command, Link
from stepstream.live.pending import Signal

AT_ONCE: Final = 16
"""How many questions are asked together."""


class _Question:
    __slots__ = ("answers", "commands", "done", "failure")

    def __init__(self, commands: Sequence[Command]) -> None:
        self.commands = commands
        self.answers: list[Any] = []
        self.failure: Exception | None = None
        self.done = anyio.Event()


class Asking:
    """Asks over a link, once it runs."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._waiting: dict[_Question, None] = {}
        self._news = Signal()
        self._is_over = False

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """Return the answers to commands.

        Raises:
            JournalFailed: there are none, or the server refuses one.
            RuntimeError: the journal was left.
        """
        question = _Question(commands)
        if self._is_over:
            raise _left()
        self._waiting[question] = None
        self._news.notify()
        try:
            await question.done.wait()
        finally:
            self._waiting.pop(question, None)
        if question.failure is not None:
            raise question.failure
        return question.answers

    async def run(self) -> None:
        """Ask, until it is cancelled."""
        asked: list[_Question] = []
        try:
            while True:
                while not self._waiting:
                    await self._news.wait()
                asked = [*islice(self._waiting, AT_ONCE)]
                for question in asked:
                    del self._waiting[question]
                await self._ask(asked)
                asked = []
        finally:
            self._is_over = True
            for question in (*asked, *self._waiting):
                question.failure = _left()
                question.done.set()

    async def _ask(self, asked: Sequence[_Question]) -> None:
        try:
            replies = iter(await self._link.replies([one for question in asked for one in question.commands]))
        except JournalFailed as exc:
            for question in asked:
                question.failure = JournalFailed(str(exc))
                question.failure.__cause__ = exc.__cause__
                question.done.set()
            return
        for question in asked:
            try:
                question.answers = self._link.accepted([*islice(replies, len(question.commands))])
            except JournalFailed as exc:
                question.failure = exc
            question.done.set()


def _left() -> RuntimeError:
    return RuntimeError("expected an open journal: it was left while something was asked of it")
