"""The client for runs: every API call that a stream of a run needs, and `drive`, which makes them in order."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, Unpack

from stepstream.client.answers import Query, ask, own_messages
from stepstream.client.api import Api, Timeouts
from stepstream.client.api_objects import object_of
from stepstream.client.driving import drive
from stepstream.client.endpoint import Auth, Endpoint
from stepstream.client.parameters import RunParameters, ThreadAndRunParameters, body_of, include_of
from stepstream.client.polling import RunKey, RunPoller
from stepstream.client.reconciliation import RunStream
from stepstream.client.tools.toolbox import Toolbox
from stepstream.errors import StepStreamError, TransportError
from stepstream.fold.outcome import Outcome
from stepstream.fold.reconcile import ServerAnswer
from stepstream.live.processor import Processor
from stepstream.sources.http import ATTEMPTS, CONNECT_TIMEOUT, FIRST_BYTE_TIMEOUT, IDLE_TIMEOUT
from stepstream.sources.http_errors import is_transient
from stepstream.sources.options import ApiKey, check_seconds
from stepstream.wire.messages import Message
from stepstream.wire.objects import Run, RunStep

RECONCILE_TIMEOUT: Final = 600.0
"""As long as OpenAI lets a run live."""
CALL_TIMEOUT: Final = 60.0
EVENT_TIMEOUT: Final = 300.0

OpeningStream: TypeAlias = AbstractAsyncContextManager[RunStream]


class RunsClient:
    """A client that opens, answers, retrieves and cancels runs.

    `base_url` is where `/threads` is, such as `https://api.example.com/v1`. `api_key` is a key, or a callable that
    returns a fresh token for each request, or an awaitable of one. It is sent as a bearer token, or, where `auth` is
    "api-key" or a key comes with an `api_version`, as Azure wants it, in the header `api-key`. A bearer token wins over
    `user:password@` in `base_url`. `headers` are sent with every request. `client` is an `httpx.AsyncClient` or
    `httpx2.AsyncClient` to use; it stays open. Without one, a connection lasts for one call, or for the block of
    `async with`; with `fast`, over aiohttp, as in `connect`.

    Timeouts are in seconds: those of `connect` for streams (`total_timeout`: with their polling), `timeout` for any
    other call, `reconcile_timeout` for polling a run whose stream broke. Requests are sent up to `attempts` times.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: ApiKey | None = None,
        auth: Auth | None = None,
        api_version: str | None = None,
        headers: Mapping[str, str] | None = None,
        client: Any = None,
        fast: bool = False,
        attempts: int = ATTEMPTS,
        connect_timeout: float = CONNECT_TIMEOUT,
        first_byte_timeout: float = FIRST_BYTE_TIMEOUT,
        idle_timeout: float = IDLE_TIMEOUT,
        event_timeout: float | None = EVENT_TIMEOUT,
        total_timeout: float | None = None,
        timeout: float = CALL_TIMEOUT,
        reconcile_timeout: float = RECONCILE_TIMEOUT,
    ) -> None:
        check_seconds(reconcile_timeout=reconcile_timeout)
        is_azure = isinstance(api_key, str) and api_version is not None
        self._endpoint = Endpoint(
            base_url=base_url,
            api_key=api_key,
            auth=auth or ("api-key" if is_azure else "bearer"),
            api_version=api_version,
            default_headers=dict(headers or {}),
        )
        self._endpoint.check()
        timeouts = Timeouts(
            connect_timeout=connect_timeout,
            first_byte_timeout=first_byte_timeout,
            idle_timeout=idle_timeout,
            event_timeout=event_timeout,
            total_timeout=total_timeout,
            timeout=timeout,
        )
        self._api = Api(self._endpoint, client, timeouts, attempts, fast=fast)
        self._reconcile_timeout = reconcile_timeout
        self._block = AsyncExitStack()

    def __repr__(self) -> str:
        return f"<RunsClient {self._endpoint!r}>"

    async def __aenter__(self) -> Self:
        await self._block.enter_async_context(self._api.keep_connections())
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._block.aclose()

    def stream_run(self, thread_id: str, **parameters: Unpack[RunParameters]) -> OpeningStream:
        """Open a run on a thread and give its stream, a source. The parameters are those of the API.

        Where the stream breaks, the run is polled: every transition that was missed is delivered, once, and the outcome
        is `reconciled`.

        Raises:
            APIError, IdleTimeout, TransportError: as `connect` does, when the stream is entered.
            TypeError: a parameter is not known, or has no JSON form.
            ValueError: `thread_id` is empty or would lead to another path.
        """
        body = body_of(parameters, RunParameters)
        return self._stream(("threads", thread_id, "runs"), body, include_of(parameters), thread_id=thread_id)

    def stream_thread_and_run(self, **parameters: Unpack[ThreadAndRunParameters]) -> OpeningStream:
        """Open a run on a new thread; otherwise as `stream_run`."""
        body = body_of(parameters, ThreadAndRunParameters)
        return self._stream(("threads", "runs"), body, include_of(parameters))

    def submit_tool_outputs(self, thread_id: str, run_id: str, tool_outputs: Mapping[str, str | None]) -> OpeningStream:
        """Send the outputs that a run waits for, by call id, and give the stream that follows; as `stream_run`."""
        outputs = [{"tool_call_id": call_id, "output": output} for call_id, output in tool_outputs.items()]
        return self._submit(thread_id, run_id, {"tool_outputs": outputs})

    def submit_tool_approvals(self, thread_id: str, run_id: str, tool_approvals: Mapping[str, bool]) -> OpeningStream:
        """Send the approvals that a run waits for, by call id; otherwise as `submit_tool_outputs`."""
        approvals = [{"tool_call_id": call_id, "approve": approve} for call_id, approve in tool_approvals.items()]
        return self._submit(thread_id, run_id, {"tool_approvals": approvals})

    async def retrieve_run(self, thread_id: str, run_id: str) -> Run:
        """Return a run in its present state. The calls below raise the same.

        Raises:
            APIError, IdleTimeout, TransportError: as `connect` does.
            ProtocolError: the body of the response is no run.
            ValueError: an id is empty or would lead to another path.
        """
        return object_of(await self._api.get("threads", thread_id, "runs", run_id), Run)

    async def cancel_run(self, thread_id: str, run_id: str) -> Run:
        """Ask the server to cancel a run, and return its present state."""
        return object_of(await self._api.post("threads", thread_id, "runs", run_id, "cancel", body={}), Run)

    async def retrieve_step(self, thread_id: str, run_id: str, step_id: str) -> RunStep:
        """Return a step in its present state."""
        return object_of(await self._api.get("threads", thread_id, "runs", run_id, "steps", step_id), RunStep)

    async def list_steps(self, thread_id: str, run_id: str) -> list[RunStep]:
        """Return all steps of a run in their present state, oldest first, from all pages."""
        raws = await self._api.list("threads", thread_id, "runs", run_id, "steps")
        return [object_of(raw, RunStep) for raw in raws]

    async def list_messages(self, thread_id: str, *, run_id: str | None = None) -> list[Message]:
        """Return all messages of a thread, or of one run in it, oldest first."""
        query = [] if run_id is None else [("run_id", run_id)]
        found = await self._api.list("threads", thread_id, "messages", query=query)
        return [object_of(raw, Message) for raw in (found if run_id is None else own_messages(found, run_id))]

    async def drive(
        self,
        processor: Processor,
        thread_id: str | None,
        toolbox: Toolbox | None = None,
        *,
        context: object = None,
        max_rounds: int = 20,
        **parameters: Unpack[ThreadAndRunParameters],
    ) -> Outcome:
        """Open a run, on a new thread where `thread_id` is None, drive it to its end, and return the whole outcome.

        All streams of the run are read into `processor`. `toolbox` answers its calls, `max_rounds` times at most;
        after that, or without a toolbox, the outcome's `required_action` says what the run waits for. Streams that
        break are reconciled, as by `stream_run`.

        Raises:
            ToolFailed: a tool failed, and the toolbox cancels the run then.
            StepStreamError: as `Processor.run` and `stream_run` do. Its outcome is that of all streams so far.
            TypeError: a parameter is not known.
        """
        if thread_id is None:
            source = self.stream_thread_and_run(**parameters)
        else:
            body = body_of(parameters, RunParameters)  # where the thread is known, it cannot be described
            source = self._stream(("threads", thread_id, "runs"), body, include_of(parameters), thread_id=thread_id)
        if max_rounds < 0:
            raise ValueError(f"expected max_rounds of at least 0, got {max_rounds}")
        return await drive(self, processor, source, toolbox, thread_id, context=context, max_rounds=max_rounds)

    def follow(self, thread_id: str, run_id: str, failure: TransportError) -> RunPoller:
        """Return a source that polls a run until it has ended or waits for action. Giving up, it names `failure`."""
        return RunPoller(self.ask, RunKey(thread_id, run_id), timeout=self._reconcile_timeout, failure=failure)

    async def ask(self, key: RunKey, include: Query = ()) -> ServerAnswer:
        """Return what the server says about a run: the run with its steps and messages."""
        return await ask(self._api, key, include)

    def _submit(self, thread_id: str, run_id: str, body: dict[str, Any]) -> OpeningStream:
        path = ("threads", thread_id, "runs", run_id, "submit_tool_outputs")
        return self._stream(path, {**body, "stream": True}, (), thread_id=thread_id, run_id=run_id)

    def _stream(
        self,
        path: Sequence[str],
        body: Mapping[str, Any],
        include: Query,
        *,
        thread_id: str | None = None,
        run_id: str | None = None,
    ) -> OpeningStream:
        """Return what opens a stream. A wrong id raises here, as a misuse, and not when the source is opened."""
        url = self._endpoint.url(*path, query=include)

        @asynccontextmanager
        async def opening() -> AsyncIterator[RunStream]:
            async with self._api.stream(url, body) as stream:
                fetch, timeout = partial(self.ask, include=include), self._reconcile_timeout
                yield RunStream(stream, fetch, self._find_run, thread_id=thread_id, run_id=run_id, timeout=timeout)

        return opening()

    async def _find_run(self, thread_id: str) -> RunKey | None:
        """Return the only run of a thread, or None where there is not exactly one, or the server does not list them.

        Raises:
            StepStreamError: a failure that may not last.
        """
        try:
            found = await self._api.list("threads", thread_id, "runs")
            return RunKey(thread_id, object_of(found[0], Run).id) if len(found) == 1 else None
        except StepStreamError as failure:
            if is_transient(failure):
                raise
            return None
