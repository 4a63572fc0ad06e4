"""Everything that is known, kept by run and bounded: open runs and finished ones each up to a number."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Generic, TypeVar

from stepstream.fold.growing import Growing
from stepstream.wire.messages import Message
from stepstream.wire.objects import Run, RunStep

V = TypeVar("V")
W = TypeVar("W")

DEFAULT_RETAIN: Final = 256
DEFAULT_MAX_OPEN_RUNS: Final = 10_000


class Group:
    """A run with its steps and messages. A step or message without a run makes a group of its own."""

    __slots__ = ("context", "key", "messages", "run", "steps")

    def __init__(self, key: str) -> None:
        self.key = key
        self.run: Run | None = None
        self.context: Any = None
        """That of the stream which told of it last."""
        self.steps: dict[str, Growing[RunStep]] = {}
        self.messages: dict[str, Growing[Message]] = {}

    @property
    def is_finished(self) -> bool:
        """Whether its run ended; without a run id, whether its only member did."""
        if self.key.startswith("run:"):
            return self.run is not None and self.run.is_terminal
        return all(step.ended for step in self.steps.values()) and all(one.ended for one in self.messages.values())


class State:
    """The runs, steps and messages known. Several streams may share one.

    Of finished runs the newest `retain` are kept, of open ones the newest `max_open_runs`.
    """

    def __init__(self, *, retain: int = DEFAULT_RETAIN, max_open_runs: int = DEFAULT_MAX_OPEN_RUNS) -> None:
        self.retain = retain
        self.max_open_runs = max_open_runs
        self.runs: dict[str, Run] = {}
        self.steps: dict[str, Growing[RunStep]] = {}
        self.messages: dict[str, Growing[Message]] = {}
        self._open: dict[str, Group] = {}
        self._finished: dict[str, Group] = {}

    def group(self, key: str) -> Group:
        """Return the group of `key`, new where it is not known."""
        found = self._open.get(key) or self._finished.get(key)
        if found is None:
            found = self._open[key] = Group(key)
        return found

    def add_step(self, step: Growing[RunStep]) -> None:
        """Keep a new step with its run."""
        self.steps[step.base.id] = self.group(step.group).steps[step.base.id] = step

    def add_message(self, message: Growing[Message]) -> None:
        """Keep a new message with its run."""
        self.messages[message.base.id] = self.group(message.group).messages[message.base.id] = message

    def set_run(self, run: Run) -> None:
        """Keep the newest object of a run."""
        self.runs[run.id] = self.group(group_key(run.id, "")).run = run

    def context_of(self, key: str) -> Any:
        """Return the context of the stream that told of a group last."""
        found = self._open.get(key) or self._finished.get(key)
        return found.context if found is not None else None

    def remember(self, key: str, context: Any) -> None:
        """Note the context of the stream that tells of a group."""
        self.group(key).context = context

    @property
    def order(self) -> tuple[list[str], list[str]]:
        """The keys of the open groups and of the finished ones, oldest first: the order in which they are dropped."""
        return list(self._open), list(self._finished)

    def bound(self, key: str) -> list[str]:
        """Drop what is too much after the group of `key` changed, and return the key of each open group dropped."""
        group = self._open.get(key)
        if group is not None and group.is_finished:
            self._finished[key] = self._open.pop(key)
        while len(self._finished) > self.retain:
            self._forget(self._finished.pop(next(iter(self._finished))))
        dropped = []
        while len(self._open) > self.max_open_runs:
            oldest = self._open.pop(next(iter(self._open)))
            self._forget(oldest)
            dropped.append(oldest.key)
        return dropped

    def _forget(self, group: Group) -> None:
        if group.run is not None:
            self.runs.pop(group.run.id, None)
        for identifier, step in group.steps.items():
            self.steps.pop(identifier, None)
            step.version += 1
        for identifier, message in group.messages.items():
            self.messages.pop(identifier, None)
            message.version += 1


def group_key(run_id: object, otherwise: str) -> str:
    """Return the key of the group of a run, or `otherwise` where an object names no run."""
    return f"run:{run_id}" if isinstance(run_id, str) else otherwise


class View(Mapping[str, W], Generic[V, W]):
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


def snapshot(growing: Growing[Any]) -> Any:
    """Return the object as of now."""
    return growing.snapshot()
