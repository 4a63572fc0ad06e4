"""A function as a tool: which arguments it takes, and what a model is told of it."""

import dataclasses
import enum
import functools
import json
from collections.abc import Callable
from datetime import date
from typing import Annotated, Any, Literal, Optional

import msgspec
import pytest

from stepstream.client.tools.signature import Signature, signature_of
from tests.support.tables import each_row

JSON = dict[str, Any]


class Place(msgspec.Struct):
    name: str
    depth: float | None = None


class Route(msgspec.Struct):
    start: Place
    stops: list[Place] = []


class Arguments(msgspec.Struct):
    """It is named like the struct that arguments are decoded to."""

    tide: str


class Wind(enum.Enum):
    NORTH = "north"
    SOUTH = "south"


@dataclasses.dataclass
class Berth:
    number: int


def signature(function: Callable[..., Any], **options: Any) -> Signature:
    return signature_of(function, **{"name": None, "description": None, **options})


def parameters(function: Callable[..., Any], **options: Any) -> JSON:
    found: JSON = signature(function, **options).definition()["function"]["parameters"]
    return found


def decoded(function: Callable[..., Any], **arguments: Any) -> JSON:
    return signature(function).decode(json.dumps(arguments))


def test_definition_has_the_form_of_the_api():
    async def get_depth(place: str, tide: Literal["low", "high"] = "low") -> float:
        """Return the depth of the water.

        In metres.
        """

    assert signature(get_depth).definition() == {
        "type": "function",
        "function": {
            "name": "get_depth",
            "description": "Return the depth of the water.\n\nIn metres.",
            "parameters": {
                "type": "object",
                "properties": {
                    "place": {"type": "string"},
                    "tide": {"type": "string", "enum": ["high", "low"], "default": "low"},
                },
                "required": ["place"],
                "additionalProperties": False,
            },
        },
    }


def test_name_and_description_can_be_given():
    def sail() -> None:
        """Sail."""

    [function] = [signature(sail, name="cast-off", description="Leave.").definition()["function"]]
    assert (function["name"], function["description"]) == ("cast-off", "Leave.")
    assert signature(sail, description="").description == ""


def test_function_without_parameters_takes_an_empty_object():
    def sail(): ...

    assert parameters(sail) == {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    assert decoded(sail) == {}
    assert signature(sail).description == ""


@each_row(
    ("annotation", "schema"),
    [
        (int, {"type": "integer"}),
        (bool, {"type": "boolean"}),
        (str | None, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        (Optional[int], {"anyOf": [{"type": "integer"}, {"type": "null"}]}),  # noqa: UP045 - people write it
        (list[str], {"type": "array", "items": {"type": "string"}}),
        (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
        (Literal[1, 2], {"type": "integer", "enum": [1, 2]}),
        (date, {"type": "string", "format": "date"}),
        (Any, {}),
        (
            Annotated[int, msgspec.Meta(description="In metres.", ge=0)],
            {"type": "integer", "description": "In metres.", "minimum": 0},
        ),
    ],
)
def test_annotation_is_the_schema_with_and_without_a_default(annotation: Any, schema: JSON):
    def one(a): ...

    def two(a=None): ...

    for function, required, default in ((one, ["a"], {}), (two, [], {"default": None})):
        function.__annotations__["a"] = annotation
        found = parameters(function)
        assert (found["properties"]["a"], found["required"]) == (schema | default, required)


def test_parameter_without_an_annotation_takes_anything():
    def sail(a, b=2): ...

    assert parameters(sail)["properties"] == {"a": {}, "b": {"default": 2}}
    assert decoded(sail, a=[1, {"x": None}]) == {"a": [1, {"x": None}]}


def test_structs_are_defined_beside_the_parameters():
    def plan(route: Route, wind: Wind, berth: Berth): ...

    found = parameters(plan)
    assert found["properties"]["route"] == {"$ref": "#/$defs/Route"}
    assert set(found["$defs"]) == {"Route", "Place", "Wind", "Berth"}
    assert "title" not in found
    assert decoded(plan, route={"start": {"name": "N4"}}, wind="south", berth={"number": 4}) == {
        "route": Route(Place("N4")),
        "wind": Wind.SOUTH,
        "berth": Berth(4),
    }


def test_struct_that_is_named_arguments_is_no_trouble():
    def sail(tide: Arguments): ...

    found = parameters(sail)
    [name] = found["$defs"]
    assert found["properties"]["tide"] == {"$ref": f"#/$defs/{name}"}
    assert decoded(sail, tide={"tide": "low"}) == {"tide": Arguments("low")}


def test_what_is_left_out_is_left_to_the_function():
    lantern = object()

    def sail(place: str, light: Any = lantern, *, hours: int = 3): ...

    assert decoded(sail, place="N4") == {"place": "N4"}
    assert decoded(sail, place="N4", hours=4, light=None) == {"place": "N4", "hours": 4, "light": None}


@each_row(
    "text",
    ["", "{", "[]", "null", "5", "{}", '{"a": "x"}', '{"a": null}', '{"a": 1, "b": 2}', '{"a": 1, "c": "\\ud800"}'],
)
def test_arguments_that_do_not_fit_are_refused(text: str):
    def sail(a: int, c: str = ""): ...

    with pytest.raises(msgspec.DecodeError):
        signature(sail).decode(text)


def test_arguments_of_a_partial_are_settled():
    def sail(place: str, key: str, hours: int = 3) -> None:
        """Sail there."""

    bound = functools.partial(functools.partial(sail, key="secret"), "N4")
    known = signature(bound)
    assert (known.name, known.description, known.arguments.__struct_fields__) == ("sail", "Sail there.", ("hours",))
    with pytest.raises(msgspec.ValidationError):
        known.decode('{"key": "another"}')
    with pytest.raises(msgspec.ValidationError):
        known.decode('{"hours": "x"}')


class Boat:
    def __init__(self, sails: int = 1) -> None:
        self.sails = sails

    def sail(self, place: str) -> str:
        return place

    @staticmethod
    def anchor(depth: int) -> int:
        return depth

    async def __call__(self, hours: int) -> int:
        """Go."""
        return hours


def test_methods_and_callable_objects_and_classes_are_functions():
    assert decoded(Boat().sail, place="N4") == {"place": "N4"}
    assert decoded(Boat.anchor, depth=3) == {"depth": 3}
    known = signature(Boat(), name="go")
    assert (known.is_async, known.decode('{"hours": 2}')) == (True, {"hours": 2})
    with pytest.raises(msgspec.ValidationError):
        known.decode('{"hours": "x"}')
    with pytest.raises(msgspec.ValidationError):
        signature(Boat).decode('{"sails": "x"}')


def test_wrapped_function_shows_what_it_wraps():
    def sail(place: int) -> None: ...

    @functools.wraps(sail)
    def wrapper(*args: Any, **named: Any) -> None: ...

    assert signature(wrapper).name == "sail"
    for function in (wrapper, functools.lru_cache(sail)):
        assert parameters(function)["properties"] == {"place": {"type": "integer"}}


def positional(place: str, /) -> None: ...


def rest(*places: str) -> None: ...


def named(**places: str) -> None: ...


def unknown(place: object) -> None: ...


def ambiguous(place: Place | Route) -> None: ...


def unreadable(place: "Nowhere") -> None: ...  # noqa: F821 - that is the point


@each_row("function", [rest, named, unknown, ambiguous, unreadable])
def test_parameters_that_a_model_cannot_give_are_refused(function: Callable[..., Any]):
    with pytest.raises(TypeError, match=f"of {function.__name__} that"):
        signature(function)


@each_row("function", ["sail", None, 5])
def test_what_cannot_be_called_is_refused(function: Any):
    with pytest.raises(TypeError, match="expected a function, got"):
        signature(function)


def test_callable_without_a_name_needs_one():
    with pytest.raises(TypeError, match="expected a name=, as a Boat has none"):
        signature(Boat())


@each_row("name", ["cast off", "x" * 65, "böe", "a\n"])
def test_name_that_the_api_refuses_is_refused(name: str):
    with pytest.raises(ValueError, match="expected a name of up to 64"):
        signature(positional, name=name)
    with pytest.raises(ValueError, match="<lambda>"):
        signature(lambda: None)
