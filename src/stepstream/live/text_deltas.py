"""The text of messages in pieces, as they come.

What was given of each message is kept until it ends, and compared with its text then: deltas cost the same however much
came before. Deltas are given as they came, so the pieces of two parts that grow by turns do not make up the text, which
has one part after the other; nor do they where a delta was lost, or where the server replaced what it had sent. What
was given cannot be taken back: such a message is named in `rewritten`.
"""

from collections import OrderedDict
from typing import Final, Self

from stepstream.fold.changes import MessageProgress, MessageTransition
from stepstream.fold.retelling import REPLAYED
from stepstream.live.subscriptions import Changes
from stepstream.wire.deltas import ContentDelta

MAX_ENDED: Final = 16
"""Of so many ended messages the pieces are kept: a late delta may fill what the final object left null."""

MAX_REWRITTEN: Final = 1_000


class TextDeltas:
    """Pieces of text, as an async iterator."""

    def __init__(self, changes: Changes[MessageProgress | MessageTransition], *, gives_ended: bool) -> None:
        self.rewritten: list[str] = []
        """The ids of the messages whose text does not continue the pieces given, the newest 1,000. Their text is that
        of the outcome, or of their terminal `MessageTransition`."""
        self._changes = changes
        self._gives_ended = gives_ended
        self._given: dict[str, list[str]] = {}  # the pieces of each message
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._ahead: set[str] = set()  # messages given from a snapshot, which may hold what queued deltas bring too

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while True:
            piece = self._piece_of(await anext(self._changes))  # no change is kept while the next one is waited for
            if piece:
                return piece

    def _piece_of(self, change: MessageProgress | MessageTransition) -> str:
        ends = isinstance(change, MessageTransition) and change.terminal
        if ends and change.event == REPLAYED and not self._gives_ended:
            return ""
        piece = self._grown(change) if isinstance(change, MessageProgress) else self._turned(change)
        if piece:
            self._given.setdefault(change.message_id, []).append(piece)
        if ends:
            self._end(change.message_id)
        return piece

    def _grown(self, change: MessageProgress) -> str:
        if change.event == REPLAYED:
            return ""  # the transition before it gave the text so far
        if change.late:
            is_known = change.message_id in self._ended
            return self._beyond(change.message_id, change.message.text, is_final=True) if is_known else ""
        if change.delta is None:
            self._ahead.add(change.message_id)  # a full object added something, without saying where
        if change.message_id in self._ahead:
            return self._beyond(change.message_id, change.message.text, is_final=False)
        parts = (change.delta.content or ()) if change.delta else ()
        return "".join(part.text.value or "" for part in parts if isinstance(part, ContentDelta) and part.text)

    def _turned(self, change: MessageTransition) -> str:
        if change.terminal or change.previous is None:
            return self._beyond(change.message_id, change.message.text, is_final=change.terminal)
        return ""

    def _beyond(self, message_id: str, text: str, *, is_final: bool) -> str:
        """Return the text beyond the pieces given. Where it does not continue them, that is nothing."""
        given = "".join(self._given.get(message_id, ()))
        if text.startswith(given):
            return text[len(given) :]
        if is_final and message_id not in self.rewritten:
            self.rewritten.append(message_id)
            del self.rewritten[:-MAX_REWRITTEN]
        return ""

    def _end(self, message_id: str) -> None:
        self._ahead.discard(message_id)
        self._ended[message_id] = None
        if len(self._ended) > MAX_ENDED:
            oldest, _ = self._ended.popitem(last=False)
            self._given.pop(oldest, None)
