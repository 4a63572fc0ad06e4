"""The READMEs of the repository, and their blocks of code.

A python block is a program. What it prints stands in a text block right after it; one without prints nothing. A block
after the comment `<!-- needs: simulator -->` finds the base URL of a running one in `STEPSTREAM_URL`, after one that
names `valkey` that of a journal in `JOURNAL_URL`, after `dashboard` that of one in `DASHBOARD_URL` and a
stream at `STREAM_URL`.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tests.support.places import ROOT

READMES: Final = [ROOT / "README.md", ROOT / "benchmarks" / "README.md", *sorted(ROOT.glob("src/**/README.md"))]

_BLOCK: Final = re.compile(
    r"^(?:<!-- needs: (?P<needs>[\w, ]+) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$"
    r"(?:\n\n?```text\n(?P<output>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """One fenced block, and the text block right after it, empty where there is none."""

    place: str
    """The README and the line it begins at."""
    language: str
    text: str
    output: str
    needs: frozenset[str]


def blocks(path: Path, *languages: str) -> Iterator[Block]:
    """Yield the blocks of a README in some languages."""
    readme = path.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(readme):
        if found["language"] in languages:
            line = readme.count("\n", 0, found.start("language")) + 1
            needs = frozenset(found["needs"].split(", ")) if found["needs"] else frozenset[str]()
            yield Block(
                f"{path.relative_to(ROOT)}:{line}", found["language"], found["text"], found["output"] or "", needs
            )


def all_blocks(*languages: str) -> list[Block]:
    """Return the blocks of all READMEs in some languages."""
    return [block for path in READMES for block in blocks(path, *languages)]


def links(path: Path) -> list[str]:
    """Return the links of a README that lead to files, without what stands after `#`."""
    return re.findall(r"\]\((?!https?://)([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8"))
