"""Every exception of the package can leave its process: copied, pickled, raised in a worker of a pool."""

import copy
import importlib
import inspect
import pickle
import pkgutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from threading import Lock
from typing import Any

import anyio
import pytest

import stepstream
from stepstream import APIError, Frame, Processor, StepStreamError, StreamTruncated, TransportError
from stepstream.fold.accumulator import accumulate
from stepstream.fold.outcome import outcome_of
from tests.support.places import STREAMS
from tests.support.run_streams import play, played, run, sse, step
from tests.support.tables import each_row

BY_ANNOTATION: dict[str, object] = {
    "str": "some words",
    "int": 7,
    "float": 1.5,
    "list[Frame]": [Frame("done", b"[DONE]")],
    "dict[str, Any]": {"key": 1},
}


def exceptions() -> list[type[StepStreamError]]:
    """Return the root and every subclass, in whatever module."""
    for module in pkgutil.walk_packages(stepstream.__path__, "stepstream."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found = [StepStreamError]
    for kind in found:
        found += [one for one in kind.__subclasses__() if one not in found and one.__module__.startswith("stepstream")]
    return found


def sample(kind: type[StepStreamError]) -> StepStreamError:
    """Return an exception with all of its parameters given, each by its annotation."""
    if not inspect.isfunction(kind.__init__):
        return kind("some words")
    given: dict[str, Any] = {}
    for name, parameter in list(inspect.signature(kind.__init__).parameters.items())[1:]:
        annotation = str(getattr(parameter.annotation, "__name__", parameter.annotation))
        annotation = parameter.annotation if isinstance(parameter.annotation, str) else annotation
        fitting = [value for word, value in BY_ANNOTATION.items() if annotation.removesuffix(" | None") == word]
        given[name] = fitting[0] if fitting else f"words for {name}"
    return kind(**given)


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def said(exc: BaseException) -> tuple[Any, ...]:
    return type(exc), str(exc), exc.args, vars(exc)


@each_row("copied", [copy.copy, copy.deepcopy, pickled], ids=["copied", "deep-copied", "pickled"])
@each_row("kind", exceptions(), ids=lambda kind: kind.__name__)
def test_exception_keeps_its_text_and_attributes(kind: type[StepStreamError], copied: Callable[[Any], Any]):
    given = sample(kind)
    given.add_note("a note")
    given.outcome = outcome_of(accumulate([sse(play())]).stream, None)
    assert said(copied(given)) == said(given)


@each_row("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_exception_takes_every_protocol(protocol: int):
    given = APIError("no", status_code=404, code="gone")
    assert said(pickle.loads(pickle.dumps(given, protocol))) == said(given)


class Refused(StepStreamError):
    """What a user of the package may derive."""

    def __init__(self, *, place: str) -> None:
        super().__init__(f"refused at {place}")
        self.place = place


def test_exception_derived_by_a_user_is_pickled_as_ours_are():
    assert said(pickled(Refused(place="the gate"))) == said(Refused(place="the gate"))


class Foreign(Exception):
    """As those of HTTP clients: it holds the request, and cannot be unpickled."""

    def __init__(self, text: str, *, request: object) -> None:
        super().__init__(text)
        self.request = request


@each_row(
    ("cause", "kept"),
    [
        (None, None),
        (OSError(111, "refused"), "ConnectionRefusedError(111, 'refused')"),
        (StreamTruncated("over"), "StreamTruncated('over')"),
        (Foreign("no", request={"Authorization": "Bearer secret"}), None),
        (ValueError(Lock()), None),
    ],
    ids=["none", "python's", "ours", "foreign", "with-a-lock"],
)
def test_cause_comes_along_where_it_is_pythons_or_ours(cause: BaseException | None, kept: str | None):
    given = TransportError("broke")
    given.__cause__ = cause
    got = pickled(given).__cause__
    assert (None if got is None else repr(got)) == kept
    assert b"secret" not in pickle.dumps(given)
    assert type(copy.deepcopy(given)) is TransportError


async def test_exception_of_a_run_leaves_contexts_out():
    broken = played([run("queued"), step("created"), step("created")])
    async with Processor() as processor:
        with pytest.raises(StreamTruncated) as caught:
            await processor.run(broken, context=Lock())
    outcome = caught.value.outcome
    assert outcome is not None
    assert [anomaly.context for anomaly in outcome.anomalies] != [None]
    got = pickled(caught.value).outcome
    assert [(anomaly.code, anomaly.context) for anomaly in got.anomalies] == [("duplicate_created", None)]
    assert (got.steps, got.runs, got.events) == (outcome.steps, outcome.runs, outcome.events)
    assert copy.deepcopy(caught.value).outcome.steps == outcome.steps  # type: ignore[union-attr]


@each_row("name", sorted(path.name for path in STREAMS.glob("*.sse")))
def test_outcome_of_every_stream_is_pickled_as_plain_values(name: str):
    outcome = outcome_of(accumulate([(STREAMS / name).read_bytes()]).stream, "done")
    assert pickled(outcome) == outcome


def _read_a_broken_stream(_: object) -> None:
    async def main() -> None:
        async with Processor() as processor:
            await processor.run(played([run("queued"), step("created"), step("created")]), context=Lock())

    anyio.run(main)


def _refuse(_: object) -> None:
    raise APIError("refused", status_code=401, code="no_key")


@pytest.mark.slow
def test_worker_processes_hand_exceptions_over():
    """In a real pool of each kind. One that cannot be unpickled breaks the first, and hangs the second."""
    spawning = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawning) as executor:
        with pytest.raises(StreamTruncated, match="its run unfinished") as caught:
            executor.submit(_read_a_broken_stream, 0).result(60)
        assert caught.value.outcome is not None
        assert executor.submit(len, "next").result(60) == 4
    with spawning.Pool(1) as pool, pytest.raises(APIError) as refused:
        pool.map_async(_refuse, [0]).get(60)
    assert (refused.value.status_code, refused.value.code) == (401, "no_key")
