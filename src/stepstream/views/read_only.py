"""The part of a state that views read. What would change the state is not in it, so that a checker refuses it."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

from stepstream.fold.builder import SnapshotBuilder
from stepstream.fold.entry import RunEntry
from stepstream.wire.messages import Message
from stepstream.wire.objects import Run, RunStep

V_co = TypeVar("V_co", covariant=True)


class ReadOnlyTable(Protocol[V_co]):
    """Objects by id, the oldest first, to be read only."""

    def get(self, key: str, /) -> V_co | None:
        """Return the object of that id, or None."""

    def values(self) -> Iterable[V_co]:
        """Return the objects."""

    def __iter__(self) -> Iterator[str]: ...
    def __reversed__(self) -> Iterator[str]: ...


class ReadOnlyState(Protocol):
    """What a view reads of a state, so that a checker refuses whatever would change it."""

    @property
    def runs(self) -> ReadOnlyTable[Run]:
        """The runs."""

    @property
    def steps(self) -> ReadOnlyTable[SnapshotBuilder[RunStep]]:
        """The steps of all runs."""

    @property
    def messages(self) -> ReadOnlyTable[SnapshotBuilder[Message]]:
        """The messages of all runs."""

    @property
    def order(self) -> tuple[list[str], list[str]]:
        """The keys of the open entries and of the finished ones, the oldest first."""

    def entry(self, key: str) -> RunEntry:
        """Return a run with its steps and messages. Only keys of `order` are asked for."""
