"""Event objects of other libraries as frames: what an SDK made of the bytes of a stream is JSON again.

They are told by what they have, and no SDK is imported: openai's events, of `responses.create(stream=True)` and of
`responses.stream()`, have a `type` and can write themselves as JSON; the Agents SDK wraps each in a
`raw_response_event`, and has events of its own beside them, which say nothing that those do not.
"""

from typing import Any, Final

from stepstream.wire.sse import Frame

_WRAPPER: Final = "raw_response_event"

_REPEATED: Final = {"snapshot"}
"""What `responses.stream()` adds to every delta: all that came before it."""


def sdk_frame(item: Any) -> Frame | None:
    """Return an event object as a frame, None where it is none."""
    name = getattr(item, "type", None)
    if not isinstance(name, str):
        return None
    if name == _WRAPPER:
        return sdk_frame(getattr(item, "data", None))
    if hasattr(item, "model_dump_json"):
        text: Any = item.model_dump_json(by_alias=True, exclude_unset=True, exclude=_REPEATED, warnings=False)
    elif hasattr(item, "to_json"):
        text = item.to_json()
    else:
        text = "{}" if name.endswith("_stream_event") else None
    return Frame(name, text.encode("utf-8", "replace")) if isinstance(text, str) else None
