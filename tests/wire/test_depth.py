import time

import pytest

from stepstream.errors import DecodeError
from stepstream.wire.depth import is_deeper
from stepstream.wire.events import decode_event
from stepstream.wire.objects import RunStep
from stepstream.wire.sse import Frame
from tests.support.json_values import event
from tests.support.tables import each_row
from tests.support.wire_samples import CREATED


def nested(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    """Return an object that nests `depth` levels deep, itself included."""
    inner = opening * (depth - 1) + "1" + closing * (depth - 1)
    return f'{{"id": "a", "x": {inner}}}'.encode()


@each_row("depth", [2, 63, 64])
@each_row("brackets", [("[", "]"), ('{"k":', "}")], ids=["lists", "objects"])
def test_64_levels_are_decoded(depth: int, brackets: tuple[str, str]) -> None:
    assert decode_event(Frame(CREATED, nested(depth, *brackets))).data.id == "a"


@each_row("depth", [65, 66, 1000])
@each_row("brackets", [("[", "]"), ('{"k":', "}")], ids=["lists", "objects"])
def test_65_levels_are_too_deep(depth: int, brackets: tuple[str, str]) -> None:
    with pytest.raises(DecodeError, match="nested deeper than 64 levels") as raised:
        decode_event(Frame(CREATED, nested(depth, *brackets)))
    assert raised.value.code == "too_deep"


def test_depth_limit_can_be_set() -> None:
    with pytest.raises(DecodeError, match="nested deeper than 3 levels"):
        decode_event(Frame(CREATED, nested(4)), max_depth=3)


def test_depth_limit_can_be_reached() -> None:
    assert decode_event(Frame(CREATED, nested(3)), max_depth=3).data.id == "a"


def test_too_deep_goes_before_not_json() -> None:
    with pytest.raises(DecodeError) as raised:
        decode_event(Frame(CREATED, b"[" * 65))
    assert raised.value.code == "too_deep"


@each_row("depth", [2, 63, 64])
def test_64_levels_of_a_twice_encoded_object_are_decoded(depth: int) -> None:
    assert event(CREATED, nested(depth).decode()).data.id == "a"


def test_65_levels_of_a_twice_encoded_object_are_too_deep() -> None:
    with pytest.raises(DecodeError) as raised:
        event(CREATED, nested(65).decode())
    assert raised.value.code == "too_deep"


SHALLOW = {
    "64_levels_beside_siblings": b'{"id": "a", "x": [' + b"[{}], " * 100 + b"[" * 62 + b"]" * 62 + b"]}",
    "65_levels_beside_siblings_but_one_in_a_string": b'{"x": "[", "id": "a", "y": ' + b"[" * 63 + b"]" * 63 + b"}",
    "brackets_in_a_string": b'{"id": "' + b"[{" * 100 + b'"}',
    "brackets_after_an_escaped_quote": b'{"id": "\\"' + b"[{" * 100 + b'"}',
    "brackets_after_an_escaped_backslash": b'{"a\\\\": "b\\\\", "id": "' + b"[" * 100 + b'"}',
    "brackets_in_a_key": b'{"id": "a", "' + b"[{" * 100 + b'": 1}',
    "brackets_around_strings": b'{"id": "a", "x": [' + b'"[", {"]": "]"}, ' * 100 + b"[]]}",
    "siblings": b'{"id": "a", "x": [' + b"[{}], " * 100 + b"1]}",
}


@each_row("payload", SHALLOW.values(), ids=SHALLOW)
def test_brackets_in_strings_and_siblings_do_not_nest(payload: bytes) -> None:
    assert type(decode_event(Frame(CREATED, payload)).data) is RunStep


DEEP = {
    "after_a_string": b'{"id": "a", "x": "]]]]", "y": ' + b"[" * 64 + b"]" * 64 + b"}",
    "after_an_escaped_backslash": b'{"id": "a\\\\", "y": ' + b"[" * 64 + b"]" * 64 + b"}",
    "after_an_escaped_quote": b'{"id": "a\\"]]]", "y": ' + b"[" * 64 + b"]" * 64 + b"}",
    "between_siblings": b'{"id": "a", "x": [' + b"[{}], " * 100 + b"[" * 63 + b"]" * 63 + b"]}",
}


@each_row("payload", DEEP.values(), ids=DEEP)
def test_strings_do_not_hide_depth(payload: bytes) -> None:
    with pytest.raises(DecodeError) as raised:
        decode_event(Frame(CREATED, payload))
    assert raised.value.code == "too_deep"


@each_row("unit", [b"[]", b'"[', b'\\"[', b'"\\', b"[[", b'""[{'])
def test_telling_the_depth_takes_linear_time(unit: bytes) -> None:
    def work(count: int) -> float:
        payload, times = b'{"id": "' + unit * count, []
        for _ in range(5):
            started = time.process_time()
            is_deeper(payload, 10**9 if unit == b"[[" else 64)
            times.append(time.process_time() - started)
        return min(times)

    # Eight times the bytes take eight times the time, and would take 64 times if the walk went back.
    assert work(160_000) < 28 * max(work(20_000), 1e-4)
