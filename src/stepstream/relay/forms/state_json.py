"""A run at a position as JSON: what a page draws first."""

import msgspec

from stepstream.fold.run_state import RunState


def state_json(state: RunState, **more: str) -> bytes:
    """Return the run, its steps and messages by id, and the position, as one line of JSON; `more` behind that."""
    told = {"run": state.run, "steps": state.steps, "messages": state.messages, "position": state.position}
    return msgspec.json.encode({**told, **more})
