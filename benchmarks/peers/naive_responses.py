"""As people write it: `httpx_sse` over an httpx client, `json.loads`, and texts added up by hand.

It folds what OpenAI sends and nothing else: no order, no limit, no anomaly, no subscriber.
"""

import json
from typing import Any, Final

import httpx
from httpx_sse import aconnect_sse

from benchmarks.peers.naive_json import connect_to, prepare
from benchmarks.responses import text_of
from benchmarks.writer import Workload

__all__ = ["PACKAGES", "check", "connect_to", "prepare", "run"]

PACKAGES: Final = ("httpx", "httpx-sse")


class Fold:
    """What the stream built."""

    def __init__(self) -> None:
        self.events = 0
        self.items: dict[int, dict[str, Any]] = {}
        self.texts: dict[int, str] = {}
        self.told: list[tuple[str, str]] = []
        self.response: dict[str, Any] = {}

    def apply(self, data: dict[str, Any]) -> None:
        self.events += 1
        match data["type"]:
            case "response.output_text.delta" | "response.function_call_arguments.delta":
                self.texts[data["output_index"]] += data["delta"]
            case "response.output_item.added" | "response.output_item.done":
                self.items[data["output_index"]] = data["item"]
                self.texts.setdefault(data["output_index"], "")
                self.told.append((data["item"]["id"], data["item"]["status"]))
            case "response.completed":
                self.response = data["response"]


async def run(prepared: tuple[httpx.AsyncClient, str]) -> Fold:
    client, url = prepared
    fold = Fold()
    async with client, aconnect_sse(client, "POST", url, json={"stream": True}) as source:
        async for event in source.aiter_sse():
            fold.apply(json.loads(event.data))
    return fold


def check(load: Workload, fold: Fold) -> int:
    assert fold.events == len(load.events)
    assert fold.told == [(one["id"], status) for one in load.output for status in ("in_progress", "completed")]
    assert list(fold.items.values()) == fold.response["output"] == list(load.output)
    assert list(fold.texts.values()) == [text_of(one) for one in load.output]
    assert fold.response["usage"]["total_tokens"] == 272
    return len(load.events)
