"""journal: runs kept for other readers, wherever they are and whenever they come."""

from stepstream.journal.memory import MemoryJournal
from stepstream.journal.publish import publish
from stepstream.journal.reading import Journal
from stepstream.journal.run_info import Cursor, RunInfo

__all__ = ["Cursor", "Journal", "MemoryJournal", "RunInfo", "publish"]
