from collections.abc import Iterator

import pytest

from tests.support.valkey import ValkeyProcess, valkey


@pytest.fixture(scope="session")
def server() -> Iterator[ValkeyProcess]:
    """One server for all tests that leave it as it is: each has a namespace of its own."""
    with valkey() as one:
        yield one
