"""What servers reply, and what that says: an answer, a refusal, or that they can serve nothing now."""

from typing import Any, Final

from stepstream.errors import JournalFailed

NOT_NOW: Final = ("OOM ", "NOREPLICAS", "MASTERDOWN", "MISCONF", "BUSY ", "UNBLOCKED")
"""What is in answers of a server that may serve later, beside those that coredis has a class for."""


def useful(replies: list[Any], address: object) -> list[Any]:
    """Return replies, none of which says that the connection, or the server at `address`, is of no use now.

    Raises:
        JournalFailed: one does.
    """
    from stepstream.journal.redis.connection import USELESS

    for reply in replies:
        if isinstance(reply, Exception) and (isinstance(reply, USELESS) or any(one in str(reply) for one in NOT_NOW)):
            what = "has no memory left" if is_full(reply) else "cannot serve anything now"
            raise JournalFailed(f"the server at {address} {what}") from reply
    return replies


def accepted(answers: list[Any], address: object) -> list[Any]:
    """Return answers, none of which is a refusal.

    Raises:
        JournalFailed: one is.
    """
    for answer in answers:
        if isinstance(answer, Exception):
            raise JournalFailed(f"the server at {address} refuses what it is asked") from answer
    return answers


def is_full(reply: BaseException | None) -> bool:
    """Return whether a server refused something because its memory is full."""
    return "OOM " in str(reply)


def has_no_room(told: Any) -> bool:
    """Return whether a server that tells this of its memory will refuse what is to be written."""
    lines = (told.decode("ascii", "replace") if isinstance(told, bytes) else str(told)).splitlines()
    found = {name: value for name, _, value in (line.partition(":") for line in lines)}
    limit = int(found.get("maxmemory", 0))
    return 0 < limit <= int(found.get("used_memory", 0)) and found.get("maxmemory_policy") == "noeviction"
