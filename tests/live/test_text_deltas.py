"""The text of messages in pieces: joined they are the text, or the message is named; and they end with their run."""

from typing import Any

import anyio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepstream import MessageTransition, Outcome, Processor
from tests.support.json_values import JSON
from tests.support.run_streams import DONE, Sent, as_far_as_it_came, message, played, run, says, source, sse
from tests.support.suspensions import quiet
from tests.support.tables import each_row


def part(text: str, index: int = 0) -> Sent:
    """A delta of one part of the message."""
    content = [{"index": index, "type": "text", "text": {"value": text}}]
    return ("thread.message.delta", {"id": "msg_1", "delta": {"content": content}})


def whole(name: str, *texts: str, number: int = 1) -> Sent:
    """A full object with so many parts."""
    name, body = message(name, number)
    content: list[JSON] = [{"type": "text", "text": {"value": text, "annotations": []}} for text in texts]
    return (name, {**(body or {}), "content": content})


def without_content(name: str) -> Sent:
    name, body = message(name)
    return (name, {**(body or {}), "content": None})


async def pieces_of(sent: list[Sent], **filters: str) -> tuple[list[str], list[str], Outcome]:
    """The pieces of a stream, which messages were rewritten, and the outcome."""
    processor = Processor()
    async with processor.text_deltas(**filters) as pieces:
        async with processor:
            outcome = await as_far_as_it_came(processor.run(played(sent)))
        return [piece async for piece in pieces], pieces.rewritten, outcome


def one_message(*events: Sent) -> list[Sent]:
    return [run("queued"), message("created"), *events, run("completed"), DONE]


CASES = {
    "plain": ([part("Hel"), part("lo"), whole("completed", "Hello")], "Hello", []),
    "no deltas": ([whole("completed", "Hello")], "Hello", []),
    "a delta lost at the end": ([part("Hel"), whole("completed", "Hello")], "Hello", []),
    "a delta lost on the way": ([part("H"), part("lo"), whole("completed", "Hello")], "Hlo", ["msg_1"]),
    "two parts in order": ([part("a"), part("b", 1), whole("completed", "a", "b")], "ab", []),
    "two parts by turns": ([part("a"), part("x", 1), part("b"), whole("completed", "ab", "x")], "axb", ["msg_1"]),
    "by turns, never ended": ([part("a"), part("x", 1), part("b")], "axb", ["msg_1"]),
    "by turns, and the same": ([part("a"), part("a", 1), part("a"), whole("completed", "aa", "a")], "aaa", []),
    "rewritten": ([part("Hello wor"), whole("completed", "Hello, world")], "Hello wor", ["msg_1"]),
    "removed": ([part("secret text"), whole("incomplete", "[removed]")], "secret text", ["msg_1"]),
    "final content null": ([part("Hel"), without_content("completed"), part("lo")], "Hel", []),
    "no text at all": ([without_content("completed")], "", []),
    "never ended": ([part("Hel")], "Hel", []),
    "object on the way": ([part("H"), whole("in_progress", "Hel"), part("l"), whole("completed", "Hell")], "Hell", []),
}  # fmt: skip


@each_row("case", CASES)
async def test_pieces_joined_are_the_text_or_the_message_is_named(case: str):
    events, joined, rewritten = CASES[case]
    pieces, named, outcome = await pieces_of(one_message(*events))
    assert ("".join(pieces), named) == (joined, rewritten)
    assert (outcome.messages["msg_1"].text == joined) is not bool(rewritten)
    assert [one.code for one in outcome.anomalies if "rewritten" in one.code] == []


async def test_part_before_those_that_came_at_first_is_out_of_its_place():
    async with Processor() as processor:
        await as_far_as_it_came(processor.run(played([run("queued"), message("created"), part("x"), part("y", 1)])))
        async with processor.text_deltas() as pieces:
            await as_far_as_it_came(processor.run(played([run("queued"), part("a")])))
            assert ([await anext(pieces), await anext(pieces)], pieces.rewritten) == (["xy", "a"], ["msg_1"])


async def test_only_the_message_that_was_rewritten_is_named():
    sent = [
        run("queued"),
        *(message("created", number) for number in (1, 2)),
        *(says("a", number) for number in (1, 2)),
        whole("completed", "b", number=2),
        whole("completed", "ab", number=1),
        run("completed"),
        DONE,
    ]
    pieces, named, _ = await pieces_of(sent)
    assert (pieces, named) == (["a", "a", "b"], ["msg_2"])


@st.composite
def tellings(draw: st.DrawFn) -> list[Sent]:
    """One message as a server may send it: parts, deltas that are lost or come by turns, objects on the way, an end."""
    words = st.text("ab", max_size=2)
    deltas = st.builds(part, words, st.integers(0, 2))
    objects = st.builds(lambda texts: whole("in_progress", *texts), st.lists(words, max_size=2))
    events = draw(st.lists(st.one_of(deltas, deltas, objects), max_size=8))
    ends = st.builds(
        lambda name, texts: whole(name, *texts) if texts else without_content(name),
        st.sampled_from(["completed", "incomplete"]),
        st.lists(st.sampled_from(["", "a", "ab", "aba", "b"]), max_size=2),
    )
    return [*events, *draw(st.lists(ends, max_size=1)), *draw(st.lists(deltas, max_size=2))]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=tellings(), filtered=st.booleans())
async def test_pieces_joined_are_the_text_or_the_message_is_named_whatever_comes(events: list[Sent], filtered: bool):
    filters = {"run_id": "run_1"} if filtered else {}
    pieces, named, outcome = await pieces_of(one_message(*events), **filters)
    final = outcome.messages["msg_1"]
    if final.is_terminal:
        assert ("".join(pieces) == final.text) is (named == [])
        assert named in ([], ["msg_1"])


async def test_every_moment_to_come_gives_the_text_so_far_and_the_rest():
    """Of a run also when its message has ended, or the run itself."""
    sent = one_message(part("Hel"), part("lo"), whole("completed", "Hello"))[:-1]
    for moment in range(len(sent) + 1):
        gate, got = anyio.Event(), []
        async with Processor() as processor, anyio.create_task_group() as tasks:
            handle = processor.start(source(sse(sent[:moment]), gate, sse([*sent[moment:], DONE])))
            await quiet()

            async def read(processor: Processor = processor, got: list[str] = got) -> None:
                async with processor.text_deltas(run_id="run_1") as pieces:
                    got += [piece async for piece in pieces]  # it ends by itself

            with anyio.fail_after(5):
                tasks.start_soon(read)
                await quiet()
                gate.set()
                await handle.outcome()
        assert "".join(got) == "Hello"


async def test_late_delta_that_fills_what_the_final_object_left_null_is_given():
    sent = [run("queued"), without_content("completed"), part("Hello"), run("completed"), DONE]
    pieces, named, outcome = await pieces_of(sent)
    assert (pieces, named, outcome.messages["msg_1"].text) == (["Hello"], [], "Hello")


async def test_messages_that_ended_before_are_left_out_where_no_run_is_named():
    async with Processor() as processor:
        await processor.run(played(one_message(whole("completed", "before"))))
        async with processor.text_deltas(thread_id="thread_1") as pieces:
            await processor.run(played([message("created", 1, ""), part("late"), DONE]))
            await processor.run(played([("thread.message.created", new_message("msg_2")), DONE]))
            assert await anext(pieces) == "now"


def new_message(identifier: str) -> Any:
    _, body = message("created", text="now")
    return {**(body or {}), "id": identifier}


async def test_pieces_of_a_run_end_though_its_message_ends_after_it():
    sent = [run("queued"), message("created"), part("Hel"), run("completed"), whole("completed", "Hello"), DONE]
    pieces, named, _ = await pieces_of(sent, run_id="run_1")
    assert (pieces, named) == (["Hel", "lo"], [])


async def test_reader_who_has_the_transition_knows_the_text_of_a_rewritten_message():
    processor = Processor()
    sent = one_message(part("secret"), whole("incomplete", "[removed]"))
    async with processor.subscribe(MessageTransition, terminal=True) as ends, processor.text_deltas() as pieces:
        async with processor:
            await processor.run(played(sent))
        assert [piece async for piece in pieces] == ["secret"]
        final = {change.message_id: change.message.text async for change in ends}
        assert [final[one] for one in pieces.rewritten] == ["[removed]"]
