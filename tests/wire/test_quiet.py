import json
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from stepstream.errors import DecodeError
from stepstream.wire.base import Unknown, WireObject
from stepstream.wire.events import ErrorData, Event, Malformed, UnknownData, decode_event
from stepstream.wire.objects import RunStep
from stepstream.wire.sse import Frame
from stepstream.wire.tool_calls import ToolCall
from tests.support.json_values import event
from tests.support.tables import each_row
from tests.support.wire_samples import CREATED, DELTA, OBJECTS, calls_delta, tool_step

HUSH = "hush-7c1e"
IDENTIFYING = {"id", "type", "status", "object"}


def hushed(value: Any, key: str = "") -> Any:
    """Return `value` with the secret for every text but ids, types and statuses, and for the keys of free-form maps."""
    if isinstance(value, dict):
        return {(HUSH if key == "metadata" else name): hushed(found, name) for name, found in value.items()}
    if isinstance(value, list):
        return [hushed(found) for found in value]
    return HUSH if isinstance(value, str) and key not in IDENTIFYING else value


def parts(value: object) -> Iterator[object]:
    """Yield every struct, and every object of unknown kind, in `value`."""
    if isinstance(value, WireObject):
        yield value
        for name in value.__struct_fields__:
            yield from parts(getattr(value, name))
    elif isinstance(value, Unknown):
        yield value
    elif isinstance(value, tuple):
        for found in value:
            yield from parts(found)


def test_repr_of_no_part_tells_content() -> None:
    decoded = {case: event(name, hushed(data)) for case, (name, data) in OBJECTS.items()}
    shown = {case: [repr(part) for part in (one, *parts(one.data))] for case, one in decoded.items()}
    assert {case: words for case, words in shown.items() if HUSH in " ".join(words)} == {}


@each_row(
    ("data", "shown"),
    [
        (RunStep(id="step_elm", status="failed"), "<RunStep step_elm failed>"),
        (ToolCall(id="call_1", type="mcp", arguments=HUSH), "<ToolCall call_1 mcp>"),
        (Unknown(type="rod", input=HUSH), "<Unknown rod 2 keys>"),
        (UnknownData(HUSH.encode()), "<UnknownData>"),
        (ErrorData(message=HUSH, code="c"), "<ErrorData>"),
        (Event("keepalive", UnknownData(HUSH.encode())), "<Event keepalive <UnknownData>>"),
        (Malformed(HUSH.encode(), "a", "b", id="a"), "<Malformed a>"),
        (event(DELTA, calls_delta({"index": 3})).data.delta.step_details.tool_calls[0], "<ToolCallDelta 3>"),
    ],
    ids=["step", "call", "unknown", "unknown_data", "error", "event", "malformed", "delta"],
)
def test_repr_tells_what_it_is(data: object, shown: str) -> None:
    assert repr(data) == shown


LEAKY: dict[str, tuple[str, object]] = {
    "misfit": (CREATED, {"id": "a", "created_at": HUSH}),
    "text": (CREATED, HUSH),
    "kind": (DELTA, calls_delta({"index": 0, "type": HUSH}, 5)),
    "kind_of_step": (CREATED, {"id": "a", "step_details": {"type": HUSH}, "usage": HUSH}),
    "kind_of_output": (
        DELTA,
        calls_delta({"index": 0, "code_interpreter": {"outputs": [{"index": 0, "type": HUSH}, 5]}}),
    ),
    "kind_of_action": ("thread.run.queued", {"id": "a", "required_action": {"type": HUSH}, "tools": HUSH}),
    "index": (DELTA, calls_delta({"index": HUSH})),
    "key": (CREATED, {"id": "a", "metadata": {HUSH: 1}, "usage": {HUSH: 1, "total_tokens": HUSH}}),
    "list": (CREATED, [HUSH]),
    "result": (CREATED, tool_step({"type": "file_search", "file_search": {"results": [{"content": [HUSH]}]}})),
    "attributes": (CREATED, tool_step({"type": "file_search", "file_search": {"results": [{"attributes": HUSH}]}})),
}


@each_row(("name", "data"), LEAKY.values(), ids=LEAKY)
def test_data_that_does_not_fit_tells_no_content(name: str, data: object) -> None:
    decoded = event(name, data)
    assert isinstance(decoded.data, Malformed) != bool(decoded.bad_fields)
    assert HUSH not in f"{decoded!r} {getattr(decoded.data, 'reason', '')} {decoded.bad_fields}"


LEAKY_BYTES = {
    "cut": b'{"id": "%s' % HUSH.encode(),
    "rest": b'{"id": "%s"} "%s"' % (HUSH.encode(), HUSH.encode()),
    "word": HUSH.encode(),
    "not_utf_8": b'{"id": "%s\xff"}' % HUSH.encode(),
    "cut_after_an_unknown_kind": b'{"id": "a", "step_details": {"type": "%s"}, "x": ' % HUSH.encode(),
    "not_utf_8_after_an_unknown_kind": b'{"step_details": {"type": "%s"}, "id": "\xff"}' % HUSH.encode(),
    "too_deep": b'{"id": "%s", "x": ' % HUSH.encode() + b"[" * 99 + b"]" * 99 + b"}",
    "too_deep_in_text": json.dumps(HUSH + "[" * 99).encode(),
}


@each_row("payload", LEAKY_BYTES.values(), ids=LEAKY_BYTES)
def test_decode_error_and_its_traceback_tell_no_content(payload: bytes) -> None:
    with pytest.raises(DecodeError) as raised:
        decode_event(Frame(CREATED, payload))
    told = [str(raised.value), repr(raised.value), raised.value.reason, *traceback.format_exception(raised.value)]
    assert HUSH not in "".join(told)
