"""Faults that a request gets instead of its answer: a page of HTML, a redirect, a server that is busy or broken."""

from collections.abc import Callable
from typing import Final

from stepstream.simulator.faults import Faults
from stepstream.simulator.requests import Refusal

MAX_KNOWN: Final = 1_000
HTML: Final = b"<!doctype html>\n<title>Sign in</title>\n<p>Sign in to go on to the service.</p>\n"


class RequestFaults:
    """The faults of requests: they remember, by path, how long each lasts, so that a request is answered in the end."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[tuple[str, int], float] = {}
        self._refused: dict[tuple[str, int], int] = {}

    def check(self, path: str, target: str, faults: Faults) -> None:
        """Refuse a request where its faults say so. `target` is where it would be answered.

        Raises:
            Refusal: 307, 429 or 500.
        """
        if "redirect" in faults:
            raise Refusal(307, "expected the request elsewhere", headers={"location": target})
        if "rate-limit" in faults and self._is_limited(path, faults["rate-limit"]):
            wait = {"retry-after": str(faults["rate-limit"])}
            text = "the rate limit is reached: try again later"
            raise Refusal(429, text, code="rate_limit_exceeded", type_="rate_limit_error", headers=wait)
        if "server-error" in faults and self._is_broken(path, faults["server-error"]):
            raise Refusal(500, "the server had an error while processing your request", type_="server_error")

    def _is_limited(self, path: str, seconds: int) -> bool:
        key, now = (path, seconds), self._clock()
        until = self._until.pop(key, None)
        if until is not None and until <= now:
            return False
        self._until[key] = now + seconds if until is None else until
        _bound(self._until)
        return True

    def _is_broken(self, path: str, times: int) -> bool:
        refused = self._refused.pop((path, times), 0)
        if refused == times:
            return False
        self._refused[path, times] = refused + 1
        _bound(self._refused)
        return True


def _bound(known: dict[tuple[str, int], float] | dict[tuple[str, int], int]) -> None:
    if len(known) > MAX_KNOWN:
        del known[next(iter(known))]
