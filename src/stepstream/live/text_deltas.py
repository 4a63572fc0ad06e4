"""The text of messages in pieces, as they come.

What was given of each message is kept until it ends, and compared with its text then: deltas cost the same however much
came before. Deltas are given as they came, so the pieces of two parts that grow by turns do not make up the text, which
has one part after the other; nor do they where a delta was lost, or where the server replaced what it had sent. What
was given cannot be taken back: such a message is named in `rewritten`. A piece of a part before the one that grew last
is out of its place at once, for the message may never end; where it does, its text decides.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, Self

from stepstream.fold.changes import MessageProgress, MessageTransition
from stepstream.fold.retelling import REPLAYED
from stepstream.live.iterating import Changes
from stepstream.wire.deltas import ContentDelta
from stepstream.wire.messages import Content, Message

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
        self._part: dict[str, int] = {}  # the index of the part of each message that grew last
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
        return "".join(self._appended(change))

    def _appended(self, change: MessageProgress) -> Iterator[str]:
        """Yield the texts of a delta, and note where one is out of its place."""
        for part in (change.delta.content or ()) if change.delta else ():
            if isinstance(part, ContentDelta) and part.text and part.text.value:
                if part.index < self._part.get(change.message_id, 0):
                    self._note_rewritten(change.message_id)
                self._part[change.message_id] = part.index
                yield part.text.value

    def _turned(self, change: MessageTransition) -> str:
        if change.terminal or change.previous is None:
            self._part[change.message_id] = _last_part(change.message)
            return self._beyond(change.message_id, change.message.text, is_final=change.terminal)
        return ""

    def _beyond(self, message_id: str, text: str, *, is_final: bool) -> str:
        """Return the text beyond the pieces given. Where it does not continue them, that is nothing."""
        given = "".join(self._given.get(message_id, ()))
        if not text.startswith(given):
            self._note_rewritten(message_id)
            return ""
        if is_final and message_id in self.rewritten:
            self.rewritten.remove(message_id)
        return text[len(given) :]

    def _note_rewritten(self, message_id: str) -> None:
        if message_id not in self.rewritten:
            self.rewritten.append(message_id)
            del self.rewritten[:-MAX_REWRITTEN]

    def _end(self, message_id: str) -> None:
        self._ahead.discard(message_id)
        self._part.pop(message_id, None)
        self._ended[message_id] = None
        if len(self._ended) > MAX_ENDED:
            oldest, _ = self._ended.popitem(last=False)
            self._given.pop(oldest, None)


def _last_part(message: Message) -> int:
    """Return the index of the last part of a message that has text, 0 where there is none."""
    parts = enumerate(message.content or ())
    return max(
        (place for place, part in parts if isinstance(part, Content) and part.text and part.text.value), default=0
    )
