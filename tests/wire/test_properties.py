import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepstream.errors import DecodeError, FrameTooLarge
from stepstream.wire.depth import is_deeper
from stepstream.wire.events import TYPES, decode_event
from stepstream.wire.sse import Frame, FrameDecoder, encode_comment, encode_frame

some = settings(deadline=None)
many = settings(max_examples=2_000, deadline=None)

TOKENS = [
    *(b"data", b"event", b"id", b"retry", b"mood", b":", b": ", b" ", b"\n", b"\r", b"\r\n", b"\n\n", b"\0", b"7"),
    *(b"data: a\n", b"event: tide\r\n", b"id: 5\r", b"\xef\xbb\xbf", b"\xef", b"\xbb", b"\xe2\x98\x83", b"\xff"),
]
STREAMS = st.lists(st.sampled_from(TOKENS) | st.binary(max_size=3), max_size=40).map(b"".join)


@st.composite
def chunked(draw: st.DrawFn, streams: st.SearchStrategy[bytes] = STREAMS) -> list[bytes]:
    """Draw a stream in chunks, some of them empty."""
    stream = draw(streams)
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    return [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


def decoded(chunks: list[bytes], limit: int = 2**20) -> tuple[list[Frame], int | None, str, bool]:
    decoder, frames = FrameDecoder(max_event_bytes=limit), []
    try:
        for chunk in chunks:
            frames += decoder.feed(chunk)
    except FrameTooLarge as error:
        return frames + error.frames, None, "", True
    return frames, decoder.retry, decoder.last_event_id, False


def by_the_standard(stream: bytes) -> tuple[list[Frame], int | None, str, bool]:
    """Parse a whole stream as the standard words it, with none of the decoder's care for chunks or cost."""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    *lines, _ = re.split("\r\n|\n|\r", text)
    frames: list[Frame] = []
    data, event, pending_id, last_id, retry = "", "", "", "", None
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if line == "":
            last_id = pending_id
            if data:
                frames.append(Frame(event or "message", data.removesuffix("\n").encode(), last_id))
            data = event = ""
        elif name == "data":
            data += value + "\n"
        elif name == "event":
            event = value
        elif name == "id" and "\0" not in value:
            pending_id = value
        elif name == "retry" and re.fullmatch("[0-9]+", value):
            retry = int(value)
    return frames, retry, last_id, False


@some
@given(chunked())
def test_any_chunking_gives_the_same_frames(chunks: list[bytes]) -> None:
    assert decoded(chunks) == decoded([b"".join(chunks)])


@pytest.mark.slow
@many
@given(chunked())
def test_any_chunking_of_many_streams_gives_the_same_frames(chunks: list[bytes]) -> None:
    assert decoded(chunks) == decoded([b"".join(chunks)])


@some
@given(chunked(), st.integers(0, 40))
def test_any_chunking_meets_the_limit_after_the_same_frames(chunks: list[bytes], limit: int) -> None:
    assert decoded(chunks, limit) == decoded([b"".join(chunks)], limit)


@some
@given(STREAMS)
def test_frames_are_those_of_the_standard(stream: bytes) -> None:
    assert decoded([stream]) == by_the_standard(stream)


@pytest.mark.slow
@many
@given(STREAMS)
def test_frames_of_many_streams_are_those_of_the_standard(stream: bytes) -> None:
    assert decoded([stream]) == by_the_standard(stream)


@some
@given(chunked())
def test_pending_is_what_a_blank_line_would_dispatch(chunks: list[bytes]) -> None:
    decoder = FrameDecoder()
    for chunk in chunks:
        decoder.feed(chunk)
    pending = decoder.pending()
    rest = b"\n" if b"".join(chunks).endswith(b"\r") else b"\n\n"
    assert ([pending] if pending else []) == decoder.feed(rest + b"\n")


LINE = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]))
DATA = st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"])).map(str.encode)
FRAMES = st.builds(Frame, LINE.filter(bool), DATA, LINE)


@some
@given(FRAMES)
def test_encoded_frame_decodes_to_itself(frame: Frame) -> None:
    assert FrameDecoder().feed(encode_frame(frame)) == [frame]


@some
@given(st.lists(FRAMES.filter(lambda frame: frame.id != ""), max_size=5), st.data())
def test_encoded_frames_decode_to_themselves_in_any_chunks(frames: list[Frame], data: st.DataObject) -> None:
    stream = b"".join(encode_frame(frame) + encode_comment("still here") for frame in frames)
    assert decoded(data.draw(chunked(st.just(stream))))[0] == frames


@some
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_comment_decodes_to_nothing(comment: str) -> None:
    assert decoded([encode_comment(comment)]) == ([], None, "", False)


@some
@given(st.text(), st.binary(), st.text())
def test_any_frame_is_encoded_or_refused_with_value_error(event: str, data: bytes, identifier: str) -> None:
    try:
        block = encode_frame(Frame(event, data, identifier))
    except ValueError:
        return
    assert len(FrameDecoder().feed(block)) == 1


# Events

KNOWN = sorted(TYPES)
WORDS = [
    *(
        "id",
        "delta",
        "status",
        "type",
        "object",
        "step_details",
        "tool_calls",
        "index",
        "function",
        "name",
        "arguments",
    ),
    *("output", "code_interpreter", "input", "outputs", "logs", "image", "file_id", "mcp", "content", "text", "value"),
    *("annotations", "required_action", "submit_tool_outputs", "usage", "created_at", "metadata", "activities", "rod"),
]
VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(WORDS)
)
JSON = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=6)
)


def nesting(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(nesting, inner), default=0)


@some
@given(JSON | st.text(alphabet='[]{}"\\').map(lambda text: [text]), st.integers(0, 6))
def test_depth_is_that_of_the_json(value: object, limit: int) -> None:
    assert is_deeper(json.dumps(value).encode(), limit) == (nesting(value) > limit)


@some
@given(st.sampled_from([*KNOWN, "error", "done", "keepalive"]), st.binary())
def test_any_bytes_are_an_event_or_a_decode_error(name: str, payload: bytes) -> None:
    try:
        event = decode_event(Frame(name, payload))
    except DecodeError:
        return
    assert event.payload == payload


@some
@given(st.sampled_from([*KNOWN, "error", "done", "keepalive"]), JSON)
def test_any_json_is_an_event(name: str, value: object) -> None:
    payload = json.dumps(value).encode()
    assert decode_event(Frame(name, payload)).payload == payload


@pytest.mark.slow
@many
@given(st.sampled_from([*KNOWN, "error"]), JSON)
def test_any_json_of_many_is_an_event(name: str, value: object) -> None:
    payload = json.dumps(value).encode()
    assert decode_event(Frame(name, payload)).payload == payload
