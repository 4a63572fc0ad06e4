"""Functions as people write them for models: every way in which a parameter is declared."""

import dataclasses
import datetime as dt
import decimal
import enum
import functools
import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, Optional, TypeVar

import annotated_types
import anyio.lowlevel
import msgspec
import pydantic
from typing_extensions import Doc, TypedDict

from stepstream import ToolContext

T = TypeVar("T")


class Tide(enum.Enum):
    LOW = "low"
    HIGH = "high"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Place(msgspec.Struct):
    name: str
    depth: float | None = None


class Route(msgspec.Struct):
    start: Place
    stops: list[Place] = []


class Node(msgspec.Struct):
    value: int
    next: Optional["Node"] = None


class Sail(msgspec.Struct, tag="sail"):
    area: float


class Motor(msgspec.Struct, tag="motor"):
    power: int


@dataclasses.dataclass
class Berth:
    number: Annotated[int, Doc("the number on the quay")]
    side: Literal["port", "starboard"] = "port"


class Cargo(TypedDict):
    tons: float
    goods: NotRequired[str]


class Point(NamedTuple):
    x: float
    y: float


class Trip(pydantic.BaseModel):
    place: str
    nights: int = pydantic.Field(default=1, ge=1, description="how many nights")


class Guest(pydantic.BaseModel):
    name: str
    trips: list[Trip] = []


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    tricks: list[str] = []


class Crew(pydantic.BaseModel, Generic[T]):
    members: list[T]


@pydantic.dataclasses.dataclass
class Anchor:
    weight: pydantic.PositiveFloat


@dataclasses.dataclass
class Party:
    """A class of the standard library with a model of pydantic in it."""

    guest: Guest
    size: int = 1


class Boat:
    def __init__(self, name: str) -> None:
        self.name = name

    def sail(self, to: str) -> str:
        return f"{self.name} to {to}"

    @classmethod
    def named(cls, name: str) -> str:
        return cls(name).name

    @staticmethod
    def knots(speed: float) -> float:
        return speed * 2

    async def __call__(self, hours: int) -> int:
        await anyio.lowlevel.checkpoint()
        return hours


# Plain types


def nothing() -> None: ...
def text(a: str) -> str:
    return a


def whole(a: int) -> int:
    return a


def number(a: float) -> float:
    return a


def flag(a: bool) -> bool:
    return a


def anything(a, b=2):
    return [a, b]


def json_value(a: Any) -> Any:
    return a


def several(a: list[str]) -> list[str]:
    return a


def untyped_list(a: list) -> list:
    return a


def mapping(a: dict[str, int]) -> dict[str, int]:
    return a


def abstract(a: Sequence[int], b: Mapping[str, int]) -> list[object]:
    return [a, b]


def pair(a: tuple[int, str]) -> tuple[int, str]:
    return a


def unique(a: set[int]) -> int:
    return len(a)


def raw(a: bytes) -> bytes:
    return a


def day(a: dt.date) -> dt.date:
    return a


def moment(a: dt.datetime) -> dt.datetime:
    return a


def span(a: dt.timedelta) -> dt.timedelta:
    return a


def exact(a: decimal.Decimal) -> decimal.Decimal:
    return a


def identity(a: uuid.UUID) -> uuid.UUID:
    return a


# Choices


def optional(a: int | None = None) -> int | None:
    return a


def or_none(a: str | None) -> str | None:
    return a


def either(a: int | str) -> object:
    return a


def old_union(a: int | list[int] | None = 3) -> object:
    return a


def literal(a: Literal["low", "high"] = "low") -> str:
    return a


def mixed_literal(a: Literal[1, "one", None]) -> object:  # noqa: PYI061 - people write it
    return a


def choice(a: Tide = Tide.LOW) -> Tide:
    return a


def size(a: Size) -> Size:
    return a


def tagged(a: Sail | Motor) -> str:
    return type(a).__name__


# Defaults


def defaults(a: str, b: int = 2, *, c: float = 0.5, d: list[int] | None = None) -> list[object]:
    return [a, b, c, d]


def no_json_default(a: int, key: Any = dataclasses.MISSING) -> bool:
    return key is dataclasses.MISSING


def keyword_only(*, a: int) -> int:
    return a


def positional_only(a: int, b: int = 2, /, c: int = 3) -> list[int]:
    return [a, b, c]


# What stands beside a type


def meta(a: Annotated[str, msgspec.Meta(description="a harbour", min_length=2)]) -> str:
    return a


def doc(a: Annotated[str, Doc("a harbour")]) -> str:
    return a


def worded(a: Annotated[int, "how many nights"] = 1) -> int:
    return a


def limits(a: Annotated[int, annotated_types.Ge(1), annotated_types.Lt(10)]) -> int:
    return a


def length(a: Annotated[list[int], annotated_types.Len(1, 2)]) -> list[int]:
    return a


def limit_or_none(a: Annotated[int | None, annotated_types.Gt(0)] = None) -> int | None:
    return a


def inner(a: list[Annotated[int, annotated_types.Ge(1), Doc("a depth")]]) -> list[int]:
    return a


def field(a: Annotated[str, pydantic.Field(description="a harbour", min_length=2)]) -> str:
    return a


def field_default(a: str = pydantic.Field("N4", description="a harbour"), b: int = pydantic.Field(ge=1)) -> str:
    return a * b


def positive(a: pydantic.PositiveInt) -> int:
    return a


def validated(a: Annotated[str, pydantic.AfterValidator(str.upper)]) -> str:
    return a


def address(a: pydantic.HttpUrl) -> str:
    return str(a)


# Objects


def struct(a: Place) -> Place:
    return a


def nested(a: Route, b: Place | None = None) -> list[object]:
    return [a, b]


def recursive(a: Node) -> Node:
    return a


def plain_dataclass(a: Berth) -> list[object]:
    return [a.number, a.side]


def typed_dict(a: Cargo) -> Cargo:
    return a


def named_tuple(a: Point) -> Point:
    return a


def model(a: Trip) -> Trip:
    return a


def models(a: list[Guest], b: Trip | None = None) -> list[object]:
    return [a, b]


def discriminated(a: Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]) -> object:
    return a


def generic(a: Crew[int]) -> Crew[int]:
    return a


def pydantic_dataclass(a: Anchor) -> Anchor:
    return a


def mixed(a: Party, b: Place) -> list[object]:
    return [a, b]


# Functions of other kinds


async def asynchronous(a: int) -> int:
    await anyio.lowlevel.checkpoint()
    return a


def with_context(a: int, context: ToolContext) -> list[object]:
    return [a, context.call_id]


@functools.wraps(defaults)
def wrapped(*args: Any, **named: Any) -> object:
    return defaults(*args, **named)
