"""The driver: it looks, renders and writes at most 15 times a second, and does what the keys ask for.

The streams do not know of it. It takes no part in their fold: it looks at the state now and then, for at most a
tenth of the time, and never waits for the terminal but in a task of its own.
"""

import math
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import anyio
import anyio.to_thread
import msgspec
from anyio.abc import TaskStatus

from stepstream.cli.view.full import full_text
from stepstream.cli.view.keys import Action, actions
from stepstream.cli.view.lookout import Lookout
from stepstream.cli.view.pager import page, pager_of
from stepstream.cli.view.paint import Painter
from stepstream.cli.view.picture import Picture, StepPicture
from stepstream.cli.view.render import render
from stepstream.cli.view.terminal import Terminal, opened
from stepstream.fold.state import State

FRAME: Final = 1 / 15
"""Seconds between two drawings, at least."""

SHARE: Final = 0.1
"""Of the time that drawing may take."""

NOTICED_FOR: Final = 4.0
"""Seconds that what a key did is told."""

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, signal.SIGCONT)


class Ending(NamedTuple):
    """How it ended: with what the body returned, or because somebody asked for it."""

    result: Any
    signal: int | None


async def shown(
    body: Callable[[], Awaitable[Any]], state: State, lookout: Lookout, clock: Callable[[], float]
) -> Ending:
    """Await `body` and draw meanwhile what `lookout` sees. What it raises is raised once the terminal is as before.

    Raises:
        OSError: the terminal cannot be drawn on any more.
    """
    with opened() as terminal:
        view = View(state, lookout, terminal, clock)
        async with anyio.create_task_group() as tasks:
            await tasks.start(view.heed_signals)  # before there is anything to restore
            try:
                terminal.enter()
                for task in (view.draw, view.listen):
                    tasks.start_soon(view.guarded, task)
                result = await view.follow(body)
            finally:
                terminal.leave()
            tasks.cancel_scope.cancel()
    if view.failure is not None:
        raise view.failure
    return Ending(result, view.signal)


def die_of(number: int) -> int:
    """End as a program does that has no handler for a signal, and that of Ctrl-C with its status."""
    if number != signal.SIGINT:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    return 128 + number


class View:
    """What is shown just now, and what the keys have changed of that."""

    def __init__(self, state: State, lookout: Lookout, terminal: Terminal, clock: Callable[[], float]) -> None:
        self.failure: Exception | None = None
        self.signal: int | None = None
        self.is_quit = False
        self._state = state
        self._lookout = lookout
        self._terminal = terminal
        self._clock = clock
        self._painter = Painter(lookout.theme)
        self._body = anyio.CancelScope()
        self._is_over = False
        self._picture = Picture(theme=lookout.theme)
        self._now = clock()
        self._selected: str | None = None
        self._is_paused = False
        self._notice = ("", 0.0)
        self._paging: anyio.CancelScope | None = None
        self._let_go = anyio.Event()

    async def follow(self, body: Callable[[], Awaitable[Any]]) -> Any:
        """Return what `body` does, or None once it is asked to end. Whoever is reading then is let read on."""
        result = None
        with self._body:
            try:
                result = await body()
            except Exception as exc:  # noqa: BLE001 - raised as soon as the terminal is given back
                self.failure = exc
        self._is_over = True
        if not self.is_quit and (self._is_paused or self._paging is not None):
            self._notice = "the stream has ended: space goes on", math.inf
            await self._let_go.wait()
        return result

    async def guarded(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run one of the view's own tasks. If it fails, all ends."""
        try:
            await task()
        except Exception as exc:  # noqa: BLE001 - raised as soon as the terminal is given back
            self.failure = self.failure or exc
            self._quit()

    def _quit(self) -> None:
        self.is_quit = True
        self._body.cancel()
        self._let_go.set()
        if self._paging is not None:
            self._paging.cancel()

    async def draw(self) -> None:
        """Draw again and again."""
        while True:
            begun = time.perf_counter()
            self._look()
            frame = self._frame() if self._terminal.is_entered else b""
            took = time.perf_counter() - begun
            if frame:
                await self._terminal.write(frame)
            await anyio.sleep(max(FRAME, took / SHARE))

    def _look(self) -> None:
        """Look at what there is. A pause does not stop that: what it sees end meanwhile has ended then."""
        now = self._clock()
        picture = self._lookout.look(now, selected=self._selected)
        if not self._is_paused:
            self._picture, self._now = picture, now

    def _frame(self) -> bytes:
        """Return what brings the screen up to date."""
        text, until = self._notice
        picture = msgspec.structs.replace(
            self._picture,
            selected=self._selected,
            is_paused=self._is_paused,
            notice=text if time.monotonic() < until else "",
        )
        size = self._terminal.size
        return self._painter.screen(render(picture, *size, self._now), *size)

    async def listen(self) -> None:
        """Do what the keys ask for, until there is nobody any more who types."""
        while typed := await self._terminal.keys():
            for action in actions(typed):
                await self._act(action)

    async def _act(self, action: Action) -> None:
        match action:
            case "quit":
                self._quit()
            case "pause":
                self._is_paused = not self._is_paused
                if self._is_over and not self._is_paused:
                    self._let_go.set()
            case "next" | "previous":
                self._select(1 if action == "next" else -1)
            case "unselect":
                self._selected = None
            case "open":
                await self._open()
            case "save":
                await self._save()

    def _tell(self, text: str) -> None:
        self._notice = text, time.monotonic() + NOTICED_FOR

    def _steps(self) -> list[StepPicture]:
        return [step for run in self._picture.runs for step in run.steps]

    def _select(self, by: int) -> None:
        """Select the step after or before the selected one; first of all the newest."""
        keys = [step.key for step in self._steps()]
        if not keys:
            return
        at = keys.index(self._selected) + by if self._selected in keys else len(keys) - 1
        self._selected = keys[max(0, min(at, len(keys) - 1))]

    async def _open(self) -> None:
        """Show the selected step, or the newest, in a pager. The terminal is the pager's meanwhile."""
        steps = self._steps()
        key = self._selected or (steps[-1].key if steps else "")
        text = self._full(key)
        command = pager_of(os.environ)
        if not text or command is None:
            self._tell("no pager found: set PAGER" if text else "nothing to open yet")
            return
        self._terminal.leave()
        with anyio.CancelScope() as self._paging:
            try:
                await page(command, text)
            except OSError as exc:
                self._tell(f"could not start the pager: {exc.strerror}")
        self._paging = None
        if self._is_over and not self._is_paused:
            self._let_go.set()
        else:
            self._enter()

    def _full(self, key: str) -> str:
        known = self._state.steps.get(key) or self._state.messages.get(key)
        if known is None:
            return ""
        objects = [known.snapshot()]
        creation = getattr(getattr(objects[0], "step_details", None), "message_creation", None)
        made = self._state.messages.get(creation.message_id or "") if creation else None
        return full_text(objects + ([made.snapshot()] if made else []), redact=self._lookout.theme.redact)

    async def _save(self) -> None:
        """Save what is known as JSON, to a new file in the working directory."""
        if self._lookout.theme.redact:
            self._tell("not saved: --redact hides what would be in it")
            return
        state = self._state
        objects = {
            "runs": list(state.runs.values()),
            "steps": [step.snapshot() for step in state.steps.values()],
            "messages": [message.snapshot() for message in state.messages.values()],
        }
        path = Path(f"stepstream-{datetime.now().astimezone():%Y%m%d-%H%M%S}.json")
        try:
            await anyio.to_thread.run_sync(partial(_save_as, path, msgspec.json.encode(objects)))
        except OSError as exc:
            self._tell(f"could not save {path}: {exc.strerror}")
        else:
            self._tell(f"saved {path}")

    def _enter(self) -> None:
        self._painter.forget()
        self._terminal.enter()

    async def heed_signals(self, *, task_status: TaskStatus[None]) -> None:
        """Give the terminal back where a signal asks for it."""
        with anyio.open_signal_receiver(*SIGNALS) as signals:
            task_status.started()
            async for number in signals:
                self._heed(number)

    def _heed(self, number: int) -> None:
        is_paging = self._paging is not None  # the pager has the terminal, and hears of these signals as well
        match number:
            case signal.SIGTSTP:
                if not is_paging:
                    self._terminal.leave()
                os.kill(os.getpid(), signal.SIGSTOP)
            case signal.SIGCONT:
                if not is_paging:
                    self._enter()
            case signal.SIGINT if is_paging:
                pass
            case _:
                self.signal = number
                self._quit()


def _save_as(path: Path, encoded: bytes) -> None:
    with open(path, "xb", opener=partial(os.open, mode=0o600)) as file:
        file.write(msgspec.json.format(encoded, indent=2) + b"\n")


def write_lines(painter: Painter, lines: list[Any]) -> None:
    """Write lines to standard output, where they stay."""
    text = "".join(painter.painted(line) + "\n" for line in lines)
    sys.stdout.buffer.write(text.encode(sys.stdout.encoding, "backslashreplace"))
    sys.stdout.buffer.flush()
