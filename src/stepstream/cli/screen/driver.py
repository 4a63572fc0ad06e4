"""The driver: it builds views, draws them at most 15 times a second, and does what the keys ask for.

The streams do not know of it. It takes no part in their fold: it reads the state now and then, for at most a tenth of
the time, and waits for the terminal only in a task of its own.

Whatever happens, the terminal is given back as it was: signals that would end or stop the program at once are received
instead, exceptions are kept until the screen is left, and the pager gets a terminal that is in order.
"""

import math
import os
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import anyio
import msgspec
from anyio.abc import TaskStatus

from stepstream.cli.screen.full_text import full_text_of
from stepstream.cli.screen.keys import Action, actions, moved
from stepstream.cli.screen.pager import page, pager_of
from stepstream.cli.screen.paint import Painter
from stepstream.cli.screen.render import render
from stepstream.cli.screen.saving import save
from stepstream.cli.screen.terminal import Terminal, open_terminal
from stepstream.views.builder import ViewBuilder
from stepstream.views.model import ScreenView
from stepstream.views.read_only import ReadOnlyState

FRAME: Final = 1 / 15
"""Seconds between two drawings, at least."""

SHARE: Final = 0.1
"""Of the time that drawing may take."""

NOTICE_TIME: Final = 4.0
"""Seconds for which what a key did is shown."""

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, signal.SIGCONT)


class Ending(NamedTuple):
    """How it ended: with what the body returned, or with None because the user or a signal asked for it."""

    result: Any
    signal: int | None


async def draw_during(
    body: Callable[[], Awaitable[Any]], state: ReadOnlyState, builder: ViewBuilder, clock: Callable[[], float]
) -> Ending:
    """Await `body` and draw the state meanwhile. What it raises is raised once the terminal is as it was before.

    Raises:
        OSError: the terminal cannot be drawn on any more.
    """
    with open_terminal() as terminal:
        screen = LiveScreen(state, builder, terminal, clock)
        async with anyio.create_task_group() as tasks:
            await tasks.start(screen.receive_signals)  # before there is anything to restore
            try:
                terminal.enter()
                for task in (screen.draw, screen.read_keys):
                    tasks.start_soon(screen.run_own_task, task)
                result = await screen.run_body(body)
            finally:
                terminal.leave()
            tasks.cancel_scope.cancel()
    if screen.failure is not None:
        raise screen.failure
    return Ending(result, screen.signal)


class LiveScreen:
    """What the terminal shows just now, and what the keys have changed of that."""

    def __init__(
        self, state: ReadOnlyState, builder: ViewBuilder, terminal: Terminal, clock: Callable[[], float]
    ) -> None:
        self.failure: Exception | None = None
        self.signal: int | None = None
        """The signal that asked for the end."""
        self.is_quit = False
        self._state = state
        self._builder = builder
        self._terminal = terminal
        self._clock = clock
        self._painter = Painter(builder.theme)
        self._body = anyio.CancelScope()
        self._is_over = False
        """Whether the body has ended."""
        self._view = ScreenView(theme=builder.theme)
        self._now = clock()
        self._selected: str | None = None
        self._is_paused = False
        self._notice = ("", 0.0)
        """A text, and until when it is shown."""
        self._paging: anyio.CancelScope | None = None
        """That of the pager, while it has the terminal."""
        self._is_released = anyio.Event()
        """Set when the user reads no longer what the body has left on the screen."""

    async def run_body(self, body: Callable[[], Awaitable[Any]]) -> Any:
        """Return the result of `body`, or None once it is asked to end. A user who is still reading then is waited for.

        Its exception is kept as the failure.
        """
        result = None
        with self._body:
            try:
                result = await body()
            except Exception as exc:  # noqa: BLE001 - raised as soon as the terminal is given back
                self.failure = exc
        self._is_over = True
        if not self.is_quit and (self._is_paused or self._paging is not None):
            self._notice = "the stream has ended: space goes on", math.inf
            await self._is_released.wait()
        return result

    async def run_own_task(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run one of the screen's own tasks. If it fails, all ends."""
        try:
            await task()
        except Exception as exc:  # noqa: BLE001 - raised as soon as the terminal is given back
            self.failure = self.failure or exc
            self._quit()

    def _quit(self) -> None:
        self.is_quit = True
        self._body.cancel()
        self._is_released.set()
        if self._paging is not None:
            self._paging.cancel()

    async def draw(self) -> None:
        """Draw again and again."""
        while True:
            begun = time.perf_counter()
            self._update()
            frame = self._frame() if self._terminal.is_entered else b""
            took = time.perf_counter() - begun
            if frame:
                await self._terminal.write(frame)
            await anyio.sleep(max(FRAME, took / SHARE))

    def _update(self) -> None:
        """Build the view. A pause only keeps it from the screen: what ends meanwhile is timed when it ends."""
        now = self._clock()
        view = self._builder.build(now, selected=self._selected)
        if not self._is_paused:
            self._view, self._now = view, now

    def _frame(self) -> bytes:
        """Return what brings the screen up to date."""
        text, until = self._notice
        view = msgspec.structs.replace(
            self._view,
            selected=self._selected,
            is_paused=self._is_paused,
            notice=text if time.monotonic() < until else "",
        )
        size = self._terminal.size
        return self._painter.screen(render(view, *size, self._now), *size)

    async def read_keys(self) -> None:
        """Do what the keys ask for, until the terminal gives none any more."""
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
                    self._is_released.set()
            case "next" | "previous":
                self._selected = moved(self._selected, self._step_keys(), 1 if action == "next" else -1)
            case "unselect":
                self._selected = None
            case "open":
                await self._open()
            case "save":
                self._notify(await save(self._state, redact=self._builder.theme.redact))

    def _notify(self, text: str) -> None:
        self._notice = text, time.monotonic() + NOTICE_TIME

    def _step_keys(self) -> list[str]:
        return [step.key for run in self._view.runs for step in run.steps]

    async def _open(self) -> None:
        """Show the selected step, or the newest, in a pager. The terminal is the pager's meanwhile."""
        keys = self._step_keys()
        key = self._selected or (keys[-1] if keys else "")
        text = full_text_of(self._state, key, redact=self._builder.theme.redact)
        command = pager_of(os.environ)
        if not text or command is None:
            self._notify("no pager found: set PAGER" if text else "nothing to open yet")
            return
        self._terminal.leave()
        with anyio.CancelScope() as self._paging:
            try:
                await page(command, text)
            except OSError as exc:
                self._notify(f"could not start the pager: {exc.strerror}")
        self._paging = None
        if self._is_over and not self._is_paused:
            self._is_released.set()
        else:
            self._enter()

    def _enter(self) -> None:
        self._painter.forget()  # the other screen is empty again: nothing on it can be left as it is
        self._terminal.enter()

    async def receive_signals(self, *, task_status: TaskStatus[None]) -> None:
        """Give the terminal back where a signal asks for it."""
        with anyio.open_signal_receiver(*SIGNALS) as signals:
            task_status.started()
            async for number in signals:
                self._react(number)

    def _react(self, number: int) -> None:
        is_paging = self._paging is not None  # the pager has the terminal, and gets these signals as well
        match number:
            case signal.SIGTSTP:
                if not is_paging:
                    self._terminal.leave()
                # received, the signal has not stopped the program: the one that cannot be received does
                os.kill(os.getpid(), signal.SIGSTOP)
            case signal.SIGCONT:
                if not is_paging:
                    self._enter()
            case signal.SIGINT if is_paging:
                pass  # Ctrl-C is for the pager, where it ends a search, say
            case _:
                self.signal = number
                self._quit()
