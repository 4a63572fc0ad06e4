"""What several workers are worth: their throughput, and how soon one takes over from another."""

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.support.process_host import Host, Process, host, lines_of
from tests.support.valkey import ValkeyProcess, fresh_namespace, until

STEPS = 30
RUNS = [f"run_{number}" for number in range(16)]
CALLS = len(RUNS) * (2 * STEPS + 3)


@pytest.fixture(scope="module")
def processes() -> Iterator[Host]:
    with host("tests.support.worker_programs") as one:
        yield one


def noted(process: Process, what: str) -> list[dict[str, Any]]:
    return [line for line in lines_of(process.log) if line["what"] == what]


@pytest.mark.slow
@pytest.mark.alone
def test_run_of_a_worker_that_was_killed_is_taken_over_within_twice_the_lease(
    processes: Host, server: ValkeyProcess, tmp_path: Path
):
    lease, told = 1.0, {"url": server.url, "namespace": fresh_namespace()}
    processes.start("publish", log=tmp_path / "publisher", **told, name="p", runs=["run_1"], steps=1, ends=False)
    workers = [
        processes.start("toil", log=tmp_path / name, **told, name=name, lease=lease, max_runs=1) for name in ("x", "y")
    ]
    until(lambda: any(noted(one, "claimed") for one in workers))
    [owner, other] = sorted(workers, key=lambda one: not noted(one, "claimed"))
    killed = time.monotonic()
    owner.kill()
    until(lambda: noted(other, "claimed"))
    [claimed] = noted(other, "claimed")
    assert claimed["takeover"]
    assert claimed["at"] - killed < 2 * lease


def throughput(processes: Host, url: str, folder: Path, count: int) -> float:
    """Return how many calls a second some workers make together."""
    folder.mkdir(parents=True)
    told = {"url": url, "namespace": fresh_namespace()}
    processes.start("publish", log=folder / "p", **told, name="p", runs=RUNS, steps=STEPS, pace=0.001).wait()
    workers = [
        processes.start("toil", log=folder / f"{number}", **told, name=f"{number}", lease=5, max_runs=4)
        for number in range(count)
    ]
    until(lambda: sum(len(noted(one, "done")) for one in workers) == CALLS)
    at = sorted(line["at"] for one in workers for line in noted(one, "done"))
    for one in workers:
        one.kill()
    return CALLS / (at[-1] - at[0])


@pytest.mark.slow
@pytest.mark.alone
def test_two_workers_do_nearly_twice_as_much_as_one(processes: Host, server: ValkeyProcess, tmp_path: Path):
    ratios = list[float]()
    for turn in range(3):
        one, two = [throughput(processes, server.url, tmp_path / f"{turn} {count}", count) for count in (1, 2)]
        ratios.append(two / one)
    assert median(ratios) >= 1.7, ratios
