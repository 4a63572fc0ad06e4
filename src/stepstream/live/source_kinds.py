"""What can be given as a source, in one table: how each kind is recognised, and what is read of it or given instead.

A kind is told by what it has, never by its class: none of the libraries whose objects these are is imported, and two
versions of one may be installed side by side. The first row that fits counts, so that a narrow one stands above a wide
one. What only wraps a response, as openai's streams do, is looked through to the response.
"""

import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from types import AsyncGeneratorType
from typing import Any, Final, NamedTuple

import anyio

READ_SIZE: Final = 64 * 2**10
"""Bytes that are read of an asyncio reader at most at once."""

REST_WITHIN: Final = 1.0
"""Seconds for which the rest of a stream is read that is closed by its end only."""

EXPECTED: Final = "expected an async iterable of bytes or SSE messages, or an async context manager that gives one"


class NotASource(TypeError):
    """What was given is no source. It is raised as it is, however many sources lie around it."""


class ReadBefore(RuntimeError):
    """A source was given again. Likewise."""

    def __init__(self) -> None:
        super().__init__("a source is read once: open another one")


class Kind(NamedTuple):
    """One kind of object that a user may give as a source."""

    fits: Callable[[Any], object]
    items: Callable[[Any], AsyncIterator[Any]] | None = None
    """Returns what is read of it. None: it is not read."""
    instead: str = ""
    """What to give instead of one that is not read."""
    close: str = ""
    """Of a response: the method that closes it, which its iterator does not do when it is left before the end."""
    is_entered: bool = False
    """Whether it is a context manager, which gives the source."""


def attribute(given: Any, name: str) -> Any:
    """Return an attribute, or None where it is missing or cannot be read now, as the body of a response may."""
    try:
        return getattr(given, name, None)
    except Exception:  # noqa: BLE001 - a property of a foreign object may raise anything
        return None


def _having(*names: str) -> Callable[[Any], bool]:
    def has_all(given: Any) -> bool:
        for name in names:  # noqa: SIM110 - `all` costs as much as all the rest
            if attribute(given, name) is None:
                return False
        return True

    return has_all


def _is_a(*kinds: type) -> Callable[[Any], bool]:
    return lambda given: isinstance(given, kinds)


def _is_synchronous(given: Any) -> bool:
    """Return whether a response of httpx or httpx2 is that of a synchronous client. The class is the same."""
    return _having("aiter_bytes", "stream")(given) and not hasattr(given.stream, "__aiter__")


def _is_of_lines(given: Any) -> bool:
    """Return whether it is the iterator of a response of httpx or openai that leaves out the ends of lines."""
    return attribute(given, "__qualname__") in ("Response.aiter_lines", "AsyncAPIResponse.iter_lines")


async def _read(reader: Any) -> AsyncIterator[bytes]:
    """Yield what an asyncio reader has, as it comes. Its own iteration is by lines, and fails at a long one."""
    while chunk := await reader.read(READ_SIZE):
        yield chunk


async def _to_its_end(items: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Yield the items of an iterator that gives back its connection at its end, and not when it is left: what comes
    after the last one that is wanted is read, too, if it comes soon."""
    try:
        async for item in items:
            yield item
    except GeneratorExit:
        with anyio.move_on_after(REST_WITHIN), suppress(Exception):
            async for _ in items:
                pass
        raise
    finally:
        if hasattr(items, "aclose"):
            await items.aclose()


async def _received(stream: Any) -> AsyncIterator[Any]:
    while True:
        try:
            item = await stream.receive()
        except anyio.EndOfStream:
            return
        yield item


_CLIENT: Final = "the response of an asynchronous client, such as httpx.AsyncClient or AsyncOpenAI, or connect(url)"
_ITERABLE: Final = "an async generator that yields its items; or accumulate(chunks), which reads what is there already"

RESPONSES: Final = (
    Kind(_is_synchronous, instead=_CLIENT),
    Kind(_having("aiter_bytes", "aclose"), lambda one: aiter(one.aiter_bytes()), close="aclose"),  # httpx, httpx2
    Kind(_having("iter_raw", "iter_bytes", "__aenter__"), lambda one: aiter(one.iter_bytes()), close="close"),  # azure
    Kind(_having("content", "release", "__aenter__"), lambda one: aiter(one.content.iter_any()), close="release"),
)
"""Responses over HTTP, the last of aiohttp. What they have in common is a status, which decides before all else."""

_GENERATOR: Final = Kind(_having("__aiter__"), aiter)
_ENTERED: Final = Kind(_having("__aenter__", "__aexit__"), is_entered=True)

KINDS: Final = (
    Kind(_is_a(type), instead="an object of that class"),
    *RESPONSES,
    Kind(_having("iter_content"), instead=_CLIENT),  # requests
    # Read in another way than by its own iteration, which is by lines, or by objects of its own.
    Kind(
        _having("response_iterator"), lambda one: _to_its_end(aiter(one.response_iterator))
    ),  # streams of azure-ai-agents
    Kind(_having("aiter_sse"), lambda one: aiter(one.aiter_sse())),
    Kind(_having("iter_any"), lambda one: aiter(one.iter_any())),  # the body of a response of aiohttp
    Kind(_having("readuntil", "at_eof"), _read),  # asyncio
    Kind(_having("scope", "stream", "body"), lambda one: aiter(one.stream())),  # a request of Starlette
    Kind(_is_of_lines, instead="the response itself: lines without their ends make no stream"),
    _GENERATOR,
    Kind(lambda one: inspect.iscoroutinefunction(attribute(one, "receive")), _received),  # anyio
    Kind(_having("stdout", "pid"), instead="its stdout"),
    Kind(_having("build_request"), instead="the response to a request of it"),  # a client of httpx
    Kind(_having("ws_connect"), instead="the response to a request of it"),  # a session of aiohttp
    _ENTERED,
    # What comes near: what was meant by it.
    Kind(lambda one: isinstance(one, str) and "://" in one, instead="connect(url)"),
    Kind(lambda one: isinstance(one, str) or hasattr(one, "__fspath__"), instead="replay(path), where it names a file"),
    Kind(_is_a(bytes, bytearray, memoryview), instead="an async generator that yields it"),
    Kind(_having("__await__"), instead="what awaiting it returns"),
    Kind(_having("iter_bytes"), instead=_CLIENT),
    Kind(_having("read", "readline"), instead="anyio.wrap_file(file), or replay(path)"),
    Kind(_having("__enter__", "__exit__"), instead="its asynchronous counterpart"),
    Kind(_having("__iter__"), instead=_ITERABLE),
    Kind(callable, instead="what calling it returns"),
    Kind(lambda _: True),
)
"""All kinds. A row without `items` is refused."""


@asynccontextmanager
async def _managed() -> AsyncIterator[None]:
    yield


_MANAGER: Final = type(_managed())
"""What `asynccontextmanager` makes, and nothing else is."""


def recognised(given: Any) -> tuple[Kind, Any]:
    """Return the kind of an object, and what is read of it: itself, or the response that it wraps."""
    if type(given) is AsyncGeneratorType and not _is_of_lines(given):  # what most are, and none of the others
        return _GENERATOR, given
    if type(given) is _MANAGER:  # likewise
        return _ENTERED, given
    for name in ("http_response", "response"):  # of openai and azure; of openai and httpx-sse
        wrapped = attribute(given, name)
        for kind in RESPONSES if wrapped is not None else ():
            if kind.fits(wrapped):
                return kind, wrapped
    return next(kind for kind in KINDS if kind.fits(given)), given


def refused(given: Any, kind: Kind) -> NotASource:
    """Return the error for what is no source. It says what to give instead, and quotes nothing of the object."""
    if inspect.iscoroutine(given):
        given.close()  # it would be reported as never awaited, beside this
    instead = f": give {kind.instead}" if kind.instead else ""
    return NotASource(f"{EXPECTED}, got {type(given).__name__}{instead}")
