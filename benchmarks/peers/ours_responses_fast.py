"""stepstream with the extra `fast` on a Responses stream. All else is as in `ours_responses`."""

from benchmarks.peers.ours_fast import PACKAGES, UVLOOP, connect_to, missing
from benchmarks.peers.ours_responses import check, run

__all__ = ["PACKAGES", "UVLOOP", "check", "connect_to", "missing", "run"]
