"""How long a callback is left alone before another attempt."""

import logging

from stepstream.live.fifo_queue import Entry
from stepstream.live.log_ids import ids_of
from stepstream.live.mailbox import Mailbox

_log = logging.getLogger("stepstream.live")


def pause_before_next(mailbox: Mailbox, entry: Entry, attempt: int, failure: Exception) -> float:
    """Return the seconds to wait after the attempt of that number, from 1, has failed."""
    change, pending = entry
    try:
        return pending.variables.copy().run(mailbox.delivery.pause, attempt, failure)
    except Exception as exc:  # noqa: BLE001 - the user's function: its trouble costs a pause as usual
        _log.error("the backoff of the subscriber %s failed", mailbox.name, exc_info=exc, extra=ids_of(change))
        return 1.0
