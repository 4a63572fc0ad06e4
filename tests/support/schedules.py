"""Random schedules, tried one seed after another."""

from collections.abc import Awaitable, Callable, Iterable


async def try_each(seeds: Iterable[int], go: Callable[[int], Awaitable[object]]) -> None:
    """Go through the schedule of each seed; a failure names its seed."""
    for seed in seeds:
        try:
            await go(seed)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
