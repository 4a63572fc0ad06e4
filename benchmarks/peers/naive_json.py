"""As people write it: `httpx_sse` over an httpx client, `json.loads`, and dicts merged by hand.

It folds what the recordings show and nothing else: no order, no limit, no anomaly, no subscriber.
"""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import httpx
from httpx_sse import aconnect_sse

from benchmarks.expected import texts
from benchmarks.writer import STEP_DELTA, Workload

PACKAGES: Final = ("httpx", "httpx-sse")

_GROWS: Final = ("arguments", "input", "logs", "value")


class Fold:
    """What the stream built: `built` before the terminal objects replaced it."""

    def __init__(self) -> None:
        self.steps: dict[str, dict[str, Any]] = {}
        self.messages: dict[str, dict[str, Any]] = {}
        self.built: dict[str, list[str]] = {}
        self.events = 0

    def apply(self, name: str, data: dict[str, Any]) -> None:
        match data["object"]:
            case "thread.run.step.delta":
                merge(self.steps[data["id"]], data["delta"])
            case "thread.message.delta":
                merge(self.messages[data["id"]], data["delta"])
            case "thread.run.step":
                self._replace(self.steps, name, data)
            case "thread.message":
                self._replace(self.messages, name, data)

    def _replace(self, objects: dict[str, dict[str, Any]], name: str, data: dict[str, Any]) -> None:
        if name.endswith(".completed"):
            self.built |= texts([objects[data["id"]]])
        objects[data["id"]] = data


def merge(into: dict[str, Any], delta: dict[str, Any]) -> None:
    for key, value in delta.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        elif isinstance(value, list) and isinstance(into.get(key), list):
            merge_list(into[key], value)
        elif key in _GROWS and isinstance(into.get(key), str):
            into[key] += value
        elif value is not None:
            into[key] = value


def merge_list(into: list[dict[str, Any]], entries: list[dict[str, Any]]) -> None:
    for entry in entries:
        index = entry["index"]
        if index < len(into):
            merge(into[index], entry)
        else:
            into.append(entry)


def prepare(load: Workload) -> tuple[httpx.AsyncClient, str]:
    chunks = load.chunks

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=_body(chunks))

    return httpx.AsyncClient(transport=httpx.MockTransport(answer), trust_env=False), "http://127.0.0.1/"


def connect_to(url: str) -> tuple[httpx.AsyncClient, str]:
    return httpx.AsyncClient(verify=False), url


async def run(prepared: tuple[httpx.AsyncClient, str], tell: Callable[[dict[str, Any]], None] | None = None) -> Fold:
    client, url = prepared
    fold = Fold()
    async with client, aconnect_sse(client, "POST", url, json={"stream": True}) as source:
        async for event in source.aiter_sse():
            fold.events += 1
            if event.event == "done":
                break
            data = json.loads(event.data)
            fold.apply(event.event, data)
            if tell is not None and event.event == STEP_DELTA:
                tell(data)
    return fold


async def listen(prepared: tuple[httpx.AsyncClient, str], note: Callable[[str], None]) -> str:
    """Call `note` with what each delta adds to a function's arguments, and return them."""

    def tell(delta: dict[str, Any]) -> None:
        note(delta["delta"]["step_details"]["tool_calls"][0]["function"]["arguments"])

    (step,) = (await run(prepared, tell)).steps.values()
    return step["step_details"]["tool_calls"][0]["function"]["arguments"]


def check(load: Workload, fold: Fold) -> int:
    assert fold.events == len(load.events)
    assert list(fold.steps.values()) == list(load.steps)
    assert list(fold.messages.values()) == list(load.messages)
    assert fold.built == texts([*load.steps, *load.messages])
    return len(load.events)


async def _body(chunks: tuple[bytes, ...]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
