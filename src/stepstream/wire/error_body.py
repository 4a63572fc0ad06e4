"""What a server says of an error, in the body of a response or the data of an event: JSON of many shapes, HTML, text.

{"error": {"code": "busy", "message": "Later."}}     code, message, type, param
{"detail": [{"msg": "Field required"}]}              message
<title>502 Bad Gateway</title>                       message: the title
upstream is down                                     message: the text
"""

import re
from collections.abc import Mapping
from html import unescape
from typing import Any, Final

import msgspec
from msgspec import UNSET

from stepstream.errors import MAX_WORDS, words_of
from stepstream.wire.loose import unwrapped
from stepstream.wire.sse_lines import FIELDS, field_of

MESSAGE_KEYS: Final = ("message", "detail", "error_description", "error_message", "msg", "Message", "title")
"""The keys under which servers write what went wrong, the first that has a text counts."""

ENOUGH: Final = 4_096
"""So many bytes at the beginning of a body say what it is."""

_PROBLEM: Final = frozenset({"detail", "instance", "status", "title", "type"})
"""The members of a problem (RFC 9457, section 3.1)."""

_SHORT: Final = 200
_TITLE: Final = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
_NO_TEXT: Final = re.compile(r"<(script|style)\b.*?</\1[^>]*>|<!--.*?-->|<[^>]*>", re.IGNORECASE | re.DOTALL)
_BOM: Final = b"\xef\xbb\xbf"


def error_fields(body: bytes) -> dict[str, str | None]:
    """Return code, message, type and param of an error, each None where it has none."""
    decoded: Any = _json(body)
    if decoded is UNSET:
        decoded = _text(body)
    if isinstance(decoded, list):
        decoded = decoded[0] if decoded else None
    if isinstance(decoded, str):
        decoded = {"error": decoded[:MAX_WORDS]}
    outer: Mapping[str, Any] = decoded if isinstance(decoded, dict) else {}
    errors = outer.get("errors")
    error = outer.get("error") or (errors[0] if isinstance(errors, list) and errors else outer)
    if isinstance(error, str):  # its text, or with a longer one beside it, its code
        longer = _message(outer)
        error = {
            "message": longer or " ".join(error.split()),
            "code": outer.get("code") or (error if longer else None),
            "type": outer.get("type"),
            "param": outer.get("param"),
        }
    inner: Mapping[str, Any] = error if isinstance(error, dict) else outer
    found = {key: _scalar_text(inner.get(key)) for key in ("code", "type", "param")}
    return {**found, "message": _message(inner) or _message(outer)}


def foreign_fields(body: bytes) -> dict[str, str | None]:
    """Return what `error_fields` does, of a body that need not be about an error: of HTML no more than its title, of
    JSON only where it names an error.

    Of what may be an event stream, and of JSON that is cut, nothing: it is not known what that quotes.
    """
    match _kind(body):
        case "HTML":
            is_quotable = _TITLE.search(_text_of(body)[:ENOUGH]) is not None
        case "JSON":
            is_quotable = _names_error(_json(body))
        case kind:
            is_quotable = kind == "plain text"
    return error_fields(body) if is_quotable else dict.fromkeys(("code", "type", "param", "message"))


def foreign_text(opening: bytes) -> str:
    """Return what bytes are that begin no event stream, and what they say of an error; empty where they may be one.

    `opening` is the whole body, or the beginning of it. Plain text may be what a model says: it is not quoted.
    """
    kind, message = _kind(opening), foreign_fields(opening)["message"]
    return f"got {kind}: {words_of(message, _SHORT)}" if message and kind != "plain text" else kind and f"got {kind}"


def _names_error(decoded: object) -> bool:
    if isinstance(decoded, list):
        decoded = decoded[0] if decoded else None
    if not isinstance(decoded, dict):
        return False
    is_problem = "title" in decoded and decoded.keys() <= _PROBLEM
    return (
        is_problem or decoded.get("type") == "error" or any(decoded.get(key) for key in ("error", "errors", "detail"))
    )


def _kind(body: bytes) -> str:
    """Return what the beginning of a body looks like, empty where that may be an event stream."""
    text = body.removeprefix(_BOM).lstrip()
    line = re.split(rb"[\r\n]", text[:ENOUGH], maxsplit=1)[0]
    is_cut_name = line == text and any(name.startswith(line) for name in FIELDS)
    if is_cut_name or field_of(line)[0] in FIELDS or line.startswith(b":"):
        return ""
    if text[:1] in (b"{", b"["):
        return "JSON"
    if text[:1] == b"<":
        return "HTML"
    return "binary data" if b"\0" in text[:ENOUGH] else "plain text"


def _json(body: bytes) -> object:
    """Return what JSON says, or the JSON in a string of it; UNSET where it is none."""
    try:
        return unwrapped(msgspec.json.decode(body.removeprefix(_BOM)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return UNSET


def _text_of(body: bytes) -> str:
    return body.removeprefix(_BOM).decode("utf-8", "replace").strip()


def _text(body: bytes) -> str:
    """Return the title of HTML, the text of HTML without one, or plain text."""
    text = _text_of(body)
    if text.startswith("<"):
        text = text[:ENOUGH]  # the searches below take long over more, were it made for that
        title = _TITLE.search(text)
        text = unescape(title[1] if title else _NO_TEXT.sub(" ", text))
    return text[:MAX_WORDS]


def _message(fields: Mapping[str, Any]) -> str | None:
    """Return the text under the first key that has one, be it in a list or an object."""
    for key in MESSAGE_KEYS:
        found = fields.get(key)
        if isinstance(found, list) and found:
            found = found[0]
        if isinstance(found, dict):
            found = found.get("msg") or found.get("message")
        if isinstance(found, str) and found.strip():
            return found
    return None


def _scalar_text(value: object) -> str | None:
    return str(value) if isinstance(value, str | int | float) else None
