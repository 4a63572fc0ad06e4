"""Responses of the simulator for its tests: in memory, round by round."""

from typing import Any, NamedTuple

import httpx

from stepstream import Accumulator, Frame, FrameDecoder
from tests.support.json_values import JSON
from tests.support.simulator_runs import Events, decoded

RESPONSES = "/v1/responses"
BODY: JSON = {"model": "simulated-1", "input": "How deep is it?", "stream": True}


class Round(NamedTuple):
    """One response: its frames, and what the server says of it afterwards."""

    frames: list[Frame]
    response: JSON

    @property
    def events(self) -> Events:
        return decoded(self.frames)

    @property
    def names(self) -> list[str]:
        return [frame.event.removeprefix("response.") for frame in self.frames]


async def streamed(client: httpx.AsyncClient, query: str = "", **body: Any) -> Round:
    """Open a response, read its stream to the end, and ask for it."""
    answer = await client.post(RESPONSES + query, json={**BODY, **body})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream"), answer.text
    frames = FrameDecoder().feed(answer.content)
    [(_, first)] = decoded(frames[:1])
    got = await client.get(f"{RESPONSES}/{first['response']['id']}")
    return Round(frames, got.json())


async def rounds(client: httpx.AsyncClient, query: str = "", **body: Any) -> list[Round]:
    """Open a response, and answer what it and those after it ask for, until nothing waits."""
    told = [await streamed(client, query, **body)]
    while items := answers(told[-1].response):
        following = {**body, "input": items, "previous_response_id": told[-1].response["id"]}
        told.append(await streamed(client, query, **following))
    return told


def answers(response: JSON, *, approve: bool = True) -> list[JSON]:
    """Return the items that answer what a response has left to the client."""
    output = response["output"]
    outputs = [
        {"type": "function_call_output", "call_id": item["call_id"], "output": f"the output of {item['call_id']}"}
        for item in output
        if item["type"] == "function_call"
    ]
    approvals = [
        {"type": "mcp_approval_response", "approval_request_id": item["id"], "approve": approve}
        for item in output
        if item["type"] == "mcp_approval_request"
    ]
    return outputs + approvals


def folded(told: list[Round]) -> Accumulator:
    """Return what is known after the streams of these rounds."""
    state = Accumulator()
    for one in told:
        for frame in one.frames:
            state.apply_frame(frame)
    return state
