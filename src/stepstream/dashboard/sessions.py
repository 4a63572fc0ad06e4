"""Who has the token: programs send it, pages get a session for it. Sessions are signed, so none is kept.

A session says until when it lasts, and is signed with a key that is made from the token, slowly: so it outlasts a
restart, holds in every process that has the same token, and does not help anybody to find the token out.
"""

import hashlib
import hmac
import secrets
from collections import deque
from collections.abc import Callable
from typing import Final

MIN_TOKEN: Final = 16
"""Characters that a token has at least."""

LASTS: Final = 12 * 3_600
"""Seconds for which a session lasts."""

MAX_REVOKED: Final = 10_000
MAX_ADDRESSES: Final = 1_000
WINDOW: Final = 60.0

_SCRYPT: Final = {"n": 2**14, "r": 8, "p": 1, "dklen": 32}


class Sessions:
    """Sessions of those who had `token`. `clock` returns Unix seconds.

    Raises:
        ValueError: the token is too short to be one.
    """

    def __init__(self, token: str, clock: Callable[[], float]) -> None:
        if len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
            raise ValueError(f"expected a token of at least {MIN_TOKEN} ASCII characters without spaces")
        self._key = hashlib.scrypt(token.encode(), salt=b"stepstream session", **_SCRYPT)
        self._token_digest = self._digest(token.encode())
        self._clock = clock
        self._revoked: dict[str, None] = {}
        self.cookie_name = f"stepstream-{hashlib.sha256(self._key).hexdigest()[:8]}"
        """Servers of one host share their cookies, on whatever ports they are: each has a name of its own."""

    def __repr__(self) -> str:
        return "<Sessions>"

    def is_token(self, given: str) -> bool:
        """Return whether this is the token, in the same time whatever is given."""
        return hmac.compare_digest(self._digest(given.encode("utf-8", "replace")), self._token_digest)

    def begin(self) -> str:
        """Return a new session."""
        told = f"{int(self._clock()) + LASTS}.{secrets.token_urlsafe(12)}"
        return f"{told}.{self._signature(told)}"

    def is_open(self, session: str) -> bool:
        """Return whether this is a session that lasts."""
        told, _, signature = session.rpartition(".")
        if not hmac.compare_digest(self._signature(told).encode(), signature.encode("utf-8", "replace")):
            return False
        return int(told.partition(".")[0]) > self._clock() and session not in self._revoked

    def end(self, session: str) -> None:
        """Let a session end, in this process."""
        if self.is_open(session):
            self._revoked[session] = None
            if len(self._revoked) > MAX_REVOKED:
                del self._revoked[next(iter(self._revoked))]

    def _signature(self, told: str) -> str:
        return self._digest(b"session " + told.encode("utf-8", "replace")).hex()

    def _digest(self, data: bytes) -> bytes:
        return hmac.digest(self._key, data, "sha256")


class Failures:
    """How often somebody failed: at most `most` times in a minute, each of `MAX_ADDRESSES` for itself."""

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self._most = most
        self._clock = clock
        self._times: dict[str, deque[float]] = {}

    def may_try(self, address: str) -> bool:
        """Return whether one more attempt is looked at."""
        times = self._times.get(address)
        if times is None:
            return True
        while times and times[0] <= self._clock() - WINDOW:
            times.popleft()
        return len(times) < self._most

    def note(self, address: str) -> None:
        """Note a failure."""
        times = self._times.pop(address, None) or deque(maxlen=self._most)
        times.append(self._clock())
        self._times[address] = times
        if len(self._times) > MAX_ADDRESSES:
            del self._times[next(iter(self._times))]
