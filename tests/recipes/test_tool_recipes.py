"""The recipes about tools and logs, each run as a program against the simulator."""

import json
import os
import sys

import anyio
import pytest

from stepstream.simulator import app, serve
from tests.support.places import ROOT


@pytest.fixture
def anyio_backend() -> str:
    """The recipes choose their own event loop: that of the test is the server's."""
    return "asyncio"


async def printed(recipe: str, scenario: str) -> list[str]:
    """Return the lines that a recipe prints."""
    async with serve(app(scenario=scenario, pace="fast")) as url:
        with anyio.fail_after(60):
            done = await anyio.run_process(
                [sys.executable, "-W", "error", str(ROOT / "tests" / "recipes" / recipe)],
                env={**os.environ, "STEPSTREAM_URL": url},
                check=False,
            )
    assert done.stderr.decode() == ""
    return done.stdout.decode().splitlines()


async def test_openai_asks_and_answers_while_stepstream_reads_and_calls_tools():
    lines = await printed("openai_with_tools.py", "parallel-functions")
    assert "ann tool_calls completed" in lines
    assert (
        lines.count("ann tool_calls completed") == len([line for line in lines if line.startswith("ann asks for")]) == 5
    )
    assert lines[-1] == "At low tide, keep to the buoys."


async def test_each_line_of_a_log_is_an_object_with_the_ids_of_its_run():
    lines = [json.loads(line) for line in await printed("structured_logs.py", "parallel-functions")]
    assert {line["channel"] for line in lines} == {"#harbour"}
    called = [line for line in lines if line["event"] == "tool called"]
    assert sorted(str(line["failed"]) for line in called) == ["LookupError", "None", "None", "None", "None"]
    assert all(line["seconds"] >= 0 for line in called)
    [failed] = [line for line in lines if line["logger"] == "stepstream.client"]
    assert (failed["level"], failed["run_id"], failed["step_id"]) == ("warning", "run_sim1", called[0]["step"])
    assert [line["status"] for line in lines if line["event"] == "step ended"] == ["completed", "completed"]
