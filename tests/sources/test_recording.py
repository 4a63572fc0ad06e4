import math
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepstream import (
    ErrorData,
    Event,
    Frame,
    FrameDecoder,
    FrameTooLarge,
    Processor,
    Reconnected,
    RecordingFailed,
    StepStreamError,
    TransportError,
    connect,
    decode_event,
    encode_change,
    encode_frame,
    record,
    replay,
)
from stepstream.live.registration import CLASSES
from stepstream.sources.recording_file import LONGEST_GAP, RecordingSplitter
from tests.support import places
from tests.support.byte_chunks import pieces
from tests.support.recording_files import TITLE, taped
from tests.support.scripted_server import CREATED, DONE, Exchange, serving

STREAMS = {path.stem: path.read_bytes() for path in sorted(places.STREAMS.glob("*.sse"))}
each_stream = pytest.mark.parametrize("data", STREAMS.values(), ids=STREAMS)
checked = settings(deadline=None, suppress_health_check=[*HealthCheck])

TICK = b"data: tick\n\n"
WITHIN = 60


class Clock:
    """A clock that stands still but while somebody sleeps by it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now += seconds
        await anyio.lowlevel.checkpoint()


async def source(*items: Any, clock: Clock | None = None, every: float = 0) -> AsyncGenerator[Any]:
    """Yield `items`, an exception raised, each `every` seconds after the one before."""
    for item in items:
        if clock is not None:
            clock.now += every
        await anyio.lowlevel.checkpoint()
        if isinstance(item, Exception):
            raise item
        yield item


async def recorded(path: Path, given: Any, **options: Any) -> list[Any]:
    """Record a source to its end and return what it yielded."""
    async with record(given, path, **options) as recording:
        return [item async for item in recording]


async def replayed(path: Path, clock: Clock, **options: Any) -> list[bytes]:
    """Replay a file by a clock that takes no time, and return its pieces."""
    return [piece async for piece in replay(path, clock=clock, sleep=clock.sleep, **options)]


async def happened(given: Any) -> tuple[list[bytes], str]:
    """Run a source and return all that changed, and how it ended."""
    changes: list[bytes] = []

    async def note(change: Any) -> None:
        changes.append(encode_change(change))

    try:
        async with Processor(clock=None) as processor:
            processor.add(CLASSES, note)
            return changes, (await processor.run(given)).reason
    except StepStreamError as error:
        return changes, repr(error)


def decoded(data: bytes) -> list[Frame]:
    return FrameDecoder().feed(data)


# What is saved


async def test_recording_is_the_blocks_of_the_stream_each_after_its_time(tmp_path: Path):
    clock, path = Clock(), tmp_path / "x.sse"
    first, last = Frame("thread.run.created", b'{"id": "run_1"}', "7"), Frame("done", b"[DONE]", "8")
    await recorded(path, source(first, last, clock=clock, every=0.125041), clock=clock)
    assert path.read_bytes() == taped(("0.125041", encode_frame(first)), ("0.250082", encode_frame(last)))


async def test_time_begins_when_the_source_is_open(tmp_path: Path):
    clock, path = Clock(), tmp_path / "x.sse"

    @asynccontextmanager
    async def slow_to_open() -> AsyncIterator[Any]:
        clock.now += 5
        yield source(TICK, clock=clock, every=1)

    await recorded(path, slow_to_open(), clock=clock)
    assert path.read_bytes() == taped(("1.000000", TICK))


async def test_event_has_the_time_at_which_it_was_complete(tmp_path: Path):
    clock, path = Clock(), tmp_path / "x.sse"
    await recorded(path, source(b"data: a\n\ndata: ", b"b\n", b"\ndata: c\n\n", clock=clock, every=1), clock=clock)
    assert path.read_bytes() == taped(
        ("1.000000", b"data: a\n\n"), ("3.000000", b"data: b\n\n"), ("3.000000", b"data: c\n\n")
    )


async def test_what_a_source_yields_passes_unchanged(tmp_path: Path):
    message = SimpleNamespace(event="note", data="high\rwater", id="7")
    event = decode_event(Frame("thread.run.created", b'{"id": "run_1"}'))
    items = [TICK, bytearray(TICK), memoryview(TICK), Frame(data=b"a"), event, Reconnected(), message]
    got = await recorded(tmp_path / "x.sse", source(*items))
    assert [one is item for one, item in zip(got, items, strict=True)] == [True] * len(items)


async def test_items_of_every_kind_are_saved_as_frames(tmp_path: Path):
    path = tmp_path / "x.sse"
    message = SimpleNamespace(event="note", data="high\r\nwater", id="7")
    event = decode_event(Frame("thread.run.created", b'{"id": "run_1", "new": null}'))
    by_hand = Event("done", ErrorData("adrift"))
    await recorded(path, source(memoryview(TICK), Frame("a", b"b", "1"), event, message, by_hand))
    assert decoded(path.read_bytes()) == [
        Frame("message", b"tick"),
        Frame("a", b"b", "1"),
        Frame("thread.run.created", b'{"id": "run_1", "new": null}'),
        Frame("note", b"high\nwater", "7"),
        Frame("done", b'{"code":"adrift","message":null,"type":null,"param":null}'),
    ]


async def test_comments_and_reconnection_times_are_not_saved(tmp_path: Path):
    clock, path = Clock(), tmp_path / "x.sse"
    await recorded(path, source(b": key=s3cret\nretry: 5\nmood: x\n", TICK, clock=clock), clock=clock)
    assert path.read_bytes() == taped(("0.000000", TICK))


async def test_id_that_was_forgotten_is_forgotten_in_the_recording(tmp_path: Path):
    path, frames = tmp_path / "x.sse", [Frame(data=b"1", id="7"), Frame(data=b"2"), Frame(data=b"3", id="8")]
    await recorded(path, source(*frames))
    assert decoded(path.read_bytes()) == frames


async def test_long_id_is_saved_once_however_many_events_have_it(tmp_path: Path):
    path = tmp_path / "x.sse"
    await recorded(path, source(b"id: " + b"7" * 10_000 + b"\n" + TICK + TICK * 99))
    assert path.read_bytes().count(b"7" * 10_000) == 1
    assert decoded(path.read_bytes()) == [Frame(data=b"tick", id="7" * 10_000)] * 100


ODD = st.text(max_size=4) | st.sampled_from(["", " ", "id", "message", "7", "a\0b", ":", "\ufeff", "é"])
FRAMES = st.builds(
    Frame,
    event=ODD.map(lambda name: re.sub("[\r\n]", "", name) or "message"),
    data=(ODD | st.sampled_from(["\n", "\r", "\r\n\n", ": at 1", "data: x"])).map(str.encode),
    id=ODD.map(lambda identifier: re.sub("[\r\n\0]", "", identifier)),
)


@checked
@given(frames=st.lists(FRAMES, max_size=8))
async def test_any_frames_are_read_back_as_they_were_but_for_carriage_returns(tmp_path: Path, frames: list[Frame]):
    path = tmp_path / "x.sse"
    await recorded(path, source(*frames))
    expected = [
        Frame(frame.event, frame.data.replace(b"\r\n", b"\n").replace(b"\r", b"\n"), frame.id) for frame in frames
    ]
    assert decoded(path.read_bytes()) == expected


TOKENS = [
    *(b"data", b"event", b"id", b":", b": ", b" ", b"\n", b"\r", b"\r\n", b"\n\n", b"\0", b"7", b": at 1\n", TITLE),
    *(b"data: a\n", b"event: tide\r\n", b"id: 5\r", b"\xef\xbb\xbf", b"\xef", b"\xff"),
]


@checked
@given(tokens=st.lists(st.sampled_from(TOKENS) | st.binary(max_size=3), max_size=40), size=st.integers(1, 60))
async def test_any_bytes_give_a_recording_of_the_same_frames(tmp_path: Path, tokens: list[bytes], size: int):
    path, data = tmp_path / "x.sse", b"".join(tokens)
    expected = FrameDecoder()
    frames, pending = expected.feed(data), expected.pending()
    await recorded(path, source(*pieces(data, size)))
    assert decoded(path.read_bytes()) == frames
    decides = pending is not None and pending.event in ("done", "error")
    assert path.read_bytes().endswith(b"\n\n") == (frames != [] and not decides)


@pytest.mark.parametrize(
    ("frame", "saved"),
    [
        (Frame("a\r\nid: 9", b"1"), Frame("a\ufffd\ufffdid: 9", b"1")),
        (Frame("a", b"1", "\0\n9"), Frame("a", b"1", "\ufffd\ufffd9")),
        (Frame("\ud800", b"1", "\udfff"), Frame("\ufffd", b"1", "\ufffd")),
        (Frame("a", b"\xff1"), Frame("a", b"\xef\xbf\xbd1")),
    ],
)
async def test_frame_by_hand_that_no_line_can_hold_forges_nothing(tmp_path: Path, frame: Frame, saved: Frame):
    path = tmp_path / "x.sse"
    assert await recorded(path, source(frame)) == [frame]
    assert decoded(path.read_bytes()) == [saved]


@pytest.mark.parametrize("end", [b"event: done\ndata: [DONE]", b'event: error\nid: 7\ndata: {"code": "adrift"}\n'])
async def test_end_without_its_blank_line_is_saved_without_it(tmp_path: Path, end: bytes):
    clock, path = Clock(), tmp_path / "x.sse"
    await recorded(path, source(CREATED + end, clock=clock), clock=clock)
    assert path.read_bytes() == taped(("0.000000", CREATED), ("0.000000", end.removesuffix(b"\n") + b"\n"))
    assert await happened(replay(path, speed=math.inf)) == await happened(source(CREATED + end))


async def test_end_without_its_blank_line_is_saved_once(tmp_path: Path):
    async with record(source(DONE[:-1]), tmp_path / "x.sse") as recording:
        assert [[item async for item in recording] for _ in range(2)] == [[DONE[:-1]], []]
        assert recording.events == 1
    assert (tmp_path / "x.sse").read_bytes().count(b"[DONE]") == 1


async def test_other_block_without_its_blank_line_is_not_saved(tmp_path: Path):
    path = tmp_path / "x.sse"
    await recorded(path, source(TICK + b"data: tock\n"))
    assert decoded(path.read_bytes() + b"\n") == decoded(TICK)


async def test_end_without_its_blank_line_is_not_saved_where_the_source_broke(tmp_path: Path):
    path = tmp_path / "x.sse"
    with pytest.raises(TransportError):
        await recorded(path, source(TICK + DONE[:-1], OSError()))
    assert decoded(path.read_bytes() + b"\n") == decoded(TICK)


async def test_block_before_a_reconnection_is_not_saved(tmp_path: Path):
    path = tmp_path / "x.sse"
    given = (b"id: 7\n" + TICK + b"data: half", Reconnected(), b" a block\n\n" + TICK + DONE[:-1], Reconnected())
    await recorded(path, source(*given))
    assert decoded(path.read_bytes() + b"\n") == [Frame(data=b"tick", id="7"), Frame(data=b"tick")]


async def test_id_goes_on_over_a_reconnection_as_the_reader_of_the_stream_has_it(tmp_path: Path):
    path = tmp_path / "x.sse"
    await recorded(path, source(b"id: 7\n" + TICK, Reconnected("7"), TICK))
    assert decoded(path.read_bytes()) == [Frame(data=b"tick", id="7")] * 2


async def test_reconnections_change_nothing_of_what_a_recording_does(tmp_path: Path):
    path, data = tmp_path / "x.sse", STREAMS["tides"]
    half = data.index(b"\n\n", 2_000) + 2
    given = (data[:half] + b"event: don", Reconnected(), data[half:])
    direct = await happened(source(*given))
    assert await happened(record(source(*given), path)) == direct
    assert await happened(replay(path, speed=math.inf)) == direct


async def test_nothing_is_saved_from_an_event_over_the_limit_on(tmp_path: Path):
    clock, path = Clock(), tmp_path / "x.sse"
    items = [TICK + b"data: " + b"x" * 100 + b"\n\n" + TICK, TICK, Frame(data=b"tock"), Reconnected(), TICK, DONE[:-1]]
    got = await recorded(path, source(*items, clock=clock), max_event_bytes=50, clock=clock)
    assert len(got) == len(items)
    assert path.read_bytes() == taped(("0.000000", TICK))


async def test_event_over_the_limit_is_told_by_the_run(tmp_path: Path):
    path = tmp_path / "x.sse"
    async with Processor(max_event_bytes=50) as processor:
        with pytest.raises(FrameTooLarge) as caught:
            await processor.run(record(source(CREATED + b"data: " + b"x" * 100), path, max_event_bytes=50))
    assert caught.value.outcome is not None
    assert (caught.value.outcome.events, decoded(path.read_bytes())) == (1, decoded(CREATED))


@pytest.mark.parametrize("item", [7, None, SimpleNamespace(event=1, data="x")])
async def test_item_of_no_known_kind_is_left_to_the_run(tmp_path: Path, item: Any):
    async with Processor() as processor:
        with pytest.raises(TypeError, match=r"^expected a source to yield bytes, frames"):
            await processor.run(record(source(CREATED, item), tmp_path / "x.sse"))
    assert decoded((tmp_path / "x.sse").read_bytes()) == decoded(CREATED)


# When it is saved, and where to


async def test_event_is_in_the_file_before_it_is_yielded(tmp_path: Path):
    path = tmp_path / "x.sse"
    async with record(source(TICK[:5], TICK[5:], DONE), path) as recording:
        counts = [(len(decoded(path.read_bytes())), recording.events) async for _ in recording]
    assert counts == [(0, 0), (1, 1), (2, 2)]


async def test_recording_shows_how_much_it_saved(tmp_path: Path):
    async with record(source(TICK, TICK), tmp_path / "x.sse") as recording:
        assert repr(recording) == "<Recording 0 events>"
        assert [item async for item in recording] == [TICK, TICK]
        assert [item async for item in recording] == []
        assert repr(recording) == "<Recording 2 events>"


async def test_recording_replaces_a_longer_file(tmp_path: Path):
    clock, path = Clock(), tmp_path / "x.sse"
    path.write_bytes(b"x" * 1_000)
    await recorded(path, source(TICK, clock=clock), clock=clock)
    assert path.read_bytes() == taped(("0.000000", TICK))


async def test_stream_without_events_is_a_recording_without_events(tmp_path: Path):
    await recorded(tmp_path / "x.sse", source())
    await recorded(tmp_path / "y.sse", replay(tmp_path / "x.sse"))
    assert (tmp_path / "y.sse").read_bytes() == (tmp_path / "x.sse").read_bytes() == TITLE


@pytest.mark.parametrize("failure", [OSError(2, "No such file"), TransportError("no")])
@pytest.mark.parametrize("is_there", [True, False])
async def test_source_that_fails_before_it_yields_leaves_the_file_as_it_was(
    tmp_path: Path, failure: Exception, is_there: bool
):
    path = tmp_path / "x.sse"
    if is_there:
        path.write_bytes(b"treasure")
    with pytest.raises(TransportError):
        await recorded(path, source(failure))
    assert (path.read_bytes() if is_there else path.exists()) == (b"treasure" if is_there else False)


async def test_refusal_of_a_server_leaves_the_file_as_it_was(tmp_path: Path):
    path = tmp_path / "x.sse"
    path.write_bytes(b"treasure")
    async with serving(lambda exchange: exchange.answer("404 Not Found")) as url:
        with pytest.raises(StepStreamError, match=r"answered 404 Not Found$"):
            await recorded(path, connect(url))
    assert path.read_bytes() == b"treasure"


async def test_what_came_before_a_failure_is_saved(tmp_path: Path):
    path = tmp_path / "x.sse"
    with pytest.raises(TransportError, match=r"^the source failed: it broke$"):
        await recorded(path, source(TICK, OSError(5, "it broke")))
    assert decoded(path.read_bytes()) == decoded(TICK)


async def test_source_is_closed_when_recording_ends_early(tmp_path: Path):
    given = source(TICK, TICK)
    async with record(given, tmp_path / "x.sse") as recording:
        assert await anext(recording) == TICK
    assert await anext(given, "closed") == "closed"


@pytest.mark.parametrize("place", [0, 1])
async def test_waiting_for_the_source_can_be_cancelled(tmp_path: Path, place: int):
    path = tmp_path / "x.sse"
    path.write_bytes(b"treasure")

    async def endless() -> AsyncGenerator[bytes]:
        for _ in range(place):
            yield TICK
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(recorded, path, endless())
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(WITHIN):
            while place and not path.read_bytes().endswith(TICK):  # a thread writes it
                await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert path.read_bytes().endswith(TICK) if place else path.read_bytes() == b"treasure"


@pytest.mark.parametrize("name", ["nowhere/x.sse", "."])
async def test_file_that_cannot_be_opened_is_told_before_the_source_is_opened(tmp_path: Path, name: str):
    opened: list[str] = []

    @asynccontextmanager
    async def noted() -> AsyncIterator[Any]:
        opened.append("source")
        yield source()

    async with Processor() as processor:
        with pytest.raises(RecordingFailed, match=r"^could not record to .*: (No such file|Is a directory)") as caught:
            await processor.run(record(noted(), tmp_path / name))
    assert (type(caught.value.__cause__) in (FileNotFoundError, IsADirectoryError), opened) == (True, [])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device")
async def test_full_disk_ends_the_run_with_what_was_folded():
    async with Processor() as processor:
        with pytest.raises(
            RecordingFailed, match=r"^could not record to /dev/full: No space left on device$"
        ) as caught:
            await processor.run(record(source(CREATED, DONE), "/dev/full"))
    assert caught.value.outcome is not None
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device")
@pytest.mark.parametrize(("own", "left_with"), [(None, RecordingFailed), (LookupError(), LookupError)])
async def test_file_that_fails_when_it_is_closed_is_told_unless_something_else_is(
    own: Exception | None, left_with: type[Exception]
):
    async def left() -> None:
        async with record(source(TICK), "/dev/full") as recording:
            with pytest.raises(RecordingFailed):
                await anext(recording)
            if own is not None:
                raise own

    with pytest.raises(left_with):
        await left()


async def test_recording_through_a_real_connection_holds_no_key_query_or_header(tmp_path: Path):
    path = tmp_path / "x.sse"

    async def script(exchange: Exchange) -> None:
        assert "s3cret" in exchange.target
        assert exchange.values("authorization") == ["Bearer t0ken"]
        await exchange.stream(b": keep-alive\n\n", CREATED, DONE)

    async with serving(script) as url, Processor() as processor:
        with anyio.fail_after(WITHIN):
            headers = {"Authorization": "Bearer t0ken"}
            await processor.run(record(connect(f"{url}/runs?api-key=s3cret", headers=headers), path))
    lines = path.read_bytes().splitlines(keepends=True)
    timeless = b"".join(line for line in lines if not re.fullmatch(rb": at \d+\.\d{6}\n", line))
    assert timeless == TITLE + CREATED + DONE


# Recorded and replayed


@each_stream
async def test_recording_and_replay_change_nothing_of_what_a_stream_does(tmp_path: Path, data: bytes):
    clock, path = Clock(), tmp_path / "x.sse"
    direct = await happened(source(data))
    given = record(source(*pieces(data, 100), clock=clock, every=0.5), path, clock=clock)
    assert await happened(given) == direct
    for options in ({"speed": math.inf}, {"speed": 2.0, "chunk_size": 61}):
        assert await happened(replay(path, clock=clock, sleep=clock.sleep, **options)) == direct


@pytest.mark.parametrize("every", [997, pytest.param(197, marks=pytest.mark.slow)])
@each_stream
async def test_stream_that_was_cut_anywhere_is_replayed_as_it_was(tmp_path: Path, data: bytes, every: int):
    path = tmp_path / "x.sse"
    for place in range(1, len(data), every):
        direct = await happened(source(data[:place]))
        assert await happened(record(source(data[:place]), path)) == direct
        assert await happened(replay(path, speed=math.inf)) == direct


async def test_recording_that_was_cut_anywhere_reads_up_to_the_cut(tmp_path: Path):
    path = tmp_path / "x.sse"
    await recorded(path, source(STREAMS["crossing"]))
    whole = path.read_bytes()
    frames = decoded(whole)
    for place in range(0, len(whole), 29):
        path.write_bytes(whole[:place])
        clock = Clock()
        assert b"".join(await replayed(path, clock)) == whole[:place]
        got = decoded(whole[:place])
        assert got == frames[: len(got)]
        assert len(got) == whole[:place].count(b"\n\n")


async def test_replay_that_is_read_again_is_refused(tmp_path: Path):
    path = tmp_path / "x.sse"
    path.write_bytes(taped(*TIMED))
    given = replay(path, speed=math.inf)
    async with Processor() as processor:
        assert (await processor.run(given)).events == 4
        with pytest.raises(RuntimeError, match="a source is read once: open another one"):
            await processor.run(given)


async def test_replay_that_is_recorded_again_is_the_same_recording(tmp_path: Path):
    clock, one, two = Clock(), tmp_path / "1.sse", tmp_path / "2.sse"
    data = STREAMS["crossing"]
    await recorded(one, source(*pieces(data, 500), clock=clock, every=0.25), clock=clock)
    await recorded(two, replay(one, clock=clock, sleep=clock.sleep), clock=clock)
    assert two.read_bytes() == one.read_bytes()


# Pace

TIMED = (("0.5", TICK), ("1.25", TICK), ("1.25", TICK), ("4", DONE))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 65_536])
async def test_replay_keeps_the_pace_whatever_the_chunks(tmp_path: Path, size: int):
    clock, path = Clock(), tmp_path / "x.sse"
    path.write_bytes(taped(*TIMED))
    assert b"".join(await replayed(path, clock, chunk_size=size)) == taped(*TIMED)
    assert clock.slept == [0.5, 0.75, 2.75]


@pytest.mark.parametrize(("speed", "slept"), [(10, [0.05, 0.075, 0.275]), (0.5, [1, 1.5, 5.5]), (math.inf, [])])
async def test_speed_divides_the_time(tmp_path: Path, speed: float, slept: list[float]):
    clock, path = Clock(), tmp_path / "x.sse"
    path.write_bytes(taped(*TIMED))
    assert b"".join(await replayed(path, clock, speed=speed)) == taped(*TIMED)
    assert clock.slept == slept


async def test_block_is_whole_before_the_wait_for_the_next(tmp_path: Path):
    clock, path = Clock(), tmp_path / "x.sse"
    path.write_bytes(taped(*TIMED))
    decoder, seen = FrameDecoder(), []
    async for piece in replay(path, clock=clock, sleep=clock.sleep):
        seen += [(clock.now - 100, frame.data) for frame in decoder.feed(piece)]
    assert seen == [(0.5, b"tick"), (1.25, b"tick"), (1.25, b"tick"), (4, b"[DONE]")]


async def test_slow_reader_does_not_make_the_replay_late(tmp_path: Path):
    clock, path = Clock(), tmp_path / "x.sse"
    path.write_bytes(taped(("1", TICK), ("2", TICK), ("3", TICK), ("10", TICK)))
    async for piece in replay(path, clock=clock, sleep=clock.sleep):
        clock.now += 1.5 * piece.count(TICK)
    assert clock.slept == [1, 10 - 1 - 4 * 1.5 + 1.5]


@pytest.mark.parametrize("speed", [0, -1, math.nan, -math.inf])
def test_speed_that_is_not_above_0_is_a_value_error(tmp_path: Path, speed: float):
    with pytest.raises(ValueError, match=f"^expected speed above 0, got {speed!r}$"):
        replay(tmp_path, speed=speed)


def test_speed_in_words_is_a_type_error(tmp_path: Path):
    with pytest.raises(TypeError, match=r"expected speed as a number, math\.inf for at once, got str"):
        replay(tmp_path / "x.sse", speed="max")  # type: ignore[arg-type]


@each_stream
async def test_file_that_is_no_recording_is_read_as_it_is(tmp_path: Path, data: bytes):
    clock, path = Clock(), tmp_path / "x.sse"
    data = b": at 7\n" + data
    path.write_bytes(data)
    for size in (61, 65_536):
        assert (b"".join(await replayed(path, clock, chunk_size=size)), clock.slept) == (data, []), f"chunks of {size}"


@pytest.mark.parametrize(
    "first",
    [b"", b":", TITLE[:-1], TITLE[:-2] + b"2\n", b" " + TITLE, TITLE[:-1] + b"0\n", b"\n" + TITLE, TITLE[:-1] + b"\r"],
)
async def test_first_line_alone_makes_a_recording(tmp_path: Path, first: bytes):
    clock, path = Clock(), tmp_path / "x.sse"
    for data in (first, first + b": at 9\n" + TICK if first != TITLE[:-1] + b"\r" else first):
        path.write_bytes(data)
        assert (b"".join(await replayed(path, clock, chunk_size=3)), clock.slept) == (data, [])


async def test_recording_with_other_line_ends_keeps_its_pace(tmp_path: Path):
    clock, path = Clock(), tmp_path / "x.sse"
    path.write_bytes(taped(*TIMED).replace(b"\n", b"\r\n"))
    await replayed(path, clock, chunk_size=1)
    assert clock.slept == [0.5, 0.75, 2.75]


NO_TIMES = [
    *("-1", "nan", "inf", "1e3", "+1", "", " 7", "7 ", "1_0", "0x7", "1.", ".5", "1,5", "٣", "9" * 11, "9" * 500),
]


async def test_line_that_is_no_time_is_a_comment(tmp_path: Path):
    for time in NO_TIMES:
        clock, path = Clock(), tmp_path / "x.sse"
        data = taped((time, TICK), ("1", TICK))
        path.write_bytes(data)
        assert (b"".join(await replayed(path, clock, chunk_size=5)), clock.slept) == (data, [1]), time


async def test_time_inside_of_a_line_is_none(tmp_path: Path):
    clock, path = Clock(), tmp_path / "x.sse"
    path.write_bytes(taped(("1", b"data: : at 5\n\n"), ("2", b"data: " + b"x" * 60 + b": at 7\n\n")))
    for size in range(1, 70):
        clock.slept.clear()
        await replayed(path, clock, chunk_size=size)
        assert clock.slept == [1, 1]


@pytest.mark.parametrize(
    ("times", "slept"),
    [
        (("5", "3", "4"), [5, 1]),  # backwards: it goes on from there
        (("1", "2", "0.5", "1.5"), [1, 1, 1]),  # two recordings, one after the other
        (("9999999999", "10"), [LONGEST_GAP]),
        (("1000", "2000", "2001"), [LONGEST_GAP, LONGEST_GAP, 1]),
        (("0", "0.0", "00000.000000001"), [0]),
    ],
)
async def test_times_of_a_damaged_recording_have_a_meaning(tmp_path: Path, times: tuple[str, ...], slept: list[float]):
    clock, path = Clock(), tmp_path / "x.sse"
    path.write_bytes(taped(*((time, TICK) for time in times)))
    assert b"".join(await replayed(path, clock)) == path.read_bytes()
    assert clock.slept == slept


HOSTILE = [*TOKENS, b": at ", b": at 5", b": at 7\n", b": at 1.5\r\n", b"\n: at 9\n", b": at -1\n", b".", b": at nan\n"]


@checked
@given(tokens=st.lists(st.sampled_from(HOSTILE) | st.binary(max_size=3), max_size=40), size=st.integers(1, 40))
def test_any_chunking_of_any_recording_gives_the_same_bytes_at_the_same_times(tokens: list[bytes], size: int):
    data = TITLE + b"".join(tokens)

    def timed(chunks: list[bytes]) -> list[tuple[float, bytes]]:
        cutter, at, found = RecordingSplitter(), 0.0, dict[float, bytes]()
        for chunk in chunks:
            for gap, piece in cutter.feed(chunk):
                at += gap
                found[at] = found.get(at, b"") + piece
        found[at] = found.get(at, b"") + cutter.rest()
        return [*found.items()]

    whole = timed([data])
    assert timed(pieces(data, size)) == whole
    assert b"".join(piece for _, piece in whole) == data


def test_huge_event_passes_in_chunks():
    cutter = RecordingSplitter()
    for chunk in [TITLE, *[b"x" * 999] * 99]:
        assert [piece for _, piece in cutter.feed(chunk)] == [chunk]


def test_endless_time_passes_in_chunks():
    cutter = RecordingSplitter()
    sizes = [sum(len(piece) for _, piece in cutter.feed(chunk)) for chunk in [TITLE + b": at ", *[b"9" * 20] * 99]]
    assert sizes == [len(TITLE), 0, 45, *[20] * 97]


async def test_recording_is_not_made_of_itself(tmp_path: Path):
    path, other = tmp_path / "x.sse", tmp_path / "link.sse"
    path.write_bytes(taped(("1", TICK)))
    other.symlink_to(path)
    with pytest.raises(ValueError, match="another file to record to than the one that is replayed"):
        async with record(replay(path), other):
            raise AssertionError("it is recorded")
    assert path.read_bytes() == taped(("1", TICK))


async def test_waiting_replay_can_be_cancelled(tmp_path: Path):
    path = tmp_path / "x.sse"
    path.write_bytes(taped(("0", TICK), ("299", DONE)))
    seen: list[bytes] = []
    is_waiting = anyio.Event()

    async def sleep(seconds: float) -> None:
        is_waiting.set()
        await anyio.sleep(seconds)

    async def read() -> None:
        seen.extend([piece async for piece in replay(path, sleep=sleep)])

    with anyio.fail_after(WITHIN):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await is_waiting.wait()
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
    assert seen == []  # and the file is closed: else it were a ResourceWarning, an error here


async def test_replay_takes_real_time(tmp_path: Path):
    path = tmp_path / "x.sse"
    path.write_bytes(taped(("0", CREATED), ("0.05", DONE)))
    start = anyio.current_time()
    async with Processor() as processor:
        outcome = await processor.run(replay(path))
    assert outcome.reason == "done"
    assert anyio.current_time() - start >= 0.04  # clocks of event loops are coarse
