"""Every peer on every workload: what it gives, not how long it takes."""

from dataclasses import replace
from importlib import import_module
from typing import Any

import msgspec
import pytest

from benchmarks.workloads import Load
from benchmarks.writer import Workload

PEERS = ("ours", "openai_sdk", "azure_agents", "naive_json", "bare_decode", "bare_split")
LOADS = {
    "code_by_token": Load("code_by_token", 30, options=(("steps", 2), ("idle", 1))),
    "function_call_by_token": Load("function_call_by_token", 30),
    "logs_by_piece": Load("logs_by_piece", 20, options=(("steps", 2),)),
    "parallel_steps": Load("parallel_steps", 30, options=(("steps", 5),)),
    "parallel_calls": Load("parallel_calls", 30, options=(("calls", 5),)),
    "messages_only": Load("messages_only", 30),
    "keep_alive_comments": Load("keep_alive_comments", 30),
    "whole_objects": Load("whole_objects", 3),
    "like_recordings": Load("like_recordings", 3),
}
CANNOT = {("azure_agents", "keep_alive_comments")}


def peer_of(name: str) -> Any:
    return import_module(f"benchmarks.peers.{name}")


async def read(peer: Any, load: Workload) -> int:
    if verify := getattr(peer, "verify", None):
        await verify(load)
    return peer.check(load, await peer.run(peer.prepare(load)))


@pytest.mark.parametrize(
    ("name", "workload"), [(name, load) for name in PEERS for load in LOADS if (name, load) not in CANNOT]
)
async def test_peer_reads_what_the_workload_says(name: str, workload: str) -> None:
    for chunk_size in (None, 4096, 65536):
        load = replace(LOADS[workload], chunk_size=chunk_size).make()
        expected = load.deltas if name == "bare_decode" else len(load.events)
        assert await read(peer_of(name), load) == expected, f"chunks of {chunk_size}"


def without_a_delta(load: Workload) -> Workload:
    """Return the stream without one event from its middle, and the promise as it was."""
    middle = load.events.index(next(name for name in load.events if name.endswith(".delta"))) + 3
    return replace(load, blocks=(*load.blocks[:middle], b"", *load.blocks[middle + 1 :]))


def with_a_changed_delta(load: Workload) -> Workload:
    """Return the stream with other text in one delta, and the promise as it was."""
    changed = list(load.blocks)
    middle = load.events.index(next(name for name in load.events if name.endswith(".delta"))) + 3
    changed[middle] = changed[middle].replace(b'"arguments":"', b'"arguments":"!').replace(b'"value":"', b'"value":"!')
    return replace(load, blocks=tuple(changed))


def with_another_end(load: Workload) -> Workload:
    """Return the stream with a terminal object that is not the promised one."""
    return replace(
        load, blocks=tuple(block.replace(b'"total_tokens":272', b'"total_tokens":9') for block in load.blocks)
    )


CHECKED = ("ours", "openai_sdk", "azure_agents", "naive_json")


@pytest.mark.parametrize("spoil", [without_a_delta, with_a_changed_delta, with_another_end])
@pytest.mark.parametrize("name", CHECKED)
async def test_wrong_result_is_caught(name: str, spoil: Any) -> None:
    for workload in ("function_call_by_token", "messages_only"):
        spoilt = spoil(LOADS[workload].make())
        with pytest.raises(AssertionError):
            print(workload, await read(peer_of(name), spoilt))  # noqa: T201 - shown where nothing was raised


@pytest.mark.parametrize("spoil", [without_a_delta, with_a_changed_delta])
async def test_wrong_payload_is_caught_by_the_floor(spoil: Any) -> None:
    with pytest.raises((AssertionError, msgspec.DecodeError)):
        await read(peer_of("bare_decode"), spoil(LOADS["function_call_by_token"].make()))


async def test_missing_block_is_caught_by_the_split() -> None:
    load = LOADS["function_call_by_token"].make()
    split = peer_of("bare_split")
    with pytest.raises(AssertionError):
        split.check(load, await split.run(split.prepare(without_a_delta(load))))


async def test_comments_end_the_stream_of_azure_agents() -> None:
    with pytest.raises(ValueError, match="Event type not specified"):
        await read(peer_of("azure_agents"), LOADS["keep_alive_comments"].make())


RESPONSES = {name: Load(name, 30) for name in ("response_text", "response_call")}
READERS = {
    "ours_responses": tuple(RESPONSES),
    "openai_responses": tuple(RESPONSES),
    "naive_responses": tuple(RESPONSES),
    "agents_sdk": ("response_text",),
}
every_reader = pytest.mark.parametrize(("name", "workload"), [(name, one) for name in READERS for one in READERS[name]])


def reader_of(name: str) -> Any:
    peer = peer_of(name)
    if why := getattr(peer, "missing", str)():
        pytest.skip(why)
    return peer


@every_reader
async def test_peer_reads_what_the_response_says(name: str, workload: str) -> None:
    load = RESPONSES[workload].make()
    assert await read(reader_of(name), load) == len(load.events)


@pytest.mark.parametrize("workload", RESPONSES)
async def test_floor_of_responses_decodes_every_delta(workload: str) -> None:
    load = RESPONSES[workload].make()
    assert await read(peer_of("bare_responses"), load) == load.deltas
    for spoil in (without_a_delta, with_other_text):
        with pytest.raises((AssertionError, msgspec.DecodeError)):
            print(await read(peer_of("bare_responses"), spoil(load)))  # noqa: T201 - shown where nothing was raised


def with_other_text(load: Workload) -> Workload:
    """Return a response with other text in one delta, and the promise as it was."""
    changed = list(load.blocks)
    changed[6] = changed[6].replace(b'"delta":"', b'"delta":"!')
    return replace(load, blocks=tuple(changed))


def with_other_output(load: Workload) -> Workload:
    """Return a response whose end is not the promised one."""
    changed = [block.replace(b'"status":"completed"', b'"status":"incomplete"') for block in load.blocks]
    return replace(load, blocks=tuple(one.replace(b'"text":"', b'"text":"!') for one in changed))


@pytest.mark.parametrize("spoil", [without_a_delta, with_other_text, with_other_output])
@every_reader
async def test_wrong_response_is_caught(name: str, workload: str, spoil: Any) -> None:
    with pytest.raises(AssertionError):
        print(await read(reader_of(name), spoil(RESPONSES[workload].make())))  # noqa: T201 - shown where nothing was raised
