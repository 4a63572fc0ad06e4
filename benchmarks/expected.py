"""What deltas build, read from wire objects: a peer that keeps its own snapshot is compared by it."""

from collections.abc import Iterable, Iterator
from typing import Any

from benchmarks.writer import Workload

Fields = dict[Any, list[str]]
"""The pieces of each text of one step or message, by its place there."""


def texts(objects: Iterable[dict[str, Any]]) -> dict[str, list[str]]:
    """Return the strings that grow by deltas, in each step or message, by its id."""
    return {one["id"]: _texts_of(one) for one in objects}


def _texts_of(one: dict[str, Any]) -> list[str]:
    if one["object"] == "thread.message":
        return [part["text"]["value"] for part in one["content"]]
    return [text for call in one["step_details"].get("tool_calls") or () for text in _texts_of_call(call)]


def _texts_of_call(call: dict[str, Any]) -> list[str]:
    match call["type"]:
        case "function":
            return [call["function"]["arguments"]]
        case "code_interpreter":
            code = call["code_interpreter"]
            return [code["input"], *(output["logs"] for output in code["outputs"])]
        case _:
            return []


def grown(load: Workload) -> dict[str, list[str]]:
    """Return the texts of whatever grew at all."""
    return {one: strings for one, strings in texts([*load.steps, *load.messages]).items() if strings}


def add_pieces(added: dict[str, Fields], delta: dict[str, Any]) -> None:
    """Note what a delta adds, for a peer that does not fold."""
    for place, piece in _pieces(delta["delta"]):
        added.setdefault(delta["id"], {}).setdefault(place, []).append(piece)


def joined(added: dict[str, Fields]) -> dict[str, list[str]]:
    return {one: ["".join(pieces) for pieces in fields.values()] for one, fields in added.items()}


def _pieces(delta: dict[str, Any]) -> Iterator[tuple[Any, str]]:
    for part in delta.get("content") or ():
        yield part["index"], part["text"]["value"]
    for call in (delta.get("step_details") or {}).get("tool_calls") or ():
        if call["type"] == "function":
            yield call["index"], call["function"]["arguments"]
        elif call["type"] == "code_interpreter":
            code = call["code_interpreter"]
            if code.get("input") is not None:
                yield call["index"], code["input"]
            for output in code.get("outputs") or ():
                yield (call["index"], output["index"]), output["logs"]


def without_nulls(value: Any) -> Any:
    """Return a wire object without its nulls, for a peer that does not keep them."""
    if isinstance(value, dict):
        return {key: without_nulls(one) for key, one in value.items() if one is not None}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value
