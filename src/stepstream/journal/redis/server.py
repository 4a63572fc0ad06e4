"""Connections to the servers of a journal, single or cluster. What they raise is `JournalFailed`, and nothing else.

A connection belongs to a `Link`, which makes it when it is first used, and a fresh one after each failure: one that was
late with an answer is not used again. In a cluster a link asks the nodes it knows who serves its slot, each time.
"""

import hashlib
import ssl
from collections.abc import Sequence
from importlib.util import find_spec
from random import random
from typing import Any, Final, NamedTuple, cast
from urllib.parse import unquote, urlsplit

import anyio
from anyio.abc import TaskGroup, TaskStatus

from stepstream.errors import JournalFailed
from stepstream.journal.redis import checkpoint_scripts, claim_scripts, scripts
from stepstream.journal.redis.replies import accepted, useful

COMMAND_LIMIT: Final = 5.0
"""Seconds within which a server answers, or is given up."""

CONNECT_LIMIT: Final = 3.0


class Command(NamedTuple):
    """What is asked of a server, as coredis reads it."""

    name: bytes
    serialized_arguments: tuple[Any, ...]
    decode: bool = False


class Address:
    """Where the servers are, and who we are there. Its repr has no secret."""

    def __init__(self, url: str, password: str | None, ssl_context: ssl.SSLContext | None) -> None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port or 6379
        except ValueError:  # its text quotes what may be a part of a password
            host = None
        if host is None or parts.scheme not in ("redis", "rediss"):
            raise ValueError("expected redis://[user[:password]@]host[:port][/db] or rediss://…, got another text")
        self.nodes = [(host, port)]
        """Hosts and ports; in a cluster all that are known."""
        try:
            self.database = int(parts.path.strip("/") or 0)
        except ValueError:
            raise ValueError("expected a number of a database as the path of the URL, got another text") from None
        self.username = unquote(parts.username) if parts.username else None
        self._password = unquote(parts.password) if parts.password else password
        if parts.scheme == "rediss" and ssl_context is None:
            ssl_context = ssl.create_default_context()
        self.ssl_context = ssl_context

    def __repr__(self) -> str:
        return ", ".join(f"{host}:{port}" for host, port in self.nodes)

    def options(self) -> dict[str, Any]:
        """Return what a connection is made with."""
        return {
            "username": self.username or ("default" if self._password else None),
            "password": self._password,
            "db": self.database or None,
            "stream_timeout": COMMAND_LIMIT,
        }


class Servers:
    """The servers of a journal. Its connections live in `group`."""

    def __init__(self, address: Address, group: TaskGroup) -> None:
        if find_spec("coredis") is None:
            raise ImportError("RedisJournal needs coredis: pip install 'stepstream[redis]'")
        self.address = address
        self.is_cluster = False
        self._group = group

    async def begin(self) -> None:
        """Ask what kind of server it is.

        Raises:
            JournalFailed: it does not answer.
        """
        [told] = await Link(self, "").ask([Command(b"HELLO", ())])
        self.is_cluster = told.get(b"mode") == b"cluster"

    async def connect(self, slot_key: str) -> Any:
        """Return a connection to the server of a key that has our scripts. It is to be invalidated.

        Raises:
            JournalFailed: there is none.
        """
        if not self.is_cluster:
            return await self._connect(*self.address.nodes[0])
        failure: JournalFailed | None = None
        for host, port in list(self.address.nodes):
            try:
                master = await self._master(host, port, slot_key)
                if master is not None:
                    return await self._connect(*master)
            except JournalFailed as exc:
                failure = exc
        raise failure or JournalFailed(f"no server of {self.address} serves a part of the journal")

    async def _master(self, host: str, port: int, slot_key: str) -> tuple[str, int] | None:
        """Return where a key is, as a node says."""
        connection = await self._connect(host, port)
        try:
            asked = [Command(b"CLUSTER SLOTS", ()), Command(b"CLUSTER KEYSLOT", (slot_key,))]
            ranges, slot = await self._told(connection, asked)
        finally:
            connection.invalidate()
        nodes = [(node[0].decode() or host, node[1]) for one in ranges for node in one[2:]]
        self.address.nodes = list(dict.fromkeys([*nodes, *self.address.nodes]))
        found = [one[2] for one in ranges if one[0] <= slot <= one[1]]
        return (found[0][0].decode() or host, found[0][1]) if found else None

    async def _connect(self, host: str, port: int) -> Any:
        from stepstream.journal.redis.connection import Connection, RedisError, connected, refusal_of

        try:
            stream = await connected(host, port, self.address.ssl_context, CONNECT_LIMIT)
        except OSError as exc:
            raise JournalFailed(f"no connection to {host}:{port}") from exc
        connection = Connection(stream, host, port, **self.address.options())

        async def live(*, task_status: TaskStatus[RedisError | None]) -> None:
            try:
                await connection.run(task_status=cast(TaskStatus[None], task_status))
            except RedisError as exc:
                task_status.started(exc)

        refused = await self._group.start(live)
        if refused is not None:
            raise JournalFailed(f"the server at {host}:{port} {refusal_of(refused)}") from refused
        await self._told(connection, [Command(b"SCRIPT LOAD", (text,)) for text in _SHAS])
        return connection

    async def _told(self, connection: Any, commands: Sequence[Command]) -> list[Any]:
        """Return the answers over a new connection, which is given up where there are none, or one is refused."""
        from stepstream.journal.redis.connection import RedisError

        try:
            answers = useful(await connection.create_request_batch(commands), self.address)
            return accepted(answers, self.address)
        except (RedisError, JournalFailed) as exc:
            connection.invalidate()
            if isinstance(exc, JournalFailed):
                raise
            raise JournalFailed(f"the connection to {self.address} broke") from exc


class Link:
    """A connection to the server of a key, made anew where it broke."""

    def __init__(self, servers: Servers, slot_key: str) -> None:
        self._servers = servers
        self._slot_key = slot_key
        self._connection: Any = None
        self._lock = anyio.Lock()

    async def call(self, commands: Sequence[Command], more: float = 0) -> list[Any]:
        """Return the answers to commands, which may be what the server refused them with.

        Raises:
            JournalFailed: there are none within `COMMAND_LIMIT` and `more` seconds, or it cannot serve any now.
        """
        return self.useful(await self.replies(commands, more))

    async def replies(self, commands: Sequence[Command], more: float = 0) -> list[Any]:
        """Return whatever the server replies to commands.

        Raises:
            JournalFailed: nothing within `COMMAND_LIMIT` and `more` seconds.
        """
        from stepstream.journal.redis.connection import RedisError

        connection = self._connection
        if connection is None or not connection.usable:
            connection = await self._connected()
        try:
            batch = connection.create_request_batch(commands, timeout=COMMAND_LIMIT + more)
            batch.disconnect_on_cancellation = False  # others ask over it too: the answer comes, and nobody takes it
            found: list[Any] = await batch
            return found
        except RedisError as exc:
            connection.invalidate()
            raise JournalFailed(f"the connection to {self._servers.address} broke") from exc

    def useful(self, replies: list[Any]) -> list[Any]:
        """Return replies. Where one says that the server cannot serve now, the next question is asked anew.

        Raises:
            JournalFailed: one does.
        """
        try:
            return useful(replies, self._servers.address)
        except JournalFailed:
            self._connection.invalidate()
            raise

    async def _connected(self) -> Any:
        async with self._lock:
            if self._connection is None or not self._connection.usable:
                self._connection = await self._servers.connect(self._slot_key)
            return self._connection

    async def ask(self, commands: Sequence[Command], more: float = 0) -> list[Any]:
        """Return the answers to commands.

        Raises:
            JournalFailed: as `call` does, or it refuses one.
        """
        return self.accepted(await self.replies(commands, more))

    def accepted(self, replies: list[Any]) -> list[Any]:
        """Return replies, all of which are answers.

        Raises:
            JournalFailed: one is none.
        """
        return accepted(self.useful(replies), self._servers.address)


def script(text: str, keys: Sequence[str], *arguments: Any) -> Command:
    """Return the command that runs a script."""
    return Command(b"EVALSHA", (_SHAS[text], len(keys), *keys, *arguments))


def delay_after(failures: int, chance: float | None = None) -> float:
    """Return how many seconds to wait after so many failures in a row: doubled each time, up to 2."""
    whole = min(0.05 * float(1 << min(failures - 1, 6)), 2.0)
    return whole * (0.5 + (random() if chance is None else chance) / 2)


_ALL: Final = (
    *claim_scripts.ALL,
    *checkpoint_scripts.ALL,
    *(scripts.OPEN, scripts.LOOK, scripts.APPEND, scripts.SAY, scripts.TELL),
)
_SHAS: Final = {text: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest() for text in _ALL}
