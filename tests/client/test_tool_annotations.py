"""What stands in annotations: marks of several libraries, and classes of theirs side by side."""

import dataclasses
import json
import subprocess
import sys
from datetime import time
from typing import Annotated, Any, Literal, NamedTuple

import annotated_types
import msgspec
import pydantic
import pytest
from pydantic_core import core_schema
from typing_extensions import Doc, TypeAliasType

from stepstream.client.tools.annotations import readable
from stepstream.client.tools.pydantic_types import is_pydantic, read
from stepstream.client.tools.signature import Signature, signature_of
from tests.support.tables import each_row

Place = TypeAliasType("Place", Annotated[str, Doc("a place")])
Meta = msgspec.Meta


def signature(function: Any, **options: Any) -> Signature:
    return signature_of(function, **{"name": None, "description": None, **options})


@each_row(
    ("hint", "expected"),
    [
        (int, int),
        (list[int], list[int]),
        (Annotated[int, "how many"], Annotated[int, Meta(description="how many")]),
        (Annotated[int, Doc("how many"), object()], Annotated[int, Meta(description="how many")]),
        (Annotated[int, annotated_types.Interval(gt=1, le=5)], Annotated[int, Meta(gt=1, le=5)]),
        (Annotated[int, annotated_types.MultipleOf(2)], Annotated[int, Meta(multiple_of=2)]),
        (Annotated[str, annotated_types.Len(0, 5)], Annotated[str, Meta(min_length=0, max_length=5)]),
        (Annotated[str, annotated_types.MaxLen(5)], Annotated[str, Meta(max_length=5)]),
        (Annotated[str, annotated_types.Unit("m")], str),
        (Annotated[int | None, annotated_types.Ge(0)], Annotated[int, Meta(ge=0)] | None),
        (Annotated[int, Meta(ge=0), "how many"], Annotated[int, Meta(ge=0), Meta(description="how many")]),
        (dict[str, Annotated[int, "depth"]], dict[str, Annotated[int, Meta(description="depth")]]),
        (tuple[Annotated[int, "depth"], ...], tuple[Annotated[int, Meta(description="depth")], ...]),
        (Literal["a"], Literal["a"]),
        (Place, Annotated[str, Meta(description="a place")]),
        (time, Annotated[time, Meta(extra_json_schema={"format": "time"})]),
    ],
)
def test_marks_are_read_as_those_of_msgspec(hint: Any, expected: Any):
    assert readable(hint) == expected


def even(number: int) -> bool:
    return number % 2 == 0


@dataclasses.dataclass
class Limited:
    number: Annotated[int, annotated_types.Ge(0)]


class Described(msgspec.Struct):
    number: Annotated[int, "a number"]
    other: Annotated[Limited | None, Meta(description="its own")] = None


@each_row(
    ("hint", "reason"),
    [
        (Annotated[int, annotated_types.Predicate(even)], "a: Predicate is not checked by msgspec"),
        (Limited, "Limited.number: write its constraint as msgspec.Meta"),
        (list[Limited], "Limited.number: write its constraint as msgspec.Meta"),
        (Described, "Limited.number: write its constraint as msgspec.Meta"),
        (Annotated[str, annotated_types.Ge(0)], "a: Can only set `ge` on a numeric type"),
    ],
)
def test_constraint_that_would_not_be_checked_is_refused(hint: Any, reason: str):
    def sail(a): ...

    sail.__annotations__["a"] = hint
    with pytest.raises(TypeError, match=f"expected parameters of sail that have a JSON form: {reason}"):
        signature(sail)


class Twice(msgspec.Struct):
    """Its name is also that of a model."""

    number: int


def model(name: str, **fields: Any) -> type[pydantic.BaseModel]:
    return pydantic.create_model(name, **fields)


def test_classes_of_one_name_are_told_apart():
    other = model("Twice", text=(str, ...))
    outer = model("Outer", inner=(other, ...))

    def sail(a: Twice, b: outer, c: other) -> None: ...  # type: ignore[valid-type]

    found = signature(sail).schema
    assert found["properties"] == {
        "a": {"$ref": "#/$defs/Twice"}, "b": {"$ref": "#/$defs/Outer"}, "c": {"$ref": "#/$defs/Twice_2"}
    }  # fmt: skip
    assert list(found["$defs"]["Twice"]["properties"]) == ["number"]
    assert list(found["$defs"]["Twice_2"]["properties"]) == ["text"]
    assert found["$defs"]["Outer"]["properties"] == {"inner": {"$ref": "#/$defs/Twice_2"}}
    decoded = signature(sail).decode('{"a": {"number": 1}, "b": {"inner": {"text": "x"}}, "c": {"text": "y"}}')
    assert decoded == {"a": Twice(1), "b": outer(inner=other(text="x")), "c": other(text="y")}


class Named(NamedTuple):
    model: pydantic.SecretStr


class Custom:
    """A class that tells pydantic how to read it."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return handler(int)


class Loop(msgspec.Struct):
    again: "list[Loop]"


class Unresolved(msgspec.Struct):
    there: "Nowhere"  # noqa: F821 - that is the point


@each_row(
    ("hint", "expected"),
    [
        (int, False),
        (Literal["pydantic"], False),
        (Annotated[int, annotated_types.Ge(1), Meta(le=5)], False),
        (Loop, False),
        (Unresolved, False),
        (pydantic.BaseModel, True),
        (list[dict[str, pydantic.EmailStr | None]], True),
        (Annotated[int, pydantic.Field(ge=1)], True),
        (Named, True),
        (Custom, True),
        (TypeAliasType("Secret", pydantic.SecretStr), True),
    ],
)
def test_what_pydantic_reads_is_found_however_deep(hint: Any, expected: bool):
    assert is_pydantic(hint) is expected


def test_class_that_pydantic_and_msgspec_would_have_to_share_is_refused():
    def sail(a: Annotated[Twice, pydantic.Field(description="x")]) -> None: ...

    with pytest.raises(TypeError, match="that have a JSON form: a: Unable to generate"):
        signature(sail)


CALLABLE = pydantic.GetPydanticSchema(lambda *_: core_schema.callable_schema())


def test_type_without_a_json_schema_is_refused():
    def sail(a: Annotated[Any, CALLABLE]) -> None: ...

    with pytest.raises(TypeError, match="expected parameters of sail that have a JSON form"):
        signature(sail)


def test_reasons_of_pydantic_are_bounded():
    many = model("Many", **{f"field_{number}": (int, ...) for number in range(9)})

    def sail(a: many) -> None: ...  # type: ignore[valid-type]

    with pytest.raises(msgspec.ValidationError, match=r"and 4 more$") as caught:
        signature(sail).decode('{"a": {}}')
    assert str(caught.value).count("Field required") == 5


def test_failure_of_pydantic_that_is_no_refusal_is_not_taken_for_one():
    class Refusing:
        def validate_json(self, data: bytes) -> Any:
            raise UnicodeError("its own")

    with pytest.raises(UnicodeError, match="its own"):
        read(Refusing(), "a", msgspec.Raw(b"1"))


def test_default_of_a_field_is_made_for_each_call():
    def sail(a: list[int] = pydantic.Field(default_factory=list), b: int = pydantic.Field(5)) -> None: ...  # noqa: B008

    one, other = signature(sail).decode("{}"), signature(sail).decode('{"a": null, "b": null}')
    assert one == other == {"a": [], "b": 5}
    assert one["a"] is not signature(sail).decode("{}")["a"]


def test_null_is_asked_of_no_validator():
    def cut(value: str) -> str:
        return value.strip()

    def sail(a: Annotated[str, pydantic.BeforeValidator(cut)] = "N4", b: Annotated[str | None, "x"] = "N5") -> None: ...

    assert signature(sail).decode('{"a": null, "b": null}') == {"b": None}
    assert signature(sail).decode('{"a": " x "}') == {"a": "x"}


def test_default_that_has_no_json_form_is_left_out_of_the_definition():
    ring: list[Any] = []
    ring.append(ring)

    def sail(a: Any = object(), b: Any = ring, c: Any = Twice(1)) -> None: ...  # noqa: B008

    assert signature(sail).schema["properties"] == {"a": {}, "b": {}, "c": {"default": {"number": 1}}}


WITHOUT = """
import sys, json
from stepstream import Toolbox
from typing import Annotated
import msgspec
tools = Toolbox(strict=True)
@tools.function
def sail(place: Annotated[str, "a harbour"], hours: int = 1) -> str: ...
tools.definitions()
print(json.dumps(sorted(name for name in sys.modules if name.partition(".")[0] in ("pydantic", "annotated_types"))))
"""


def test_pydantic_is_not_imported_for_who_does_not_use_it():
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, check=True, timeout=60)
    assert json.loads(done.stdout) == []
