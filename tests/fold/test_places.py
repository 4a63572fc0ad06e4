"""Changes that come from the journal of a run: the place of an event is the key of what has no other name."""

from typing import Any

from stepstream import Accumulator, Anomaly, MessageProgress, decode_change, encode_change
from stepstream.fold.state import run_key
from stepstream.live.source import ItemDecoder
from tests.support.delta_streams import STEP_DELTA, grows, message, run, sail, says, step, written

RUN = "run/1"


def folded(*blocks: bytes, journal: str = RUN) -> list[Any]:
    accumulator = Accumulator()
    accumulator.translation.be_plain()
    accumulator.stream.journal = journal
    frames = ItemDecoder().feed(b"".join(blocks))
    return [change for frame in frames for change in accumulator.apply_frame(frame)]


BLOCKS = (
    written("thread.run.created", run("queued")),
    written("thread.message.delta", says("Fog")),
    written("thread.message.delta", says(" over")),
    written("thread.message.created", {**message("in_progress"), "metadata": 7, "created_at": "soon"}),
    written("thread.message.created", message("in_progress")),
    written("thread.message.delta", says(" the bay")),
    b"event: thread.message.delta\ndata: nothing\n\n",
)


def test_key_of_what_has_no_name_is_its_place_and_no_two_are_the_same():
    places = [change.key for change in folded(*BLOCKS) if isinstance(change, Anomaly | MessageProgress)]
    assert places == [
        "run%2F1/2/1",  # it came before its message
        "run%2F1/4/1", "run%2F1/4/2",  # two fields that do not fit
        "run%2F1/2/0", "run%2F1/3/0",  # what waited has joined
        "run%2F1/5/1", "run%2F1/6/0", "run%2F1/7/1",
    ]  # fmt: skip


def test_anomalies_of_what_waited_are_told_from_the_one_with_which_it_came():
    early = [grows(sail(id="call_1")), grows(sail(id="call_2")), grows(sail(id="call_3"))]
    created = step("in_progress", step_details={"type": "tool_calls", "tool_calls": []})
    blocks = [*(written(STEP_DELTA, one) for one in early), written("thread.run.step.created", created)]
    keys = [change.key for change in folded(*blocks) if isinstance(change, Anomaly)]
    assert keys == ["run%2F1/1/1", "run%2F1/2/2", "run%2F1/3/2"]


def test_place_is_read_back_from_a_line_and_is_no_part_of_what_is_equal():
    told, elsewhere = folded(*BLOCKS), folded(*BLOCKS, journal="")
    assert told == elsewhere
    assert {change.key for change in elsewhere if isinstance(change, Anomaly | MessageProgress)} == {""}
    again = [decode_change(encode_change(change)) for change in told]
    assert [change.key for change in again] == [change.key for change in told]


def test_entry_of_a_run_knows_how_much_of_which_journal_is_folded_and_is_forgotten_with_it():
    accumulator = Accumulator()
    for frame in ItemDecoder().feed(BLOCKS[0] + BLOCKS[4]):
        accumulator.apply_frame(frame)
    key, journal = run_key("run_1", ""), object()
    entry = accumulator.state.entry(key)
    entry.note_folded(journal, 7)
    assert (entry.folded_of(journal), entry.folded_of(object()), entry.is_open) == (7, 0, True)
    for _ in range(2):
        accumulator.state.forget(key)
    assert (accumulator.state.find(key), dict(accumulator.messages), dict(accumulator.runs)) == (None, {}, {})
