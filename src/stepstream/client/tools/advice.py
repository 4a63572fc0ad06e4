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
    places = _at(schema, found[1] if found else "")
    names = [name for place in places for name in place.get("properties", ())]
    values = [msgspec.json.encode(value).decode() for place in places for value in place.get("enum", ())]
    choices = ""
    if values and text.startswith(("Invalid enum value", "Invalid value")):
        choices = f"one of {', '.join(values)}"
    elif text.startswith("Object contains unknown field"):
        choices = ", ".join(dict.fromkeys(names)) or "none"
    return msgspec.ValidationError(f"{text}: expected {choices[:MAX_LENGTH]}") if choices else error


def _at(root: Mapping[str, Any], path: str) -> list[Mapping[str, Any]]:
    """Return the parts of a schema that a path of msgspec leads to: several where it goes through a union."""
    found = _resolved(root, root)
    for step in STEP.finditer(path):
        if step[1] is not None:
            inner = [one.get("properties", {}).get(step[1]) for one in found]
        else:
            inner = [one.get("items", one.get("additionalProperties")) for one in found]
        found = [part for one in inner if isinstance(one, Mapping) for part in _resolved(one, root)]
    return found


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what a schema refers to, and what it is a choice of."""
    if "$ref" in schema:
        return _resolved(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "anyOf" in schema:
        return [part for one in schema["anyOf"] for part in _resolved(one, root)]
    return [schema]
