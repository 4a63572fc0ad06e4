"""The command: `python -m benchmarks [case …] [--json FILE]`, from the top of the repository."""

import argparse
import json
from pathlib import Path

from benchmarks.cases import CASES
from benchmarks.harness.profile import profile
from benchmarks.harness.rounds import run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure stepstream beside its peers.")
    parser.add_argument("cases", nargs="*", metavar="case", help=f"one of: {', '.join(CASES)} (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement to FILE too")
    parser.add_argument("--repeats", type=int, metavar="N", help="so many, instead of each case's own number")
    parser.add_argument("--profile", metavar="ROW", help="measure that row of one case once, in a profiler")
    options = parser.parse_args()
    names = list(dict.fromkeys(options.cases)) or list(CASES)
    if unknown := [name for name in names if name not in CASES]:
        parser.error(f"no such case: {', '.join(unknown)} (there is: {', '.join(CASES)})")
    if options.repeats is not None and options.repeats < 1:
        parser.error(f"expected at least 1 repeat, got {options.repeats}")
    if options.json and not options.json.absolute().parent.is_dir():
        parser.error(f"no directory for {options.json}")
    if options.profile:
        rows = {row.label: row.measure for name in names for row in CASES[name].rows}
        if len(names) != 1 or options.profile not in rows:
            parser.error(f"--profile takes one case and a row of it, one of: {', '.join(rows)}")
        profile(rows[options.profile])
        return
    report = run([CASES[name] for name in names], options.repeats)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
