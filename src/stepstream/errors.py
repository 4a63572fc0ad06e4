"""The exceptions of stepstream: one tree, five kinds of trouble.

* `ProtocolError`: the peer sent something that the protocol does not allow.
* `TransportError`: the wire broke, fell silent or ended too soon.
* `APIError`: the server refused the request.
* `StreamFailed`: the server reported, inside the stream, that the run failed.
* `RecordingFailed`: the file that a stream is saved to cannot be written.

Misuse of the library itself is a plain `TypeError`, `ValueError` or `RuntimeError`.
"""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from stepstream.fold.outcome import Outcome
    from stepstream.wire.sse import Frame


class StepStreamError(Exception):
    """Root of every exception that stepstream raises about a stream.

    `outcome` holds everything folded before the trouble, where a stream was being run; else None.
    """

    outcome: "Outcome | None" = None


class ProtocolError(StepStreamError):
    """The peer sent something that the protocol does not allow."""


class FrameTooLarge(ProtocolError):
    """One event grew over the limit. `frames` are those completed by the same `feed`, `limit` is in bytes."""

    def __init__(self, limit: int, frames: "list[Frame]") -> None:
        super().__init__(f"expected an event of at most {limit:,} bytes (max_event_bytes), got a longer one")
        self.limit = limit
        self.frames = frames


class DecodeError(ProtocolError):
    """The data of an event is not JSON, or nested too deeply.

    `event` is its name, `code` the anomaly it becomes when a whole stream is folded, `expected` and `got` are what
    that anomaly says, `reason` both in one phrase. None of them holds payload content.
    """

    def __init__(self, event: str, code: "Literal['undecodable_event', 'too_deep']", expected: str, got: str) -> None:
        super().__init__(f"expected {expected} in the data of {event!r}, got {got}")
        self.event = event
        self.code = code
        self.expected = expected
        self.got = got
        self.reason = f"expected {expected}, got {got}"


class TransportError(StepStreamError):
    """The source of a stream failed. The cause is in `__cause__`."""


class StreamTruncated(TransportError):
    """The bytes ended, but the run did not: no `done` came, and the run neither ended nor waits for action."""


class IdleTimeout(TransportError):
    """The peer was silent for too long. `seconds` is the limit it broke."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class SubscriberTooSlow(StepStreamError):
    """More changes waited for a subscriber than it allows, and it was closed (`overflow="close"`)."""


class WaitAborted(StepStreamError):
    """What was waited for can no longer come."""


class RecordingFailed(StepStreamError):
    """The file that a stream is recorded to cannot be written. The `OSError` is in `__cause__`."""


class APIError(StepStreamError):
    """The server refused the request, or answered with something that is no event stream.

    `status_code`, `reason_phrase`, `request_id` and `retry_after` (seconds) come from the response; `code`, `message`,
    `type` and `param` from its error body, None where it has none.
    """

    def __init__(
        self,
        text: str,
        *,
        status_code: int,
        reason_phrase: str = "",
        retry_after: float | None = None,
        request_id: str | None = None,
        code: str | None = None,
        message: str | None = None,
        type: str | None = None,  # noqa: A002 - the API's own word
        param: str | None = None,
    ) -> None:
        super().__init__(text)
        self.status_code = status_code
        self.reason_phrase = reason_phrase
        self.retry_after = retry_after
        self.request_id = request_id
        self.code = code
        self.message = message
        self.type = type
        self.param = param


class ToolFailed(StepStreamError):
    """A tool raised, and the toolbox was told to cancel the run then. The exception is in `__cause__`."""


class StreamFailed(StepStreamError):
    """The stream carried an `error` event. `code`, `message`, `type` and `param` are the server's words, or None."""

    def __init__(
        self,
        code: str | None,
        message: str | None,
        type: str | None,  # noqa: A002 - the API's own word
        param: str | None,
    ) -> None:
        kind = code or type or "no code"
        super().__init__(f"the stream carried an error event ({kind}): {message or 'no message'}")
        self.code = code
        self.message = message
        self.type = type
        self.param = param
