"""How one stream ended, with everything it touched."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from stepstream.fold.anomalies import Anomaly
from stepstream.fold.stream_state import StreamState
from stepstream.wire.base import Unknown
from stepstream.wire.messages import Message
from stepstream.wire.objects import RequiredAction, Run, RunStep, Usage


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a stream ended and what it touched, in order of first sight. Nothing in it changes any more."""

    reason: Literal["done", "ended"] | None
    """"done": the `done` event came, or `[DONE]` without a name while a run was open. "ended": it did not, but every
    run of the stream has ended or waits for action. None in the outcome of an exception."""
    steps: Mapping[str, RunStep]
    runs: Mapping[str, Run]
    messages: Mapping[str, Message]
    anomalies: list[Anomaly]
    """The first 1,000."""
    anomaly_count: int
    events: int
    """How many events the stream had."""
    required_action: RequiredAction | Unknown | None
    """What the newest run that waits for action asks for."""
    reconciled: bool
    """Whether the stream broke, and the server was asked for the rest."""
    usage: Usage
    """Token totals over the runs; of a run without usage, those of its steps."""

    @property
    def final_run(self) -> Run | None:
        """The newest of the runs, or None."""
        return next(reversed(list(self.runs.values())), None)

    @property
    def run(self) -> Run | None:
        """The newest of the runs, or None."""
        return self.final_run

    @property
    def status(self) -> str | None:
        """The status of that run; None where there is none. A stream that ended well may tell of a run that failed."""
        return (self.final_run.status or None) if self.final_run is not None else None

    @property
    def text(self) -> str:
        """The texts of the messages that were written, in order, joined."""
        return "".join(message.text for message in self.messages.values() if message.role != "user")

    @property
    def final_steps(self) -> list[RunStep]:
        """The steps, in order of first sight."""
        return list(self.steps.values())

    @property
    def final_messages(self) -> list[Message]:
        """The messages, in order of first sight."""
        return list(self.messages.values())

    def __reduce__(self) -> tuple[Callable[..., "Outcome"], tuple[Mapping[str, Any]]]:
        """Pickle it without the contexts, which are any objects at all and belong to the process that gave them."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        return _rebuilt, (fields | {"anomalies": [replace(anomaly, context=None) for anomaly in self.anomalies]},)

    def __repr__(self) -> str:
        return (
            f"<Outcome {self.reason or 'broken'}, run {self.status or 'unknown'}: {self.events:,} events, "
            f"{len(self.steps):,} steps, {len(self.runs):,} runs, {len(self.messages):,} messages, "
            f"{self.anomaly_count:,} anomalies>"
        )


def _rebuilt(fields: Mapping[str, Any]) -> Outcome:
    return Outcome(**fields)


def outcome_of(stream: StreamState, reason: Literal["done", "ended"] | None) -> Outcome:
    """Return the outcome of a stream as of now."""
    steps = {identifier: step.snapshot() for identifier, step in stream.steps.touched.items()}
    asked = [run.required_action for run in stream.runs.values() if run.status == "requires_action"]
    return Outcome(
        reason=reason,
        steps=steps,
        runs=dict(stream.runs),
        messages={identifier: message.snapshot() for identifier, message in stream.messages.touched.items()},
        anomalies=list(stream.anomalies),
        anomaly_count=stream.anomaly_count,
        events=stream.sequence,
        required_action=(asked[-1] or None) if asked else None,
        reconciled=stream.is_reconciled,
        usage=usage_of(stream.runs, steps.values()),
    )


def usage_of(runs: Mapping[str, Run], steps: Iterable[RunStep]) -> Usage:
    """Return the tokens of runs; of a run without usage, those of its steps."""
    given = [run.usage for run in runs.values() if run.usage]
    with_usage = {run.id for run in runs.values() if run.usage}
    given += [step.usage for step in steps if step.usage and step.run_id not in with_usage]
    return Usage(
        prompt_tokens=sum(usage.prompt_tokens or 0 for usage in given),
        completion_tokens=sum(usage.completion_tokens or 0 for usage in given),
        total_tokens=sum(usage.total_tokens or 0 for usage in given),
    )
