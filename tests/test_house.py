"""The rules of the house, read from the source of the package itself."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import packages_distributions
from typing import Any, NamedTuple

import pytest

import stepstream
import stepstream.journal
from tests.support.places import ROOT

PACKAGE = ROOT / "src" / "stepstream"
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
SOURCES = {name: (PACKAGE / name).read_text() for name in MODULES}
TREES = {name: ast.parse(source) for name, source in SOURCES.items()}

FRONT_DOOR = "stepstream"
CORE = {"errors", "wire", "dialects", "fold", "live"}
EDGES = {"asgi", "sources", "client", "simulator", "conformance", "views", "journal"}
LEFT_OF = {
    "errors": set(),
    "wire": {"errors"},
    "dialects": {"errors", "wire"},
    "fold": {"errors", "wire", "dialects"},
    "live": {"errors", "wire", "dialects", "fold"},
    "asgi": CORE,
    "conformance": CORE - {"live"},
    "views": CORE - {"live"},
    "sources": CORE,
    "client": CORE | {"sources"},
    "simulator": CORE | {"asgi"},
    "journal": CORE,
    "workers": CORE | {"journal"},
    "relay": CORE | EDGES,
    "sinks": CORE | EDGES,
    "dashboard": CORE | EDGES | {"relay", "sinks"},
    "cli": CORE | EDGES | {"workers", "relay", "sinks", "dashboard", FRONT_DOOR},
    FRONT_DOOR: CORE | {"sources", "client", "simulator", "journal", "relay", "workers"},
    "__main__": {"cli"},
}
"""Each room, and the rooms that it may import from beside itself. The edge rooms keep apart but for two doors: what
the client reads are sources, and what the simulator is built on is ASGI plumbing. Some rooms are still to come."""

PURE = ("wire", "dialects", "fold", "views", "conformance", "relay/forms")
IMPURE_IMPORTS = {
    "anyio", "asyncio", "trio", "threading", "concurrent", "logging", "time", "random", "secrets", "uuid", "os", "io",
    "pathlib", "socket", "ssl", "http", "urllib", "subprocess", "httpx", "httpx2", "httpx_sse",
}  # fmt: skip
IMPURE_CALLS = {"open", "print", "input", "now", "utcnow", "today"}
AWAITING = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)


def room(module: str) -> str:
    """Return the room of a file, `wire/sse.py`, or of a dotted name, `stepstream.wire.sse`."""
    dotted = module.removesuffix(".py").replace("/", ".").removeprefix("stepstream.").removesuffix(".__init__")
    return FRONT_DOOR if dotted in ("__init__", "stepstream") else dotted.partition(".")[0]


def under(*folders: str) -> list[str]:
    return [name for name in MODULES if name.startswith(tuple(f"{folder}/" for folder in folders))]


def is_for_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).removeprefix("_typing.") == "TYPE_CHECKING"


def imports(tree: ast.AST, *, also_for_checkers: bool = True) -> Iterator[str]:
    """Yield the dotted names that a module imports, those inside of its functions too."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield f"{'.' * node.level}{node.module or ''}"
        elif also_for_checkers or not is_for_checkers(node):
            yield from imports(node, also_for_checkers=also_for_checkers)


def trespasses(name: str, tree: ast.AST) -> list[str]:
    """Return the imports of a module that do not go left.

    `errors` names types of later rooms for checkers: an exception carries an outcome and frames. At run time it
    imports nothing, and only that is asked of it. So it is of the door of `journal`, which has `Workers` beside it.
    """
    here = room(name)
    names = imports(tree, also_for_checkers=name not in ("errors.py", "journal/__init__.py"))
    own = [one for one in names if one.partition(".")[0] == "stepstream"]
    return [one for one in own if room(one) != here and room(one) not in LEFT_OF[here]]


def impurities(tree: ast.AST) -> list[str]:
    """Return what a module does that needs the world, a clock or an event loop."""
    found = [name for name in imports(tree) if name.partition(".")[0] in IMPURE_IMPORTS and name != "urllib.parse"]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = getattr(node.func, "id", getattr(node.func, "attr", ""))
            found += [called] if called in IMPURE_CALLS else []
        elif isinstance(node, AWAITING) or (isinstance(node, ast.comprehension) and node.is_async):
            found.append(type(node).__name__)
    return found


def offences(offences_of: Callable[[str], object], modules: Iterable[str] = MODULES) -> dict[str, object]:
    """Return what each module does against a rule, without the modules that keep it."""
    return {name: found for name in modules if (found := offences_of(name))}


def test_imports_go_left():
    assert offences(lambda name: trespasses(name, TREES[name])) == {}


def test_checkers_see_no_more_imports_than_the_interpreter():
    """Of all modules only `errors` names types that it cannot import, and two doors those that they load late."""
    hidden = {
        name: {one for one in set(imports(tree)) - set(imports(tree, also_for_checkers=False)) if "stepstream" in one}
        for name, tree in TREES.items()
    }
    assert {name for name, found in hidden.items() if found} == {"__init__.py", "errors.py", "journal/__init__.py"}
    assert hidden["errors.py"] == {"stepstream.fold.outcome", "stepstream.wire.sse"}
    assert hidden["journal/__init__.py"] == {"stepstream.journal.redis.journal", "stepstream.workers.workers"}


DIALECT_NAMES = re.compile(r"responses|response\.\w.*")
MAY_NAME_DIALECTS = ("dialects", "conformance", "client", "simulator", "cli")


def dialects_named(name: str) -> list[str]:
    """Return the names of dialects and of their events in the code of a module, and what it imports of one dialect.

    The words of docstrings are no names.
    """
    tree = TREES[name]
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    words = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in prose]
    found = [one.value for one in words if isinstance(one.value, str) and DIALECT_NAMES.fullmatch(one.value)]
    return found + [one for one in imports(tree) if one.startswith("stepstream.dialects.responses")]


def test_dialect_is_named_only_where_it_may_be():
    """What is right of the dialects must not know which there are: another one is entered without touching it."""
    assert offences(dialects_named, [name for name in MODULES if room(name) not in MAY_NAME_DIALECTS]) == {}
    assert dialects_named("dialects/translation.py")


def own_imports(tree: ast.AST) -> Iterator[str]:
    """Yield the files of the package that a module imports, a module taken out of its package too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stepstream."):
            path = str(node.module).removeprefix("stepstream.").replace(".", "/")
            for alias in node.names:
                places = (f"{path}/{alias.name}.py", f"{path}.py", f"{path}/__init__.py")
                yield from [place for place in places if place in TREES][:1]


def cycles(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Return a way back to each module that imports itself over others; modules are left out once none is."""
    found, clear = [], set[str]()

    def follow(name: str, way: list[str]) -> None:
        if name in way:
            found.append([*way[way.index(name) :], name])
        elif name not in clear:
            for one in graph.get(name, ()):
                follow(one, [*way, name])
            clear.add(name)

    for name in graph:
        follow(name, [])
    return found


def test_no_import_turns_back():
    graph = {
        name: list(own_imports(tree))
        for name, tree in TREES.items()
        if name not in ("__init__.py", "errors.py")  # they import late, and only for checkers
    }
    assert cycles(graph) == []
    assert cycles({"a": ["b"], "b": ["c"], "c": ["b"]}) == [["b", "c", "b"]]


def test_imports_name_the_whole_way():
    assert offences(lambda name: [one for one in imports(TREES[name]) if one.startswith(".")]) == {}


def test_pure_rooms_are_pure():
    pure = under(*PURE)
    assert {"wire/sse.py", "fold/tree.py", "conformance/checker.py", "views/builder.py"} <= set(pure)
    assert offences(lambda name: impurities(TREES[name]), pure) == {}


def test_no_module_imports_an_event_loop():
    loops = {"asyncio", "trio"}
    assert offences(lambda name: [one for one in imports(TREES[name]) if one.partition(".")[0] in loops]) == {}


@pytest.mark.parametrize(
    ("name", "source", "found"),
    [
        ("wire/sse.py", "from stepstream.fold.changes import Change", ["stepstream.fold.changes"]),
        ("wire/sse.py", "import stepstream", ["stepstream"]),
        ("fold/merge.py", "def f():\n    from stepstream.live import routing", ["stepstream.live"]),
        ("live/routing.py", "if TYPE_CHECKING:\n    import stepstream.cli.main", ["stepstream.cli.main"]),
        ("sources/http.py", "from stepstream.simulator import app", ["stepstream.simulator"]),
        ("client/runs.py", "from stepstream.sources.http import connect", []),
        ("sources/http.py", "from stepstream.client.runs import RunsClient", ["stepstream.client.runs"]),
        ("errors.py", "if TYPE_CHECKING:\n    from stepstream.wire.sse import Frame", []),
        ("errors.py", "from stepstream.wire.sse import Frame", ["stepstream.wire.sse"]),
        ("cli/demo.py", "from stepstream import connect", []),
        ("live/routing.py", "from stepstream.wire.sse import Frame", []),
    ],
)
def test_trespasses_are_found(name: str, source: str, found: list[str]):
    assert trespasses(name, ast.parse(source)) == found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import time", ["time"]),
        ("def f():\n    import os.path", ["os.path"]),
        ("async def f(): await g()", ["AsyncFunctionDef", "Await"]),
        ("open('x')", ["open"]),
        ("datetime.now()", ["now"]),
        ("from datetime import datetime\ndatetime.fromtimestamp(0)", []),
    ],
)
def test_impurities_are_found(source: str, found: list[str]):
    assert impurities(ast.parse(source)) == found


def in_a_fresh_process(program: str) -> Any:
    """Run a program in an interpreter of its own and return what it prints, decoded from JSON."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60)
    return json.loads(done.stdout)


def optional_modules() -> set[str]:
    """Return the top-level modules of everything that only the extras or the edges need, as far as it is installed."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = {re.split(r"[\s\[<>=;~!]", requirement)[0].lower() for some in extras.values() for requirement in some}
    wanted = (wanted | {"httpx", "httpx-sse"}) - {"stepstream", "coverage"}  # the suite may run under coverage
    return {
        module
        for module, owners in packages_distributions().items()
        if not wanted.isdisjoint(owner.lower() for owner in owners)
    } | {"rich"}


def test_import_loads_nothing_that_only_the_edges_need():
    program = "import sys, json; from stepstream import Processor; print(json.dumps(sorted(sys.modules)))"
    loaded = in_a_fresh_process(program)
    assert {"httpx", "httpx_sse", "uvicorn"} <= optional_modules()
    assert "stepstream.live.processor" in loaded
    assert optional_modules().isdisjoint(loaded)
    assert {"email.utils", "hashlib", "ssl", "asyncio", "trio"}.isdisjoint(loaded)
    assert [name for name in loaded if name.startswith("stepstream.") and room(name) in ("sources", "cli")] == []


def test_import_loads_a_room_when_a_name_of_it_is_used():
    program = "import sys, json, stepstream; {}; print(json.dumps(sorted(sys.modules)))"
    rooms = {
        use: {room(name) for name in in_a_fresh_process(program.format(use)) if name.startswith("stepstream.")}
        for use in ("pass", "stepstream.FrameDecoder", "stepstream.Accumulator", "stepstream.Processor")
    }
    assert rooms == {
        "pass": {"errors"},
        "stepstream.FrameDecoder": {"errors", "wire"},
        "stepstream.Accumulator": {"errors", "wire", "dialects", "fold"},
        "stepstream.Processor": {"errors", "wire", "dialects", "fold", "live"},
    }


def test_lazy_names_work_after_the_import():
    program = (
        "import sys, json, stepstream; before = 'httpx' in sys.modules; opening = stepstream.connect('http://x');"
        "print(json.dumps([before, 'httpx' in sys.modules, type(opening).__name__]))"
    )
    assert in_a_fresh_process(program) == [False, True, "_AsyncGeneratorContextManager"]


def test_star_import_gives_every_public_name():
    program = "from stepstream import *; import json; print(json.dumps(sorted(n for n in dir() if n[0] != '_')))"
    assert in_a_fresh_process(program) == sorted([*stepstream.__all__, "json"])


class Public(NamedTuple):
    """A name of the front door: the room's module it comes from, and whether it is loaded when it is first used."""

    module: str
    is_lazy: bool


def behind_the_front_door() -> dict[str, Public]:
    found = {}
    for node in TREES["__init__.py"].body:
        statements = node.body if isinstance(node, ast.If) else [node]
        for statement in statements:
            if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("stepstream."):
                module = f"{statement.module}.py".removeprefix("stepstream.").replace(
                    ".", "/", statement.module.count(".") - 1
                )
                found.update(
                    {alias.asname or alias.name: Public(module, is_for_checkers(node)) for alias in statement.names}
                )
    return found


@pytest.mark.parametrize(
    ("door", "name"),
    [("journal", "RedisJournal"), ("journal", "Workers"), ("relay", "Relay"), ("relay", "encoded")],
)
def test_doors_of_rooms_give_what_the_front_door_gives(door: str, name: str):
    program = (
        f"import json, stepstream; from stepstream.{door} import {name} as found;"
        f"print(json.dumps(found is stepstream.{name}))"
    )
    assert in_a_fresh_process(program) is True


def test_journal_in_memory_loads_no_server():
    program = "import sys, json; from stepstream.journal import MemoryJournal; print(json.dumps(sorted(sys.modules)))"
    loaded = set(in_a_fresh_process(program))
    assert loaded.isdisjoint({"ssl", "coredis", "stepstream.journal.redis.journal", "stepstream.workers.workers"})


def test_unknown_name_of_a_journal_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"module 'stepstream\.journal' has no attribute 'Worker'"):
        stepstream.journal.Worker  # noqa: B018


def test_all_is_sorted():
    assert stepstream.__all__ == sorted(stepstream.__all__)


def test_all_is_what_is_defined():
    assert set(stepstream.__all__) == set(behind_the_front_door())
    assert set(stepstream._LAZY) == {name for name, public in behind_the_front_door().items() if public.is_lazy}


def test_dir_shows_every_public_name():
    assert dir(stepstream) == sorted(stepstream.__all__)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'stepstream' has no attribute 'conect'"):
        stepstream.conect  # noqa: B018


def docstring_of(name: str, tree: ast.Module) -> str | None:
    """Return what documents a name in the module that defines it: a docstring, or the string after an assignment."""
    for node, following in zip(tree.body, [*tree.body[1:], ast.Pass()], strict=True):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            return ast.get_docstring(node)
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            value = following.value if isinstance(following, ast.Expr) else None
            return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None
    return None


def test_public_names_have_docstrings():
    public = behind_the_front_door()
    assert len(public) > 50
    assert [name for name, one in public.items() if not docstring_of(name, TREES[one.module])] == []


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function from `def` to its end, without its docstring."""
    assert function.end_lineno is not None
    lines = function.end_lineno - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None and first.end_lineno is not None:
        lines -= first.end_lineno - first.lineno + 1
    return lines


def long_functions(tree: ast.AST) -> dict[str, int]:
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {function.name: length(function) for function in functions if length(function) > 40}


def test_modules_have_at_most_250_lines():
    lengths = {name: len(source.splitlines()) for name, source in SOURCES.items()}
    assert {name: lines for name, lines in lengths.items() if lines > 250} == {}


def test_functions_have_at_most_40_lines():
    assert offences(lambda name: long_functions(TREES[name])) == {}


def test_type_ignores_are_few_and_each_has_a_reason():
    ignores = [line.strip() for source in SOURCES.values() for line in source.splitlines() if "type: ignore" in line]
    assert len(ignores) <= 3
    assert [line for line in ignores if not re.search(r"# type: ignore\[[a-z-]+\]  # \w", line)] == []


def test_frame_decoders_are_built_where_bytes_become_frames_and_nowhere_else():
    """All others use an `ItemDecoder`, which takes every kind of item, or a `Scanner`."""

    def builds(name: str) -> bool:
        calls = [node.func for node in ast.walk(TREES[name]) if isinstance(node, ast.Call)]
        return any(getattr(called, "id", getattr(called, "attr", "")) == "FrameDecoder" for called in calls)

    assert {name for name in MODULES if builds(name) and room(name) != "wire"} == {
        "fold/accumulator.py",
        "live/source.py",
    }


def test_nothing_is_left_to_do():
    left = re.compile(r"\b(?:TODO|FIXME|XXX|NotImplementedError)\b")
    assert offences(lambda name: left.findall(SOURCES[name])) == {}
