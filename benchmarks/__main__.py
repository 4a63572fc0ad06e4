"""The command: `python -m benchmarks [case …] [--json FILE]`, from the top of the repository."""

import argparse
import json
from pathlib import Path

from benchmarks import harness
from benchmarks.cases import CASES


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure stepstream beside its peers.")
    parser.add_argument("cases", nargs="*", metavar="case", help=f"one of: {', '.join(CASES)} (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement to FILE too")
    options = parser.parse_args()
    names = list(dict.fromkeys(options.cases)) or list(CASES)
    if unknown := [name for name in names if name not in CASES]:
        parser.error(f"no such case: {', '.join(unknown)} (there is: {', '.join(CASES)})")
    if options.json and not options.json.absolute().parent.is_dir():
        parser.error(f"no directory for {options.json}")
    report = harness.run([CASES[name] for name in names])
    if options.json:
        options.json.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
