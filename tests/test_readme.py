"""What the READMEs say holds: each Python block is run and prints what stands there, each command is looked up, each
link followed, each table compared with the code.
"""

import ast
import inspect
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from os import environ, pathsep
from pathlib import Path
from typing import Any

import pytest

import stepstream
from stepstream import MemoryJournal, errors
from stepstream.asgi.http import send_body
from stepstream.cli import main
from stepstream.dashboard import Dashboard
from stepstream.fold.anomalies import ANOMALIES
from stepstream.simulator.application import app
from tests.support.places import ROOT, STREAMS
from tests.support.programs import printed_by, served
from tests.support.readmes import READMES, Block, all_blocks, links
from tests.support.valkey import valkey

README = (ROOT / "README.md").read_text(encoding="utf-8")
MAX_LINES = 400

TRY_IT = "python3 -m venv .venv && .venv/bin/pip install -q '.[cli]' && .venv/bin/stepstream demo"
TEST_IT = "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/python -m pytest -q"


@pytest.fixture(scope="module")
def simulator() -> Iterator[dict[str, str]]:
    """The environment that leads to a simulator without delays, as each kind of client knows it."""
    with served(app(scenario="code", pace="fast", api_key="k")) as url:
        yield {
            "STEPSTREAM_URL": url,
            "OPENAI_BASE_URL": f"{url}/v1",
            "OPENAI_API_KEY": "k",
            "PROJECT_ENDPOINT": url,
            "AZURE_TOKEN": "k",
            "AGENT_ID": "asst_1",
        }


@pytest.fixture(scope="module", name="valkey")
def _valkey() -> Iterator[dict[str, str]]:
    with valkey() as server:
        yield {"JOURNAL_URL": server.url}


@pytest.fixture(scope="module")
def dashboard() -> Iterator[dict[str, str]]:
    """A dashboard, and a stream that a program may send to it."""
    shown = Dashboard(MemoryJournal())

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/stream":
            await send_body(send, 200, (STREAMS / "tides.sse").read_bytes(), "text/event-stream")
        else:
            await shown(scope, receive, send)

    with served(application) as url:
        yield {"STREAM_URL": f"{url}/stream", "DASHBOARD_URL": url}


@pytest.mark.parametrize("block", all_blocks("python"), ids=lambda block: block.place)
def test_python_block_prints_what_stands_after_it(block: Block, tmp_path: Path, request: pytest.FixtureRequest):
    assert block.needs <= {"simulator", "valkey", "dashboard"}
    environment = {name: value for need in block.needs for name, value in request.getfixturevalue(need).items()}
    assert printed_by(block.text, block.place, tmp_path, environment) == block.output


def commands() -> dict[str, list[str]]:
    """Return every command of the shell blocks, cut into words, without comments."""
    lines = [
        line.removeprefix("$ ") for block in all_blocks("sh", "bash", "console") for line in block.text.splitlines()
    ]
    words = [list(shlex.shlex(line, posix=True, punctuation_chars="&|;")) for line in lines if line.strip()]
    found: list[list[str]] = [[]]
    for word in (word for line in words for word in (*line, ";")):
        if set(word) <= set("&|;"):
            found.append([])
        else:
            found[-1].append(word)
    return {" ".join(command): command for command in found if command}


def options_of(command: str, capsys: pytest.CaptureFixture[str]) -> set[str]:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    return set(re.findall(r"--[a-z-]+", capsys.readouterr().out))


@pytest.mark.parametrize("command", commands().values(), ids=" ".join)
def test_command_exists(command: list[str], capsys: pytest.CaptureFixture[str]):
    program, *arguments = (word.strip("[]") for word in command)
    name = program.rpartition("/")[2]
    options = {word for word in arguments if word.startswith("--")}
    if name == "stepstream" and arguments[0] != "--version":
        assert options <= options_of(arguments[0], capsys)
    elif name in ("python", "python3") and "-m" in arguments:
        assert find_spec(arguments[arguments.index("-m") + 1]) is not None
    else:
        assert shutil.which(name, path=f"{Path(sys.executable).parent}{pathsep}{environ['PATH']}")


@pytest.mark.parametrize("command", [TRY_IT, TEST_IT])
def test_set_up_command_stands_in_a_shell_block(command: str):
    assert f"\n{command}\n" in README


def test_extras_that_are_named_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = set(re.findall(r"'\.\[(\w+)\]'", README))
    assert {"cli", "test"} <= named <= set(project["optional-dependencies"])


def test_links_lead_somewhere():
    lost = [
        f"{path.parent.name}: {link}" for path in READMES for link in links(path) if not (path.parent / link).exists()
    ]
    assert lost == []


def test_links_lead_to_headings_that_are_there():
    def slug(heading: str) -> str:
        return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")

    lost = []
    for path in READMES:
        for link, anchor in re.findall(r"\]\((?!https?://)([^)#\s]*)#([^)]+)\)", path.read_text(encoding="utf-8")):
            target = (path.parent / link) if link else path
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            lost += [anchor] if anchor not in map(slug, headings) else []
    assert lost == []


def test_every_readme_of_a_room_is_linked():
    rooms = [str(path.relative_to(ROOT)) for path in READMES if path.parts[-3] == "stepstream"]
    assert [room for room in rooms if room not in README] == []


def test_readme_is_short_and_begins_with_the_picture():
    assert len(README.splitlines()) <= MAX_LINES
    assert README.index("](tests/pictures/demo.svg)") < README.index("\n## ")


# Tables


OPTION = re.compile(r"^\| `(\w+)` \|((?: [^|]* \|| \|)+)$", re.MULTILINE)


def written_options() -> dict[str, dict[str, object]]:
    """Return the defaults that the table of options gives, by the name of what takes them."""
    section = README.partition("\n## Options and timeouts\n")[2].partition("\n## ")[0]
    header = section.partition("| option |")[2].partition("\n")[0].split("|")
    columns = [re.findall(r"`(\w+)`", cell) for cell in header]
    found: dict[str, dict[str, object]] = {name: {} for names in columns for name in names}
    for option, cells in OPTION.findall(section):
        for names, cell in zip(columns, cells.split("|"), strict=False):
            for name in names if cell.strip() else ():
                found[name][option] = value_of(cell.strip().strip("`"))
    return found


def value_of(word: str) -> object:
    """Return a default as it is written: a literal, a product of numbers, or a name."""
    if re.fullmatch(r"[\d_* ]+", word):
        return eval(word)
    try:
        return ast.literal_eval(word)
    except ValueError:
        return word


def test_readme_has_every_option_and_its_default():
    written = written_options()
    assert {"connect", "ResponsesClient", "RunsClient", "Processor"} == written.keys()
    for name, options in written.items():
        parameters = inspect.signature(getattr(stepstream, name)).parameters.values()
        defaults = {one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY}
        assert options == {key: "time.time" if key == "clock" else value for key, value in defaults.items()}, name


def test_readme_names_the_loggers():
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py")]
    used = {name for source in sources for name in re.findall(r'getLogger\("(stepstream\.[\w.]+)"\)', source)}
    section = README.partition("\n## Logger names\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([\w.]+)` \|", section, re.MULTILINE)) == used


def test_readme_has_every_exception_at_its_place():
    section = README.partition("\n## Errors\n")[2].partition("\n## ")[0]
    lines = re.findall(r"^    ([│ ]*)[├└]─ (\w+)", section, re.MULTILINE)
    parents = ["StepStreamError"]
    written = {}
    for indent, name in lines:
        depth = len(indent) // 3
        del parents[depth + 1 :]
        written[name] = parents[depth]
        parents.append(name)
    kinds: dict[str, Any] = {
        name: kind
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, errors.StepStreamError) and kind is not errors.StepStreamError
    }
    assert written == {name: kind.__base__.__name__ for name, kind in kinds.items()}


def test_readme_of_the_fold_has_every_anomaly():
    text = (ROOT / "src" / "stepstream" / "fold" / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \| (.+) \|$", text, re.MULTILINE) == list(ANOMALIES.items())


NAMED = {
    "processor": stepstream.Processor,
    "outcome": stepstream.Outcome,
    "tools": stepstream.Toolbox,
    "journal": stepstream.MemoryJournal,
}
"""What the names in the READMEs' code and text stand for."""


def test_methods_that_are_named_exist():
    text = "\n".join(path.read_text(encoding="utf-8") for path in READMES)
    named = re.findall(rf"(?<![\w./])({'|'.join(NAMED)})\.([a-z]\w*)", text)
    assert len(set(named)) > 20
    assert {f"{one}.{name}" for one, name in named if not hasattr(NAMED[one], name)} == set()
