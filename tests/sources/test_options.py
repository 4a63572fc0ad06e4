import math
from typing import Any

import httpx
import pytest

from stepstream import RunsClient, connect
from tests.support.tables import each_row

URL = "http://127.0.0.1:1/runs"


@each_row("name", ["connect_timeout", "first_byte_timeout", "idle_timeout", "event_timeout", "total_timeout"])
async def test_timeout_that_is_none_is_refused(name: str):
    kinds: dict[Any, type[Exception]] = {-1: ValueError, math.nan: ValueError, "5": TypeError, True: TypeError}
    for value, kind in kinds.items():
        with pytest.raises(kind, match=f"expected {name} "):
            async with connect(URL, **{name: value}):
                raise AssertionError(f"it is open with {value!r}")


@each_row("name", ["idle_timeout", "timeout", "reconcile_timeout"])
def test_timeout_of_a_client_that_is_none_is_refused(name: str):
    with pytest.raises(ValueError, match=f"expected {name} of at least 0 seconds, got -1"):
        RunsClient(URL, **{name: -1})


async def test_client_that_is_not_async_is_refused():
    with httpx.Client(verify=False) as client:
        with pytest.raises(
            TypeError, match=r"expected an httpx\.AsyncClient or httpx2\.AsyncClient as client, got Client"
        ):
            RunsClient(URL, client=client)
        with pytest.raises(TypeError, match="got Client"):
            async with connect(URL, client=client):
                raise AssertionError("it is open")


async def test_id_that_is_no_text_is_refused():
    with pytest.raises(TypeError, match="expected an id as a string, got NoneType"):
        await RunsClient(URL).retrieve_run("thread_1", None)  # type: ignore[arg-type]
