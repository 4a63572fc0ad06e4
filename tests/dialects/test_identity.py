"""Which step an event is about, whatever a server does with its ids and indexes."""

from itertools import count
from typing import Any

import pytest

from tests.support.json_values import JSON
from tests.support.response_streams import (
    about,
    added,
    calling,
    done,
    ended,
    fold,
    item,
    lifecycle,
    piece,
    text,
    thinking,
    whole,
    writing,
)
from tests.support.tables import each_row

CREATED = lifecycle("created")


def rotated(events: list[JSON]) -> list[JSON]:
    """The events with another id of response and item in each, as one gateway sends them."""
    numbers, found = count(1), []
    for event in events:
        one = {**event}
        if "item_id" in one:
            one["item_id"] = f"rotated-{next(numbers)}"
        if "item" in one:
            one["item"] = {**one["item"], "id": f"rotated-{next(numbers)}"}
        if "response" in one:
            output = [{**entry, "id": f"rotated-{next(numbers)}"} for entry in one["response"]["output"]]
            one["response"] = {**one["response"], "id": f"rotated-{next(numbers)}", "output": output}
        found.append(one)
    return found


def without(key: str, events: list[JSON]) -> list[JSON]:
    return [{name: value for name, value in event.items() if name != key} for event in events]


RUN = whole(thinking("s", "t"), writing("abc", 1, 1), calling("{}", 1, 2))


def shape_of(folded: Any) -> list[Any]:
    """What a stream came to, without ids."""
    steps = folded.accumulator.steps.values()
    return [
        [(step.type, step.status) for step in steps],
        folded.texts,
        [call.function.arguments for step in steps for call in step.tool_calls],
        [part.text for step in steps if step.type == "reasoning" for part in step.step_details.reasoning.content],
        [run.status for run in folded.accumulator.runs.values()],
    ]


EXPECTED = [
    [("reasoning", "completed"), ("message_creation", "completed"), ("tool_calls", "completed")],
    ["abc"],
    ["{}"],
    ["t"],
    ["requires_action"],
]


def without_numbers(events: list[JSON]) -> list[JSON]:
    return without("sequence_number", events)


def constant_numbers(events: list[JSON]) -> list[JSON]:
    return [{**event, "sequence_number": 0} for event in events]


def numbers_by_type(events: list[JSON]) -> list[JSON]:
    kinds = list(dict.fromkeys(event["type"] for event in events))
    return [{**event, "sequence_number": kinds.index(event["type"])} for event in events]


def without_ids(events: list[JSON]) -> list[JSON]:
    found = without("item_id", events)
    for event in found:
        if "item" in event:
            event["item"] = {key: value for key, value in event["item"].items() if key != "id"}
    return found


def empty_ids(events: list[JSON]) -> list[JSON]:
    return [
        {key: "" if key == "item_id" else {**value, "id": ""} if key == "item" else value for key, value in one.items()}
        for one in events
    ]


def other_ids_at_the_end(events: list[JSON]) -> list[JSON]:
    return [
        {**event, "item": {**event["item"], "id": f"end_{event['item']['id']}"}}
        if event["type"] == "response.output_item.done"
        else event
        for event in events
    ]


def only_pieces_and_the_end(events: list[JSON]) -> list[JSON]:
    return [event for event in events if "output_item" not in event["type"]]


def only_last_objects(events: list[JSON]) -> list[JSON]:
    kept = ("response.created", "response.output_item.done", "response.completed")
    return [event for event in events if event["type"] in kept]


def only_the_end(events: list[JSON]) -> list[JSON]:
    return [events[0], events[-1]]


def one_index(events: list[JSON]) -> list[JSON]:
    return [{**event, "output_index": 0} if "output_index" in event else event for event in events]


def no_index(events: list[JSON]) -> list[JSON]:
    return without("content_index", without("output_index", events))


def counted_index(events: list[JSON]) -> list[JSON]:
    numbers = count()
    return [
        {**event, "content_index": next(numbers)} if event["type"] == "response.output_text.delta" else event
        for event in events
    ]


def every_index_counted(events: list[JSON]) -> list[JSON]:
    """No part is announced; the index goes up with every piece, and stays at the last where the text ends."""
    numbers, last, found = count(), 0, []
    for event in events:
        if event["type"] == "response.content_part.added":
            continue
        if event["type"] == "response.output_text.delta":
            last = next(numbers)
        found.append({**event, "content_index": last} if "content_index" in event else event)
    return found


def no_last_objects(events: list[JSON]) -> list[JSON]:
    return [event for event in events if event["type"] != "response.output_item.done"]


def doubled_ends(events: list[JSON]) -> list[JSON]:
    return [one for event in without_numbers(events) for one in [event] * (1 + ("output_item" in event["type"]))]


def leaking(events: list[JSON]) -> list[JSON]:
    chunk = {"object": "chat.completion.chunk", "choices": [{"delta": {"content": "leaked"}}]}
    return [one for event in events for one in (event, chunk)]


ODD_SERVERS = [
    rotated,
    without_numbers,
    constant_numbers,
    numbers_by_type,
    without_ids,
    empty_ids,
    other_ids_at_the_end,
    only_pieces_and_the_end,
    only_last_objects,
    only_the_end,
    one_index,
    no_index,
    counted_index,
    every_index_counted,
    no_last_objects,
    doubled_ends,
    leaking,
]


@each_row("named", [True, False], ids=["named", "unnamed"])
@each_row("odd", ODD_SERVERS)
def test_odd_server_gives_the_same_steps_in_silence(odd: Any, named: bool):
    folded = fold(odd(RUN), named=named)
    assert shape_of(folded) == EXPECTED
    assert folded.codes == []


@pytest.mark.parametrize("odd", [rotated, without_ids, empty_ids, one_index])
def test_text_grows_live_though_ids_say_nothing(odd: Any):
    cut = next(place for place, event in enumerate(RUN) if event["type"] == "response.output_text.done")
    assert fold(odd(RUN[:cut])).texts == ["abc"]


def test_missing_ids_are_the_run_and_a_number():
    assert list(fold(without_ids(RUN)).accumulator.steps) == ["resp_1:0", "resp_1:1", "resp_1:2"]


def test_run_has_the_first_id_of_its_response():
    assert list(fold(rotated(RUN)).accumulator.runs) == ["rotated-1"]


def test_response_without_an_id_is_a_run_all_the_same():
    events = [{**event} for event in RUN]
    for event in events:
        if "response" in event:
            event["response"] = {**event["response"], "id": ""}
    assert shape_of(fold(events)) == EXPECTED


def test_ids_that_were_used_before_are_not_used_again():
    first, second = item(number=1), item(number=1)
    events = [
        added(first, 0),
        added(second, 1),
        piece("a", first, 0),
        piece("b", second, 1),
        done(ended(second, content=[text("b")]), 1),
        done(ended(first, content=[text("a")]), 0),
    ]
    folded = fold([CREATED, *events, lifecycle("completed", *(event["item"] for event in events[-1:-3:-1]))])
    assert {one: message.text for one, message in folded.accumulator.messages.items()} == {
        "message_1": "a",
        "resp_1:1": "b",
    }
    assert folded.codes == []


def test_id_of_another_run_is_not_used_again():
    second = [lifecycle("created", id="resp_2"), *writing("b"), lifecycle("completed", id="resp_2")]
    folded = fold([CREATED, *writing("a"), lifecycle("completed"), *second])
    assert list(folded.accumulator.steps) == ["message_1", "resp_2:0"]
    assert folded.texts == ["a", "b"]


def test_call_ids_that_come_again_stay_as_the_server_gave_them():
    events = [*calling("{}", 1, 0)[:-1], done(ended(item("function_call", 1), arguments="{}"), 0)]
    other = ended(item("function_call", 2, call_id="call_1"), arguments="[]")
    folded = fold([CREATED, *events, done(other, 1), lifecycle("completed")])
    assert [step.tool_calls[0].id for step in folded.accumulator.steps.values()] == ["call_1", "call_1"]


def test_call_that_gets_its_id_with_its_end_is_told_once():
    first = item("tool_search_call", call_id="call_early", execution="client")
    last = ended(first, call_id="call_1")
    folded = fold([CREATED, added(first), done(last), lifecycle("completed", last)])
    action: Any = folded.accumulator.runs["resp_1"].required_action
    assert [call.id for call in action.tool_calls] == ["call_1"]
    assert len(folded.accumulator.steps["tool_search_call_1"].tool_calls) == 1


def test_parallel_calls_of_pieces_alone_at_one_index_are_kept_apart_by_their_ids():
    first, second = item("function_call", 1), item("function_call", 2)
    told = [about("function_call_arguments.delta", one, 0, delta=letter) for one in (first, second) for letter in "ab"]
    folded = fold([CREATED, *told])
    assert [step.tool_calls[0].function.arguments for step in folded.accumulator.steps.values()] == ["ab", "ab"]
    listed = [ended(one, arguments="ab") for one in (first, second)]
    settled = fold([CREATED, *told, lifecycle("completed", *listed)])
    assert [step.tool_calls[0].id for step in settled.accumulator.steps.values()] == ["call_1", "call_2"]


def test_last_object_is_found_by_the_id_of_its_call():
    first, second = item("function_call", 1), item("function_call", 2)
    events = [added(first, 0), added(second, 1)]
    last = {**ended(second, arguments="[2]"), "id": "elsewhere"}
    folded = fold([CREATED, *events, done(last, None)])
    assert folded.accumulator.steps["function_call_2"].status == "completed"
    assert folded.accumulator.steps["function_call_1"].status == "in_progress"


@pytest.mark.parametrize("index", [None, 1])
def test_last_object_with_another_index_ends_the_item_that_has_its_id(index: int | None):
    one = item()
    folded = fold([CREATED, added(one, 0), done(ended(one, content=[text("a")]), index)])
    assert folded.statuses["message_1"] == ["in_progress", "completed"]
    assert len(folded.accumulator.steps) == 1


@pytest.mark.parametrize(("index", "count"), [(0, 1), (None, 2)])
def test_request_for_approval_that_ends_with_another_id_is_found_by_its_index(index: int | None, count: int):
    """It was whole when it was added, so that it has ended by then."""
    one = item("mcp_approval_request", status=None, name="ask", arguments="{}")
    events = [CREATED, added(one), {**done({**one, "id": "another"}), "output_index": index}]
    assert len(fold(events).accumulator.steps) == count


def test_last_object_of_another_type_is_another_item():
    folded = fold([CREATED, added(item()), done(ended({**item("reasoning"), "id": "message_1"}))])
    assert {one: step.type for one, step in folded.accumulator.steps.items()} == {
        "message_1": "message_creation",
        "resp_1:1": "reasoning",
    }


def test_piece_with_the_id_of_an_item_of_another_type_is_of_another_item():
    folded = fold([CREATED, added(item("reasoning")), piece("a", {"id": "reasoning_1"}, None)])
    assert folded.texts == ["a"]
    assert list(folded.accumulator.steps) == ["reasoning_1", "resp_1:1"]


def test_item_announced_again_by_its_id_is_one_item():
    one = item()
    folded = fold([CREATED, added(one), added(one), added(one, None), piece("a", one)])
    assert folded.texts == ["a"]
    assert list(folded.accumulator.steps) == ["message_1"]


def test_piece_for_an_item_that_ended_is_dropped():
    folded = fold([CREATED, *writing("abc"), piece("d", item()), about("output_text.done", item(), text="abcd")])
    assert folded.texts == ["abc"]
    assert folded.codes == []


@pytest.mark.parametrize("name", ["content_part.added", "content_part.done", "output_text.annotation.added"])
def test_part_of_an_item_that_ended_is_dropped(name: str):
    late = about(name, item(), content_index=0, part=text("x"), annotation={"type": "file_path", "file_id": "f"})
    phase = about("web_search_call.completed", item("web_search_call"))
    events = [*writing("abc"), late, done(ended(item("web_search_call")), 1), phase]
    folded = fold([CREATED, *events])
    assert folded.texts == ["abc"]
    assert folded.codes == []


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        ([piece("a", item())], "message_creation"),
        ([about("reasoning_text.delta", item("reasoning"), content_index=0, delta="a")], "reasoning"),
        ([about("web_search_call.searching", item("web_search_call"))], "tool_calls"),
        ([about("content_part.added", item(), content_index=0, part=text(""))], "message_creation"),
        ([about("content_part.done", item(), content_index=0, part=text("a"))], "message_creation"),
        ([about("shell_call_command.delta", None, command_index=0, delta="a")], "tool_calls"),
    ],
)
def test_step_of_an_item_that_no_event_announced_is_opened_by_the_first_about_it(events: list[JSON], kind: str):
    folded = fold([CREATED, *events])
    assert [step.type for step in folded.accumulator.steps.values()] == [kind]
    assert folded.codes == []


def test_no_more_parts_are_opened_than_an_index_can_name():
    one = item()
    parts = [about("content_part.added", one, content_index=index, part=text("")) for index in range(1026)]
    note: JSON = {"type": "file_path", "file_id": "f"}
    notes = [about("output_text.annotation.added", one, content_index=0, annotation=note) for _ in range(1025)]
    beyond = [
        about("output_text.done", one, content_index=2000, text="x"),
        about("content_part.done", one, content_index=2000, part=text("x")),
        piece("x", one, part=2000),
        about("output_text.annotation.added", one, content_index=2000, annotation=note),
    ]
    folded = fold([CREATED, added(one), *parts, *notes])
    assert folded.codes == ["bad_index"] * 3
    closed = [about("output_text.done", one, content_index=index, text="") for index in range(1024)]
    assert fold([CREATED, added(one), *parts[:1024], *closed, *beyond]).codes == ["bad_index"] * 4
