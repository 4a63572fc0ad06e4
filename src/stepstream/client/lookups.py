"""The API calls that look at runs, and the one that cancels them: what a client does beside reading streams."""

from collections.abc import Sequence

from stepstream.client.answers import Query, ask, own_messages
from stepstream.client.api_client import ApiClient
from stepstream.client.api_objects import object_of
from stepstream.client.parameters import TOKEN
from stepstream.client.polling import NOT_FOUND, RunKey
from stepstream.errors import APIError, RunNotFound, StepStreamError
from stepstream.fold.reconcile import ServerAnswer
from stepstream.sources.http_errors import is_transient
from stepstream.wire.messages import Message
from stepstream.wire.objects import Run, RunStep


class LookupMethods(ApiClient):
    """The methods of a client that ask about runs."""

    async def retrieve_run(self, thread_id: str, run_id: str) -> Run:
        """Return a run in its present state. The calls below raise the same.

        Raises:
            APIError, IdleTimeout, TransportError: as `connect` does.
            ProtocolError: the body of the response is no run.
            ValueError: an id is empty or would lead to another path.
        """
        return object_of(await self._api.get("threads", thread_id, "runs", run_id), Run)

    async def cancel_run(self, thread_id: str, run_id: str) -> Run:
        """Ask the server to cancel a run, and return its present state."""
        return object_of(await self._api.post("threads", thread_id, "runs", run_id, "cancel", body={}), Run)

    async def list_runs(self, thread_id: str) -> list[Run]:
        """Return all runs of a thread in their present state, oldest first, from all pages."""
        return [object_of(raw, Run) for raw in await self._api.list("threads", thread_id, "runs")]

    async def retrieve_step(self, thread_id: str, run_id: str, step_id: str) -> RunStep:
        """Return a step in its present state."""
        return object_of(await self._api.get("threads", thread_id, "runs", run_id, "steps", step_id), RunStep)

    async def list_steps(self, thread_id: str, run_id: str) -> list[RunStep]:
        """Return all steps of a run in their present state, oldest first, from all pages."""
        raws = await self._api.list("threads", thread_id, "runs", run_id, "steps")
        return [object_of(raw, RunStep) for raw in raws]

    async def list_messages(self, thread_id: str, *, run_id: str | None = None) -> list[Message]:
        """Return all messages of a thread, or of one run in it, oldest first."""
        query = [] if run_id is None else [("run_id", run_id)]
        found = await self._api.list("threads", thread_id, "messages", query=query)
        return [object_of(raw, Message) for raw in (found if run_id is None else own_messages(found, run_id))]

    async def _ask(self, key: RunKey, include: Query = ()) -> ServerAnswer:
        """Return what the server says about a run: the run with its steps and messages."""
        return await ask(self._api, key, include)

    async def _run_with(self, thread_id: str, token: str) -> str:
        """Return the id of the newest run of a thread that was opened with that token.

        Raises:
            RunNotFound: there is none, or no such thread.
        """
        none = "expected a run with the token in the thread, got none: its request did not arrive"
        try:
            found = [run.id for run in await self.list_runs(thread_id) if _token_of(run) == token]
        except APIError as refused:
            if refused.status_code != NOT_FOUND:
                raise
            raise RunNotFound(none) from refused
        if not found:
            raise RunNotFound(none)
        return found[-1]

    async def _only_run(self, thread_id: str) -> RunKey | None:
        """Return the only run of a thread, or None where there is not exactly one, or the server does not list them.

        Raises:
            StepStreamError: a failure that may not last.
        """
        try:
            found: Sequence[Run] = await self.list_runs(thread_id)
            return RunKey(thread_id, found[0].id) if len(found) == 1 else None
        except StepStreamError as failure:
            if is_transient(failure):
                raise
            return None


def _token_of(run: Run) -> object:
    return run.metadata.get(TOKEN) if isinstance(run.metadata, dict) else None
