"""What a change is about: a step, a message or a run, or what a line told of one.

A change holds the object itself, and in progress what builds it. A change that was read back from a line may hold only
a `Reference`: then what the line said is known, and asking for the object raises `LookupError`.
"""

from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

import msgspec
from msgspec import UNSET

from stepstream.wire.messages import Message
from stepstream.wire.objects import RunStep

T = TypeVar("T")

OF_RUN: Final = "run:"
"""What the keys of those begin with that are kept and dropped with a run. Its id follows."""


def run_in(key: str) -> str | None:
    """Return the id of the run that such a key is of, None where it is of a step or message that belongs to none."""
    return key.removeprefix(OF_RUN) if key.startswith(OF_RUN) else None


class Reference(msgspec.Struct, Generic[T], frozen=True):
    """An object that a decoded line did not hold: `base` has only what the line said of it."""

    base: T

    @property
    def run_id(self) -> str | None:
        """The id of its run, as the line said it."""
        return cast(RunStep | Message, self.base).run_id or None

    def snapshot(self) -> T:
        """Raise `LookupError`: the object is not there."""
        raise LookupError("the change was read from a line without its object: write it with snapshot=True")


class Nameless(msgspec.Struct, Generic[T], frozen=True):
    """An object that names no run, and the run that it belongs to."""

    base: T
    run_id: str

    def snapshot(self) -> T:
        """Return the object."""
        return self.base


def subject_of(held: T, run_id: str | None) -> T | Nameless[T]:
    """Return an object with the run that it belongs to, where it does not name that itself."""
    is_nameless = not getattr(held, "run_id", True)  # a run has no such field: it is named by its own id
    return Nameless(held, run_id) if run_id is not None and is_nameless else held


_HOLDERS: Final = (Reference, Nameless)  # a union would be made anew at each of the looks below


def whole(held: T | Reference[T] | Nameless[T]) -> T:
    """Return an object. Raises `LookupError` where there is only a reference to it."""
    return held.snapshot() if isinstance(held, _HOLDERS) else held


def known(held: T | Reference[T] | Nameless[T]) -> T:
    """Return an object, or what is known of it."""
    return held.base if isinstance(held, _HOLDERS) else held


class Field(Generic[T]):
    """A field of the object that a transition is about: None where the object has none."""

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self._name = name

    def __get__(self, change: Any, owner: type[Any]) -> T | None:
        value = getattr(change._base(), self._name)
        return None if value is UNSET else cast(T, value)


class InRun:
    """What all changes of what belongs to a run, a step or a message, know of where it belongs."""

    __slots__ = ()

    if TYPE_CHECKING:
        _held: Any

        def _base(self) -> RunStep | Message: ...

    @property
    def run_id(self) -> str | None:
        """The id of the run that the step is of, or that writes the message.

        Where the server names none, it is that of the newest run of the stream; None where there is none, or where a
        user wrote the message.
        """
        return self._held.run_id or None

    @property
    def thread_id(self) -> str | None:
        """The id of its thread."""
        return self._base().thread_id or None


class OfStep(InRun):
    """What all changes of a step know of it."""

    __slots__ = ()

    if TYPE_CHECKING:

        def _base(self) -> RunStep: ...

    @property
    def step_id(self) -> str:
        """The step's id."""
        return self._base().id

    @property
    def step_type(self) -> str | None:
        """The step's type, by its own field or else by that of its details."""
        base = self._base()
        return base.type or (base.step_details and base.step_details.type) or None

    @property
    def type(self) -> str | None:
        """The step's type."""
        return self.step_type


class OfMessage(InRun):
    """What all changes of a message know of it."""

    __slots__ = ()

    if TYPE_CHECKING:

        def _base(self) -> Message: ...

    @property
    def message_id(self) -> str:
        """The message's id."""
        return self._base().id
