"""What a dialect knows beyond one stream: the runs it has opened, their items, and which response belongs to which.

It is kept with the runs of the fold, which drops both together, and it holds no text: only what says which step an
event is about, and what the end of a response needs. All of it can be written as JSON and read back.
"""

from typing import Any, NamedTuple

import msgspec

from stepstream.wire.events import ErrorData


class Part(msgspec.Struct):
    """One entry of a list that grows: a part of a message or of reasoning, or a command. Its place is its index."""

    index: int
    """The index that the server gave it; -1 where it gave none."""
    kind: str
    is_done: bool = False
    is_counting: bool = False
    """Whether the server counts its index up with every piece."""
    notes: list[int] = []
    """The server's indexes of its annotations, in order of first sight."""


class Item(msgspec.Struct):
    """One output item, which is one step."""

    id: str
    """The id of its step."""
    type: str
    output_index: int = -1
    call_id: str = ""
    has_own_id: bool = True
    """Whether the server gave it an id that was no other's before."""
    mentions: int = 0
    """How often the server named it by the id it was opened with."""
    was_added: bool = False
    is_grown: bool = False
    is_retold: bool = False
    """Whether the server tells it again from the beginning, without numbers: its pieces are known, its end counts."""
    has_failed: bool = False
    is_answered: bool = False
    """Whether the output of its call came."""
    is_ended: bool = False
    lists: dict[str, list[Part]] = {}
    """Its lists that grow, by name."""
    given: list[str] = []
    """The fields of its content that its end brought: what it lacked may come with the end of the response."""
    asked: dict[str, Any] | None = None
    """The call, where the client has to run it."""


class Response(msgspec.Struct):
    """A run: one response, or several where the first waited for outputs."""

    run: str
    """The run's id: that of its first response."""
    status: str = ""
    """The run's status as it was told last; empty while the fold does not know the run."""
    is_open: bool = True
    """Whether its newest response goes on."""
    ids: list[str] = []
    """The ids of its responses: of each the first, and the newest few. Some servers give another one with every event.
    """
    earlier: list[str] = []
    """Those of the responses before its newest, with which they begin."""
    began: int | float | None = None
    """When its first response was created, as the server says."""
    thread_id: str | None = None
    assistant_id: str | None = None
    items: list[Item] = []
    first: int = 0
    """Where the items of the newest response begin."""
    places: dict[str, int] = {}
    """Where an item is, by every id that announced it."""
    tools: list[tuple[str, str]] = []
    """The type and name of each tool that the client declared."""
    number: int = -1
    """The highest sequence number."""
    marks: list[tuple[int, int]] = []
    """The newest few numbers, each with a checksum of its event."""
    rises: int = 0
    """How often the number rose; -1 once it was seen to mean nothing."""
    spent: list[int] = []
    """The tokens of its earlier responses: prompt, completion, total."""
    usage: list[int] = []
    """The tokens of its newest response."""
    error: ErrorData | None = None
    """An error that came by itself, and may be why it fails."""
    unexplained: dict[str, Any] | None = None
    """The run's object, where it ended without success and did not say why: an error that comes after it does."""


class RunTold(NamedTuple):
    """A run as one event tells it."""

    id: str
    status: str


class DialectState(msgspec.Struct):
    """The runs that came in a dialect, by id. The fold says which are kept."""

    runs: dict[str, Response] = {}
    responses: dict[str, str] = {}
    """The run of a response, by the response's id."""
    steps: dict[str, str] = {}
    """The run of a step, by the step's id."""
    unnamed: int = 0
    """How many runs had no id."""

    def forget(self, run: str) -> None:
        """Forget a run, which the fold keeps no longer."""
        known = self.runs.pop(run, None)
        if known is not None:
            for identifier in known.ids:
                self.responses.pop(identifier, None)
            for item in known.items:
                self.steps.pop(item.id, None)
