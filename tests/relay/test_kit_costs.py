"""What an event costs in the forms of kits, beside the form `changes`."""

from time import perf_counter

import pytest

from stepstream.relay.forms.form import FormKind
from stepstream.relay.forms.registry import FORMS
from tests.support.fed_forms import Fed, fed_of
from tests.support.kit_runs import run_named
from tests.support.legal_runs import legal_run

pytestmark = [pytest.mark.slow, pytest.mark.alone]

MOST = 3.0
"""How many times the cost of `changes` an event may cost."""


def seconds(kind: FormKind, fed: list[Fed]) -> float:
    """Return the least that a run takes."""

    def once() -> float:
        form = kind.make()
        form.begin(None)
        before = perf_counter()
        for one in fed:
            form.feed(one.event, one.changes)
        return perf_counter() - before

    return min(once() for _ in range(15))


@pytest.mark.parametrize("kit", ["ag-ui", "ai-sdk"])
@pytest.mark.parametrize("name", ["message as thread", "umbrellas as thread", "umbrellas as items", "random"])
def test_event_costs_at_most_three_times_that_of_changes(kit: str, name: str):
    fed = [one for seed in range(9) for one in fed_of(legal_run(seed).frames)] if name == "random" else run_named(name)
    assert seconds(FORMS[kit], fed) <= MOST * seconds(FORMS["changes"], fed)
