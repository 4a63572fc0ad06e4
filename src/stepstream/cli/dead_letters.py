"""`stepstream dead-letters`: what a group could not deal with. It is listed, sent again, or dropped."""

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from stepstream.cli.journal_source import journal_at
from stepstream.cli.output import write_error, write_line, write_object
from stepstream.workers.dead_letters import DeadLetter, read

COLUMNS = ("id", "time", "run_id", "subscriber", "key", "position", "reason")
WIDEST = 40
"""Characters of a column in a table, but for the last."""


async def dead_letters(action: str, ids: Sequence[str], *, journal: str, group: str) -> int:
    """List the dead letters of a group, or send again or drop those of `ids`. Return 1 where one was not there, or the
    group itself.

    Raises:
        JournalFailed: the server does not answer.
    """
    async with journal_at(journal) as opened:
        claims = opened.claims(group)
        letters = sorted(map(read, await claims.letters()), key=lambda one: (one.time, one.id))
        if not letters and not await claims.is_known():
            write_error(f"there is no group {group} in this journal")
            return 1
        known = {one.id: one for one in letters}
        if action == "list":
            _list([one for one in letters if not ids or one.id in ids])
            missing = [one for one in ids if one not in known]
            for one in missing:
                write_error(f"there is no dead letter {one}")
            return 1 if missing else 0
        done = [await _changed(claims, action, known.get(one), one) for one in ids]
    return 0 if all(done) else 1


async def _changed(claims: Any, action: str, letter: DeadLetter | None, letter_id: str) -> bool:
    """Drop a letter, or send it again. Return whether that was done: why not is written."""
    done: bool | None = False
    if letter is not None and action == "drop":
        done = await claims.drop(letter_id)
    elif letter is not None:
        done = await claims.resend(letter_id, letter.run_id, is_whole=letter.is_whole)
    if not done:
        what = "there is no" if done is False else "its run is gone, of"
        write_error(f"{what} dead letter {letter_id}")
    return bool(done)


def _list(letters: Iterable[DeadLetter]) -> None:
    """Write a table on a terminal, else a line of JSON a letter."""
    if not sys.stdout.isatty():
        for letter in letters:
            write_object(letter)
        return
    rows = [COLUMNS, *map(_row, letters)]
    widths = [min(max(map(len, column)), WIDEST) for column in zip(*rows, strict=True)]
    for row in rows:
        *cells, last = row
        fitted = [_fitted(cell, width) for cell, width in zip(cells, widths, strict=False)]
        write_line("  ".join([*fitted, last]))


def _row(letter: DeadLetter) -> tuple[str, ...]:
    time = datetime.fromtimestamp(letter.time, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return letter.id, time, letter.run_id, letter.subscriber, letter.key, str(letter.position), letter.reason


def _fitted(text: str, width: int) -> str:
    return text.ljust(width) if len(text) <= width else f"{text[: width - 1]}…"
