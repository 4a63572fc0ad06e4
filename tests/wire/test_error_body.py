"""What a body that is no event stream says, in the shapes of many servers."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stepstream.wire.error_body import error_fields, foreign_fields, foreign_text
from tests.support.tables import each_row

FIELDS = ("code", "message", "type", "param")

BODIES: dict[str, tuple[bytes, tuple[Any, ...]]] = {
    "openai": (
        b'{"error": {"code": "c", "message": "no\\nrun", "type": "t", "param": "p"}}',
        ("c", "no\nrun", "t", "p"),
    ),
    "flat": (b'{"message": "Wrong key.", "code": 401}', ("401", "Wrong key.", None, None)),
    "fastapi": (b'{"detail": "Not Found"}', (None, "Not Found", None, None)),
    "fastapi, of a field": (b'{"detail": [{"loc": ["body"], "msg": "missing"}]}', (None, "missing", None, None)),
    "oauth": (b'{"error": "bad_grant", "error_description": "too old"}', ("bad_grant", "too old", None, None)),
    "a text and its code": (b'{"error": "No   one", "code": 7}', ("7", "No one", None, None)),
    "problem": (b'{"title": "Gone", "status": 410}', (None, "Gone", None, None)),
    "beside the error": (b'{"error": {"code": 1}, "message": "outside"}', ("1", "outside", None, None)),
    "several": (b'{"errors": [{"message": "first"}, {"message": "second"}]}', (None, "first", None, None)),
    "none of several": (b'{"errors": [], "message": "m"}', (None, "m", None, None)),
    "in a list": (b'[{"error": {"message": "busy", "code": 503}}]', ("503", "busy", None, None)),
    "an empty list": (b"[]", (None, None, None, None)),
    "an object in its message": (b'{"message": {"message": "deep"}}', (None, "deep", None, None)),
    "a blank message": (b'{"message": " ", "detail": "d"}', (None, "d", None, None)),
    "a JSON text": (b'"busy"', (None, "busy", None, None)),
    "no words": (b'{"id": "run_1", "status": "queued"}', (None, None, None, None)),
    "a title": (
        b"<!DOCTYPE html><TITLE a=b>502\n Bad &amp; Gateway</TITLE><p>x",
        (None, "502 Bad & Gateway", None, None),
    ),
    "html without a title": (b"<html><script>x()</script><p>All <b>down</b>", (None, "All down", None, None)),
    "html without a text": (b"<html><p>", (None, None, None, None)),
    "plain": (b" upstream\r\n is down ", (None, "upstream is down", None, None)),
    "empty": (b"", (None, None, None, None)),
}


@each_row(("body", "expected"), BODIES.values(), ids=BODIES)
def test_words_of_an_error_are_found_in_a_body(body: bytes, expected: tuple[Any, ...]):
    found = error_fields(body)
    assert tuple(found[name] for name in FIELDS) == expected


@each_row(
    ("opening", "expected"),
    [
        (b'\xef\xbb\xbf {"error": {"message": "bu\\u001bsy"}}', "got JSON: bu\\u001bsy"),
        (b'{"id": "run_1"}', "got JSON"),
        (b'{"message": "s3cr', "got JSON"),
        (b'{"id": "msg_1", "object": "thread.message", "message": "s3cret"}', "got JSON"),
        (b'[{"detail": [{"msg": "Field required"}]}]', "got JSON: Field required"),
        (b'{"type": "error", "message": "busy"}', "got JSON: busy"),
        (b'["s3cret"]', "got JSON"),
        (b'{"title": "Gone", "status": 410}', "got JSON: Gone"),
        (b'{"title": "s3cret", "chapters": []}', "got JSON"),
        (b"[]", "got JSON"),
        (b"[" * 99_999, "got JSON"),
        (b"<title>502</title>", "got HTML: 502"),
        (b"<p>Sign in", "got HTML"),
        (b"upstream connect error", "got plain text"),
        (b"x" * 999, "got plain text"),
        (b"PK\3\4\0\0", "got binary data"),
        (b"", ""),
        (b"\n\n", ""),
        (b": ping", ""),
        (b"da", ""),
        (b"event: thread.run.created\ndata: {", ""),
        (b"data\n", ""),
        (b"id: 7", ""),
        (b"evening", "got plain text"),
        (b"e\nx", "got plain text"),
    ],
)
def test_bytes_that_are_no_event_stream_are_told_by_their_kind(opening: bytes, expected: str):
    assert foreign_text(opening) == expected
    assert bool(foreign_fields(opening)["message"]) is (": " in expected or expected == "got plain text")


@given(st.binary() | st.text().map(lambda text: f'{{"error": {{"message": "{text}"}}}}'.encode()))
def test_any_bytes_have_bounded_words_in_one_line(body: bytes):
    assert set(error_fields(body)) == set(FIELDS)
    text = foreign_text(body)
    assert len(text) < 1_300
    assert text.isprintable() or not any(one < " " for one in text)


@each_row("body", [b"<title" * 20_000, b"<script>" * 10_000, b"<!--" * 20_000, b"<" * 99_999])
def test_hostile_html_takes_no_time(body: bytes):
    assert error_fields(body)["message"] is None or body.startswith(b"<")
