"""What all changes have in common: the event that caused them, and a key that stays the same when they are told again.

A key is made of what changed, never of where in a stream it stood: the run, the kind of object, its id, and what became
of it, each percent-encoded. A reader that keeps the keys it has acted on acts once, whatever is replayed, restored or
asked for again.

    run_1/step/step_1/completed    run_1/call/step_1/call_a/started    run_1/run/requires_action/5f4dcc3b5aa765d6

An object that names no run belongs to the newest run of its stream, so that its keys are those of a server that names
it; a user's message belongs to none, and so does, until it names one, what came before any run: their keys begin with
the slash.

A run may take a status several times. Where it waits for tools, a hash of the ids asked for tells the rounds apart, in
the key of that status and of the `queued` and `in_progress` that follow it. A status taken again with nothing asked
between has "/2", "/3" and so on behind it (`TakenStatuses`).

Progress and anomalies have no such name. Where they come from the journal of a run, their place in it is their key:
the position of the event, and which of its changes it is (`run_1/7/0`). Else it is "".
"""

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote, unquote

import msgspec

MAX_STATUSES: Final = 1_000
"""How many different statuses of one object are counted each. Further ones share a count, and are still told apart."""


class Caused(msgspec.Struct, frozen=True, eq=False):
    """A change: what one event did. Two are equal where all they say is, whatever their contexts are."""

    event: str
    """The full name of the event that caused it; "replay" where the subscriber came after it."""
    sequence: int
    """The ordinal of that event in its stream, from 1; 0 of what is replayed."""
    context: Any
    """What the caller gave to the stream."""
    event_id: str
    """The event's id, as its stream said it; "" where there is none."""
    received_at: float | None
    """When the event came, in Unix seconds by the processor's clock; None where nothing measures time."""

    @property
    def key(self) -> str:
        """The same string whenever the same change is told again; its place where it has no other name."""
        journal: str = getattr(self, "_journal", "")  # the run whose journal the event stands in
        return key_of(journal, str(self.sequence), str(getattr(self, "_ordinal", 0))) if journal else ""

    def _cause(self) -> list[Any]:
        return [self.event, self.sequence, self.event_id, self.received_at]

    def _compared(self) -> list[Any]:
        return [getattr(self, name) for name in self.__struct_fields__ if name != "context"]

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._compared() == other._compared()

    def __ne__(self, other: object) -> bool:
        return not self == other  # without, that of `msgspec.Struct` goes by identity

    def __hash__(self) -> int:
        return hash((type(self), self.event, self.sequence, self.event_id))


def key_of(run_id: str | None, *parts: str) -> str:
    """Return the key of what happened in a run."""
    return "/".join([quote(part, safe="", errors="surrogatepass") for part in (run_id or "", *parts)])


def journal_of(key: str) -> tuple[str, int]:
    """Return the run and the ordinal that a place is made of."""
    run_id, _, place = key.partition("/")
    return unquote(run_id, errors="surrogatepass"), int(place.rpartition("/")[2] or 0) if place else 0


def round_of(asked: Iterable[str]) -> str:
    """Return the part of a key that tells one round of tool calls from others: a hash of the ids asked for."""
    from hashlib import blake2b  # it loads OpenSSL, which few streams need

    return "/" + blake2b("\n".join(sorted(asked)).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


class TakenStatuses:
    """The statuses that one object has taken, counted, and what the newest has behind it in a key."""

    __slots__ = ("again", "counts")

    def __init__(self, first: str | None = None) -> None:
        self.again = ""
        """What stands behind the newest status in its key."""
        self.counts: dict[str, int] = {} if first is None else {first: 1}

    def take(self, status: str, asked: str = "") -> str:
        """Count a status, taken in the round `asked`, and return what stands behind it in its key."""
        counts, what = self.counts, status + asked
        if what not in counts and len(counts) >= MAX_STATUSES:
            what = ""
            counts.setdefault(what, MAX_STATUSES)
        count = counts[what] = counts.get(what, 0) + 1
        self.again = asked if count == 1 else f"{asked}/{count}"
        return self.again
