"""Publishers and workers as processes, and what happens to them: a schedule that a seed makes."""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from anyio.from_thread import BlockingPortal

from tests.support.process_host import Host, Process, lines_of
from tests.support.proxy import Proxy, proxied
from tests.support.valkey import ValkeyCluster, ValkeyProcess, until
from tests.support.worker_programs import TABLES

NAMESPACE = "test"
STEPS = 12
PLACES = {"a": ["run_1", "run_2", "run_3"], "b": ["run_4", "run_5", "run_6"], "c": ["run_7", "run_8", "run_9"]}
"""The runs of each publisher."""
RUNS = [one for runs in PLACES.values() for one in runs]
NAMES = ("x", "y", "z")
"""Those of the workers: who comes after one that was killed has another number."""


class Away(NamedTuple):
    """A process that was paused."""

    process: Process
    until: float


class Fleet:
    """Three publishers and three workers, and others in their places."""

    def __init__(self, processes: Host, folder: Path, seed: int, url_of: Callable[[str], str], lease: float) -> None:
        self.folder, self.lease = folder, lease
        self.database = folder / "effects.db"
        self._processes, self._url_of, self._chance = processes, url_of, Random(seed)
        self._backend = ("asyncio", "trio")[seed // 2 % 2]
        self._started = 0
        self._away: list[Away] = []
        self._former: list[Process] = []
        with closing(sqlite3.connect(self.database)) as connection:
            connection.executescript(f"PRAGMA journal_mode = WAL; {TABLES};")
        self.publishers = {place: self._publish(place) for place in PLACES}
        self.workers = {name: self._work(name) for name in NAMES}

    @property
    def names(self) -> list[str]:
        """What has a way of its own to the server."""
        return [*PLACES, *NAMES]

    def _publish(self, place: str) -> Process:
        told = {"runs": PLACES[place], "steps": STEPS, "pace": 0.1, "most": 3}
        return self._start("publish", place, **told, seed=self._chance.randrange(1000))

    def _work(self, name: str) -> Process:
        return self._start("work", name, database=str(self.database), lease=self.lease)

    def _start(self, program: str, place: str, **told: Any) -> Process:
        self._started += 1
        log = self.folder / f"{program} {place} {self._started}"
        told |= {"name": log.name, "url": self._url_of(place), "namespace": NAMESPACE}
        return self._processes.start(program, log=log, backend=self._backend, **told)

    def do(self, what: str) -> None:
        place, name = self._chance.choice([*PLACES]), self._chance.choice(NAMES)
        match what:
            case "kill publisher":
                self._kill(self.publishers[place])
                self.publishers[place] = self._publish(place)
            case "pause publisher":
                self._pause(self.publishers[place])
                self._former.append(self.publishers[place])
                self.publishers[place] = self._publish(place)
            case "kill worker":
                self._kill(self.workers[name])
                self.workers[name] = self._work(name)
            case "replace worker":
                if not self._is_away(self.workers[name]):
                    self.workers[name].stop()
                    self._former.append(self.workers[name])
                    self.workers[name] = self._work(name)
            case "pause worker":
                self._pause(self.workers[name])

    def _is_away(self, process: Process) -> bool:
        return any(one.process is process for one in self._away)

    def _pause(self, process: Process) -> None:
        """Pause one for longer than a lease."""
        if not self._is_away(process) and not process.has_ended():
            process.pause()
            self._away.append(Away(process, time.monotonic() + self.lease * self._chance.uniform(1.2, 2)))

    def _kill(self, process: Process) -> None:
        self._away = [one for one in self._away if one.process is not process]
        process.kill()

    def wake(self, *, all_of_them: bool = False) -> None:
        """Resume those whose time has come."""
        for one in [one for one in self._away if all_of_them or one.until <= time.monotonic()]:
            one.process.resume()
            self._away.remove(one)

    def wait_for_publishers(self, *, again: bool) -> None:
        """Wait until all that was published is there. `again`: a server was emptied, and some have ended before."""
        for one in self.publishers.values():
            one.wait(60)
        for place in PLACES if again else ():
            self._publish(place).wait(60)

    def end(self) -> None:
        """Let all end that go on."""
        for one in self.workers.values():
            one.stop()
        for one in (*self.workers.values(), *self._former):
            one.wait(30)

    def logs(self) -> dict[str, list[dict[str, Any]]]:
        """Return what was noted, by the names of the logs."""
        paths = [path for path in sorted(self.folder.iterdir()) if path.name.startswith(("work", "publish"))]
        return {path.name: lines_of(path) for path in paths}

    def effects(self) -> list[str]:
        """Return the keys of what was done."""
        with closing(sqlite3.connect(self.database)) as connection:
            return [key for (key,) in connection.execute("SELECT key FROM effects")]


class SingleServer:
    """What can happen around a single server: the network of one process is cut, all of it stands still."""

    kinds = ("cut", "cut", "pause server", "empty server")

    def __init__(self, server: ValkeyProcess, portal: BlockingPortal, stack: ExitStack) -> None:
        self._server, self._portal, self._stack = server, portal, stack
        self._proxies: dict[str, Proxy] = {}
        self.was_emptied = False

    def url_of(self, place: str) -> str:
        if place not in self._proxies:
            way = self._portal.wrap_async_context_manager(proxied(self._server.port))
            self._proxies[place] = self._stack.enter_context(way)
        return f"redis://127.0.0.1:{self._proxies[place].port}"

    @contextmanager
    def harmed(self, what: str, chance: Random) -> Iterator[None]:
        """Let something happen, and be over at the end."""
        if what == "cut":
            proxy = self._proxies[chance.choice([*self._proxies])]
            self._portal.call(proxy.cut)
            yield
            self._portal.call(proxy.mend)
        elif what == "empty server":
            self._server.ask(b"FLUSHALL")
            self.was_emptied = True
            yield
        else:
            self._server.pause()
            yield
            self._server.resume()


class Cluster:
    """What can happen around a cluster: a master is killed, replaced by its replica, and comes back."""

    kinds = ("replace master",)
    was_emptied = False

    def __init__(self, cluster: ValkeyCluster) -> None:
        self._cluster = cluster
        self._pairs = list(zip(cluster.nodes[:3], cluster.nodes[3:], strict=True))

    def url_of(self, place: str) -> str:
        return self._cluster.nodes[sum(map(ord, place)) % 6].url

    @contextmanager
    def harmed(self, what: str, chance: Random) -> Iterator[None]:
        """Kill a master; at the end it is replaced, and back."""
        number = chance.randrange(3)
        master, replica = self._pairs[number]
        self._pairs[number] = replica, master
        master.kill()
        yield
        until(lambda: b"role:master" in replica.ask(b"INFO", b"replication"))
        master.start()
        until(lambda: b"master_link_status:up" in master.ask(b"INFO", b"replication"))


HARMS: Sequence[str] = (
    *("kill publisher", "pause publisher", "kill worker", "kill worker", "replace worker"),
    *("pause worker", "pause worker"),
)


def live_through(fleet: Fleet, around: SingleServer | Cluster, seed: int, *, moments: int) -> None:
    """Let things happen, one after another, and all be well in the end."""
    chance = Random(-seed)
    for number in range(moments):
        if number == moments // 2 or (chance.random() < 0.2 and isinstance(around, SingleServer)):
            with around.harmed(chance.choice(around.kinds), chance):
                time.sleep(chance.uniform(0.3, 1.2))
                fleet.do(chance.choice(HARMS))
                fleet.wake()
        else:
            time.sleep(chance.uniform(0.1, 0.4))
            fleet.do(chance.choice(HARMS))
        fleet.wake()
    fleet.wake(all_of_them=True)
    fleet.wait_for_publishers(again=around.was_emptied)
