"""The base of all objects on the wire: nulls distinguished from absent fields, a `repr` without content, times."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

T = TypeVar("T")

Maybe: TypeAlias = T | UnsetType | None
"""A field as the server sent it: a value, an explicit null (None), or not there at all (UNSET, which is falsy)."""

Integer: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""A JSON integer of at most 64 bits, which all that it may be handed on to can hold."""

Number: TypeAlias = int | float
"""A JSON number, kept as it was written."""

MAX_SECONDS: Final = 10**11
"""Where a time is a larger number, it is one of milliseconds: as seconds, it would be after the year 5000."""

Seconds: TypeAlias = Annotated[int, Meta(le=MAX_SECONDS)] | Annotated[float, Meta(le=float(MAX_SECONDS))]
"""Unix seconds. Most servers send integers, some send floats."""


class WireObject(msgspec.Struct, frozen=True, gc=False, repr_omit_defaults=True):
    """An object of the API, immutable and equal by value. Encoding it gives the wire object back.

    Its `repr` names the object and leaves out its content, so that prompts and outputs do not reach logs.
    """

    def __repr__(self) -> str:
        known = (getattr(self, name, UNSET) for name in ("index", "id", "type", "status"))
        return f"<{' '.join([type(self).__name__, *(str(value) for value in known if isinstance(value, str | int))])}>"


class Unknown(dict[str, Any]):
    """An object whose `type` this version does not know: its JSON as it came, not to be mutated."""

    __slots__ = ()

    @property
    def id(self) -> str | None:
        """Its id, where it has one."""
        return _text(self.get("id"))

    @property
    def type(self) -> str | None:
        """Its type, where it has one."""
        return _text(self.get("type"))

    @property
    def tool_name(self) -> str | None:
        """Its name, where it has one: of an unknown tool call, the tool's."""
        return _text(self.get("name"))

    @property
    def tool_calls(self) -> tuple[()]:
        """No calls: as an action that a run waits for, it asks for none that could be answered."""
        return ()

    def __repr__(self) -> str:
        return f"<Unknown {self.type} {len(self)} keys>"


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def moment(seconds: Maybe[Seconds]) -> datetime | None:
    """Return Unix seconds as an aware UTC datetime; None for None, UNSET and what no datetime can hold."""
    if seconds is None or isinstance(seconds, UnsetType):
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def span(start: datetime | None, end: datetime | None) -> timedelta | None:
    """Return the time from `start` to `end`, or None where one is not known."""
    return None if start is None or end is None else end - start
