"""Tables that must have the same entries: for a new tool kind, anomaly code, filter or option, in each of them.

A table may be for some entries only. `not_for` names the others, so that a new entry is in the table, or is left out of
it on purpose, here.
"""

import ast
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple, get_args

import msgspec
import pytest

import stepstream
from stepstream import Processor
from stepstream.conformance import deviation, indexes, shapes, texts
from stepstream.fold import anomalies, tree
from stepstream.live import options
from stepstream.views import contents
from stepstream.wire import deltas, schema, tool_calls
from stepstream.wire.base import WireObject

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


class Table(NamedTuple):
    """The entries of one table, and those that it leaves out on purpose."""

    name: str
    entries: frozenset[str]
    not_for: frozenset[str] = frozenset()


def table(home: ModuleType | str, name: str, entries: Collection[str], not_for: Collection[str] = ()) -> Table:
    """Return the table `name` of a module, or of what `home` says."""
    where = home if isinstance(home, str) else home.__name__.removeprefix("stepstream.")
    return Table(f"{where}.{name}" if name else where, frozenset(entries), frozenset(not_for))


def disagreements(what: str, *tables: Table) -> list[str]:
    """Return what is in one of `tables` and is missing from another, or is needlessly left out of it."""
    known = frozenset[str]().union(*(one.entries for one in tables))
    found: list[str] = []
    for one in tables:
        choice = ", and is not named here as one that it is not for" if one.not_for else ""
        found += [
            f"{what} {entry!r} is missing from {one.name}{choice}"
            for entry in sorted(known - one.entries - one.not_for)
        ]
        found += [
            f"{what} {entry!r} is named here as one that {one.name} is not for, but it has it"
            for entry in sorted(one.entries & one.not_for)
        ]
        found += [
            f"{what} {entry!r} is named here as one that {one.name} is not for, but no table has it"
            for entry in sorted(one.not_for - known)
        ]
    return found


def check_agreement(what: str, *tables: Table) -> None:
    """Fail with a line for each disagreement."""
    found = disagreements(what, *tables)
    if found:
        pytest.fail("\n".join(found), pytrace=False)


# What the tables hold


def structs(root: type[WireObject] = WireObject) -> Iterator[type[WireObject]]:
    """Yield every struct of the wire."""
    for struct in root.__subclasses__():
        yield struct
        yield from structs(struct)


def types_of(struct: type[Any]) -> dict[str, Any]:
    return {field.encode_name: field.type for field in msgspec.structs.fields(struct)}


def struct_in(annotation: Any) -> type[WireObject] | None:
    """Return the struct in an annotation such as `tuple[CodeOutput, ...] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, WireObject):
        return annotation
    return next((found for inner in get_args(annotation) if (found := struct_in(inner))), None)


def parts() -> dict[type[WireObject], dict[str, type[WireObject]]]:
    """Return the fields that are, or hold at any depth, objects of several kinds, or entries of lists by index."""
    every = {
        one: {key: found for key, kind in types_of(one).items() if (found := struct_in(kind))} for one in structs()
    }
    by_index = {one for one in structs() if "index" in one.__struct_fields__}
    holding = {*schema.KINDS, *by_index, *(one.__base__ for one in by_index)}
    while more := {one for one, fields in every.items() if not holding.isdisjoint(fields.values())} - holding:
        holding |= more
    return {one: {key: part for key, part in fields.items() if part in holding} for one, fields in every.items()}


def within(struct: type[WireObject]) -> Iterator[type[WireObject]]:
    """Yield a struct and those in it."""
    yield struct
    for kind in types_of(struct).values():
        inner = struct_in(kind)
        if inner:
            yield from within(inner)


CALL: Final = types_of(tool_calls.ToolCall)
FLAT: Final = {"id", "type", "status", "name", "arguments", "output", "server_label"}
"""The fields of a call that are not content under the key of its kind: those of all, and those of `mcp`."""

CONTENTS: Final = {key: struct for key in CALL.keys() - FLAT if (struct := struct_in(CALL[key]))}
"""The kinds of call that have a struct of their own."""

PLAIN: Final = {
    "azure_ai_search", "bing_custom_search", "bing_grounding", "computer", "computer_use_preview", "fabric_dataagent",
    "image_generation", "local_shell", "sharepoint_grounding", "tool_search", "web_search",
}  # fmt: skip
"""The kinds whose content is kept as plain JSON: it has no name and no text that grows."""

UNNAMED: Final = {
    "apply_patch", "browser_automation", "code_interpreter", "deep_research", "file_search", "shell", *PLAIN,
}  # fmt: skip
OF_RESPONSES: Final = {"apply_patch", "custom", "shell"}
OF_AZURE: Final = {
    "azure_function", "browser_automation", "connected_agent", "deep_research", "mcp", "openapi", *PLAIN,
}  # fmt: skip
"""The kinds of which no text of the API says what fields they must have."""


def test_tool_kinds_are_in_every_table():
    delta = types_of(deltas.ToolCallDelta)
    check_agreement(
        "tool kind",
        table(tool_calls, "ToolType", get_args(tool_calls.ToolType)),
        table(tool_calls, "ToolCall", CALL.keys() - FLAT, {"mcp", "openapi"}),
        table(deltas, "ToolCallDelta", delta.keys() - FLAT - {"index"}, {"mcp", "openapi"}),
        table(tool_calls, "NAMED", tool_calls.NAMED, UNNAMED),
        table(schema, "KINDS[ToolCall]", schema.KINDS[tool_calls.ToolCall]),
        table(schema, "KINDS[ToolCallDelta]", schema.KINDS[deltas.ToolCallDelta]),
        table(
            contents,
            "FIELDS and SHOWN",
            {*contents.FIELDS, *contents.SHOWN},
            PLAIN - contents.SHOWN.keys(),
        ),
        table(shapes, "CALL", shapes.CALL.kinds, OF_AZURE | OF_RESPONSES),
    )


def test_kinds_whose_content_has_a_name_are_named():
    having = {kind for kind, struct in CONTENTS.items() if "name" in struct.__struct_fields__}
    named = {key for key in tool_calls.NAMED.values() if key}
    check_agreement("key of a call's name", table(tool_calls, "ToolCall", having), table(tool_calls, "NAMED", named))


def test_content_is_shown_from_the_key_it_lies_under():
    assert {kind: key for kind, (key, _) in contents.FIELDS.items()} == {
        kind: tool_calls.NAMED.get(kind, kind) for kind in contents.FIELDS
    }


def test_texts_of_tool_calls_are_appended_to_or_fixed():
    every = set(within(tool_calls.ToolCall))
    found = {key for one in every for key, kind in types_of(one).items() if str in (kind, *get_args(kind))}
    fixed = {
        "assistant_id", "file_id", "file_name", "id", "name", "path", "ranker", "run_id", "server_label", "status",
        "thread_id", "type", "url",
    }  # fmt: skip
    of_others = {"text", "value", "refusal"}
    appended = tree.APPENDED.union(*tree.APPENDED_IN.values()) - of_others
    check_agreement(
        "text of a tool call",
        table(tool_calls, "", found),
        table(tree, "APPENDED and APPENDED_IN", appended, fixed),
        table(texts, "TEXTS", texts.TEXTS - of_others, fixed),
    )


def test_parts_of_several_kinds_are_in_the_schema():
    wanted = {
        f"{one.__name__}.{key}: {part.__name__}" for one, fields in parts().items() for key, part in fields.items()
    }
    entered = {
        f"{one.__name__}.{key}: {part.__name__}" for one, fields in schema.PARTS.items() for key, part in fields.items()
    }
    check_agreement("part", table("wire", "", wanted), table(schema, "PARTS", entered))


def test_deltas_add_up_to_a_full_struct():
    bodies = {deltas.RunStepDelta, deltas.MessageDelta}
    pieces = {
        f"{one.__name__} of {one.__base__.__name__}"
        for one in structs()
        if one.__base__ is not WireObject and one not in bodies and one.__module__ == deltas.__name__
    }
    entered = {f"{one.__name__} of {full.__name__}" for one, full in schema.FULL.items()}
    check_agreement("delta", table(deltas, "", pieces), table(schema, "FULL", entered))


def test_lists_that_go_by_index_are_in_every_table():
    going = {
        key
        for one in structs()
        for key, kind in types_of(one).items()
        if (entry := struct_in(kind)) and "index" in entry.__struct_fields__
    }
    places = {name for outer_and_inner in indexes.PLACES.values() for _, name in outer_and_inner}
    check_agreement(
        "list by index",
        table(deltas, "", going),
        table(schema, "INDEXED", schema.INDEXED),
        table(indexes, "PLACES", places, {"commands", "summary"}),  # which only streams of a dialect have
        table(texts, "LISTS", texts.LISTS, {"annotations"}),
    )


def test_structs_of_the_wire_are_at_the_front_door():
    every = {one.__name__ for one in structs()}
    shown = set(stepstream.__all__) & every
    check_agreement("struct", table("wire", "", every), table("stepstream", "__all__", shown))


# Anomaly codes


def words_of(path: Path) -> Iterator[str]:
    """Yield the strings in a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_anomaly_codes_are_in_every_table():
    package, home = ROOT / "src" / "stepstream", Path(str(anomalies.__file__))
    rooms = ("wire", "dialects", "fold")
    rules = [path for room in rooms for path in (package / room).rglob("*.py") if path.name != home.name]
    made = {word for path in rules for word in words_of(path)}
    codes = {*get_args(anomalies.AnomalyCode), *anomalies.ANOMALIES}
    check_agreement(
        "anomaly code",
        table(anomalies, "AnomalyCode", get_args(anomalies.AnomalyCode)),
        table(anomalies, "ANOMALIES", anomalies.ANOMALIES),
        table("the rules of wire, dialects and fold", "", made & codes),
        table(deviation, "CODES", deviation.CODES.keys() - deviation.FOUND.keys(), deviation.OURS),
    )


def test_codes_of_findings_are_no_anomalies():
    assert not deviation.FOUND.keys() & anomalies.ANOMALIES.keys()


# Filters and options


def quoted(pattern: str, text: str) -> set[str]:
    """Return the names in backticks in the first match of `pattern`."""
    found = re.search(pattern, text, re.DOTALL)
    assert found, pattern
    return set(re.findall(r"`(\w+)`", found[0]))


ADD: Final = str(Processor.add.__doc__)
SUBSCRIBE: Final = str(Processor.subscribe.__doc__)
ROWS: Final = {
    name: (usual, iterator == "yes")
    for name, usual, iterator in re.findall(r"^\| `(\w+)` \| (\S+) \| .* \| (yes)? ?\|$", README, re.MULTILINE)
}
"""The README's table of options: what is usual, and whether an iterator has it."""


FILTERS: Final = {name for name, option in options.OPTIONS.items() if option.attribute or name == "where"}


def test_filters_are_in_every_table():
    check_agreement(
        "filter",
        table(options, "OPTIONS", FILTERS),
        table(options, "Filters", options.Filters.__annotations__),
        table("the filters of README.md", "", quoted(r"\nFilters: .*?\. ", README)),
        table("the docstring of Processor.add", "", quoted(r"Filters: .*?\n\n", ADD)),
    )


@pytest.mark.parametrize("name", sorted(FILTERS - {"where"}))
def test_classes_of_a_filter_have_its_attribute(name: str):
    option = options.OPTIONS[name]
    lacking = [
        one
        for one in option.classes
        if not (hasattr(one, option.attribute) or option.attribute in one.__struct_fields__)
    ]
    assert (lacking, bool(option.classes)) == ([], True)


BATCH: Final = {"batch"}
"""The option that overloads name: with it a callback takes lists."""


def test_options_are_in_every_table():
    check_agreement(
        "option",
        table(options, "OPTIONS", options.OPTIONS.keys() - FILTERS),
        table(options, "Delivery", options.Delivery.__struct_fields__),
        table(options, "Options", BATCH | (options.Options.__annotations__.keys() - FILTERS)),
        table("the options of README.md", "", ROWS),
        table("the docstring of Processor.add", "", quoted(r"Delivery, .*?\n\n", ADD)),
    )


@pytest.mark.parametrize("name", [name for name in options.OPTIONS if name != "context"])  # which is any object
def test_every_option_refuses_an_object_of_no_type(name: str):
    with pytest.raises(TypeError):
        options.OPTIONS[name].check(name, object())


def test_options_of_iterators_are_in_every_table():
    having = options.IteratorOptions.__annotations__.keys() - options.Filters.__annotations__.keys()
    check_agreement(
        "option of iterators",
        table(
            options, "OPTIONS", {one for one in options.OPTIONS.keys() - FILTERS if options.OPTIONS[one].for_iterators}
        ),
        table(options, "IteratorOptions", BATCH | having),
        table(
            "the options of README.md", "", {name for name, (_, is_for_iterators) in ROWS.items() if is_for_iterators}
        ),
        table("the docstring of Processor.subscribe", "", quoted(r"`[^`]*`, [^.]*? are as in", SUBSCRIBE)),
    )


def test_readme_has_the_defaults_of_the_options():
    defaults = {field.name: field.default for field in msgspec.structs.fields(options.Delivery)}
    usual = {name: ast.literal_eval(value.strip("`")) for name, (value, _) in ROWS.items() if name in defaults}
    assert usual == {name: defaults[name] for name in usual}


# The comparison itself


@pytest.mark.parametrize(
    ("tables", "found"),
    [
        ([table("a", "", "xy"), table("b", "", "xy"), table("c", "", "x", "y")], []),
        (
            [table("a", "", "xy"), table("b", "", "x"), table("c", "B", "")],
            ["kind 'y' is missing from b", "kind 'x' is missing from c.B", "kind 'y' is missing from c.B"],
        ),
        (
            [table("a", "", "xyz"), table("b", "", "x", "y")],
            ["kind 'z' is missing from b, and is not named here as one that it is not for"],
        ),
        (
            [table("a", "", "xy"), table("b", "", "xy", "y")],
            ["kind 'y' is named here as one that b is not for, but it has it"],
        ),
        (
            [table("a", "", "x"), table("b", "", "x", "y")],
            ["kind 'y' is named here as one that b is not for, but no table has it"],
        ),
    ],
)
def test_disagreement_names_the_entry_and_the_table(tables: list[Table], found: list[str]):
    assert disagreements("kind", *tables) == found
