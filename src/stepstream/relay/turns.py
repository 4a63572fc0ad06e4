"""The runs of conversations: each goes on whoever watches it, until it ends or waits for an answer."""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeAlias

import anyio

from stepstream.fold.changes import RunTransition
from stepstream.live.processor import Processor
from stepstream.relay.frames import Frames
from stepstream.relay.posted import Posted
from stepstream.relay.stopping import ask_to_stop
from stepstream.wire.objects import RequiredAction, Run

Answer: TypeAlias = Callable[[Processor, Posted], Awaitable[object]]
"""Has the processor read a run, to its end or until it waits. What it returns is not used."""

Cancel: TypeAlias = Callable[[str], Awaitable[object]]
"""Asks the server to cancel a run."""

_log: Final = logging.getLogger("stepstream.relay")


class Turn:
    """What answers one request: a call of `answer`, and the run that it reads."""

    def __init__(self, posted: Posted) -> None:
        self.posted = posted
        self.run: Run | None = None
        """The newest object of the run."""
        self._before: Run | None = None
        self._first = self
        self._processor: Processor | None = None
        self._released = anyio.Event()
        self.frames: set[Frames] = set()
        """What viewers are sent of it."""
        self.has_begun = anyio.Event()
        """Set once the run is known, or nothing will come any more."""
        self.is_done = anyio.Event()
        self._scope = anyio.CancelScope()

    def __repr__(self) -> str:
        return f"<Turn of {self.posted.chat_id}: {self.run!r}>"

    @property
    def asked(self) -> set[str]:
        """The ids of the calls that the run waits for."""
        action = self.run.required_action if self.run is not None and self.is_waiting else None
        return {call.id for call in action.tool_calls if call.id} if isinstance(action, RequiredAction) else set()

    @property
    def goes_on(self) -> bool:
        """Whether more is to come of its run. Once that has ended, nobody waits for what `answer` does besides."""
        return not (self.is_done.is_set() or (self.run is not None and self.run.is_terminal))

    @property
    def is_waiting(self) -> bool:
        """Whether its run waits for answers, and nothing more comes without."""
        return self.is_done.is_set() and self.run is not None and self.run.status == "requires_action"

    def go_on_with(self, before: "Turn") -> None:
        """Go on with the run of a turn that waits for what was posted."""
        self.run = self._before = before.run
        self._first = before._first

    async def take(self, processor: Processor, answer: Answer) -> None:
        """Read the run. The processor of the first turn is that of all, since it knows the run: it is open until then.

        What `answer` raises is logged: viewers are told that the run was interrupted.
        """
        try:
            if self._first is not self:
                await self._call(self._first._processor or processor, answer)
                return
            async with processor:
                self._processor = processor
                await self._call(processor, answer)
                await self._released.wait()
        finally:
            self._done()

    def release(self) -> None:
        """Let go of the processor: nothing goes on with this run."""
        self._first._released.set()

    async def _call(self, processor: Processor, answer: Answer) -> None:
        noting = processor.add(RunTransition, self._note)
        try:
            with self._scope:
                await answer(processor, self.posted)
        except Exception as exc:  # noqa: BLE001 - of the application: viewers see the end, its cause is for the log
            _log.warning("answer failed", exc_info=exc, extra={"chat_id": self.posted.chat_id})
        finally:
            noting.close()
            self._done()

    def _done(self) -> None:
        self.is_done.set()
        self.has_begun.set()
        if not self.is_waiting:
            self.release()

    async def stop(self, cancel: Cancel | None) -> None:
        """End it: ask the server to cancel the run, else read no more of it.

        Raises:
            Refused: the server could not be asked.
        """
        if cancel is not None and self.run is not None:
            await ask_to_stop(partial(cancel, self.run.id), self.run.id)
            return
        for frames in list(self.frames):
            frames.interrupt("stopped")
        self._scope.cancel()

    async def end_at_wait(self, frames: Frames, is_told: anyio.Event) -> None:
        """End what a viewer is sent once the run waits, nobody here answers, and the viewer was told."""
        await self.is_done.wait()
        if self.is_waiting:
            if self.run is not self._before:
                await is_told.wait()
            frames.interrupt("interrupted")

    async def _note(self, change: RunTransition) -> None:
        if self.run is None or self.run.id == change.run_id:
            self.run = change.run
            self.has_begun.set()


class Turns:
    """The newest turn of each conversation, of `most` at most."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._turns: dict[str, Turn] = {}

    def __len__(self) -> int:
        return len(self._turns)

    def get(self, chat_id: str) -> Turn | None:
        """Return the newest turn of a conversation."""
        return self._turns.get(chat_id)

    def add(self, turn: Turn) -> bool:
        """Add a turn in the place of that before, and return whether there was room: what is done goes for it."""
        self._turns.pop(turn.posted.chat_id, None)
        done = (chat_id for chat_id, one in list(self._turns.items()) if one.is_done.is_set())
        while len(self._turns) >= self._most and (oldest := next(done, None)) is not None:
            self._turns.pop(oldest).release()
        has_room = len(self._turns) < self._most
        if has_room:
            self._turns[turn.posted.chat_id] = turn
        return has_room

    def interrupt(self, reason: str) -> None:
        """End what all viewers are sent."""
        for turn in self._turns.values():
            for frames in list(turn.frames):
                frames.interrupt(reason)
