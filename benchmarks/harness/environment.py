"""What was measured, and where."""

import hashlib
import os
import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from benchmarks.harness.case import Case

_TOP: Final = Path(__file__).parents[2]


def environment(cases: Sequence[Case]) -> dict[str, Any]:
    names = {name for case in cases for row in case.rows for name in row.measure.packages()}
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "cpu": f"{_cpu_model()}, {os.cpu_count()} processors",
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: _version(name) for name in sorted(names)},
        "commit": _commit(),
        "source": _source_digest(),
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or "unknown"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    """Return the commit, marked where the measured files differ from it."""
    commit = _git("rev-parse", "--short=12", "HEAD")
    if not commit:
        return "none"
    return f"{commit} with changes" if _git("status", "--porcelain", "--", "src", "benchmarks") else commit


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=_TOP, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _source_digest() -> str:
    """Return a digest of the package's source, which names it where the commit does not."""
    digest = hashlib.sha256()
    for path in sorted((_TOP / "src").rglob("*.py")):
        digest.update(path.relative_to(_TOP).as_posix().encode() + b"\0" + path.read_bytes())
    return f"sha256 {digest.hexdigest()[:16]}"
