"""A run driven to its end: its streams read into one processor, its tool calls answered, round after round.

The invariant: the tools of a round run once, however often their results have to be sent.

Results go to the server by a POST, whose response is the stream in which the run goes on. Where no stream follows, the
server may have the results or not, and the failure does not say which. So the run is polled first. Only if it still
waits for exactly these calls has the server not got them, and only then are the same results sent again; the tools,
which may have effects of their own, are not run a second time.

    run waits for call_1, call_2 ─ tools run ─ POST outputs ─ reset
      GET run: in_progress, … completed        the results had arrived: the run is followed to its end
      GET run: requires_action call_1, call_2  they had not: the same outputs are sent again
      GET run: requires_action call_3          they had, and this is the next round: its tools run

Why it holds: the ids of its calls tell one round from another; a server that used them again would break it. A 400 or
409 is no refusal yet: a server answers so to results that arrived before and that it waits for no more. The run is
polled after these too, and only if it still waits for the same calls were the results refused.
"""

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from msgspec.structs import replace

from stepstream.client.polling import RunKey, RunPoller
from stepstream.client.tools.toolbox import Toolbox
from stepstream.errors import APIError, ProtocolError, StepStreamError, ToolFailed, TransportError
from stepstream.fold.outcome import Outcome, usage_of
from stepstream.live.log_ids import ids_of
from stepstream.live.processor import Processor
from stepstream.live.source import Source
from stepstream.sources.http_errors import OutOfTime, is_transient
from stepstream.wire.objects import RequiredAction, Run
from stepstream.wire.tool_calls import ToolCall

MAX_ANOMALIES: Final = 1_000
RESUBMISSIONS: Final = 3
"""How often results are sent again at most where the server has not got them."""

NOT_WAITING: Final = frozenset({400, 409})
"""The statuses with which a server answers to results that it does not wait for (any more)."""

_log = logging.getLogger("stepstream.client")


OpeningStream: TypeAlias = AbstractAsyncContextManager[Any]
"""What opens a stream when it is entered."""


class RunCalls(Protocol):
    """The API calls by which a run goes on: what `drive` needs of a client."""

    def submit_tool_outputs(self, thread_id: str, run_id: str, tool_outputs: Mapping[str, str | None]) -> OpeningStream:
        """Send outputs, and give the stream that follows."""

    def submit_tool_approvals(self, thread_id: str, run_id: str, tool_approvals: Mapping[str, bool]) -> OpeningStream:
        """Send approvals, and give the stream that follows."""

    def _poll(self, key: RunKey, failure: TransportError | None) -> RunPoller[Any]:
        """Return a source that polls a run until it has ended or waits for action."""

    async def cancel_run(self, thread_id: str, run_id: str) -> Run:
        """Ask the server to cancel a run."""


class _Results(NamedTuple):
    """The results of the calls that a run waits for, by call id: outputs, or approvals."""

    key: RunKey
    is_approval: bool
    by_call: Mapping[str, Any]

    def submit(self, client: RunCalls) -> OpeningStream:
        """Send the results to the server."""
        if self.is_approval:
            return client.submit_tool_approvals(*self.key, self.by_call)
        return client.submit_tool_outputs(*self.key, self.by_call)


class _Submission:
    """Results on their way to the server, which may not get them."""

    def __init__(self, client: RunCalls, results: _Results, number: int = 1) -> None:
        self.results = results
        self.number = number
        """How often they are sent, this time included."""
        self.client = client
        self.failure: StepStreamError | None = None
        """Why no stream followed, where none did."""

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[Any]:
        """Send the results, and give the stream that follows. Where none does, give one that polls the run.

        Raises:
            APIError: the server refuses them for good.
            OutOfTime: `total_timeout` was over before they were sent.
        """
        async with AsyncExitStack() as stack:
            try:
                source = await stack.enter_async_context(self.results.submit(self.client))
            except (APIError, TransportError) as failure:
                is_refused = isinstance(failure, APIError) and failure.status_code not in NOT_WAITING
                if isinstance(failure, OutOfTime) or (is_refused and not is_transient(failure)):
                    raise
                self.failure = failure
                reason = failure if isinstance(failure, TransportError) else TransportError(str(failure))
                source = self.client._poll(self.results.key, reason)
            yield source


async def drive(
    client: RunCalls,
    processor: Processor,
    source: Source,
    tools: Toolbox | None,
    thread_id: str | None,
    *,
    context: object,
    max_rounds: int,
) -> Outcome:
    """Read `source` and the streams after it, until the run has ended or its calls were answered `max_rounds` times.

    `thread_id` is that of the run, where it is known before. Return the outcome of all streams together.
    """
    whole: Outcome | None = None
    submission: _Submission | None = None
    rounds = 0
    while True:
        try:
            outcome = await processor.run(source, context)
        except StepStreamError as failure:
            raise with_outcome(whole, failure) from failure.__cause__
        whole = outcome if whole is None else join_outcomes(whole, outcome)
        if submission is not None and outcome.reconciled and _still_waits_for(outcome, submission.results):
            submission = _resubmission(submission, whole)
        elif tools is None or rounds == max_rounds or not required_calls(outcome):
            return whole
        else:
            rounds += 1
            key = _waiting_run(outcome, thread_id, whole)
            thread_id = key.thread_id
            try:
                submission = _Submission(client, await _run_tools(outcome, tools, key, whole, context))
            except ToolFailed as failure:
                rest = await _cancel(client, processor, key, context)
                # `rest` is reconciled, since it was polled; but no stream broke.
                failure.outcome = (
                    whole if rest is None else replace(join_outcomes(whole, rest), reconciled=whole.reconciled)
                )
                raise
        source = submission.stream()


def _resubmission(lost: _Submission, whole: Outcome) -> _Submission:
    """Return the submission that sends the results of a lost one again.

    Raises:
        APIError: the server has refused them.
        TransportError: they were sent often enough.
    """
    failure = lost.failure
    if isinstance(failure, APIError) and not is_transient(failure):
        raise with_outcome(whole, failure) from failure.__cause__
    if lost.number > RESUBMISSIONS:
        text = f"the run still waits for answers that were given {lost.number} times"
        raise with_outcome(whole, TransportError(text)) from failure
    return _Submission(lost.client, lost.results, lost.number + 1)


async def _run_tools(outcome: Outcome, tools: Toolbox, key: RunKey, whole: Outcome, context: object) -> _Results:
    """Return the results of the calls that a run waits for. `whole` has the steps of all streams so far.

    Raises:
        ToolFailed: a tool failed, and the toolbox cancels the run then.
    """
    calls, action = required_calls(outcome), outcome.required_action
    if isinstance(action, RequiredAction) and action.submit_tool_approval:
        return _Results(key, True, await tools.approvals(calls))
    outputs = await tools.outputs(
        calls, run_id=key.run_id, thread_id=key.thread_id, steps=whole.steps.values(), context=context
    )
    return _Results(key, False, outputs)


async def _cancel(client: RunCalls, processor: Processor, key: RunKey, context: object) -> Outcome | None:
    """Cancel a run, and return the outcome of following it to its end, as far as that went."""
    try:
        await client.cancel_run(*key)
        return await processor.run(client._poll(key, TransportError("the run was cancelled")), context)
    except StepStreamError as failure:
        text, ids = "the run %s could not be cancelled after a tool had failed", ids_of(key)
        _log.warning(text, key.run_id, exc_info=failure, extra=ids)
        return failure.outcome


def _waiting_run(outcome: Outcome, thread_id: str | None, whole: Outcome) -> RunKey:
    """Return the ids of the newest run that waits for action. Where it does not name its thread, others may.

    Raises:
        ProtocolError: nothing that came does.
    """
    run = [run for run in outcome.runs.values() if run.status == "requires_action"][-1]
    steps = [step.thread_id for step in whole.steps.values() if step.run_id == run.id]
    messages = [message.thread_id for message in whole.messages.values() if message.run_id == run.id]
    named = [found for found in (run.thread_id, thread_id, *steps, *messages) if found]
    if not named:
        text = f"expected run {run.id}, which waits for action, to name its thread"
        raise with_outcome(whole, ProtocolError(text))
    return RunKey(named[0], run.id)


def required_calls(outcome: Outcome) -> Sequence[ToolCall]:
    """Return the calls that a run waits for, but those of unknown kinds and without an id: no result can name them."""
    action = outcome.required_action
    calls = action.tool_calls if isinstance(action, RequiredAction) else ()
    return [call for call in calls if isinstance(call, ToolCall) and call.id]


def _still_waits_for(outcome: Outcome, results: _Results) -> bool:
    """Return whether a run waits for exactly the calls whose results were sent."""
    return {call.id for call in required_calls(outcome)} == results.by_call.keys()


def with_outcome(whole: Outcome | None, failure: StepStreamError) -> StepStreamError:
    """Return a failure, its outcome completed by that of the streams before it."""
    if whole is not None:
        failure.outcome = whole if failure.outcome is None else join_outcomes(whole, failure.outcome)
    return failure


def join_outcomes(first: Outcome, second: Outcome) -> Outcome:
    """Return two outcomes, one after the other, as one."""
    steps, runs = {**first.steps, **second.steps}, {**first.runs, **second.runs}
    return replace(
        second,
        steps=steps,
        runs=runs,
        messages={**first.messages, **second.messages},
        anomalies=[*first.anomalies, *second.anomalies][:MAX_ANOMALIES],
        anomaly_count=first.anomaly_count + second.anomaly_count,
        events=first.events + second.events,
        reconciled=first.reconciled or second.reconciled,
        usage=usage_of(runs, steps.values()),
    )
