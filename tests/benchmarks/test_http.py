"""The server and the peers that read it, over real sockets."""

from collections.abc import Iterator

import anyio
import pytest

from benchmarks.harness.latency import P50, P99, Latency
from benchmarks.harness.passes import Passes
from benchmarks.peers import bare_read
from benchmarks.server import serving, writes_of
from benchmarks.stamped import stamped, stamps_in
from benchmarks.workloads import Load
from stepstream import accumulate

LOAD = Load("function_call_by_token", 40, chunk_size=None)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(LOAD, 40) as url:
        yield url


@pytest.mark.parametrize("name", ["ours", "ours_fast", "openai_sdk", "openai_aiohttp", "naive_json", "bare_read"])
def test_peer_reads_the_same_over_http(name: str, url: str) -> None:
    passes, load = Passes(name, LOAD), LOAD.make()
    if why := passes.missing():
        pytest.skip(why)
    peer = passes.resolved()

    async def read() -> int:
        with anyio.fail_after(60):
            return peer.check(load, await peer.run(peer.connect_to(url)))

    assert anyio.run(read, backend_options={"use_uvloop": getattr(peer, "UVLOOP", False)}) == 49


def test_passes_over_http_are_timed() -> None:
    sample = Passes("bare_read", LOAD, over_http=True, long_enough=0.0001)()
    assert sample["events"] == 49


@pytest.mark.parametrize("singly", [True, False])
async def test_every_event_is_an_http_chunk(singly: bool) -> None:
    with serving(LOAD, 40, is_written_singly=singly) as url, anyio.fail_after(60):
        assert bare_read.check(LOAD.make(), await bare_read.run(bare_read.connect_to(url))) == 49


@pytest.mark.parametrize(("singly", "writes"), [(True, 49), (False, 1)])
def test_events_are_written_singly_when_asked(singly: bool, writes: int) -> None:
    load = {"workload": "function_call_by_token", "size": 40, "chunk_size": None, "options": []}
    spec = {"load": load, "size": 40, "is_written_singly": singly, "rate": 0}
    assert len(list(writes_of(spec)())) == writes


def test_stamped_stream_folds_to_its_stamps() -> None:
    (step,) = accumulate(stamped(5, rate=100_000)).steps.values()
    stamps = stamps_in(step.tool_calls[0].function.arguments)
    assert step.status == "completed"
    assert len(stamps) == 5
    assert stamps == sorted(stamps)


@pytest.mark.parametrize("peer", ["ours", "ours_fast", "openai_sdk", "naive_json"])
def test_latency_is_after_the_stamp(peer: str) -> None:
    measure = Latency(peer, deltas=20, rate=2_000)
    if why := measure.missing():
        pytest.skip(why)
    sample = measure()
    assert sample["deltas"] == 20
    assert 0 < sample[P50] <= sample[P99] <= sample["max µs"]
