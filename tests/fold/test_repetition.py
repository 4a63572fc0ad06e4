"""A run that is told again, folded apart until it is as far as what is known: whatever way a server tells it again."""

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, groupby
from typing import Any, Final, NamedTuple

import pytest

from stepstream.errors import StreamTruncated
from stepstream.fold.accumulator import Accumulator
from stepstream.fold.changes import Change
from stepstream.fold.checkpoint import save_run
from stepstream.fold.ending import StreamEnding
from stepstream.fold.outcome import outcome_of
from stepstream.fold.repetition import Repetition
from stepstream.wire.events import Event, UnknownData
from stepstream.wire.objects import Run
from tests.support.journals import NAMED
from tests.support.json_values import JSON
from tests.support.response_streams import (
    RESPONSE,
    calling,
    ended,
    frames,
    item,
    lifecycle,
    text,
    thinking,
    whole,
    writing,
)

Telling = Callable[[Sequence[JSON]], list[JSON]]


def in_pieces_of(size: int) -> Telling:
    """Return what joins the deltas of each text to pieces of several."""

    def telling(events: Sequence[JSON]) -> list[JSON]:
        told = list[JSON]()
        for (kind, item_id), some in groupby(events, key=lambda one: (one["type"], one.get("item_id"))):
            same = list(some)
            if not kind.endswith(".delta") or item_id is None:
                told += same
                continue
            parts = [same[at : at + size] for at in range(0, len(same), size)]
            told += [{**part[-1], "delta": "".join([one["delta"] for one in part])} for part in parts]
        return told

    return telling


def without(*ends: str) -> Telling:
    return lambda events: [one for one in events if not one["type"].endswith(ends)]


def by_its_end(events: Sequence[JSON]) -> list[JSON]:
    return [lifecycle("in_progress"), events[-1]]


TELLINGS: Final[Mapping[str, Telling]] = {
    "as before": list,
    "in larger pieces": in_pieces_of(3),
    "in single pieces": in_pieces_of(1_000),
    "without pieces": without(".delta"),
    "without what is told twice": without("text.done", "part.done", "arguments.done"),
    "by its end": by_its_end,
}
"""How a server may tell of a response."""

FOG: Final = ended(item(), content=[text("Fog")])

RESPONSES: Final[Mapping[str, list[JSON]]] = {
    "message": whole(writing("Fog over the bay")),
    "two messages": whole(writing("Fog"), writing("Rain", 2, 1)),
    "messages that take turns": whole([*chain(*zip(writing("Fog"), writing("Sun", 2, 1), strict=True))]),
    "thoughts": whole(thinking("Tides", "High or low"), writing("Low", 2, 1)),
    "calls": whole(calling('{"a": 1}'), calling("{}", 2, 1)),
    "failed": whole(writing("Fog"), end=lifecycle("failed", FOG, error={"code": "server_error", "message": "no"})),
    "long": whole(writing("Fog over the bay, no wind. " * 4)),
}


def translated(events: Sequence[JSON]) -> list[Event]:
    fold = Accumulator(dialect="responses")
    return [event for frame in frames(events) for event in fold.translation.feed(frame)]


class Told(NamedTuple):
    fold: Accumulator
    changes: list[Change]

    @property
    def keys(self) -> list[str]:
        return [one.key for one in self.changes if type(one) in NAMED]

    @property
    def state(self) -> tuple[Any, ...]:
        return dict(self.fold.runs), dict(self.fold.steps), dict(self.fold.messages)


def folded(events: Sequence[Event]) -> Told:
    fold = Accumulator()
    return Told(fold, [change for event in events for change in fold.apply(event)])


def entry_of(fold: Accumulator) -> Any:
    return fold.state.entry(f"run:{RESPONSE}")


def go_on(told: Told, repetition: Repetition, again: Sequence[Event]) -> int:
    """Fold what is told again, as a stream does. Return how many events were news."""
    left, news = list(again), list[Event]()
    is_as_far = False
    while left and not is_as_far:
        is_as_far = repetition.fold(left.pop(0))
    if is_as_far or repetition.end():
        for frame in repetition.missed(told.fold.state):
            news.append(told.fold.translation.decode(frame))
            told.changes.extend(told.fold.apply(news[-1]))
    for event in left:
        told.changes.extend(told.fold.apply(event))
    return len(news) + len(left)


@pytest.mark.parametrize("again", TELLINGS)
@pytest.mark.parametrize("name", RESPONSES)
def test_response_that_is_told_again_is_told_once(name: str, again: str):
    second = translated(TELLINGS[again](RESPONSES[name]))
    for before in (one for one in TELLINGS if one != "by its end"):
        first = translated(TELLINGS[before](RESPONSES[name]))
        expected = folded(first)
        for cut in range(1, len(first) + 1, 1 + len(first) // 8):
            told = folded(first[:cut])
            news = go_on(told, Repetition(entry_of(told.fold), cut), second)
            assert told.state == expected.state
            assert told.fold.anomalies == []
            assert (len(told.keys), set(told.keys)) == (len(set(told.keys)), set(expected.keys))
            assert before != again or news == len(first) - cut


def test_response_is_told_again_from_a_checkpoint():
    events = translated(RESPONSES["calls"])
    expected = folded(events)
    for begins in range(1, len(events), 5):
        checkpoint = save_run(folded(events[:begins]).fold.stream, RESPONSE)
        for cut in range(begins + 1, len(events) + 1):
            told = folded(events[:cut])
            news = go_on(told, Repetition(entry_of(told.fold), cut - begins, checkpoint), events[begins:])
            assert (told.state, told.fold.anomalies, news) == (expected.state, [], len(events) - cut)


def seconds_to_tell_again(count: int) -> float:
    events = translated(whole(*[writing("a", number, number) for number in range(count)]))[:-1]  # it goes on
    told, times = folded(events), list[float]()
    for _ in range(3):
        repetition = Repetition(entry_of(told.fold), len(events))
        begun = time.process_time()
        assert [repetition.fold(event) for event in events][-1]
        times.append(time.process_time() - begun)
    return min(times)


def test_event_that_is_told_again_costs_no_more_in_a_long_run():
    # Eight times the messages take eight times the time, and would take 64 times if each event looked at all of them.
    assert seconds_to_tell_again(640) < 28 * seconds_to_tell_again(80)


def test_what_broke_before_it_was_as_far_tells_nothing():
    events = translated(RESPONSES["message"])
    told = folded(events)
    before = list(told.changes)
    for cut in range(len(events)):
        repetition = Repetition(entry_of(told.fold), len(events))
        assert go_on(told, repetition, events[:cut]) == 0
        assert (repetition.is_settled, repetition.key) == (False, f"run:{RESPONSE}")
    assert told.changes == before


def test_item_that_has_another_id_when_it_is_told_again_is_told_beside_the_first_when_the_response_has_ended():
    events, other = RESPONSES["message"], whole(writing("Fog over the bay", number=2))
    told = folded(translated(events)[:8])
    go_on(told, Repetition(entry_of(told.fold), 8), translated(other))
    texts = {identifier: message.text for identifier, message in told.fold.messages.items()}
    assert (texts, told.fold.runs[RESPONSE].status) == (
        {"message_1": "Fog", "message_2": "Fog over the bay"},
        "completed",
    )
    assert told.fold.anomalies == []


def test_events_of_no_object_are_counted_too():
    events = translated(RESPONSES["message"])
    told = folded(events[:6])
    repetition = Repetition(entry_of(told.fold), 8)
    assert repr(repetition) == "<Repetition of run:resp_1: 8 events left>"
    assert (repetition.status, repetition.fold(Event("keepalive", UnknownData(b"{}")))) == (None, False)
    repetition.pass_over(1)
    assert [repetition.fold(event) for event in events[:6]] == [*[False] * 5, True]
    assert (list(repetition.missed(told.fold.state)), repetition.status) == ([], "in_progress")


def test_stream_that_is_behind_what_is_known_of_its_run_has_ended_as_far_as_it_told():
    events = translated(RESPONSES["message"])
    told = folded(events)
    assert StreamEnding(told.fold.stream).reason() == "ended"
    entry_of(told.fold).repetition = Repetition(entry_of(told.fold), len(events))
    told.fold.stream.runs[RESPONSE] = Run(RESPONSE, status="in_progress")
    with pytest.raises(StreamTruncated):
        StreamEnding(told.fold.stream).reason()


def test_stream_that_is_about_a_run_that_was_folded_before_has_all_of_it():
    told = folded(translated(RESPONSES["two messages"]))
    later = Accumulator(state=told.fold.state)
    later.stream.touch_whole(RESPONSE)
    later.stream.touch_whole("resp_unknown")
    outcome = outcome_of(later.stream, "ended")
    assert (dict(outcome.runs), dict(outcome.messages)) == (dict(told.fold.runs), dict(told.fold.messages))
