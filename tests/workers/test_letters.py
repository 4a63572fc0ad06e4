"""Dead letters: what is in them, and what becomes of one that is sent again."""

from typing import Any

import anyio
import pytest

from stepstream import MessageProgress, Processor, RunTransition, decode_change
from stepstream.journal.claiming import Claim
from stepstream.workers import dead_letters as letters_module
from stepstream.workers import working
from tests.support.tables import each_row
from tests.support.valkey import ValkeyProcess
from tests.support.worked_runs import (
    SOON,
    Noting,
    at_work,
    claimed_once,
    dead_letters,
    journal_on,
    published,
    until,
)


def failing(change: Any) -> None:
    raise ValueError("secret")


async def failed(journal: Any, *classes: Any, count: int = 1, words: int = 2) -> list[Any]:
    """Let a subscriber `Noting` fail at each change, and return the dead letters."""
    await published(journal, "run_1", words=words)
    processor = Processor()
    processor.add(classes, Noting(failing))
    async with at_work(journal, processor) as workers:
        await until(lambda: workers.dead_letters == count and not workers.owned)
    return await dead_letters(journal)


def gone(journal: Any, server: ValkeyProcess) -> None:
    server.ask(b"DEL", *[key.encode() for key in journal._layout.keys("run_1")[:3]])


async def test_letter_says_what_failed_and_nothing_of_the_text_of_the_exception(server: ValkeyProcess):
    async with journal_on(server) as journal:
        letter = (await failed(journal, RunTransition, count=3))[0]
    assert (letter.run_id, letter.subscriber, letter.key) == ("run_1", "Noting", "run_1/run/queued")
    assert (letter.reason, letter.position, letter.is_whole) == ("ValueError", 1, False)
    assert decode_change(bytes(letter.change)).key == letter.key


@each_row("classes", [(RunTransition,), (MessageProgress,)])
async def test_change_is_sent_again_from_the_letter_where_its_run_is_gone(server: ValkeyProcess, classes: Any):
    note = Noting()
    async with journal_on(server) as journal:
        first, *_ = await failed(journal, *classes, count=3 if classes == (RunTransition,) else 2)
        gone(journal, server)
        processor = Processor()
        processor.add(classes, note)
        async with at_work(journal, processor, lease=0.6) as workers:
            assert await journal.claims("bots").resend(first.id, "run_1", is_whole=False)
            await until(lambda: note.keys and not workers.owned)
        assert first.id not in [letter.id for letter in await dead_letters(journal)]
    assert note.keys == [first.key]


async def test_letter_that_nobody_here_is_named_for_stays_and_says_so(server: ValkeyProcess):
    async def other(change: Any) -> None:
        raise AssertionError

    async with journal_on(server) as journal:
        first, *_ = await failed(journal, RunTransition, count=3)
        processor = Processor()
        processor.add(RunTransition, other)
        async with at_work(journal, processor) as workers:
            for _ in range(2):  # the reason is said once
                assert await journal.claims("bots").resend(first.id, "run_1", is_whole=False)
                await until_reason(journal, first.id, "ValueError (no subscriber of this name takes it here)")
                await until(lambda: not workers.owned)


async def until_reason(journal: Any, letter_id: str, reason: str) -> None:
    """Return when a letter has a reason."""
    with anyio.fail_after(SOON):
        while {letter.id: letter.reason for letter in await dead_letters(journal)}[letter_id] != reason:
            pass  # each look asks the server


async def test_large_change_is_left_out_of_its_letter_and_found_in_its_run(
    server: ValkeyProcess, monkeypatch: pytest.MonkeyPatch
):
    note = Noting()
    monkeypatch.setattr(working, "MAX_CHANGE", 10)
    async with journal_on(server) as journal:
        first, *rest = await failed(journal, RunTransition, count=3)
        assert [bytes(letter.change) for letter in (first, *rest)] == [b"null"] * 3
        processor = Processor()
        processor.add(RunTransition, note)
        async with at_work(journal, processor, lease=0.6) as workers:
            assert await journal.claims("bots").resend(first.id, "run_1", is_whole=False)
            await until(lambda: note.keys and not workers.owned)
            gone(journal, server)
            assert await journal.claims("bots").resend(rest[0].id, "run_1", is_whole=False)
            reason = "ValueError (its run is gone, and it was too large to be kept)"
            await until_reason(journal, rest[0].id, reason)
    assert note.keys == [first.key]


async def test_while_many_letters_wait_changes_are_left_out(server: ValkeyProcess, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(working, "MAX_UNSAID", 1)
    async with journal_on(server) as journal:
        found = await failed(journal, RunTransition, count=3)
    assert len([letter for letter in found if bytes(letter.change) == b"null"]) == 2


async def test_letter_whose_workers_die_is_left_alone(server: ValkeyProcess):
    note = Noting()
    async with journal_on(server, partitions=1) as journal:
        first, *_ = await failed(journal, RunTransition, count=3)
        [part] = journal.claims("bots").parts
        assert await journal.claims("bots").resend(first.id, "run_1", is_whole=False)
        claims: list[Claim] = [await claimed_once(part, f"dead {number}") for number in range(3)]
        processor = Processor()
        processor.add(RunTransition, note)
        async with at_work(journal, processor, max_takeovers=2, lease=1.5):
            await until_reason(journal, first.id, "ValueError (the workers that had it again died)")
    assert [claim.takeovers for claim in claims] == [0, 1, 2]
    assert note.keys == []


async def test_run_that_is_gone_is_not_sent_again(server: ValkeyProcess):
    async with journal_on(server) as journal:
        first, *_ = await failed(journal, RunTransition, count=3)
        gone(journal, server)
        assert await journal.claims("bots").resend(first.id, "run_1", is_whole=True) is None


def test_reason_of_an_exception_of_others_is_its_type():
    assert letters_module.reason_of(ValueError("secret")) == "ValueError"
