"""A stream that breaks and goes on with what the server says when it is asked: a source of `ServerAnswer`."""

import json
from typing import Any

import pytest

from stepstream import (
    Anomaly,
    MessageTransition,
    Outcome,
    Processor,
    Reconnected,
    RunTransition,
    StepTransition,
    StreamTruncated,
)
from stepstream.fold.reconcile import ServerAnswer
from tests.support.run_streams import DONE, call, grows, message, opens, play, run, source, sse, step, writing

JSON = dict[str, Any]


def raw(sent: tuple[str, JSON | None]) -> bytes:
    """Return the object of an event."""
    return json.dumps(sent[1]).encode()


def truth(*, completed: bool = True) -> ServerAnswer:
    """Return what the server says of the run of `play`, at its end or before its message."""
    steps = (raw(step("completed", calls=[call(1, '{"a":1}', "2")])),)
    if not completed:
        return ServerAnswer(raw(run("in_progress")), steps)
    return ServerAnswer(
        raw(run("completed")), (*steps, raw(writing("completed"))), (raw(message("completed", 1, "It is 2.")),)
    )


class Seen:
    """The transitions that a subscriber saw, as text, and the codes of the anomalies."""

    def __init__(self) -> None:
        self.moves: list[str] = []
        self.anomalies: list[str] = []

    async def note(self, change: StepTransition | RunTransition | MessageTransition | Anomaly) -> None:
        if isinstance(change, Anomaly):
            self.anomalies.append(change.code)
        else:
            kind = type(change).__name__.removesuffix("Transition").lower()
            self.moves.append(f"{kind} {change.status}")


async def read(*items: object, **options: Any) -> tuple[Outcome, Seen]:
    seen = Seen()
    async with Processor(**options) as processor:
        processor.add((StepTransition, RunTransition, MessageTransition, Anomaly), seen.note)
        return await processor.run(source(*items)), seen


WHOLE = [
    "run queued",
    "run in_progress",
    "step in_progress",
    "step completed",
    "step in_progress",
    "message in_progress",
    "message completed",
    "step completed",
    "run completed",
]


async def test_truth_tells_what_the_stream_did_not():
    outcome, seen = await read(sse(play()[:5]), Reconnected(), truth(completed=False), truth())
    assert (seen.moves, seen.anomalies) == (WHOLE, [])
    assert (outcome.reason, outcome.reconciled) == ("ended", True)
    assert outcome.messages["msg_1"].content[0].text.value == "It is 2."


async def test_truth_alone_is_a_stream():
    outcome, seen = await read(truth())
    assert (seen.moves, outcome.reason, outcome.reconciled) == (WHOLE, "ended", True)


async def test_stream_is_over_where_nothing_was_missed():
    outcome, seen = await read(sse(play()[:-1]), Reconnected(), truth())
    assert (outcome.reason, outcome.reconciled, outcome.events) == ("ended", True, 14 + 1)  # a run without its usage
    assert seen.moves == WHOLE


async def test_run_that_another_stream_told_of_is_in_the_outcome_though_nothing_was_missed():
    async with Processor() as processor:
        await processor.run(source(sse(play())))
        told = ServerAnswer(raw(play()[-2]), truth().steps, truth().messages)
        outcome = await processor.run(source(told))
    assert (list(outcome.runs), outcome.events, outcome.reason) == (["run_1"], 0, "ended")


async def test_stream_that_was_not_reconciled_says_so():
    outcome, _ = await read(sse(play()))
    assert outcome.reconciled is False


async def test_run_that_goes_on_is_truncated():
    with pytest.raises(StreamTruncated) as caught:
        await read(sse(play()[:2]), Reconnected(), truth(completed=False))
    assert caught.value.outcome.reconciled
    assert list(caught.value.outcome.steps) == ["step_1"]


async def test_reconnected_drops_what_had_come_of_an_event():
    block = sse([grows("1}")])
    outcome, seen = await read(sse([run("queued"), step("created"), opens()]), block[:-9], Reconnected(), truth())
    assert seen.anomalies == []
    assert outcome.steps["step_1"].tool_calls[0].function.arguments == '{"a":1}'


async def test_done_after_truth_is_the_end():
    outcome, _ = await read(truth(), sse([DONE]), b"event: thread.run.failed\ndata: {}\n\n")
    assert outcome.reason == "done"


@pytest.mark.parametrize("bad", [b"{", b"[]", b'{"id": 1}'])
async def test_object_that_cannot_be_read_is_an_anomaly_of_the_stream(bad: bytes):
    outcome, seen = await read(sse([run("queued")]), ServerAnswer(raw(run("completed")), (bad,)))
    assert (seen.anomalies, outcome.reason) == (["undecodable_event"], "ended")


async def test_depth_is_that_of_the_processor():
    deep = raw(step("completed", metadata={"a": [[[[[]]]]]}))
    outcome, seen = await read(ServerAnswer(raw(run("completed")), (deep,)), max_depth=4)
    assert (set(seen.anomalies), outcome.steps) == ({"too_deep"}, {})


async def test_message_in_progress_ends_as_the_server_says():
    outcome, seen = await read(sse(play()[:10]), truth())
    assert (seen.moves, seen.anomalies) == (WHOLE, [])
    assert outcome.messages["msg_1"].status == "completed"
