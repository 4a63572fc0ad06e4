"""Publishers and followers that are processes, killed and paused at random. What each of them noted is checked."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import anyio
import pytest

from stepstream import JournalGap, RedisJournal
from tests.support.journal_contract import everything, told_of
from tests.support.journal_programs import numbers_in, script
from tests.support.process_host import Host, Process, host, lines_of
from tests.support.valkey import ValkeyProcess, valkey

STEPS = 60
TOGETHER = 5
"""How many schedules go on side by side, each with a server of its own: they wait most of the time."""
RUNS = {"a": ["run_1", "run_2"], "b": ["run_3", "run_4"]}
ORPHAN = "run_5"
ALL = [one for runs in RUNS.values() for one in runs]
"""By the publisher whose place others take."""


@pytest.fixture(scope="module")
def processes() -> Iterator[Host]:
    with host("tests.support.journal_programs") as one:
        yield one


class Crew:
    """The processes of one schedule, and what is done to them."""

    def __init__(self, processes: Host, server: ValkeyProcess, folder: Path, seed: int) -> None:
        self._processes, self._server, self._folder, self._chance = processes, server, folder, Random(seed)
        self._backend = ("asyncio", "trio")[seed % 2]
        self._started = 0
        self._paused: dict[Process, None] = {}
        self.publishers = {place: self._publish(runs) for place, runs in RUNS.items()}
        self.former: list[Process] = []
        self.orphan = self._publish([ORPHAN], ends=False)
        self.followers = {name: self._follow(name) for name in ("x", "y")}
        self.was_emptied = False

    def _publish(self, runs: Sequence[str], **options: Any) -> Process:
        self._started += 1
        log = self._folder / f"publisher {self._started}"
        told = {"name": log.name, "runs": runs, "steps": STEPS, "seed": self._started, **options}
        return self._start("publish", log, **told)

    def _follow(self, name: str) -> Process:
        log = self._folder / f"follower {name}"
        return self._start("follow", log, path=str(log), runs=ALL, orphans=[ORPHAN])

    def _start(self, program: str, log: Path, **told: Any) -> Process:
        where = {"url": self._server.url, "namespace": "test"}
        return self._processes.start(program, log=log, backend=self._backend, **where, **told)

    def harm(self, kind: str) -> None:
        place, name = self._chance.choice([*RUNS]), self._chance.choice([*self.followers])
        match kind:
            case "publisher killed":
                self._kill(self.publishers[place])
                self.publishers[place] = self._publish(RUNS[place])
            case "publisher paused":
                self._pause(self.publishers[place])
                self.former.append(self.publishers[place])
                self.publishers[place] = self._publish(RUNS[place])
            case "follower killed":
                self._kill(self.followers[name])
                self.followers[name] = self._follow(name)
            case "follower paused":
                self._pause(self.followers[name])
            case "somebody wakes":
                for one in self._paused:
                    one.resume()
                self._paused.clear()
            case "connections broken":
                self._server.ask(b"CLIENT", b"KILL", b"TYPE", b"normal")
            case "server emptied":
                self._server.ask(b"FLUSHALL")
                self.was_emptied = True

    def _pause(self, one: Process) -> None:
        if not one.has_ended():
            one.pause()
            self._paused[one] = None

    def _kill(self, one: Process) -> None:
        self._paused.pop(one, None)
        one.kill()

    def finish(self) -> None:
        """Let all go on, and wait until they have ended."""
        self.harm("somebody wakes")
        for one in (*self.publishers.values(), *self.former):
            one.wait()
        if self.was_emptied:  # after the last of its writers a run has nobody who would write it again
            for one in [self._publish(runs) for runs in RUNS.values()]:
                one.wait()
        for one in self.followers.values():
            one.wait()


HARMS = ("publisher killed", "publisher paused", "follower killed", "follower paused", "somebody wakes")
RARE = ("connections broken", "server emptied")


def go(processes: Host, folder: Path, seed: int) -> None:
    """Let things happen, and check what was noted."""
    chance = Random(-seed)
    folder.mkdir()
    with valkey() as server:
        crew = Crew(processes, server, folder, seed)
        for number in range(5):
            time.sleep(chance.uniform(0.03, 0.2))
            crew.harm(chance.choice(HARMS if chance.random() < 0.8 else RARE))
            if number == 2:
                crew.orphan.kill()
        crew.finish()
        anyio.run(check_stored, server.url, crew.was_emptied)
    logs = {path.name: lines_of(path) for path in sorted(folder.iterdir())}
    assert [line for lines in logs.values() for line in lines if line["what"] == "failed"] == []
    for run_id in ALL:
        check_writing(logs, run_id, was_emptied=crew.was_emptied)
    for name in crew.followers:
        for run_id in (*ALL, ORPHAN):
            check_following(logs[f"follower {name}"], run_id, was_emptied=crew.was_emptied)


async def check_stored(url: str, was_emptied: bool) -> None:
    """Every run has ended, and is there from the first event to the last, each once, by one writer after another."""
    async with RedisJournal(url, namespace="test") as journal:
        for run_id in ALL:
            assert (await told_of(journal, run_id)).status == "ended"
            try:
                held: list[Any] = await everything(journal, run_id)
            except JournalGap:
                assert was_emptied
                continue
            assert [n for one in held for n in numbers_in(one.data)] == list(range(1, len(script(run_id, STEPS)) + 1))
            assert [one.fence for one in held] == sorted(one.fence for one in held)


def check_writing(logs: dict[str, list[dict[str, Any]]], run_id: str, *, was_emptied: bool) -> None:
    """Whoever opened the run found all that had been acknowledged before, unless the server was emptied."""
    lines = [line for lines in logs.values() for line in lines if line.get("run") == run_id]
    for opened in [line for line in lines if line["what"] == "opened"]:
        before = [one for one in lines if one["what"] == "acknowledged" and one["fence"] < opened["fence"]]
        assert was_emptied or all(one["position"] <= opened["position"] for one in before)


def check_following(lines: list[dict[str, Any]], run_id: str, *, was_emptied: bool) -> None:
    """The run came in order and without a hole, to its end; from its beginning again after each gap."""
    position, fence, is_lost, ends = 0, 0, False, list[int]()
    for line in [line for line in lines if line.get("run") == run_id]:
        match line["what"]:
            case "got":
                assert line["numbers"] == list(range(position + 1, position + 1 + len(line["numbers"])))
                assert line["fence"] >= fence
                position, fence = line["numbers"][-1], line["fence"]
            case "gap":
                assert was_emptied
                position = fence = 0
            case "lost":
                is_lost = True
            case "ended":
                ends.append(line["position"])
    assert len(ends) + is_lost == 1
    if ends:
        assert ends[0] == position
    if run_id != ORPHAN and not is_lost:
        assert position == len(script(run_id, STEPS))


def test_what_is_acknowledged_outlives_processes_that_are_killed_and_paused(processes: Host, tmp_path: Path):
    try_seeds(processes, tmp_path, range(5))


@pytest.mark.slow
def test_what_is_acknowledged_outlives_processes_by_fifty_schedules(processes: Host, tmp_path: Path):
    try_seeds(processes, tmp_path, range(50))


def try_seeds(processes: Host, folder: Path, seeds: range) -> None:
    def attempt(seed: int) -> None:
        try:
            go(processes, folder / f"{seed}", seed)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise

    with ThreadPoolExecutor(TOGETHER) as threads:
        for done in [threads.submit(attempt, seed) for seed in seeds]:
            done.result()
