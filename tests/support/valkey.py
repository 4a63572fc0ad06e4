"""A real server for tests, on a free port of loopback: it can be killed, paused and brought back."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from random import SystemRandom
from tempfile import TemporaryDirectory

from stepstream.journal.redis.embedded import EmbeddedServer, started

_NUMBERS = count(1)
_CHANCE = SystemRandom()  # no test's own: several processes look for ports at once


def quiet_port() -> int:
    """Return a free port that the system gives to nobody: it is free when the server comes back to it, as is the one
    10,000 above, which a cluster needs."""
    while True:
        port = _CHANCE.randrange(10_000, 22_000)
        try:
            for one in (port, port + 10_000):
                with socket.create_server(("127.0.0.1", one)):
                    pass
        except OSError:
            continue
        return port


class ValkeyProcess(EmbeddedServer):
    """A server that can be killed, paused and brought back."""

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(folder, *options)
        self.port = quiet_port()

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
        super().kill()

    def pause(self) -> None:
        """Let it do nothing until it is resumed."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


@contextmanager
def valkey(*options: str) -> Iterator[ValkeyProcess]:
    """Give a server of one's own."""
    with TemporaryDirectory(prefix="valkey-") as folder:
        server = started(lambda: ValkeyProcess(Path(folder), *options))
        try:
            yield server
        finally:
            server.kill()


class ValkeyCluster:
    """Three masters with a replica each: `nodes` are the masters, then the replicas."""

    def __init__(self, nodes: Sequence[ValkeyProcess]) -> None:
        self.nodes = nodes

    @property
    def url(self) -> str:
        return self.nodes[0].url

    def join(self) -> None:
        """Make one cluster of the nodes, and wait until it serves."""
        ids = [node.ask(b"CLUSTER", b"MYID").split(b"\r\n")[1] for node in self.nodes]
        for number, node in enumerate(self.nodes):
            node.ask(b"CLUSTER", b"SET-CONFIG-EPOCH", b"%d" % (number + 1))
            node.ask(b"CLUSTER", b"MEET", b"127.0.0.1", b"%d" % self.nodes[0].port)
        for number, (first, last) in enumerate([(0, 5460), (5461, 10922), (10923, 16383)]):
            self.nodes[number].ask(b"CLUSTER", b"ADDSLOTSRANGE", b"%d" % first, b"%d" % last)
        until(lambda: all(node.ask(b"CLUSTER", b"NODES").count(b"127.0.0.1") == 6 for node in self.nodes))
        for number in range(3):
            until(lambda n=number: self.nodes[n + 3].ask(b"CLUSTER", b"REPLICATE", ids[n]).startswith(b"+OK"))
        until(lambda: all(b"cluster_state:ok" in node.ask(b"CLUSTER", b"INFO") for node in self.nodes))
        until(lambda: all(b"master_link_status:up" in node.ask(b"INFO", b"replication") for node in self.nodes[3:]))

    def master_of(self, key: str) -> ValkeyProcess:
        """Return the node that serves a key."""
        slot = self.nodes[0].ask(b"CLUSTER", b"KEYSLOT", key.encode())[1:].strip()
        return self.nodes[sum(int(slot) >= first for first in (5461, 10923))]


def until(is_so: Callable[[], bool], limit: float = 20) -> None:
    """Return when something is so on servers."""
    end = time.monotonic() + limit
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


@contextmanager
def valkey_cluster() -> Iterator[ValkeyCluster]:
    """Give a cluster of one's own."""
    options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--repl-diskless-sync-delay", "0"]
    with ExitStack() as stack:
        cluster = ValkeyCluster([stack.enter_context(valkey(*options)) for _ in range(6)])
        cluster.join()
        yield cluster


def fresh_namespace() -> str:
    """Return a name under which no server has anything yet."""
    return f"test{os.getpid()}-{next(_NUMBERS)}"
