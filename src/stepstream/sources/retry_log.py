"""The log of attempts that are made again: where, why, for which run."""

import logging
import re
from typing import Final

from stepstream.sources.url_redaction import redact_url

_log = logging.getLogger("stepstream.http")

_IDS: Final = re.compile(r"/threads/(?!runs(?:/|$))([^/]+)(?:/runs/([^/]+))?")


def log_retry(
    url: str, seconds: float, reason: object, *, run_id: str | None = None, thread_id: str | None = None
) -> None:
    """Log that a request is sent again after so many seconds. Ids that are not given are taken from the URL's path."""
    where = redact_url(url)
    found = _IDS.search(where)
    thread_id = thread_id or (found and found[1])
    run_id = run_id or (found and found[2])
    about = f"run {run_id or 'unknown'}, thread {thread_id or 'unknown'}"
    ids = {"run_id": run_id, "step_id": None, "thread_id": thread_id}
    _log.info("%s (%s): trying again in %.1f s, for %s", where, about, seconds, reason, extra=ids)
