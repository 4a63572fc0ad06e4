"""Errors of HTTP: what a response or an exception of the client becomes, and whether the request may be sent again.

Two questions decide about another attempt, and they differ by method. A GET changes nothing on the server, so it is
sent again after any failure that may not last (`is_transient`). A POST may have opened a run, which costs money: it is
sent again only where the server cannot have begun to work on it (`is_unprocessed`).

No text made here holds a header value, a query or a password. An exception of the client may quote them, so it stays
in `__cause__`; control characters in what a server wrote are escaped.
"""

from typing import Any, Final

from stepstream.errors import APIError, IdleTimeout, StepStreamError, TransportError, words_of
from stepstream.live.refusals import request_id_of
from stepstream.sources.connection_failures import connection_failure
from stepstream.wire.error_body import foreign_fields

TRANSIENT: Final = frozenset({408, 429, 500, 502, 503, 504})
"""The statuses after which the same request may succeed."""

UNSENT: Final = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout"})
"""What httpx, httpx2 and httpcore raise before a byte of the request went out. By name: the classes have no base in
common."""

UNSENDABLE: Final = frozenset({"InvalidURL", "UnsupportedProtocol", "IDNAError", "UnicodeEncodeError"})
"""What they raise for a URL that nothing can be sent to, the last two for one that has no form in ASCII."""


class Unsendable(TransportError):
    """Nothing can be sent to the URL, now or later."""


class OutOfTime(TransportError):
    """The time for everything is over: nothing is tried any more."""


class Unsent(TransportError):
    """No connection was made: the request never reached the server."""


class UnsentTimeout(Unsent, IdleTimeout):
    """No connection was made in time."""


def is_transient(failure: StepStreamError) -> bool:
    """Return whether the same GET may succeed after this failure."""
    if isinstance(failure, APIError):
        return failure.status_code in TRANSIENT
    return isinstance(failure, TransportError) and not isinstance(failure, Unsendable | OutOfTime)


def is_unprocessed(failure: StepStreamError) -> bool:
    """Return whether the server has not begun to work on the request, so that any request can be sent again."""
    return isinstance(failure, Unsent) or (isinstance(failure, APIError) and failure.status_code in TRANSIENT)


def translate_http_error(exc: Exception, where: str, seconds: float, proxy: str = "") -> TransportError:
    """Return the error for an exception of httpx, httpx2 or httpcore, which name them alike.

    `where` is a redacted URL, `seconds` the limit in force, `proxy` the host and port of a proxy that was asked.
    """
    names = {base.__name__ for base in type(exc).__mro__}
    kind = type(exc).__name__
    is_late = isinstance(exc, TimeoutError) or "TimeoutException" in names
    if _is_about_url(exc):
        return Unsendable(f"{where}: expected an http or https URL ({kind})")
    if UNSENT & names and is_late:
        to = f" to the proxy {proxy}" if proxy else ""
        return UnsentTimeout(f"{where}: no connection{to} was made within {seconds:g} s", seconds)
    is_final, what = connection_failure(exc, proxy)
    if is_final:
        return Unsendable(f"{where}: {what} ({kind})")
    if UNSENT & names:
        return Unsent(f"{where}: {what} ({kind})")
    if is_late:
        return IdleTimeout(f"{where} was silent for {seconds:g} s", seconds)
    return TransportError(f"{where}: {what} ({kind})")


def shown_cause(exc: Exception) -> Exception | None:
    """Return the cause of a translated error: none of one whose text quotes a URL, which may have a password in it."""
    return None if _is_about_url(exc) else exc


def _is_about_url(exc: Exception) -> bool:
    """Return whether nothing can be sent to the URL. httpx parses the target even of a redirect that it does not
    follow, and raises another error for an invalid one."""
    names = {base.__name__ for base in type(exc).__mro__}
    return bool(UNSENDABLE & {*names, type(exc.__context__).__name__})


def unexpected_response(response: Any, text: str, body: bytes = b"") -> APIError:
    """Return the error for a response that is none of the expected kind, whatever its status. `text` says why.

    `body` is what is known of its body, where that may hold the server's words.
    """
    fields = foreign_fields(body)
    return APIError(
        f"{text}: {words_of(fields['message'])}" if fields["message"] else text,
        status_code=response.status_code,
        reason_phrase=response.reason_phrase,
        request_id=request_id_of(response.headers),
        code=fields["code"],
        message=fields["message"],
        type=fields["type"],
        param=fields["param"],
    )
