"""What is known, saved to a file as JSON."""

import os
from datetime import datetime
from functools import partial
from pathlib import Path

import anyio.to_thread
import msgspec

from stepstream.views.read_only import ReadOnlyState


async def save(state: ReadOnlyState, *, redact: bool) -> str:
    """Save the runs, steps and messages of `state` to a new file in the working directory.

    Return a notice for the user: where they are, or why they are not saved. With `redact` they never are.
    """
    if redact:
        return "not saved: --redact hides what would be in it"
    objects = {
        "runs": list(state.runs.values()),
        "steps": [step.snapshot() for step in state.steps.values()],
        "messages": [message.snapshot() for message in state.messages.values()],
    }
    path = Path(f"stepstream-{datetime.now().astimezone():%Y%m%d-%H%M%S}.json")
    # encoded here, in one go, for the streams change the state as soon as this task waits
    encoded = msgspec.json.encode(objects)
    try:
        await anyio.to_thread.run_sync(partial(_write, path, encoded))
    except OSError as exc:
        return f"could not save {path}: {exc.strerror}"
    return f"saved {path}"


def _write(path: Path, encoded: bytes) -> None:
    with open(path, "xb", opener=partial(os.open, mode=0o600)) as file:  # prompts and outputs are for their owner
        file.write(msgspec.json.format(encoded, indent=2) + b"\n")
