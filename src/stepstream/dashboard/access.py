"""Who may use the dashboard: this machine, or who has the token.

Without a token a request has to come from this machine, ask for it by name, and pass no proxy (`relay.access`). With
one, it brings the token as a bearer or the session of a page. In either case no page of another site may make a browser
ask: a browser says where a request comes from.
"""

from collections.abc import Callable, Mapping
from typing import Final

from stepstream.asgi.http import Scope, headers_of
from stepstream.dashboard.sessions import LASTS, Failures, Sessions
from stepstream.relay.access import Origins, is_local, peer_of
from stepstream.relay.requests import Refused, Request

MAX_LOGINS: Final = 10
"""Wrong tokens a minute and address that are looked at in `POST /login`."""

MAX_BEARERS: Final = 100
"""Likewise of programs."""

OWN_SITES: Final = frozenset({"", "same-origin", "none"})
"""What a browser says of requests by its user or by our own page; other clients say nothing."""


class Access:
    """Decides on requests. Without `token`, those of this machine are let in."""

    def __init__(self, token: str | None, clock: Callable[[], float]) -> None:
        self.sessions = None if token is None else Sessions(token, clock)
        self._origins = Origins(())
        self._logins, self._bearers = Failures(MAX_LOGINS, clock), Failures(MAX_BEARERS, clock)

    def __repr__(self) -> str:
        return f"<Access of {'this machine' if self.sessions is None else 'who has the token'}>"

    def check_place(self, request: Request, *, is_page: bool = False) -> None:
        """Check where a request comes from. A page may be opened from anywhere.

        Raises:
            Refused: it may not come from there.
        """
        headers = request.headers
        if self.sessions is None and not is_local(request.scope, headers):
            raise Refused(403, "Without a token, this server serves its own machine only.")
        if is_page and request.scope["method"] in ("GET", "HEAD"):
            return
        if not self._origins.allow(headers) or headers.get("sec-fetch-site", "") not in OWN_SITES:
            raise Refused(403, "Pages of other sites may not ask here.")

    def check(self, request: Request) -> None:
        """Check that a request may be answered.

        Raises:
            Refused: it may not.
        """
        self.check_place(request)
        if self.sessions is None or self._has_session(request.headers):
            return
        self._check_bearer(self.sessions, request)

    def may_see(self, scope: Scope, run_id: str) -> bool:
        """Return whether a viewer of a run may stay, for a relay."""
        if self.sessions is None:
            return True
        headers = headers_of(scope)
        return self._has_session(headers) or self.sessions.is_token(_bearer(headers))

    def log_in(self, request: Request, given: str) -> str:
        """Return the cookie of a new session, for who gives the token.

        Raises:
            Refused: it is not the token, or there were too many that were not.
        """
        address = peer_of(request.scope)
        if self.sessions is None:
            raise Refused(404, "There is no token: nobody has to log in.")
        if not self._logins.may_try(address):
            raise Refused(429, "Too many wrong tokens: try again in a minute.", retry_after="60")
        if not self.sessions.is_token(given):
            self._logins.note(address)
            raise Refused(401, "This is not the token.")
        return self._cookie(request, self.sessions.begin(), LASTS)

    def log_out(self, request: Request) -> str:
        """Return the cookie that ends a session."""
        if self.sessions is None:
            raise Refused(404, "There is no token: nobody has to log in.")
        self.sessions.end(self._session(request.headers))
        return self._cookie(request, "", 0)

    def _check_bearer(self, sessions: Sessions, request: Request) -> None:
        given, address = _bearer(request.headers), peer_of(request.scope)
        if given:
            if not self._bearers.may_try(address):
                raise Refused(429, "Too many wrong tokens: try again in a minute.", retry_after="60")
            if sessions.is_token(given):
                return
            self._bearers.note(address)
        raise Refused(401, "Expected the token as a bearer, or a session.", www_authenticate="Bearer")

    def _has_session(self, headers: Mapping[str, str]) -> bool:
        return self.sessions is not None and self.sessions.is_open(self._session(headers))

    def _session(self, headers: Mapping[str, str]) -> str:
        name = self.sessions.cookie_name if self.sessions is not None else ""
        for one in headers.get("cookie", "").replace(",", ";").split(";"):
            key, _, value = one.strip().partition("=")
            if key == name:
                return value
        return ""

    def _cookie(self, request: Request, value: str, seconds: int) -> str:
        assert self.sessions is not None
        root = request.scope.get("root_path", "").rstrip("/") or "/"
        is_secure = "https" in (request.scope.get("scheme"), request.headers.get("x-forwarded-proto"))
        parts = [f"{self.sessions.cookie_name}={value}", f"Path={root}", f"Max-Age={seconds}", "HttpOnly"]
        return "; ".join([*parts, "SameSite=Strict", *(["Secure"] if is_secure else [])])


def _bearer(headers: Mapping[str, str]) -> str:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else ""
