"""Why no connection was made, or why one broke: what a user can do about it differs.

The clients report most of it as one exception, whose causes say more: those of the socket and of TLS, which are the
standard library's. Their texts are chosen here, since those of foreign exceptions may quote what is secret.
"""

import re
import socket
import ssl
from collections.abc import Iterator
from typing import Final, NamedTuple

from stepstream.errors import words_of

MOST_CAUSES: Final = 20
MOST_WORDS: Final = 200

_STATUS: Final = re.compile(r"[45]\d\d( [ -~]*)?\Z")
"""The answer of a proxy, which is the whole text of its exception."""


class ConnectionFailure(NamedTuple):
    """What failed, in words, and whether it will fail again."""

    is_final: bool
    text: str


def connection_failure(exc: BaseException, proxy: str = "") -> ConnectionFailure:
    """Return what failed where a client raised `exc`. A certificate that is refused will be refused again, and a port
    that there is not will not be there.

    `proxy` is the host and port of the proxy that was to be connected to, empty where it was the server itself.
    """
    causes = list(_causes(exc))
    for one in causes:
        if isinstance(one, ssl.SSLCertVerificationError):
            # that of aiohttp is one too, and has no reason of its own
            reason = next(filter(None, (getattr(cause, "verify_message", "") for cause in causes)), "no reason given")
            return ConnectionFailure(True, f"the certificate is not trusted: {words_of(reason, MOST_WORDS)}")
        if isinstance(one, ssl.SSLError):
            return ConnectionFailure(False, f"TLS failed: {getattr(one, 'reason', None) or type(one).__name__}")
        if isinstance(one, socket.gaierror):
            return ConnectionFailure(False, f"the host name{proxy and f' of the proxy {proxy}'} could not be resolved")
        if isinstance(one, ConnectionRefusedError):
            return ConnectionFailure(False, f"the connection{proxy and f' to the proxy {proxy}'} was refused")
        if isinstance(one, OverflowError):
            return ConnectionFailure(True, "the port is out of range")
        if any("ProxyError" in base.__name__ for base in type(one).__mro__):
            status = _STATUS.match(str(one))
            answer = f": {words_of(status[0], MOST_WORDS)}" if status else ""
            return ConnectionFailure(False, f"the proxy did not connect{answer}")
    return ConnectionFailure(False, "the connection failed")


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """Yield an exception and all that led to it, those of a group too: there is one for each address of a host.

    httpcore raises `from None` what it has made of another exception. A context that is not hidden so may be one that
    the caller was handling.
    """
    found, place = [exc], 0
    while place < len(found) and place < MOST_CAUSES:
        one = found[place]
        yield one
        members = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
        hidden = one.__context__ if one.__suppress_context__ and one.__cause__ is None else None
        found += [cause for cause in (one.__cause__, hidden, *members) if cause is not None]
        place += 1
