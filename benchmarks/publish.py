"""Puts what a run measured into README.md: `python -m benchmarks.publish FILE.json`."""

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.harness.report import bar_lines, environment_lines, lines

README: Final = Path(__file__).parent / "README.md"
BEGIN: Final = "<!-- measured -->\n"
END: Final = "<!-- end of measured -->\n"


def published(readme: str, report: Mapping[str, Any]) -> str:
    """Return the text with the measured part replaced."""
    before, _, rest = readme.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"expected {BEGIN.strip()} and {END.strip()} in the text")
    return f"{before}{BEGIN}\n{''.join(_blocks(report))}{END}{after}"


def _blocks(report: Mapping[str, Any]) -> Iterator[str]:
    yield _block(environment_lines(report["environment"]))
    yield _block(bar_lines(report["bars"]))
    for case in report["cases"]:
        yield f"### Measured: {case['case']}\n\n{_block(lines(case))}"


def _block(text: Iterator[str]) -> str:
    body = "\n".join(text)
    return f"```text\n{body}\n```\n\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.publish", description="Put a run into README.md.")
    parser.add_argument("file", type=Path, metavar="FILE", help="what --json wrote")
    report = json.loads(parser.parse_args().file.read_text(encoding="utf-8"))
    README.write_text(published(README.read_text(encoding="utf-8"), report), encoding="utf-8")


if __name__ == "__main__":
    main()
