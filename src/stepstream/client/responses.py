"""The client for the Responses API: every call that the stream of a response needs, and `drive`, which makes them."""

import logging
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Final, TypeAlias, Unpack

import anyio
import msgspec

from stepstream.client.api_client import ApiClient
from stepstream.client.parameters import ResponseParameters, response_body_of
from stepstream.client.response_answer import ResponseAnswer, ResponseKey
from stepstream.client.response_plan import OnResponse, ResponseCalls, StreamPlan
from stepstream.client.response_rounds import AttachResponse, drive
from stepstream.client.response_stream import ResponseStream
from stepstream.client.tools.toolbox import Toolbox
from stepstream.errors import ProtocolError, StepStreamError
from stepstream.fold.lifecycle import SETTLED_RUN
from stepstream.fold.outcome import Outcome
from stepstream.live.log_ids import ids_of
from stepstream.live.processor import Processor
from stepstream.sources.event_stream import EventStream

OpeningResponse: TypeAlias = AbstractAsyncContextManager[ResponseStream]
Response: TypeAlias = dict[str, Any]

AGENTS: Final = frozenset({"agent", "agent_reference"})
"""The fields by which Foundry names an agent, which has tools of its own: it refuses others beside it."""

CANCEL_TIMEOUT: Final = 10.0
"""Seconds that a caller who is cancelled waits for `cancel_on_exit`."""

_log = logging.getLogger("stepstream.client")


class ResponsesClient(ApiClient):
    """A client that opens, answers, resumes, retrieves and cancels responses.

    `base_url` is where `/responses` is, such as `https://api.example.com/v1`. The other options are those of
    `ApiClient`.
    """

    def stream(self, *, cancel_on_exit: bool = False, **parameters: Unpack[ResponseParameters]) -> OpeningResponse:
        """Open a response and give its stream, a source. The parameters are those of the API.

        Where the stream of a response with `background=True` breaks, it is resumed after the newest event that came;
        any other is asked for until it has ended, and what was missed is delivered, once: the outcome is `reconciled`
        then. With `cancel_on_exit`, a response in the background is cancelled where the caller is.

        Raises:
            APIError, IdleTimeout, TransportError: as `connect` does, when the stream is entered.
            TypeError: a parameter is not known, or has no JSON form.
            ValueError: the text of a parameter cannot be sent.
        """
        return self._opened(response_body_of(parameters), "", cancel_on_exit=cancel_on_exit)

    def attach(self, response_id: str, *, run_id: str = "", cancel_on_exit: bool = False) -> OpeningResponse:
        """Give the stream of a response that was opened before, from its beginning, as a source.

        Of one that is not in the background, or whose stream the server has no more, its end is waited for. `run_id` is
        the run that it goes on with, where the processor knows that run, and the response does not name it.

        Raises:
            APIError, IdleTimeout, TransportError: as `retrieve` does, when the stream is read.
            ValueError: the id is empty or would lead to another path.
        """
        self._endpoint.url("responses", response_id)  # raises here, as a misuse

        @asynccontextmanager
        async def opening() -> AsyncIterator[ResponseStream]:
            deadline = anyio.current_time() + self._api.total_timeout
            plan = self._plan(deadline, is_resumable=True, is_kept=True, continued=run_id)
            async with self._closing(ResponseStream(self._calls, plan, response_id=response_id), cancel_on_exit) as it:
                yield it

        return opening()

    async def drive(
        self,
        processor: Processor,
        toolbox: Toolbox | None = None,
        *,
        context: object = None,
        max_rounds: int = 20,
        responses: Sequence[str] = (),
        on_response: OnResponse | None = None,
        cancel_on_exit: bool = False,
        **parameters: Unpack[ResponseParameters],
    ) -> Outcome:
        """Open a response, answer what it waits for until nothing does, and return the whole outcome: that of one run.

        All streams are read into `processor`. `toolbox` answers the calls of functions and custom tools that `tools`
        declare, its own where neither these nor an agent is given, and approves those of MCP servers, `max_rounds`
        times at most; after that, without a toolbox, or where a call of another kind waits, the outcome's
        `required_action` says what the run waits for. Streams that break are resumed or reconciled, as by `stream`.

        `on_response` is awaited with the id of each response that is opened, before its events are read. `responses`
        are those of a run that was opened before, by another process perhaps, in that order: they are read, nothing is
        opened instead of them, and the run goes on after the last, with the transitions and keys that it had.

        Raises:
            ToolFailed: a tool failed, and the toolbox says that nothing is answered then.
            StepStreamError: as `Processor.run` and `stream` do. Its outcome is that of all streams so far.
            TypeError: a parameter is not known, or `responses` is one text.
            ValueError: `max_rounds` is below 0, or an id would lead to another path.
        """
        if isinstance(responses, str):
            raise TypeError("expected responses as a list of ids, got one text")
        if max_rounds < 0:
            raise ValueError(f"expected max_rounds of at least 0, got {max_rounds}")
        has_tools = "tools" in parameters or not AGENTS.isdisjoint(parameters.get("extra_body") or ())
        if toolbox is not None and not has_tools and (own := toolbox.definitions("responses")):
            parameters["tools"] = own
        body = response_body_of(parameters)
        opened = partial(self._opened, cancel_on_exit=cancel_on_exit, on_response=on_response)
        for response_id in responses:
            self._endpoint.url("responses", response_id)  # raises here, before anything is read
        attached = [self._attaching(response_id, cancel_on_exit) for response_id in responses]
        return await drive(opened, processor, body, toolbox, context=context, max_rounds=max_rounds, attached=attached)

    def _attaching(self, response_id: str, cancel_on_exit: bool) -> AttachResponse:
        return lambda run_id: self.attach(response_id, run_id=run_id, cancel_on_exit=cancel_on_exit)

    async def retrieve(self, response_id: str) -> Response:
        """Return a response in its present state, as it was sent. The calls below raise the same.

        Raises:
            APIError, IdleTimeout, TransportError: as `connect` does.
            ProtocolError: the body of the HTTP response is no object.
            ValueError: the id is empty or would lead to another path.
        """
        return _object(await self._api.get("responses", response_id))

    async def cancel(self, response_id: str) -> Response:
        """Cancel a response in the background, and return it in its present state."""
        return _object(await self._api.post("responses", response_id, "cancel", body={}))

    async def input_items(self, response_id: str) -> list[Response]:
        """Return all items of a response's input, oldest first, from all pages."""
        return [_object(raw) for raw in await self._api.list("responses", response_id, "input_items")]

    @property
    def _calls(self) -> ResponseCalls:
        return ResponseCalls(self._resumed, self._fetched)

    def _plan(self, deadline: float, *, is_resumable: bool, is_kept: bool, continued: str = "") -> StreamPlan:
        timeout = self._reconcile_timeout
        return StreamPlan(is_resumable, is_kept, timeout=timeout, deadline=deadline, continued=continued)

    def _opened(
        self, body: Mapping[str, Any], continued: str, *, cancel_on_exit: bool, on_response: OnResponse | None = None
    ) -> OpeningResponse:
        """Return what opens the response of a body."""
        url = self._endpoint.url("responses")
        is_background = bool(body.get("background"))
        is_kept = is_background or body.get("store") is not False

        @asynccontextmanager
        async def opening() -> AsyncIterator[ResponseStream]:
            async with self._api.stream(url, body) as first:
                deadline = anyio.current_time() + first.time_left
                plan = self._plan(deadline, is_resumable=is_background, is_kept=is_kept, continued=continued)
                plan = plan._replace(on_response=on_response)
                stream = ResponseStream(self._calls, plan, stream=first)
                async with self._closing(stream, cancel_on_exit and is_background) as it:
                    yield it

        return opening()

    @asynccontextmanager
    async def _closing(self, stream: ResponseStream, cancel_on_exit: bool) -> AsyncIterator[ResponseStream]:
        """Give a stream, and close it; where the caller is cancelled meanwhile, cancel its response, if asked to."""
        try:
            yield stream
        except anyio.get_cancelled_exc_class():
            if cancel_on_exit and stream.response_id and stream.status not in SETTLED_RUN:
                await self._cancel_left(stream.response_id)
            raise
        finally:
            await stream.aclose()

    async def _cancel_left(self, response_id: str) -> None:
        with anyio.move_on_after(CANCEL_TIMEOUT, shield=True):
            try:
                await self.cancel(response_id)
            except StepStreamError as failure:
                text, ids = "the response %s could not be cancelled: %s", ids_of(ResponseKey(response_id))
                _log.warning(text, response_id, failure, extra=ids)  # mostly it has ended meanwhile

    def _resumed(self, response_id: str, after: int | None, seconds: float) -> AbstractAsyncContextManager[EventStream]:
        query = [("stream", "true"), *([] if after is None else [("starting_after", str(after))])]
        total = None if seconds == math.inf else max(0.0, seconds)
        attempts = None if after is None else 1  # what resumes a stream counts its attempts itself
        url = self._endpoint.url("responses", response_id, query=query)
        return self._api.stream(url, None, total_timeout=total, attempts=attempts)

    async def _fetched(self, response_id: str) -> ResponseAnswer:
        return ResponseAnswer.of(await self._api.get("responses", response_id))


def _object(raw: msgspec.Raw) -> Response:
    try:
        return msgspec.json.decode(raw, type=Response)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        kind = "JSON of another kind"
    raise ProtocolError(f"expected an object, got {kind}")
