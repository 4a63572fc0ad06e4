"""The kits' own clients read every run in every dialect, from the start, joined, cut, and come back."""

from collections.abc import Iterator
from typing import Any

import pytest

from stepstream.relay.forms.registry import FORMS
from tests.relay.test_kit_forms import flat, read
from tests.support.fed_forms import told_from
from tests.support.kit_clients import Clients, clients, needs_node
from tests.support.kit_runs import NAMES, run_named

pytestmark = [pytest.mark.slow, needs_node]

KITS = {"agui1": "ag-ui", "agui0": "ag-ui", "ai": "ai-sdk"}
EACH = pytest.mark.parametrize("kit", KITS)
ENDS = {"stop": "success", "tool-calls": "waits"}


@pytest.fixture(scope="module")
def node() -> Iterator[Clients]:
    with clients() as running:
        yield running


def plain(kit: str, held: Any) -> Any:
    """Return what a client, or a reader of ours, holds, in one form."""
    if kit != "ai":
        return held["messages"], held["state"], held["end"]
    assert len(held["errors"]) == (held["end"] == "error")
    parts = [] if held["message"] is None else held["message"]["parts"]
    texts = [(one["type"], one["text"], one["state"]) for one in parts if one["type"] in ("text", "reasoning")]
    calls = [(one["toolCallId"], one.get("input"), one.get("output")) for one in parts if "toolCallId" in one]
    steps = [(one["id"], one["data"]) for one in parts if one["type"] == "data-run-step"]
    return texts, calls, steps, ENDS.get(held["end"], held["end"])


def expected(kit: str, reader: Any) -> Any:
    if kit != "ai":
        return reader.messages, reader.state, reader.end
    texts = [(one["type"], one["text"], one["state"]) for one in reader.parts if one["type"] in ("text", "reasoning")]
    calls = [(one["toolCallId"], one.get("input"), one.get("output")) for one in reader.parts if one["type"] == "call"]
    steps = [(one["id"], one["data"]) for one in reader.parts if one["type"] == "data-run-step"]
    return texts, calls, steps, reader.end


@EACH
@pytest.mark.parametrize("name", NAMES)
def test_client_holds_what_the_server_does(node: Clients, kit: str, name: str):
    frames = flat(*told_from(FORMS[KITS[kit]], run_named(name), 0))
    assert plain(kit, node.read(kit, frames)) == expected(kit, read(FORMS[KITS[kit]], frames))


@EACH
@pytest.mark.parametrize("name", NAMES)
def test_client_that_joins_anywhere_holds_the_same(node: Clients, kit: str, name: str):
    kind, fed = FORMS[KITS[kit]], run_named(name)
    for joined in range(1, len(fed) + 1):
        frames = flat(*told_from(kind, fed, joined))
        assert plain(kit, node.read(kit, frames)) == expected(kit, read(kind, frames)), joined


@EACH
@pytest.mark.parametrize("name", NAMES)
def test_client_that_is_cut_off_is_told_so_and_comes_back(node: Clients, kit: str, name: str):
    kind, fed = FORMS[KITS[kit]], run_named(name)
    whole = read(kind, flat(*told_from(kind, fed, 0)))
    for cut in range(1, len(fed)):
        form = kind.make()
        before = [*form.begin(None), *(frame for one in fed[:cut] for frame in form.feed(one.event, one.changes))]
        before += form.interrupt("interrupted")
        assert node.read(kit, before)["end"] == "error", cut
        if kit == "ai":
            continue  # its page forgets what it had, and is told the message from its start
        held = node.read(kit, before, flat(*told_from(kind, fed, cut)))
        assert (held["messages"], held["end"]) == (whole.messages, whole.end), cut  # type: ignore[union-attr]
