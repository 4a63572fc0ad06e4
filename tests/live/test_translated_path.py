"""The fast path of streams in a dialect: the same as the rules, for whatever comes in whatever chunks."""

import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepstream import (
    Accumulator,
    Frame,
    FrameDecoder,
    MessageProgress,
    Processor,
    StepProgress,
    StepStreamError,
    encode_change,
    encode_frame,
)
from stepstream.dialects.state import DialectState
from stepstream.dialects.translation import Translation
from stepstream.fold.changes import Change
from stepstream.live import translated_path
from stepstream.live.delta_struct import struct_of
from stepstream.live.fanout import StreamFanout
from stepstream.live.progress import ProgressBatch
from stepstream.live.reader import Reader
from stepstream.live.routing import Routes
from stepstream.live.translated_path import ENOUGH, MAX_MISSES, TranslatedDeltas
from tests.support.json_values import JSON
from tests.support.response_streams import (
    about,
    added,
    calling,
    encoded,
    fold,
    frames,
    item,
    lifecycle,
    numbered,
    piece,
    thinking,
    whole,
    writing,
)
from tests.support.tables import each_row

RUN = whole(thinking("sum" * 5, "deep" * 5), writing('a b\n"c" é' * 9, 1, 1), calling("{}" * 20, 1, 2))
PADDED = [
    {**event, "obfuscation": "x" * (place % 7)} if event["type"].endswith(".delta") else event
    for place, event in enumerate(RUN)
]


def dump(events: list[JSON]) -> bytes:
    """The events as a server writes them: without spaces, and all characters as they are."""
    lines = []
    for event in events:
        data = json.dumps(event, separators=(",", ":"), ensure_ascii=False)
        lines.append(f"event: {event['type']}\ndata: {data}\n\n")
    return "".join(lines).encode()


def dump_unnamed(events: list[JSON]) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


class Read:
    """A stream read in chunks, without an event loop."""

    def __init__(self, chunks: list[bytes]) -> None:
        self.accumulator = Accumulator()
        self.changes: list[Change] = []
        reader = Reader(self.accumulator, Routes(), self, max_event_bytes=2**24, clock=None)
        for chunk in chunks:
            for _ in reader.read(chunk):
                pass
        with suppress(StepStreamError):
            reader.finish()

    def dispatch(self, change: Change) -> bool:
        return self.hand_over((change,), ())

    def hand_over(self, changes: Sequence[Change], mailboxes: Sequence[Any]) -> bool:
        self.changes += changes
        return False


def chunks_of(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def ends(accumulator: Accumulator) -> list[Any]:
    return [
        dict(accumulator.runs),
        dict(accumulator.steps),
        dict(accumulator.messages),
        accumulator.stream.sequence,
        [one.code for one in accumulator.anomalies],
    ]


@each_row("write", [dump, dump_unnamed])
@each_row("size", [1, 100, 1000, 3000, 10**6])
def test_stream_in_chunks_of_any_size_is_folded_as_by_the_rules(size: int, write: Any):
    read = Read(chunks_of(write(PADDED), size))
    assert ends(read.accumulator) == ends(fold(PADDED).accumulator)


@pytest.mark.parametrize("write", [dump, dump_unnamed])
def test_stream_of_one_event_a_chunk_is_folded_as_by_the_rules(write: Any):
    read = Read([write([event]) for event in PADDED])
    assert ends(read.accumulator) == ends(fold(PADDED).accumulator)


def long_text(count: int = 300) -> list[JSON]:
    return [lifecycle("created"), added(item()), *(piece(f"w{number} ", item()) for number in range(count))]


def between(event: JSON) -> list[JSON]:
    text = numbered(long_text())
    return [*text[:150], event, *text[150:]]


STREAMS: dict[str, list[JSON]] = {
    "numbered": numbered(long_text()),
    "without numbers": long_text(),
    "numbers that mean nothing": [{**event, "sequence_number": 0} for event in long_text()],
    "told again": [*numbered(long_text())[:200], *numbered(long_text())[100:200], *numbered(long_text())[200:]],
    "a number left out": [event for event in numbered(long_text()) if event["sequence_number"] != 150],
    "an error between": [
        *numbered(long_text())[:150],
        {"type": "error", "message": "no"},
        *numbered(long_text())[150:],
    ],
    "a leak between": [*numbered(long_text())[:150], {"type": "chunk", "x": "\n"}, *numbered(long_text())[150:]],
    "two texts": numbered(
        [
            lifecycle("created"),
            added(item(number=1), 0),
            added(item(number=2), 1),
            *(piece(f"{place}", item(number=1 + place % 2), place % 2) for place in range(90)),
        ]
    ),
    "ids that rotate": numbered(
        [lifecycle("created"), added(item()), *(piece("x", {"id": f"r{place}"}) for place in range(90))]
    ),
    "begun again": [*long_text(50), *long_text(60)],
    "logprobs that differ": numbered(
        [
            lifecycle("created"),
            added(item()),
            *(piece("x", item()) | {"logprobs": [{"n": place}]} for place in range(50)),
        ]
    ),
    "a number twice": [*numbered(long_text(60)), *numbered([piece("same", item()), *long_text(60)[2:]], 61)],
    "numbers that rise again after they meant nothing": [
        *numbered(long_text(30)),
        {**piece("other", item()), "sequence_number": 20, "x": {}},
        *numbered(long_text(60)[2:], 40),
        *numbered(long_text(60)[30:], 68),
    ],
    "numbers that begin again": [*numbered(long_text(60)), *numbered(long_text(120)[62:], 20)],
    "an odd piece": [*numbered(long_text(60)), {**numbered(long_text(61))[-1], "delta": None}],
}


@each_row("size", [700, 5000, 10**6])
@each_row("name", STREAMS)
def test_odd_stream_is_folded_as_by_the_rules(name: str, size: int):
    read = Read(chunks_of(dump(STREAMS[name]), size))
    expected = fold(STREAMS[name])
    assert ends(read.accumulator)[:3] == ends(expected.accumulator)[:3]
    assert ends(read.accumulator)[4] == ends(expected.accumulator)[4]


words = st.text(st.sampled_from('ab"\\\n\u2028é😀:,{}'), max_size=6)


@given(st.lists(words, min_size=8, max_size=60), st.integers(1, 4000), st.booleans(), st.booleans())
def test_any_text_is_folded_as_by_the_rules(pieces: list[str], size: int, with_numbers: bool, ascii_only: bool):
    events = [lifecycle("created"), added(item()), *(piece(one, item()) for one in pieces)]
    events = numbered(events) if with_numbers else events
    data = encoded(events) if ascii_only else dump(events)
    read = Read(chunks_of(data, size))
    assert ends(read.accumulator) == ends(fold(events).accumulator)
    assert [message.text for message in read.accumulator.messages.values()] == ["".join(pieces)]


@pytest.mark.parametrize("comment", [b": ping\n\n", b"\n", b"retry: 5\n\n", b"id: 7\n\n", b"data: {}\n\n"])
def test_lines_between_events_change_nothing(comment: bytes):
    blocks = [dump([event]) for event in STREAMS["numbered"]]
    read = Read([comment.join(blocks)])
    assert [message.text for message in read.accumulator.messages.values()] == [
        message.text for message in fold(STREAMS["numbered"]).accumulator.messages.values()
    ]


def test_usual_deltas_take_the_fast_path(monkeypatch: pytest.MonkeyPatch):
    for events in (STREAMS["numbered"], STREAMS["without numbers"], STREAMS["numbers that mean nothing"]):
        fed: list[str] = []
        original = Translation.feed

        def feed(self: Translation, frame: Frame, fed: list[str] = fed, original: Any = original) -> Any:
            fed.append(frame.event)
            return original(self, frame)

        monkeypatch.setattr(Translation, "feed", feed)
        Read(chunks_of(dump(events), 4000))
        monkeypatch.undo()
        assert len(fed) < 20


@pytest.mark.parametrize(
    ("kind", "name", "fields"),
    [
        ("function_call", "function_call_arguments.delta", {}),
        ("code_interpreter_call", "code_interpreter_call_code.delta", {}),
        ("reasoning", "reasoning_summary_text.delta", {"summary_index": 0}),
        ("reasoning", "reasoning_text.delta", {"content_index": 0}),
        ("mcp_call", "mcp_call_arguments.delta", {}),
        ("custom_tool_call", "custom_tool_call_input.delta", {}),
    ],
)
def test_deltas_of_every_usual_text_take_it(kind: str, name: str, fields: JSON, monkeypatch: pytest.MonkeyPatch):
    one = item(kind)
    events = numbered(
        [lifecycle("created"), added(one), *(about(name, one, delta=f"{place}", **fields) for place in range(100))]
    )
    fed: list[str] = []
    original = Translation.feed
    monkeypatch.setattr(Translation, "feed", lambda self, frame: (fed.append(frame.event), original(self, frame))[1])
    read = Read([dump([event]) for event in events])
    assert len(fed) < 12
    assert dict(read.accumulator.steps) == dict(fold(events).accumulator.steps)


def test_texts_that_are_never_alike_are_not_learned_for_ever(monkeypatch: pytest.MonkeyPatch):
    made: list[Any] = []
    original = translated_path.struct_of
    monkeypatch.setattr(translated_path, "struct_of", lambda *sent: (made.append(sent), original(*sent))[1])
    Read([dump(STREAMS["ids that rotate"])])
    assert len(made) == MAX_MISSES


async def source(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@pytest.mark.parametrize("size", [100, 5000])
async def test_progress_of_the_fast_path_says_what_the_rules_say(size: int):
    lines: list[Any] = []
    async with Processor(clock=None) as processor:

        @processor.on(StepProgress, MessageProgress, buffer=3)
        async def note(change: StepProgress | MessageProgress) -> None:
            lines.append(msgspec.json.decode(encode_change(change)))
            lines.append(change.delta)

        await processor.run(source(*chunks_of(dump(PADDED), size)))
    wanted: list[Any] = []
    for change in fold(PADDED).changes:
        if isinstance(change, StepProgress | MessageProgress):
            wanted += [msgspec.json.decode(encode_change(change)), change.delta]
    assert lines == wanted


def learned(data: bytes) -> bool:
    """Whether a pattern is made of such data."""
    return struct_of(data, Translation(DialectState(), "responses").fast_keys) is not None


@each_row(
    ("data", "is_made"),
    [
        (b'{"delta":"a"}', True),
        (b'{ "x" : {"delta":"b"}, "delta" : "a" }', False),
        (b'{ "x" : null, "y":[], "z":"", "delta" : "a" }', True),
        (b'{"x":[1],"delta":"a"}', False),
        (b'{"x":1.5,"delta":"a"}', False),
        (b'{"x":true,"delta":"a"}', False),
        (b'{"x":99999999999999999999,"delta":"a"}', False),
        (b'{"obfuscation":5,"delta":"a"}', True),
        (b'{"obfuscation":"a\\n","delta":"a"}', True),
        (b'{"text":"a"}', False),
        (b'{"\\u0064elta":"a"}', True),
        (b'{"a":1,"a":2,"delta":"a"}', True),
        (b"[1]", False),
        (b"{", False),
    ],
)
def test_pattern_is_made_of_data_with_a_piece_and_without_parts(data: bytes, is_made: bool):
    assert learned(data) is is_made


DELTA = json.dumps(numbered(long_text(50))[-1], separators=(",", ":")).encode()
HEAD = b"event: response.output_text.delta\ndata: "


def numbers(data: bytes, number: int) -> bytes:
    own = json.loads(DELTA)["sequence_number"]
    return data.replace(b'"sequence_number":%d' % own, b'"sequence_number":%d' % number)


ODD_BLOCKS: dict[str, list[bytes]] = {
    "two in one": [HEAD + DELTA + b"," + DELTA],
    "two in one, with what stands between": [HEAD + DELTA + b",\t" + DELTA],
    "a tab within": [HEAD + DELTA.replace(b'"delta":"w', b'"delta":"\t'), HEAD + DELTA.replace(b",", b",\t")],
    "a list with objects": [HEAD + DELTA[:-1] + b',"logprobs":[{}', HEAD + b"}]}"],
    "an object over two": [HEAD + DELTA[:-1] + b',"x":{"y":1}', HEAD + b'"z":2}', HEAD + DELTA + b"," + DELTA],
    "no brace at the end": [HEAD + DELTA[:-1], HEAD + DELTA[:-1] + b"]"],
    "one in two": [HEAD + DELTA[:20], HEAD + DELTA[20:]],
    "a string over two": [HEAD + b'{"type":"response.output_text.delta","delta":"a', HEAD + b'b"}'],
    "one in two, and two in one": [HEAD + DELTA[:20], HEAD + DELTA[20:], HEAD + DELTA + b"," + DELTA],
    "a number": [HEAD + b"0"],
    "nothing": [HEAD + b" "],
    "a list": [HEAD + b"[" + DELTA + b"]"],
    "more lines": [HEAD + DELTA + b"\n: note", HEAD + DELTA + b"\n,", HEAD + DELTA + b"\nid: 7"],
    "data in two lines": [HEAD + DELTA[:-1] + b"\ndata: }"],
    "a line end within": [HEAD + DELTA[:1] + b"\r" + DELTA[1:]],
    "another key": [HEAD + DELTA[:-1] + b',"text":"x"}'],
    "a key twice": [HEAD + DELTA[:-1] + b',"delta":"twice"}'],
    "another item": [HEAD + DELTA.replace(b'"output_index":0', b'"output_index":7')],
    "a fraction": [HEAD + DELTA.replace(b'"output_index":0', b'"output_index":0.0')],
    "not UTF-8": [HEAD + DELTA.replace(b'"delta":"w', b'"delta":"\xff')],
    "half a surrogate": [HEAD + DELTA.replace(b'"delta":"w', b'"delta":"\\ud800')],
    "no number": [HEAD + re.sub(rb'"sequence_number":\d+,', b"", DELTA)],
    "another name": [HEAD.replace(b"output_text", b"refusal") + DELTA],
    "a comment": [b": still there"],
}


@each_row("odd", ODD_BLOCKS.values(), ids=ODD_BLOCKS)
def test_blocks_that_are_nearly_alike_are_folded_as_by_the_rules(odd: list[bytes]):
    opening = frames(numbered(long_text(10)))
    usual = [HEAD + DELTA] * 20
    blocks = [numbers(block, 13 + place) for place, block in enumerate([*usual, *odd, *usual, *odd, *odd, *usual])]
    data = b"".join(map(encode_frame, opening)) + b"".join(block + b"\n\n" for block in blocks)
    plain = Accumulator()
    for frame in FrameDecoder().feed(data):
        plain.apply_frame(frame)
    for size in (64, 700, 4096, len(data)):
        assert ends(Read(chunks_of(data, size)).accumulator) == ends(plain), size
    one_each = [b"".join(map(encode_frame, opening)), *(block + b"\n\n" for block in blocks)]
    assert ends(Read(one_each).accumulator) == ends(plain)


def test_nothing_is_learned_of_the_first_few_deltas_or_of_long_data():
    accumulator = Accumulator()
    deltas = TranslatedDeltas(accumulator, ProgressBatch(accumulator.stream, Routes(), StreamFanout(Routes())))
    sent = numbered([*long_text(ENOUGH), piece("x" * 5000, item())])
    for frame in frames(sent):
        events = accumulator.translation.feed(frame)
        for event in events:
            accumulator.apply(event)
        deltas.learn(frame, events)
        expected = 0 if accumulator.stream.sequence < ENOUGH + 3 else 1
        assert len(deltas.patterns) == expected


@pytest.mark.parametrize("size", [700, 10**6])
def test_what_follows_done_is_ignored(size: int):
    late = dump(numbered(long_text(50), 1000)[2:])
    read = Read(chunks_of(dump(STREAMS["numbered"]) + b"data: [DONE]\n\n" + late, size))
    assert read.accumulator.stream.sequence == len(STREAMS["numbered"]) + 2  # with the message of the step, and done
