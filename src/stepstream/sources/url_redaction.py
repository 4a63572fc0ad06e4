"""URLs without their secrets: in texts of ours, and in the log of httpx.

httpx logs each request with its whole URL, query and user included, when the response begins; a signature or a key in
the query would stand in every log. The query cannot be left out of the request: each transport reads the URL, maybe
more than once, as one that tries again does. But httpx passes the URL itself to the log, which makes a text of it. So a
request gets a URL that is whole in all it is asked for, but for its text in a record of the log:

    build_request(url?sig=x) ─ request.url = unlogged(url?sig=x) ─ transport: url?sig=x ─ logging: url

Whatever client or transport the user has, it is the URL that keeps its secrets; no logger is configured. Once the
response begins, the request has a URL without them.

What would break it: a handler that makes its text of `record.args` by itself, by `str`. By `repr` it gets none either.
"""

import re
import sys
from contextlib import suppress
from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit

_END: Final = re.compile("[?#]")
"""What ends the part of a URL that may be shown."""


def redact_url(url: str) -> str:
    """Return `url` without its query, fragment and user: the part that exceptions and logs may show.

    Of what is no URL nothing is shown where a password with "?" or "#" in it may have been taken for its end.
    """
    with suppress(ValueError):
        parts = urlsplit(url)
        if parts.netloc and parts.port != 0:  # it raises for a port that is none, maybe part of a password
            return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        if not parts.scheme and not parts.netloc:  # valid where the client has a base URL
            return parts.path
    shown = _END.split(url, maxsplit=1)[0]
    return "…" if "@" in url[len(shown) :] else shown.rpartition("@")[2]


def unlogged(url: Any) -> Any:
    """Return a URL of httpx or httpx2 that is whole to all but a log, where it has no query, fragment and user."""
    kind: Any = type(url)
    return _unlogged_kind(kind)(url)


@cache
def _unlogged_kind(kind: Any) -> Any:
    """Return a class of URLs like `kind`: each family of clients has its own, and no other is imported here."""

    def text(self: Any) -> str:
        whole: str = kind.__str__(self)
        asked_by = sys._getframe(1).f_globals.get("__name__")
        return redact_url(whole) if asked_by == "logging" else whole

    def representation(self: Any) -> str:
        return f"URL({redact_url(kind.__str__(self))!r})"

    return type("UnloggedURL", (kind,), {"__str__": text, "__repr__": representation})
