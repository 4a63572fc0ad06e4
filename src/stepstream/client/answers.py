"""Asking a server what became of a run: the run, its steps and its messages."""

import logging
from collections.abc import Collection, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from stepstream.client.api import Api
from stepstream.client.api_objects import field, object_of
from stepstream.client.lists import ListedObject
from stepstream.client.polling import RunKey
from stepstream.errors import APIError
from stepstream.fold.reconcile import ServerAnswer
from stepstream.live.log_ids import ids_of
from stepstream.wire.objects import Run

LIST_UNSUPPORTED: Final = frozenset({404, 405, 501})
"""The statuses with which a server answers that does not list the steps or the messages of a run."""

Query: TypeAlias = Sequence[tuple[str, str]]

_log = logging.getLogger("stepstream.client")


async def ask(api: Api, key: RunKey, include: Query = ()) -> ServerAnswer:
    """Return what the server says about a run: the run with its steps and messages.

    What it does not list is left out: the end of the run, and what it does list, can still be delivered.

    Raises:
        StepStreamError: a request failed, or there is no such run.
    """
    path = ("threads", key.thread_id, "runs", key.run_id)
    run = await api.get(*path)
    object_of(run, Run)  # raises: without a run nothing is known. Steps and messages that do not fit are anomalies
    steps = await _listed(api, key, LIST_UNSUPPORTED, *path, "steps", query=include)
    only = [("run_id", key.run_id)]
    listed = await _listed(api, key, LIST_UNSUPPORTED | {400}, "threads", key.thread_id, "messages", query=only)
    messages = own_messages(listed, key.run_id, written=[_written_by(step) for step in steps])
    return ServerAnswer(bytes(run), tuple(map(bytes, steps)), tuple(map(bytes, messages)))


def own_messages(
    listed: Sequence[msgspec.Raw], run_id: str, written: Collection[object] | None = None
) -> list[msgspec.Raw]:
    """Return the messages of a run among those listed: a server that does not know the filter lists the whole thread.

    A message that names no run is the run's where it is among the ids `written`; without those, where no message of the
    list names a run, so that the server never does, and its user did not write it.
    """
    found = [(raw, ListedObject.of(raw)) for raw in listed]
    names_runs = any(isinstance(one.run_id, str) for _, one in found)

    def is_own(one: ListedObject) -> bool:
        if isinstance(one.run_id, str):
            return one.run_id == run_id
        if written is not None:
            return one.id in written if isinstance(one.id, str) else False
        return not names_runs and one.role != "user"

    return [raw for raw, one in found if is_own(one)]


def _written_by(step: msgspec.Raw) -> object:
    """Return the id of the message that a step writes, or None."""
    details: Any = field(step, "step_details")
    creation = details.get("message_creation") if isinstance(details, dict) else None
    return creation.get("message_id") if isinstance(creation, dict) else None


async def _listed(
    api: Api, key: RunKey, unsupported: frozenset[int], *path: str, query: Query
) -> Sequence[msgspec.Raw]:
    try:
        return await api.list(*path, query=query)
    except APIError as failure:
        if failure.status_code not in unsupported:
            raise
        ids = ids_of(key)
        _log.info("the server does not list the %s of a run (%d)", path[-1], failure.status_code, extra=ids)
        return []
