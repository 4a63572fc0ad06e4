"""What becomes of the stream of a response that breaks, and the calls by which it goes on."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, TypeAlias

from stepstream.client.response_answer import ResponseAnswer
from stepstream.sources.event_stream import EventStream

OnResponse: TypeAlias = Callable[[str], Awaitable[object]]
"""What is told the id of each response that is opened."""


class ResponseCalls(NamedTuple):
    """The calls of the API that a stream of a response needs."""

    resume: Callable[[str, int | None, float], AbstractAsyncContextManager[EventStream]]
    """Opens the stream of a response after an event, or from its beginning, for so many seconds at most."""
    fetch: Callable[[str], Awaitable[ResponseAnswer]]
    """Asks for a response."""


class StreamPlan(NamedTuple):
    """What becomes of a stream that breaks."""

    is_resumable: bool
    """Whether the response is in the background, so that its stream can be asked for again."""
    is_kept: bool
    """Whether the server keeps the response, so that it can be asked for."""
    timeout: float
    """For how many seconds it is asked for."""
    deadline: float
    """When everything has to be over, by the event loop's clock."""
    continued: str = ""
    """The run that it goes on with; empty where it begins one."""
    on_response: OnResponse | None = None
    """Awaited with the id of the response, as soon as that came."""
