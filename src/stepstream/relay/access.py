"""Who may see what: the pages that a browser may ask from, and the runs that a caller may watch.

A page of another site can make a browser ask, with the cookies of its user. So every request says where it comes from,
as browsers have it: `Origin` and `Sec-Fetch-Site`, which no page can forge. Other clients send neither.

Without `authorize` only this machine is served. A request is from this machine where its peer is, where it asks for
this machine by name (else a page elsewhere could have its own name lead here), and where no proxy says that it passes
it on.
"""

import ipaddress
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from inspect import isawaitable
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import anyio

from stepstream.asgi.http import Scope

Authorize: TypeAlias = Callable[[Scope, str], bool | Awaitable[bool]]
"""Returns whether whoever sent a request may see a run."""

AUTHORIZE_WITHIN: Final = 10.0
"""Seconds that `authorize` may take."""

MAX_FAILURES: Final = 3
"""How many times in a row it has to fail until a viewer who was let in is sent away."""

FORWARDED: Final = re.compile(r"forwarded|via|x-forwarded(-.*)?|x-original-.*|x-real-ip|.*client-ip|.*connecting-ip")
"""The headers by which proxies say that they pass a request on."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_HEADER_NAMES: Final = re.compile(r"[A-Za-z0-9\-, ]{1,1000}")

_log = logging.getLogger("stepstream.relay")


class Origins:
    """The origins of pages that may ask, beside that of the relay itself.

    Raises:
        ValueError: one is no origin.
    """

    def __init__(self, listed: Iterable[str]) -> None:
        if isinstance(listed, str):
            raise TypeError("expected origins as a list of origins, got a text")
        self._listed = frozenset(listed)
        for one in self._listed:
            parts = urlsplit(one)
            if parts.scheme not in _DEFAULT_PORTS or f"{parts.scheme}://{parts.netloc}" != one or "@" in one:
                raise ValueError(f"expected an origin such as https://app.example, got {one!r}")

    def allow(self, headers: Mapping[str, str]) -> bool:
        """Return whether a request may come from where it says it comes from."""
        origin = headers.get("origin")
        if origin in self._listed:
            return True
        if headers.get("sec-fetch-site") == "cross-site":
            return False
        return origin is None or _is_same(origin, headers.get("host", ""))

    def answer_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return the headers that let the page read the answer."""
        found = {"vary": "origin"}
        origin = headers.get("origin")
        if origin in self._listed:
            found |= {"access-control-allow-origin": str(origin), "access-control-allow-credentials": "true"}
        return found

    def preflight_headers(self, headers: Mapping[str, str], methods: str) -> dict[str, str]:
        """Return the headers of the answer to a browser that asks whether it may ask."""
        asked = headers.get("access-control-request-headers", "")
        allowed = {"access-control-allow-headers": asked} if _HEADER_NAMES.fullmatch(asked) else {}
        return {"access-control-allow-methods": methods, "access-control-max-age": "600", **allowed}


def _is_same(origin: str, host: str) -> bool:
    """Return whether an origin has the host and port that a request asks for. Behind a proxy its scheme may differ."""
    try:
        theirs, ours = urlsplit(origin), urlsplit(f"//{host}")
        default = _DEFAULT_PORTS[theirs.scheme]
        same_port = (theirs.port or default) == (ours.port or default)
    except (ValueError, KeyError):
        return False
    return bool(theirs.hostname) and theirs.hostname == ours.hostname and same_port


def peer_of(scope: Scope) -> str:
    """Return the address that a request comes from."""
    client = scope.get("client")
    return client[0] if client else ""


def is_local(scope: Scope, headers: Mapping[str, str]) -> bool:
    """Return whether a request comes from this machine, and asks for it."""
    client = scope.get("client")
    try:
        host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
    except ValueError:
        return False
    is_passed_on = any(map(FORWARDED.fullmatch, headers)) or "@" in headers.get("host", "")
    return client is not None and _is_loopback(client[0]) and _is_loopback_name(host) and not is_passed_on


def _is_loopback_name(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost") or _is_loopback(host)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


class Permission:
    """Whether a caller may see a run: asked when it comes, and again as long as it stays."""

    def __init__(self, authorize: Authorize, scope: Scope, run_id: str) -> None:
        self._authorize = authorize
        self._scope = scope
        self._run_id = run_id
        self._failures = 0

    async def is_given(self) -> bool:
        """Ask for the first time. A failure is a no."""
        return await self._ask() is True

    async def still(self) -> bool:
        """Ask again. The third failure in a row is a no."""
        answer = await self._ask()
        self._failures = 0 if answer is not None else self._failures + 1
        return self._failures < MAX_FAILURES if answer is None else answer

    async def _ask(self) -> bool | None:
        """Return the answer; None where there is none."""
        try:
            with anyio.fail_after(AUTHORIZE_WITHIN):
                answer = self._authorize(self._scope, self._run_id)
                return bool(await answer if isawaitable(answer) else answer)
        except Exception as exc:  # noqa: BLE001 - of the application: it is a no, and its cause is for the log
            _log.warning("authorize failed", exc_info=exc, extra={"run_id": self._run_id})
            return None
