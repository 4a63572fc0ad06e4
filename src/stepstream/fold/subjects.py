"""What a change is about: a step, a message or a run, or what a line told of one.

A change holds the object itself, and in progress what builds it. A change that was read back from a line may hold only
a `Reference`: then what the line said is known, and asking for the object raises `LookupError`.
"""

from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import msgspec
from msgspec import UNSET

from stepstream.wire.messages import Message
from stepstream.wire.objects import RunStep

T = TypeVar("T")


class Reference(msgspec.Struct, Generic[T], frozen=True):
    """An object that a decoded line did not hold: `base` has only what the line said of it."""

    base: T

    def snapshot(self) -> T:
        """Raise `LookupError`: the object is not there."""
        raise LookupError("the change was read from a line without its object: write it with snapshot=True")


def whole(held: T | Reference[T]) -> T:
    """Return an object. Raises `LookupError` where there is only a reference to it."""
    return held.snapshot() if isinstance(held, Reference) else held


def known(held: T | Reference[T]) -> T:
    """Return an object, or what is known of it."""
    return held.base if isinstance(held, Reference) else held


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

        def _base(self) -> RunStep | Message: ...

    @property
    def run_id(self) -> str | None:
        """The id of the run that the step is of, or that writes the message; None where none is named."""
        return self._base().run_id or None

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
