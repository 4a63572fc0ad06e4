"""`stepstream serve`: the dashboard on a port, until it is interrupted."""

import ipaddress
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final

import anyio
from anyio.abc import TaskGroup

from stepstream.asgi.serving import serve_here
from stepstream.cli.exits import UsageError
from stepstream.cli.journal_source import is_journal, journal_at
from stepstream.cli.output import write_error, write_line
from stepstream.cli.source import is_url, named
from stepstream.dashboard import Dashboard
from stepstream.errors import StepStreamError
from stepstream.journal import Journal, MemoryJournal, publish
from stepstream.sources.files import CHUNK_SIZE

DRAIN_LIMIT: Final = 5.0
"""Seconds after which what is still open is cut off. The rest, until the command ends, takes as long at most."""

MAX_WAITING: Final = 1_000
"""How many runs may wait for action: whoever answers elsewhere may never say so here."""

EMBEDDED: Final = ("--maxmemory", "1gb", "--maxmemory-policy", "noeviction")
"""What bounds a Valkey of our own: full, it takes no other run."""

INTERRUPTED: Final = 130


async def serve(
    sources: Sequence[str],
    *,
    host: str,
    port: int,
    token_env: str | None,
    demo: bool,
    journal: str | None,
    embedded: bool,
) -> int:
    """Serve the dashboard until SIGINT or SIGTERM; a second one ends it at once. Return the exit status.

    Raises:
        UsageError: there is no token in the variable `token_env`, or it is too short; or none for a host that others
            reach; or what was asked for does not go together.
        OSError: the port is taken.
        JournalError: the journal cannot be reached.
        ImportError: what serves, or what keeps the runs, is not installed.
    """
    _check(sources, journal, is_demo=demo)
    _allow_files()
    token = _token(token_env)
    if token is None and not _is_loopback(host):
        raise UsageError(f"{host} can be reached from elsewhere: name a variable that holds a token, by --token-env")
    async with _journal(journal, is_embedded=embedded) as (kept, where), AsyncExitStack() as stack:
        try:
            dashboard = Dashboard(kept, token)
        except ValueError as exc:
            raise UsageError(f"{token_env}: {exc}") from exc
        url = await stack.enter_async_context(serve_here(dashboard, host=host, port=port, name="dashboard"))
        tasks = await stack.enter_async_context(anyio.create_task_group())
        for line in guide(url, token_env):
            write_line(line)
        if where:
            for line in ("", "  # its journal, for workers, publishers and relays on this machine", f"  {where}"):
                write_line(line)
        _feed(tasks, kept, sources, is_demo=demo)
        status = await _until_interrupted(dashboard)
        tasks.cancel_scope.cancel()
        return status


async def _until_interrupted(dashboard: Dashboard) -> int:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        first = await anext(signals)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_drained, dashboard, tasks.cancel_scope)
            await anext(signals)
            tasks.cancel_scope.cancel()
    return INTERRUPTED if first == signal.SIGINT else 0


async def _drained(dashboard: Dashboard, scope: anyio.CancelScope) -> None:
    with anyio.move_on_after(DRAIN_LIMIT):
        await dashboard.drain()
    scope.cancel()


def _feed(tasks: TaskGroup, journal: Journal, sources: Sequence[str], *, is_demo: bool) -> None:
    for source in sources:
        tasks.start_soon(_published, source, journal)
    if is_demo:
        from stepstream.cli.serve_demo import feed

        tasks.start_soon(feed, journal)


async def _published(source: str, journal: Journal) -> None:
    """Publish a source. What fails is a line, and ends nothing else."""
    try:
        await publish(named(source, chunk_size=CHUNK_SIZE, speed=1), journal)
    except (StepStreamError, OSError) as exc:
        text = str(exc) or type(exc).__name__
        write_error(text if is_url(source) else f"{source}: {text.removeprefix(f'{source}: ')}")


@asynccontextmanager
async def _journal(url: str | None, *, is_embedded: bool) -> AsyncIterator[tuple[Journal, str]]:
    """Give a journal, and where it is, if it is one of this command's own that others may use, too."""
    if url is None and not is_embedded:
        yield MemoryJournal(max_waiting=MAX_WAITING), ""
        return
    from stepstream.journal.redis.embedded import embedded_server
    from stepstream.journal.redis.journal import RedisJournal

    if url is None:
        async with embedded_server(*EMBEDDED) as server, RedisJournal(server.url, keep_unworked=86_400) as journal:
            yield journal, server.url
    else:
        async with journal_at(url) as journal:
            yield journal, ""


def _check(sources: Sequence[str], journal: str | None, *, is_demo: bool) -> None:
    """Check what argparse does not."""
    if journal is not None and not is_journal(journal):
        raise UsageError("expected --journal as redis://… or rediss://…")
    if journal is not None and is_demo:
        raise UsageError("--demo makes up runs: it does not go into a --journal, but well with --embedded")
    if any(map(is_journal, sources)):
        raise UsageError("a journal is no SOURCE: give it as --journal, and its runs are shown")


def _allow_files() -> None:
    """Allow as many open files as the system lets this process have: each viewer is one."""
    if sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        with suppress(OSError, ValueError):  # it stays as it is
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _token(variable: str | None) -> str | None:
    if variable is None:
        return None
    token = os.environ.get(variable)
    if not token:
        raise UsageError(f"expected a token in the variable {variable}, got none")
    return token


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def guide(url: str, token_env: str | None) -> list[str]:
    """Return where the dashboard is, and how a program sends it a run, in lines."""
    bearer = "" if token_env is None else f' -H "Authorization: Bearer ${token_env}"'
    curl = f"curl -sS -X POST -T - -H 'Content-Type: text/event-stream'{bearer} {url}/ingest"
    return [
        f"dashboard at {url}/ : Ctrl-C ends it",
        "",
        "  # send it a stream that another program reads",
        f"  curl -sN https://example.com/stream | tee -p >({curl} >&2) | your-program",
    ]
