"""What the pages of user interface kits post, read: the conversation, and the answers to what a run waits for."""

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import msgspec

from stepstream.wire.objects import Run

JSON: TypeAlias = dict[str, Any]

ANSWERED: Final = {"output-available": "output", "output-error": "errorText"}
"""The states in which a part of the AI SDK answers a call, and what holds the answer."""


class Posted(msgspec.Struct, frozen=True, kw_only=True):
    """What a page has posted. Its content is the user's: it was checked for its shape only."""

    chat_id: str
    """The conversation: the chat of `useChat`, the thread of AG-UI."""
    messages: list[JSON]
    """The conversation as the page has it, in the words of the kit."""
    text: str = ""
    """The text of the user's newest message."""
    outputs: dict[str, Any] = {}
    """Results of calls by their ids, text or JSON, all that the page knows of."""
    approvals: dict[str, bool] = {}
    """Whether calls may be made, by their ids."""
    body: JSON = {}
    """All that was posted."""
    run_id: str | None = None
    """The run that waits for these answers; None where a new one is to begin."""
    thread_id: str | None = None
    """The thread of that run, at the server."""

    def __repr__(self) -> str:
        return f"<Posted {self.chat_id} {len(self.messages)} messages, going on with {self.run_id}>"

    def for_run(self, run: Run, asked: set[str]) -> "Posted":
        """Return this as the answer to what a run asks for."""
        outputs = {key: value for key, value in self.outputs.items() if key in asked}
        approvals = {key: value for key, value in self.approvals.items() if key in asked}
        names = {"run_id": run.id, "thread_id": run.thread_id or None}
        return msgspec.structs.replace(self, outputs=outputs, approvals=approvals, **names)

    def answers(self, asked: set[str]) -> bool:
        """Return whether all that is asked for has an answer here."""
        return bool(asked) and asked <= self.outputs.keys() | self.approvals.keys()


def from_use_chat(body: JSON) -> Posted:
    """Return what `useChat` posts.

    Raises:
        ValueError: it is something else.
    """
    chat_id, messages = body.get("id"), _messages(body)
    if not isinstance(chat_id, str) or not chat_id:
        raise ValueError("expected `id` as the id of the chat")
    outputs, approvals = dict[str, Any](), dict[str, bool]()
    for part in (part for message in messages if message.get("role") == "assistant" for part in _parts(message)):
        call_id, state, approval = part.get("toolCallId"), str(part.get("state")), part.get("approval")
        if isinstance(call_id, str) and state in ANSWERED:
            outputs[call_id] = part.get(ANSWERED[state])
        if isinstance(approval, dict) and isinstance(approval.get("approved"), bool):
            approvals[str(approval.get("id"))] = approval["approved"]
    texts = [[one.get("text", "") for one in _parts(message) if one.get("type") == "text"] for message in _of(messages)]
    text = "".join(one for one in texts[-1] if isinstance(one, str)) if texts else ""
    return Posted(chat_id=chat_id, messages=messages, text=text, outputs=outputs, approvals=approvals, body=body)


def from_http_agent(body: JSON) -> Posted:
    """Return what AG-UI's `HttpAgent` posts. What it resumes with is an output, and an approval where it is yes or no.

    Raises:
        ValueError: it is something else.
    """
    thread_id, messages = body.get("threadId"), _messages(body)
    if not isinstance(thread_id, str) or not thread_id or not isinstance(body.get("runId"), str):
        raise ValueError("expected `threadId` and `runId` as texts")
    tools = [one for one in messages if one.get("role") == "tool" and isinstance(one.get("toolCallId"), str)]
    outputs: dict[str, Any] = {one["toolCallId"]: one.get("content") for one in tools}
    approvals = dict[str, bool]()
    resumed = body.get("resume")
    for entry in resumed if isinstance(resumed, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("interruptId"), str):
            payload = entry.get("payload")
            is_given = payload.get("approved", True) if isinstance(payload, dict) else payload is not False
            approvals[entry["interruptId"]] = entry.get("status") == "resolved" and bool(is_given)
            outputs[entry["interruptId"]] = payload
    contents = [message.get("content") for message in _of(messages)]
    text = contents[-1] if contents and isinstance(contents[-1], str) else ""
    return Posted(chat_id=thread_id, messages=messages, text=text, outputs=outputs, approvals=approvals, body=body)


def _messages(body: JSON) -> list[JSON]:
    found = body.get("messages")
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError("expected `messages` as a list of messages")
    return found


def _of(messages: list[JSON]) -> list[JSON]:
    return [message for message in messages if message.get("role") == "user"]


def _parts(message: JSON) -> Iterator[JSON]:
    found = message.get("parts")
    yield from (one for one in (found if isinstance(found, list) else ()) if isinstance(one, dict))
