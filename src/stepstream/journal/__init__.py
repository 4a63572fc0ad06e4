"""journal: runs kept for other readers, wherever they are and whenever they come.

What needs a server is loaded when it is first used: a journal in memory wants neither sockets nor TLS.
"""

import importlib as _importlib
import typing as _typing

from stepstream.journal.memory import MemoryJournal
from stepstream.journal.publish import publish
from stepstream.journal.reading import Journal
from stepstream.journal.run_info import Cursor, RunInfo

if _typing.TYPE_CHECKING:
    from stepstream.journal.redis.journal import RedisJournal
    from stepstream.workers.workers import Workers

_LAZY = {"RedisJournal": "stepstream.journal.redis.journal", "Workers": "stepstream.workers.workers"}

__all__ = ["Cursor", "Journal", "MemoryJournal", "RedisJournal", "RunInfo", "Workers", "publish"]

if not _typing.TYPE_CHECKING:  # a checker that sees it believes that every name exists

    def __getattr__(name: str) -> _typing.Any:
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return globals().setdefault(name, getattr(_importlib.import_module(_LAZY[name]), name))
