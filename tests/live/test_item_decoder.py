from types import SimpleNamespace
from typing import Any

import pytest

from stepstream import Frame, FrameTooLarge, Reconnected, decode_event
from stepstream.fold.reconcile import ServerAnswer
from stepstream.live.source import ItemDecoder
from tests.support.tables import each_row

TICK = b"id: 7\ndata: tick\n\n"
EVENT = decode_event(Frame("thread.run.created", b'{"id": "run_1", "new": null}', "7"))
ANSWER = ServerAnswer(b'{"id": "run_1"}')


@each_row(
    ("item", "frames"),
    [
        (TICK, [Frame(data=b"tick", id="7")]),
        (bytearray(TICK * 2), [Frame(data=b"tick", id="7")] * 2),
        (memoryview(TICK), [Frame(data=b"tick", id="7")]),
        (b"data: half", []),
        ("data: \N{SNOWMAN}\n\n", [Frame(data="\N{SNOWMAN}".encode())]),
        (Frame("a", b"b", "1"), [Frame("a", b"b", "1")]),
        (EVENT, [Frame("thread.run.created", b'{"id": "run_1", "new": null}', "7")]),
        (SimpleNamespace(event="note", data="high\nwater", id="7"), [Frame("note", b"high\nwater", "7")]),
        (SimpleNamespace(event=None, data="x"), [Frame(data=b"x")]),
        (Reconnected("7"), []),
        (ANSWER, []),
    ],
)
def test_every_kind_of_item_becomes_its_frames(item: Any, frames: list[Frame]):
    assert ItemDecoder().feed(item) == frames


@each_row("item", [7, None, SimpleNamespace(event=1, data="x")])
def test_item_of_no_known_kind_is_a_type_error(item: Any):
    with pytest.raises(TypeError, match=r"^expected a source to yield bytes, frames"):
        ItemDecoder().feed(item)


def test_block_may_be_split_between_two_items_but_not_between_two_connections():
    decoder = ItemDecoder()
    assert decoder.feed(b"data: a") == []
    assert decoder.feed(b"b\n\ndata: c") == [Frame(data=b"ab")]
    decoder.feed(Reconnected("9"))
    assert decoder.feed(b"data: d\n\n") == [Frame(data=b"d", id="9")]


def test_other_items_leave_an_unfinished_block_as_it_is():
    decoder = ItemDecoder()
    decoder.feed(b"event: done\ndata: [DONE]\n")
    decoder.feed(Frame(data=b"x"))
    decoder.feed(ANSWER)
    assert decoder.pending() == Frame("done", b"[DONE]")
    assert decoder.feed(b"\n") == [Frame("done", b"[DONE]")]
    assert decoder.pending() is None


def test_event_over_the_limit_is_raised_with_the_frames_before_it_until_the_next_connection():
    decoder = ItemDecoder(max_event_bytes=16)
    with pytest.raises(FrameTooLarge) as caught:
        decoder.feed(TICK.removeprefix(b"id: 7\n") + b"data: " + b"x" * 99)
    assert caught.value.frames == [Frame(data=b"tick")]
    with pytest.raises(FrameTooLarge):
        decoder.feed(b"\n\n" + TICK)
    decoder.feed(Reconnected())
    assert decoder.feed(b"data: a\n\n") == [Frame(data=b"a")]


def test_repr_tells_what_is_pending():
    decoder = ItemDecoder()
    decoder.feed(b"data: half")
    assert repr(decoder) == "<ItemDecoder <FrameDecoder 10 bytes pending, id ''>>"
