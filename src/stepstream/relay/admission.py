"""Who is let in: what every request goes through before it is looked at what it asks for."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeAlias

from stepstream.asgi.http import Scope, Send
from stepstream.relay.access import Authorize, Origins, Permission, is_local
from stepstream.relay.requests import Refused, Request, read_request, send_nothing, send_refusal

Headers: TypeAlias = Mapping[str, str]


class Admission:
    """Lets requests in from pages of the relay's own origin and of `origins`, with one of `methods`, and callers to
    what `authorize` lets them see. Without it only this machine is served. `not_found` is what others are told.

    Raises:
        ValueError: one of `origins` is none.
    """

    def __init__(self, authorize: Authorize | None, origins: Iterable[str], methods: str, not_found: str) -> None:
        self._authorize = authorize
        self._origins = Origins(origins)
        self._methods = methods
        self._not_found = not_found

    async def answer(self, scope: Scope, send: Send, route: Callable[[Request, Headers], Awaitable[None]]) -> None:
        """Answer a request by `route`, which gets the headers of every answer, or with what it is `Refused` for."""
        headers: dict[str, str] = {}
        try:
            request = read_request(scope)
            if not self._origins.allow(request.headers):
                raise Refused(403, "This origin may not ask here.")
            headers = self._origins.answer_headers(request.headers)
            if scope["method"] == "OPTIONS":
                asked = self._origins.preflight_headers(request.headers, self._methods)
                await send_nothing(send, {**headers, **asked})
            else:
                await route(request, headers)
        except Refused as refused:
            await send_refusal(send, refused, headers)

    def check_local(self, request: Request) -> None:
        """Check that a request is from this machine, where nobody says who else may see what.

        Raises:
            Refused: it is not.
        """
        if self._authorize is None and not is_local(request.scope, request.headers):
            raise Refused(403, "Without `authorize`, only this machine is served.")

    async def permission(self, request: Request, name: str) -> Permission | None:
        """Return the permission to see a run or a conversation; None where all who are let in may.

        Raises:
            Refused: it is not given.
        """
        self.check_local(request)
        if self._authorize is None:
            return None
        permission = Permission(self._authorize, request.scope, name)
        if not await permission.is_given():
            raise Refused(404, self._not_found)
        return permission

    async def may_see(self, request: Request, name: str) -> bool:
        """Return whether whoever sent a request may see a run."""
        return self._authorize is None or await Permission(self._authorize, request.scope, name).is_given()
