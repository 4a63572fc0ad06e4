"""The OpenAI Agents SDK: `Runner.run_streamed(…)`, every event of its stream iterated. Its tracing is off.

It has no snapshot while the stream goes on: the run's items come when the response has ended. What it gives in the end
is the text. A function call it would run, and ask again, so it reads texts only.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Final

from benchmarks.peers import openai_sdk
from benchmarks.responses import text_of
from benchmarks.writer import DELTAS, Workload

PACKAGES: Final = (*openai_sdk.PACKAGES, "openai-agents")


def missing() -> str:
    """Say why this cannot be measured here, or nothing."""
    return "" if find_spec("agents") else "not installed: openai-agents"


@dataclass
class Prepared:
    """An agent, and the client that it asks with."""

    agent: Any
    client: Any


@dataclass
class Result:
    """What came, and the text in the end."""

    events: int
    text: str


def prepare(load: Workload) -> Prepared:
    return _agent(openai_sdk.prepare(load))


def connect_to(url: str) -> Prepared:
    return _agent(openai_sdk.connect_to(url))


def _agent(client: Any) -> Prepared:
    from agents import Agent, OpenAIResponsesModel, set_tracing_disabled

    set_tracing_disabled(True)
    return Prepared(Agent(name="bench", model=OpenAIResponsesModel("gpt-5", openai_client=client)), client)


async def run(prepared: Prepared) -> Result:
    result, _ = await _read(prepared)
    return result


async def _read(prepared: Prepared, *, keeps: bool = False) -> tuple[Result, str]:
    from agents import Runner

    streamed = Runner.run_streamed(prepared.agent, "Write a report.")
    events, pieces = 0, []
    async for event in streamed.stream_events():
        if event.type == "raw_response_event":
            events += 1
            if keeps and event.data.type in DELTAS:
                pieces.append(event.data.delta)
    await prepared.client.close()
    return Result(events, streamed.final_output), "".join(pieces)


def check(load: Workload, result: Result) -> int:
    assert result.events == len(load.events)
    assert result.text == "".join(text_of(one) for one in load.output)
    return len(load.events)


async def verify(load: Workload) -> None:
    """Check what the pieces add up to."""
    result, text = await _read(prepare(load), keeps=True)
    assert text == result.text
