"""Reading what is known: mappings of snapshots, and what a handle says of its stream."""

import anyio
import msgspec
import pytest

from stepstream import Processor
from tests.support.run_streams import frames, grows, message, play, played, run, says, source, step
from tests.support.suspensions import quiet


async def test_snapshots_are_those_of_the_outcome():
    async with Processor() as processor:
        outcome = await processor.run(played([*play(1)[:-1], message("in_progress"), *play(2)]))
        assert dict(processor.steps) == outcome.steps
        assert dict(processor.messages) == outcome.messages
        assert dict(processor.runs) == outcome.runs


async def test_snapshots_are_built_as_of_the_moment_they_are_read():
    go_on = anyio.Event()
    sent = [run("in_progress"), step("created"), grows("{"), message("in_progress"), says("Hel")]
    async with Processor() as processor:
        steps, messages = processor.steps, processor.messages
        assert (list(steps), len(messages)) == ([], 0)
        handle = processor.start(source(*frames(sent), go_on, *frames([says("lo"), grows("}")]), anyio.Event()))
        await quiet()
        before = messages["msg_1"]
        assert (before.text, b'"arguments":"{"' in msgspec.json.encode(steps["step_1"])) == ("Hel", True)
        go_on.set()
        await quiet()
        assert (messages["msg_1"].text, before.text) == ("Hello", "Hel")
        assert processor.runs["run_1"].status == "in_progress"
        handle.cancel()


async def test_snapshots_cannot_be_changed():
    async with Processor() as processor:
        await processor.run(played(play()))
        for known in (processor.steps, processor.messages, processor.runs):
            with pytest.raises(TypeError):
                known["other"] = None


async def test_handle_names_its_newest_run_and_its_context():
    go_on, again = anyio.Event(), anyio.Event()
    sent = source(go_on, *frames([run("queued", 1)]), again, *frames([run("queued", 2), run("in_progress", 1)]))
    async with Processor() as processor:
        handle = processor.start(sent, context="channel")
        assert (handle.run_id, handle.context) == (None, "channel")
        for gate, expected in ((go_on, "run_1"), (again, "run_2")):
            gate.set()
            await quiet()
            assert handle.run_id == expected
        await handle.ended()
        assert (handle.run_id, handle.context) == ("run_2", "channel")
