"""The JSON of an event, as far as it is read. Items and responses stay JSON here: `items` and `runs` read them."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from stepstream.wire.depth import is_deeper

JSON = dict[str, Any]


class Payload(msgspec.Struct):
    """The keys of all events. Each has some of them."""

    type: str | None = None
    sequence_number: int | None = None
    item_id: str | None = None
    output_index: int | None = None
    content_index: int | None = None
    summary_index: int | None = None
    command_index: int | None = None
    annotation_index: int | None = None
    delta: str | JSON | None = None
    text: str | None = None
    refusal: str | None = None
    arguments: str | None = None
    input: str | None = None
    code: str | None = None
    diff: str | None = None
    command: str | None = None
    output: list[JSON] | None = None
    part: JSON | None = None
    annotation: JSON | None = None
    item: JSON | None = None
    response: JSON | None = None


class Unreadable(ValueError):
    """The data is no JSON object, or nests too deeply. `code` is the anomaly it is; nothing of the data is quoted."""

    def __init__(self, code: str, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}, got {got}")
        self.code = code
        self.expected = expected
        self.got = got


_FIELDS: Final = {field.name: field.type for field in msgspec.structs.fields(Payload)}
_decode: Final = msgspec.json.Decoder(Payload).decode


def read(data: bytes, max_depth: int, misfits: list[str]) -> Payload:
    """Return the JSON of an event. A field of another type than its own is left out, and named in `misfits`.

    Raises:
        Unreadable: it is no JSON object, or nested deeper than `max_depth`.
    """
    if is_deeper(data, max_depth):
        got = f"{len(data):,} bytes nested deeper than {max_depth} levels"
        raise Unreadable("too_deep", f"JSON of at most {max_depth} levels", got)
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raw = _object(data)
    return Payload(**{name: raw[name] for name, kind in _FIELDS.items() if _fits(raw, name, kind, misfits)})


def _object(data: bytes) -> JSON:
    try:
        raw = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Unreadable("undecodable_event", "JSON", f"{len(data):,} bytes of something else") from None
    if not isinstance(raw, dict):
        raise Unreadable("undecodable_event", "an object", "another JSON value")
    return raw


def _fits(raw: JSON, name: str, kind: Any, misfits: list[str]) -> bool:
    if name not in raw:
        return False
    try:
        msgspec.convert(raw[name], kind)
    except msgspec.ValidationError:
        misfits.append(name)
        return False
    return True


def as_json(value: object) -> Any:
    """Return an object of the wire as JSON."""
    return msgspec.json.decode(msgspec.json.encode(value))


def text_of(raw: Mapping[str, Any], key: str) -> str:
    """Return the string under `key`; empty where there is none."""
    found = raw.get(key)
    return found if isinstance(found, str) else ""


def objects_of(raw: Mapping[str, Any], key: str) -> list[JSON]:
    """Return the objects in the list under `key`; empty where there is none."""
    found = raw.get(key)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
