"""What every form keeps to: where a viewer joined makes no difference to what comes after."""

import pytest

from stepstream import RunState
from stepstream.relay.forms.form import REASONS, FormKind
from stepstream.relay.forms.registry import FORMS
from tests.support.fed_forms import run_of, told_from
from tests.support.places import ROOT

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
