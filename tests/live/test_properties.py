"""Whatever the runs, the chunks and the subscribers: order by run, no loss, one end of every step."""

from collections import defaultdict
from typing import Any

import anyio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepstream import Outcome, Processor, StepTransition, ToolCallFinished, ToolCallStarted
from stepstream.live.registration import CLASSES
from tests.support.byte_chunks import pieces
from tests.support.run_streams import (
    DONE,
    Audience,
    Sent,
    SlowAudience,
    as_far_as_it_came,
    call,
    grows,
    message,
    opens,
    run,
    says,
    source,
    sse,
    step,
    told,
    with_pauses,
    writing,
)

checked = settings(
    max_examples=max(15, settings().max_examples // 4),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

WORDS = st.text('ab\n"é{}', min_size=1, max_size=5)


@st.composite
def plays(draw: st.DrawFn, number: int) -> list[Sent]:
    """The events of one run: tool steps that overlap, a message, things said twice, an end or none."""
    names = [f"step_{number}_{place}" for place in range(draw(st.integers(1, 3)))]
    stories = [draw(tool_stories(number, name)) for name in names]
    if draw(st.booleans()):
        texts = draw(st.lists(WORDS, max_size=3))
        told_so = [says(text, number) for text in texts]
        ended = [message("completed", number, "".join(texts)), writing("completed", number)]
        stories.append([writing("created", number), message("created", number), *told_so, *ended])
    between = draw(interleaved(stories))
    return [run("queued", number), run("in_progress", number), *between, run("completed", number), DONE]


@st.composite
def tool_stories(draw: st.DrawFn, number: int, name: str) -> list[Sent]:
    pieces = draw(st.lists(WORDS, max_size=4))
    end = step(
        draw(st.sampled_from(["completed", "failed", "cancelled"])),
        number,
        step_id=name,
        calls=[call(number, "".join(pieces), "out")],
    )
    deltas = [opens(number, step_id=name), *(grows(piece, step_id=name) for piece in pieces)]
    return [step("created", number, step_id=name), *deltas, *[end] * draw(st.integers(1, 2))]


@st.composite
def interleaved(draw: st.DrawFn, stories: list[list[Any]]) -> list[Any]:
    """The stories in one, each in its own order."""
    turns = draw(st.permutations([place for place, story in enumerate(stories) for _ in story]))
    left = [iter(story) for story in stories]
    return [next(left[turn]) for turn in turns]


@st.composite
def casts(draw: st.DrawFn) -> list[list[Sent]]:
    return [draw(plays(number)) for number in range(draw(st.integers(1, 4)))]


class Raising(Audience):
    """Notes the change, and raises."""

    async def __call__(self, change: Any) -> None:
        await super().__call__(change)
        raise ValueError("of the callback")


class Leaving(Audience):
    """Closes its subscription after so many changes."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self.subscription: Any = None

    async def __call__(self, change: Any) -> None:
        await super().__call__(change)
        if len(self) >= self.limit:
            self.subscription.close()


audiences = st.lists(
    st.one_of(st.builds(Audience), st.builds(Raising), st.builds(SlowAudience), st.builds(Leaving, st.integers(1, 30))),
    max_size=4,
)


async def alone(sent: list[Sent]) -> tuple[list[tuple[str, int]], Outcome]:
    """What a stream does when nothing else happens, and its outcome."""
    audience = Audience()
    async with Processor() as processor:
        processor.add(CLASSES, audience)
        outcome = await processor.run(source(sse(sent)))
    return told(audience), outcome


@checked
@given(cast=casts(), others=audiences, size=st.integers(1, 400), pauses=st.integers(1, 5))
async def test_streams_at_once_do_what_each_does_alone(
    cast: list[list[Sent]], others: list[Audience], size: int, pauses: int
):
    """Every subscriber gets, of each run, what it does alone, in its order; who left got the beginning."""
    everything, outcomes = Audience(), {}

    async def read(number: int, sent: list[Sent]) -> None:
        outcomes[number] = await processor.run(with_pauses(pieces(sse(sent), size), pauses), context=number)

    async with Processor() as processor:
        processor.add(CLASSES, everything)
        for other in others:
            subscription = processor.add(CLASSES, other)
            if isinstance(other, Leaving):
                other.subscription = subscription
        async with anyio.create_task_group() as tasks:
            for number, sent in enumerate(cast):
                tasks.start_soon(read, number, sent)
    for number, sent in enumerate(cast):
        expected, outcome = await alone(sent)
        assert outcomes[number].steps == outcome.steps
        assert outcomes[number].messages == outcome.messages
        assert of_stream(everything, number) == expected
        for other in others:
            got = of_stream(other, number)
            assert got == (expected[: len(got)] if isinstance(other, Leaving) else expected)
    for other in others:
        assert not isinstance(other, Leaving) or len(other) == min(other.limit, len(everything))


def of_stream(changes: list[Any], number: int) -> list[tuple[str, int]]:
    return told(change for change in changes if change.context == number)


@checked
@given(cast=casts(), size=st.integers(1, 400), pauses=st.integers(1, 5))
async def test_every_step_ends_once_and_every_call_starts_and_finishes_once(
    cast: list[list[Sent]], size: int, pauses: int
):
    audience = Audience()
    async with Processor() as processor:
        processor.add(CLASSES, audience)
        for number, sent in enumerate(cast):
            processor.start(with_pauses(pieces(sse(sent), size), pauses), context=number)
    ends: dict[tuple[str, str], int] = defaultdict(int)
    for change in audience:
        if isinstance(change, StepTransition):
            ends["ended", change.step_id] += change.terminal
        elif isinstance(change, ToolCallStarted | ToolCallFinished):
            ends[type(change).__name__, change.step_id] += 1
    assert set(ends.values()) == {1}
    assert {what for what, _ in ends} == {"ended", "ToolCallStarted", "ToolCallFinished"}


@checked
@given(sent=plays(1), place=st.integers(0, 60), size=st.integers(1, 400))
async def test_stream_that_breaks_and_is_read_again_ends_every_step_once(sent: list[Sent], place: int, size: int):
    audience = Audience()
    async with Processor() as processor:
        processor.add(StepTransition, audience)
        await as_far_as_it_came(processor.run(source(*pieces(sse(sent[:place]), size))))
        outcome = await processor.run(source(*pieces(sse(sent), size)))
    ends = [change.step_id for change in audience if change.terminal]
    assert sorted(ends) == sorted(outcome.steps)


TORN = [b"event: thread.run.step.created", b"\n", b"\r", b"\n\n", b"data: {", b"data: 1", b"data:[" * 99, b"\xff", b":"]


@checked
@given(data=st.lists(st.sampled_from(TORN)).map(b"".join), size=st.integers(1, 50))
async def test_no_bytes_make_a_run_raise_anything_but_truncation(data: bytes, size: int):
    async with Processor() as processor:
        outcome = await as_far_as_it_came(processor.run(source(*pieces(data, size))))
    assert (outcome.reason, outcome.steps, outcome.anomaly_count <= outcome.events) == (None, {}, True)
