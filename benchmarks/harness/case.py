"""What a case is: a question, the rows that answer it, and the figures that are made of them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

Sample = dict[str, float]
"""What one process measured, by the names of columns, such as "µs/event"."""

Round = Mapping[str, Sample]
"""The samples of one round, by the rows' labels."""

COST: Final = "µs/event"
DELTA_COST: Final = "µs/delta"
CPU: Final = "cpu"
"""How much of the clock's time this process had a processor. Where nothing waits, the rest went to others."""


class Measurement(ABC):
    """Made in one process, run in another: its subclasses are frozen dataclasses."""

    @abstractmethod
    def __call__(self) -> Sample:
        """Measure in this process."""

    def packages(self) -> tuple[str, ...]:
        """Return the distributions whose versions matter."""
        return ()

    def missing(self) -> str:
        """Say why this cannot be measured here, or nothing."""
        return ""


@dataclass(frozen=True)
class Row:
    """One line of a case's table."""

    label: str
    measure: Measurement
    shares: str = ""
    """Rows of a case with the same name here share a process, and take turns pass by pass: they are all `Passes`."""


@dataclass(frozen=True)
class Figure:
    """A number that is made of several rows."""

    label: str
    of: Callable[[Round], float]
    """Raises `KeyError` where a row was not measured."""


@dataclass(frozen=True)
class Case:
    """One question, and the rows that answer it."""

    name: str
    question: str
    about: str
    """Sizes, and what else all rows share."""
    rows: tuple[Row, ...]
    columns: tuple[str, ...] = ("events", "events/s", COST)
    figures: tuple[Figure, ...] = ()
    repeats: int = 5


def ratio(label: str, over: str, under: str, *, of: str = COST) -> Figure:
    return Figure(label, lambda measured: measured[over][of] / measured[under][of])
