"""What differs between steps and messages, and where a stream keeps those it touched. All rules are the same."""

from collections.abc import Callable
from typing import Generic, TypeVar

from stepstream.fold.builder import SnapshotBuilder
from stepstream.fold.changes import (
    Change,
    MessageProgress,
    MessageTransition,
    StepProgress,
    StepTransition,
)
from stepstream.fold.entry import RunEntry
from stepstream.wire.messages import Message
from stepstream.wire.objects import RunStep

Obj = TypeVar("Obj", RunStep, Message)


class ObjectTable(Generic[Obj]):
    """The steps or the messages of a stream, and what differs between the two. All rules are the same."""

    __slots__ = ("add", "is_steps", "known", "name", "progress", "touched", "transition")

    def __init__(
        self,
        name: str,
        transition: type[StepTransition | MessageTransition],
        progress: type[StepProgress | MessageProgress],
        known: dict[str, SnapshotBuilder[Obj]],
        add: Callable[[SnapshotBuilder[Obj]], RunEntry],
    ) -> None:
        self.name = name
        self.is_steps = name == "step"
        self.transition: Callable[..., Change] = transition
        self.progress: Callable[..., Change] = progress
        self.known: dict[str, SnapshotBuilder[Obj]] = known
        """All that are known to the state, by id."""
        self.add: Callable[[SnapshotBuilder[Obj]], RunEntry] = add
        """Keeps a new one with its run, and returns the entry of that."""
        self.touched: dict[str, SnapshotBuilder[Obj]] = {}
        """Those that this stream touched, in order of first sight."""
