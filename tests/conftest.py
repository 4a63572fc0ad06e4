import gc
import os
from importlib.util import find_spec

import pytest
from hypothesis import settings

settings.register_profile("usual", max_examples=40)
settings.register_profile("thorough", max_examples=400)  # asked for by .ci/run
settings.load_profile("usual")

WITHOUT_UVLOOP = pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop is not installed")
BACKENDS = [
    pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
    pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop", marks=[WITHOUT_UVLOOP, pytest.mark.slow]),
    pytest.param(("trio", {}), id="trio"),
]


def pytest_xdist_auto_num_workers() -> int:
    """One worker more than there are processors: at any time some test waits for a socket or a process."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_finish() -> None:
    """What importing and collecting made stays to the end: no collection of garbage walks it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Every asynchronous test runs on every event loop that users have, on uvloop with the slow ones."""
    return request.param
