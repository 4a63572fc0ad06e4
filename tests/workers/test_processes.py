"""Workers that are processes, killed, paused, cut off and replaced at random. What each of them noted is checked.

All processes of a machine have one monotonic clock, so that their logs can be compared. A call may be late only where
its process lost the processor between the look at the lease and the call, and waited for nothing there: it was paused.
"""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

from stepstream import JournalGap, RedisJournal, RunTransition, StepTransition
from stepstream.journal.claiming import run_of
from stepstream.journal.redis.server import Command
from tests.support.fleets import NAMESPACE, RUNS, Cluster, Fleet, SingleServer, live_through
from tests.support.journals import told_of
from tests.support.process_host import Host, host
from tests.support.valkey import valkey, valkey_cluster
from tests.support.worker_programs import GROUP

WITHIN = 60.0
"""Seconds within which all is dealt with once nothing happens any more. It takes a lease or two."""

Line = dict[str, Any]


@pytest.fixture(scope="module")
def processes() -> Iterator[Host]:
    with host("tests.support.worker_programs") as one:
        yield one


class Expected(NamedTuple):
    """A transition that a run has."""

    position: int
    key: str


def go(processes: Host, folder: Path, seed: int, *, moments: int, lease: float, is_cluster: bool) -> None:
    """Let things happen to three publishers and three workers, and check what they noted."""
    folder.mkdir()
    with ExitStack() as stack:
        around: SingleServer | Cluster
        if is_cluster:
            around = Cluster(stack.enter_context(valkey_cluster()))
        else:
            around = SingleServer(stack.enter_context(valkey()), stack.enter_context(start_blocking_portal()), stack)
        fleet = Fleet(processes, folder, seed, around.url_of, lease)
        live_through(fleet, around, seed, moments=moments)
        expected, letters = anyio.run(wait_until_dealt_with, around.url_of("x"))
        fleet.end()
    logs = fleet.logs()
    assert [line for lines in logs.values() for line in lines if line["what"] == "failed"] == []
    assert around.was_emptied or letters == []
    assert [letter for letter in letters if b"JournalGap" not in letter.text] == []
    lost = {run_of(letter) for letter in letters}
    assert {run_id for run_id, run in expected.items() if not run} == lost
    effects = Counter(fleet.effects())
    assert set(effects.values()) <= {1}  # none where the server was emptied under all runs
    assert {one.key for run in expected.values() for one in run} <= set(effects)
    assert around.was_emptied or len(effects) == sum(map(len, expected.values()))
    for run_id in set(RUNS) - lost:
        own = {name: [line for line in lines if line.get("run") == run_id] for name, lines in logs.items()}
        check_calls(own, expected[run_id])
        check_commits(own, expected[run_id])
        check_leases(own)


async def wait_until_dealt_with(url: str) -> tuple[dict[str, list[Expected]], list[Any]]:
    """Return what should have been told of each run, once the group has said that it has dealt with all of it."""
    async with RedisJournal(url, namespace=NAMESPACE, partitions=2) as journal:
        with anyio.fail_after(WITHIN):
            for run_id in RUNS:
                while not await _is_dealt_with(journal, run_id):  # noqa: ASYNC110 - other processes are waited for
                    await anyio.sleep(0.05)
        expected = {run_id: await _transitions(journal, run_id) for run_id in RUNS}
        return expected, await journal.claims(GROUP).letters()


async def _is_dealt_with(journal: RedisJournal, run_id: str) -> bool:
    keys = journal._layout.keys(run_id)
    [status, at] = (await journal._queries.ask(run_id, [Command(b"HMGET", (keys.info, "status", f"at:{GROUP}"))]))[0]
    return status == b"ended" and at is not None and at.endswith((b" done", b" dead"))


async def _transitions(journal: RedisJournal, run_id: str) -> list[Expected]:
    told = await told_of(journal.follow(run_id))
    if isinstance(told.error, JournalGap):
        return []
    wanted = [one for one in told.changes if isinstance(one, StepTransition | RunTransition)]
    return [Expected(one.sequence, one.key) for one in wanted]


def check_calls(logs: dict[str, list[Line]], expected: list[Expected]) -> None:
    """Every transition was told at least once, and by each claim in order, from where the group was."""
    keys = [one.key for one in expected]
    lines = [line for own in logs.values() for line in own]
    assert {line["key"] for line in lines if line["what"] == "done"} == set(keys)
    claims = {line["token"]: line["position"] for line in lines if line["what"] == "claimed"}
    for token, position in claims.items():
        told = [line["key"] for line in lines if line["what"] == "began" and line["token"] == token]
        first = sum(one.position <= position for one in expected)
        assert told == keys[first : first + len(told)]


def check_commits(logs: dict[str, list[Line]], expected: list[Expected]) -> None:
    """What was said to be settled was, and nothing was taken from a worker whose run another one had by then."""
    lines = [line for own in logs.values() for line in own]
    done = {line["key"]: line["at"] for line in sorted(lines, key=_at, reverse=True) if line["what"] == "done"}
    for said in [line for line in lines if line["what"] == "said" and line["newest"] >= 0]:
        later = [one for one in lines if one["what"] == "claimed" and one["token"] > said["token"]]
        assert all(one["at"] >= said["sent"] for one in later)
        assert all(done[one.key] <= said["sent"] for one in expected if one.position <= said["position"])


def check_leases(logs: dict[str, list[Line]]) -> None:
    """No call began after the end of its lease, and none after another worker had begun with the run."""
    newest = 0
    for line in sorted((line for own in logs.values() for line in own if line["what"] == "began"), key=_at):
        is_late = line["token"] < newest or line["left"] <= 0
        newest = max(newest, line["token"])
        assert not (is_late and line["has_waited"]), line


def _at(line: Line) -> float:
    return float(line["at"])


def try_seeds(
    processes: Host, folder: Path, seeds: range, *, together: int, moments: int, lease: float, clusters: bool
) -> None:
    def attempt(seed: int) -> None:
        try:
            go(processes, folder / f"{seed}", seed, moments=moments, lease=lease, is_cluster=clusters and seed % 4 == 3)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise

    with ThreadPoolExecutor(together) as threads:
        for done in [threads.submit(attempt, seed) for seed in seeds]:
            done.result()


def test_workers_that_fail_miss_nothing_and_make_no_effect_twice(processes: Host, tmp_path: Path):
    try_seeds(processes, tmp_path, range(3), together=3, moments=3, lease=0.6, clusters=False)


@pytest.mark.slow
def test_workers_that_fail_miss_nothing_by_fifty_schedules(processes: Host, tmp_path: Path):
    try_seeds(processes, tmp_path, range(50), together=5, moments=10, lease=1.0, clusters=True)
