"""Options that are checked before anything is sent, and keys that are fetched when it is."""

import re
from collections.abc import Awaitable, Callable, Mapping
from inspect import isawaitable
from json import dumps
from typing import Any, Final, TypeAlias

from stepstream.sources.http_errors import Unsendable

ApiKey: TypeAlias = str | Callable[[], str | Awaitable[str]]
"""A key, or a callable that returns a fresh token for each request, or an awaitable of one."""

RESERVED_HEADERS: Final = frozenset({"accept", "accept-encoding", "cache-control", "last-event-id"})
"""The headers that every request here sets itself: those of the caller do not replace them."""

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""The name of a header (RFC 9110, section 5.6.2)."""


def check_url(url: str) -> None:
    """Check that a URL is a text.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(url, str):
        raise TypeError(f"expected a URL as a string, got {type(url).__name__}")


def verb_of(method: str | None, json: Any) -> str:
    """Return the method of a request, in capitals.

    Raises:
        TypeError: it is no text.
        ValueError: it cannot be sent.
    """
    if method is None:
        return "GET" if json is None else "POST"
    if not isinstance(method, str):
        raise TypeError(f"expected method as a string, got {type(method).__name__}")
    if not _TOKEN.fullmatch(method):
        raise ValueError(f"expected method as a word, such as POST, got {method!r:.80}")
    return method.upper()


def check_attempts(attempts: int) -> None:
    """Check a number of attempts.

    Raises:
        TypeError: it is no number.
        ValueError: it is below 1.
    """
    if not isinstance(attempts, int):
        raise TypeError(f"expected attempts as a number, got {type(attempts).__name__}")
    if attempts < 1:
        raise ValueError(f"expected at least 1 attempt, got {attempts}")


def check_seconds(**timeouts: float | None) -> None:
    """Check timeouts. None is none.

    Raises:
        TypeError: one is no number.
        ValueError: one is below 0.
    """
    for name, seconds in timeouts.items():
        if seconds is None:
            continue
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise TypeError(f"expected {name} in seconds, got {type(seconds).__name__}")
        if not seconds >= 0:
            raise ValueError(f"expected {name} of at least 0 seconds, got {seconds}")


def check_json(value: Any) -> None:
    """Check that a value can be sent as JSON.

    Raises:
        TypeError: it has no JSON form.
        ValueError: it has none, as a number that is not finite; or its text has none in UTF-8. It is not quoted.
    """
    try:
        dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("expected text in JSON that UTF-8 can hold, got half of a surrogate pair") from None


def bearer(key: str | None) -> dict[str, str]:
    """Return the header for a key, if there is one.

    Raises:
        TypeError, ValueError: it cannot be sent, as `validated_headers` says.
    """
    return {} if key is None else validated_headers({"Authorization": f"Bearer {key}"})


async def fresh_key(key: ApiKey | None) -> str | None:
    """Return a key for the next request: that which was given, or a new one of the callable.

    Raises:
        Unsendable: the callable failed, or gave what cannot be sent as a key. That is not quoted.
    """
    if not callable(key):
        return key
    try:
        fetched = key()
        fresh = await fetched if isawaitable(fetched) else fetched
    except Exception as exc:
        raise Unsendable(f"the function given as api_key failed with {type(exc).__name__}") from exc
    if fresh is not None and not isinstance(fresh, str):
        raise Unsendable(f"expected a string of the function given as api_key, got {type(fresh).__name__}")
    try:
        bearer(fresh)
    except ValueError:
        raise Unsendable(
            "expected a key in printable ASCII of the function given as api_key, no space around it"
        ) from None
    return fresh


def check_client(client: Any, *, fast: bool) -> None:
    """Check that a client is an async one, of httpx or a look-alike. None is none.

    Raises:
        TypeError: it is not, or there is `fast`, which is about our own client, beside it.
    """
    if client is not None and not hasattr(client, "aclose"):
        raise TypeError(f"expected an httpx.AsyncClient or httpx2.AsyncClient as client, got {type(client).__name__}")
    if client is not None and fast:
        raise TypeError("expected client or fast=True, got both: a client brings its own transport")


def validated_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return a copy of the caller's headers, without those that are reserved.

    Raises:
        TypeError: they are no mapping, or a value is no string.
        ValueError: a name or a value cannot be sent, such as a key read together with its line end, or with a space
            at its end. The value is not quoted: it may be a key.
    """
    if not hasattr(headers, "items"):
        raise TypeError(f"expected headers as a mapping of names to values, got {type(headers).__name__}")
    kept = {name: value for name, value in headers.items() if name.lower() not in RESERVED_HEADERS}
    for name, value in kept.items():
        if not isinstance(value, str):
            raise TypeError(f"expected a string as the value of the header {name!r}, got {type(value).__name__}")
        if not _TOKEN.fullmatch(name):
            raise ValueError("expected letters, digits and hyphens as the name of a header")
        if not (value.isascii() and value.isprintable()) or value != value.strip():
            raise ValueError(f"expected printable ASCII as the value of the header {name!r}, no space around it")
    return kept
