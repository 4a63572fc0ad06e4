"""stepstream with the extra `fast`: `connect(url, fast=True)` on uvloop. All else is as in `ours`."""

import inspect
from importlib.util import find_spec
from typing import Final

from benchmarks.peers.ours import Source, check, listen, run
from stepstream import connect

__all__ = ["PACKAGES", "UVLOOP", "check", "connect_to", "listen", "missing", "run"]

PACKAGES: Final = ("msgspec", "anyio", "httpx", "httpx-aiohttp", "aiohttp", "uvloop")
UVLOOP: Final = True


def missing() -> str:
    """Say why this cannot be measured here, or nothing."""
    if "fast" not in inspect.signature(connect).parameters:
        return "connect() has no fast= here"
    absent = [name for name in ("httpx_aiohttp", "uvloop") if find_spec(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


def connect_to(url: str) -> Source:
    return lambda: connect(url, json={"stream": True}, fast=True)
