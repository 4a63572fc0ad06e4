"""What a subscriber that comes late gets first: all that is known, told again."""

from typing import Any

from stepstream.fold.changes import Change, RunTransition, StepProgress, StepTransition
from stepstream.fold.retelling import retell
from stepstream.fold.state import State, run_key
from stepstream.live.context_keys import context_key
from stepstream.live.mailbox import Mailbox
from stepstream.live.pending import PendingCount


def replay_into(mailbox: Mailbox, state: State) -> None:
    """Offer a subscriber what is known. Its calls see the contextvars of the stream that each change comes from.

    Where that stream is over they see those of now, when the subscriber is added.
    """
    for change in retell(state, mailbox.classes, mailbox.key):
        if _may_want(mailbox, change):
            pending = PendingCount(variables=state.origin_of(_key_of(change, state)).variables)
            pending.variables.copy().run(mailbox.offer, (change,), pending)


def _may_want(mailbox: Mailbox, change: Change) -> bool:
    """Return whether a change is of a mailbox's classes, and passes the filter by which it is looked up."""
    if type(change) not in mailbox.classes:
        return False
    if mailbox.context is not None and mailbox.context[0] != context_key(change.context):
        return False
    return mailbox.key is None or getattr(change, mailbox.key[0]) in mailbox.key[1]


def _key_of(change: Any, state: State) -> str:
    """Return the key of the entry that a change was told from."""
    if isinstance(change, RunTransition):
        return run_key(change.run_id, "")
    is_step = isinstance(change, StepTransition | StepProgress)
    return state.steps[change.step_id].run_key if is_step else state.messages[change.message_id].run_key
