"""Lists of the API, as servers really answer them: what a page holds, which entries are new, and in which order.

A list is asked for oldest first, a hundred objects a page, and the next page after the last id. Servers that only look
like the API may answer otherwise: newest first, an array instead of `{"data": …}`, `has_more` for ever, the same page
or the same object again. None of that may lose an object or go on for ever.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from stepstream.errors import ProtocolError

PAGE_SIZE: Final = 100

MILLISECONDS_FROM: Final = 1e11
"""A time that is not smaller is in milliseconds: in seconds it would be in the year 5138."""

_log = logging.getLogger("stepstream.client")


class Page(msgspec.Struct, frozen=True):
    """One page of a list, its objects undecoded."""

    data: tuple[msgspec.Raw, ...]
    has_more: bool | None = None


ANY_PAGE: Final[Any] = Page | tuple[msgspec.Raw, ...]
"""What a page may look like: some servers send the array alone."""


class ListedObject(msgspec.Struct, frozen=True):
    """What is read of an entry before it is decoded: as it was sent, of whatever type, None where it is not there."""

    id: Any = None
    run_id: Any = None
    role: Any = None
    created_at: Any = None

    @classmethod
    def of(cls, raw: msgspec.Raw) -> "ListedObject":
        """Return that of an entry, which may be no object at all: then all is None."""
        try:
            return msgspec.json.decode(raw, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return cls()

    @property
    def time(self) -> float | None:
        """When it was created, in seconds, from a number or an ISO time; else None."""
        value = self.created_at
        if isinstance(value, str):
            try:
                at = datetime.fromisoformat(value)
            except ValueError:
                return None
            return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return value / 1000 if value >= MILLISECONDS_FROM else float(value)


class ListBuilder:
    """The objects of a list, page by page. An object that comes again counts once, as it came last."""

    def __init__(self) -> None:
        self._found: dict[object, msgspec.Raw] = {}
        self.after = ""
        """The id after which the next page begins."""

    def add(self, page: Page | tuple[msgspec.Raw, ...]) -> bool:
        """Add a page. Return whether another one must be asked for.

        Raises:
            ProtocolError: another one must, and no entry has an id to ask after.
        """
        if not isinstance(page, Page):
            page = Page(page)
        before = len(self._found)
        for raw in page.data:
            identifier = ListedObject.of(raw).id
            is_named = isinstance(identifier, str)
            self._found[identifier if is_named else bytes(raw)] = raw
            self.after = identifier if is_named else self.after
        if not (page.has_more and page.data):
            return False
        if not self.after:
            raise ProtocolError("expected a list of objects with ids, to ask for its next page")
        if len(self._found) > before:
            return True
        if len(page.data) >= PAGE_SIZE:  # a short one says no more than that `has_more` is always sent
            _log.warning("expected the next page of a list, got the same one again: it may have lacked some")
        return False

    def oldest_first(self) -> Sequence[msgspec.Raw]:
        """Return the objects in the order that was asked for, whatever the order that they came in."""
        return oldest_first(self._found.values())


def oldest_first(raws: Iterable[msgspec.Raw]) -> Sequence[msgspec.Raw]:
    """Return entries by the time of their creation. Of one second they keep their order: that of the server.

    Where the server's order is newest first, it is that reversed. Entries without a time come last, in their order.
    """
    timed = [(ListedObject.of(raw).time, raw) for raw in raws]
    times = [time for time, _ in timed if time is not None]
    if times != sorted(times) and times == sorted(times, reverse=True):
        timed.reverse()
        return [raw for _, raw in timed]
    return [raw for _, raw in sorted(timed, key=lambda one: (one[0] is None, one[0] or 0.0))]
