"""What every form keeps to: where a viewer joined makes no difference to what comes after."""

from copy import deepcopy
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies

from stepstream import RunState
from stepstream.relay.forms.form import REASONS, FormKind
from stepstream.relay.forms.patches import patch
from stepstream.relay.forms.registry import FORMS
from tests.support.fed_forms import run_of, told_from
from tests.support.places import ROOT
from tests.support.relay_clients import ViewClient, patched
from tests.support.tables import each_row

STREAMS = ["archive", "ferry", "sums", "tides", "ferry-answer"]

EACH = pytest.mark.parametrize("kind", FORMS.values(), ids=list(FORMS))


@EACH
@pytest.mark.parametrize("stream", STREAMS)
def test_who_joins_late_gets_what_all_get_from_then_on(kind: FormKind, stream: str):
    fed = run_of((ROOT / "tests" / "streams" / f"{stream}.sse").read_bytes())
    assert len(fed) > 5
    _, everything = told_from(kind, fed, 0)
    for joined in range(1, len(fed) + 1, max(1, len(fed) // 12)):
        _, rest = told_from(kind, fed, joined)
        assert rest == everything[joined:], joined


@EACH
def test_interruption_changes_nothing(kind: FormKind):
    fed = run_of((ROOT / "tests" / "streams" / "ferry.sse").read_bytes())
    form = kind.make()
    form.begin(None)
    told = []
    for one in fed:
        told.append(form.feed(one.event, one.changes))
        for reason in REASONS:
            assert form.interrupt(reason)
    assert told == told_from(kind, fed, 0)[1]


@EACH
def test_frames_have_no_ids_and_an_interruption_is_no_good_end(kind: FormKind):
    fed = run_of((ROOT / "tests" / "streams" / "ferry.sse").read_bytes())
    first, rest = told_from(kind, fed, len(fed) // 2)
    assert {frame.id for frame in [*first, *(frame for some in rest for frame in some)]} == {""}
    assert not set(kind.make().interrupt("shutdown")) & set(kind.done)


@EACH
def test_state_without_a_run_is_a_beginning_too(kind: FormKind):
    kind.make().begin(RunState(None, {}, {}, 0))


@each_row(
    ("before", "after", "operations"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2, "b": 3}, [("replace", "/a", 2), ("add", "/b", 3)]),
        ({"a": 1, "b": 2}, {"b": 2}, [("remove", "/a", None)]),
        ("The", "The ferry", [("append", "", " ferry")]),
        ("", "The", [("replace", "", "The")]),
        ("The", "Th", [("replace", "", "Th")]),
        ([1, 2, 3], [1], [("remove", "/2", None), ("remove", "/1", None)]),
        ([{"t": "a"}], [{"t": "ab"}, {}], [("append", "/0/t", "b"), ("add", "/-", {})]),
        (None, {"a": 1}, [("replace", "", {"a": 1})]),
        ({"a/b~": 1}, {"a/b~": 2}, [("replace", "/a~1b~0", 2)]),
    ],
)
def test_patch_says_what_changed(before: Any, after: Any, operations: list[tuple[str, str, Any]]):
    assert [(one["op"], one["path"], one.get("value")) for one in patch(before, after)] == operations


documents = strategies.recursive(
    strategies.none() | strategies.integers(0, 3) | strategies.text("ab~/", max_size=3),
    lambda inner: strategies.lists(inner, max_size=3) | strategies.dictionaries(strategies.text("ab~/"), inner),
    max_leaves=8,
)


@given(documents, documents)
def test_patch_makes_the_one_of_the_other(before: Any, after: Any):
    document = deepcopy(before)
    for operation in patch(before, after):
        document = patched(document, deepcopy(operation))
    assert document == after


def test_view_is_that_of_the_state_at_the_end():
    fed = run_of((ROOT / "tests" / "streams" / "archive.sse").read_bytes())
    first, rest = told_from(FORMS["view"], fed, 0)
    client = ViewClient()
    for frame in [*first, *(frame for some in rest for frame in some)]:
        client.take(frame)
    (whole,) = FORMS["view"].make().begin(fed[-1].state)
    assert client.view == msgspec.json.decode(whole.data)
    assert [step["status"] for step in client.view["steps"]]
