"""Deltas alike but for a piece of text are folded from their bytes: to the same as the plain way, and nothing else."""

import random
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepstream.fold import stream_state as stream_module
from stepstream.fold.accumulator import Accumulator
from stepstream.fold.changes import MessageProgress, StepProgress
from stepstream.live import shapes as shapes_module
from stepstream.live import templates as templates_module
from stepstream.live.fast_path import FastPath
from stepstream.live.marks import Reconnected
from stepstream.live.plain_route import PlainRoute
from stepstream.live.reader import MAX_PIECE, Reader
from stepstream.live.shapes import ShapeTable
from stepstream.live.templates import MAX_MISSES, MAX_TEMPLATE_BYTES, MAX_TEMPLATES
from stepstream.wire.events import Event, decode_event
from stepstream.wire.scan import Scanner
from stepstream.wire.sse import Frame, FrameDecoder
from tests.support.delta_streams import (
    BROKEN,
    HOLE,
    JSON,
    MESSAGE_DELTA,
    PIECES,
    SPACED,
    STEP_DELTA,
    TIGHT,
    USUAL,
    Server,
    calls,
    chunked,
    greeting,
    grows,
    message,
    opening,
    run,
    sail,
    says,
    step,
    sums,
    written,
)
from tests.support.plain_reader import LIMITS, Audience, Plain, Stream, read

START = b"".join([*opening(), *greeting()])
DONE = b"event: done\ndata: [DONE]\n\n"


def block_of(kind: str, piece: bytes = b"fog", *, separators: tuple[str, str] = TIGHT) -> bytes:
    return written(*USUAL[kind], piece, separators=separators)


def data_of(block: bytes) -> bytes:
    """What follows `data: ` of a delta's block."""
    return block.partition(b"\ndata: ")[2].removesuffix(b"\n\n")


def cut(block: bytes) -> bytes:
    """What a scanner leaves of a block."""
    return block.removesuffix(b"\n\n")


def event_of(block: bytes) -> Event:
    return decode_event(*FrameDecoder().feed(block))


def piece_in(body: JSON, piece: bytes = b"fog", name: str = STEP_DELTA) -> bytes:
    return written(name, body, piece)


class ClosableFastPath(FastPath):
    """The fast path of a stream whose plain route is closed while `folds` looks."""

    is_closed = False
    refused = 0

    def _fold_plainly(self, block: bytes) -> bool:
        if not self.is_closed:
            return super()._fold_plainly(block)
        self.refused += 1
        return True


class Learning:
    """One stream, of which some blocks go the plain route and are learned from, and some shall go the fast path."""

    def __init__(
        self,
        start: bytes = START,
        *,
        accumulator: Accumulator | None = None,
        shapes: ShapeTable | None = None,
        **mood: Any,
    ) -> None:
        self.audience = Audience(**mood)
        self.accumulator = accumulator or Accumulator()
        plain = PlainRoute(self.accumulator, self.audience, self.audience.dispatch)
        self.path = ClosableFastPath(Scanner(), plain, self.audience, self.audience, shapes)
        self.sees(start)

    def sees(self, *blocks: bytes) -> None:
        for frame in FrameDecoder().feed(b"".join(blocks)):
            self.path.fold_frame(frame)

    def folds(self, *blocks: bytes, start: int = 0) -> int:
        """How many of the blocks are folded the fast path."""
        self.path.is_closed, self.path.refused = True, 0
        folded = self.path.fold([cut(block) for block in blocks[start:]]) - self.path.refused
        self.path.is_closed = False
        return folded

    def folds_chunk(self, block: bytes) -> bool:
        return self.path.fold_chunk(block)

    def text(self) -> str:
        """The arguments of the first call."""
        return self.accumulator.steps["step_1"].step_details.tool_calls[0].function.arguments


def check(chunks: Sequence[Any], **options: Any) -> None:
    """Check that both ways come to the same, at each chunk."""
    assert read(Reader, chunks, **options) == read(Plain, chunks, **options), f"{options}, chunks {chunks!r:.1000}"


# What is learned


@pytest.mark.parametrize("separators", [TIGHT, SPACED], ids=["tight", "spaced"])
@pytest.mark.parametrize("kind", USUAL)
def test_usual_delta_is_learned_once_and_then_folded(kind: str, separators: tuple[str, str]) -> None:
    learning = Learning()
    one, two = (block_of(kind, piece, separators=separators) for piece in (b"fog", b"bank"))
    before = learning.folds(one)
    learning.sees(one)
    assert (before, learning.folds(one, two, one), learning.folds_chunk(two)) == (0, 3, True)


@pytest.mark.parametrize("first", PIECES.values(), ids=PIECES)
def test_piece_is_learned_from_and_any_is_folded(first: bytes) -> None:
    for separators in (TIGHT, SPACED):
        learning = Learning()
        learning.sees(block_of("arguments", first, separators=separators))
        if first == separators[1].encode():  # in its quotes it looks like what is before a piece: the next one will do
            assert not learning.path.table.templates
            learning.sees(block_of("arguments", separators=separators))
        blocks = [block_of("arguments", piece, separators=separators) for piece in PIECES.values()]
        assert learning.folds(*blocks) == len(blocks), separators
        assert all(map(learning.folds_chunk, blocks)), separators


@pytest.mark.parametrize("kind", USUAL)
def test_like_deltas_of_a_chunk_are_folded_together_where_nobody_is_told(kind: str) -> None:
    usual, other = block_of(kind), block_of("word" if kind != "word" else "arguments")
    for wants in (False, True):
        learning = Learning(wants=wants)
        learning.sees(usual, other)
        learning.folds(usual)
        before = learning.accumulator.stream.sequence
        taken = [learning.path.take(cut(blocks)) for blocks in (usual * 5, usual * 2 + other, usual + b"\n" + usual)]
        assert taken == [not wants, False, False]
        assert learning.accumulator.stream.sequence - before == 5 * taken[0]


def test_texts_that_take_turns_are_not_looked_at_together() -> None:
    one, other = block_of("arguments"), block_of("word")
    learning = Learning(wants=False)
    learning.sees(one, other)
    learning.folds(one, other, one, other)
    assert not learning.path.take(cut(one * 5))
    check([START, (one + other) * 3, one * 5, other * 5, one * 5], wants=False)


def test_delta_folded_the_fast_path_is_counted_with_those_of_its_step() -> None:
    usual = block_of("arguments")
    learning = Learning()
    learning.sees(usual)
    builder = learning.accumulator.stream.steps.known["step_1"]
    before = builder.deltas
    assert (learning.folds(usual), builder.deltas - before) == (1, 1)
    assert (learning.folds_chunk(usual), builder.deltas - before) == (True, 2)


@pytest.mark.parametrize("separators", [TIGHT, SPACED], ids=["tight", "spaced"])
@pytest.mark.parametrize("kind", USUAL)
def test_pieces_are_folded_as_by_the_plain_way(kind: str, separators: tuple[str, str]) -> None:
    blocks = [block_of(kind, piece, separators=separators) for piece in [b"fog", *PIECES.values()] * 2]
    data = START + b"".join(blocks)
    check([START, *blocks], looks=True)
    for size in (1, 5, 64):
        check([data[at : at + size] for at in range(0, len(data), size)], looks=True)


@pytest.mark.parametrize("piece", BROKEN.values(), ids=BROKEN)
def test_piece_that_is_no_inside_of_a_string_goes_the_plain_route(piece: bytes) -> None:
    for kind, separators in product(USUAL, [TIGHT, SPACED]):
        usual, broken = (block_of(kind, one, separators=separators) for one in (b"fog", piece))
        learning = Learning()
        learning.sees(usual)
        assert (learning.folds(usual, broken, usual), learning.folds_chunk(broken)) == (1, False), (kind, separators)
        check([START, *[usual] * 3, broken, usual, broken, broken, usual], looks=True)
        check([START + usual * 3 + broken + usual + broken + broken + usual], looks=True)
        check([START, broken, usual, broken, usual])
        check([START, usual * 2, usual * 2 + broken + usual, usual + broken * 2 + usual], wants=False)


def test_styles_that_take_turns_are_learned_anew() -> None:
    tight, spaced = block_of("arguments"), block_of("arguments", separators=SPACED)
    learning = Learning()
    learning.sees(tight)
    of_another_style = learning.folds(spaced)
    learning.sees(spaced)
    assert (of_another_style, learning.folds(spaced, spaced)) == (0, 2)
    check([START, *[tight, spaced] * 3, tight, tight, spaced, spaced])


def test_many_texts_that_take_turns_are_folded() -> None:
    kinds = [kind for kind, (name, _) in USUAL.items() if name == STEP_DELTA]
    learning = Learning()
    learning.sees(*map(block_of, kinds))
    assert learning.folds(*(block_of(kind, b"%d" % turn) for turn in range(5) for kind in kinds)) == 5 * len(kinds)


def test_long_piece_is_learned_from() -> None:
    learning = Learning()
    learning.sees(block_of("arguments", b"x" * 2**20))
    assert learning.folds(block_of("arguments")) == 1


# What is refused


REFUSED: dict[str, tuple[str, JSON, bytes]] = {
    "another_string_after_the_piece": (STEP_DELTA, {**grows(sail()), "note": "x"}, b"fog"),
    "another_string_after_it_in_the_delta": (
        STEP_DELTA,
        grows({"function": {"arguments": HOLE}, **sail(), "id": "call_step_1_0"}),
        b"fog",
    ),
    "equal_strings": (STEP_DELTA, {**grows(sail()), "note": HOLE}, b"fog"),
    "equal_strings_under_the_same_key": (STEP_DELTA, {**grows(sail()), "note": {"arguments": HOLE}}, b"fog"),
    "piece_that_is_the_type_after_it": (
        STEP_DELTA,
        {"id": "step_1", "delta": {"step_details": {"tool_calls": [sail()], "type": "tool_calls"}}},
        b"x",
    ),
    "two_fields": (
        STEP_DELTA,
        grows({"index": 0, "type": "function", "function": {"arguments": HOLE, "name": "sail"}}),
        b"x",
    ),
    "two_calls": (
        STEP_DELTA,
        {"id": "step_1", "delta": {"step_details": {"type": "tool_calls", "tool_calls": [sail(), sums()]}}},
        b"x",
    ),
    "new_call": (STEP_DELTA, grows({"index": 5, "type": "dowsing_rod", "id": HOLE}), b"x"),
    "no_delta": (STEP_DELTA, {"id": "step_1", "delta": None}, b""),
    "unknown_step": (STEP_DELTA, grows(sail(), "step_nobody_knows"), b"x"),
    "another_id": (STEP_DELTA, grows(sail(id="call_of_another")), b"x"),
    "annotations": (MESSAGE_DELTA, says(HOLE, annotations=[{"index": 0, "type": "file_path"}]), b"x"),
    "unknown_message": (MESSAGE_DELTA, says(HOLE, "msg_nobody_knows"), b"x"),
    "no_delta_of_a_message": (MESSAGE_DELTA, {"id": "msg_1", "delta": None}, b""),
    "object_of_another_kind": ("thread.message.in_progress", message("in_progress", text="x"), b""),
}


@pytest.mark.parametrize(("name", "body", "piece"), REFUSED.values(), ids=REFUSED)
def test_delta_that_is_not_usual_is_not_learned(name: str, body: JSON, piece: bytes) -> None:
    block = written(name, body, piece)
    learning = Learning()
    learning.sees(block)
    assert not learning.path.table.templates
    again = written(name, body, b"bank")
    check([START, block, again, again, block], looks=True)
    check([START + block + again + again + block])


@pytest.mark.parametrize("piece", [b"?", b"!", b"fog"])
def test_string_after_the_piece_is_never_taken_for_it(piece: bytes) -> None:
    """Whatever stands in its place to find that out: the piece may be just that."""
    for note, separators in product(["?", "!", "fog"], [TIGHT, SPACED]):
        one, another = (
            written(STEP_DELTA, {**grows(sail()), "note": said}, piece, separators=separators)
            for said in (note, "bank")
        )
        learning = Learning()
        learning.sees(one)
        assert (learning.folds(one), learning.folds(another)) == (0, 0), (note, separators)


@pytest.mark.parametrize("space", [b" ", b"\t"], ids=["space", "tab"])
def test_delta_with_its_key_once_more_and_space_before_the_colon_is_not_learned(space: bytes) -> None:
    twice = data_of(piece_in({**grows(sail()), "note": {"arguments": HOLE}}))
    learning = Learning()
    learning.sees(whole(twice.replace(b'"arguments":', b'"arguments"%b:' % space, 1)))
    assert not learning.path.table.templates


def test_delta_with_its_key_once_more_in_escapes_is_not_learned() -> None:
    usual = block_of("arguments")
    learning = Learning()
    learning.sees(usual.replace(b'"fog"', rb'"fog","\u0061rguments": "fog"'))
    assert not learning.path.table.templates


def test_delta_that_replaces_a_value_beside_its_piece_is_not_learned() -> None:
    opened = piece_in(grows({"index": 5, "type": "mcp", "arguments": "", "server_label": "maps"}))
    one, other = (
        piece_in(grows({"index": 5, "type": "mcp", "server_label": label, "arguments": HOLE}))
        for label in ("charts", "maps")
    )
    learning = Learning()
    learning.sees(opened, one)
    assert not learning.path.table.templates
    check([START, opened, one, one, one, other, one, other, other], looks=True)


@pytest.mark.parametrize(("one", "other"), [(0.0, -0.0), (1, 1.0)], ids=["zeros", "ones"])
def test_delta_that_replaces_a_value_by_an_equal_one_beside_its_piece_is_folded_as_by_the_plain_way(
    one: Any, other: Any
) -> None:
    entries = ({"index": 0, "file_search": {"results": [{"score": score}]}, **sail()} for score in (one, other))
    blocks = [piece_in(grows(entry)) for entry in entries]
    check([START, *blocks, *blocks, *blocks, *blocks[::-1]], looks=True)


def test_delta_that_takes_a_second_look_is_not_learned() -> None:
    twice = block_of("arguments").replace(b'"type":"function"', b'"type":"dowsing_rod","type":"function"')
    assert twice != block_of("arguments")
    learning = Learning()
    learning.sees(twice)
    assert not learning.path.table.templates
    check([START, twice, twice, twice])


def test_delta_of_an_unknown_tool_is_not_learned() -> None:
    opened, one = (
        piece_in(grows({"index": 5, "type": "dowsing_rod", "dowsing_rod": {"input": HOLE}}), text)
        for text in (b"", b"fog")
    )
    learning = Learning()
    learning.sees(opened, one)
    assert not learning.path.table.templates
    check([START, opened, one, one, one], looks=True)


LAST_STRING = {
    "duplicate_member": b'{"id":"step_1","delta":{"step_details":{"type":"tool_calls","tool_calls":[{"index":0,'
    b'"type":"function","function":{"arguments":"x","arguments":"fog"}}]}}}',
    "duplicate_member_before": b'{"id":"step_1","delta":{"step_details":{"type":"tool_calls","tool_calls":[{"index":0,'
    b'"type":"function","function":{"arguments":null,"arguments":"fog"}}]}}}',
    "unknown_member_after": b'{"id":"step_1","delta":{"step_details":{"type":"tool_calls","tool_calls":[{"index":0,'
    b'"type":"function","function":{"arguments":"fog"},"note":"fog"}]}}}',
    "number_after": b'{"id":"step_1","delta":{"step_details":{"type":"tool_calls","tool_calls":[{"index":0,'
    b'"type":"function","function":{"arguments":"fog"},"note":5}]}}}',
    "list_of_strings_after": b'{"id":"step_1","delta":{"step_details":{"type":"tool_calls","tool_calls":[{"index":0,'
    b'"type":"function","function":{"arguments":"fog"},"note":["fog"]}]}}}',
    "tab_before": b'{"id":"step_1","delta":{"step_details":{"type":"tool_calls","tool_calls":[{"index":0,'
    b'"type":"function","function":{"arguments":\t"fog"}}]}}}',
    "spaces_after": b'{"id":"step_1","delta":{"step_details":{"type":"tool_calls","tool_calls":[{"index":0,'
    b'"type":"function","function":{"arguments":"fog"}  }]}}}  ',
    "escaped_key": rb'{"id":"step_1","delta":{"step_details":{"type":"tool_calls","tool_calls":[{"index":0,'
    rb'"type":"function","function":{"\u0061rguments":"fog"}}]}}}',
    "encoded_twice": rb'"{\"id\":\"step_1\",\"delta\":{\"step_details\":{\"type\":\"tool_calls\",\"tool_calls\":'
    rb'[{\"index\":0,\"type\":\"function\",\"function\":{\"arguments\":\"fog\"}}]}}}"',
    "id_last": b'{"delta":{"step_details":{"type":"tool_calls","tool_calls":[{"index":0,"type":"function",'
    b'"function":{"arguments":"step_1"}}]}},"id":"step_1"}',
    "bad_utf_8_in_an_unknown_member": b'{"note":"\xff","id":"step_1","delta":{"step_details":{"type":"tool_calls",'
    b'"tool_calls":[{"index":0,"type":"function","function":{"arguments":"fog"}}]}}}',
}


@pytest.mark.parametrize("data", LAST_STRING.values(), ids=LAST_STRING)
def test_delta_that_is_written_oddly_is_folded_as_by_the_plain_way(data: bytes) -> None:
    blocks = [
        b"event: thread.run.step.delta\ndata: " + data.replace(b"fog", piece) + b"\n\n" for piece in PIECES.values()
    ]
    check([START, *blocks], looks=True)
    check([START + b"".join(blocks)])


HEAD, TAIL = data_of(block_of("arguments", HOLE.encode())).split(HOLE.encode())


def whole(data: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (STEP_DELTA.encode(), data)


@pytest.mark.parametrize(
    "data",
    [
        HEAD + TAIL[1:],
        HEAD[:-1] + TAIL,
        HEAD,
        HEAD[:-1],
        TAIL,
        HEAD + b"fog",
        HEAD + b"fog" + TAIL[:-1],
        HEAD + b"fog" + TAIL + b"}",
        HEAD + b"fog" + TAIL + b" ",
        HEAD + b"fog" + TAIL + b"\n",
        HEAD + b"fog" + TAIL + b"\nid: 5",
        HEAD + b"fog" + TAIL.replace(b"]", b"}"),
        b" " + HEAD + b"fog" + TAIL,
        HEAD.replace(b"step_1", b"step_2") + b"fog" + TAIL,
        HEAD + HEAD + b"fog" + TAIL + TAIL,
        HEAD + TAIL + HEAD + TAIL,
        b"",
        b'"',
        b'":"',
        b'": "',
        b'{":"',
        b"[DONE]",
    ],
)
def test_near_miss_goes_the_plain_route(data: bytes) -> None:
    usual = block_of("arguments")
    learning = Learning()
    learning.sees(usual)
    learning.folds(usual)
    before = learning.accumulator.stream.sequence
    assert (learning.folds(whole(data)), learning.folds_chunk(whole(data))) == (0, False)
    assert (learning.accumulator.stream.sequence, learning.text()) == (before, "fogfog")
    check([START, usual, usual, whole(data), usual])
    check([START + usual * 2 + whole(data) + usual])
    check([START, usual * 2, usual * 2 + whole(data) + usual, whole(data) + usual, usual + whole(data)], wants=False)


def test_data_of_the_other_kind_goes_the_plain_route() -> None:
    usual, word = block_of("arguments"), block_of("word")
    disguised = word.replace(b"event: thread.message.delta", b"event: thread.run.step.delta")
    as_message = usual.replace(b"event: thread.run.step.delta", b"event: thread.message.delta")
    learning = Learning()
    learning.sees(usual, word)
    assert (learning.folds(disguised), learning.folds(as_message)) == (0, 0)
    check([START, usual, word, usual, disguised, word, as_message, word, usual])
    check([START, word, word, usual + usual, disguised + usual, word + word, as_message + word])


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_delta_of_several_lines_is_not_learned(end: bytes) -> None:
    data = data_of(block_of("arguments"))
    cut = data.index(b",") + 1
    in_two = b"event: thread.run.step.delta%bdata: %b%bdata: %b%b%b" % (end, data[:cut], end, data[cut:], end, end)
    torn = whole(data[:cut] + b"\n" + data[cut:])
    learning = Learning()
    learning.sees(in_two)
    assert (learning.folds(torn), learning.folds_chunk(torn)) == (0, False)
    check([START, in_two, torn, in_two, torn])


@pytest.mark.parametrize("place", ["head", "tail"])
def test_delta_with_much_around_its_piece_is_not_learned(place: str) -> None:
    room = MAX_TEMPLATE_BYTES - len(cut(whole(HEAD + TAIL)))
    spaces = [HEAD[:1] + b" " * size + HEAD[1:] if place == "head" else HEAD for size in (room, room + 1)]
    tails = [TAIL + b" " * size if place == "tail" else TAIL for size in (room, room + 1)]
    at_the_limit, over = (whole(head + b"fog" + tail) for head, tail in zip(spaces, tails, strict=True))
    learning = Learning()
    learning.sees(at_the_limit, over)
    assert (learning.folds(at_the_limit), learning.folds(over)) == (1, 0)


def test_event_without_its_bytes_is_not_learned() -> None:
    event = event_of(block_of("arguments"))
    learning = Learning()
    learning.accumulator.apply(event)
    learning.path.table.learn(Event(event.name, event.data))
    assert learning.folds(block_of("arguments")) == 0


def test_frames_and_events_among_the_bytes_are_folded_as_by_the_plain_way() -> None:
    """Nothing is learned from them: what they say need not be what a decoder makes of their bytes."""
    usual, word = block_of("arguments"), block_of("word")
    data = data_of(usual)
    frame = Frame(STEP_DELTA, data[:1] + b"\r" + data[1:])
    misnamed = [Event("thread.dream", event_of(one).data, data_of(one)) for one in (usual, word)]
    crossed = Event(STEP_DELTA, event_of(word.replace(b"msg_1", b"step_1")).data, data_of(word))
    torn = whole(data[:1] + b"\r" + data[1:])
    items = [START, frame, *misnamed, crossed, event_of(usual), usual, usual, torn, usual]
    stream = Stream(Reader, Audience())
    for item in items:
        stream.read(item)
    by_hand = Accumulator()
    for item in items:
        if isinstance(item, Event):
            by_hand.apply(item)
        else:
            for one in FrameDecoder().feed(item) if isinstance(item, bytes) else [item]:
                by_hand.apply_frame(one)
    assert stream.accumulator.steps == by_hand.steps
    assert stream.accumulator.anomaly_count == by_hand.anomaly_count


# What a template does not outlast

FULL_CALLS = [{**{key: value for key, value in call.items() if key != "index"}} for call in calls()]

INVALIDATING: dict[str, list[bytes]] = {
    "terminal_object": [written("thread.run.step.completed", step("completed", calls=FULL_CALLS))],
    "terminal_object_without_calls": [written("thread.run.step.failed", step("failed"))],
    "same_object": [written("thread.run.step.in_progress", step("in_progress"))],
    "object_with_calls": [written("thread.run.step.in_progress", step("in_progress", calls=FULL_CALLS))],
    "object_of_another_type": [written("thread.run.step.in_progress", step("in_progress", type="message_creation"))],
    "object_of_another_run": [written("thread.run.step.in_progress", step("in_progress", run_id="run_2"))],
    "new_call": [piece_in(grows({**calls()[0], "index": 7, "id": "call_new"}))],
    "output": [piece_in(grows({"index": 0, "type": "function", "function": {"output": "wind"}}))],
}


@pytest.mark.parametrize("blocks", INVALIDATING.values(), ids=INVALIDATING)
def test_template_does_not_outlast_what_happens_to_its_step(blocks: list[bytes]) -> None:
    usual = block_of("arguments")
    learning = Learning()
    learning.sees(usual)
    taken = learning.folds(usual), learning.folds_chunk(usual)
    learning.sees(*blocks)
    assert (taken, learning.folds_chunk(usual)) == ((1, True), False)
    stream = [usual, usual, *blocks, usual, usual, *blocks, usual]
    check([START, *stream], looks=True)
    check([START + b"".join(stream)], looks=True)


@pytest.mark.parametrize(
    "block",
    [
        written("thread.message.completed", message("completed", text="fog")),
        written("thread.message.incomplete", message("incomplete")),
        written("thread.message.in_progress", message("in_progress", text="fog")),
        piece_in(says(HOLE, annotations=[{"index": 0, "type": "file_path", "text": "x"}]), name=MESSAGE_DELTA),
    ],
)
def test_template_does_not_outlast_what_happens_to_its_message(block: bytes) -> None:
    usual = block_of("word")
    learning = Learning()
    learning.sees(usual)
    taken = learning.folds(usual), learning.folds_chunk(usual)
    learning.sees(block)
    assert (taken, learning.folds_chunk(usual)) == ((1, True), False)
    check([START, usual, usual, block, usual, usual, block, usual], looks=True)


@pytest.mark.parametrize(
    "block",
    [
        block_of("input"),
        block_of("word"),
        written("thread.run.in_progress", run("in_progress")),
        written("thread.run.step.in_progress", step("in_progress", "step_2")),
        piece_in(grows({"index": 0, "type": "openapi"})),
        piece_in({"id": "step_1", "delta": {"step_details": {"type": "tool_calls", "tool_calls": []}}}),
    ],
    ids=["another_text", "message", "run", "another_step", "refused", "empty"],
)
def test_template_outlasts_what_happens_elsewhere(block: bytes) -> None:
    usual = block_of("arguments")
    learning = Learning()
    learning.sees(usual, block)
    outlasts = learning.folds(usual)
    if b"refused" not in block and b'"tool_calls":[]' not in block:
        assert outlasts == 1
    check([START, usual, usual, block, usual, usual])


def test_template_holds_again_once_it_is_learned_again() -> None:
    learning = Learning()
    odd = piece_in({"note": "x", **grows(sail())})  # of which no shape is kept
    learning.sees(odd, *INVALIDATING["new_call"])
    before = learning.folds(odd)
    learning.sees(odd)
    assert (before, learning.folds(odd)) == (0, 1)


def test_template_holds_again_by_its_shape() -> None:
    usual = block_of("arguments")
    learning = Learning()
    learning.sees(usual, *INVALIDATING["new_call"])
    assert (learning.folds_chunk(usual), learning.folds(usual), learning.folds_chunk(usual)) == (False, 1, True)


def test_template_outlasts_a_delta_that_changes_nothing() -> None:
    usual = block_of("arguments")
    again = piece_in(grows({"index": 0, "type": "function", "function": {"name": "sail"}}))
    learning = Learning()
    learning.sees(usual)
    learning.sees(again)
    assert (learning.folds(usual), learning.folds_chunk(usual)) == (1, True)
    check([START, usual, again, usual, again, usual], looks=True)


def test_template_does_not_outlast_what_another_stream_does_to_its_step() -> None:
    accumulator = Accumulator()
    learning = Learning(accumulator=accumulator)
    other = Accumulator(state=accumulator.state)
    usual = block_of("arguments")
    learning.sees(usual)
    taken = learning.folds(usual), learning.folds_chunk(usual)
    other.apply(event_of(usual))
    still_taken = learning.folds(usual), learning.folds_chunk(usual)
    other.apply(event_of(INVALIDATING["terminal_object_without_calls"][0]))
    assert (taken, still_taken, learning.folds_chunk(usual), learning.folds(usual)) == ((1, True), (1, True), False, 0)


@pytest.mark.parametrize("kind", ["arguments", "word"])
@pytest.mark.parametrize("options", [{"max_open_runs": 1}, {"retain": 0}], ids=["open", "finished"])
def test_template_does_not_outlast_the_run_of_its_object(kind: str, options: JSON) -> None:
    usual = block_of(kind)
    ends = [
        *opening("step_2", "run_2"),
        written("thread.run.completed", run("completed")),
        written("thread.run.completed", run("completed", "run_2")),
    ]
    learning = Learning(accumulator=Accumulator(**options))
    learning.sees(usual)
    taken = learning.folds(usual), learning.folds_chunk(usual)
    learning.sees(*ends)
    assert (taken, learning.folds_chunk(usual), learning.folds(usual)) == ((1, True), False, 0)
    again = [*opening(), *greeting(), usual, usual]
    check([START, usual, usual, *ends, usual, usual, *again], options=options)


def test_template_does_not_outlast_its_place_among_what_the_stream_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was dropped there is noted anew by the next delta."""
    monkeypatch.setattr(stream_module, "MAX_TOUCHED", 2)
    usual = block_of("arguments")
    others = [block for name in ("step_2", "step_3") for block in opening(name)]
    learning = Learning()
    learning.sees(usual)
    taken = learning.folds(usual), learning.folds_chunk(usual)
    learning.sees(*others)
    left = [*learning.accumulator.stream.steps.touched]
    assert (taken, left, learning.folds_chunk(usual), learning.folds(usual)) == (
        (1, True),
        ["step_2", "step_3"],
        False,
        1,
    )
    assert [*learning.accumulator.stream.steps.touched] == ["step_3", "step_1"]
    check([START, usual, usual, *others, usual, usual])


def test_run_that_is_dropped_from_what_the_stream_touched_is_no_object_that_grows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_module, "MAX_TOUCHED", 1)
    blocks = [written("thread.run.queued", run("queued", name)) for name in ("run_1", "run_2")]
    learning = Learning(b"".join(blocks))
    assert [*learning.accumulator.stream.runs] == ["run_2"]


@pytest.mark.parametrize("kind", USUAL)
def test_delta_after_the_end_of_its_object_goes_the_plain_route(kind: str) -> None:
    ended = written("thread.run.step.completed", step("completed", calls=FULL_CALLS))
    over = written("thread.message.completed", message("completed", text="fog"))
    usual = block_of(kind)
    check([START, usual, usual, ended, over, usual, usual, usual], looks=True)
    check([START, ended + over + usual * 3], looks=True)


def test_delta_before_its_object_goes_the_plain_route() -> None:
    usual = block_of("arguments")
    check([usual, usual, usual + usual, START, usual, usual])


# Texts of one shape

OTHERS = opening("step_2")
NEW_CALL = {**calls()[0], "index": 4, "id": "call_4"}
NEW_MESSAGE = [
    written("thread.message.created", message("in_progress", "msg_2")),
    piece_in(says(HOLE, "msg_2"), name=MESSAGE_DELTA),
]
LOGS = sums(1, outputs=[{"index": 0, "type": "logs", "logs": HOLE}])
LIKE = {
    "another_call": (piece_in(grows(sail())), piece_in(grows(sail(4))), [piece_in(grows(NEW_CALL))]),
    "another_step": (piece_in(grows(sail())), piece_in(grows(sail(), "step_2")), OTHERS),
    "another_output": (piece_in(grows(LOGS)), piece_in(grows(LOGS, "step_2")), OTHERS),
    "another_message": (
        piece_in(says(), name=MESSAGE_DELTA),
        piece_in(says(HOLE, "msg_2"), name=MESSAGE_DELTA),
        NEW_MESSAGE,
    ),
}


@pytest.mark.parametrize(("one", "other", "between"), LIKE.values(), ids=LIKE)
def test_first_delta_of_a_text_like_another_is_folded_by_its_shape(
    one: bytes, other: bytes, between: list[bytes]
) -> None:
    learning = Learning()
    learning.sees(one, *between)
    assert learning.folds(other, other, one) == 3
    check([START, one, one, *between, other, other, one, other], looks=True)
    check([START + one, *between, other + other + one], looks=True)


@pytest.mark.parametrize("separators", [TIGHT, SPACED], ids=["tight", "spaced"])
def test_shapes_are_known_to_the_next_stream(separators: tuple[str, str]) -> None:
    shapes, usual = ShapeTable(), block_of("arguments", separators=separators)
    Learning(shapes=shapes).sees(usual)
    assert [Learning(shapes=known).folds(usual) for known in (shapes, ShapeTable(), None)] == [1, 0, 0]


def named(index: int, **more: Any) -> JSON:
    return {"index": index, "type": "function", "function": {**more, "arguments": HOLE}}


def another(**function: Any) -> JSON:
    return {"index": 4, "id": "call_4", "type": "function", "function": function}


UNLIKE: dict[str, tuple[JSON, JSON, list[JSON]]] = {
    "unknown_index": (sail(), sail(9), []),
    "index_out_of_range": (sail(), sail(1024), []),
    "call_of_another_type": (sail(), sail(1), []),
    "repeated_id": (sail(0, id="call_step_1_0"), sail(4, id="call_step_1_0"), [NEW_CALL]),
    "repeated_name": (named(0, name="sail"), named(4, name="sail"), [another(name="row", arguments="")]),
    "null_beside": (named(0, output=None), named(4, output=None), [another(name="row", arguments="")]),
    "no_text_yet": (sail(), sail(4), [another(name="sail")]),
}


@pytest.mark.parametrize(("one", "other", "between"), UNLIKE.values(), ids=UNLIKE)
def test_delta_that_does_not_go_by_a_shape_goes_the_plain_route(one: JSON, other: JSON, between: list[JSON]) -> None:
    given, like = piece_in(grows(one)), piece_in(grows(other))
    opened = [piece_in(grows(entry)) for entry in between]
    learning = Learning()
    learning.sees(given, *opened)
    assert learning.folds(like) == 0
    check([START, given, given, *opened, like, like, given, like], looks=True)


@pytest.mark.parametrize(
    "blocks",
    [
        [],
        [written("thread.run.step.created", step("in_progress", "step_2"))],
        [*OTHERS, written("thread.run.step.completed", step("completed", "step_2"))],
        [*OTHERS, written("thread.run.step.in_progress", step("in_progress", "step_2", type="dream"))],
    ],
    ids=["unknown", "without_calls", "ended", "of_another_type"],
)
def test_step_that_does_not_go_by_a_shape_goes_the_plain_route(blocks: list[bytes]) -> None:
    given, like = piece_in(grows(sail())), piece_in(grows(sail(), "step_2"))
    learning = Learning()
    learning.sees(given, *blocks)
    assert learning.folds(like) == 0
    check([START, given, given, *blocks, like, like, given, like], looks=True)


@pytest.mark.parametrize(
    ("known", "sent"), [("step_\ufffd", b"step_\xff"), ("step_\t", b"step_\t")], ids=["utf_8", "tab"]
)
def test_id_that_is_no_json_goes_by_no_shape(known: str, sent: bytes) -> None:
    opened = opening(known)
    given, like = piece_in(grows(sail())), piece_in(grows(sail())).replace(b'"step_1"', b'"%b"' % sent)
    learning = Learning()
    learning.sees(given, *opened)
    assert learning.folds(like) == 0
    check([START, given, given, *opened, like, like, given, like], looks=True)


def test_shapes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes_module, "MAX_SHAPES", 2)
    learning = Learning()
    learning.sees(*(block_of(kind) for kind in ("arguments", "input", "logs")))
    assert len(learning.path.table._shapes._by_key) == 1


# How much is kept


def test_templates_are_forgotten_where_they_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates_module, "MAX_TEMPLATES", 2)
    kinds = ["arguments", "input", "logs"]
    learning = Learning()
    counts = []
    for kind in kinds:
        learning.sees(block_of(kind))
        counts.append(len(learning.path.table.templates))
    monkeypatch.setattr(templates_module, "layout_of", lambda prefix: None)  # else their shapes give them back
    found = [learning.folds(block_of(kind)) for kind in kinds]
    assert (counts, found) == ([1, 2, 1], [0, 0, 1])


def test_templates_and_misses_are_bounded() -> None:
    assert (MAX_TEMPLATES, MAX_MISSES, MAX_TEMPLATE_BYTES) == (2048, 4096, 4096)


def test_nothing_is_looked_for_after_many_misses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates_module, "MAX_MISSES", 3)
    odd = piece_in({**grows(sail()), "note": "x"})
    usual = block_of("arguments")
    patient, tired = Learning(), Learning()
    patient.sees(odd, odd, usual)
    tired.sees(odd, odd, odd, usual)
    assert (patient.folds(usual), tired.folds(usual)) == (1, 0)


def test_template_that_is_found_again_makes_good_for_misses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates_module, "MAX_MISSES", 3)
    odd = piece_in({**grows(sail()), "note": "x"})
    learning = Learning()
    for _ in range(5):
        learning.sees(written("thread.run.step.in_progress", step("in_progress")))  # nothing holds after that
        learning.sees(odd, odd, block_of("input"))
        assert learning.folds(block_of("input"), odd) == 1


# Hearing


def test_progress_is_heard_with_its_ordinal_context_and_delta() -> None:
    learning = Learning(accumulator=Accumulator(context="tide"))
    usual = block_of("arguments", rb"\u00e9")
    learning.sees(usual)
    heard = learning.audience.changes
    heard.clear()
    sequence = learning.accumulator.stream.sequence
    learning.folds(usual, usual)
    learning.folds_chunk(usual)
    delta = event_of(usual).data.delta
    assert [(type(one), one.event, one.sequence, one.context, one.late, one.delta) for one in heard] == [
        (StepProgress, STEP_DELTA, sequence + number, "tide", False, delta) for number in (1, 2, 3)
    ]
    assert learning.text() == "é" * 4


def test_progress_of_a_message_is_heard() -> None:
    learning = Learning()
    learning.sees(block_of("word"))
    heard = learning.audience.changes
    heard.clear()
    learning.folds(block_of("word", b"bank"))
    assert [(type(one), one.event, one.delta) for one in heard] == [
        (MessageProgress, MESSAGE_DELTA, event_of(block_of("word", b"bank")).data.delta)
    ]


def test_progress_that_nobody_wants_is_made_and_not_heard() -> None:
    learning = Learning(wants=False)
    usual = block_of("arguments")
    learning.sees(usual)
    before = len(learning.audience.heard)
    assert (learning.folds(usual, usual), learning.folds_chunk(usual)) == (2, True)
    assert (len(learning.audience.heard), learning.text()) == (before, "fog" * 4)


def test_interest_is_asked_for_once_for_each_version(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    learning = Learning()
    monkeypatch.setattr(learning.audience, "mailboxes_for", lambda *_: asked.append(1) or [learning.audience])
    usual = block_of("arguments")
    learning.sees(usual)
    learning.folds(usual, usual)
    learning.folds_chunk(usual)
    learning.audience.version += 1
    learning.folds_chunk(usual)
    learning.folds(usual, usual)
    assert len(asked) == 2


@pytest.mark.parametrize("way", ["fold", "take"])
def test_interest_that_changes_is_asked_for_before_the_next_delta(way: str) -> None:
    learning = Learning(wants=False)
    usual = block_of("arguments")
    learning.sees(usual)
    learning.folds(usual)
    counts = []
    for wants in (True, False, True):
        learning.audience.wants = wants
        learning.audience.version += 1
        before = len(learning.audience.heard)
        learning.folds(usual) if way == "fold" else learning.folds_chunk(usual)
        counts.append(len(learning.audience.heard) - before)
    assert counts == [1, 0, 1]


def test_interest_that_changes_in_the_middle_of_a_chunk_counts_from_the_next_delta_on() -> None:
    learning = Learning()
    usual = block_of("arguments")
    learning.sees(usual)
    before = len(learning.audience.heard)
    learning.audience._moods = 1
    assert learning.folds(usual, usual, usual) == 3
    assert len(learning.audience.heard) == before + 1


def test_fold_stops_after_the_delta_for_which_there_was_no_more_room() -> None:
    learning = Learning()
    usual = block_of("arguments")
    learning.sees(usual)
    learning.audience._limit = 1
    before, blocks = learning.accumulator.stream.sequence, [usual] * 3
    places = [learning.folds(*blocks, start=start) for start in range(3)]
    assert (places, learning.accumulator.stream.sequence - before, learning.text()) == ([1, 1, 1], 3, "fog" * 4)


def test_fold_stops_at_done() -> None:
    learning = Learning()
    usual = block_of("arguments")
    learning.sees(usual)
    assert learning.path.fold([*map(cut, [usual, DONE, usual])]) == 2
    assert learning.path.fold([]) == 0


# Take


def test_chunk_is_folded_where_it_is_like_the_newest() -> None:
    learning = Learning()
    arguments, source = block_of("arguments"), block_of("input")
    learning.sees(arguments, source)
    at_first = learning.folds_chunk(arguments)
    learning.folds(arguments)
    taken = learning.folds_chunk(arguments), learning.folds_chunk(source)
    learning.folds(source)
    assert (at_first, taken, learning.folds_chunk(arguments), learning.folds_chunk(source)) == (
        False,
        (True, False),
        False,
        True,
    )


@pytest.mark.parametrize(
    "chunk",
    [
        b"",
        block_of("arguments")[:-1],
        block_of("arguments")[1:],
        block_of("arguments") + b"\n",
        block_of("arguments") * 2,
        b": fog\n\n" + block_of("arguments"),
        block_of("arguments").replace(b"\n", b"\r\n"),
        block_of("arguments", b"x\n\n"),
        DONE,
    ],
)
def test_chunk_is_folded_where_it_is_one_whole_block(chunk: bytes) -> None:
    learning = Learning()
    learning.sees(block_of("arguments"))
    learning.folds(block_of("arguments"))
    assert not learning.folds_chunk(chunk)
    usual = block_of("arguments")
    check([START, usual, usual, chunk, usual, usual])


def with_id(line: bytes, end: bytes = b"\n") -> bytes:
    """A usual delta after a line, or more than one, that begins with an id."""
    return (line + b"\n" + block_of("arguments")).replace(b"\n", end)


@pytest.mark.parametrize(
    "line",
    [b"id: 2\rdata: x", b"id: 2\rfog", b"id: 2\r", b"id: 2\r\r", b"id: 2\rid: 3"],
    ids=["data", "unknown", "cr", "crs", "id"],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["lf", "crlf"])
def test_line_that_ends_with_cr_after_an_id_is_read(line: bytes, end: bytes) -> None:
    usual = with_id(b"id: 1", end)
    check([START, usual, usual, with_id(line, end), usual, with_id(line, end), usual])


@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["lf", "crlf"])
def test_id_with_nul_leaves_the_one_before(end: bytes) -> None:
    blocks = [with_id(line, end) for line in (b"id: 1", b"id: 2", b"id: 3", b"id: a\0b", b"id: 4", b"id: a\0b")]
    odd = b"id: a\0b\n" + piece_in(grows(sail(), "step_nobody_knows"))
    for wants in (True, False):  # an id is read only where something is told
        check([START, *blocks, odd, DONE], wants=wants)
        check([START, b"".join(blocks), odd, DONE], wants=wants)


LEFT = [b"event: x\n", b"data: x", b"data\n", b": fog", b"fog\n", b"\n", b"i", block_of("arguments")[:-1], b"id: 5\n"]


@pytest.mark.parametrize("left", [b"\r", *LEFT, *(b"\r" + one for one in LEFT)])
def test_chunk_is_not_folded_where_something_is_left_of_the_one_before(left: bytes) -> None:
    usual = block_of("arguments")
    check([START, usual, usual, left, usual, usual, usual])


@pytest.mark.parametrize("opening_bytes", [b"", b"\xef", b"\xef\xbb", b"\xef\xbb\xbf"])
def test_chunk_is_folded_on_a_new_connection_as_on_the_first(opening_bytes: bytes) -> None:
    usual = block_of("arguments")
    stream = Stream(Reader, Audience())
    for item in [START, usual, usual, usual[:-1], Reconnected(), opening_bytes, usual, usual]:
        stream.read(item)
    is_whole = opening_bytes in (b"", b"\xef\xbb\xbf")
    calls_now = stream.accumulator.steps["step_1"].step_details.tool_calls
    assert calls_now[0].function.arguments == "fog" * (4 if is_whole else 3)


# The reader


def test_nothing_after_done_is_folded() -> None:
    usual = block_of("arguments")
    check([START, usual + usual, usual + DONE + usual * 3, usual])
    check([START + usual * 3 + DONE + usual * 3])


def test_nothing_after_done_is_folded_of_a_chunk_that_is_looked_at_in_pieces() -> None:
    usual = block_of("arguments")
    many = usual * (MAX_PIECE // len(usual) + 2)
    check([START + many + DONE + many + many])
    check([START + usual + DONE, usual], limits={**LIMITS, "max_event_bytes": len(usual)})


@pytest.mark.parametrize("limit", [len(block_of("arguments", b"x" * 9)) + more for more in range(-6, 3)])
def test_delta_that_is_too_large_fails_with_everything_before_it_folded(limit: int) -> None:
    usual, large = block_of("arguments"), block_of("arguments", b"x" * 9)
    data = START[: START.index(b"\n\n") + 2] + usual * 3 + large + usual
    limits = {**LIMITS, "max_event_bytes": max(limit, 64)}
    for size in (1, 90, 1000):
        check([data[at : at + size] for at in range(0, len(data), size)], limits=limits)
    check([START, usual, usual, large, usual], limits={**LIMITS, "max_event_bytes": 300})
    check(
        [START, usual, usual, usual + block_of("arguments", b"x" * 300), usual],
        limits={**LIMITS, "max_event_bytes": 300},
    )


@pytest.mark.parametrize("depth", [5, 6, 7, 8])
def test_depth_is_counted_without_what_stands_in_texts(depth: int) -> None:
    blocks = [block_of(kind, piece) for kind in USUAL for piece in (b"fog", b"[" * 200, rb"\"[" * 200, b"x")]
    check([START, *blocks], limits={**LIMITS, "max_depth": depth})
    check([START + b"".join(blocks)], limits={**LIMITS, "max_depth": depth})


@pytest.mark.parametrize(
    "end", [b"event: done\ndata: x", b"event: error\ndata: x\n", block_of("arguments")[:-2], b"\r"]
)
def test_unfinished_block_at_the_end_counts_as_by_the_plain_way(end: bytes) -> None:
    usual = block_of("arguments")
    check([START, usual, usual, end])
    check([START, usual, usual + end])


# Anything, in any chunks


def moods() -> st.SearchStrategy[JSON]:
    """How those are who listen: all want all at most times."""
    return st.fixed_dictionaries(
        {
            "wants": st.sampled_from([True, True, False]),
            "looks": st.booleans(),
            "limit": st.sampled_from([0, 0, 1, 3]),
            "moods": st.sampled_from([0, 0, 2, 5]),
        }
    )


LIMITED = st.sampled_from([LIMITS, LIMITS, LIMITS, {**LIMITS, "max_depth": 7}, {**LIMITS, "max_event_bytes": 300}])
BOUNDED = st.sampled_from([{}, {}, {"retain": 1, "max_open_runs": 1}, {"retain": 0}])
SEEDS = st.integers(0, 2**32)


@settings(deadline=None)
@given(SEEDS, st.integers(0, 60), SEEDS, moods(), LIMITED, BOUNDED)
def test_any_stream_in_any_chunks_is_folded_as_by_the_plain_way(
    seed: int, length: int, cuts: int, mood: JSON, limits: JSON, options: JSON
) -> None:
    check(chunked(Server(seed).stream(length), cuts), limits=limits, options=options, **mood)


def in_turns(seeds: Iterable[int], length: int, turns: int) -> list[tuple[int, bytes]]:
    """The chunks of several streams, of which each has its own order: whose it is, and what it is."""
    streams = [chunked(Server(seed).stream(length), seed + 1) for seed in seeds]
    whose = [number for number, chunks in enumerate(streams) for _ in chunks]
    random.Random(turns).shuffle(whose)
    left = [iter(chunks) for chunks in streams]
    return [(number, next(left[number])) for number in whose]


def told_in_turns(way: Any, chunks: list[tuple[int, bytes]], mood: JSON, limits: JSON, options: JSON) -> list[Any]:
    """What becomes of two streams that share what is known."""
    first = Accumulator(context="ebb", **options)
    both = [first, Accumulator(context="flow", state=first.state)]
    streams = [Stream(way, Audience(**mood), accumulator=one, limits=limits) for one in both]
    for number, chunk in chunks:
        streams[number].read(chunk)
    return [stream.finished() for stream in streams]


def check_in_turns(seeds: tuple[int, int], length: int, turns: int, *circumstances: JSON) -> None:
    chunks = in_turns(seeds, length, turns)
    assert told_in_turns(Reader, chunks, *circumstances) == told_in_turns(Plain, chunks, *circumstances)


@given(st.tuples(SEEDS, SEEDS), st.integers(0, 40), SEEDS, moods(), LIMITED, BOUNDED)
def test_two_streams_about_the_same_steps_are_folded_as_by_the_plain_way(
    seeds: tuple[int, int], length: int, turns: int, mood: JSON, limits: JSON, options: JSON
) -> None:
    check_in_turns(seeds, length, turns, mood, limits, options)


@pytest.mark.slow
@settings(max_examples=3_000, deadline=None)
@given(SEEDS, st.integers(0, 150), SEEDS, moods(), LIMITED, BOUNDED)
def test_any_stream_is_folded_as_by_the_plain_way_in_the_long_run(
    seed: int, length: int, cuts: int, mood: JSON, limits: JSON, options: JSON
) -> None:
    check(chunked(Server(seed).stream(length), cuts), limits=limits, options=options, **mood)


@pytest.mark.slow
@settings(max_examples=1_500, deadline=None)
@given(st.tuples(SEEDS, SEEDS), st.integers(0, 100), SEEDS, moods(), LIMITED, BOUNDED)
def test_two_streams_are_folded_as_by_the_plain_way_in_the_long_run(
    seeds: tuple[int, int], length: int, turns: int, mood: JSON, limits: JSON, options: JSON
) -> None:
    check_in_turns(seeds, length, turns, mood, limits, options)


@pytest.mark.parametrize("seed", range(5))
def test_most_deltas_of_a_usual_server_go_the_fast_path(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the properties above say nothing of it."""
    plain: list[Frame] = []
    decode = PlainRoute.decode
    monkeypatch.setattr(PlainRoute, "decode", lambda self, one: plain.append(one) or decode(self, one))
    server = Server(seed)
    server.steadiness = 1.0
    blocks = server.stream(300)
    read(Reader, blocks)
    assert len(plain) < len(blocks) / 2
