"""What is logged of a subscriber's failures: enough to mend it, and not a traceback for each.

A subscriber that fails at every delta would write as much as the stream. So the first failure of a series has its
traceback, and so has the first of each other class of exception; then only the 10th, 100th, 1,000th … are counted out,
and at the end how many there were. A series is over once 100 changes were delivered since its last failure: what fails
now and then is logged each time. All are logged with DEBUG, counted, and handed to `on_failure`.
"""

import logging
from typing import Final

from stepstream.fold.changes import Change
from stepstream.live.log_ids import ids_of

SERIES_GAP: Final = 100
"""So many changes after its last failure a series is over."""

MAX_CLASSES: Final = 10
"""So many classes of exception have a traceback in a series."""

_log = logging.getLogger("stepstream.live")


class FailureLog:
    """The log of one subscriber's failures."""

    def __init__(self) -> None:
        self._count = 0  # in the series
        self._next = 1  # the count that is logged next
        self._logged = 0
        self._delivered = 0  # how many changes were, at the last failure
        self._classes: set[type[Exception]] = set()

    def add(
        self, name: str, change: Change | list[Change], exception: Exception, delivered: int, *, is_final: bool
    ) -> None:
        """Log a failure of the subscriber `name`, or only count it. An attempt that is not final may yet succeed."""
        first = change[0] if isinstance(change, list) else change
        kind, ids = type(first).__name__, ids_of(first)
        if not is_final:
            _log.debug("the subscriber %s failed at a %s", name, kind, exc_info=exception, extra=ids)
            return
        if delivered - self._delivered > SERIES_GAP:
            self.end(name)
        self._delivered = delivered
        self._count += 1
        is_counted = self._count == self._next
        if is_counted:
            self._next *= 10
        if type(exception) not in self._classes and len(self._classes) < MAX_CLASSES:
            self._classes.add(type(exception))
            _log.error("the subscriber %s failed at a %s", name, kind, exc_info=exception, extra=ids)
        elif is_counted:
            what = type(exception).__name__
            _log.error("the subscriber %s failed at %d changes, at last with a %s", name, self._count, what, extra=ids)
        else:
            _log.debug("the subscriber %s failed at a %s", name, kind, exc_info=exception, extra=ids)
            return
        self._logged = self._count

    def end(self, name: str) -> None:
        """End the series: log how many failures it had where that was not told, and begin another."""
        if self._count > self._logged:
            _log.error("the subscriber %s failed at %d changes", name, self._count)
        self._count, self._next, self._logged = 0, 1, 0
        self._classes.clear()
