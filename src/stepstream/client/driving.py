"""A run to its end: its streams read into one processor, its calls answered, round after round."""

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, NamedTuple, Protocol

from msgspec.structs import replace

from stepstream.client.reconciliation import Asking, RunKey
from stepstream.client.tools import Toolbox
from stepstream.errors import APIError, StepStreamError, ToolFailed, TransportError
from stepstream.fold.outcome import Outcome, usage_of
from stepstream.live.processor import Processor
from stepstream.live.source import Source
from stepstream.sources.opening import may_pass
from stepstream.wire.objects import RequiredAction, Run
from stepstream.wire.tool_calls import ToolCall

MAX_ANOMALIES: Final = 1_000
RESUBMISSIONS: Final = 3
"""How often answers are given again where the server says that it has not got them."""

NOT_WAITING: Final = frozenset({400, 409})
"""What a server answers to outputs that it does not wait for any more."""

_log = logging.getLogger("stepstream.client")


class Answering(Protocol):
    """The calls by which a run goes on."""

    def submit_tool_outputs(self, thread_id: str, run_id: str, tool_outputs: Mapping[str, str | None]) -> Source:
        """Give outputs, and the stream that follows."""

    def submit_tool_approvals(self, thread_id: str, run_id: str, tool_approvals: Mapping[str, bool]) -> Source:
        """Give approvals, and the stream that follows."""

    def follow(self, thread_id: str, run_id: str, failure: TransportError) -> Asking:
        """Ask for a run until it is settled."""

    async def cancel_run(self, thread_id: str, run_id: str) -> Run:
        """Have a run cancelled."""


class _Round(NamedTuple):
    """The calls that a run waits for, and the answers to them."""

    key: RunKey
    is_approval: bool
    answers: Mapping[str, Any]

    def submitted(self, client: Answering) -> Source:
        """Give the answers to the server."""
        if self.is_approval:
            return client.submit_tool_approvals(*self.key, self.answers)
        return client.submit_tool_outputs(*self.key, self.answers)


class _Submission:
    """Answers on their way to the server, which may lose them: then they are given again."""

    def __init__(self, client: Answering, answers: _Round, number: int = 1) -> None:
        self.round = answers
        self.number = number
        """How often they are given, this time included."""
        self.client = client
        self.failure: StepStreamError | None = None
        """Why no stream followed, where none did."""

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[Any]:
        """Give the answers, and the stream that follows. Where none does, the server is asked what became of the run.

        Raises:
            APIError: the server refuses them for good.
        """
        async with AsyncExitStack() as stack:
            try:
                source = await stack.enter_async_context(self.round.submitted(self.client))
            except (APIError, TransportError) as failure:
                if isinstance(failure, APIError) and not (may_pass(failure) or failure.status_code in NOT_WAITING):
                    raise
                self.failure = failure
                reason = failure if isinstance(failure, TransportError) else TransportError(str(failure))
                source = self.client.follow(*self.round.key, reason)
            yield source


async def drive(
    client: Answering, processor: Processor, source: Source, tools: Toolbox | None, *, context: object, max_rounds: int
) -> Outcome:
    """Read `source` and what follows the answers to its calls, until the run has ended or `max_rounds` are over."""
    whole: Outcome | None = None
    submission: _Submission | None = None
    rounds = 0
    while True:
        try:
            outcome = await processor.run(source, context)
        except StepStreamError as failure:
            raise _with(whole, failure) from failure.__cause__
        whole = outcome if whole is None else merged(whole, outcome)
        if submission is not None and outcome.reconciled and _asks(outcome, submission.round):
            submission = _once_more(submission, whole)
        elif tools is None or rounds == max_rounds or not _calls(outcome):
            return whole
        else:
            rounds += 1
            try:
                submission = _Submission(client, await _answer(outcome, tools))
            except ToolFailed as failure:
                rest = await _cancel(client, processor, outcome, context)
                failure.outcome = whole if rest is None else replace(merged(whole, rest), reconciled=whole.reconciled)
                raise
        source = submission.stream()


def _once_more(lost: _Submission, whole: Outcome) -> _Submission:
    """Return answers that the server has not got as they are to be given again.

    Raises:
        APIError: it has refused them.
        TransportError: they were given often enough.
    """
    failure = lost.failure
    if isinstance(failure, APIError) and not may_pass(failure):
        raise _with(whole, failure) from failure.__cause__
    if lost.number > RESUBMISSIONS:
        text = f"the run still waits for answers that were given {lost.number} times"
        raise _with(whole, TransportError(text)) from failure
    return _Submission(lost.client, lost.round, lost.number + 1)


async def _answer(outcome: Outcome, tools: Toolbox) -> _Round:
    calls, action = _calls(outcome), outcome.required_action
    if isinstance(action, RequiredAction) and action.submit_tool_approval:
        return _Round(_waiting(outcome), True, await tools.approvals(calls))
    return _Round(_waiting(outcome), False, await tools.outputs(calls))


async def _cancel(client: Answering, processor: Processor, outcome: Outcome, context: object) -> Outcome | None:
    """Cancel a run and return how that went, as far as it did."""
    key = _waiting(outcome)
    try:
        await client.cancel_run(*key)
        return await processor.run(client.follow(*key, TransportError("the run was cancelled")), context)
    except StepStreamError as failure:
        _log.warning("the run %s could not be cancelled after a tool had failed", key.run_id, exc_info=failure)
        return failure.outcome


def _waiting(outcome: Outcome) -> RunKey:
    """Return the newest run that waits for action."""
    run = [run for run in outcome.runs.values() if run.status == "requires_action"][-1]
    return RunKey(run.thread_id or "", run.id)


def _calls(outcome: Outcome) -> Sequence[ToolCall]:
    """Return the calls that a run waits for, as far as they can be answered."""
    action = outcome.required_action
    calls = action.tool_calls if isinstance(action, RequiredAction) else ()
    return [call for call in calls if isinstance(call, ToolCall) and call.id]


def _asks(outcome: Outcome, answered: _Round) -> bool:
    """Tell whether a run still waits for what it was given."""
    return {call.id for call in _calls(outcome)} == answered.answers.keys()


def _with(whole: Outcome | None, failure: StepStreamError) -> StepStreamError:
    """Return a failure with everything that came before it."""
    if whole is not None:
        failure.outcome = whole if failure.outcome is None else merged(whole, failure.outcome)
    return failure


def merged(first: Outcome, second: Outcome) -> Outcome:
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
