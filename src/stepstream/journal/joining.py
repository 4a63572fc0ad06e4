"""Packs that follow each other, joined: those of a run that was published live have an event or two each."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from stepstream.errors import JournalGap
from stepstream.live.journal import Held, Pack


async def leave(pieces: AsyncIterator[Held] | None) -> None:
    """Close an iterator that is not read to its end."""
    close: Any = getattr(pieces, "aclose", None)
    if close is not None:
        await close()


async def in_larger(pieces: AsyncIterator[Held], size: int) -> AsyncGenerator[Held]:
    """Yield what there is, small packs joined to such of `size` bytes and more: what is done for each is done for
    fewer. One as large as that is not copied. What was read before an error is given before it."""
    packs: list[Pack] = []
    joined, failure = 0, None
    try:
        async for held in pieces:
            small = held if isinstance(held, Pack) and held.size < size else None
            if packs and not (small is not None and joined < size and _goes_on(packs[-1], small)):
                yield _as_one(packs)
                packs, joined = [], 0
            if small is not None:
                packs.append(small)
                joined += small.size
            else:
                yield held
    except JournalGap:
        if not packs:  # else who reads on meets it, or the checkpoint that stands there by then
            raise
    except Exception as exc:  # noqa: BLE001 - raised once what was read is given
        failure = exc
    finally:
        await leave(pieces)
    if packs:
        yield _as_one(packs)
    if failure is not None:
        raise failure


def _goes_on(pack: Pack, held: Pack) -> bool:
    """Return whether a pack is by the same writer and comes right after another."""
    return held.fence == pack.fence and held.first == pack.last + 1


def _as_one(packs: list[Pack]) -> Pack:
    first = packs[0]
    if len(packs) == 1:
        return first
    return Pack(first.fence, first.first, sum([pack.count for pack in packs]), *[pack.data for pack in packs])
