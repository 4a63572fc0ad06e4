"""The key of a change is the same whenever the same change is told again."""

import random
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from stepstream.fold.accumulator import Accumulator
from stepstream.fold.anomalies import Anomaly
from stepstream.fold.cause import MAX_STATUSES, TakenStatuses
from stepstream.fold.changes import Change, MessageProgress, RunTransition, StepProgress
from stepstream.fold.encoding import KEYS as CLASSES
from stepstream.fold.encoding import decode_change, encode_change
from stepstream.fold.reconcile import ServerAnswer, missed_events
from stepstream.fold.retelling import retell
from stepstream.fold.run_state import run_state
from stepstream.wire.events import Event
from stepstream.wire.sse import Frame, FrameDecoder, encode_frame
from tests.support.delta_streams import Server
from tests.support.legal_runs import LegalRun, legal_run
from tests.support.server_events import (
    MESSAGE,
    RUN,
    STEP,
    asking,
    call,
    changes_of,
    created,
    ended,
    fold,
    message,
    moved,
    run,
)
from tests.support.tables import each_row

STREAMS = sorted((Path(__file__).parent.parent / "streams").glob("*.sse"))
UNTOLD = (StepProgress, MessageProgress, Anomaly)


def keys(changes: Iterable[Change]) -> list[str]:
    return [change.key for change in changes if not isinstance(change, UNTOLD)]


def told(accumulator: Accumulator, frames: Iterable[Frame]) -> list[Change]:
    return [change for frame in frames for change in accumulator.apply_frame(frame)]


KEYS = {
    "step": ([created()], f"{RUN}/step/{STEP}/in_progress"),
    "ended_step": ([created(), ended()], f"{RUN}/step/{STEP}/completed"),
    "step_without_a_run": ([created(run_id=None)], f"/step/{STEP}/in_progress"),
    "run": ([run("queued", as_="created")], f"{RUN}/run/queued"),
    "message": ([message()], f"{RUN}/message/msg_fern/in_progress"),
    "call": ([created(call("call_a", name="sail"))], f"{RUN}/call/{STEP}/call_a/started"),
    "finished_call": ([created(), ended(call("a/b %", name="sail"))], f"{RUN}/call/{STEP}/a%2Fb%20%25/finished"),
    "status_of_a_step_taken_again": (
        [created(), moved(status="paused"), moved(status="in_progress")],
        f"{RUN}/step/{STEP}/in_progress/2",
    ),
    "step_that_ends_with_the_status_it_had": (
        [created(), ended(status="in_progress")],
        f"{RUN}/step/{STEP}/in_progress/2",
    ),
    "status_of_a_run_taken_again": (
        [run("queued", as_="created"), run("in_progress"), run("queued"), run("in_progress")],
        f"{RUN}/run/in_progress/2",
    ),
}


@each_row(("events", "key"), KEYS.values(), ids=KEYS)
def test_key_says_run_kind_id_and_what(events: list, key: str) -> None:
    if "call" in key:
        assert key in keys(changes_of(*events))
    else:
        assert keys(changes_of(*events))[-1] == key.replace("msg_fern", getattr(events[0].data, "id", ""))


def test_rounds_of_tool_calls_have_keys_of_their_own() -> None:
    one, other = (asking(call(name, name="sail")) for name in ("call_a", "call_b"))
    changes = changes_of(run("in_progress"), one, run("queued"), run("in_progress"), other, run("in_progress"))
    statuses = [change.status for change in changes if isinstance(change, RunTransition)]
    first, asked, *_ = found = keys(changes)
    assert statuses == ["in_progress", "requires_action", "queued", "in_progress", "requires_action", "in_progress"]
    assert first == f"{RUN}/run/in_progress"
    assert found[1].rpartition("/")[2] == found[2].rpartition("/")[2] == found[3].rpartition("/")[2]
    assert found[4].rpartition("/")[2] == found[5].rpartition("/")[2] != asked.rpartition("/")[2]


def test_hash_of_a_round_does_not_depend_on_the_order_of_its_calls() -> None:
    calls = [call("call_a", name="sail"), call("call_b", name="row")]
    assert keys(changes_of(asking(*calls))) == keys(changes_of(asking(*reversed(calls))))


def test_calls_asked_for_again_are_another_change() -> None:
    asked = asking(call("call_a", name="sail"))
    found = keys(changes_of(asked, run("in_progress"), asked))
    assert found[2] == f"{found[0]}/2"


def test_statuses_beyond_the_bound_still_have_keys_of_their_own() -> None:
    taken = TakenStatuses()
    many = [f"{status}{taken.take(status)}" for status in map(str, range(MAX_STATUSES + 50)) for _ in range(2)]
    assert len(set(many)) == len(many)
    assert len(taken.counts) <= MAX_STATUSES + 1


@pytest.mark.parametrize("lacking", [None, msgspec.UNSET], ids=["null", "left-out"])
def test_step_and_message_stay_those_of_their_run_where_later_objects_name_none(lacking: object) -> None:
    def without(event: Event) -> Event:
        return event_with(event, run_id=lacking)

    steps = [created(call("call_a", name="sail")), moved(status="paused"), ended(call("call_a", name="sail"))]
    messages = [message(), message("completed", as_="completed")]
    for first, *later in (steps, messages):
        assert keys(changes_of(first, *map(without, later))) == keys(changes_of(first, *later))


def event_with(event: Event, **fields: object) -> Event:
    return Event(event.name, msgspec.structs.replace(event.data, **fields))


# Over random runs


def direct(told_run: LegalRun) -> list[Change]:
    """Each stream by an accumulator of its own, as a processor reads them: they share what is known."""
    state, changes = None, []
    for stream in told_run.streams:
        accumulator = Accumulator(state=state)
        state = accumulator.state
        changes += told(accumulator, stream)
    return changes


def chunked_otherwise(told_run: LegalRun, chance: random.Random) -> list[Change]:
    data = b"".join(map(encode_frame, told_run.frames))
    decoder, accumulator, changes, at = FrameDecoder(), Accumulator(), [], 0
    while at < len(data):
        size = chance.choice([1, 7, 100, 1000])
        changes += told(accumulator, decoder.feed(data[at : at + size]))
        at += size
    return changes


def restored(told_run: LegalRun, chance: random.Random) -> list[Change]:
    frames = told_run.frames
    cut = chance.randrange(len(frames))
    first = Accumulator()
    before = told(first, frames[:cut])
    return before + told(Accumulator.restore(first.export()), frames[cut:])


def reconciled(told_run: LegalRun, chance: random.Random) -> list[Change]:
    frames = told_run.frames
    accumulator = Accumulator()
    changes = told(accumulator, frames[: chance.randrange(1, len(frames))])
    for frame in missed_events(accumulator.state, told_run.answer):
        changes += accumulator.apply_frame(frame)
    return changes


def check_keys(seed: int) -> None:
    told_run, chance = legal_run(seed), random.Random(seed)
    changes = direct(told_run)
    expected = keys(changes)
    assert len(expected) == len(set(expected)) > 3
    assert keys(chunked_otherwise(told_run, chance)) == expected
    assert keys(restored(told_run, chance)) == expected
    again = reconciled(told_run, chance)
    found = keys(again)
    assert set(found) <= set(expected)
    assert len(found) == len(set(found))
    ends = {change.key for change in changes if getattr(change, "terminal", False)}
    assert ends <= set(found)
    meaning = {change.key: said(change) for change in changes if not isinstance(change, UNTOLD)}
    assert all(meaning[change.key] == said(change) for change in again if not isinstance(change, UNTOLD))


def said(change: Change) -> tuple[str, str]:
    """What equal keys must agree on."""
    if hasattr(change, "status"):
        return type(change).__name__, change.status
    return type(change).__name__, change.id


# Where steps and messages name no run


def nameless(told_run: LegalRun, chance: random.Random) -> LegalRun:
    """The run as told by a server that leaves the run's id out of steps and messages, or of some, or says null."""
    share = chance.choice([0.5, 1])

    def bare(data: bytes) -> bytes:
        body = msgspec.json.decode(data)
        if "run_id" in body and chance.random() < share:
            body |= {"run_id": None}
            if chance.random() < 0.5:
                del body["run_id"]
        return msgspec.json.encode(body)

    def bare_frame(frame: Frame) -> Frame:
        return frame if frame.event == "done" else Frame(frame.event, bare(frame.data), frame.id)

    answer = told_run.answer
    objects = [tuple(map(bare, kind)) for kind in (answer.steps, answer.messages)]
    return LegalRun([[*map(bare_frame, stream)] for stream in told_run.streams], ServerAnswer(answer.run, *objects))


def check_nameless_keys(seed: int) -> None:
    told_run, chance = legal_run(seed), random.Random(seed)
    bare = nameless(told_run, chance)
    named = direct(told_run)
    expected = keys(named)
    for changes in (direct(bare), chunked_otherwise(bare, chance), restored(bare, chance)):
        assert keys(changes) == expected
        assert [change.run_id for change in changes] == [change.run_id for change in named]
    found = keys(reconciled(bare, chance))
    assert len(found) == len(set(found))
    assert {change.key for change in named if getattr(change, "terminal", False)} <= set(found) <= set(expected)


def test_keys_are_the_same_where_steps_and_messages_name_no_run() -> None:
    for seed in range(60):
        check_nameless_keys(seed)


@pytest.mark.slow
def test_keys_of_2000_runs_are_the_same_where_steps_and_messages_name_no_run() -> None:
    for seed in range(2_000):
        check_nameless_keys(seed)


def test_message_of_a_user_belongs_to_no_run() -> None:
    changes = changes_of(
        run("queued"), message(id="msg_fern", run_id=None, role="user"), message(id="msg_moss", run_id=None)
    )
    assert [change.run_id for change in changes] == [RUN, None, RUN]
    assert keys(changes)[1:] == ["/message/msg_fern/in_progress", f"{RUN}/message/msg_moss/in_progress"]


def test_object_without_a_run_belongs_to_the_newest_of_its_stream() -> None:
    told_runs = [run("queued", id="run_1"), run("queued", id="run_2"), run("in_progress", id="run_1")]
    (*_, change) = changes_of(*told_runs, created(run_id=None))
    assert (change.run_id, change.step.run_id) == ("run_2", None)


def test_object_without_a_run_belongs_to_that_of_the_newest_step_where_no_run_was_told() -> None:
    changes = changes_of(created(run_id="run_1"), created(id="step_moss", run_id=None), message(run_id=None))
    assert [change.run_id for change in changes] == ["run_1"] * 3


def test_run_finishes_no_calls_of_a_nameless_step_of_another() -> None:
    step = created(call("call_a", name="sail"), run_id=None)
    other = asking(call("call_a", name="sail"), id="run_2")
    found = keys(changes_of(run("in_progress", id="run_1"), step, other))
    assert found[1:-1] == [f"run_1/step/{STEP}/in_progress", f"run_1/call/{STEP}/call_a/started"]


def test_object_that_came_before_any_run_belongs_to_the_first_that_its_stream_names() -> None:
    before = [created(call("call_a", name="sail"), run_id=None), message(run_id=None)]
    of_a_user = message(id="msg_fern", run_id=None, role="user")
    after = [run("queued"), run("queued", id="run_2"), moved(status="paused", run_id=None), ended(run_id=None)]
    accumulator = Accumulator()
    found = [change for one in (*before, of_a_user, *after) for change in accumulator.apply(one)]
    assert {key.partition("/")[0] for key in keys(found[:4])} == {""}
    assert keys(found[6:]) == [
        f"{RUN}/step/{STEP}/paused", f"{RUN}/call/{STEP}/call_a/finished", f"{RUN}/step/{STEP}/completed",
    ]  # fmt: skip
    state = run_state(accumulator.state, RUN)
    assert (list(state.steps), list(state.messages)) == ([STEP], [MESSAGE])


def test_line_of_an_object_that_names_no_run_is_read_back_with_it() -> None:
    changes = changes_of(run("queued"), created(call("call_a", name="sail"), run_id=None), message(run_id=None))
    assert {change.run_id for change in changes} == {RUN}
    check_lines(changes)
    assert decode_change(encode_change(changes[1], snapshot=True)).step == changes[1].step


def test_keys_stay_the_same_however_a_run_is_told() -> None:
    for seed in range(60):
        check_keys(seed)


@pytest.mark.slow
def test_keys_stay_the_same_however_2000_runs_are_told() -> None:
    for seed in range(2_000):
        check_keys(seed)


def test_replayed_transitions_have_the_keys_of_those_they_repeat() -> None:
    for seed in range(50):
        accumulator, seen = Accumulator(), set()
        for frame in legal_run(seed).frames:
            seen |= set(keys(accumulator.apply_frame(frame)))
            kinds = {RunTransition, *map(type, accumulator.apply_frame(frame))}
            assert set(keys(retell(accumulator.state, kinds))) <= seen


# Lines, read back


def check_lines(changes: Iterable[Change]) -> None:
    for change in changes:
        line = encode_change(change, snapshot=True)
        read = decode_change(line)
        assert read == change, line
        assert (read.key, encode_change(read, snapshot=True)) == (change.key, line)
        plain = decode_change(encode_change(change))
        assert (plain.key, encode_change(plain)) == (change.key, encode_change(change))


@each_row("path", STREAMS, ids=lambda path: path.stem)
def test_changes_of_own_streams_are_read_back(path: Path) -> None:
    check_lines(told(Accumulator(context=object()), FrameDecoder().feed(path.read_bytes())))


def test_run_with_an_empty_id_is_read_back() -> None:
    check_lines(Accumulator().apply_frame(Frame("thread.run.created", b'{"id":"","status":"queued"}')))


def test_progress_of_a_full_object_is_read_back_without_a_delta() -> None:
    changes = changes_of(ended(usage=None), ended(usage={"total_tokens": 3}))
    check_lines(changes)
    assert decode_change(encode_change(changes[-1])).delta is None


def test_changes_of_random_runs_are_read_back() -> None:
    for seed in range(40):
        check_lines(told(Accumulator(), legal_run(seed).frames))


def test_changes_of_hostile_streams_are_read_back() -> None:
    for seed in range(60):
        check_lines(told(Accumulator(), FrameDecoder().feed(b"".join(Server(seed).stream(40)))))


@each_row("attribute", ["step", "run", "message", "call"])
def test_object_that_was_not_written_is_a_lookup_error(attribute: str) -> None:
    events = [run("queued"), created(call("call_a", name="sail")), message()]
    (change, *_) = [one for one in changes_of(*events) if hasattr(one, attribute)]
    with pytest.raises(LookupError, match="snapshot=True"):
        getattr(decode_change(encode_change(change)), attribute)


def test_progress_that_was_read_back_has_no_step() -> None:
    (progress,) = [
        one for one in told(Accumulator(), legal_run(0).frames) if isinstance(one, StepProgress | MessageProgress)
    ][:1]
    read = decode_change(encode_change(progress, snapshot=True))
    assert read.delta == progress.delta
    with pytest.raises(LookupError):
        _ = read.message if isinstance(read, MessageProgress) else read.step


def test_what_ended_has_its_times_error_and_usage_in_its_line() -> None:
    usage, error = {"total_tokens": 3}, {"code": "server_error", "message": "x"}
    changes = changes_of(created(), ended(as_="failed", usage=usage, last_error=error, failed_at=7))
    line = msgspec.json.decode(encode_change(changes[-1]))
    assert (line["failed_at"], line["last_error"], line["usage"]) == (7, error, usage)
    read = decode_change(encode_change(changes[-1]))
    assert (read.failed_at, read.last_error, read.usage) == (7, changes[-1].last_error, changes[-1].usage)


def test_time_zero_is_a_time_in_a_line_too() -> None:
    (change,) = changes_of(created(created_at=0))
    assert change.created_at == decode_change(encode_change(change)).created_at == 0


@each_row(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"\xff",
        "[" * 9999,
        b'{"change": 7}',
        b'{"change": "tide", "sequence": 1, "event": "x"}',
        b'{"change": "step_transition", "sequence": 1, "event": "x", "step": {"status": 7}}',
        '{"change": "tide \ud800"}',
        b'{"change": "anomaly", "sequence": 1, "event": "x", "code": "tide"}',
        b'{"change": "tool_call_started", "sequence": 1, "event": "x", "step_id": "step_1", "id": null}',
        *(b'{"change": "%b", "sequence": 1, "event": "x"}' % kind.encode() for kind in CLASSES.values()),
    ],
)
def test_line_that_is_none_is_a_value_error_without_content(line: bytes | str) -> None:
    with pytest.raises(ValueError, match=r"^expected a line of encode_change, got ") as raised:
        decode_change(line)
    assert type(raised.value) is ValueError
    assert "tide" not in str(raised.value)
    assert raised.value.__cause__ is raised.value.__context__ is None


def test_what_is_no_change_is_not_encoded() -> None:
    with pytest.raises(TypeError, match=r"^expected a change, got int$"):
        encode_change(3)  # type: ignore[arg-type]


# Equality and the anomaly's run


def test_changes_are_equal_whatever_their_contexts_are() -> None:
    events = [run("queued"), created(call("call_a", name="sail")), ended(call("call_a", name="sail"))]
    mine, yours = changes_of(*events, context="mine"), changes_of(*events, context="yours")
    assert mine == yours
    assert not any(one != other for one, other in zip(mine, yours, strict=True))
    assert set(mine) == set(yours)
    assert mine[0] != mine[1]
    assert mine[0] != "another thing"


def test_anomaly_names_the_run_of_its_object_else_the_newest_of_the_stream() -> None:
    accumulator = fold(run("queued", id="run_1"), created(run_id="run_1", thread_id="t1"), run("queued", id="run_2"))
    of_step = accumulator.apply(created(run_id="run_1", thread_id="t1"))[0]
    unknown = accumulator.apply_frame(Frame("thread.run.created", b"{"))[0]
    assert [(one.run_id, one.thread_id) for one in (of_step, unknown)] == [
        ("run_1", "t1"),
        ("run_2", accumulator.runs["run_2"].thread_id),
    ]


def test_anomaly_of_an_evicted_run_names_that_run() -> None:
    accumulator = Accumulator(max_open_runs=1)
    (evicted,) = told(accumulator, [Frame("thread.run.created", b'{"id": "%b"}' % name) for name in (b"a", b"b")])[2:]
    assert (evicted.code, evicted.run_id) == ("run_evicted", "a")


def test_anomaly_before_any_run_names_none() -> None:
    (anomaly,) = Accumulator().apply_frame(Frame("thread.run.created", b"{"))
    assert (anomaly.run_id, anomaly.thread_id) == (None, None)
