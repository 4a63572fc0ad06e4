"""The API's calls around runs, as far as a stream needs them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, Unpack

from stepstream.client.answers import field, object_of
from stepstream.client.api import Api, Timeouts
from stepstream.client.driving import drive
from stepstream.client.endpoint import ApiKey, Auth, Endpoint
from stepstream.client.parameters import RunParameters, ThreadAndRunParameters, body_of, include_of
from stepstream.client.reconciliation import Asking, RunKey, RunStream
from stepstream.client.tools import Toolbox
from stepstream.errors import APIError, StepStreamError, TransportError
from stepstream.fold.outcome import Outcome
from stepstream.fold.reconcile import ServerAnswer
from stepstream.live.processor import Processor
from stepstream.sources.http import ATTEMPTS, CONNECT_TIMEOUT, EVENT_TIMEOUT, FIRST_BYTE_TIMEOUT, IDLE_TIMEOUT
from stepstream.sources.opening import may_pass
from stepstream.sources.options import check_attempts, check_client, check_seconds
from stepstream.wire.messages import Message
from stepstream.wire.objects import Run, RunStep

RECONCILE_TIMEOUT: Final = 600.0
"""As long as OpenAI lets a run live."""

CALL_TIMEOUT: Final = 60.0

NOT_THERE: Final = frozenset({400, 404, 405, 501})
"""What a server answers that has no such list."""

Opening: TypeAlias = AbstractAsyncContextManager[RunStream]
Query: TypeAlias = Sequence[tuple[str, str]]


class RunsClient:
    """The calls that open, answer, ask for and cancel runs.

    `base_url` is where `/threads` is, such as `https://api.example.com/v1`. `api_key` is a key, or a callable that
    returns a fresh token for each request, awaited if need be. It is sent as a bearer token, or, where `auth` is
    "api-key" or a key comes with an `api_version`, as Azure wants it, in the header `api-key`. `headers` go with every
    request. `client` is an `httpx.AsyncClient` or `httpx2.AsyncClient` to use; it stays open. Without one, a connection
    lasts for one call, or for the block of `async with`; with `fast`, over aiohttp, as `connect` has it.

    Timeouts are in seconds: those of `connect` for streams, `timeout` for a plain answer, `reconcile_timeout` for
    asking what became of a run whose stream broke. `attempts` are made where it is harmless.
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
        event_timeout: float = EVENT_TIMEOUT,
        timeout: float = CALL_TIMEOUT,
        reconcile_timeout: float = RECONCILE_TIMEOUT,
    ) -> None:
        check_attempts(attempts)
        check_seconds(reconcile_timeout=reconcile_timeout)
        check_client(client, fast=fast)
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
            timeout=timeout,
        )
        self._api = Api(self._endpoint, client, timeouts, attempts, fast=fast)
        self._reconcile_timeout = reconcile_timeout
        self._block = AsyncExitStack()

    def __repr__(self) -> str:
        return f"<RunsClient {self._endpoint!r}>"

    async def __aenter__(self) -> Self:
        await self._block.enter_async_context(self._api.kept())
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._block.aclose()

    def stream_run(self, thread_id: str, **parameters: Unpack[RunParameters]) -> Opening:
        """Open a run on a thread and give its stream: a source. Its parameters are the API's.

        Where the stream breaks, the server is asked what became of the run: every transition that was missed is
        delivered, once, and the outcome is `reconciled`.

        Raises:
            APIError, IdleTimeout, TransportError: when it is entered, as `connect` does.
            TypeError: a parameter is not known, or has no JSON form.
            ValueError: the id is none.
        """
        body = body_of(parameters, RunParameters)
        return self._stream(("threads", thread_id, "runs"), body, include_of(parameters), thread_id=thread_id)

    def stream_thread_and_run(self, **parameters: Unpack[ThreadAndRunParameters]) -> Opening:
        """Open a run on a new thread, else as `stream_run`."""
        body = body_of(parameters, ThreadAndRunParameters)
        return self._stream(("threads", "runs"), body, include_of(parameters))

    def submit_tool_outputs(self, thread_id: str, run_id: str, tool_outputs: Mapping[str, str | None]) -> Opening:
        """Give the outputs that a run waits for, by call id, and the stream in which it goes on; as `stream_run`."""
        outputs = [{"tool_call_id": call_id, "output": output} for call_id, output in tool_outputs.items()]
        return self._submit(thread_id, run_id, {"tool_outputs": outputs})

    def submit_tool_approvals(self, thread_id: str, run_id: str, tool_approvals: Mapping[str, bool]) -> Opening:
        """Give the approvals that a run waits for, by call id, else as `submit_tool_outputs`."""
        approvals = [{"tool_call_id": call_id, "approve": approve} for call_id, approve in tool_approvals.items()]
        return self._submit(thread_id, run_id, {"tool_approvals": approvals})

    async def retrieve_run(self, thread_id: str, run_id: str) -> Run:
        """Return a run as it stands.

        Raises:
            APIError, IdleTimeout, TransportError: as `connect` does.
            ProtocolError: the answer is no run. All calls below raise alike.
            ValueError: an id is none.
        """
        return object_of(await self._api.get("threads", thread_id, "runs", run_id), Run)

    async def cancel_run(self, thread_id: str, run_id: str) -> Run:
        """Have a run cancelled, and return it as it stands."""
        return object_of(await self._api.post("threads", thread_id, "runs", run_id, "cancel", body={}), Run)

    async def retrieve_step(self, thread_id: str, run_id: str, step_id: str) -> RunStep:
        """Return a step as it stands."""
        return object_of(await self._api.get("threads", thread_id, "runs", run_id, "steps", step_id), RunStep)

    async def list_steps(self, thread_id: str, run_id: str) -> list[RunStep]:
        """Return all steps of a run as they stand, oldest first, from as many pages as there are."""
        raws = await self._api.list("threads", thread_id, "runs", run_id, "steps")
        return [object_of(raw, RunStep) for raw in raws]

    async def list_messages(self, thread_id: str, *, run_id: str | None = None) -> list[Message]:
        """Return all messages of a thread, or of one run in it, oldest first."""
        query = [] if run_id is None else [("run_id", run_id)]
        found = [object_of(raw, Message) for raw in await self._api.list("threads", thread_id, "messages", query=query)]
        return [message for message in found if run_id in (None, message.run_id)]

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
        """Open a run, on a new thread where `thread_id` is None, and see it to its end. Return what all of it came to.

        All streams of the run are read into `processor`. What it asks for, `toolbox` answers, `max_rounds` times at
        most; then, or without one, the outcome's `required_action` says what it waits for. Streams that break are
        reconciled, as by `stream_run`.

        Raises:
            ToolFailed: a tool failed and the toolbox cancels then; the run is cancelled.
            StepStreamError: as `Processor.run` and `stream_run` do. Its outcome has everything before it.
            TypeError: a parameter is not known.
        """
        if thread_id is None:
            source = self.stream_thread_and_run(**parameters)
        else:
            body = body_of(parameters, RunParameters)  # where the thread is known, it cannot be described
            source = self._stream(("threads", thread_id, "runs"), body, include_of(parameters), thread_id=thread_id)
        if max_rounds < 0:
            raise ValueError(f"expected max_rounds of at least 0, got {max_rounds}")
        return await drive(self, processor, source, toolbox, context=context, max_rounds=max_rounds)

    def follow(self, thread_id: str, run_id: str, failure: TransportError) -> Asking:
        """Return a source that asks for a run until it is settled; `failure` says why, where it gives up."""
        return Asking(self.ask, RunKey(thread_id, run_id), timeout=self._reconcile_timeout, failure=failure)

    async def ask(self, key: RunKey, include: Query = ()) -> ServerAnswer:
        """Return everything that the server says of a run."""
        path = ("threads", key.thread_id, "runs", key.run_id)
        run = await self._api.get(*path)
        object_of(run, Run)  # without it, there is nothing to tell; what else cannot be read is an anomaly
        steps = await self._api.list(*path, "steps", query=include)
        try:
            messages = await self._api.list("threads", key.thread_id, "messages", query=[("run_id", key.run_id)])
        except APIError as refusal:
            if refusal.status_code not in NOT_THERE:
                raise
            messages = []  # a server of runs only
        own = [raw for raw in messages if field(raw, "run_id") == key.run_id]
        return ServerAnswer(bytes(run), tuple(map(bytes, steps)), tuple(map(bytes, own)))

    def _submit(self, thread_id: str, run_id: str, body: dict[str, Any]) -> Opening:
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
    ) -> Opening:
        """Return what opens a stream. What can be wrong with the request is told now, and not as a source's failure."""
        url = self._endpoint.url(*path, query=include)

        @asynccontextmanager
        async def opening() -> AsyncIterator[RunStream]:
            async with self._api.stream(url, body) as stream:
                ask, timeout = partial(self.ask, include=include), self._reconcile_timeout
                yield RunStream(stream, ask, self._find, thread_id=thread_id, run_id=run_id, timeout=timeout)

        return opening()

    async def _find(self, thread_id: str) -> RunKey | None:
        """Return the only run of a thread, or None where that cannot be told.

        Raises:
            StepStreamError: it may be told if asked again.
        """
        try:
            found = await self._api.list("threads", thread_id, "runs")
            return RunKey(thread_id, object_of(found[0], Run).id) if len(found) == 1 else None
        except StepStreamError as failure:
            if may_pass(failure):
                raise
            return None
