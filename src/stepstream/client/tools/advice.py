"""What is said to a model whose arguments do not fit, so that it can mend them.

msgspec says what is wrong and where, but not what there is to choose from; the schema that the model was given does.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

PLACE: Final = re.compile(r" - at `(?:key` in `)?\$([^`]*)`$")
STEP: Final = re.compile(r"\.([^.\[]+)|\[(?:\d+|\.\.\.)\]")
MAX_LENGTH: Final = 1_000
"""Characters of what there is to choose from."""


def advised(error: msgspec.ValidationError, schema: Mapping[str, Any]) -> msgspec.ValidationError:
    """Return a refusal of arguments that also says what there is to choose from."""
    text = str(error)
    found = PLACE.search(text)
    place = _at(schema, found[1] if found else "", schema)
    choices = ""
    if text.startswith("Invalid enum value") and place.get("enum"):
        choices = "expected one of " + ", ".join(msgspec.json.encode(one).decode() for one in place["enum"])
    elif text.startswith("Object contains unknown field"):
        choices = "expected " + (", ".join(place.get("properties", ())) or "none")
    return msgspec.ValidationError(f"{text}: {choices[:MAX_LENGTH]}") if choices else error


def _at(schema: Mapping[str, Any], path: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part of a schema that a path of msgspec leads to; an empty one where it is not clear."""
    for step in STEP.finditer(path):
        schema = _resolved(schema, root)
        if step[1] is not None:
            schema = schema.get("properties", {}).get(step[1], {})
        else:
            inner = schema.get("items", schema.get("additionalProperties"))
            schema = inner if isinstance(inner, Mapping) else {}
    return _resolved(schema, root)


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a schema refers to; of several choices the one beside null."""
    while True:
        choices = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
        if "$ref" in schema:
            schema = root.get("$defs", {}).get(schema["$ref"].rpartition("/")[2], {})
        elif len(choices) == 1:
            schema = choices[0]
        else:
            return schema
