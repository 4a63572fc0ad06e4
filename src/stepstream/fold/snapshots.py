"""What is known, as live mappings by id that are read only. Each snapshot is built when it is read."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from stepstream.fold.builder import SnapshotBuilder
from stepstream.fold.state import State
from stepstream.wire.messages import Message
from stepstream.wire.objects import Run, RunStep

V = TypeVar("V")
W = TypeVar("W")


class _View(Mapping[str, W], Generic[V, W]):
    """A live mapping by id whose values are made when they are read."""

    __slots__ = ("_inner", "_make")

    def __init__(self, inner: Mapping[str, V], make: Callable[[V], W]) -> None:
        self._inner = inner
        self._make = make

    def __getitem__(self, key: str) -> W:
        return self._make(self._inner[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._inner)

    def __len__(self) -> int:
        return len(self._inner)

    def __repr__(self) -> str:
        return f"<{len(self)} by id>"

    def __reduce__(self) -> tuple[type[dict[str, W]], tuple[dict[str, W]]]:
        """Pickle the values as of now: what they are made from belongs to an accumulator."""
        return dict, (dict(self),)


def _snapshot(builder: SnapshotBuilder[Any]) -> Any:
    return builder.snapshot()


def steps_of(state: State) -> Mapping[str, RunStep]:
    """Return the steps of `state`."""
    return _View(state.steps, _snapshot)


def messages_of(state: State) -> Mapping[str, Message]:
    """Return the messages of `state`."""
    return _View(state.messages, _snapshot)


def runs_of(state: State) -> Mapping[str, Run]:
    """Return the newest objects of the runs of `state`."""
    return _View(state.runs, lambda run: run)
