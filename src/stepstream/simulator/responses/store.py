"""The responses and conversations that an application knows. No IO and no clock."""

from collections.abc import Collection, Iterator
from itertools import count
from typing import Final

from stepstream.simulator.objects import JSON
from stepstream.simulator.responses.response import Response
from stepstream.simulator.threads import MAX_BYTES, MAX_RUNS, keep_newest

MAX_CONVERSATIONS: Final = 1_000
MAX_ITEMS: Final = 1_000
"""How many conversations an application remembers, and items of one that are no response's."""


class Conversation:
    """A conversation: items of the client, then of each response its input and its output."""

    def __init__(self, identifier: str, created_at: int, metadata: JSON | None = None) -> None:
        self.id = identifier
        self.object: JSON = {
            "id": identifier,
            "object": "conversation",
            "created_at": created_at,
            "metadata": metadata or {},
        }
        self.own: dict[str, JSON] = {}
        self.responses: dict[str, Response] = {}

    def __repr__(self) -> str:
        return f"<Conversation {self.id}: {len(self.responses)} responses>"

    def add(self, items: Collection[JSON]) -> None:
        """Keep items of the client, each with its id."""
        for item in items:
            keep_newest(self.own, item["id"], item, MAX_ITEMS)

    def items(self) -> list[JSON]:
        """Return its items, oldest first."""
        told = [item for one in self.responses.values() for item in (*one.asked.input, *one.object()["output"])]
        return [*self.own.values(), *told]

    @property
    def newest(self) -> Response | None:
        """Its newest response."""
        return next(reversed(self.responses.values()), None)


class Responses:
    """The newest responses and conversations of one application. A conversation begins where it is first used."""

    def __init__(self) -> None:
        self._responses: dict[str, Response] = {}
        self._conversations: dict[str, Conversation] = {}
        self._numbers = count(1)

    def __repr__(self) -> str:
        return f"<{len(self._responses):,} responses, {len(self._conversations):,} conversations>"

    def __iter__(self) -> Iterator[Response]:
        return iter(self._responses.values())

    def find(self, identifier: str) -> Response | None:
        """Return the response of that id, or None, also where it was not to be kept."""
        found = self._responses.get(identifier)
        return found if found is not None and found.asked.is_kept else None

    def waiting_for(self, ids: Collection[str]) -> Response | None:
        """Return the newest response that waits for an answer to one of these calls."""
        waiting = ((one, one.script.waiting) for one in reversed(self._responses.values()))
        return next((one for one, what in waiting if what is not None and not set(what.ids).isdisjoint(ids)), None)

    def add(self, response: Response, conversation: Conversation | None) -> None:
        """Keep a new response."""
        self._responses[response.id] = response
        if conversation is not None:
            keep_newest(conversation.responses, response.id, response, MAX_RUNS)
        kept = self._responses
        while len(kept) > MAX_RUNS or (len(kept) > 1 and sum(one.kept_bytes for one in kept.values()) > MAX_BYTES):
            oldest = kept.pop(next(iter(kept)))
            for one in self._conversations.values():
                one.responses.pop(oldest.id, None)

    def conversation(self, identifier: str) -> Conversation | None:
        """Return the conversation of that id, or None."""
        return self._conversations.get(identifier)

    def begin(self, at: float, identifier: str | None = None, metadata: JSON | None = None) -> Conversation:
        """Return a new conversation, created at the Unix time `at`."""
        fresh = (f"conv_sim{number}" for number in self._numbers)
        name = identifier or next(name for name in fresh if name not in self._conversations)
        found = Conversation(name, int(at), metadata)
        keep_newest(self._conversations, name, found, MAX_CONVERSATIONS)
        return found
