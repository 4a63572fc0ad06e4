"""Exceptions that are kept: their tracebacks say where they came from, and hold nothing else."""

from traceback import clear_frames
from typing import Final

MAX_CAUSES: Final = 10
"""How many causes of an exception are looked at: they may form a ring."""


def without_locals(error: Exception) -> Exception:
    """Return `error`, its tracebacks emptied of the variables of the functions that have ended.

    An exception that is kept would keep them too, and so a change or a whole stream. It was logged before, for whoever
    looks into variables.
    """
    one: BaseException | None = error
    for _ in range(MAX_CAUSES):
        if one is not None:
            clear_frames(one.__traceback__)
            one = one.__cause__ or one.__context__
    return error
