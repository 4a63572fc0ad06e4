"""What is remembered of the items of a response: what the rules between events need, and no text.

A text is remembered by its length and checksum, which grow with each piece. So its sum is compared with the final text
at no cost that depends on how long it is, and nothing of it is kept.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias
from zlib import crc32

MAX_ITEMS: Final = 10_000
"""How many items are followed. Beyond that the oldest is forgotten."""

MAX_PARTS: Final = 1_024
"""How many parts of one item are followed. What comes beyond is not checked."""

Place: TypeAlias = tuple[str, int]
"""Where a text lies in an item: the list and the index in it; the one text of a call is at ("", 0)."""

ONLY: Final[Place] = ("", 0)


class Text:
    """A text that grows: its length and checksum."""

    __slots__ = ("_checksum", "length")

    def __init__(self, text: str = "") -> None:
        self.length = 0
        self._checksum = 0
        self.add(text)

    def add(self, piece: str) -> None:
        """Add a piece."""
        self.length += len(piece)
        self._checksum = crc32(piece.encode("utf-8", "surrogatepass"), self._checksum)

    def is_same(self, whole: str) -> bool:
        """Return whether the pieces add up to a text."""
        other = Text(whole)
        return (self.length, self._checksum) == (other.length, other._checksum)


class Part:
    """One part of an item, or the text of a call."""

    __slots__ = ("has_deltas", "has_text_done", "is_done", "is_doubtful", "kind", "notes", "text", "was_added")

    def __init__(self, kind: str = "", *, was_added: bool = False) -> None:
        self.kind = kind
        """Its type; empty where none is known."""
        self.was_added = was_added
        """Whether an event began it."""
        self.text = Text()
        self.has_deltas = False
        self.has_text_done = False
        self.is_done = False
        self.is_doubtful = False
        """Whether an event about it was lost or wrong: it is not compared any more."""
        self.notes = 0
        """How many annotations it has."""


class Item:
    """One item of the output."""

    __slots__ = ("call_id", "id", "index", "is_done", "is_doubtful", "parts", "type", "was_added")

    def __init__(self, index: int, kind: str, identifier: str | None) -> None:
        self.index = index
        self.type = kind
        self.id = identifier
        self.call_id: str | None = None
        self.parts: dict[Place, Part] = {}
        self.was_added = False
        self.is_done = False
        self.is_doubtful = False
        """Whether an event about it was lost or wrong: what could follow from that is not reported."""

    def counted(self, name: str) -> int:
        """Return how many parts it has in a list."""
        return sum(place[0] == name for place in self.parts)


class Items:
    """The items of a response by their index, bounded."""

    def __init__(self) -> None:
        self._items: dict[int, Item] = {}
        self.next_index = 0
        """The index of the next item."""
        self.has_lost = False
        """Whether an event about some item was lost, or an item was forgotten."""
        self.is_excused = False
        """Whether the next item that comes without its beginning is excused: the beginning may have been lost."""

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items.values())

    def get(self, index: int) -> Item | None:
        """Return the item at an index, or None."""
        return self._items.get(index)

    def add(self, index: int, kind: str, identifier: str | None) -> Item:
        """Return a new item at an index."""
        item = self._items[index] = Item(index, kind, identifier)
        self.next_index = max(self.next_index, index + 1)
        if len(self._items) > MAX_ITEMS:
            del self._items[next(iter(self._items))]
            self.has_lost = True
        return item

    def doubt(self) -> None:
        """Note that an event was lost, which may have been about any item that is open, or may have begun one."""
        self.has_lost = self.is_excused = True
        for item in self:
            item.is_doubtful |= not item.is_done

    def excuse(self) -> bool:
        """Return whether what is missing may be what was lost. That holds once for each loss."""
        was_excused, self.is_excused = self.is_excused, False
        return was_excused


LISTS: Final[Mapping[str, tuple[str, ...]]] = {"message": ("content",), "reasoning": ("summary", "content")}
"""The lists of parts that an item of a type has."""

TEXT_KEYS: Final[Mapping[str, str]] = {
    "output_text": "text",
    "refusal": "refusal",
    "reasoning_text": "text",
    "summary_text": "text",
}
"""The key of a part's text, by the part's type."""

CALL_TEXTS: Final[Mapping[str, str]] = {
    "code_interpreter_call": "code",
    "custom_tool_call": "input",
    "function_call": "arguments",
    "mcp_call": "arguments",
}
"""The key of a call's text, by the item's type."""


def texts_of(item: Mapping[str, Any]) -> dict[Place, tuple[str, str | None]]:
    """Return the parts of a whole item by place: the type of each, and its text, None where it has none."""
    kind = item.get("type")
    if not isinstance(kind, str):
        return {}
    key = CALL_TEXTS.get(kind)
    if key is not None:
        text = item.get(key)
        return {ONLY: ("", text)} if isinstance(text, str) else {}
    found: dict[Place, tuple[str, str | None]] = {}
    for name in LISTS.get(kind, ()):
        entries = item.get(name)
        for index, part in enumerate(entries if isinstance(entries, list) else ()):
            if isinstance(part, dict):
                found[name, index] = str(part.get("type")), text_in(part)
    return found


def text_in(part: Mapping[str, Any]) -> str | None:
    """Return the text of a part, None where it has none."""
    kind = part.get("type")
    text = part.get(TEXT_KEYS.get(kind, "")) if isinstance(kind, str) else None
    return text if isinstance(text, str) else None
