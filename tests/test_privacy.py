"""What a server sent and what a request carried is in no log record, repr or exception of ours, whatever goes wrong."""

import json
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepstream import Processor, RunTransition, StepStreamError, connect
from stepstream.live.registration import CLASSES
from tests.support.json_values import JSON
from tests.support.run_streams import Sent, play, source
from tests.support.virtual_time import virtually

CANARY = "c4n4ry"

SHOWN = {"id", "run_id", "thread_id", "message_id", "object", "type", "status", "name"}
"""What says which object it is, and may be shown."""

Logged = list[str]


@contextmanager
def listening(name: str = "stepstream") -> Iterator[Logged]:
    """The records of a logger, as they are written out, of every level."""
    records: Logged = []
    formatter = logging.Formatter()

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(formatter.format(record) + repr(record.args))

    logger, handler = logging.getLogger(name), Keeping()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield records
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def told_by(exc: BaseException) -> str:
    """Everything that an exception shows: itself, its causes, and its attributes."""
    return "".join(traceback.format_exception(exc)) + repr(exc) + repr(vars(exc))


def places(value: JSON | None, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths to everything in a payload that is content."""
    entries: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        if key not in SHOWN:
            yield (*path, key)
            yield from places(entry, (*path, key))


def put(body: Any, path: tuple[Any, ...], value: Any) -> Any:
    body = holder = deepcopy(body)
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return body


SECRET_BODIES: list[Sent] = [
    *(
        (name, body and {**body, "metadata": {CANARY: CANARY}, "instructions": CANARY, "unheard_of": [CANARY]})
        for name, body in play()
    ),
    ("thread.run.failed", {"id": "run_2", "status": "failed", "last_error": {"code": "x", "message": CANARY}}),
    ("unheard.of", {"id": CANARY, "x": CANARY}),
    ("thread.run.step.delta", {"id": "step_9", "delta": {CANARY: CANARY}}),
]

VALUES = st.sampled_from(
    [CANARY, [CANARY], {CANARY: CANARY}, {"index": CANARY}, [{"index": 0, "text": CANARY}], 7, None]
)


@st.composite
def blocks(draw: st.DrawFn) -> bytes:
    """An event with secrets in it: as it should be, with one value replaced by another, or no JSON at all."""
    name, body = draw(st.sampled_from(SECRET_BODIES))
    found = list(places(body))
    if found:
        for path in draw(st.lists(st.sampled_from(found), max_size=2, unique=True)):
            try:
                body = put(body, path, draw(VALUES))
            except (KeyError, TypeError, IndexError):
                continue  # the first replacement took the place of the second
    data = json.dumps(body)
    how = draw(st.sampled_from(["whole"] * 6 + ["cut", "deep", "quoted", "invalid"]))
    if how == "cut":
        data = data[: draw(st.integers(0, len(data)))] + CANARY
    elif how == "deep":
        data = "[" * 100 + f'"{CANARY}"' + "]" * 100
    elif how == "quoted":
        data = json.dumps(data)
    raw = data.encode() + (b"\xff" if how == "invalid" else b"")
    return b"event: " + name.encode() + b"\ndata: " + raw + b"\n\n"


ENDS = [b"event: done\ndata: [DONE]\n\n", b"", b"data: " + CANARY.encode() * 2_000, LookupError(f"broken, {CANARY}")]


async def failing(change: Any) -> None:
    raise ValueError("of the callback")


async def hanging(change: Any) -> None:
    await anyio.sleep_forever()


def picky(change: Any) -> bool:
    raise KeyError("of the predicate")


async def shown_of(chunks: list[Any], *, strict: bool) -> list[str]:
    """Everything that is shown of a stream: what its reader, its subscribers and their failures look like."""
    shown: list[str] = []

    async def show(change: Any) -> None:
        shown.extend([repr(change), str(change)])

    try:
        async with Processor(strict=strict, max_event_bytes=8_000, drain_timeout=1) as processor:
            processor.on_failure(show)
            subscriptions = [
                processor.add(CLASSES, show),
                processor.add(CLASSES, failing, attempts=2, backoff=0),
                processor.add(CLASSES, hanging, timeout=0.5, overflow="latest"),
                processor.add(CLASSES, hanging, buffer=1, overflow="close"),
                processor.add(CLASSES, show, where=picky),
            ]
            async with processor.subscribe(RunTransition, replay=True) as changes:
                handle = processor.start(source(*chunks))
                try:
                    shown.append(repr(await handle.outcome()))
                except StepStreamError as exc:
                    # the cause is the source's own: what it quotes is shown where it is shown itself
                    shown.extend([str(exc), repr(exc), repr(exc.outcome)])
                shown.extend(map(repr, (changes, changes.subscription, handle, processor, *subscriptions)))
            shown.append(repr(processor.statistics()))
    except (ValueError, KeyError, StepStreamError) as exc:  # of a subscriber, with `strict`
        shown.append(told_by(exc))
    return shown


@settings(deadline=None)
@given(sent=st.lists(blocks(), max_size=8), end=st.sampled_from(ENDS), strict=st.booleans())
def test_payload_is_in_no_log_repr_or_exception(sent: list[bytes], end: Any, strict: bool):
    with listening("stepstream") as records:
        shown = virtually(lambda: shown_of([*sent, end], strict=strict))
    is_own = isinstance(end, LookupError)  # what a source quotes is logged as it is, in the cause
    assert [one for one in shown if CANARY in one] == []
    assert [one for one in records if CANARY in one and not (is_own and "LookupError" in one)] == []


ANSWERS = [
    httpx.Response(200, headers={"content-type": "text/event-stream"}, content=b"event: done\ndata: [DONE]\n\n"),
    httpx.Response(
        200, headers={"content-type": "text/event-stream"}, content=b'event: error\ndata: {"code": "x"}\n\n'
    ),
    httpx.Response(200, headers={"content-type": "text/event-stream"}, content=b"data: {"),
    httpx.Response(200, headers={"content-type": "application/json"}, content=b"{}"),
    httpx.Response(204),
    httpx.Response(301, headers={"location": f"https://other.example/?key={CANARY}"}),
    httpx.Response(401, json={"error": {"message": "who are you?", "code": "no"}}),
    httpx.Response(503, headers={"retry-after": "1"}),
    httpx.ConnectError(f"https://user:{CANARY}@example.com/?key={CANARY}"),
    httpx.ReadTimeout(CANARY),
    httpx.RemoteProtocolError(CANARY),
]


@given(answers=st.lists(st.sampled_from(range(len(ANSWERS))), min_size=1, max_size=4), posts=st.booleans())
def test_query_header_body_and_password_are_in_no_log_repr_or_exception(answers: list[int], posts: bool):
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        one = ANSWERS[left.pop(0) if left else 4]  # in the end no content, which ends a GET
        if isinstance(one, Exception):
            raise type(one)(str(one), request=request)
        return httpx.Response(one.status_code, headers=one.headers, content=one.content)

    async def read() -> list[str]:
        body: Any = {"json": {"instructions": CANARY}} if posts else {}
        url = f"https://user:{CANARY}@example.com/v1/threads/t/runs?key={CANARY}#{CANARY}"
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client, Processor() as processor:
            stream = connect(url, client=client, headers={"authorization": f"Bearer {CANARY}"}, **body)
            shown = [repr(stream)]
            try:
                shown.append(repr(await processor.run(stream)))
            except StepStreamError as exc:
                shown.append(told_by(exc) if exc.__cause__ is None else f"{exc}{exc!r}{vars(exc)}")
        return shown

    with listening("stepstream") as records:
        shown = virtually(read)
    assert [one for one in (*shown, *records) if CANARY in one] == []


def test_canaries_would_be_found():
    """The listener hears what is logged, and the stream's secrets do arrive."""
    with listening("stepstream") as records:
        logging.getLogger("stepstream.live").debug("%s", CANARY)
    assert CANARY in records[0]
    got: list[Any] = []

    async def take(change: Any) -> None:
        got.append(change)

    async def read() -> None:
        async with Processor() as processor:
            processor.add(RunTransition, take)
            data = json.dumps(SECRET_BODIES[0][1]).encode()
            with pytest.raises(StepStreamError):
                await processor.run(source(b"event: thread.run.created\ndata: " + data + b"\n\n"))

    virtually(read)
    assert got[0].run.instructions == CANARY
