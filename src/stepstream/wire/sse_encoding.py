"""Server-sent events, written: frames and comments → bytes, by the WHATWG standard (HTML, section 9.2.6)."""

from stepstream.wire.sse import Frame


def encode_frame(frame: Frame, *, retry: int | None = None) -> bytes:
    """Return `frame` as one block of an event stream, which a standard parser reads back as `frame`.

    CR and CRLF in the data become LF, since the format cannot carry them. An event named "message" or "" and an
    empty id are left out. `retry` adds a reconnection time, in milliseconds.

    Raises:
        ValueError: CR, LF or NUL in the event's name or the id (it would forge fields or lose the id), data that is
            not UTF-8, or a negative `retry`.
        TypeError: `retry` is not an int.
    """
    lines = []
    if frame.event and frame.event != "message":
        lines.append(b"event: " + _one_line("event", frame.event))
    if frame.id:
        lines.append(b"id: " + _one_line("id", frame.id))
    if retry is not None:
        lines.append(b"retry: %d" % _milliseconds(retry))
    text = frame.data.decode().replace("\r\n", "\n").replace("\r", "\n")
    lines.extend(b"data: " + line.encode() for line in text.split("\n"))
    return b"\n".join(lines) + b"\n\n"


def encode_comment(text: str) -> bytes:
    """Return `text` as a block of comments, one per line, which parsers ignore: a keep-alive."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return b"".join(b": " + line.encode() + b"\n" for line in lines) + b"\n"


def _one_line(field: str, value: str) -> bytes:
    if any(character in value for character in "\r\n\0"):
        raise ValueError(f"expected {field} without CR, LF or NUL, got {value!r}")
    return value.encode()


def _milliseconds(retry: int) -> int:
    if type(retry) is not int:
        raise TypeError(f"expected retry as an int of milliseconds, got {type(retry).__name__}")
    if retry < 0:
        raise ValueError(f"expected retry of at least 0 ms, got {retry}")
    return retry
