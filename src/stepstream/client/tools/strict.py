"""Strict schemas: what OpenAI's structured outputs accept, so that arguments always fit.

A strict schema is closed: each object lists all of its properties as required and allows no others. A parameter that
may be left out takes null instead, which stands for its default; a field of a class that may be left out has to be
given. Keywords that strict mode refuses are said in the description: the model reads them there, and they are checked
here, when the arguments come.

    hours: Annotated[int, Meta(ge=1)] = 2    {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}],
                                              "description": "default: 2"}
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from stepstream.client.tools.parameters import takes_null

REFUSED: Final = (
    "default", "minLength", "maxLength", "uniqueItems", "minProperties", "maxProperties", "contentEncoding",
    "contentMediaType", "examples",
)  # fmt: skip
"""Keywords that strict mode does not accept; of these the description tells."""

IGNORED: Final = ("title", "discriminator", "deprecated", "readOnly", "writeOnly", "$comment")
"""Keywords that strict mode does not accept, and that say nothing of a value."""

FORMATS: Final = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
"""The formats that strict mode knows; others are told by the description."""

OPEN: Final = (
    "allOf", "patternProperties", "propertyNames", "prefixItems", "not", "if", "then", "else", "dependentRequired",
)  # fmt: skip
"""Keywords without which a schema would mean something else, and that strict mode does not have."""


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a function's parameters as a strict one.

    Raises:
        TypeError: a parameter cannot be described so, such as a dictionary with any keys. The text names it.
    """
    required, definitions = set(schema["required"]), schema.get("$defs", {})
    properties = {}
    for name, one in schema["properties"].items():
        strict = _strict(one, name)
        properties[name] = strict if name in required or takes_null(one, definitions) else _or_null(strict)
    parts = {name: _strict(one, name) for name, one in definitions.items()}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
        **({"$defs": parts} if parts else {}),
    }


def _strict(schema: Mapping[str, Any], where: str) -> dict[str, Any]:
    if "$ref" in schema:
        if not schema.keys() - {"$ref", *IGNORED}:
            return {"$ref": schema["$ref"]}
        beside = {key: value for key, value in schema.items() if key != "$ref"}  # strict mode has nothing there
        return _strict({"anyOf": [{"$ref": schema["$ref"]}], **beside}, where)
    found = {key: value for key, value in schema.items() if key not in IGNORED}
    if refused := [key for key in OPEN if key in found]:
        raise TypeError(f"{where}: a strict schema has no {refused[0]}")
    _tell_in_description(found)
    if "oneOf" in found:
        found["anyOf"] = found.pop("oneOf")
    if "anyOf" in found:
        found["anyOf"] = [_strict(one, where) for one in found["anyOf"]]
    elif "type" not in found and "enum" not in found and "const" not in found:
        raise TypeError(f"{where}: a strict schema cannot leave open what it is: annotate it with a type")
    if found.get("type") == "object":
        _close(found, where)
    if found.get("type") == "array":
        found["items"] = _strict(found["items"], f"{where}[]")
    return found


def _close(found: dict[str, Any], where: str) -> None:
    """Demand all properties of an object, and no others."""
    if found.get("additionalProperties") or "properties" not in found:
        raise TypeError(f"{where}: a strict schema has no object with any keys: list pairs, or name its fields")
    found["properties"] = {name: _strict(one, f"{where}.{name}") for name, one in found["properties"].items()}
    found["required"] = list(found["properties"])
    found["additionalProperties"] = False


def _tell_in_description(found: dict[str, Any]) -> None:
    if found.get("default", False) is None:
        del found["default"]  # null is one of the values then
    notes = [f"{key}: {msgspec.json.encode(found.pop(key)).decode()}" for key in REFUSED if key in found]
    if found.get("format", "date") not in FORMATS:
        notes.append(f"format: {found.pop('format')}")
    if notes:
        text = ", ".join(notes)
        found["description"] = f"{found['description']} ({text})" if "description" in found else text


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    inner = {key: value for key, value in schema.items() if key != "description"}
    choices = inner["anyOf"] if inner.keys() == {"anyOf"} else [inner]
    outer: dict[str, Any] = {"anyOf": [*choices, {"type": "null"}]}
    return outer | ({"description": schema["description"]} if "description" in schema else {})
