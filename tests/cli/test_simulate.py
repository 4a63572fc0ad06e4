"""`stepstream simulate` as users run it: a process, its port, its signals."""

import json
import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from stepstream.cli.simulate import guide
from stepstream.simulator.application import app
from stepstream.simulator.faults import FAULTS
from stepstream.simulator.scenarios import SCENARIOS
from tests.support.process_lines import next_line
from tests.support.tables import each_row
from tests.support.terminals import WITHIN

Process = Callable[..., "subprocess.Popen[bytes]"]


KEY = "sk-harbour-9f3a"
BODY = b'{"assistant_id": "asst_1", "stream": true}'


def base_url(one: "subprocess.Popen[bytes]") -> str:
    """Return the URL that a simulator tells in its first line."""
    found = re.match(
        r"simulator at (http://127\.0\.0\.1:\d+), scenario \S+: Ctrl-C ends it\n", next_line(one.stdout).decode()
    )
    assert found is not None
    return found[1]


def opened(url: str, body: bytes | None = BODY, **headers: str) -> Any:
    """Send a request as curl does, straight."""
    sent = urllib.request.Request(url, data=body, headers={"content-type": "application/json", **headers})
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(sent, timeout=WITHIN)


def test_simulator_tells_its_url_and_answers(process: Process):
    url = base_url(process("simulate", "--port", 0, "--pace", "fast", "--scenario", "message"))
    with opened(f"{url}/v1/threads/thread_1/runs") as response:
        data = response.read()
    assert (response.status, response.headers["content-type"]) == (200, "text/event-stream")
    assert data.endswith(b"event: done\ndata: [DONE]\n\n")
    with opened(f"{url}/v1/threads/thread_1/runs", None) as response:
        assert json.load(response)["data"][0]["status"] == "completed"


def test_options_are_those_of_the_application(process: Process):
    options = ("--scenario", "message", "--seed", 7, "--pace", "1e6", "--fault", "drop-done", "--fault", "unknown=1")
    url = base_url(process("simulate", "--port", 0, *options))
    with opened(f"{url}/threads/thread_1/runs") as response:
        names = re.findall(r"event: (\S+)", response.read().decode())
    assert (names[-2:], names.count("done")) == (["thread.run.completed", "thread.run.step.reflected"], 0)
    with opened(f"{url}/threads/thread_1/runs", None) as response:
        assert json.load(response)["data"][0]["id"] == "run_sim7x1"


def test_commands_to_try_work(process: Process):
    one = process("simulate", "--port", 0, "--pace", "fast")
    url = base_url(one)
    lines = [next_line(one.stdout).decode() for _ in range(14)]
    posts = [line for line in lines if "curl -sN" in line]
    paths = [line.split(url)[1].split("?")[0].strip() for line in posts]
    assert paths == ["/v1/responses", *["/v1/threads/thread_1/runs"] * 3]
    with opened(f"{url}/v1/threads/thread_1/runs?scenario=message&fault=cut-event=20") as response:
        assert response.read().count(b"event: ") == 20
    assert any(line.startswith("scenarios: umbrellas, message") for line in lines)
    assert any(line.startswith("faults: cut-event") for line in lines)


def ended(one: "subprocess.Popen[bytes]", number: int) -> tuple[int, bytes]:
    """Send a signal and return the exit status and what is on standard error."""
    one.send_signal(number)
    _, err = one.communicate(timeout=WITHIN)
    return one.returncode, err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_signal_ends_the_simulator_in_silence(process: Process, number: int, status: int):
    one = process("simulate", "--port", 0)
    base_url(one)
    assert ended(one, number) == (status, b"")


@pytest.mark.parametrize("options", [("--pace", "0.001"), ("--pace", "fast", "--fault", "stall=1")])
def test_interrupt_ends_the_simulator_while_a_stream_is_open(process: Process, options: tuple[str, ...]):
    one = process("simulate", "--port", 0, *options)
    with opened(f"{base_url(one)}/threads/thread_1/runs") as response:
        assert response.status == 200
        assert ended(one, signal.SIGINT) == (130, b"")


def test_interrupted_simulator_leaves_its_port_free(process: Process):
    one = process("simulate", "--port", 0)
    port = base_url(one).rpartition(":")[2]
    ended(one, signal.SIGINT)
    assert base_url(process("simulate", "--port", port)).endswith(f":{port}")


def test_key_is_required_and_never_shown(process: Process):
    one = process("simulate", "--port", 0, "--pace", "fast", "--api-key", KEY)
    url = f"{base_url(one)}/threads/thread_1/runs"
    with pytest.raises(urllib.error.HTTPError) as caught:
        opened(url, authorization="Bearer sk-other")
    with caught.value as refused:
        assert (refused.code, json.load(refused)["error"]["code"]) == (401, "invalid_api_key")
    with opened(url, authorization=f"Bearer {KEY}") as response:
        assert response.status == 200
    one.send_signal(signal.SIGINT)
    out, err = one.communicate(timeout=WITHIN)
    assert KEY.encode() not in out + err
    assert b"-H 'Authorization: Bearer KEY'" in out


@each_row("keyed", [True, False])
def test_guide_names_the_key_only_where_there_is_one(keyed: bool):
    lines = guide("http://127.0.0.1:1", "code", keyed=keyed)
    assert [("KEY" in line) == keyed for line in lines if "curl" in line] == [True] * 5
    assert "scenario=umbrellas" in "".join(lines)


def test_list_tells_every_scenario_and_fault(run: Callable[..., Any]):
    ran = run("simulate", "--list")
    lines = ran.out.decode().splitlines()
    assert (ran.status, ran.err) == (0, b"")
    assert [line.split()[0].partition("=")[0] for line in lines] == ["scenarios:", *SCENARIOS, "faults:", *FAULTS]
    for summary in (one.summary for some in (SCENARIOS, FAULTS) for one in some.values()):
        assert summary in ran.out.decode()


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "scenario": (("--scenario", "nowhere"), "expected a scenario out of umbrellas"),
    "fault": (("--fault", "flood"), "expected a fault out of cut-event"),
    "fault's number": (("--fault", "drip=0"), "expected for the fault drip a number from 1"),
    "pace": (("--pace", "slow"), "expected as pace real, fast, or events per second above 0, got 'slow'"),
    "pace of nothing": (("--pace", "0"), "got '0'"),
    "port": (("--port", "65536"), "expected a port from 0 to 65,535, got '65536'"),
    "port by name": (("--port", "http"), "expected a port"),
    "negative port": (("--port=-1",), "expected a port"),
    "seed": (("--seed", "x"), "expected a seed from 0"),
    "negative seed": (("--seed=-1",), "expected a seed from 0"),
    "long seed": (("--seed", "9" * 5_000), "expected a seed from 0"),
    "no seed": (("--seed", ""), "expected a seed from 0"),
    "key": (("--api-key", ""), "expected an API key, got an empty one"),
    "option": (("--colour",), "unrecognized arguments: --colour"),
}


@pytest.mark.parametrize(("options", "text"), WRONG.values(), ids=WRONG)
def test_wrong_option_is_one_line_and_status_2(run: Callable[..., Any], options: tuple[str, ...], text: str):
    ran = run("simulate", *options)
    assert (ran.status, ran.out, text in ran.error) == (2, b"", True)


def test_port_that_is_taken_is_one_line_and_status_1(run: Callable[..., Any]):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = run("simulate", "--port", port)
    assert (ran.status, ran.out) == (1, b"")
    assert f"cannot listen on port {port} of 127.0.0.1: Address already in use" in ran.error


def test_reader_of_the_guide_that_leaves_ends_the_simulator_in_silence(process: Process):
    one = process("simulate", "--port", 0)
    assert one.stdout is not None
    one.stdout.close()
    assert one.wait(WITHIN) == 1
    assert one.stderr is not None
    assert one.stderr.read() == b""


@each_row("name", SCENARIOS)
def test_every_scenario_can_be_named(name: str):
    assert "simulator at pace real" in repr(app(scenario=name))
