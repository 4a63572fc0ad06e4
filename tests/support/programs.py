"""Programs that are run inside of the test: READMEs' blocks and recipes."""

import io
import logging
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

from stepstream.simulator.serving import serve

SECONDS = 20
"""How long a program may take. It takes far less."""


@contextmanager
def served(application: Any) -> Iterator[str]:
    """Serve an application beside the test, and give its base URL."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serve(application)) as url:
        yield url


@contextmanager
def limited() -> Iterator[None]:
    """Interrupt a program that hangs: it runs event loops of its own, so no other limit reaches it."""

    def interrupt(*_: object) -> None:
        raise TimeoutError(f"the program ran for more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class _Warnings(logging.Handler):
    """Keeps what would be written to standard error: warnings of all loggers but our own, which write nothing there."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith("stepstream") or record.levelno >= logging.ERROR:
            self.told.append(record.getMessage())


def printed_by(program: str, name: str, cwd: Path, environment: Mapping[str, str] | None = None) -> str:
    """Run a program, which must end well and log no warnings of others and no errors, and return what it prints."""
    heard, root, printed = _Warnings(), logging.getLogger(), io.StringIO()
    root.addHandler(heard)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed), limited():
        patch.chdir(cwd)
        patch.setenv("NO_PROXY", "*")
        for variable, value in (environment or {}).items():
            patch.setenv(variable, value)
        try:
            exec(compile(program, name, "exec"), {"__name__": "__main__"})
        finally:
            root.removeHandler(heard)
    assert heard.told == []
    return printed.getvalue()
