"""The exceptions of stepstream, under one root. The class says what failed:

* `ProtocolError`: the peer sent something that the protocol does not allow.
* `TransportError`: the connection failed, was silent for too long or ended too soon.
* `APIError`: the server refused the request.
* `StreamFailed`: the server sent an `error` event in the stream.
* `RecordingFailed`: the file that a stream is saved to cannot be written.
* `JournalError`: a run cannot be written to its journal, or not be read from it.

Misuse of the library itself is a plain `TypeError`, `ValueError` or `RuntimeError`.

All can be copied and pickled, with their text and their attributes: an exception usually comes out of a worker process
that way, and one that cannot be unpickled there hangs the pool.
"""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from stepstream.fold.outcome import Outcome
    from stepstream.wire.sse import Frame

MAX_WORDS: Final = 500
"""How many characters of what a server wrote are in the text of an exception."""

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def words_of(text: str, limit: int = MAX_WORDS) -> str:
    """Return what a server wrote as it may stand in the text of an exception: short, and in one line.

    Control characters, which could forge lines of a log, are escaped as `\\u` and four digits.
    """
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text[:limit])


class StepStreamError(Exception):
    """Root of every exception that stepstream raises about a stream.

    `outcome` holds everything folded before the failure, where a stream was being run; otherwise None.
    """

    outcome: "Outcome | None" = None

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...], Mapping[str, object]]:
        """Rebuild it without calling `__init__`, whose parameters are those of the subclass.

        A cause comes along where it is one of these exceptions or of Python's own. Those of others may hold what must
        not be stored, such as a request with its headers, or cannot be pickled.
        """
        cause = self.__cause__ if isinstance(self.__cause__, StepStreamError) or _is_plain(self.__cause__) else None
        suppresses = self.__suppress_context__
        return _blank, (type(self), self.args), {**vars(self), "__cause__": cause, "__suppress_context__": suppresses}


def _blank(kind: type[StepStreamError], args: tuple[Any, ...]) -> StepStreamError:
    """Return an exception that has its text, and no attributes yet."""
    blank = kind.__new__(kind)
    blank.args = args
    return blank


def _is_plain(cause: BaseException | None) -> bool:
    """Return whether a cause is an exception of Python's own that says no more than text and numbers."""
    return type(cause).__module__ == "builtins" and all(
        isinstance(value, str | int | float | None) for value in getattr(cause, "args", ())
    )


class ProtocolError(StepStreamError):
    """The peer sent something that the protocol does not allow."""


class FrameTooLarge(ProtocolError):
    """An event is longer than `limit` bytes. `frames` are those completed before it by the same `feed`."""

    def __init__(self, limit: int, frames: "list[Frame]") -> None:
        super().__init__(f"expected an event of at most {limit:,} bytes (max_event_bytes), got a longer one")
        self.limit = limit
        self.frames = frames


class DecodeError(ProtocolError):
    """The data of an event is not JSON, or nested too deeply.

    `event` is the event's name, `code` that of the anomaly it becomes when a whole stream is folded, `expected` and
    `got` are what that anomaly says, `reason` both in one phrase. None of them quotes the data.
    """

    def __init__(self, event: str, code: "Literal['undecodable_event', 'too_deep']", expected: str, got: str) -> None:
        super().__init__(f"expected {expected} in the data of {event!r}, got {got}")
        self.event = event
        self.code = code
        self.expected = expected
        self.got = got
        self.reason: str = f"expected {expected}, got {got}"


class TransportError(StepStreamError):
    """The source of a stream failed. The exception it raised is in `__cause__`."""


class StreamTruncated(TransportError):
    """The stream ended without `done` while its run had neither ended nor waits for action, or no event was known.

    Also where reading was cut short: the stream was cancelled, or the processor was left before.
    """


class IdleTimeout(TransportError):
    """The peer was silent for too long. `seconds` is the limit that was exceeded."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class StreamStopped(StepStreamError):
    """Reading was stopped before the end of the stream, by `StreamHandle.cancel` or `Processor.stop`."""


class SubscriberTooSlow(StepStreamError):
    """A subscriber was closed: more changes waited for it than allowed, or it kept others waiting for too long."""


class WaitAborted(StepStreamError):
    """The change that was waited for can no longer happen."""


class RecordingFailed(StepStreamError):
    """The file that a stream is recorded to cannot be written. The `OSError` is in `__cause__`."""


class JournalError(StepStreamError):
    """A run cannot be written to its journal, or not be read from it. Its subclasses say why."""


class JournalConflict(JournalError):
    """Another writer has opened the run since: what this one has to say of it is not taken any more."""


class JournalFailed(JournalError):
    """The server of a journal cannot be reached, or does not do what it is asked for. Why is in `__cause__`."""


class JournalFull(JournalError):
    """The journal has no room for another run: what it must keep of the open ones takes all of it."""


class JournalGap(JournalError):
    """What was asked for of a run is not in its journal any more, or not yet, and no checkpoint stands for it."""


class RunInterrupted(JournalError):
    """Who wrote a run stopped before its end, or gives no sign any more. Who follows it again goes on where it was."""


class APIError(StepStreamError):
    """The server refused the request, or its response is no event stream.

    `status_code`, `reason_phrase`, `request_id` and `retry_after` (seconds) come from the response; `code`, `message`,
    `type` and `param` from the error in its body, None where there is none.
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


class RunNotFound(StepStreamError):
    """No run of a thread was opened with the token asked for."""


class ToolFailed(StepStreamError):
    """A tool raised, and the toolbox cancels the run then (`on_error="cancel"`). The exception is in `__cause__`."""


class StreamFailed(StepStreamError):
    """The stream carried an `error` event. `code`, `message`, `type` and `param` are those of its data, or None."""

    def __init__(
        self,
        code: str | None,
        message: str | None,
        type: str | None,  # noqa: A002 - the API's own word
        param: str | None,
    ) -> None:
        kind = code or type or "no code"
        told = words_of(message) if message else "no message"
        super().__init__(f"the stream carried an error event ({words_of(kind)}): {told}")
        self.code = code
        self.message = message
        self.type = type
        self.param = param
