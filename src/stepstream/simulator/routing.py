"""Which call of the API a request makes: a table of paths, and what an endpoint may answer with."""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from stepstream.simulator.api import Api
from stepstream.simulator.course import Stream
from stepstream.simulator.objects import JSON
from stepstream.simulator.requests import ApiRequest, Refusal


class Awaited(NamedTuple):
    """An answer that is given at the end of a stream, which nobody reads."""

    stream: Stream
    object: Callable[[], JSON]
    """What is answered then."""


Reply: TypeAlias = JSON | Stream | Awaited
Endpoint: TypeAlias = Callable[[Api, ApiRequest], Reply]
Routes: TypeAlias = Mapping[re.Pattern[str], Mapping[str, Endpoint]]
"""The paths, and what answers each method there. The first that fits counts."""


def pattern(path: str) -> re.Pattern[str]:
    """Return what matches a path, with the prefixes that OpenAI's clients and those for Azure put before it."""
    prefix = r"(?:/api/projects/[^/]+)?(?:/openai)?(?:/v1)?"
    return re.compile(prefix + re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path) + "/?")


def find_route(routes: Routes, method: str, path: str) -> tuple[Endpoint, Mapping[str, str]]:
    """Return what answers the path, and the ids in it.

    Raises:
        Refusal: 404 or 405, nothing does.
    """
    for known, endpoints in routes.items():
        found = known.fullmatch(path)
        if found is not None and method in endpoints:
            return endpoints[method], found.groupdict()
        if found is not None:
            allowed = ", ".join(endpoints)
            raise Refusal(405, f"expected {allowed} {path}, got {method}", headers={"allow": allowed})
    raise Refusal(404, f"no such path: {method} {path}")
