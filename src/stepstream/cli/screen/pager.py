"""The user's pager, with a text to read."""

import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress

import anyio


def pager_of(environment: Mapping[str, str]) -> Sequence[str] | None:
    """Return the command of the pager: `PAGER`, else less or more, or None where there is none."""
    with suppress(ValueError):
        named = shlex.split(environment.get("PAGER", ""))
        if named and shutil.which(named[0]):
            return named
    return next(([name] for name in ("less", "more") if shutil.which(name)), None)


async def page(command: Sequence[str], text: str) -> None:
    """Show `text` in the pager on the terminal, until its reader leaves it. Cancelled, the pager is ended.

    Raises:
        OSError: it cannot be started.
    """
    environment = {"LESSSECURE": "1", **os.environ}  # with it, less runs no commands and writes no files
    async with await anyio.open_process(command, stdout=None, stderr=None, env=environment) as process:
        assert process.stdin is not None
        with suppress(anyio.BrokenResourceError):  # the user left before the text was read to its end
            await process.stdin.send(text.encode("utf-8", "backslashreplace"))
            await process.stdin.aclose()
        try:
            await process.wait()
        except anyio.get_cancelled_exc_class():
            process.terminate()  # so that it leaves the terminal in order
            with anyio.move_on_after(1, shield=True):
                await process.wait()
            raise
