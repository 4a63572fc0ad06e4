"""SOURCE on the command line: a URL, a file, a recording, a run in a journal, or `-` for standard input."""

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from stepstream.cli.journal_source import followed_run, is_journal
from stepstream.errors import TransportError
from stepstream.sources.files import read_standard_input
from stepstream.sources.recording import replay
from stepstream.sources.url_redaction import redact_url


def is_url(source: str) -> bool:
    """Return whether SOURCE is a URL, of whatever scheme."""
    return "://" in source


def _check_url(url: str) -> None:
    """Check that a request can be sent to a URL at all.

    Raises:
        TransportError: it cannot.
    """
    is_fit, expected = False, "an http or https URL with a host"
    with suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme.lower() in ("http", "https") and parts.hostname:
            expected = "a port from 1 to 65535 after the host, or none"
            is_fit = parts.port != 0
    if not is_fit:
        raise TransportError(f"{redact_url(url)[:80]}: expected {expected}")


@asynccontextmanager
async def named(
    source: str,
    *,
    chunk_size: int,
    speed: float,
    request: Mapping[str, Any] | None = None,
    is_drawn: bool = False,
) -> AsyncIterator[AsyncIterable[bytes]]:
    """Open the source that `source` names, and give its bytes in chunks of at most `chunk_size`.

    A recording comes at `speed` times its own pace. A URL is asked with the `request` options of `connect`, a journal
    for its `run_id`. Where the stream is drawn, nothing is written beside the drawing.
    """
    options = request or {}
    if is_journal(source):
        async with followed_run(source, options["run_id"], tells=not is_drawn) as chunks:
            yield _in_pieces(chunks, chunk_size)
    elif is_url(source):
        _check_url(source)
        from stepstream.sources.http import connect

        # tried once only: a user who waits in front of it can run the command again
        async with connect(source, attempts=1, reconnect=False, **options) as stream:
            yield _in_pieces(aiter(stream), chunk_size)
    elif source == "-":
        yield _in_pieces(read_standard_input(), chunk_size)
    else:
        yield _in_pieces(aiter(replay(source, speed=speed)), chunk_size)


async def _in_pieces(stream: Any, size: int) -> AsyncIterator[bytes]:
    """Yield the chunks of an `EventStream` or an async generator, cut to `size` bytes, and close it."""
    async with aclosing(stream) as chunks:
        async for chunk in chunks:
            if isinstance(chunk, bytes):
                for start in range(0, len(chunk), size):
                    yield chunk[start : start + size]
