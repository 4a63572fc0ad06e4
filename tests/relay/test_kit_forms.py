"""Forms of user interface kits: whoever reads them holds in the end what the server does, and is refused nothing."""

import copy
import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from stepstream import Frame, Message, RunState
from stepstream.relay.forms.calls import DONE_WITH_STEP, as_text, parsed, shown
from stepstream.relay.forms.form import FormKind
from stepstream.relay.forms.parts import calls_of, numbered, texts_of_message, texts_of_step
from stepstream.relay.forms.registry import FORMS
from tests.support.fed_forms import fed_of, told_from
from tests.support.kit_readers import AgUiReader, AiSdkReader, Call, Held
from tests.support.kit_runs import NAMES, run_named
from tests.support.legal_runs import legal_run

READERS: dict[str, Callable[[], AgUiReader | AiSdkReader]] = {"ag-ui": AgUiReader, "ai-sdk": AiSdkReader}
KITS = [FORMS[name] for name in READERS]
EACH = pytest.mark.parametrize("kind", KITS, ids=list(READERS))

ENDS = {
    "ag-ui": {"completed": "success", "requires_action": "waits"},
    "ai-sdk": {"completed": "success", "requires_action": "waits", "cancelled": "abort", "incomplete": "length"},
}


def read(kind: FormKind, frames: Iterable[Frame]) -> AgUiReader | AiSdkReader:
    reader = READERS[kind.name]()
    for frame in frames:
        reader.read(frame)
    return reader


def flat(first: list[Frame], rest: Iterable[list[Frame]]) -> list[Frame]:
    return [*first, *(frame for some in rest for frame in some)]


def texts_held(message: Message) -> dict[str, str]:
    found = {numbered(message.id, place): text for place, (_, text) in enumerate(texts_of_message(message))}
    return found or {message.id: ""}


def held_by_server(kind: FormKind, state: RunState) -> Held:
    """Return what a reader should hold of a run at its end."""
    texts, thoughts, calls = dict[str, str](), dict[str, str](), dict[str, Call]()
    messages = dict(state.messages)
    for step in state.steps.values():
        thoughts.update(texts_of_step(step))
        for call in calls_of(step, is_over=step.is_terminal):
            seen = shown(call, is_final=True)
            is_answered = step.status == "completed" and seen.type in DONE_WITH_STEP
            result: Any = json.loads(json.dumps(seen.result))
            if kind.name == "ag-ui":
                result = as_text(result) if result is not None else "" if is_answered else None
            calls[seen.id] = Call(seen.name, seen.input if kind.name == "ag-ui" else parsed(seen.input), result)
        creation = getattr(step.step_details, "message_creation", None)
        message = messages.pop(creation.message_id, None) if creation else None
        if message is not None:
            texts.update(texts_held(message))
    for message in messages.values():
        texts.update(texts_held(message))
    assert state.run is not None
    return Held(texts, thoughts, calls, ENDS[kind.name].get(state.run.status or "", "error"))


def order(held: Held) -> list[list[str]]:
    return [list(held.texts), list(held.thoughts), list(held.calls)]


@EACH
def test_what_is_held_in_the_end_is_what_the_server_holds(kind: FormKind):
    for name in NAMES:
        fed = run_named(name)
        got = read(kind, flat(*told_from(kind, fed, 0))).held
        expected = held_by_server(kind, fed[-1].state)
        assert got._replace(calls={}) == expected._replace(calls={}), name
        if expected.end in ("success", "waits"):
            assert got.calls == expected.calls, name
        assert order(got) == order(expected), name


def check_joining(kind: FormKind, name: str, most: int) -> None:
    """Check that who joins, at up to `most` events, holds the same in the end as who was there from the start."""
    fed = run_named(name)
    first, everything = told_from(kind, fed, 0)
    expected = read(kind, flat(first, everything)).held
    for joined in range(1, len(fed) + 1, max(1, len(fed) // most)):
        first, rest = told_from(kind, fed, joined)
        assert rest == everything[joined:], joined
        got = read(kind, flat(first, rest)).held
        assert got._replace(calls={}) == expected._replace(calls={}), joined
        assert got.calls.keys() == expected.calls.keys(), joined


def check_cutting(kind: FormKind, name: str, most: int) -> None:
    """Check that who is cut off, at up to `most` events, is refused nothing, and told that it is no end."""
    fed = run_named(name)
    form, reader = kind.make(), READERS[kind.name]()
    form.begin(None)
    for place, one in enumerate(fed[:-1]):
        for frame in form.feed(one.event, one.changes):
            reader.read(frame)
        if place % max(1, len(fed) // most) == 0:
            cut = copy.deepcopy(reader)
            for frame in form.interrupt("shutdown"):
                cut.read(frame)
            assert cut.end == "error"
            joined = kind.make()
            assert read(kind, [*joined.begin(one.state), *joined.interrupt("slow")]).end == "error"


@EACH
@pytest.mark.parametrize("name", ["umbrellas as thread", "mcp as items", "tool-rounds as thread", "two-steps as items"])
def test_who_joins_or_is_cut_off_holds_what_was(kind: FormKind, name: str):
    check_joining(kind, name, 8)
    check_cutting(kind, name, 8)


@pytest.mark.slow
@EACH
@pytest.mark.parametrize("name", NAMES)
def test_who_joins_at_any_event_holds_the_same(kind: FormKind, name: str):
    check_joining(kind, name, 10**6)


@pytest.mark.slow
@EACH
@pytest.mark.parametrize("name", NAMES)
def test_who_is_cut_off_at_any_event_is_not_told_of_a_good_end(kind: FormKind, name: str):
    check_cutting(kind, name, 10**6)


def test_events_are_those_of_the_models_of_ag_ui():
    core = pytest.importorskip("ag_ui.core", reason="ag-ui-protocol is not installed")
    models: TypeAdapter[Any] = TypeAdapter(core.Event)
    for name in NAMES:
        fed = run_named(name)
        first, rest = told_from(FORMS["ag-ui"], fed, 0)
        begun = FORMS["ag-ui"].make().begin(fed[len(fed) // 2].state)
        for frame in [*flat(first, rest), *begun]:
            models.validate_json(frame.data, strict=False)


@EACH
@given(seed=st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_any_legal_run_is_read_from_anywhere(kind: FormKind, seed: int):
    fed = fed_of(legal_run(seed).frames)
    first, everything = told_from(kind, fed, 0)
    expected = read(kind, flat(first, everything)).held
    assert expected == held_by_server(kind, fed[-1].state)._replace(calls=expected.calls)
    for joined in range(1, len(fed) + 1):
        first, rest = told_from(kind, fed, joined)
        assert rest == everything[joined:], joined
        got = read(kind, flat(first, rest)).held
        assert order(got) == order(expected), joined
        assert got.texts == expected.texts
