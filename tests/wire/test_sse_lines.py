from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from stepstream.wire.sse_lines import LineCutter, field_of, id_of, last_lines, retry_of
from tests.support.tables import each_row

BOM = b"\xef\xbb\xbf"
PARTS = [
    b"data: x",
    b"data",
    b"id:",
    b"d",
    b":",
    b": ping",
    b"mood: calm",
    b"\n",
    b"\r",
    b"\r\n",
    b"\n\n",
    "\u2028".encode(),
]


def read(line: bytes) -> bytes:
    """Return a line as it is kept: the first byte of one that is ignored, where it is too long to become a field."""
    return line if len(line) < 6 or line.startswith((b"data:", b"event:", b"id:", b"retry:")) else line[:1]


@given(st.lists(st.sampled_from(PARTS)).map(b"".join) | st.binary(), st.lists(st.integers(0, 10_000), max_size=12))
@example(BOM + b"id: 1\n", [1])
@example(BOM + BOM + b"\n", [4])
@example(b"data: x\r\n\r\n", [8, 10])
def test_lines_are_the_same_at_any_chunking(data: bytes, places: list[int]):
    places = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    cutter, lines = LineCutter(), list[bytes]()
    for start, stop in pairwise(places):
        lines += cutter.feed(data[start:stop])
    expected = [*data.removeprefix(BOM).splitlines(keepends=True)]
    whole = [line.rstrip(b"\r\n") for line in expected if line.endswith((b"\r", b"\n"))]
    assert [read(line) for line in lines] == [read(line) for line in whole]
    if data not in (BOM[:1], BOM[:2]):
        rest = b"".join(line for line in expected if not line.endswith((b"\r", b"\n")))
        assert read(bytes(cutter.unfinished)) == read(rest)


@each_row("line", [b": ping", b"mood: calm", b"datax:", b"\xff" * 6])
def test_one_byte_is_kept_of_a_line_that_is_no_field(line: bytes):
    cutter = LineCutter()
    for _ in range(3):
        assert cutter.feed(line) == []
        assert bytes(cutter.unfinished) == line[:1]
    assert cutter.feed(b"\ndata: a\n") == [line[:1], b"data: a"]


def test_dropped_line_is_no_field_and_the_next_one_is_whole():
    cutter = LineCutter()
    cutter.feed(b"id: 12")
    cutter.drop()
    assert cutter.feed(b"345\nid: 6\n") == [b"i", b"id: 6"]


@each_row(("seen", "is_between"), [(b"", False), (b"\n", True), (b"\r", False), (b"a", False), (b":", False)])
def test_nothing_is_kept_between_lines(seen: bytes, is_between: bool):
    cutter = LineCutter()
    cutter.feed(seen)
    assert cutter.is_between_lines is is_between


@each_row(
    ("line", "field"),
    [
        (b"id: 7", (b"id", b"7")),
        (b"id:7", (b"id", b"7")),
        (b"id:  7 ", (b"id", b" 7 ")),
        (b"id", (b"id", b"")),
        (b"a:b:c", (b"a", b"b:c")),
        (b": ping", (b"", b"ping")),
    ],
)
def test_field_of_a_line(line: bytes, field: tuple[bytes, bytes]):
    assert field_of(line) == field


def test_id_with_nul_and_retry_that_is_no_number_change_nothing():
    assert [id_of(value, "0") for value in (b"7", b"", b"\xff", b"a\0b")] == ["7", "", "\ufffd", "0"]
    values = (b"250", b"0", b"0" * 30 + b"7", b"9" * 18, b"9" * 19, b"", b"-1", b"1x")
    assert [retry_of(value, 5) for value in values] == [250, 0, 7, 10**18 - 1, 10**18, 5, 5, 5]


@each_row(("count", "length"), [(0, 0), (1, 1), (2, 4), (3, 5), (4, 9)])
def test_length_of_the_last_lines_counts_their_ends(count: int, length: int):
    assert last_lines(b"aaa\n\nb\r\nc", count) == length
