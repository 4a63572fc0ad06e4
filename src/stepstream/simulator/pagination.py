"""Lists of the API: a page of objects, and where it stands among all of them."""

from collections.abc import Mapping, Sequence
from typing import Final

from stepstream.simulator.objects import JSON
from stepstream.simulator.requests import Refusal

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 100


def page(objects: Sequence[JSON], query: Mapping[str, str]) -> JSON:
    """Return the page of `objects`, oldest first, that `limit`, `order`, `after` and `before` ask for.

    Raises:
        Refusal: 400, a parameter is wrong; 404, no object has the id of `after` or `before`.
    """
    limit = query.get("limit", str(DEFAULT_LIMIT))
    if not (limit.isdecimal() and len(limit) < 9 and 1 <= int(limit) <= MAX_LIMIT):
        raise Refusal(400, f"expected a limit from 1 to {MAX_LIMIT}, got {limit!r:.80}", param="limit")
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise Refusal(400, f"expected the order asc or desc, got {order!r:.80}", param="order")
    ordered = list(objects) if order == "asc" else list(reversed(objects))
    if query.get("after"):
        ordered = ordered[_place(ordered, query["after"], "after") + 1 :]
    if query.get("before"):
        ordered = ordered[: _place(ordered, query["before"], "before")]
    from_end = bool(query.get("before")) and not query.get("after")
    shown = ordered[-int(limit) :] if from_end else ordered[: int(limit)]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": len(shown) < len(ordered),
    }


def _place(ordered: Sequence[JSON], identifier: str, param: str) -> int:
    for place, one in enumerate(ordered):
        if one["id"] == identifier:
            return place
    raise Refusal(404, f"no object with id {identifier!r:.80} in this list", param=param)
