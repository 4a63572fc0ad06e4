"""The client for runs: every API call that a stream of a run needs, and `drive`, which makes them in order."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias, Unpack

from stepstream.client.answers import Query
from stepstream.client.driving import drive
from stepstream.client.lookups import LookupMethods
from stepstream.client.parameters import RunParameters, ThreadAndRunParameters, body_of, include_of
from stepstream.client.polling import RunKey, RunPoller
from stepstream.client.reconciliation import RunStream
from stepstream.client.tools.toolbox import Toolbox
from stepstream.errors import TransportError
from stepstream.fold.outcome import Outcome
from stepstream.fold.reconcile import ServerAnswer
from stepstream.live.processor import Processor

OpeningStream: TypeAlias = AbstractAsyncContextManager[RunStream]


class RunsClient(LookupMethods):
    """A client that opens, answers, retrieves and cancels runs.

    `base_url` is where `/threads` is, such as `https://api.example.com/v1`. The other options are those of `ApiClient`.
    """

    _own_headers = MappingProxyType({"OpenAI-Beta": "assistants=v2"})  # OpenAI's own API wanted it, others ignore it

    def stream_run(
        self,
        thread_id: str,
        *,
        idempotency_key: str | None = None,
        token: str | None = None,
        **parameters: Unpack[RunParameters],
    ) -> OpeningStream:
        """Open a run on a thread and give its stream, a source. The parameters are those of the API.

        Where the stream breaks, the run is polled: every transition that was missed is delivered, once, and the outcome
        is `reconciled`. `idempotency_key` is sent in the header of that name, for servers that open one run a key.
        `token` goes into the run's metadata: `attach` finds the run by it where its id never came.

        Raises:
            APIError, IdleTimeout, TransportError: as `connect` does, when the stream is entered.
            TypeError: a parameter is not known, or has no JSON form.
            ValueError: `thread_id` is empty or would lead to another path.
        """
        body = body_of(parameters, RunParameters, token)  # where the thread is known, it cannot be described
        path, include = ("threads", thread_id, "runs"), include_of(parameters)
        return self._stream(path, body, include, thread_id=thread_id, idempotency_key=idempotency_key)

    def stream_thread_and_run(
        self,
        *,
        idempotency_key: str | None = None,
        token: str | None = None,
        **parameters: Unpack[ThreadAndRunParameters],
    ) -> OpeningStream:
        """Open a run on a new thread; otherwise as `stream_run`."""
        body = body_of(parameters, ThreadAndRunParameters, token)
        return self._stream(("threads", "runs"), body, include_of(parameters), idempotency_key=idempotency_key)

    def submit_tool_outputs(self, thread_id: str, run_id: str, tool_outputs: Mapping[str, str | None]) -> OpeningStream:
        """Send the outputs that a run waits for, by call id, and give the stream that follows; as `stream_run`."""
        outputs = [{"tool_call_id": call_id, "output": output} for call_id, output in tool_outputs.items()]
        return self._submit(thread_id, run_id, {"tool_outputs": outputs})

    def submit_tool_approvals(self, thread_id: str, run_id: str, tool_approvals: Mapping[str, bool]) -> OpeningStream:
        """Send the approvals that a run waits for, by call id; otherwise as `submit_tool_outputs`."""
        approvals = [{"tool_call_id": call_id, "approve": approve} for call_id, approve in tool_approvals.items()]
        return self._submit(thread_id, run_id, {"tool_approvals": approvals})

    async def drive(
        self,
        processor: Processor,
        thread_id: str | None,
        toolbox: Toolbox | None = None,
        *,
        context: object = None,
        max_rounds: int = 20,
        idempotency_key: str | None = None,
        token: str | None = None,
        **parameters: Unpack[ThreadAndRunParameters],
    ) -> Outcome:
        """Open a run, on a new thread where `thread_id` is None, drive it to its end, and return the whole outcome.

        All streams of the run are read into `processor`. `toolbox` answers its calls, `max_rounds` times at most;
        after that, or without a toolbox, the outcome's `required_action` says what the run waits for. Streams that
        break are reconciled, and `idempotency_key` and `token` are used, as by `stream_run`.

        Raises:
            ToolFailed: a tool failed, and the toolbox cancels the run then.
            StepStreamError: as `Processor.run` and `stream_run` do. Its outcome is that of all streams so far.
            TypeError: a parameter is not known, or `thread_id` is no string.
        """
        if not isinstance(thread_id, str | None):
            got = type(thread_id).__name__
            raise TypeError(f"expected thread_id as a string, or None for a new thread, got {got}: a toolbox is third")
        known: Any = {"idempotency_key": idempotency_key, "token": token, **parameters}
        source = self.stream_thread_and_run(**known) if thread_id is None else self.stream_run(thread_id, **known)
        return await self._drive(processor, source, toolbox, thread_id, context, max_rounds)

    async def attach(
        self,
        processor: Processor,
        thread_id: str,
        run_id: str | None = None,
        toolbox: Toolbox | None = None,
        *,
        token: str | None = None,
        context: object = None,
        max_rounds: int = 20,
    ) -> Outcome:
        """Go on with a run that was opened before, by another process perhaps, and return its whole outcome.

        The server is asked what became of the run, until it has ended or waits for action: what `processor` does not
        know of it comes as transitions, all of them where it knows nothing. What waits for tools is answered, and the
        run driven to its end, as by `drive`. Where its id never came, the `token` that it was opened with finds it.

        Raises:
            RunNotFound: no run of the thread has the token.
            TransportError: also where the run went on for longer than `reconcile_timeout`.
            TypeError: not one of `run_id` and `token` is given.
            ToolFailed, StepStreamError: as `drive` does.
        """
        if (run_id is None) == (token is None):
            raise TypeError("expected run_id or token, and not both")
        if token is not None:
            run_id = await self._run_with(thread_id, token)
        key = RunKey(thread_id, str(run_id))
        return await self._drive(processor, self._poll(key, None), toolbox, thread_id, context, max_rounds)

    async def _drive(
        self,
        processor: Processor,
        source: Any,
        toolbox: Toolbox | None,
        thread_id: str | None,
        context: object,
        max_rounds: int,
    ) -> Outcome:
        if max_rounds < 0:
            raise ValueError(f"expected max_rounds of at least 0, got {max_rounds}")
        return await drive(self, processor, source, toolbox, thread_id, context=context, max_rounds=max_rounds)

    def _poll(self, key: RunKey, failure: TransportError | None) -> RunPoller[ServerAnswer]:
        """Return a source that polls a run until it has ended or waits for action. Giving up, it names `failure`."""
        return RunPoller(partial(self._ask, key), key, timeout=self._reconcile_timeout, failure=failure)

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
        idempotency_key: str | None = None,
    ) -> OpeningStream:
        """Return what opens a stream. A wrong id raises here, as a misuse, and not when the source is opened."""
        url = self._endpoint.url(*path, query=include)
        own = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}

        @asynccontextmanager
        async def opening() -> AsyncIterator[RunStream]:
            async with self._api.stream(url, body, own_headers=own) as stream:
                fetch, timeout = partial(self._ask, include=include), self._reconcile_timeout
                yield RunStream(stream, fetch, self._only_run, thread_id=thread_id, run_id=run_id, timeout=timeout)

        return opening()
