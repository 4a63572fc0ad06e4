"""Claims on a server: a part of the journal is what one connection serves, a partition in a cluster, else all."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from itertools import chain
from random import shuffle
from typing import Any, Final

from stepstream.errors import JournalFailed
from stepstream.journal.claiming import Beat, Claim, Letter, run_of
from stepstream.journal.redis import claim_scripts
from stepstream.journal.redis.lane import WAIT_LIMIT
from stepstream.journal.redis.scripts import Layout
from stepstream.journal.redis.server import Command, Link, Servers, script
from stepstream.journal.redis.watching import Watching

LETTER_PAGE: Final = 64
"""How many dead letters are read at once."""

JOIN_PAGE: Final = 5_000
"""How many runs a new group gets at once: a server does nothing else meanwhile."""


class RedisClaims:
    """All claims of a group."""

    def __init__(self, layout: Layout, servers: Servers, watching: Watching, replicas: int, group: str) -> None:
        self._layout, self._watching = layout, watching
        numbers = range(layout.partitions)
        shares = [[one] for one in numbers] if servers.is_cluster else [list(numbers)]
        self.parts = [ClaimsPart(layout, Link(servers, layout.wake(one[0])), replicas, group, one) for one in shares]

    def part_of(self, claim: Claim) -> "ClaimsPart":
        """Return the part that a claim is of."""
        return self._part(self._layout.partition(claim.run_id))

    def _part(self, partition: int) -> "ClaimsPart":
        return self.parts[partition % len(self.parts)]

    @contextmanager
    def listening(self, changed: Callable[["ClaimsPart"], None]) -> Iterator[None]:
        """Call `changed` with a part whenever something may have become due in it."""
        with self._watching.listening(lambda run_id: changed(self._part(self._layout.partition(run_id)))):
            yield

    def letter_id(self, run_id: str, *parts: str) -> str:
        """Return the id of a letter of a run, or of a part of it: the same for the same parts."""
        return letter_id(self._layout, run_id, *parts)

    async def is_known(self) -> bool:
        """Return whether a worker of the group has been here, and the group was not taken out since."""
        return any([await part.is_known() for part in self.parts])

    async def letters(self) -> list[Letter]:
        """Return all dead letters."""
        return [letter for part in self.parts for letter in await part.letters()]

    async def drop(self, letter_id: str) -> bool:
        """Drop a dead letter. Return whether there was one of that id."""
        return await self._change("drop", letter_id, "", is_whole=False) == 1

    async def resend(self, letter_id: str, run_id: str, *, is_whole: bool) -> bool | None:
        """Let a worker have a dead letter once more, as `GroupClaims.resend` says."""
        done = await self._change("resend", letter_id, run_id, is_whole=is_whole)
        return None if done < 0 else done == 1

    async def _change(self, verb: str, letter_id: str, run_id: str, *, is_whole: bool) -> int:
        number, _, rest = letter_id.partition("-")
        if not (number.isascii() and number.isdecimal() and rest and int(number) < self._layout.partitions):
            return 0
        return await self._part(int(number)).change_letter(int(number), verb, letter_id, run_id, int(is_whole))


class ClaimsPart:
    """The claims of some partitions, over one connection. `replicas` must have what is claimed or said."""

    def __init__(self, layout: Layout, link: Link, replicas: int, group: str, partitions: Sequence[int]) -> None:
        self._layout, self._link, self._replicas, self._group = layout, link, replicas, group
        self._partitions = list(partitions)

    def __repr__(self) -> str:
        return f"<ClaimsPart {self._group}: {len(self._partitions)} partitions>"

    async def join(self) -> None:
        """Let the group have the runs that are there, and all that come."""
        for partition in self._partitions:
            start = "-inf"
            while start:
                [told] = await self._ask([self._script(partition, claim_scripts.JOIN, start, JOIN_PAGE)])
                start = told.decode()

    async def claim(self, worker: str, lease: float, count: int, max_takeovers: int, suspects: int = 1) -> list[Claim]:
        """Return what was claimed, as `Claims.claim` says. Each partition gives a share, as long as it has more."""
        found: list[Claim] = []
        rest = list(self._partitions)
        shuffle(rest)
        suspicious: list[int] = []
        while rest and len(found) < count:
            left = count - len(found)
            asked, rest = rest[:left], rest[left:]
            told = worker, int(lease * 1000), left // len(asked), max_takeovers, 0
            answers = await self._ask([self._script(one, claim_scripts.CLAIM, *told) for one in asked])
            if b"join" in answers:
                await self.join()
                rest = [*asked, *rest]
                continue
            found += [_claim(row) for _, given in answers for row in given]
            rest += [one for one, (_, given) in zip(asked, answers, strict=True) if len(given) == told[2]]
            suspicious += [one for one, (left_out, _) in zip(asked, answers, strict=True) if left_out]
        if suspects and suspicious and len(found) < count:
            told = worker, int(lease * 1000), 1, max_takeovers, 1
            [answer] = await self._ask([self._script(suspicious[0], claim_scripts.CLAIM, *told)])
            if answer != b"join":  # a server that has lost all since has none: the next claim joins
                found += map(_claim, answer[1])
        return found

    async def beat(self, worker: str, lease: float, beats: Sequence[Beat]) -> list[int]:
        """Say how it goes with claims, as `Claims.beat` says."""
        by_partition: dict[int, list[Beat]] = {}
        for one in beats:
            by_partition.setdefault(self._layout.partition(one.claim.run_id), []).append(one)
        mine = worker, int(lease * 1000)
        commands = [
            self._script(partition, claim_scripts.BEAT, *mine, *chain.from_iterable(map(self._told, some)))
            for partition, some in by_partition.items()
        ]
        answers = await self._ask(commands)
        told = zip(by_partition.values(), answers, strict=True)
        positions = {id(beat): int(one) for some, answer in told for beat, one in zip(some, answer, strict=True)}
        return [positions[id(one)] for one in beats]

    def _told(self, beat: Beat) -> list[Any]:
        claim, letters = beat.claim, beat.letters
        whole = letter_id(self._layout, claim.run_id)
        told = (_member(claim), claim.token, beat.verb, beat.position, whole, len(letters))
        return [*told, *(part for letter in letters for part in (letter.id, letter.text))]

    async def is_known(self) -> bool:
        """Return whether the group is one of those that have the runs of these partitions."""
        asked = [Command(b"HEXISTS", (self._keys(one)[0], self._group)) for one in self._partitions]
        return any(await self._link.ask(asked))

    async def letters(self) -> list[Letter]:
        """Return the dead letters of these partitions."""
        found: list[Letter] = []
        for partition in self._partitions:
            key = self._keys(partition)[3]
            [ids] = await self._link.ask([Command(b"HKEYS", (key,))])
            for start in range(0, len(ids), LETTER_PAGE):
                some = ids[start : start + LETTER_PAGE]
                [texts] = await self._link.ask([Command(b"HMGET", (key, *some))])
                pairs = zip(some, texts, strict=True)
                found += [Letter(one.decode(), text) for one, text in pairs if text is not None]
        return found

    async def change_letter(self, partition: int, verb: str, *told: Any) -> int:
        """Drop a letter, or send it again: the answer of the script."""
        [answer] = await self._ask([self._script(partition, claim_scripts.LETTER, verb, *told)])
        return int(answer)

    def _keys(self, partition: int) -> list[str]:
        prefix = self._layout.prefix(partition)
        return [f"{prefix}groups", *(f"{prefix}{kind}:{self._group}" for kind in ("due", "own", "dead"))]

    def _script(self, partition: int, text: str, *told: Any) -> Command:
        return script(text, self._keys(partition), self._layout.prefix(partition), self._group, *told)

    async def _ask(self, commands: Sequence[Command]) -> list[Any]:
        """Return the answers, once the replicas have what was changed.

        Raises:
            JournalFailed: there are none, or too few replicas have it.
        """
        if not self._replicas:
            return await self._link.ask(commands)
        *answers, count = await self._link.ask([*commands, Command(b"WAIT", (self._replicas, WAIT_LIMIT))])
        if count < self._replicas:
            raise JournalFailed(f"{self._replicas} replicas are to have what is written, and have not")
        return answers


def letter_id(layout: Layout, run_id: str, *parts: str) -> str:
    """Return the id of a letter of a run: its partition, and what is the same for the same parts."""
    return f"{layout.partition(run_id)}-{sha256(chr(0).join((run_id, *parts)).encode()).hexdigest()[:20]}"


def _member(claim: Claim) -> str:
    return f"r{claim.run_id}" if claim.letter is None else f"l{claim.letter.id}"


def _claim(row: Sequence[Any]) -> Claim:
    member, token, is_spent, position, newest, takeovers, is_takeover, text = row
    name = member[1:].decode()
    letter = Letter(name, text) if member.startswith(b"l") else None
    return Claim(
        run_id=name if letter is None else run_of(letter),
        token=int(token),
        position=int(position),
        newest=int(newest),
        takeovers=int(takeovers),
        is_takeover=bool(is_takeover),
        is_spent=bool(is_spent),
        letter=letter,
    )
