"""openai-python with its own aiohttp transport, on uvloop. All else is as in `openai_sdk`."""

from importlib.util import find_spec
from typing import Final

from openai import AsyncOpenAI, DefaultAioHttpClient

from benchmarks.peers.openai_sdk import check, run

__all__ = ["PACKAGES", "UVLOOP", "check", "connect_to", "missing", "run"]

PACKAGES: Final = ("openai", "aiohttp", "uvloop", "pydantic")
UVLOOP: Final = True


def missing() -> str:
    """Say why this cannot be measured here, or nothing."""
    absent = [name for name in ("aiohttp", "uvloop") if find_spec(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


def connect_to(url: str) -> AsyncOpenAI:
    return AsyncOpenAI(api_key="none", base_url=url, max_retries=0, http_client=DefaultAioHttpClient())
