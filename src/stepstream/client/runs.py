"""The client for runs: every API call that a stream of a run needs, and `drive`, which makes them in order."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias, Unpack

from stepstream.client.answers import Query, ask, own_messages
from stepstream.client.api_client import ApiClient
from stepstream.client.api_objects import object_of
from stepstream.client.driving import drive
from stepstream.client.parameters import RunParameters, ThreadAndRunParameters, body_of, include_of
from stepstream.client.polling import RunKey, RunPoller
from stepstream.client.reconciliation import RunStream
from stepstream.client.tools.toolbox import Toolbox
from stepstream.errors import StepStreamError, TransportError
from stepstream.fold.outcome import Outcome
from stepstream.fold.reconcile import ServerAnswer
from stepstream.live.processor import Processor
from stepstream.sources.http_errors import is_transient
from stepstream.wire.messages import Message
from stepstream.wire.objects import Run, RunStep

OpeningStream: TypeAlias = AbstractAsyncContextManager[RunStream]


class RunsClient(ApiClient):
    """A client that opens, answers, retrieves and cancels runs.

    `base_url` is where `/threads` is, such as `https://api.example.com/v1`. The other options are those of `ApiClient`.
    """

    own_headers = MappingProxyType({"OpenAI-Beta": "assistants=v2"})  # OpenAI's own API wanted it, others ignore it

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

    def follow(self, thread_id: str, run_id: str, failure: TransportError) -> RunPoller[ServerAnswer]:
        """Return a source that polls a run until it has ended or waits for action. Giving up, it names `failure`."""
        key = RunKey(thread_id, run_id)
        return RunPoller(partial(self.ask, key), key, timeout=self._reconcile_timeout, failure=failure)

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
