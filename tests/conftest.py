import gc
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support import virtual_time

# How long examples take says nothing of them where the machine is busy.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("usual", UNTIMED, max_examples=25)
settings.register_profile("thorough", UNTIMED, max_examples=400)  # asked for by .ci/run
settings.load_profile("usual")

# Every worker, and every process that a test starts, would compile all modules anew. What it keeps git ignores.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

TESTS = Path(__file__).parent
WITHOUT_UVLOOP = pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop is not installed")
BACKENDS = [
    pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
    pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop", marks=[WITHOUT_UVLOOP, pytest.mark.slow]),
    pytest.param(("trio", {}), id="trio"),
]


def pytest_xdist_auto_num_workers() -> int:
    """Two workers more than there are processors: at any time some tests wait for a socket, a process or a second."""
    return (os.cpu_count() or 1) + 2


def pytest_sessionstart(session: pytest.Session) -> None:
    """Of all modules each worker compiles a share before it collects them, so that each is compiled once."""
    gc.disable()  # until everything is collected, next to nothing is garbage
    worker = getattr(session.config, "workerinput", None)
    if worker is None:
        return
    asked = [Path(argument.partition("::")[0]).resolve() for argument in session.config.args]
    modules = sorted(path for path in TESTS.rglob("test_*.py") if {path, *path.parents} & {*asked})
    for path in modules[int(worker["workerid"].removeprefix("gw")) :: worker["workercount"]]:
        with suppress(Exception, pytest.skip.Exception):  # it is raised again, and told, by the collection
            importlib.import_module(".".join(path.relative_to(TESTS.parent).with_suffix("").parts))


def pytest_collection_finish() -> None:
    """What importing and collecting made stays to the end: no collection of garbage walks it again, and few walk the
    rest."""
    gc.enable()
    gc.freeze()
    gc.set_threshold(20_000)


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Every asynchronous test runs on every event loop that users have, on uvloop with the slow ones."""
    name, options = request.param
    if "patient" in request.fixturenames and not options.get("use_uvloop"):
        options = virtual_time.patient(name)
    return name, options


@pytest.fixture
def patient() -> None:
    """Limits pass only while nothing comes, so that a busy machine breaks none. Nothing may wait for a thread, and
    uvloop's time is its own: where something must come within a limit, it has half a second there."""


@pytest.fixture(scope="session")
def server() -> Iterator[Any]:
    """A real Valkey for all tests that leave it as it is: each has a namespace of its own."""
    from tests.support.valkey import valkey  # what few workers need is imported there

    with valkey() as one:
        yield one


@pytest.fixture
def own() -> Iterator[Any]:
    """A real Valkey that a test may harm."""
    from tests.support.valkey import valkey

    with valkey() as one:
        yield one
